//! Options of `agon chain`.

use super::{AddressArgs, WalletArgs};
use chain::{HyperparameterChange, Mechanism};
use clap::{Args, Subcommand};
use protocol::{AccountId, Repo, Revision, Uid};
use std::{fmt, path::PathBuf};

/// Options of `agon chain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples, against `agon node` on this machine:
  agon chain info
  agon chain transfer --wallet //Alice --to 5F… 1500
  agon chain subnet create --wallet owner
  agon chain register --wallet miner --netuid 1
  agon chain stake --wallet validator --netuid 1 100
  agon chain commit --wallet miner --netuid 1 'me:my-model:…'
  agon chain set-weights --wallet validator --netuid 1 3=0.7 5=0.3
  agon chain metagraph --netuid 1

and against Bittensor:
  agon chain info --network finney
  agon chain metagraph --network test --netuid 1 --json
  agon chain info --network wss://my-node:9944 --fallback-endpoints wss://lite.sub.latent.to:443

Options and variables of Bittensor's programs mean what they mean there: --subtensor.network,
--subtensor.chain_endpoint, --wallet.name, --wallet.hotkey, --wallet.path, --logging.debug;
BT_NETWORK, BT_CHAIN_ENDPOINT (what local is), BT_SUBTENSOR_…, BT_WALLET…, BT_LOGGING_….
An option beats a variable; of variables that disagree none is taken. On Bittensor's networks --yes
counts only where --network is said here, and not by a variable.")]
pub struct ChainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ChainCommand,
}

/// One command of `agon chain` each.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Say which chain this is, how far it is, and which subnets it has.
    Info(InfoArgs),
    /// Show the slots of a subnet: stake, permits, incentive, dividends.
    Metagraph(MetagraphArgs),
    /// Show what the miners of a subnet have committed.
    Commitments(StateArgs),
    /// Show the free balance of a wallet or an account.
    Balance(BalanceArgs),
    /// Move balance to another account.
    Transfer(TransferArgs),
    /// Buy a slot on a subnet for the wallet's hotkey.
    Register(RegisterArgs),
    /// Put balance behind a hotkey.
    Stake(StakeArgs),
    /// Take stake back into balance.
    Unstake(StakeArgs),
    /// Publish a commitment under the wallet's hotkey.
    Commit(CommitArgs),
    /// Set the weights of the wallet's hotkey, a validator with a permit.
    SetWeights(SetWeightsArgs),
    /// Open a subnet, start it, say what it is, or change its rules.
    Subnet(SubnetArgs),
    /// Say whether endpoint, clock, subnet, keys and hub are fit for a first day.
    Doctor(DoctorArgs),
}

/// Where the chain is.
#[derive(Debug, Args)]
pub struct EndpointArgs {
    /// The chain: local, test, finney, archive, or an address, `ws://…` or `wss://…`.
    #[arg(long, default_value = "local", value_name = "NAME_OR_URL", value_parser = network)]
    pub network: NamedNetwork,
    /// Other endpoints of the same chain, the better ones first, for when one does not answer.
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = endpoint)]
    pub fallback_endpoints: Vec<String>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// A chain, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    /// The chain.
    pub network: Network,
    /// The variable that named it, where the command line did not.
    pub variable: Option<String>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// `agon node` on this machine, or where BT_CHAIN_ENDPOINT says.
    Local,
    /// Bittensor's test network.
    Test,
    /// Bittensor's main network.
    Finney,
    /// The same, by an endpoint that holds its whole history.
    Archive,
    /// Whatever is at an address.
    At(String),
}

/// Reads a network; one that a variable names begins with the variable and `=`.
pub(super) fn network(text: &str) -> Result<NamedNetwork, String> {
    let (variable, name) = match text.split_once('=') {
        Some((variable, name)) if variable.starts_with("BT_") => (Some(variable.to_owned()), name),
        _ => (None, text),
    };
    let of = variable.as_ref().map(|variable| format!("{variable}: ")).unwrap_or_default();
    let network = plain_network(name).map_err(|error| format!("{of}{error}"))?;
    Ok(NamedNetwork { network, variable })
}

fn plain_network(text: &str) -> Result<Network, String> {
    Ok(match text {
        "local" => Network::Local,
        "test" => Network::Test,
        "finney" => Network::Finney,
        "archive" => Network::Archive,
        url => Network::At(endpoint(url).map_err(|_| {
            format!("`{url}` is neither local, test, finney or archive nor ws://… or wss://…")
        })?),
    })
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Test => "test",
            Self::Finney => "finney",
            Self::Archive => "archive",
            Self::At(url) => url.as_str(),
        })
    }
}

