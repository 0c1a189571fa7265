//! Options of `agon competition`.

use super::{AddressArgs, EndpointArgs, SignArgs};
use clap::{Args, Subcommand};
use protocol::Repo;
use std::{fmt, path::PathBuf, str::FromStr};

/// Options of `agon competition`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition list
  agon competition show tiny
  agon competition show tiny --tokenizer tokenizer.json
  agon competition show tiny --toml > my.toml      a file to change and to run: agon demo
  agon competition pin 7b                          the paper's, ready to run: 7b.pinned.toml
  agon competition new mine.toml                   a competition of your own, by questions
  agon competition check mine.toml                 is its text enough, how noisy is a verdict
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
    /// Write a competition file of one's own, by questions or by options.
    New(NewCompetitionArgs),
    /// Say whether a competition can be run: its text, the noise of verdicts, what a round takes.
    Check(CheckCompetitionArgs),
    /// Offer the owner of a subnet money for a competition, and pay.
    Propose(ProposeCompetitionArgs),
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
  agon competition publish mine.toml --repo me/rules --netuid 1 --from-block 81000 \\
      --accept ann/wanted --price 500
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
    /// A repo with an offer to take in, as far as what was paid buys; several times for several.
    #[arg(long, value_name = "OWNER/NAME", requires = "price", requires = "from_block")]
    pub accept: Vec<Repo>,
    /// What the whole reward of a day costs, in TAO: a competition that pays a tenth of that has a
    /// tenth of the reward.
    #[arg(long, value_name = "TAO", value_parser = super::amount::tao)]
    pub price: Option<u64>,
    /// File of the payments that were verified: an endpoint forgets blocks, and it does not.
    #[arg(long, value_name = "FILE", default_value = "agon-payments.json")]
    pub ledger: PathBuf,
    #[command(flatten)]
    pub sign: SignArgs,
    #[command(flatten)]
    pub address: AddressArgs,
}

/// Options of `agon competition propose`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition propose mine.toml --repo ann/wanted --netuid 1 --tao-per-day 50 --wallet ann
  agon competition propose mine.toml --repo ann/wanted --netuid 1 --tao-per-day 50 --pay 350
The file says from which block to which it is wanted. The offer is signed by the wallet's coldkey;
--pay sends TAO to the owner of the subnet, and the repo says in which block. The owner takes it in
with `agon competition publish --accept`, or does not: nobody can make an owner do so, and what was
paid is paid. So pay a day first, and more when `agon competition status` shows the competition.")]
pub struct ProposeCompetitionArgs {
    /// Competition file, with a first and a last block.
    #[arg(value_name = "FILE")]
    pub competition: String,
    /// Dataset repo for it and for the offer.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Repo,
    /// Subnet.
    #[arg(long)]
    pub netuid: u16,
    /// TAO for a day of 7,200 blocks.
    #[arg(long, value_name = "TAO", value_parser = super::amount::tao)]
    pub tao_per_day: u64,
    /// Pay so much now.
    #[arg(long, value_name = "TAO", value_parser = super::amount::tao)]
    pub pay: Option<u64>,
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

/// Options of `agon competition new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition new mine.toml
  agon competition new mine.toml --name mine --text books/ --parameters-max 100M
  agon competition new mine.toml --name mine --text HuggingFaceFW/fineweb --parameters-max 3B
What no option says is asked on a terminal, and is what is usual elsewhere. The file is commented,
and every field of it can be changed.")]
pub struct NewCompetitionArgs {
    /// File to write.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name of the competition, of a-z, 0-9 and `-`.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Number in commitments, unique on the subnet; without it one that follows from the name.
    #[arg(long, value_name = "N")]
    pub id: Option<u16>,
    /// Where text comes from: a file or a folder of yours, or a dataset of a hub, OWNER/NAME.
    #[arg(long, value_name = "FILE_OR_DIR_OR_REPO")]
    pub text: Option<String>,
    /// Most parameters of a model, such as 100M or 7B.
    #[arg(long, value_name = "N")]
    pub parameters_max: Option<Parameters>,
    /// Fewest parameters; without it a tenth of the most.
    #[arg(long, value_name = "N")]
    pub parameters_min: Option<Parameters>,
    /// Admitted architectures, with commas between them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub architectures: Vec<String>,
    /// Tokens of the tokenizer that is trained on the text.
    #[arg(long, value_name = "N")]
    pub vocabulary: Option<usize>,
    /// Tokens of a sequence.
    #[arg(long, value_name = "N")]
    pub sequence_length: Option<usize>,
    /// Blocks between two rounds.
    #[arg(long, value_name = "BLOCKS")]
    pub blocks_per_round: Option<u64>,
    /// First block at which the rules hold.
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    pub from_block: u64,
    /// Share of the reward, relative to other competitions.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub reward_share: f64,
    /// Replace a file that is there already.
    #[arg(long)]
    pub force: bool,
}

/// A number of parameters: digits, or as the field writes them, such as `7B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters(pub u64);

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::rules_text::parameters(self.0))
    }
}

impl FromStr for Parameters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no number of parameters, such as 100M or 7B");
        let scales = [('k', 1e3), ('K', 1e3), ('M', 1e6), ('B', 1e9)];
        let scale = scales.iter().find(|(letter, _)| text.ends_with(*letter));
        let Some((letter, scale)) = scale else {
            let plain: String = text.chars().filter(|letter| *letter != '_').collect();
            return plain.parse().map(Self).map_err(|_| wrong());
        };
        let number = text.strip_suffix(*letter).unwrap_or(text);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let n = number * scale;
        if (1.0..1e15).contains(&n) { Ok(Self(n.round() as u64)) } else { Err(wrong()) }
    }
}

/// Options of `agon competition check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon competition check mine.toml
  agon competition check mine.toml --model a/ --model b/     how far luck moves their difference
  agon competition check 7b.pinned.toml --tokens-per-second 4000   on a machine that is not this one
Each line begins with ok, note or BAD; the exit code is 1 where one is BAD.")]
pub struct CheckCompetitionArgs {
    /// A competition file, or the name of a competition that comes with the program.
    #[arg(value_name = "FILE")]
    pub competition: String,
    /// Folder with the files of datasets that the competition pins; without it the hub has them.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A model that the competition admits; two of them, to measure their difference.
    #[arg(long = "model", value_name = "DIR")]
    pub models: Vec<PathBuf>,
    /// Tokens of the largest model that a validator measures in a second; without it this machine
    /// is measured.
    #[arg(long, value_name = "N")]
    pub tokens_per_second: Option<f64>,
    /// Seconds between two blocks of the chain.
    #[arg(long, value_name = "SECONDS", default_value_t = 12.0)]
    pub block_seconds: f64,
    /// Threads that measure; without it all of the machine.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_parameters_are_read_as_people_write_them() {
        for (text, n) in
            [("7B", 7_000_000_000), ("100M", 100_000_000), ("1.5k", 1_500), ("1_000", 1_000)]
        {
            assert_eq!(text.parse(), Ok(Parameters(n)), "{text}");
        }
        for wrong in ["", "B", "7BB", "-1M", "0B", "1e30B", "seven"] {
            assert!(wrong.parse::<Parameters>().is_err(), "{wrong}");
        }
    }
}
