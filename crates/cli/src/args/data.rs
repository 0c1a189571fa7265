//! Options of `agon data`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Options of `agon data`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data info                                  the datasets that are known by name
  agon data info fineweb/                         what the parquet files of a folder hold
  agon data export tiny --to data/                training text and tokens of a competition
  agon data sample fineweb/ --seed 1 --documents 200
  agon data pin fineweb/ --dataset fineweb --config sample-10BT --revision 9bb2…
  agon data mirror my.toml --to mirror/ --dir fineweb/
  agon data tokenizer cl100k --ranks cl100k_base.tiktoken tokenizer.json

With AGON_MIRROR=mirror/ rounds read from the mirror whenever the hub does not answer.")]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// One command of `agon data` each.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Say what a dataset is: one known by name, a competition's, or files of this machine.
    Info(DataInfoArgs),
    /// Write the training text of a competition, its tokens and its tokenizer into a folder.
    Export(DataExportArgs),
    /// Draw documents that rounds evaluate on, and say what was read for them.
    Sample(DataSampleArgs),
    /// Show the row that a record names.
    Row(DataRowArgs),
    /// Print the part of a competition file that pins the parquet files of a repo.
    Pin(DataPinArgs),
    /// Copy what rounds can read of a pinned dataset, as a reserve.
    Mirror(DataMirrorArgs),
    /// Make a `tokenizer.json` of a published list of ranks.
    Tokenizer(DataTokenizerArgs),
}

/// Options of `agon data info`.
#[derive(Debug, Args)]
pub struct DataInfoArgs {
    /// Name of a dataset, a competition file, or a file or folder; without it, all known names.
    pub target: Option<String>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon data export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data export tiny --to data/
  agon data export tiny --to data/ --documents 100000 --seed 2
  agon data export my.toml --to data/ --all
Writes SPLIT.jsonl for `datasets`, SPLIT.npy for NumPy (rows of the competition's sequence length,
documents packed as in a round), tokenizer.json for transformers and export.json.")]
pub struct DataExportArgs {
    /// Name of a competition, or a competition file.
    #[arg(value_name = "NAME")]
    pub competition: String,
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Folder that holds the files of the pinned repo.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Which part of the text: rounds never evaluate on that for training.
    #[arg(long, value_enum, default_value_t = DataSplit::Train)]
    pub split: DataSplit,
    /// Documents to draw, none twice.
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub documents: u64,
    /// All documents of the split, in their order.
    #[arg(long, conflicts_with_all = ["documents", "seed"])]
    pub all: bool,
    /// Number that all chance of the draw comes from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataSplit {
    /// What miners train on.
    Train,
    /// What rounds evaluate on.
    Evaluation,
}

/// Options of `agon data sample`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data sample fineweb/ --seed 1 --documents 200
  agon data sample my.toml --dir fineweb/ --seed 1 --documents 200 --json
Files of a folder that no competition pins are read as they are.")]
pub struct DataSampleArgs {
    /// A competition, or a file or folder.
    pub target: String,
    /// Number that all chance of the draw comes from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Number of the draw: draws in a row share no row.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub turn: u64,
    /// Documents to draw.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub documents: u64,
    /// Folder that holds the files of the pinned repo.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON on stdout, texts included.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon data row`.
#[derive(Debug, Args)]
pub struct DataRowArgs {
    /// Its name, as `owner/name@REVISION/PATH#NUMBER`.
    pub id: String,
    /// The competition that pins the dataset.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// Folder that holds the files of the pinned repo.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon data pin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data pin --dataset fineweb --config sample-10BT >> my.toml
  agon data pin --repo acme/texts --revision v2 --column body >> my.toml
  agon data pin fineweb/ --dataset fineweb --config sample-10BT --revision 9bb2… >> my.toml
Of files on a hub that names their digests the footer and a row group are read. A part that is not
known by name is named like its folder. The hub is HF_ENDPOINT's, or Hugging Face's.")]
pub struct DataPinArgs {
    /// Folder that holds the files of the repo; without it they are read from the hub.
    #[arg(requires = "revision")]
    pub dir: Option<PathBuf>,
    /// Revision of the repo: of files in a folder the 40 hexadecimal digits, on the hub a branch or
    /// a tag, too, and the newest if none is named.
    #[arg(long)]
    pub revision: Option<String>,
    /// Name of a known dataset, which says repo, column and parts.
    #[arg(long, value_name = "NAME", required_unless_present = "repo")]
    pub dataset: Option<String>,
    /// Parts of the known dataset; all that there are files of, if none is named.
    #[arg(long, value_name = "NAME", requires = "dataset")]
    pub config: Vec<String>,
    /// Repo of any other dataset; all its parquet files are pinned.
    #[arg(long, value_name = "OWNER/NAME", conflicts_with = "dataset")]
    pub repo: Option<String>,
    /// Column with the text; `text` or `content`, if none is named.
    #[arg(long, value_name = "NAME", requires = "repo")]
    pub column: Option<String>,
}

/// Options of `agon data mirror`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data mirror my.toml --to mirror/
  agon data mirror my.toml --to mirror/ --dir fineweb/
The rows of a round are known only when its block is, so a mirror holds all that any round could
read: footers, and the text of every tenth row group. Call it again to go on where it stopped.")]
pub struct DataMirrorArgs {
    /// The competition that pins the dataset.
    pub competition: String,
    /// Folder of the mirror, which may serve several datasets.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Folder that holds the files of the pinned repo.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Read the files whole first, and check the digests that the competition pins.
    #[arg(long)]
    pub whole: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon data tokenizer`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon data tokenizer gpt2 --ranks r50k_base.tiktoken tokenizer.json
  agon data tokenizer cl100k --ranks cl100k_base.tiktoken tokenizer.json
The ranks are OpenAI's files, which come with the packages `tiktoken` and `tiktoken-rs`; their
digests are checked.")]
pub struct DataTokenizerArgs {
    /// Which tokenizer.
    pub kind: TokenizerKind,
    /// List of tokens by rank.
    #[arg(long, value_name = "FILE")]
    pub ranks: PathBuf,
    /// File to write.
    pub file: PathBuf,
}

/// A tokenizer that can be made of ranks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokenizerKind {
    /// GPT-2's, of the file `r50k_base.tiktoken`.
    Gpt2,
    /// GPT-4's, of the file `cl100k_base.tiktoken`.
    Cl100k,
}