fn endpoint(url: &str) -> Result<String, String> {
    let is_address = ["ws://", "wss://"].iter().any(|begin| {
        url.strip_prefix(begin).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    let wrong = || format!("`{url}` is not the address of a chain, ws://… or wss://…");
    is_address.then(|| url.to_owned()).ok_or_else(wrong)
}

/// Who signs, and how.
#[derive(Debug, Args)]
pub struct SignArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Do not ask before signing for a public network; one of Bittensor's has to be named by
    /// --network, then, and not by a variable.
    #[arg(long, short)]
    pub yes: bool,
}

/// Options of `agon chain info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

/// Options of `agon chain metagraph`.
#[derive(Debug, Args)]
pub struct MetagraphArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// Whose weights, bonds, updates and incentive: a mechanism of the subnet by its number.
    #[arg(long, default_value = "0", value_name = "N", value_parser = mechanism)]
    pub mechid: Mechanism,
}

/// Options of `agon chain commitments`, and what those of `agon chain metagraph` begin with.
#[derive(Debug, Args)]
pub struct StateArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// State after this block; without it, after the newest.
    #[arg(long, value_name = "NUMBER")]
    pub block: Option<u64>,
}

/// Options of `agon chain doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon chain doctor --network test
  agon chain doctor --network finney --netuid 9 --wallet validator --with-hub
  agon chain doctor --with-hub --repo alice/my-model

It signs nothing with your keys and sends no call. Each line begins with ok, note or BAD; the exit
code is 1 where one is BAD. What an endpoint or a hub does not tell is a note. What only a first day
shows, such as that the chain takes a call, it cannot say.")]
pub struct DoctorArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Look at this subnet, too, and at the slot of the wallet's hotkey on it.
    #[arg(long)]
    pub netuid: Option<u16>,
    /// Look at the hub, too: whether it answers, whose token is used and what it may do, and what
    /// the hub's limits leave.
    #[arg(long)]
    pub with_hub: bool,
    /// Repo that a miner publishes to: whether the token may write to it.
    #[arg(long, value_name = "OWNER/NAME", requires = "with_hub")]
    pub repo: Option<Repo>,
    #[command(flatten)]
    pub hub: AddressArgs,
}

/// Options of `agon chain balance`.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// An account, instead of the wallet's coldkey.
    #[arg(long, value_name = "ADDRESS")]
    pub account: Option<AccountId>,
}

/// Options of `agon chain transfer`.
#[derive(Debug, Args)]
pub struct TransferArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Who gets it.
    #[arg(long, value_name = "ADDRESS")]
    pub to: AccountId,
    /// How much, in TAO, with up to nine decimals.
    #[arg(value_name = "TAO", value_parser = super::amount::tao)]
    pub amount_rao: u64,
}

/// Options of `agon chain register`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// Pay no more than this for the slot, in TAO: the chain itself holds to it, unless its runtime
    /// is too old for that; then the price is looked at before the call is sent.
    #[arg(long, value_name = "TAO", value_parser = super::amount::tao)]
    pub limit: Option<u64>,
}

/// Options of `agon chain stake` and `agon chain unstake`.
#[derive(Debug, Args)]
pub struct StakeArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet; on a chain where all stake is TAO it counts everywhere.
    #[arg(long)]
    pub netuid: u16,
    /// Another hotkey than the wallet's own.
    #[arg(long, value_name = "ADDRESS")]
    pub hotkey_address: Option<AccountId>,
    /// How much, in TAO, with up to nine decimals.
    #[arg(value_name = "TAO", value_parser = super::amount::tao)]
    pub amount_rao: u64,
}

/// Options of `agon chain commit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon chain commit --netuid 1 'any text of at most 128 bytes'
  agon chain commit --netuid 1 --model DIR --repo me/my-model --revision 1f3a… --competition tiny

With --model the text names the model as validators read it: where it is, which revision, and the
hash of its files bound to your hotkey. The text is worth nothing under another key, but whoever
can list the files can bind them to a key of its own, and be the senior: keep the repo private until
the commitment is final, and make it public then, as `agon miner submit` does.")]
pub struct CommitArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// The text, if it is not made from a model.
    #[arg(value_name = "TEXT", required_unless_present = "model", conflicts_with = "model")]
    pub text: Option<String>,
    /// Folder with the model.
    #[arg(long, value_name = "DIR", requires_all = ["repo", "revision", "competition"])]
    pub model: Option<PathBuf>,
    /// Where it is on the hub.
    #[arg(long, value_name = "OWNER/NAME", requires = "model")]
    pub repo: Option<Repo>,
    /// Which revision of it.
    #[arg(long, value_name = "HEX", requires = "model")]
    pub revision: Option<Revision>,
    /// The competition that it enters: its name, or a competition file.
    #[arg(long, value_name = "NAME", requires = "model")]
    pub competition: Option<String>,
}

