//! `agon demo`: a whole network on this machine, from genesis to payout.

mod attackers;
mod calendar;
mod cast;
mod conduct;
mod home;
mod network;
mod own;
mod pages;
mod plan;
mod recipes;
mod report;
mod rules;
mod summary;
mod view;
mod words;

use super::replay::{self, home::AtWork};
use crate::{
    args::DemoArgs,
    failure::{HintExt as _, Interrupted},
    rules_text::{epsilon, plural},
    terminal::{self, print_json},
};
use anyhow::Context as _;
use cast::Role;
use home::{Claim, Earlier, Run};
use hub::content::{digest_of_file, file_root};
use hugging_face::Folder;
use network::Network;
use plan::Plan;
use protocol::competition::Rule;
use report::Report;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::Instant,
};
use view::View;

/// Runs the demo, or goes on with one that was ended, and prints its result.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let stop = terminal::stop_on_signal()?;
    let (run, earlier) = (run_of(args)?, if args.force { Earlier::Replace } else { Earlier::Keep });
    let claim = Claim::of(&args.home, &run, earlier)?;
    // Before an earlier run makes room for this one.
    let plan = Plan::new(args, &claim)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    // Ours to the end of the run.
    let home = claim.take()?;
    if let Some(moved_to) = &home.moved_to {
        let (home, moved_to) = (args.home.display(), moved_to.display());
        eprintln!("the earlier run in {home} is now in {moved_to} (--force replaces it)");
    }
    let mut network = Network::set_up(args, plan, &stop, home.goes_on)?;
    home.is_set_up(&run)?;
    let view = View::new(&network.roles(), network.calendar.n_blocks());
    view.name_slots(
        network.uids.iter().map(|(role, uid)| (*uid, role.name().to_owned())).collect(),
    );
    // It ends before the network that it reads.
    let pages = pages::serve(args, network.beside()?)?;
    view.say(&opening(&network, args, &pages.url()));
    if home.goes_on {
        let block = network.node.head().block;
        view.say(&format!("the run goes on at block {block} (--force begins again)"));
    }
    let conducted = conduct::conduct(&mut network, &view, &stop);
    view.end();
    conducted.hint(format!(
        "what was done so far lies in `{}`; the same command goes on from there",
        args.home.display()
    ))?;
    let mut report = Report::new(network.end(args)?, args.seed)?;
    report.wall_seconds = started.elapsed().as_secs_f64();
    home.has_ended(&report)?;
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&summary::text(&report))?;
    }
    // Last of all, and by what anybody can read: anybody can do it again.
    let at_work = network.at_work();
    let (replayed, is_equal) = replay::last_of_home(&args.home, &at_work, &stop)?;
    match args.json {
        true => terminal::tell(&replayed),
        false => terminal::print(&format!("{replayed}\n"))?,
    }
    if args.keep {
        let (url, AtWork { chain, hub, .. }) = (pages.url(), &at_work);
        terminal::tell(&format!("watch it at {url} until Ctrl-C; chain {chain}, hub {hub}"));
        terminal::wait_for_stop(&stop);
    }
    Ok(if is_equal { ExitCode::SUCCESS } else { ExitCode::from(replay::report::DIFFERS) })
}

/// What makes a run the same: what the user asked for, in this version of the program.
fn run_of(args: &DemoArgs) -> anyhow::Result<Run> {
    let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let competition = args.competition.as_ref().map(|name| {
        // A file, or the name of one that comes with the program.
        Path::new(name)
            .canonicalize()
            .map_or_else(|_| name.clone(), |path| path.display().to_string())
    });
    let digest_of = |model: &PathBuf| {
        let files = Folder::of_model(model)?.list(&|_, _| true)?;
        Ok::<_, anyhow::Error>(file_root(&files))
    };
    let miner = args.miner.as_ref().map(|model| {
        digest_of(model).with_context(|| format!("cannot take the model in `{}`", model.display()))
    });
    let (_, program) = digest_of_file(&std::env::current_exe()?, &|_| true)?;
    Ok(Run {
        program,
        seed: args.seed,
        rounds: args.rounds,
        steps: args.steps,
        corpus: args.corpus.as_ref().map(whole),
        competition,
        miner: miner.transpose()?,
    })
}

fn opening(network: &Network, args: &DemoArgs, url: &str) -> String {
    let competition = &network.contest.competition;
    let (scoring, rules) = (&competition.scoring, &competition.evaluation);
    format!(
        "competition `{}` on {}\n{}, {}, {} of {}, one every {}\n\
         epsilon {}, temperature {}; files in {}\n\
         watch it at {url}\n",
        competition.name,
        network.contest.source.describe(),
        plural(Role::VALIDATORS.len(), "validator"),
        plural(network.roles().len() - Role::VALIDATORS.len(), "miner"),
        plural(args.rounds as usize, "round"),
        match rules.n_batches {
            n if scoring.rule == Rule::Duel => format!("up to {n} documents"),
            1 => "1 batch".to_owned(),
            n => format!("{n} batches"),
        },
        plural(rules.blocks_per_round as usize, "block"),
        epsilon(scoring.epsilon),
        scoring.temperature,
        args.home.display(),
    )
}
