//! Models on their way: what came of one stays when the way breaks off, and the next try goes on
//! there, in this process or another.
//!
//! Each has a folder by its root, locked by whoever fetches it. In it are the files that have come
//! whole, by digest, and what a client left of the one that has not. Models that nobody fetches
//! make room before any that is whole does.

use super::shelf::{
    Origin, Shelf, bytes_in, entries, fetch_file, is_file_with, protect, remove_if_there,
};
use crate::{Error, FileEntry};
use protocol::Digest;
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

/// Most models on their way that are kept.
const N_INCOMING_MAX: usize = 4;

/// Tries to have a folder for oneself: whoever counts what is there holds it for a moment.
const N_TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// The place of one model on its way: ours alone while this lives.
pub(super) struct Incoming {
    dir: PathBuf,
    _lock: File,
}

impl Incoming {
    /// Bytes that have come.
    pub(super) fn size_bytes(&self) -> u64 {
        bytes_in(&self.dir)
    }

    /// Has a file here whole, read-only and on disk: fetches what is missing of it.
    pub(super) fn fetch(&self, origin: Origin<'_>, file: &FileEntry) -> Result<(), Error> {
        let whole = self.place(file);
        if is_file_with(&whole, file) {
            // It may have come in a process that died before it did this.
            return protect(&whole);
        }
        remove_if_there(&whole)?;
        fetch_file(origin, file, &whole).inspect_err(|_| {
            // What came stays, if it is right as far as it goes; of several tries the last.
            let _ = remove_if_there(&whole).and_then(|()| self.keep_the_newest_part());
            // Where nothing came, nothing is kept: this fails for whatever is not empty.
            let _ = fs::remove_dir(&self.dir);
        })
    }

    /// Where a file is that came whole.
    pub(super) fn place(&self, file: &FileEntry) -> PathBuf {
        self.dir.join(file.sha256.hex())
    }

    /// Lets go of it when all of it has its place elsewhere.
    pub(super) fn finish(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.dir).map_err(Error::io("remove", &self.dir))
    }

    /// A client names what it left by repo and revision: the same file from elsewhere begins anew.
    fn keep_the_newest_part(&self) -> Result<(), Error> {
        let is_part = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
        };
        let mut parts: Vec<PathBuf> = entries(&self.dir)?.into_iter().filter(is_part).collect();
        parts.sort_by_key(|part| changed(part));
        parts.pop();
        parts.iter().try_for_each(|part| remove_if_there(part))
    }
}

impl Shelf {
    fn incoming_folder(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    /// The place of a model on its way, with what came before; `None` if somebody else fetches it.
    pub(super) fn incoming(&self, root: &Digest) -> Result<Option<Incoming>, Error> {
        let dir = self.incoming_folder().join(root.hex());
        if !dir.exists() {
            let mut n_idle = self.idle()?.len();
            while n_idle >= N_INCOMING_MAX && self.forget_oldest()? {
                n_idle -= 1;
            }
        }
        for _ in 0..N_TRIES {
            fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
            if let Some(lock) = held(&dir, File::try_lock) {
                return Ok(Some(Incoming { dir, _lock: lock }));
            }
            thread::sleep(PAUSE);
        }
        Ok(None)
    }

    /// Folders that nobody fetches into, the oldest first.
    fn idle(&self) -> Result<Vec<PathBuf>, Error> {
        let mut idle: Vec<_> = entries(&self.incoming_folder())?
            .into_iter()
            .filter(|dir| held(dir, File::try_lock_shared).is_some())
            .map(|dir| {
                let files = entries(&dir).unwrap_or_default();
                let newest = files.iter().chain([&dir]).map(|path| changed(path)).max();
                (newest, dir)
            })
            .collect();
        idle.sort();
        Ok(idle.into_iter().map(|(_, dir)| dir).collect())
    }

    /// Bytes that models on their way have here while nobody fetches them.
    pub(super) fn idle_bytes(&self) -> Result<u64, Error> {
        Ok(self.idle()?.iter().map(|dir| bytes_in(dir)).fold(0, u64::saturating_add))
    }

    /// Throws away what was asked for longest ago of what nobody fetches; false if there is none.
    pub(super) fn forget_oldest(&self) -> Result<bool, Error> {
        for dir in self.idle()? {
            if let Some(_lock) = held(&dir, File::try_lock) {
                fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A folder that is there, held in some way, if nobody is in the way.
fn held(dir: &Path, hold: fn(&File) -> Result<(), fs::TryLockError>) -> Option<File> {
    let lock = File::open(dir).ok()?;
    hold(&lock).ok()?;
    // Whoever had it may have removed it, and somebody made another of its name.
    let (ours, there) = (lock.metadata().ok()?, fs::metadata(dir).ok()?);
    ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(lock)
}

/// When a file was last written; long ago if that cannot be told.
fn changed(path: &Path) -> SystemTime {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}
