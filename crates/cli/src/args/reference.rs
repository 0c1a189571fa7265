//! Options of `agon reference`.

use clap::{Args, ValueEnum};

/// Options of `agon reference`.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// Which page.
    #[arg(value_enum)]
    pub page: Page,
}

/// A page that the program makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// All commands with their options.
    Commands,
    /// The keys of configuration files.
    Config,
}
