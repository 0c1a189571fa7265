//! `agon miner watch`: enters what others train, when it would win.

use crate::{args::WatchMinerArgs, service};
use std::process::ExitCode;

/// Runs it until it is told to stop.
pub fn run(args: &WatchMinerArgs) -> anyhow::Result<ExitCode> {
    service::watch::run(args)
}
