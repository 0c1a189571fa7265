//! A hub of which each request goes through a tap: a test says what becomes of it.

use hub::{Error, FileEntry, Hub, Part};
use protocol::{Repo, Revision};
use std::{path::Path, sync::Arc};

/// What a test does to the requests of a miner to a hub.
pub(crate) trait HubTap: Send + Sync {
    /// Makes a request that is an upload, or gives a file.
    fn around<T>(&self, request: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        request()
    }

    /// Makes a request that lists a repo.
    fn around_list<T>(&self, request: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.around(request)
    }
}

/// A hub behind a tap.
pub(crate) struct TappedHub<T> {
    pub(crate) inner: Arc<dyn Hub>,
    pub(crate) tap: T,
}

impl<T: HubTap> Hub for TappedHub<T> {
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error> {
        self.tap.around(|| self.inner.publish(repo, dir))
    }
    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error> {
        self.inner.latest(repo)
    }
    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        self.tap.around_list(|| self.inner.list(repo, revision))
    }
    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        self.tap.around(|| self.inner.fetch(repo, revision, path, to, size_bytes_max))
    }
    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.inner.read_part(repo, revision, part)
    }
}
