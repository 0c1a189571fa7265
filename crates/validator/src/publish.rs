//! Records as signed files of a folder.

use crate::ports::Publish;
use anyhow::Context as _;
use records::{Folder, Signed};

impl Publish for Folder {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(competition, number);
        let written = Signed::from_json(bytes).and_then(|signed| self.write(&signed));
        written.with_context(|| format!("cannot write the record `{}`", path.display()))
    }
}
