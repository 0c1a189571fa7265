//! What can go wrong with the embedded node itself.

use chain::{Error, ledger::GenesisError};
use protocol::Block;
use std::{io, net::SocketAddr, path::PathBuf};

/// The node cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A chain cannot start like this.
    #[error("this genesis cannot start a chain")]
    Genesis(#[from] GenesisError),
    /// The file cannot be read or written.
    #[error("the database `{path}` cannot be used")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file was to be read, and is empty or another program's.
    #[error("the file `{path}` holds no chain: no node has begun one in it")]
    NoChain {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a chain that began differently.
    #[error("the database `{path}` holds a chain with another genesis")]
    OtherGenesis {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a chain made by other rules.
    #[error("the database `{path}` was made by version {found} of the rules, not {expected}")]
    OtherRules {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version of this program.
        expected: u32,
    },
    /// The blocks in the file do not lead to their hashes.
    #[error("the database `{path}` is damaged: block {block} does not lead to its hash")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first block that is wrong.
        block: Block,
    },
    /// Another process has the file.
    #[error("the database `{path}` is in use by another node")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file that says whose the chain is cannot be used.
    #[error("the lock `{path}` cannot be taken")]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever watched the start wanted it to end.
    #[error("the start was interrupted")]
    Interrupted,
    /// Threads or the like are not to be had.
    #[error("the system does not let the node start")]
    System(#[source] io::Error),
    /// The rules failed on a block: a defect.
    #[error("a block could not be made")]
    Block(#[source] Error),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}
