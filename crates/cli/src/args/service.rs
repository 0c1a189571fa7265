//! Options of the services, `agon validator`, `agon miner run` and `agon miner watch`: each is a
//! key of their configuration files, too, and a variable of the environment.

use super::{AddressArgs, EndpointArgs, WalletArgs};
use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};
use protocol::Repo;
use std::{net::SocketAddr, path::PathBuf};

/// Options of `agon validator`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon validator check --config validator.toml     whether keys, chain, hub, data, machine will do
  agon validator run --config validator.toml       measure models and set weights, for months
  agon validator status --config validator.toml    what it does, in one screen
  agon validator export --config validator.toml    its rounds as JSON lines

Each option is a key of the file as well (`fallback_endpoints = [\"wss://…\"]`), and a variable
(AGON_FALLBACK_ENDPOINTS). An option beats a variable, which beats the file.")]
pub struct ValidatorArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ValidatorCommand,
}

/// One command of `agon validator` each.
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// Measure models and set weights until told to stop.
    Run(RunValidatorArgs),
    /// Say whether keys, chain, hub, text and machine are fit for the work; nothing is signed.
    Check(CheckValidatorArgs),
    /// Say in one screen what the validator does: champions, rounds, weights, trouble.
    Status(StatusValidatorArgs),
    /// Print what all kept rounds came to, a JSON document a line.
    Export(ExportValidatorArgs),
}

/// What every service is told.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// TOML file with these options as keys.
    #[arg(long = "config", id = "service_config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Subnet on which the hotkey has a slot.
    #[arg(long)]
    pub netuid: u16,
    #[command(flatten)]
    pub address: AddressArgs,
    /// Folder of everything that the service must not forget; it goes on from where it was.
    #[arg(long, value_name = "DIR")]
    pub home: PathBuf,
    /// Folder with the files of datasets that competitions pin; without it the hub has them.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Threads that measure or train; without it all of the machine. Losses do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub owner: OwnerArgs,
    /// Address of /metrics, /healthz and /readyz; without it nobody is answered.
    #[arg(long, value_name = "ADDRESS", value_parser = super::listen)]
    pub listen: Option<SocketAddr>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// What the owner of the subnet may ask for where the owner's competitions are taken.
#[derive(Debug, Args)]
pub struct OwnerArgs {
    /// Largest model that a competition of the subnet's owner may admit; a set of competitions with
    /// a larger one is not taken.
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    pub owner_model_max: ByteSize,
    /// Most versions of competitions in a set of the subnet's owner that is taken.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub owner_competitions_max: usize,
    /// Blocks between the publication of a change of the owner's and the block from which on it can
    /// hold here.
    #[arg(long, value_name = "BLOCKS", default_value_t = protocol::set::NOTICE_BLOCKS)]
    pub owner_notice: u64,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON document on a line.
    Json,
}

/// What a validator is told.
#[derive(Debug, Args)]
pub struct RunValidatorArgs {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// A competition to judge: its name, or a competition file; several times for several, or with
    /// commas between them. `owner` takes those that the owner of the subnet publishes.
    #[arg(long = "competitions", value_name = "NAME", value_delimiter = ',', required = true)]
    pub competitions: Vec<String>,
    /// Most memory that measuring takes; parameters that do not fit stay in their files. Without it
    /// three quarters of the machine's.
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Version of the rules that is sent with weights.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub version_key: u64,
    #[command(flatten)]
    pub records: RecordsArgs,
    /// Set weights although another process with this hotkey did so shortly before: it has ended
    /// for good.
    #[arg(long)]
    pub take_over: bool,
}

/// Where records of a validator go, besides its home.
#[derive(Debug, Args)]
pub struct RecordsArgs {
    /// Dataset repo that signed records are published to as well, as `owner/name`; it is made where
    /// it is missing.
    #[arg(long, value_name = "OWNER/NAME")]
    pub records_repo: Option<Repo>,
    /// Address of the hub of that repo; without it the one of the models.
    #[arg(long, value_name = "URL")]
    pub records_hub: Option<String>,
    /// File with the token that may write to that repo; without it the one for the hub of the
    /// models.
    #[arg(long, value_name = "FILE")]
    pub records_token_file: Option<PathBuf>,
    /// Blocks between two commitments of the hotkey to the root of the published records; 0 for
    /// none.
    #[arg(long, value_name = "BLOCKS", default_value_t = ROOT_BLOCKS)]
    pub records_root_blocks: u64,
}

/// A day on Bittensor.
const ROOT_BLOCKS: u64 = 7_200;

/// Options of `agon validator check`.
#[derive(Debug, Args)]
pub struct CheckValidatorArgs {
    #[command(flatten)]
    pub run: RunValidatorArgs,
}

/// Options of `agon validator status`.
#[derive(Debug, Args)]
pub struct StatusValidatorArgs {
    #[command(flatten)]
    pub run: RunValidatorArgs,
    /// Show it again every few seconds.
    #[arg(long)]
    pub watch: bool,
}

/// Options of `agon validator export`.
#[derive(Debug, Args)]
pub struct ExportValidatorArgs {
    #[command(flatten)]
    pub run: RunValidatorArgs,
}

/// Options of `agon miner run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon miner run --config miner.toml
  agon miner run --config miner.toml --strategy rebase --steps 20000

Each option is a key of the file as well, and a variable (AGON_STEPS_PER_BLOCK). An option beats a
variable, which beats the file. Killed at any moment, the miner trains on from its checkpoint and
commits to nothing twice.")]
pub struct RunMinerArgs {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// The competition to enter: its name, or a competition file; `owner:NAME` takes one of those
    /// that the owner of the subnet publishes.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// Where models go, as `owner/name`.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Repo,
    /// Train from scratch, or from the champion's parameters.
    #[arg(long, value_enum, default_value = "pretrain")]
    pub strategy: StrategyName,
    /// Number that parameters and the order of the text come from; another one for each miner.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Hidden size of the Llama that is trained.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub hidden: usize,
    /// Layers of it.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub layers: usize,
    /// Steps after which training has ended; the rate of learning falls to a twentieth until then.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub steps: u64,
    /// Steps at each block.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub steps_per_block: u64,
    /// Steps before the first model is published.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub steps_unpublished: u64,
    /// Blocks between two measurements on held-back text, with each of which goes a checkpoint.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub blocks_per_measure: u64,
    /// Highest rate of learning.
    #[arg(long, value_name = "RATE", default_value_t = 0.003)]
    pub learning_rate: f64,
    /// Sequences of a step.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
}

/// How a miner gets its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StrategyName {
    /// From scratch.
    Pretrain,
    /// From the champion's parameters.
    Rebase,
}

impl super::Command {
    /// How a service writes its log; `None` for commands that are no services.
    pub fn log_format(&self) -> Option<LogFormat> {
        use super::{Command, MinerArgs, MinerCommand};
        match self {
            Command::Validator(ValidatorArgs { command: ValidatorCommand::Run(run) }) => {
                Some(run.service.log_format)
            }
            Command::Miner(MinerArgs { command: MinerCommand::Run(run) }) => {
                Some(run.service.log_format)
            }
            Command::Miner(MinerArgs { command: MinerCommand::Watch(watch) }) => {
                Some(watch.service.log_format)
            }
            _ => None,
        }
    }
}
