//! Options of `agon network`.

use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};

/// Options of `agon network`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon network new my-network
  agon network up --config my-network/network.toml
  agon network status --config my-network/network.toml

The first writes a folder with everything that a network needs: a file for each role, keys, tokens,
competitions and the first state of a chain. The second runs it: a node, a hub, validators and
miners, each a process of its own that is started again when it ends.")]
pub struct NetworkArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: NetworkCommand,
}

/// One command of `agon network` each.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Write the folder of a network: configuration, keys, tokens, competitions.
    New(NewNetworkArgs),
    /// Run a network: start its processes in order, and again when they end.
    Up(UpNetworkArgs),
    /// Show which processes of a network are up, and how far it is.
    Status(NetworkStatusArgs),
}

/// Options of `agon network new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon network new my-network
  agon network new big --validators 5 --miners 12 --block-time 12s --seed 7
  agon network new mine --competitions tiny,rules.toml

`network.toml` in the folder names everything and says what it is for. Keys have no passwords, so
that the network starts by itself: they are for this network alone. The wallet `owner` holds what
newcomers need.")]
pub struct NewNetworkArgs {
    /// Folder to make; it must be empty or not there yet.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Validators.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=64))]
    pub validators: u16,
    /// Miners; they are spread over the competitions.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=128))]
    pub miners: u16,
    /// Competitions: `tiny`, its smaller sister `nano`, or competition files.
    #[arg(long, value_delimiter = ',', default_values = ["tiny", "nano"], value_name = "NAME")]
    pub competitions: Vec<String>,
    /// Time between blocks, such as 250ms, 1s or 12s.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = super::node::block_time)]
    pub block_time: Duration,
    /// Blocks between two rounds of `tiny` and `nano`; without it those of half a minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(4..=10_000))]
    pub blocks_per_round: Option<u64>,
    /// Number that sets apart the chain and the texts of this network; keys are random always.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon network up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon network up --config my-network/network.toml
  agon network up --config my-network/network.toml --for 1h
  agon network up --config my-network/network.toml --until-block 500 --json > events.jsonl

Every line that a process writes goes to its file in `logs`, and to stderr behind its name. A
process that ends is started again after a second, then after two, and so on up to a minute; one
that has lived for some minutes counts as new. Ctrl-C ends all of them in good order, a second one
at once. Whatever is killed goes on where it was, this command as well.")]
pub struct UpNetworkArgs {
    /// The file `network.toml` of the network.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// End after this time, such as 90s, 10m, 6h or 7d.
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub span: Option<Duration>,
    /// End when the chain has this block.
    #[arg(long, value_name = "N")]
    pub until_block: Option<u64>,
    /// Print what happens on stdout, a line of JSON for each event.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon network status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon network status --config my-network/network.toml
  agon network status --config my-network/network.toml --json

The exit code is 1 where the network does not run.")]
pub struct NetworkStatusArgs {
    /// The file `network.toml` of the network.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// A time, written as a whole number with its unit.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "expected a time such as 90s, 10m, 6h or 7d")?;
    let seconds_per_unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "" => return Err(format!("{text} of what? write {text}s, {text}m, {text}h or {text}d")),
        unit => return Err(format!("`{unit}` is not one of the units s, m, h and d")),
    };
    let seconds = number.checked_mul(seconds_per_unit).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text} is no time that passes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_runs_for_a_time_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("6h", 21_600), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "s", "12", "0s", "1w", "-1s", "1.5h", "18446744073709551615d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
