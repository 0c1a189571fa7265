//! Files on their way: what came of one stays when the way breaks off, and the next try goes on
//! there, in this process or another.
//!
//! Each has a folder by its digest, locked by whoever fetches it. Those that nobody fetches make
//! room before any model does.

use super::shelf::{Shelf, entries, fetch_file, is_file_with};
use crate::{Error, FileEntry, Hub};
use protocol::{Commitment, Digest};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Most files on their way that are kept; each may be as long as a model's largest.
const N_INCOMING_MAX: usize = 4;

/// The place of one file on its way: ours alone while this lives.
pub(super) struct Incoming {
    pub(super) sha256: Digest,
    dir: PathBuf,
    _lock: File,
}

impl Incoming {
    /// Fetches the file, from where it broke off, and moves it to its place.
    pub(super) fn fetch(
        self,
        hub: &dyn Hub,
        commitment: &Commitment,
        file: &FileEntry,
        to: &Path,
    ) -> Result<(), Error> {
        let whole = self.dir.join("file");
        if !is_file_with(&whole, file) {
            remove(&whole)?;
            if let Err(error) = fetch_file(hub, commitment, file, &whole) {
                // What came stays, if it is right as far as it goes and something came at all.
                let _ = remove(&whole).and_then(|()| remove_empty(&self.dir));
                return Err(error);
            }
        }
        // Checked before it leaves: a file that is in place is never of other bytes than listed.
        fs::rename(&whole, to).map_err(Error::io("write", to))?;
        fs::remove_dir_all(&self.dir).map_err(Error::io("remove", &self.dir))
    }
}

impl Shelf {
    fn incoming_folder(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    /// What came of a file before, if something did and nobody else fetches it.
    pub(super) fn came_before(&self, file: &FileEntry) -> Option<Incoming> {
        let dir = self.incoming_folder().join(file.sha256.hex());
        Some(Incoming { sha256: file.sha256, _lock: locked(&dir)?, dir })
    }

    /// A place for a file on its way; `None` if somebody else fetches it.
    pub(super) fn incoming(&self, file: &FileEntry) -> Result<Option<Incoming>, Error> {
        let dir = self.incoming_folder().join(file.sha256.hex());
        if !dir.exists() {
            let mut n_idle = self.idle()?.len();
            while n_idle >= N_INCOMING_MAX && self.forget_oldest()? {
                n_idle -= 1;
            }
        }
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(self.came_before(file))
    }

    /// Folders that nobody fetches into, each with its lock, the oldest first.
    fn idle(&self) -> Result<Vec<(SystemTime, PathBuf, File)>, Error> {
        let dirs = entries(&self.incoming_folder())?.into_iter();
        let mut idle: Vec<_> = dirs
            .filter_map(|dir| {
                let lock = locked(&dir)?;
                let modified = |path: &PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok();
                let files = entries(&dir).unwrap_or_default();
                let newest = files.iter().chain([&dir]).filter_map(modified).max();
                Some((newest.unwrap_or(SystemTime::UNIX_EPOCH), dir, lock))
            })
            .collect();
        idle.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(idle)
    }

    /// Bytes that files on their way have here while nobody fetches them.
    pub(super) fn idle_bytes(&self) -> Result<u64, Error> {
        let size = |path: PathBuf| fs::symlink_metadata(path).map_or(0, |found| found.len());
        let of = |dir: &Path| entries(dir).unwrap_or_default().into_iter().map(size).sum::<u64>();
        Ok(self.idle()?.iter().map(|(_, dir, _)| of(dir)).fold(0, u64::saturating_add))
    }

    /// Throws away what was asked for longest ago of what nobody fetches; false if there is none.
    pub(super) fn forget_oldest(&self) -> Result<bool, Error> {
        let Some((_, dir, _lock)) = self.idle()?.into_iter().next() else { return Ok(false) };
        fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
        Ok(true)
    }
}

/// The lock of a folder that is there, if nobody else has it.
fn locked(dir: &Path) -> Option<File> {
    let lock = File::open(dir).ok()?;
    // Whoever had it may have removed it meanwhile.
    (lock.try_lock().is_ok() && dir.is_dir()).then_some(lock)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}

fn remove_empty(dir: &Path) -> Result<(), Error> {
    fs::remove_dir(dir).map_err(Error::io("remove", dir))
}
