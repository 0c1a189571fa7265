//! A model without its parameters: what can be judged before gigabytes are fetched.
//!
//! Config, index and the headers of all files with parameters are there, and each of those files
//! has its length, so whatever judges headers judges these as it would the whole files. Nothing
//! proves a header but the whole file, so each is read twice: answers that differ are trouble of
//! the hub. A verdict on a preview holds for now, and is for nobody to remember.

use super::{
    Found, Intake, Where,
    shelf::{Shelf, entries},
};
use crate::{Error, Hub, Part, deadline::Deadline};
use protocol::{
    Commitment, Digest,
    files::{CONFIG, HEADER_BYTES_MAX, INDEX, N_SHARDS_MAX, is_shard_name},
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// Bytes before a header that say how long it is.
const LENGTH_BYTES: u64 = 8;
/// Bytes of a file that are read first; most headers are shorter.
const START_BYTES: u64 = 64 << 10;
/// Bytes that tell whether a hub gives a file as it is.
const WITNESS_BYTES: u64 = 4096;

/// Longest time for all headers: of a hub that is slow, or that counts requests and has us wait for
/// its next window of five minutes.
const TIME_MAX: Duration = Duration::from_secs(600);

/// A folder with a model whose parameters are zeros, and take no room. It goes with this.
#[derive(Debug)]
pub struct Preview {
    folder: TempDir,
}

impl Preview {
    /// The folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }
}

impl Intake {
    /// A look at a model before its parameters are fetched; `None` of one that is here.
    pub fn preview(&self, hub: &dyn Hub, found: &Found) -> Result<Option<Preview>, Error> {
        let Where::Away(quarantine) = &found.place else { return Ok(None) };
        let folder = self.shelf.workbench()?;
        let until = Deadline::after(TIME_MAX);
        let shards = found.listed.files.iter().filter(|file| is_shard_name(&file.path));
        let is_read = shards.clone().count() <= N_SHARDS_MAX;
        let mut left = HEADER_BYTES_MAX;
        for entry in shards {
            let to = folder.path().join(&entry.path);
            let file = File::create_new(&to).map_err(Error::io("create", &to))?;
            if is_read && left > 0 {
                let shard = Shard { hub, commitment: &found.commitment, path: &entry.path, until };
                let start = shard.start(entry.size_bytes, left)?;
                left = left.saturating_sub(start.len() as u64);
                (&file).write_all(&start).map_err(Error::io("write", &to))?;
            }
            file.set_len(entry.size_bytes).map_err(Error::io("write", &to))?;
        }
        for name in [CONFIG, INDEX] {
            let (from, to) = (quarantine.path().join(name), folder.path().join(name));
            if from.exists() {
                fs::hard_link(&from, &to).map_err(Error::io("link", &to))?;
            }
        }
        Ok(Some(Preview { folder }))
    }
}

/// A file with parameters on a hub.
struct Shard<'a> {
    hub: &'a dyn Hub,
    commitment: &'a Commitment,
    path: &'a str,
    until: Deadline,
}

impl Shard<'_> {
    /// Its bytes up to the end of its header, but no more of those than `n_bytes_max`.
    fn start(&self, size_bytes: u64, n_bytes_max: u64) -> Result<Vec<u8>, Error> {
        let mut start = self.twice(0, size_bytes.min(START_BYTES))?;
        let Some(length) = start.first_chunk().map(|length| u64::from_le_bytes(*length)) else {
            return Ok(start);
        };
        let end = length.saturating_add(LENGTH_BYTES).min(size_bytes);
        // Whoever judges headers refuses a longer one by its length.
        if length <= n_bytes_max
            && let Some(more) = end.checked_sub(start.len() as u64)
        {
            let rest = self.twice(start.len() as u64, more)?;
            start.extend(rest);
        }
        Ok(start)
    }

    /// Bytes that the hub has given twice.
    fn twice(&self, offset: u64, n_bytes: u64) -> Result<Vec<u8>, Error> {
        let Commitment { repo, revision, .. } = self.commitment;
        let damaged = |reason| Error::damaged(repo, revision, self.path, reason);
        if n_bytes == 0 {
            return Ok(Vec::new());
        }
        if self.until.is_over() {
            return Err(damaged("the headers of its files come too slowly"));
        }
        let n_bytes = usize::try_from(n_bytes).map_err(|_| damaged("its header is too long"))?;
        let part = Part { path: self.path, offset, n_bytes };
        let first = self.hub.read_part(repo, revision, &part)?;
        if first.len() == n_bytes && self.hub.read_part(repo, revision, &part)? == first {
            return Ok(first);
        }
        Err(damaged("the hub gives other bytes each time it is asked"))
    }
}

impl Shelf {
    /// Whether the hub gives the first parameters of a model that is here as they are here.
    pub(super) fn is_delivered(
        &self,
        hub: &dyn Hub,
        commitment: &Commitment,
        root: &Digest,
    ) -> bool {
        let files = entries(&self.model(&root.hex())).unwrap_or_default();
        let name =
            |path: &PathBuf| path.file_name().and_then(|name| name.to_str().map(String::from));
        let mut shards = files.iter().filter_map(|path| Some((path, name(path)?)));
        let Some((path, name)) = shards.find(|(_, name)| is_shard_name(name)) else { return false };
        let mut ours = Vec::new();
        let read = File::open(path).and_then(|file| {
            io::Read::read_to_end(&mut io::Read::take(file, WITNESS_BYTES), &mut ours)
        });
        let Commitment { repo, revision, .. } = commitment;
        let part = Part { path: &name, offset: 0, n_bytes: ours.len() };
        read.is_ok_and(|n| n > 0)
            && hub.read_part(repo, revision, &part).is_ok_and(|theirs| theirs == ours)
    }
}
