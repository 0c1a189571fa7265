//! Options of `agon miner watch`.

use super::{ServiceArgs, node::block_time};
use clap::Args;
use protocol::Repo;
use std::{path::PathBuf, time::Duration};

/// Most submissions that a budget may have.
pub const SUBMISSIONS_MAX: u64 = 1_000;

/// Options of `agon miner watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon miner watch runs/ --config miner.toml --dry-run     what it would do, and nothing more
  agon miner watch runs/ --config miner.toml --margin 0.005 --submissions-max 2

Each new folder below DIR with `config.json` and safetensors files is judged as a validator would,
once it is whole and no longer changes, and measured beside the champion and the model that the
hotkey has committed to. Whatever would win by the rules of the competition, on two texts that no
checkpoint was measured on before, or in a duel on such texts where the rule is `duel`, is submitted
as `agon miner submit` does it. A line is printed for each checkpoint. Killed at any moment, it goes
on where it was.
Each option is a key of the file as well, and a variable (AGON_SUBMISSIONS_MAX). An option beats a
variable, which beats the file.")]
pub struct WatchMinerArgs {
    /// Folder in which checkpoints appear, at any depth down to 6.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub service: ServiceArgs,
    /// The competition to enter: its name, or a competition file.
    #[arg(long, value_name = "NAME")]
    pub competition: String,
    /// What repos are named by: each model goes to `OWNER/NAME-XXXXXXXX`, the digits being those of
    /// its files; without it to `USER/COMPETITION-XXXXXXXX`, the user being the token's.
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Option<Repo>,
    /// Fraction by which the perplexity must be lower still than what wins.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0, value_parser = fraction)]
    pub margin: f64,
    /// Most commitments that are made in a window.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=SUBMISSIONS_MAX))]
    pub submissions_max: u64,
    /// Blocks of that window; 7,200 are a day of Bittensor's.
    #[arg(long, value_name = "BLOCKS", default_value_t = 7_200)]
    pub submissions_window: u64,
    /// Rounds of fresh text for one measurement, each as long as a validator's; with rule `duel`,
    /// which may need more, at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=64))]
    pub rounds: u64,
    /// Time between two looks; a checkpoint is whole when two looks find the same.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = block_time)]
    pub interval: Duration,
    /// Say what would be submitted, and submit nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// A fraction that leaves something.
fn fraction(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no fraction from 0 to 0.5, such as 0.005");
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if (0.0..=0.5).contains(&number) { Ok(number) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_a_fraction() {
        for (text, value) in [("0", 0.0), ("0.005", 0.005), ("0.5", 0.5)] {
            assert_eq!(fraction(text), Ok(value));
        }
        for wrong in ["", "1", "-0.1", "NaN", "inf", "0.5 %"] {
            assert!(fraction(wrong).is_err(), "{wrong}");
        }
    }
}
