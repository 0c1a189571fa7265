//! Options of `agon wallet`, and of every command that needs one.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which keys.
#[derive(Debug, Args)]
pub struct WalletArgs {
    /// Wallet by its name; or a development key such as //Alice, for chains on this machine.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub wallet: String,
    /// Hotkey by its name.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub hotkey: String,
    /// Folder of the wallets; without it, `~/.bittensor/wallets`.
    #[arg(long, value_name = "DIR")]
    pub wallet_path: Option<PathBuf>,
}

/// Options of `agon wallet`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon wallet create --wallet miner
  agon wallet create --wallet miner --hotkey second     one more hotkey of the same wallet
  agon wallet import --wallet old                       asks for the words
  agon wallet list

The files are those of Bittensor's own wallets, and either program reads the other's.
The password of a coldkey is asked for; for scripts it can stand in AGON_WALLET_PASSWORD,
or in BT_WALLET_PASSWORD, which Bittensor's own client reads.")]
pub struct WalletCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WalletCommand,
}

/// One command of `agon wallet` each.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make new keys: a coldkey, if the wallet has none yet, and a hotkey.
    Create(CreateWalletArgs),
    /// Make keys again from their words, read from the terminal or standard input.
    Import(ImportWalletArgs),
    /// Show all wallets with their addresses.
    List(ListWalletsArgs),
}

/// Options of `agon wallet create`.
#[derive(Debug, Args)]
pub struct CreateWalletArgs {
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// Keep the coldkey without a password.
    #[arg(long)]
    pub no_password: bool,
    /// Print JSON on stdout: the addresses; words are shown on a terminal alone.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon wallet import`.
#[derive(Debug, Args)]
pub struct ImportWalletArgs {
    #[command(flatten)]
    pub wallet: WalletArgs,
    /// The words are those of the hotkey, not of the coldkey.
    #[arg(long)]
    pub as_hotkey: bool,
    /// Keep the coldkey without a password.
    #[arg(long)]
    pub no_password: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon wallet list`.
#[derive(Debug, Args)]
pub struct ListWalletsArgs {
    /// Folder of the wallets; without it, `~/.bittensor/wallets`.
    #[arg(long, value_name = "DIR")]
    pub wallet_path: Option<PathBuf>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}
