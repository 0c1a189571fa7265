//! The command line: one struct per command, every option with its meaning.

mod amount;
mod chain;
mod competition;
mod config;
mod dashboard;
mod data;
mod ecosystem;
mod hub;
mod lineage;
mod miner;
mod network;
mod node;
mod reference;
mod replay;
mod service;
mod sim;
mod transfer;
mod wallet;
mod watch;

pub use chain::{
    BalanceArgs, ChainArgs, ChainCommand, CommitArgs, CreateArgs, DoctorArgs, EndpointArgs,
    IdentityArgs, InfoArgs, MetagraphArgs, NamedNetwork, Network, RegisterArgs, SetArgs,
    SetWeightsArgs, ShowArgs, SignArgs, StakeArgs, StartArgs, StateArgs, SubnetCommand,
    TransferArgs,
};
pub use competition::{
    CheckCompetitionArgs, CompetitionArgs, CompetitionCommand, NewCompetitionArgs, Parameters,
    PinCompetitionArgs, ProposeCompetitionArgs, PublishCompetitionsArgs, PublishedCompetitionsArgs,
    ShowCompetitionArgs,
};
pub use config::{is_key, takes_config, variable};
pub use dashboard::DashboardArgs;
pub use data::{
    DataArgs, DataCommand, DataExportArgs, DataInfoArgs, DataMirrorArgs, DataPinArgs, DataRowArgs,
    DataSampleArgs, DataSplit, DataTokenizerArgs, TokenizerKind,
};
pub use hub::HubArgs;
pub use lineage::LineageArgs;
pub use miner::{MinerArgs, MinerCommand, SubmitArgs};
pub use network::{NetworkArgs, NetworkCommand, NetworkStatusArgs, NewNetworkArgs, UpNetworkArgs};
pub use node::NodeArgs;
pub use reference::{Page, ReferenceArgs};
pub use replay::{AskedModels, EvidenceArgs, ReplayArgs};
pub use service::{
    CheckValidatorArgs, ExportValidatorArgs, LogFormat, OwnerArgs, RecordsArgs, RunMinerArgs,
    RunValidatorArgs, ServiceArgs, StatusValidatorArgs, StrategyName, ValidatorArgs,
    ValidatorCommand,
};
pub use sim::{CommonSimArgs, RunSimArgs, SimArgs, SimCommand, SweepSimArgs, ZooSimArgs};
pub use transfer::{AddressArgs, DownloadArgs, PlaceArgs, UploadArgs};
pub use wallet::{
    CreateWalletArgs, ImportWalletArgs, ListWalletsArgs, WalletArgs, WalletCommand,
    WalletCommandArgs,
};
pub use watch::{SUBMISSIONS_MAX, WatchMinerArgs};

use bytesize::ByteSize;
use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::ErrorKind,
};
use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
};

/// An open network for LLM pretraining competitions: miners train and publish language models,
/// validators measure them on fresh text, and a chain pays whoever is best.
#[derive(Debug, Parser)]
#[command(name = "agon", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Options and variables that mean nothing here, each with the reason.
    #[arg(skip)]
    pub ignored: Vec<(String, &'static str)>,
}

const EXAMPLES: &str = "Examples:
  agon demo                                    a whole network on this machine, in minutes
  agon demo --corpus my-texts/ --rounds 4      the same on your own text
  agon competition list                        what there is to win, and by which rules
  agon data export tiny --to data/             training text, tokens and tokenizer
  agon check --model DIR --competition tiny    what a validator would say of a model
  agon evaluate --model DIR --text FILE --tokenizer tokenizer.json --sequence-length 128
  agon sample --competition tiny --block-hash 0x…   the documents of a round, by anyone
  agon data sample FOLDER --documents 5        rows of parquet files, few of their bytes read
  agon score round.json                        losses to wins, win rates and weights
  agon replay --home agon-home                 whether records say what their inputs give
  agon sim zoo --seeds 20                      what attacks earn, by simulation
  agon network new my-network                  a folder with a network that runs for days
  agon network up --config my-network/network.toml   …and it runs
  agon node --block-time 250ms                 a chain of your own, for Bittensor's clients too
  agon validator run --config validator.toml   judge models and set weights, for months
  agon miner submit my-model/ --competition tiny --netuid 1    enter a competition
  agon upload my-model/ alice/my-model         publish a folder on a hub
  agon dashboard --netuid 1 --records DIR      pages about a network, for a browser
  agon hub --dir models                        a model hub of your own, for Hugging Face's clients
  agon wallet create --wallet miner            keys, in the files of Bittensor's wallets
  agon chain metagraph --netuid 1              who has which slot, stake and incentive";

