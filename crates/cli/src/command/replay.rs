//! `agon replay`: validators' records, derived again from what they name.

mod card;
mod compare;
pub mod derive;
pub mod home;
mod losses;
mod models;
mod on_chain;
mod other_rules;
pub mod place;
pub mod report;
pub mod source;
mod text;

use crate::{
    args::{AskedModels, ReplayArgs},
    competition_file,
    contest::Contest,
    failure::{HintExt as _, Interrupted},
    terminal::{self, print, print_json},
};
use anyhow::Context as _;
use compare::Comparison;
use derive::Past;
use home::{AtWork, Home};
use losses::{Asked, Exam};
use other_rules::Crowns;
use place::{ChainAt, Contests, Rules, Shelf, Stacks};
use protocol::{Digest, NetUid, Record};
use report::{Outcome, Part, Replayed, Report, Step};
use source::{Item, Series, Wanted};
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use validator::Drawn;

/// Derives records again, compares two, or applies other rules.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if let [a, b] = &args.compare[..] {
        let comparison = Comparison::of_files([a, b])?;
        match args.json {
            true => print_json(&comparison)?,
            false => print(&comparison.for_people()?)?,
        }
        return Ok(comparison.exit_code());
    }
    let stop = terminal::stop_on_signal()?;
    let homes = args.home.iter().map(|home| Home::open(home));
    let homes = homes.collect::<anyhow::Result<Vec<Home>>>()?;
    if let Some(rules) = &args.rules {
        let rules = competition_file::rules(rules)?;
        let series = gather(args, &homes, None)?;
        let crowns = Crowns::of(&series, &rules)?;
        match args.json {
            true => print_json(&crowns)?,
            false => print(&crowns.for_people()?)?,
        }
        return Ok(crowns.exit_code());
    }
    let chain = ChainAt::open(args, &homes)?;
    let series = gather(args, &homes, Some(&chain))?;
    let report = replay(args, &homes, (&series, &chain), &stop)?;
    match args.json {
        true => print_json(&report)?,
        false => print(&report.for_people())?,
    }
    Ok(report.exit_code())
}

/// The last record of the first validator of a demo, derived again: a sentence for people, and
/// whether all of it equals.
pub fn last_of_home(
    home: &Path,
    at_work: &AtWork,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<(String, bool)> {
    const VALIDATOR: &str = "validator-1";
    let homes = [Home::open(home)?.at_work(at_work.clone())];
    let args = ReplayArgs {
        records: vec![home.join(VALIDATOR).display().to_string()],
        latest: Some(1),
        models: AskedModels::Champion,
        home: vec![home.to_owned()],
        ..ReplayArgs::default()
    };
    let chain = ChainAt::open(&args, &homes)?;
    let series = gather(&args, &homes, None)?;
    let report = replay(&args, &homes, (&series, &chain), stop)?;
    let last = report.records.last().context("no record is there")?;
    // Why a model was skipped nobody can tell.
    let is_left = |step: &Step| {
        matches!(step.outcome, Outcome::NotChecked { .. }) && step.part != Part::Models
    };
    let is_equal = report.n_differ == 0 && !last.steps.iter().any(is_left);
    if !is_equal {
        let text = format!("a record of {VALIDATOR} is not what it is derived from\n");
        return Ok((text + &report.for_people(), false));
    }
    let equal = |part: Part| {
        last.steps.iter().find_map(|step| match &step.outcome {
            Outcome::Equal { what } if step.part == part => Some(what.as_str()),
            _ => None,
        })
    };
    let models = equal(Part::Models).unwrap_or("the commitments that were not skipped");
    let documents = equal(Part::Rows).unwrap_or("no document");
    let (number, name) = (last.number.unwrap_or_default(), last.record.as_str());
    let text = format!(
        "replayed record {number} of {VALIDATOR}: signature, seed, {models}, {documents}, losses of \
         the champion and the decision equal to the bit ({name})"
    );
    Ok((text, true))
}

/// The records that the options name.
fn gather(
    args: &ReplayArgs,
    homes: &[Home],
    chain: Option<&ChainAt>,
) -> anyhow::Result<Vec<Series>> {
    let wanted = Wanted { latest: args.latest, address: &args.address };
    if !args.records.is_empty() {
        return source::named(&args.records, wanted);
    }
    let committed = chain.zip(args.validator).filter(|_| args.netuid.is_some());
    let mut series = match (committed, args.netuid) {
        (Some((chain, validator)), Some(netuid)) => {
            let chain = chain.get().map_err(|why| anyhow::anyhow!("{why}"))?;
            source::committed(chain, (NetUid(netuid), validator), wanted)?
        }
        _ => source::of_homes(homes, args.latest)?,
    };
    if let Some(validator) = args.validator.filter(|_| committed.is_none()) {
        source::retain(&mut series, validator)?;
    }
    if series.is_empty() {
        return Err(anyhow::anyhow!("no record is named")).hint(
            "name files or folders of records, a --home with some, or a --validator with --chain \
             and --netuid",
        );
    }
    Ok(series)
}

/// Derives all of the records again, in order.
fn replay(
    args: &ReplayArgs,
    homes: &[Home],
    (series, chain): (&[Series], &ChainAt),
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Report> {
    let asked = match (args.leaf, args.models) {
        (true, _) => Asked::Leaf(args.seed.unwrap_or_else(drawn)),
        (false, AskedModels::All) => Asked::All,
        (false, AskedModels::Champion) => Asked::Champion,
        (false, AskedModels::Of(uid)) => Asked::Of(uid),
    };
    let mut stacks = Stacks::open(args, homes, stop)?;
    let shelf = Shelf { given: args.competition.as_deref(), homes };
    let contests = Contests::new(shelf, args.dir.as_deref());
    let mut bench = Bench { chain, contests, stacks: &mut stacks, asked };
    let mut found = Vec::new();
    for one in series {
        if !one.steps.is_empty() {
            found.push(of_place(one));
        }
        let mut past = Past::default();
        for (place, item) in one.items.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Interrupted.into());
            }
            let is_last = place + 1 == one.items.len();
            let newest = one.newest.filter(|_| is_last);
            let (mut replayed, read) = begun(item, &past, newest)?;
            if place < one.n_before {
                // Only what it says of those after it counts, unless it is none.
                replayed.steps.retain(Step::is_other);
                found.extend(Some(replayed).filter(|replayed| !replayed.steps.is_empty()));
            } else {
                if let Some((record, _)) = &read {
                    bench.steps(record, &past, &mut replayed)?;
                }
                found.push(replayed);
            }
            if let Some((record, digest)) = read {
                past.take(record, digest);
            }
        }
    }
    Ok(Report::of(found))
}

