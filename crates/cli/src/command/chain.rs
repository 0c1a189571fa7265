//! `agon chain`: reads and calls a chain, this machine's or Bittensor's.

mod calls;
pub mod doctor;
mod organiser;
mod read;
mod refusal;
mod session;
mod table;
mod weights;

pub use session::{Session, Signer, check_development, connect};
pub use table::swapped;

use crate::args::{ChainArgs, ChainCommand, SubnetCommand};
use std::process::ExitCode;

/// Runs one command against the chain that it names.
pub fn run(args: &ChainArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ChainCommand::Doctor(args) => return doctor::run(args),
        ChainCommand::Info(args) => read::info(args),
        ChainCommand::Metagraph(args) => read::metagraph(args),
        ChainCommand::Commitments(args) => read::commitments(args),
        ChainCommand::Balance(args) => read::balance(args),
        ChainCommand::Transfer(args) => calls::transfer(args),
        ChainCommand::Register(args) => calls::register(args),
        ChainCommand::Stake(args) => calls::stake(args),
        ChainCommand::Unstake(args) => calls::unstake(args),
        ChainCommand::Commit(args) => calls::commit(args),
        ChainCommand::SetWeights(args) => weights::set(args),
        ChainCommand::Subnet(args) => match &args.command {
            SubnetCommand::Create(args) => organiser::create(args),
            SubnetCommand::Start(args) => organiser::start(args),
            SubnetCommand::Identity(args) => organiser::identity(args),
            SubnetCommand::Set(args) => calls::set_rules(args),
            SubnetCommand::Show(args) => calls::show_rules(args),
        },
    }?;
    Ok(ExitCode::SUCCESS)
}
