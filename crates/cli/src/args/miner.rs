//! Options of `agon miner`.

use super::{AddressArgs, RunMinerArgs, SignArgs, WatchMinerArgs};
use clap::{Args, Subcommand};
use protocol::Repo;
use std::path::PathBuf;

/// Options of `agon miner`.
#[derive(Debug, Args)]
pub struct MinerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: MinerCommand,
}

/// One command of `agon miner` each.
#[derive(Debug, Subcommand)]
pub enum MinerCommand {
    /// Enter a model into a competition: check it, upload it unseen, commit to it, publish it.
    Submit(SubmitArgs),
    /// Train a model, and enter each one that is clearly better, until told to stop.
    Run(RunMinerArgs),
    /// Enter what other programs train: each new checkpoint that would win, until told to stop.
    Watch(WatchMinerArgs),
}

/// Options of `agon miner submit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon miner submit my-model/ --competition tiny --wallet miner --netuid 1
  agon miner submit my-model/ --competition rules.toml --wallet miner --netuid 1 \\
      --repo alice/entry-7 --hub http://127.0.0.1:9950 --network ws://127.0.0.1:9944
The model is first judged as a validator would, then uploaded to a private repo of its own,
committed to on the chain, and made public when the commitment is final: whoever can list the files
of a model can commit to them, and before they are yours that is nobody but who may read your
private repos. Whatever interrupts this, the same command goes on where it was. Nothing is uploaded
to a repo that is public already, unless you insist.
The exit code is 0, or 1 if a validator would refuse the model; then nothing has left this machine.")]
pub struct SubmitArgs {
    /// Folder with `config.json` and the safetensors files.
    pub dir: PathBuf,
    /// The competition: its name, or a competition file.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// Subnet on which the hotkey has a slot.
    #[arg(long)]
    pub netuid: u16,
    /// Where the model goes; without it where the hotkey has committed to it already, or to
    /// `USER/COMPETITION-XXXXXXXX`, the user being the token's and the digits those of the files.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Option<Repo>,
    /// Go on although the repo is public, and everybody who watches it can commit to the same
    /// files before the commitment is final.
    #[arg(long)]
    pub public_before_commitment: bool,
    #[command(flatten)]
    pub address: AddressArgs,
    #[command(flatten)]
    pub sign: SignArgs,
}
