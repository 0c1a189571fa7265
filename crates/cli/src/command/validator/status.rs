//! `agon validator status` and `export`: what a validator knows, read from its home while it works.

use crate::{
    args::{ExportValidatorArgs, RunValidatorArgs, StatusValidatorArgs},
    competition_file,
    failure::{HintExt as _, hinted, one_line},
    owner_set::{self, Commitment, Followed, Follower, Missed, OWNER, Refused},
    service::pulse::{self, Pulse},
    terminal::{self, print, print_json, print_json_line},
};
use journal::{Journal, Past};
use protocol::{AccountId, Block, Competition, Loss, NetUid, Schedule, Uid};
use serde::Serialize;
use std::{
    collections::BTreeMap, fmt::Write as _, io::IsTerminal as _, path::Path, process::ExitCode,
    sync::atomic::Ordering, thread, time::Duration,
};
use validator::{Entry, Fought, RoundSummary, State, entry::DECIDED};

/// Rounds that are looked through for when a crown moved.
const ROUNDS_MAX: usize = 1_000;
/// Time between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);
/// How often a look that waits asks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// All of it, as `--json` tells it.
#[derive(Serialize)]
struct Status {
    netuid: NetUid,
    /// What the process itself last said; nothing if none was here.
    process: Option<Pulse>,
    /// Whether it is at work: a number of a process is soon another's, and the journal is not.
    at_work: bool,
    competitions: Vec<Standing>,
    weights: Weights,
    /// What is known of the competitions of the subnet's owner, where those are judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Followed>,
    /// Next block at which a competition begins, ends or has other rules.
    next_change: Option<Block>,
}

/// A competition.
#[derive(Serialize)]
struct Standing {
    competition: String,
    rounds: u64,
    champion: Option<Champion>,
    /// Block that seeded the last round.
    last_seed: Block,
    /// Block that seeds the next one, if the head is known and the competition goes on.
    next_seed: Option<Block>,
    /// Seed of the round that goes on.
    running: Option<Block>,
    /// Models of the last round, and how many of them were measured.
    models: usize,
    measured: usize,
    /// Of the duels of the last round the one to tell of first.
    #[serde(skip_serializing_if = "Option::is_none")]
    duel: Option<Challenge>,
}

/// A duel against the champion.
#[derive(Serialize)]
struct Challenge {
    /// Slot of the challenger.
    uid: Uid,
    #[serde(flatten)]
    stands: Fought,
}

#[derive(Serialize)]
struct Champion {
    uid: Uid,
    hotkey: AccountId,
    /// Seed of the round that gave it the crown; nothing if that is longer ago than is kept.
    since: Option<Block>,
    perplexity: Option<Loss>,
}

/// Weights on the chain.
#[derive(Serialize)]
struct Weights {
    /// Block at which the chain last took some.
    set: Option<Block>,
    /// Block by which they are handed over again at the latest.
    again_by: Option<Block>,
    /// Whether new ones wait to be handed over.
    due: bool,
    /// Whether some are on their way.
    on_their_way: bool,
    /// How many the chain keeps hidden.
    hidden: usize,
}

