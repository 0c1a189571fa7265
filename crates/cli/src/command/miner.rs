//! `agon miner`: what a miner does besides training.

mod place;
mod submit;

use crate::args::{MinerArgs, MinerCommand};
use std::process::ExitCode;

/// Runs one command.
pub fn run(args: &MinerArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        MinerCommand::Submit(args) => submit::run(args),
    }
}
