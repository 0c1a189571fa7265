//! Records as files of a folder.

use crate::ports::Publish;
use anyhow::Context as _;
use std::path::PathBuf;

/// A folder that records are published to, a file for each: `tiny-000001.json`.
#[derive(Clone, Debug)]
pub struct RecordFolder(PathBuf);

impl RecordFolder {
    /// Records in `folder`, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Where the record of a round is, or will be.
    pub fn path(&self, competition: &str, number: u64) -> PathBuf {
        self.0.join(format!("{competition}-{number:06}.json"))
    }
}

impl Publish for RecordFolder {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(competition, number);
        disk::write(&path, bytes)
            .with_context(|| format!("cannot write the record `{}`", path.display()))
    }
}
