//! `agon validator`: the service, and looking after it.

mod check;
pub mod speed;
mod status;

use crate::{
    args::{ValidatorArgs, ValidatorCommand},
    service,
};
use std::process::ExitCode;

/// Runs one command.
pub fn run(args: &ValidatorArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ValidatorCommand::Run(args) => service::validator::run(args),
        ValidatorCommand::Check(args) => check::run(args),
        ValidatorCommand::Status(args) => status::run(args),
        ValidatorCommand::Export(args) => status::export(args),
    }
}
