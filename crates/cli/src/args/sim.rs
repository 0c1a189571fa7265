//! Options of `agon sim`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `agon sim`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon sim run --scenario short
  agon sim run --scenario scenarios/season.toml --rules duel --seeds 200
  agon sim zoo --seeds 20 --svg zoo.svg
  agon sim zoo --attacks hoard,snipe --rules wins,duel --seeds 50 --json
  agon sim sweep --epsilon 0.001,0.005 --rules wins --svg sweep.svg

A season is the real chain and the real validators on virtual time; models are formulas, and
miners are strategies. The same scenario, rules and seed give the same season on every machine.")]
pub struct SimArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SimCommand,
}

/// One command of `agon sim` each.
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Play a scenario by each of its sets of rules: crowns, agreement, who earned what.
    Run(RunSimArgs),
    /// Play every attack by each set of rules, and honest play in its place: what attacks gain.
    Zoo(ZooSimArgs),
    /// Play a scenario with one epsilon after the other: quality over time, hoarding, pay.
    Sweep(SweepSimArgs),
}

/// Options of `agon sim run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon sim run --scenario short --seeds 4
  agon sim run --scenario scenarios/season.toml --seeds 200 --threads 2 --json")]
pub struct RunSimArgs {
    /// A scenario file, or the name of a scenario that comes with the program.
    #[arg(long, default_value = "season", value_name = "FILE")]
    pub scenario: String,
    #[command(flatten)]
    pub common: CommonSimArgs,
}

/// Options of `agon sim zoo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon sim zoo --seeds 20
  agon sim zoo --attacks copy,noise,pay-own --rules succession --seeds 50 --svg zoo.svg

An attack has the last place of the scenario's miners, a cabal two of the validators as well. Its
gain is what it earned less what honest play earned in that place, seed by seed; miners by their
share of what miners are paid, cabals by their share of all.")]
pub struct ZooSimArgs {
    /// A scenario file, or the name of a scenario that comes with the program.
    #[arg(long, default_value = "zoo", value_name = "FILE")]
    pub scenario: String,
    /// Attacks, all without this.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub attacks: Vec<String>,
    #[command(flatten)]
    pub common: CommonSimArgs,
}

/// Options of `agon sim sweep`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon sim sweep --epsilon 0.0001,0.0005,0.001,0.005,0.01 --rules wins,duel --seeds 50
  agon sim sweep --scenario scenarios/hoard.toml --epsilon 0.001,0.005 --svg sweep.svg")]
pub struct SweepSimArgs {
    /// A scenario file, or the name of a scenario that comes with the program.
    #[arg(long, default_value = "hoard", value_name = "FILE")]
    pub scenario: String,
    /// Advantages of the earlier model, as fractions of its loss; each holds for a whole season.
    #[arg(long, value_delimiter = ',', required = true, value_name = "FRACTION")]
    pub epsilon: Vec<f64>,
    #[command(flatten)]
    pub common: CommonSimArgs,
}

/// What all simulations take.
#[derive(Debug, Args)]
pub struct CommonSimArgs {
    /// Sets of rules of the scenario, all without this.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub rules: Vec<String>,
    /// Seeds, from 1: each plays a season of its own.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,
    /// Blocks of a season, instead of the scenario's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    pub blocks: Option<u64>,
    /// Seasons at the same time; without it as many as there are processors. The results are the
    /// same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Draw a chart into a file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON document on stdout instead of tables.
    #[arg(long)]
    pub json: bool,
}
