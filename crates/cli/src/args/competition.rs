//! Options of `agon competition`.

use super::{AddressArgs, EndpointArgs, SignArgs};
use clap::{Args, Subcommand};
use protocol::Repo;
use std::path::PathBuf;

/// Options of `agon competition`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition list
  agon competition show tiny
  agon competition show tiny --tokenizer tokenizer.json
  agon competition show tiny --toml > my.toml      a file to change and to run: agon demo
  agon competition pin 7b                          the paper's, ready to run: 7b.pinned.toml
  agon competition publish a.toml b.toml --repo me/rules --netuid 1
  agon competition status --netuid 1               what is published, and what comes")]
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
    /// Write a competition file that pins its text and its tokenizer on a hub.
    Pin(PinCompetitionArgs),
    /// Publish the competitions of a subnet: files on a hub, their digest on the chain.
    Publish(PublishCompetitionsArgs),
    /// Show the competitions that the owner of a subnet has published, and what changes when.
    Status(PublishedCompetitionsArgs),
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

/// Options of `agon competition pin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition pin 7b                     writes 7b.pinned.toml
  agon competition pin my.toml --revision 9bb2… --tokenizer-revision main
  agon competition pin 7b --config CC-MAIN-2013-20 --config CC-MAIN-2024-10
  agon competition pin my.toml --dir fineweb/ --revision 9bb2…
Parts that the file names keep their weights:
  [[dataset.configs]]
  name = \"sample-10BT\"
  weight = 2
The footer of each file is read, and a row group as a round would: two requests a file. Limits that
the hub tells are kept. A run that was ended goes on where it was when the same command is given
again. The hub is HF_ENDPOINT's, or Hugging Face's.")]
pub struct PinCompetitionArgs {
    /// A competition file, or the name of a competition that comes with the program.
    #[arg(value_name = "FILE")]
    pub competition: String,
    /// File to write; NAME.pinned.toml beside FILE, if none is named.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub force: bool,
    /// Branch, tag or revision of the dataset; what FILE names, or the newest.
    #[arg(long, value_name = "NAME")]
    pub revision: Option<String>,
    /// Parts of the dataset; those that FILE names, or all that are known by name.
    #[arg(long, value_name = "NAME")]
    pub config: Vec<String>,
    /// Branch, tag or revision of the tokenizer; what FILE names, or the newest.
    #[arg(long, value_name = "NAME")]
    pub tokenizer_revision: Option<String>,
    /// Folder that holds the files of the dataset; without it they are read from the hub.
    #[arg(long, value_name = "DIR", requires = "revision")]
    pub dir: Option<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon competition publish`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition publish 7b.pinned.toml mine.toml --repo me/rules --netuid 1
  agon competition publish mine.toml --repo me/rules --netuid 1 --from-block 81000
The files are all competitions that the subnet has from then on; several with one name are versions
of it. They become a dataset repo of the hub; then the hotkey that owns the subnet commits to their
digest, and validators with `competitions = \"owner\"` take them. What holds now and for a day (7,200
blocks) cannot change: --from-block keeps it and begins whatever is new at that block, where a
competition that no file names ends. Repeated after an interruption, it goes on.")]
pub struct PublishCompetitionsArgs {
    /// Competition files, or names of competitions that come with the program.
    #[arg(value_name = "FILE", required = true)]
    pub competitions: Vec<String>,
    /// Dataset repo for them, with a name of at most 31 letters.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Repo,
    /// Subnet whose competitions they are.
    #[arg(long)]
    pub netuid: u16,
    /// First block at which whatever differs from what is published holds.
    #[arg(long, value_name = "BLOCK")]
    pub from_block: Option<u64>,
    /// Change at once: only on a chain of `agon node`.
    #[arg(long)]
    pub now: bool,
    /// Publish although what was published before cannot be had any more. Whoever holds it changes
    /// a day later.
    #[arg(long)]
    pub lost: bool,
    #[command(flatten)]
    pub sign: SignArgs,
    #[command(flatten)]
    pub address: AddressArgs,
}

/// Options of `agon competition status`.
#[derive(Debug, Args)]
pub struct PublishedCompetitionsArgs {
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub address: AddressArgs,
}
