//! Signed records in a repo of a hub, read as they are at one revision.

use hub::FileEntry;
use hugging_face::{
    HubClient,
    client::{Pinned, RepoKind},
};
use protocol::{Repo, Revision};
use records::{Error, INDEX_PATH, Index, Source, index::INDEX_BYTES_MAX, signed::SIGNED_BYTES_MAX};
use std::{
    fs, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The records of a repo at one of its revisions.
pub struct HubRecords<'a> {
    client: &'a HubClient,
    repo: &'a Repo,
    revision: Revision,
}

impl<'a> HubRecords<'a> {
    /// What the repos are that records lie in.
    pub const KIND: RepoKind = RepoKind::Dataset;

    /// The newest revision; `None` where there is no such repo.
    pub fn newest(client: &'a HubClient, repo: &'a Repo) -> Result<Option<Self>, hub::Error> {
        let revision = client.resolve(Self::KIND, repo, "main")?;
        Ok(revision.map(|revision| Self::at(client, repo, revision)))
    }

    /// The records at a revision.
    pub fn at(client: &'a HubClient, repo: &'a Repo, revision: Revision) -> Self {
        Self { client, repo, revision }
    }

    /// The bytes of a file, if it is there; more than so many are not even fetched.
    pub fn bytes(&self, path: &str, size_bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let name = || format!("{}/{path}", self.repo);
        let failed = |source| Error::Io { task: "read", name: name(), source };
        let of_hub = |error: hub::Error| failed(io::Error::other(error));
        let Self { client, repo, revision } = self;
        let pinned = Pinned { kind: Self::KIND, repo, revision };
        let Some(file) = client.file(pinned, path).map_err(of_hub)? else { return Ok(None) };
        if file.size_bytes > size_bytes_max as u64 {
            return Err(Error::TooLarge { name: name(), size_bytes_max });
        }
        // Hubs tell the digests of large files alone, which are not read into memory on their way.
        let Some(sha256) = file.sha256 else {
            return client.read(pinned, &file).map(Some).map_err(of_hub);
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        let to = folder.path().join("file");
        let entry = FileEntry { path: file.path, size_bytes: file.size_bytes, sha256 };
        client.download(pinned, &entry, &to, &|_| true).map_err(of_hub)?;
        fs::read(&to).map(Some).map_err(failed)
    }
}

/// The records of a repo at the revision at which their index was read last.
pub struct RepoRecords {
    client: HubClient,
    repo: Repo,
    revision: Mutex<Option<Revision>>,
}

impl RepoRecords {
    /// Records of a dataset repo.
    pub fn new(client: HubClient, repo: Repo) -> Self {
        Self { client, repo, revision: Mutex::new(None) }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Revision>> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for RepoRecords {
    fn index(&self) -> Result<Option<Index>, Error> {
        let failed = |error: hub::Error| {
            let source = io::Error::other(error);
            Error::Io { task: "read", name: self.repo.to_string(), source }
        };
        let newest = HubRecords::newest(&self.client, &self.repo).map_err(failed)?;
        let Some(newest) = newest else { return Ok(None) };
        let index = newest.index()?;
        *self.kept() = Some(newest.revision);
        Ok(index)
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(revision) = self.kept().clone() else { return Ok(None) };
        let Self { client, repo, .. } = self;
        HubRecords::at(client, repo, revision).record(competition, number)
    }
}

impl Source for HubRecords<'_> {
    fn index(&self) -> Result<Option<Index>, Error> {
        let bytes = self.bytes(INDEX_PATH, INDEX_BYTES_MAX)?;
        bytes.map(|bytes| Index::from_json(&bytes)).transpose()
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        self.bytes(&records::path(competition, number), SIGNED_BYTES_MAX)
    }
}
