//! `agon miner run`: trains, and enters each model that is clearly better.

use crate::{args::RunMinerArgs, service};
use std::process::ExitCode;

/// Runs it until it is told to stop.
pub fn run(args: &RunMinerArgs) -> anyhow::Result<ExitCode> {
    service::miner::run(args)
}