/// Options of `agon chain set-weights`.
#[derive(Debug, Args)]
pub struct SetWeightsArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// For which mechanism of the subnet, by its number.
    #[arg(long, default_value = "0", value_name = "N", value_parser = mechanism)]
    pub mechid: Mechanism,
    /// Version of the rules that the validator runs.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub version_key: u64,
    /// Where the subnet hides weights, wait until the chain has opened them, and say so.
    #[arg(long)]
    pub wait: bool,
    /// Weights as UID=WEIGHT; only their ratios count.
    #[arg(value_name = "UID=WEIGHT", required = true, value_parser = weight)]
    pub weights: Vec<(Uid, f64)>,
}

/// Options of `agon chain subnet`.
#[derive(Debug, Args)]
pub struct SubnetArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SubnetCommand,
}

/// One command of `agon chain subnet` each.
#[derive(Debug, Subcommand)]
pub enum SubnetCommand {
    /// Open a subnet; its price is locked, and the wallet's hotkey gets the first slot.
    Create(CreateArgs),
    /// Start a subnet that was opened: no epoch of it pays before; for its owner alone.
    Start(StartArgs),
    /// Show what the owner says of a subnet, or, as the owner, say it.
    Identity(Box<IdentityArgs>),
    /// Change a rule of a subnet; for its owner alone.
    Set(SetArgs),
    /// Show the rules of a subnet.
    Show(ShowArgs),
}

/// Options of `agon chain subnet create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Pay no more than this for the subnet, in TAO.
    #[arg(long, value_name = "TAO", value_parser = super::amount::tao)]
    pub limit: Option<u64>,
    /// Wait until the chain takes another subnet, at no higher a price than --limit; and, where it
    /// queues for a place, until it is there.
    #[arg(long)]
    pub wait: bool,
}

/// Options of `agon chain subnet start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
}

/// Options of `agon chain subnet identity`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon chain subnet identity --netuid 1
  agon chain subnet identity --netuid 1 --wallet owner --name agon --github https://example.com/me

Without a part to set, what is said is shown. What is not given stays as it is; an empty text takes
it away. Explorers show these: anybody can read them.")]
pub struct IdentityArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// Its name, at most 256 bytes.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Where its code is, at most 1,024 bytes.
    #[arg(long, value_name = "URL")]
    pub github: Option<String>,
    /// Whom to write to, at most 1,024 bytes.
    #[arg(long, value_name = "TEXT")]
    pub contact: Option<String>,
    /// Its page, at most 1,024 bytes.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where its people talk, at most 256 bytes.
    #[arg(long, value_name = "TEXT")]
    pub discord: Option<String>,
    /// What it is for, at most 1,024 bytes.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Address of its logo, at most 1,024 bytes.
    #[arg(long, value_name = "URL")]
    pub logo_url: Option<String>,
    /// Anything else, at most 1,024 bytes.
    #[arg(long, value_name = "TEXT")]
    pub additional: Option<String>,
}

/// Options of `agon chain subnet show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
}

/// Options of `agon chain subnet set`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  agon chain subnet set --wallet owner --netuid 1 tempo=20 weights_rate_limit=10")]
pub struct SetArgs {
    #[command(flatten)]
    pub sign: SignArgs,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// Rules with their new values, under the names of the hyper-parameters.
    #[arg(value_name = "RULE=VALUE", required = true, value_parser = change)]
    pub changes: Vec<HyperparameterChange>,
}

fn mechanism(text: &str) -> Result<Mechanism, String> {
    let number = text.parse().ok().filter(|number| *number < Mechanism::COUNT_MAX);
    let last = Mechanism::COUNT_MAX - 1;
    number.map(Mechanism).ok_or_else(|| format!("`{text}` is not a number from 0 to {last}"))
}

fn weight(text: &str) -> Result<(Uid, f64), String> {
    let (uid, weight) = text.split_once('=').ok_or("expected UID=WEIGHT, such as 3=0.7")?;
    let uid = uid.parse().map_err(|_| format!("`{uid}` is not a uid"))?;
    let number: f64 = weight.parse().map_err(|_| format!("`{weight}` is not a number"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(format!("a weight is a number from 0 on, not {weight}"));
    }
    Ok((Uid(uid), number))
}

fn change(text: &str) -> Result<HyperparameterChange, String> {
    let (rule, value) = text.split_once('=').ok_or("expected RULE=VALUE, such as tempo=20")?;
    let value: serde_json::Value = serde_json::from_str(value)
        .map_err(|_| format!("`{value}` is neither a number nor true or false"))?;
    serde_json::from_value(serde_json::json!({ rule: value })).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