/// Prints it, once or again and again.
pub fn run(args: &StatusValidatorArgs) -> anyhow::Result<ExitCode> {
    if !args.watch {
        tell(&args.run)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = terminal::stop_on_signal()?;
    while !stop.load(Ordering::Relaxed) {
        if std::io::stdout().is_terminal() && !args.run.service.endpoint.json {
            terminal::clear()?;
        }
        tell(&args.run)?;
        for _ in 0..WATCH.as_millis() / TICK.as_millis() {
            if !stop.load(Ordering::Relaxed) {
                thread::sleep(TICK);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &RunValidatorArgs) -> anyhow::Result<()> {
    let status = status(args)?;
    match args.service.endpoint.json {
        true => print_json(&status),
        false => print(&text(&status)?),
    }
}

/// Prints what all kept rounds came to, the oldest first.
pub fn export(args: &ExportValidatorArgs) -> anyhow::Result<ExitCode> {
    for summary in summaries(&past(&args.run)?)? {
        print_json_line(&summary)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn past(args: &RunValidatorArgs) -> anyhow::Result<Past<State>> {
    Past::open(look(&args.service.home)?).hint("it may be of another version, or of a miner")
}

/// The journal of the validator whose home this is.
fn look(home: &Path) -> anyhow::Result<Journal> {
    let none = || {
        let shown = home.display();
        hinted(
            anyhow::anyhow!("`{shown}` holds no journal of a validator"),
            "is `home` the folder of one that has run? `agon validator run` makes it",
        )
    };
    match Journal::look(home) {
        Err(error @ journal::Error::Older { .. }) => {
            Err(error).hint("the service is `agon validator run`, with the options of this command")
        }
        found => found?.ok_or_else(none),
    }
}

fn summaries(past: &Past<State>) -> anyhow::Result<Vec<RoundSummary>> {
    let summary = |entry| match entry {
        Entry::Decided { summary, .. } => summary.map(|summary| *summary),
        _ => None,
    };
    Ok(past.newest(DECIDED, ROUNDS_MAX)?.into_iter().filter_map(summary).collect())
}

fn status(args: &RunValidatorArgs) -> anyhow::Result<Status> {
    let past = past(args)?;
    let process = pulse::read(&args.service.home)?;
    let mut last: BTreeMap<String, (RoundSummary, Option<Block>)> = BTreeMap::new();
    for summary in summaries(&past)? {
        let before = last.get(&summary.competition).and_then(|(_, since)| *since);
        let since = if summary.crown_moved { Some(summary.seed.block) } else { before };
        last.insert(summary.competition.clone(), (summary, since));
    }
    let schedule = schedule(args);
    let head = process.as_ref().and_then(|pulse| pulse.block);
    let next_seed = |name: &str| {
        let head = head?;
        let rules = schedule.at(head).find(|rules| rules.name == name)?;
        let every = rules.evaluation.blocks_per_round.max(1);
        Some(Block((head.0 / every + 1) * every))
    };
    let competitions = past.state().contests().map(|(name, contest)| {
        let known = last.get(name);
        let row = |hotkey: AccountId| known?.0.rows.iter().find(|row| row.hotkey == hotkey);
        let rows = known.map_or(&[][..], |(summary, _)| &summary.rows);
        Standing {
            competition: name.to_owned(),
            rounds: contest.n_rounds,
            champion: contest.champion.map(|holder| Champion {
                uid: holder.uid,
                hotkey: holder.hotkey,
                since: known.and_then(|(_, since)| *since),
                perplexity: row(holder.hotkey).and_then(|row| row.perplexity),
            }),
            last_seed: contest.seed_block,
            next_seed: next_seed(name),
            running: contest.begun.map(|begun| begun.block),
            models: rows.len(),
            measured: rows.iter().filter(|row| row.perplexity.is_some()).count(),
            duel: known.and_then(|(summary, _)| challenge(summary)),
        }
    });
    let weights = &past.state().weights;
    Ok(Status {
        netuid: NetUid(args.service.netuid),
        process,
        at_work: Journal::is_open(&args.service.home),
        competitions: competitions.collect(),
        weights: Weights {
            set: weights.set,
            again_by: weights.set.map(|set| Block(set.0 + validator::WEIGHTS_AGE_MAX)),
            due: weights.due,
            on_their_way: weights.sent.is_some(),
            hidden: weights.hidden.len(),
        },
        owner: is_of_owner(args).then(|| owner_set::read(&args.service.home)).transpose()?,
        next_change: schedule.next_turn(head.unwrap_or_default()),
    })
}

/// The duel of a round to tell of first.
fn challenge(summary: &RoundSummary) -> Option<Challenge> {
    summary.foremost().map(|(uid, stands)| Challenge { uid, stands })
}

fn is_of_owner(args: &RunValidatorArgs) -> bool {
    args.competitions.iter().any(|name| name == OWNER)
}

/// When which rules hold. Those that cannot be read any more say nothing of the next round, and
/// hide nothing else.
fn schedule(args: &RunValidatorArgs) -> Schedule {
    let rules: Vec<Competition> = if is_of_owner(args) {
        let follower = Follower::open(&args.service.home, &args.service.owner).ok();
        let set = follower.as_ref().and_then(Follower::set);
        set.map_or_else(Vec::new, |set| set.schedule().versions().cloned().collect())
    } else {
        args.competitions.iter().filter_map(|name| competition_file::rules(name).ok()).collect()
    };
    Schedule::new(rules).unwrap_or_default()
}

/// What is known of the owner's competitions.
fn owner(out: &mut String, followed: &Followed) -> std::fmt::Result {
    let Followed { held, next, refused, missed } = followed;
    match held {
        Some(set) => {
            let Commitment { commitment, committed } = &set.of;
            writeln!(out, "rules are the owner's, of block {committed}: {commitment}")?;
        }
        None => writeln!(out, "rules are the owner's, who has published none yet")?,
    }
    if let Some(set) = next {
        writeln!(out, "from block {} on others hold: {}", set.from, set.of.commitment)?;
    }
    if let Some(Missed { of: Commitment { commitment, committed }, at }) = missed {
        writeln!(
            out,
            "the bytes of those of block {committed} were missing up to block {at}: so much longer \
             is their notice ({commitment})"
        )?;
    }
    if let Some(set) = refused {
        let Refused { of: Commitment { commitment, committed }, reason } = set;
        let reason = one_line(reason);
        writeln!(out, "those of block {committed} are not taken: {reason} ({commitment})")?;
    }
    Ok(())
}

fn text(status: &Status) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    match &status.process {
        None => writeln!(out, "subnet {}: no validator has run in this home", status.netuid)?,
        Some(pulse) => {
            let block =
                pulse.block.map_or("no block heard of".to_owned(), |b| format!("block {b}"));
            let alive = if status.at_work { "at work" } else { "not running" };
            writeln!(out, "subnet {}: {alive}, process {}, {block}", status.netuid, pulse.process)?;
        }
    }
    writeln!(out)?;
    writeln!(out, "competition   champion     since  perplexity   rounds   measured   next round")?;
    for standing in &status.competitions {
        let or_none = |block: Option<Block>| block.map_or("-".to_owned(), |b| b.to_string());
        let champion = standing.champion.as_ref();
        let uid = champion.map_or("nobody".to_owned(), |champion| format!("uid {}", champion.uid));
        let perplexity = champion.and_then(|champion| champion.perplexity);
        let perplexity = perplexity.map_or("-".to_owned(), |loss| format!("{:.4}", loss.value()));
        let next = match standing.running {
            Some(seed) => format!("now, of {seed}"),
            None => or_none(standing.next_seed),
        };
        writeln!(
            out,
            "{:<13} {uid:<9} {:>8} {perplexity:>11} {:>8} {:>10}   {next}",
            standing.competition,
            or_none(champion.and_then(|champion| champion.since)),
            standing.rounds,
            format!("{}/{}", standing.measured, standing.models),
        )?;
        if let Some(Challenge { uid, stands }) = &standing.duel {
            writeln!(out, "{:<13} uid {uid} challenges: {stands}", "")?;
        }
    }
    if status.competitions.is_empty() {
        writeln!(out, "no round has begun yet")?;
    }
    writeln!(out)?;
    writeln!(out, "{}", weights(&status.weights))?;
    if let Some(followed) = &status.owner {
        owner(&mut out, followed)?;
    }
    if let Some(block) = status.next_change {
        writeln!(out, "competitions next change at block {block}")?;
    }
    for trouble in status.process.iter().flat_map(|pulse| &pulse.trouble) {
        let detail = one_line(&trouble.detail);
        writeln!(out, "since block {}: {}: {detail}", trouble.since, trouble.what)?;
    }
    Ok(out)
}

fn weights(weights: &Weights) -> String {
    let set = match (weights.set, weights.again_by) {
        (Some(set), Some(by)) => format!("weights set at block {set}, again by block {by}"),
        _ => "weights were never set".to_owned(),
    };
    let way = if weights.on_their_way { ", some on their way" } else { "" };
    let due = if weights.due { ", new ones wait to be handed over" } else { "" };
    let hidden = match weights.hidden {
        0 => String::new(),
        n => format!(", {n} hidden until the chain opens them"),
    };
    format!("{set}{way}{due}{hidden}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Hinted, service::pulse::Trouble};

    /// Where a file of SQLite has the version of its tables, in four bytes.
    const VERSION: std::ops::Range<usize> = 60..64;

    #[test]
    fn a_journal_of_an_earlier_version_names_the_command_that_brings_it_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        drop(Journal::open(folder.path()).unwrap());
        let file = folder.path().join(journal::FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[VERSION].copy_from_slice(&1_u32.to_be_bytes());
        std::fs::write(&file, bytes).unwrap();
        let error = look(folder.path()).map(drop).unwrap_err();
        let told = format!("{:?}", error.downcast_ref::<Hinted>().unwrap());
        assert!(told.contains("agon validator run"), "{told}");
        assert!(told.contains("has format 1"), "{told}");
    }

    fn standing(competition: &str) -> Standing {
        Standing {
            competition: competition.to_owned(),
            rounds: 3,
            champion: None,
            last_seed: Block(40),
            next_seed: Some(Block(60)),
            running: None,
            models: 5,
            measured: 4,
            duel: None,
        }
    }

    fn status(competitions: Vec<Standing>) -> Status {
        let (set, again_by) = (None, None);
        Status {
            netuid: NetUid(7),
            process: None,
            at_work: false,
            competitions,
            weights: Weights { set, again_by, due: false, on_their_way: false, hidden: 0 },
            owner: None,
            next_change: None,
        }
    }

    #[test]
    fn attack_trouble_with_a_hub_and_a_refused_set_add_no_lines_of_their_own() {
        let forged = "x\nweights set at block 9, again by block 10\r\u{1b}[2J\u{202e}".to_owned();
        let (what, since, detail) = ("hub".to_owned(), Block(5), forged.clone());
        let trouble = vec![Trouble { what, since, detail }];
        let process = Some(Pulse { process: 1, block: None, trouble });
        let of = Commitment { commitment: "agon".to_owned(), committed: Block(3) };
        let owner =
            Followed { refused: Some(Refused { of, reason: forged }), ..Followed::default() };
        let hostile = Status { process, owner: Some(owner), ..status(vec![standing("tiny")]) };
        let told = text(&hostile).unwrap();
        let weights: Vec<&str> = told.lines().filter(|line| line.starts_with("weights")).collect();
        assert_eq!(weights, ["weights were never set"], "{told}");
        assert!(told.chars().all(|c| c == '\n' || protocol::text::is_plain(c)), "{told:?}");
        assert!(told.contains("not running, process 1, no block heard of"), "{told}");
        assert!(told.contains("who has published none yet"), "{told}");
    }

    #[test]
    fn a_screen_has_a_line_for_each_competition_under_its_columns() {
        let mut crowned = standing("nano");
        let (uid, hotkey) = (Uid(255), AccountId([1; 32]));
        let perplexity = Some(Loss::INFINITE);
        crowned.champion =
            Some(Champion { uid, hotkey, since: Some(Block(9_999_999)), perplexity });
        crowned.running = Some(Block(9_999_999));
        let told = text(&status(vec![standing("tiny"), crowned])).unwrap();
        for line in told.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        let rows: Vec<&str> = told.lines().skip(3).take(2).collect();
        assert!(rows[0].contains("nobody") && rows[0].ends_with("4/5   60"), "{told}");
        assert!(rows[1].contains("uid 255") && rows[1].ends_with("now, of 9999999"), "{told}");
        assert!(rows[1].contains(" inf "), "an infinite perplexity is told as one: {told}");
        let head = told.lines().nth(2).unwrap();
        let end = head.find("measured").unwrap() + "measured".len();
        assert_eq!(rows[0].find("4/5").unwrap() + 3, end, "under its head: {told}");
        let none = text(&status(Vec::new())).unwrap();
        assert!(none.contains("no validator has run in this home"), "{none}");
        assert!(none.contains("no round has begun yet"), "{none}");
    }

    #[test]
    fn weights_are_told_with_all_that_is_so_of_them() {
        let of = |set: Option<u64>, due, on_their_way, hidden| {
            let set = set.map(Block);
            let again_by = set.map(|set| Block(set.0 + 100));
            weights(&Weights { set, again_by, due, on_their_way, hidden })
        };
        assert_eq!(of(None, false, false, 0), "weights were never set");
        assert_eq!(of(Some(5), false, false, 0), "weights set at block 5, again by block 105");
        let all = of(Some(5), true, true, 2);
        for part in ["on their way", "wait to be handed over", "2 hidden"] {
            assert!(all.contains(part), "no `{part}` in {all}");
        }
    }
}
