//! Options of `agon competition`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `agon competition`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition list
  agon competition show tiny
  agon competition show tiny --tokenizer tokenizer.json
  agon competition show tiny --toml > my.toml      a file to change and to run: agon demo")]
pub struct CompetitionArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CompetitionCommand,
}

/// One command of `agon competition` each.
#[derive(Debug, Subcommand)]
pub enum CompetitionCommand {
    /// List the competitions that come with the program.
    List(ListCompetitionsArgs),
    /// Show the rules of a competition, and write its tokenizer.
    Show(ShowCompetitionArgs),
}

/// Options of `agon competition list`.
#[derive(Debug, Args)]
pub struct ListCompetitionsArgs {
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon competition show`.
#[derive(Debug, Args)]
pub struct ShowCompetitionArgs {
    /// Name of a competition, or a competition file.
    #[arg(value_name = "NAME")]
    pub competition: String,
    /// Write the tokenizer of the competition to this file, and check its digest.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Print the competition file.
    #[arg(long, conflicts_with = "json")]
    pub toml: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}
