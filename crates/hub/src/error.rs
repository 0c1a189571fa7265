//! What can go wrong on our side of a hub.

use protocol::{Repo, Revision};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Trouble of our own, or of the hub; never a verdict on a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder holds something that cannot be published.
    #[error("cannot publish `{}`: {reason}", path.display())]
    NotPublishable {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The hub has no such file.
    #[error("`{repo}@{revision}` has no file `{}`", path.escape_default())]
    NoFile {
        /// Repo.
        repo: Repo,
        /// Revision.
        revision: Revision,
        /// Path inside the repo.
        path: String,
    },
    /// The bytes that came, or that are stored, are not the bytes that were published.
    #[error("`{name}` is damaged: {reason}")]
    Damaged {
        /// Repo, revision and path, or a file of ours.
        name: String,
        /// What differs.
        reason: &'static str,
    },
    /// A file has more bytes than the caller wants.
    #[error("`{name}` has {size_bytes} bytes, more than the {size_bytes_max} asked for")]
    TooLarge {
        /// Repo, revision and path.
        name: String,
        /// Length by the manifest.
        size_bytes: u64,
        /// The cap of the caller.
        size_bytes_max: u64,
    },
    /// Models fill the space they may take, and those in use are not thrown away.
    #[error("no room for a model of {size_bytes} bytes among the {quota_bytes} for models")]
    NoRoom {
        /// Bytes of the model.
        size_bytes: u64,
        /// Bytes that all models may take.
        quota_bytes: u64,
    },
    /// The disk has too little left for another model; those that we have can still be used.
    #[error(
        "no new models are taken in: `{}` has {free_bytes} bytes free; a model needs {size_bytes}, \
         and {reserve_bytes} are kept in reserve",
        folder.display()
    )]
    DiskFull {
        /// Where models are kept.
        folder: PathBuf,
        /// Bytes that would have to be fetched.
        size_bytes: u64,
        /// Bytes that are free, less those promised to models on their way.
        free_bytes: u64,
        /// Bytes that have to stay free.
        reserve_bytes: u64,
    },
    /// The address of a hub is none.
    #[error("`{endpoint}` is no address of a hub: {reason}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A token has characters that cannot be sent.
    #[error("the token for the hub has characters that no token has")]
    Token,
    /// Something that nobody may do unnamed, with nothing that says who we are.
    #[error("no token for `{endpoint}`")]
    NoToken {
        /// Address of the hub.
        endpoint: String,
    },
    /// The hub does not let us do what we ask for.
    #[error("the hub does not allow it ({status}): {said}")]
    Denied {
        /// 401 or 403.
        status: u16,
        /// What it says.
        said: String,
    },
    /// The hub, or its storage, understands what we ask for and refuses it.
    #[error("the hub refuses it ({status}): {said}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it says.
        said: String,
    },
    /// The hub sends us somewhere we do not go.
    #[error("the hub sends us to `{host}`, where we do not go: {reason}")]
    Redirect {
        /// Where to.
        host: String,
        /// Why we do not.
        reason: &'static str,
    },
    /// The caller wanted no more.
    #[error("stopped")]
    Stopped,
    /// The hub cannot be reached or answers nonsense right now.
    #[error("the hub is not available: {0}")]
    Unavailable(String),
}

impl Error {
    /// Whether nobody but us can mend it, and waiting does not.
    pub fn is_ours(&self) -> bool {
        use Error::{Endpoint, Io, NoToken, NotPublishable, Stopped, Token};
        let is_here = matches!(
            self,
            Io { .. } | NotPublishable { .. } | Endpoint { .. } | Token | NoToken { .. } | Stopped
        );
        is_here && !self.is_transient()
    }

    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        use io::ErrorKind::{Interrupted, QuotaExceeded, ResourceBusy, StorageFull, TimedOut};
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                Interrupted | QuotaExceeded | ResourceBusy | StorageFull | TimedOut
            ),
            Self::Unavailable(_) | Self::Damaged { .. } => true,
            Self::NoRoom { .. } | Self::DiskFull { .. } => true,
            Self::NotPublishable { .. }
            | Self::NoFile { .. }
            | Self::TooLarge { .. }
            | Self::Endpoint { .. }
            | Self::Token
            | Self::NoToken { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::Redirect { .. }
            | Self::Stopped => false,
        }
    }

    /// Whether a disk, or our share of it, has nothing left.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), QuotaExceeded | StorageFull))
    }

    /// For `map_err`: trouble with a path.
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Something about a file of a repo.
    pub fn damaged(repo: &Repo, revision: &Revision, path: &str, reason: &'static str) -> Self {
        Self::Damaged { name: format!("{repo}@{revision}/{}", path.escape_default()), reason }
    }
}
