//! The command line: one struct per command, every option with its meaning.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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
}

const EXAMPLES: &str = "Examples:
  agon demo                                    a whole network on this machine, in minutes
  agon demo --corpus my-texts/ --rounds 4      the same on your own text
  agon check --model DIR --competition tiny    what a validator would say of a model
  agon evaluate --model DIR --text FILE --tokenizer tokenizer.json --sequence-length 128
  agon sample --competition tiny --block-hash 0x…   the documents of a round, by anyone
  agon score round.json                        losses to wins, win rates and weights";

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
    /// Say what a validator would say of a model before evaluating it.
    Check(CheckArgs),
    /// Show the documents and batches that a block hash selects.
    Sample(SampleArgs),
}

/// Options of `agon demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon demo
  agon demo --seed 2 --rounds 4
  agon demo --corpus book.txt --home /tmp/agon --json > demo.json")]
pub struct DemoArgs {
    /// Number that all randomness of the run comes from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Folder for everything the run writes; made anew by each demo.
    #[arg(long, default_value = "agon-home", value_name = "DIR")]
    pub home: PathBuf,
    /// Any UTF-8 text to compete on, instead of the generated corpus.
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub corpus: Option<PathBuf>,
    /// Rounds of evaluation; the chain pays after each.
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// Print one JSON document on stdout instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon score`.
#[derive(Debug, Args)]
#[command(after_help = "Input, `null` being an infinite loss:
  {\"rule\": \"wins\", \"loss\": \"perplexity\", \"epsilon\": {\"kind\": \"fixed\", \"value\": 0.005},
   \"temperature\": 0.01, \"block\": 1000,
   \"models\": [{\"uid\": 3, \"block\": 100, \"cross_entropy\": [2.1, null]}]}")]
pub struct ScoreArgs {
    /// JSON file with the losses; `-` reads standard input.
    pub file: PathBuf,
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
  agon evaluate --model DIR --text book.txt --tokenizer tokenizer.json --sequence-length 1024")]
pub struct EvaluateArgs {
    /// Folder with `config.json` and `model.safetensors`.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// JSON file `{"sequences": [[ids]]}`, `-` for standard input; every token after the first
    /// of each is predicted.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "tokenizer", "sequence_length"], required_unless_present = "text")]
    pub tokens: Option<PathBuf>,
    /// UTF-8 text, packed into sequences.
    #[arg(long, value_name = "FILE", requires_all = ["tokenizer", "sequence_length"])]
    pub text: Option<PathBuf>,
    /// `tokenizer.json` that turns the text into tokens.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens per sequence.
    #[arg(long, value_name = "N")]
    pub sequence_length: Option<usize>,
    /// Threads; the losses are the same for any number.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Sequences computed together; the losses are the same for any number.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub batch: usize,
    /// Give the loss of every token.
    #[arg(long)]
    pub per_token: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Folder with `config.json` and `model.safetensors`.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Name of a competition, or a competition file.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
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
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}