/// The command line of this process; ends the process where it asks for help or is wrong. An error
/// is of a configuration file.
pub fn read() -> anyhow::Result<Arguments> {
    let environment = |name: &str| std::env::var(name).ok();
    let mut given = ecosystem::translated(std::env::args_os(), &environment);
    let mut command = config::configured(command(&environment), &given.words, &environment)?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = config::unknown_variables(&command, &given.words, names);
    given.ignored.extend(unknown.into_iter().map(|name| (name, "no option has this name")));
    let matches =
        command.try_get_matches_from_mut(given.words).unwrap_or_else(|error| error.exit());
    if let Some(error) = contradiction(&matches, &environment) {
        command.error(ErrorKind::ValueValidation, error).exit();
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Ok(Arguments { ignored: given.ignored, ..arguments })
}

/// Variables of Bittensor's programs that disagree about an option that nothing else decides.
fn contradiction(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut leaf = matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    ecosystem::contradiction(leaf, environment, &|id| config::decides(leaf, id, environment))
}

/// The command as it describes itself, whatever the environment says.
pub fn described() -> clap::Command {
    let mut command = command(&|_| None);
    command.build();
    command
}

/// The command with all that its options know.
fn command(environment: &dyn Fn(&str) -> Option<String>) -> clap::Command {
    with_home(ecosystem::named(Arguments::command(), environment))
}

/// The same command, whose options for paths all know `~`: a shell leaves it alone after `=`, and
/// a folder of that name is one that nobody wants.
fn with_home(command: clap::Command) -> clap::Command {
    use clap::builder::ValueParser;
    let is_path =
        |arg: &clap::Arg| arg.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>();
    let command = command.mut_args(|arg| match is_path(&arg) {
        true => arg.value_parser(ValueParser::new(HomePath)),
        false => arg,
    });
    command.mut_subcommands(with_home)
}

/// Reads a path, in which a leading `~` is the home folder.
#[derive(Clone)]
struct HomePath;

impl clap::builder::TypedValueParser for HomePath {
    type Value = PathBuf;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<PathBuf, clap::Error> {
        clap::builder::PathBufValueParser::new().parse_ref(command, arg, value).map(in_home)
    }
}

/// The same path, in which a leading `~` is the home folder.
fn in_home(path: PathBuf) -> PathBuf {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home,
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// An address to listen on: a host, by number or by name, and a port.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{text}` is no address to listen on, such as 127.0.0.1:9944");
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| wrong())?.collect();
    // Clients try the older kind first, too.
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(wrong)
}

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole network on this machine: miners train, validators measure, the chain pays.
    Demo(DemoArgs),
    /// Turn losses into wins, win rates and weights (equations 3 to 6 of the paper).
    Score(ScoreArgs),
    /// Run one epoch of Yuma Consensus on a JSON description of a subnet.
    Yuma(YumaArgs),
    /// Measure the loss of a model on tokens or text.
    Evaluate(EvaluateArgs),
    /// Say how far two models are apart: by their parameters, and by their losses.
    Lineage(LineageArgs),
    /// List competitions, show their rules, write their tokenizers, and pin them.
    Competition(CompetitionArgs),
    /// Say what a validator would say of a model before evaluating it.
    Check(CheckArgs),
    /// Measure one model for a validator, isolated; or try how isolated that is on this machine.
    #[command(hide = true)]
    Evaluator(EvaluatorArgs),
    /// Show the documents and batches that a block hash selects.
    Sample(SampleArgs),
    /// Derive validators' records again: signatures, text, losses, evidence, decisions, weights.
    Replay(ReplayArgs),
    /// Multiply the independent evidence of several validators.
    Evidence(EvidenceArgs),
    /// Look at datasets, pin them for a competition, and keep a reserve of them.
    Data(DataArgs),
    /// Make a network of processes that runs for days on this machine, and run it.
    Network(NetworkArgs),
    /// Run a chain on this machine, for several processes or machines to share.
    Node(NodeArgs),
    /// Run a hub for models and datasets on this machine, for Hugging Face's clients.
    Hub(HubArgs),
    /// Serve pages about a network: who is champion, since when, how sure that is, and why.
    Dashboard(DashboardArgs),
    /// Read and call a chain: this machine's, or Bittensor's.
    Chain(ChainArgs),
    /// Judge models and set weights: run a validator, and look after it.
    Validator(ValidatorArgs),
    /// Train models, and enter them into competitions.
    Miner(MinerArgs),
    /// Publish a folder on a hub.
    Upload(UploadArgs),
    /// Fetch what is published on a hub.
    Download(DownloadArgs),
    /// Make, import and list keys.
    Wallet(WalletCommandArgs),
    /// Simulate seasons of strategies: what do the rules pay for?
    Sim(SimArgs),
    /// Print the pages of the documents that list all options.
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

