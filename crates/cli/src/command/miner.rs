//! `agon miner`: the service that trains, and models that were trained elsewhere.

pub mod entrant;
pub mod place;
mod run;
mod submit;
mod watch;

use crate::args::{MinerArgs, MinerCommand};
use std::process::ExitCode;

/// Runs one command.
pub fn run(args: &MinerArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        MinerCommand::Submit(args) => submit::run(args),
        MinerCommand::Run(args) => run::run(args),
        MinerCommand::Watch(args) => watch::run(args),
    }
}
