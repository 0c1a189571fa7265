//! `agon network`: a network of processes that runs for days on this machine.

mod backoff;
mod create;
mod file;
mod heads;
mod lines;
mod log;
mod ports;
mod process;
mod register;
mod service;
mod status;
mod text;
mod up;
mod view;

use crate::args::{NetworkArgs, NetworkCommand};
use std::process::ExitCode;

/// Runs one command.
pub fn run(args: &NetworkArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        NetworkCommand::New(args) => create::run(args),
        NetworkCommand::Up(args) => up::run(args),
        NetworkCommand::Status(args) => status::run(args),
    }
}

#[cfg(test)]
mod tests;
