//! Options of `agon lineage`.

use clap::Args;
use std::path::PathBuf;

/// Options of `agon lineage`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon lineage mine theirs
  agon evaluate --model mine --tokens tokens.json --json > mine.json
  agon evaluate --model theirs --tokens tokens.json --json > theirs.json
  agon lineage mine theirs --losses mine.json theirs.json --json")]
pub struct LineageArgs {
    /// Folder of the first model, with `config.json` and `model.safetensors`.
    #[arg(value_name = "DIR_A")]
    pub first: PathBuf,
    /// Folder of the second model.
    #[arg(value_name = "DIR_B")]
    pub second: PathBuf,
    /// What `agon evaluate --json` printed of the first and of the second model, on the same
    /// tokens.
    #[arg(long, num_args = 2, value_names = ["FILE", "FILE"])]
    pub losses: Vec<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}
