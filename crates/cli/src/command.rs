//! The commands, one file each.

pub mod chain;
pub mod check;
mod competition;
mod dashboard;
mod data;
mod demo;
mod download;
mod evaluate;
mod evaluator;
mod evidence;
mod hub;
mod lineage;
pub mod miner;
mod network;
mod node;
mod reference;
mod replay;
mod sample;
mod score;
mod sim;
mod upload;
mod validator;
pub mod wallet;
mod yuma;

use crate::{args::Command, private};
use std::process::ExitCode;

/// Runs a command; the exit code is 0, or 1 where a check says no.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    if matches!(
        command,
        Command::Wallet(_)
            | Command::Chain(_)
            | Command::Miner(_)
            | Command::Network(_)
            | Command::Validator(_)
            | Command::Competition(_)
    ) {
        private::forbid_core_dumps();
    }
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Yuma(args) => yuma::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Dashboard(args) => dashboard::run(&args),
        Command::Lineage(args) => lineage::run(&args),
        Command::Evaluator(args) => evaluator::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Competition(args) => competition::run(&args),
        Command::Reference(args) => reference::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Evidence(args) => evidence::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Network(args) => network::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Hub(args) => hub::run(&args),
        Command::Chain(args) => chain::run(&args),
        Command::Validator(args) => validator::run(&args),
        Command::Miner(args) => miner::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::Download(args) => download::run(&args),
        Command::Wallet(args) => wallet::run(&args),
    }
}
