//! `agon demo`: a whole network on this machine, from genesis to payout.

mod attackers;
mod cast;
mod conduct;
mod network;
mod recipes;
mod report;
mod summary;
mod view;

use crate::{
    args::DemoArgs,
    failure::HintExt as _,
    private,
    terminal::{self, print_json},
};
use anyhow::Context as _;
use cast::Role;
use network::Network;
use report::Report;
use std::{fs, path::Path, process::ExitCode, time::Instant};
use view::View;

/// Marks a folder as the home of a demo, which the next demo may replace.
const MARKER: &str = ".agon-demo";

/// Runs the demo and prints its result.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let stop = terminal::stop_on_signal()?;
    make_home(&args.home)?;
    let mut network = Network::set_up(args, &stop)?;
    let per_round = network.contest.competition.evaluation.blocks_per_round;
    let view = View::new(&Role::all(), conduct::n_blocks(per_round, args.rounds));
    view.name_slots(
        network.uids.iter().map(|(role, uid)| (*uid, role.name().to_owned())).collect(),
    );
    view.say(&opening(&network, args));
    let rounds = conduct::conduct(&mut network, args.rounds, &view, &stop);
    view.end();
    let rounds = rounds.hint(format!("what was done so far lies in `{}`", args.home.display()))?;
    let mut report = Report::new(&network, &rounds, args.seed)?;
    report.wall_seconds = started.elapsed().as_secs_f64();
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&summary::text(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the home folder anew; a folder with anything that is not a demo's is left alone.
fn make_home(home: &Path) -> anyhow::Result<()> {
    let foreign = fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_some())
        && !home.join(MARKER).exists();
    if foreign {
        return Err(anyhow::anyhow!("`{}` holds files that are no demo's", home.display()))
            .hint("name an empty or new folder with --home");
    }
    let make = || -> anyhow::Result<()> {
        if home.exists() {
            fs::remove_dir_all(home)?;
        }
        private::make_home(home, MARKER)?;
        fs::write(home.join(MARKER), "made by `agon demo`; the next demo here replaces it\n")?;
        Ok(())
    };
    make()
        .with_context(|| format!("cannot make the folder `{}` anew", home.display()))
        .hint("name a folder that can be written with --home")
}

fn opening(network: &Network, args: &DemoArgs) -> String {
    let competition = &network.contest.competition;
    let scoring = &competition.scoring;
    format!(
        "competition `{}` on {}\n{} validators, {} miners, {} rounds of {} batches, one every {} \
         blocks; epsilon {:?}, temperature {}; files in {}\n",
        competition.name,
        network.contest.source.describe(),
        Role::VALIDATORS.len(),
        Role::MINERS.len(),
        args.rounds,
        competition.evaluation.n_batches,
        competition.evaluation.blocks_per_round,
        scoring.epsilon,
        scoring.temperature,
        args.home.display(),
    )
}
