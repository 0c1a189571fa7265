//! Publishes and fetches models by revision and hash.
//!
//! [`Hub`] is what services see. A revision never changes: who reads it gets exactly the bytes
//! that were published, or an error. Here are the door for strangers' models and a hub in a folder;
//! what speaks to others is `hugging_face`.

pub mod content;
pub mod deadline;
pub mod error;
pub mod faulty;
pub mod intake;
pub mod store;

pub use error::Error;
pub use faulty::FaultyHub;
pub use intake::Intake;
pub use store::StoreHub;

use protocol::{Digest, Repo, Revision};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Told how many bytes are done; `false` stops the rest.
pub type Progress<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// One file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path inside the repo, with `/`; written by a stranger.
    pub path: String,
    /// Length.
    pub size_bytes: u64,
    /// Digest of the bytes.
    pub sha256: Digest,
}

/// Some bytes of a file of a revision.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Path inside the repo.
    pub path: &'a str,
    /// Offset of the first byte.
    pub offset: u64,
    /// How many.
    pub n_bytes: usize,
}

/// A model host; blocking, safe to share between threads.
pub trait Hub: Send + Sync {
    /// Publishes the files of `dir` as a new revision of `repo`, all or nothing.
    ///
    /// The same files give the same revision again.
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error>;

    /// The newest revision; `None` when the repo does not exist.
    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error>;

    /// The files of a revision in order of path; `None` when repo or revision do not exist.
    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error>;

    /// Whether it answers at all: whoever asks for what is not there is told so.
    fn is_up(&self) -> bool {
        let nowhere = ("agon-is-it-up/agon-is-it-up".parse(), "0".repeat(40).parse());
        let (Ok(repo), Ok(revision)) = nowhere else { return false };
        self.list(&repo, &revision).is_ok()
    }

    /// Copies one file to `to`, which must not exist, reading at most `size_bytes_max` bytes.
    ///
    /// What came before an error that waiting may end can stay beside `to`, in a file whose name
    /// begins with a dot; the same call goes on from there.
    #[expect(clippy::too_many_arguments, reason = "each names another part of one file")]
    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error>;

    /// Reads a part of a file that has it; nothing proves these bytes but the whole file does.
    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error>;
}
