//! Options of `agon node`.

use clap::Args;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Options of `agon node`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon node                                    a chain of one node, a block every 12 s
  agon node --block-time 250ms                 the same on a fast clock
  agon node --home /var/lib/agon --listen 0.0.0.0:9944
  agon node --hub-listen 127.0.0.1:9950        with a hub: all that a network of one's own needs
  agon node --spec network.toml                subnets, rules and accounts of your own

A spec is TOML; accounts are SS58 addresses or development keys:
  seed = 1                                     sets apart the hashes of this network
  network_price_tao = 1000                     what opening a subnet costs
  [[accounts]]
  account = \"//Alice\"
  tao = 100000
  [[subnets]]
  owner = \"//Alice\"
  hyperparameters = { tempo = 20, weights_rate_limit = 10 }

Without a spec the accounts //Alice, //Bob, //Charlie, //Dave, //Eve and //Ferdie hold 100,000 TAO
each, and there is no subnet yet. These keys are known to everybody: such a network is for
development alone.")]
pub struct NodeArgs {
    /// Folder of the chain; the node goes on from where it was.
    #[arg(long, default_value = "agon-node", value_name = "DIR")]
    pub home: PathBuf,
    /// Address to listen on, for WebSocket and HTTP; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9944", value_name = "ADDRESS")]
    #[arg(value_parser = super::listen)]
    pub listen: SocketAddr,
    /// Run a hub for models beside the chain, in the same folder, and listen for its clients here;
    /// as `agon hub` does.
    #[arg(long, value_name = "ADDRESS", value_parser = super::listen)]
    pub hub_listen: Option<SocketAddr>,
    /// Time between blocks, such as 250ms, 12s or 1m; without it that of the last start in this
    /// folder, or 12s. Clients that keep what they were told of a chain may go on with the old one.
    #[arg(long, value_name = "TIME", value_parser = block_time)]
    pub block_time: Option<Duration>,
    /// Answer for the state after any block, not of the newest 1,024 alone: every 256th is kept in
    /// the folder, and those between are made again when they are asked for.
    #[arg(long)]
    pub archive: bool,
    /// TOML file with what a new chain starts with; a chain that is there must have started so.
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Print one line of JSON on stdout when the node listens, and nothing more.
    #[arg(long)]
    pub json: bool,
}

/// A time from 10 ms to an hour, written as a whole number with its unit.
pub(super) fn block_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "expected a time such as 250ms, 12s or 1m")?;
    let ms = match &text[digits.len()..] {
        "ms" => number,
        "s" => number.saturating_mul(1_000),
        "m" => number.saturating_mul(60_000),
        "" => return Err(format!("{text} of what? write {text}ms, {text}s or {text}m")),
        unit => return Err(format!("`{unit}` is not one of the units ms, s and m")),
    };
    if !(10..=3_600_000).contains(&ms) {
        return Err("a block takes from 10ms to 60m".to_owned());
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_their_unit() {
        assert_eq!(block_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(block_time("12s"), Ok(Duration::from_secs(12)));
        assert_eq!(block_time("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["", "s", "12", "1h", "9ms", "61m", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(block_time(wrong).is_err(), "{wrong}");
        }
        assert!(block_time("18446744073709551615m").is_err(), "no overflow");
    }
}