/// Options of `agon demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon demo
  agon demo --seed 2 --rounds 4 --steps 30
  agon demo --corpus book.txt --home /tmp/agon --json > demo.json
  agon demo --competition my.toml --rounds 3
  agon demo --miner my-model/ --rounds 3 --keep")]
pub struct DemoArgs {
    /// Number that all randomness of the run comes from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Folder for everything the run writes; a run in it that was interrupted or killed goes on,
    /// one that has ended or is another is renamed, such as agon-home-1.
    #[arg(long, default_value = "agon-home", value_name = "DIR")]
    pub home: PathBuf,
    /// Delete an earlier run in the folder instead.
    #[arg(long)]
    pub force: bool,
    /// Any UTF-8 text to compete on, instead of the generated corpus.
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub corpus: Option<PathBuf>,
    /// Rules to compete by, instead of those of `tiny`: a competition file, or a name.
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    pub competition: Option<String>,
    /// A model of your own as one more miner, called `yours`.
    #[arg(long, value_name = "DIR")]
    pub miner: Option<PathBuf>,
    /// Rounds of evaluation; the chain pays after each.
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// Training steps of each miner between two rounds; with 30 a run takes a third of the time.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub steps: u64,
    /// Address of the pages about the run; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS", value_parser = listen)]
    pub dashboard: SocketAddr,
    /// Keep the pages up after the run, with its chain and its hub, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Print one JSON document on stdout instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon score`.
#[derive(Debug, Args)]
#[command(after_help = "Input, `null` being an infinite loss:
  {\"rule\": \"succession\", \"loss\": \"perplexity\",
   \"epsilon\": {\"kind\": \"fixed\", \"value\": 0.005},
   \"temperature\": 0.01, \"block\": 1000,
   \"models\": [{\"uid\": 3, \"block\": 100, \"cross_entropy\": [2.1, null]}]}

Other rules: \"wins\", the paper to the letter; \"mean\", the reference's since 4.5.
Optional: \"unigram\": 5.5, the loss of a table of the text's token frequencies,
which a model must be below; in a model, \"root\": \"sha256:...\", of which the
senior alone counts. `merit` says why a model counts or does not.

A record of a validator is read as it is, and its verdicts are derived again:
  agon score agon-home/validator-1/records/tiny/000000/000001.json \\
    --competition agon-home/competition.toml
The exit code is 1 if the record says something else than its losses give. Whether losses,
texts and hashes are true only a new evaluation tells.")]
pub struct ScoreArgs {
    /// JSON file with losses, or a record; `-` reads standard input.
    pub file: PathBuf,
    /// Rules of a record, where no competition that comes with the program has them.
    #[arg(long, value_name = "NAME")]
    pub competition: Option<String>,
}

/// Options of `agon yuma`.
#[derive(Debug, Args)]
#[command(after_help = "Input, rows of weights and bonds as pairs of uid and value:
  {\"n\": 2, \"block\": 100, \"tempo\": 10, \"activity_cutoff\": 5000, \"kappa\": 32767,
   \"bonds_moving_average\": 900000, \"max_allowed_validators\": 1, \"stake_rao\": [1000, 0],
   \"validator_permit_before\": [true, false], \"last_update\": [95, 0],
   \"block_at_registration\": [0, 0], \"weights_u16\": [[[1, 65535]], []],
   \"bonds_before_u16\": [[], []]}
optional: \"emission_rao\": 9020050347, \"yuma3\": true, \"bonds_penalty\": 65535;
\"expect\" is read over, so that a case of a list of vectors can be given as it is")]
pub struct YumaArgs {
    /// JSON file with stake, weights, bonds and hyper-parameters; `-` reads standard input.
    pub file: PathBuf,
}

/// Options of `agon evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon evaluate --model DIR --tokens tokens.json --json
  agon evaluate --model DIR --text book.txt --tokenizer tokenizer.json --sequence-length 1024
  agon evaluate --model DIR --tokens tokens.json --memory-limit 4GiB
  agon sample --competition tiny --block-hash 0x… --json | agon evaluate --model DIR --tokens -
  agon evaluate --model DIR --tokens tokens.json --device cuda")]
pub struct EvaluateArgs {
    /// Folder with `config.json` and `model.safetensors`.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// JSON file `{"sequences": [[ids]]}`, or what `agon sample --json` prints; `-` for standard
    /// input. Every token after the first of each sequence is predicted.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "tokenizer", "sequence_length"], required_unless_present = "text")]
    pub tokens: Option<PathBuf>,
    /// UTF-8 text, packed into sequences.
    #[arg(long, value_name = "FILE", requires_all = ["tokenizer", "sequence_length"])]
    pub text: Option<PathBuf>,
    /// `tokenizer.json` that turns the text into tokens.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens per sequence, the first token included.
    #[arg(long, value_name = "N")]
    pub sequence_length: Option<usize>,
    /// What stands in front of each sequence of a text: what the tokenizer puts there, if it
    /// does; its first token, or the model's; or nothing.
    #[arg(long, value_enum, default_value = "auto", conflicts_with = "tokens")]
    pub first_token: FirstToken,
    /// Threads; the losses are the same for any number.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Sequences computed together, 4 unless a GPU is used; the losses are the same for any number.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Give the loss of every token.
    #[arg(long)]
    pub per_token: bool,
    /// Most memory to take, such as `2GiB`: a model that would fill more than half of it is read
    /// layer by layer while it is computed. The losses are the same.
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,