/// A number that nobody knew before.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What was found of the place where records lie.
fn of_place(series: &Series) -> Replayed {
    let record = series.items.first().map_or("records", |item| item.name.as_str());
    Replayed { steps: series.steps.clone(), ..unread(record) }
}

fn unread(name: &str) -> Replayed {
    Replayed {
        record: name.to_owned(),
        competition: None,
        number: None,
        validator: None,
        digest: None,
        leaf_seed: None,
        steps: Vec::new(),
    }
}

/// Reads a record, which comes with its digest, and looks at its signature and at its link to the
/// one before.
fn begun(
    item: &Item,
    past: &Past,
    newest: Option<Digest>,
) -> anyhow::Result<(Replayed, Option<(Record, Digest)>)> {
    let mut replayed = unread(&item.name);
    let signed = match item.read()? {
        Ok(signed) => signed,
        Err(why) => {
            let pair = ("a signed record", why);
            replayed.steps.push(Step::differs(Part::Record, item.name.as_str(), pair));
            return Ok((replayed, None));
        }
    };
    let (round, digest) = (&signed.record.round, signed.digest());
    replayed.competition = Some(protocol::text::shown(&round.competition, 64));
    replayed.number = Some(round.number);
    replayed.validator = Some(round.validator);
    replayed.digest = Some(digest);
    let found = (round.competition.clone(), round.number);
    if let Some(expected) = item.expected.as_ref().filter(|expected| **expected != found) {
        let told = |(name, number): &(String, u64)| format!("record {number} of {name}");
        let pair = (told(expected), told(&found));
        replayed.steps.push(Step::differs(Part::Record, "round.number", pair));
    }
    replayed.steps.push(match signed.is_genuine() {
        true => Step::equal(Part::Signature, format!("of {}", round.validator)),
        false => {
            let pair = (format!("one of {}", round.validator), signed.signature);
            Step::differs(Part::Signature, "signature", pair)
        }
    });
    replayed.steps.push(past.link(&signed.record));
    if let Some(newest) = newest.filter(|newest| *newest != digest) {
        let at = "the newest record of the index";
        replayed.steps.push(Step::differs(Part::Link, at, (newest, digest)));
    }
    Ok((replayed, Some((signed.record, digest))))
}

/// What records are derived again with.
struct Bench<'a> {
    chain: &'a ChainAt,
    contests: Contests<'a>,
    stacks: &'a mut Stacks,
    asked: Asked,
}

impl Bench<'_> {
    /// All steps after the link.
    fn steps(
        &mut self,
        record: &Record,
        past: &Past,
        replayed: &mut Replayed,
    ) -> anyhow::Result<()> {
        let steps = &mut replayed.steps;
        if let Asked::Leaf(number) = self.asked {
            replayed.leaf_seed = Some(number);
        }
        let Rules { competition: rules, contest } = match self.contests.find(record)? {
            Ok(found) => found,
            Err(step) => {
                steps.push(step);
                steps.push(text::seed(record, self.chain.get()));
                let why = "the rules of the record are not here";
                let parts = [
                    Part::Models,
                    Part::Rows,
                    Part::Sequences,
                    Part::Losses,
                    Part::Evidence,
                    Part::Decision,
                    Part::Weights,
                ];
                steps.extend(parts.map(|part| Step::not_checked(part, why)));
                return Ok(());
            }
        };
        steps.push(Step::equal(Part::Rules, format!("`{}`, {}", rules.name, rules.digest())));
        steps.push(text::seed(record, self.chain.get()));
        let on_chain = on_chain::read(record, &rules, self.chain.get());
        steps.extend(on_chain::paid(record, &on_chain));
        steps.extend(on_chain::models((record, &rules), past, &on_chain));
        let bar = past.bar(record, &rules);
        match text_of(record, &contest, steps) {
            Some(drawn) => {
                let on_chain = on_chain.as_ref().ok();
                let exam = Exam { record, rules: &rules, drawn: &drawn, bar, on_chain };
                steps.extend(losses::steps(exam, self.asked, &mut self.stacks.library)?);
            }
            None => {
                let why = "the text of the round is not here";
                steps.push(Step::not_checked(Part::Losses, why));
            }
        }
        steps.extend(past.derive(record, &rules));
        Ok(())
    }
}

/// The text of a record, if it is here, with what it says of that.
fn text_of(
    record: &Record,
    contest: &Result<Contest, String>,
    steps: &mut Vec<Step>,
) -> Option<Drawn> {
    match contest {
        Ok(contest) => {
            let drawn = text::draw(record, contest);
            steps.extend(text::compare(record, contest, &drawn));
            drawn.ok()
        }
        Err(why) => {
            let parts = [Part::Rows, Part::Sequences];
            steps.extend(parts.map(|part| Step::not_checked(part, why.as_str())));
            None
        }
    }
}
