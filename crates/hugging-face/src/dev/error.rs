//! Why a hub does not start, or cannot go on.

use std::{io, net::SocketAddr, path::PathBuf};

/// Trouble of the hub itself; what is wrong with a request is an answer to it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody can reach it there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gave no threads or no randomness.
    #[error("the system does not let the hub run")]
    System(#[source] io::Error),
    /// Another hub has the folder.
    #[error("another hub uses `{}`", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder could not be used.
    #[error(transparent)]
    Disk(#[from] hub::Error),
    /// The database could not be used.
    #[error("the database of the hub failed")]
    Database(#[from] rusqlite::Error),
    /// The database was written by another version.
    #[error("the database has version {found}, and this hub reads {expected}")]
    OtherVersion {
        /// What the file says.
        found: i64,
        /// What is understood.
        expected: i64,
    },
    /// A user cannot be one.
    #[error("user `{}` cannot be added: {reason}", name.escape_default())]
    User {
        /// The name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}