    /// `cpu`, or `cuda` or `cuda:N` for an NVIDIA GPU, which is fast and rounds to BF16: an
    /// estimate, never a verdict.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// What stands in front of each sequence of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FirstToken {
    /// What the tokenizer's post-processor puts there, if it does.
    Auto,
    /// The beginning of text: of the tokenizer, or of the model's config.
    Bos,
    /// Nothing, as the rounds of a competition have it.
    None,
}

/// Where a model is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

/// `cpu`, `cuda` or `cuda:N`.
fn device(text: &str) -> Result<Device, String> {
    let ordinal = match text.split_once(':') {
        None if text == "cpu" => return Ok(Device::Cpu),
        None if text == "cuda" => Some(0),
        Some(("cuda", number)) => number.parse().ok(),
        _ => None,
    };
    ordinal.map(Device::Cuda).ok_or_else(|| "expected `cpu`, `cuda` or `cuda:N`".to_owned())
}

/// Options of `agon check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon check --model DIR --competition tiny
  agon check --model DIR --competition tiny --tensors
  agon check --model DIR --competition tiny --probe
The exit code is 0, or 1 if the model is refused.")]
pub struct CheckArgs {
    /// Folder with `config.json` and `model.safetensors`.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Name of a competition, or a competition file.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// Show how large the numbers of every tensor are.
    #[arg(long)]
    pub tensors: bool,
    /// Train a few steps on text of the competition: the loss must not rise. Llamas only.
    #[arg(long)]
    pub probe: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon evaluator`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon evaluator --self-test
The exit code is 0, or 1 if an evaluator can do anything that it must not.")]
pub struct EvaluatorArgs {
    /// Folder of the model; the request is read from standard input.
    #[arg(value_name = "DIR", required_unless_present = "self_test", conflicts_with_all = ["self_test", "json"])]
    pub dir: Option<PathBuf>,
    /// Most private memory to take.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    pub memory_limit: ByteSize,
    /// Have an evaluator try to reach files, network, programs and memory that are not its own.
    #[arg(long)]
    pub self_test: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// Name of a competition, or a competition file.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// Hash of the block that seeds the round, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub block_hash: String,
    /// Number of that block; counts where rounds in a row must share no row of a pinned dataset.
    #[arg(long, value_name = "N")]
    pub block: Option<u64>,
    /// Folder of the files of a pinned dataset; without it they are read from the hub.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::{amount::tao, *};
    use std::ffi::OsString;

    #[test]
    fn the_command_line_is_well_formed() {
        command(&|_| None).debug_assert();
        command(&|_| Some("local".to_owned())).debug_assert();
    }

    #[test]
    fn every_option_for_a_path_knows_the_home_folder() {
        let home = std::env::home_dir().unwrap();
        let parse = |words: &[&str]| {
            let matches = command(&|_| None).try_get_matches_from(words).unwrap();
            Arguments::from_arg_matches(&matches).unwrap().command
        };
        let Command::Wallet(args) = parse(&["agon", "wallet", "list", "--wallet-path=~/w"]) else {
            panic!("another command");
        };
        let WalletCommand::List(args) = args.command else { panic!("another command") };
        assert_eq!(args.wallet_path, Some(home.join("w")));
        for (given, expected) in [("~", home), ("~x", "~x".into()), ("a/~/b", "a/~/b".into())] {
            let option = format!("--home={given}");
            let Command::Node(args) = parse(&["agon", "node", &option]) else {
                panic!("another command");
            };
            assert_eq!(args.home, expected);
        }
    }

    /// What `agon chain balance` is told by these words and variables, and what contradicts itself.
    fn told(words: &str, variables: &[(&str, &str)]) -> (ArgMatches, Option<String>) {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let words = ["agon chain balance", words].join(" ");
        let matches = command(&read).try_get_matches_from(words.split_whitespace()).unwrap();
        let contradiction = contradiction(&matches, &read);
        (matches, contradiction)
    }

    /// The network, the wallet and the hotkey of `agon chain balance` with these words and
    /// variables.
    fn balance(words: &str, variables: &[(&str, &str)]) -> (NamedNetwork, String, String) {
        let (matches, contradiction) = told(words, variables);
        assert_eq!(contradiction, None, "{words} {variables:?}");
        let Command::Chain(args) = Arguments::from_arg_matches(&matches).unwrap().command else {
            panic!("another command");
        };
        let ChainCommand::Balance(args) = args.command else { panic!("another command") };
        (args.endpoint.network, args.wallet.wallet, args.wallet.hotkey)
    }

    #[test]
    fn options_and_variables_of_bittensors_programs_mean_what_they_mean_there() {
        let url = |url: &str| Network::At(url.to_owned());
        let local = NamedNetwork { network: Network::Local, variable: None };
        assert_eq!(balance("", &[]), (local, "default".to_owned(), "default".to_owned()));
        for (words, variables, network) in [
            ("--network test", &[][..], Network::Test),
            ("--network ws://a:1", &[], url("ws://a:1")),
            ("--chain wss://a", &[], url("wss://a")),
            ("--subtensor.network finney", &[], Network::Finney),
            ("--subtensor.network archive", &[], Network::Archive),
            ("--subtensor.chain_endpoint wss://a:443", &[], url("wss://a:443")),
            ("", &[("BT_NETWORK", "test")], Network::Test),
            ("", &[("BT_SUBTENSOR_NETWORK", "finney"), ("BT_NETWORK", "finney")], Network::Finney),
            ("", &[("BT_SUBTENSOR_CHAIN_ENDPOINT", "ws://a:1")], url("ws://a:1")),
            ("", &[("BT_NETWORK", " ")], Network::Local),
            ("--network test", &[("BT_SUBTENSOR_CHAIN_ENDPOINT", "ws://a:1")], Network::Test),
        ] {
            assert_eq!(balance(words, variables).0.network, network, "{words} {variables:?}");
        }
        for (words, variables) in [
            ("--wallet.name me --wallet.hotkey two", &[][..]),
            ("--wallet me --hotkey two", &[]),
            ("--wallet-name me --wallet-hotkey two", &[]),
            ("", &[("BT_WALLET_NAME", "me"), ("BT_WALLET_HOTKEY", "two"), ("BT_WALLET", "me")]),
            ("--wallet me", &[("BT_WALLET", "x"), ("BT_WALLET_HOTKEY", "two")]),
        ] {
            let (_, wallet, hotkey) = balance(words, variables);
            assert_eq!((wallet.as_str(), hotkey.as_str()), ("me", "two"), "{words} {variables:?}");
        }
    }

    #[test]
    fn a_network_that_a_variable_names_is_known_as_such_and_variables_must_agree() {
        let of = |words: &str, variables: &[(&str, &str)]| balance(words, variables).0.variable;
        assert_eq!(of("", &[("BT_NETWORK", "finney")]).as_deref(), Some("BT_NETWORK"));
        assert_eq!(of("", &[("BT_NETWORK", " ")]), None);
        assert_eq!(of("--network finney", &[("BT_NETWORK", "finney")]), None);
        let left_over = [("BT_SUBTENSOR_CHAIN_ENDPOINT", "wss://a"), ("BT_NETWORK", "test")];
        let error = told("", &left_over).1.unwrap();
        for word in ["BT_SUBTENSOR_CHAIN_ENDPOINT", "wss://a", "BT_NETWORK", "test", "--network"] {
            assert!(error.contains(word), "no {word} in {error}");
        }
        assert_eq!(told("--network test", &left_over).1, None, "the command line decides");
        let wallets = [("BT_WALLET_NAME", "me"), ("BT_WALLET", "x")];
        assert!(told("", &wallets).1.unwrap().contains("--wallet"));
        assert_eq!(told("--wallet me", &wallets).1, None);
    }

    #[test]
    fn variables_for_what_a_command_does_not_take_are_none_of_its_business() {
        let read = |name: &str| {
            let network = ["BT_NETWORK", "BT_SUBTENSOR_NETWORK"].contains(&name);
            network.then(|| format!("ws://{name}"))
        };
        let matches = command(&read).try_get_matches_from(["agon", "wallet", "list"]).unwrap();
        assert_eq!(contradiction(&matches, &read), None);
    }

    #[test]
    fn a_variable_of_ours_decides_for_a_service_whatever_others_say() {
        let told = |own: Option<(&str, &str)>| {
            let left_over = [("BT_NETWORK", "test"), ("BT_SUBTENSOR_NETWORK", "finney")];
            let read = |name: &str| {
                let found = left_over.into_iter().chain(own).find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_owned())
            };
            let words = ["agon", "validator", "check", "--home", "h", "--netuid", "1"];
            let words = words.into_iter().chain(["--competitions", "c"]).map(OsString::from);
            let words: Vec<OsString> = words.collect();
            let command = config::configured(command(&read), &words, &read).unwrap();
            let matches = command.try_get_matches_from(&words).unwrap();
            let contradiction = contradiction(&matches, &read);
            let Command::Validator(args) = Arguments::from_arg_matches(&matches).unwrap().command
            else {
                panic!("another command");
            };
            let ValidatorCommand::Check(args) = args.command else { panic!("another command") };
            (args.run.service.endpoint.network, contradiction)
        };
        let (network, contradiction) = told(Some(("AGON_NETWORK", "ws://a:1")));
        let at = Network::At("ws://a:1".to_owned());
        assert_eq!(network, NamedNetwork { network: at, variable: None });
        assert_eq!(contradiction, None);
        for own in [None, Some(("AGON_NETWORK", " ")), Some(("AGON_HOME", "x"))] {
            assert!(told(own).1.unwrap().contains("BT_SUBTENSOR_NETWORK"), "{own:?}");
        }
    }

    #[test]
    fn a_network_that_nobody_knows_is_refused_with_those_that_are_known() {
        for wrong in ["fnney", "http://a", "a:9944", ""] {
            let words = ["agon", "chain", "info", "--network", wrong];
            let error = command(&|_| None).try_get_matches_from(words).unwrap_err().to_string();
            assert!(error.contains("finney") && error.contains("ws://"), "{error}");
        }
    }

    #[test]
    fn an_address_to_listen_on_may_be_a_name() {
        assert_eq!(listen("127.0.0.1:9944"), Ok(SocketAddr::from(([127, 0, 0, 1], 9944))));
        assert!(listen("localhost:9944").unwrap().ip().is_loopback());
        for wrong in ["localhost", "9944", "", "127.0.0.1:99999"] {
            assert!(listen(wrong).unwrap_err().contains("no address to listen on"), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_exact_to_the_rao() {
        for (text, rao) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            ("0.000000001", 1),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(tao(text), Ok(rao));
        }
        for wrong in
            ["", ".", ".5", "-1", "1e3", "1.0000000001", "0", "0.0", "18446744073.709551616"]
        {
            assert!(tao(wrong).is_err(), "{wrong}");
        }
    }
}
