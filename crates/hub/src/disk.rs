//! The disk that everything lies on, which others use too.

use std::{io, path::Path};

/// Bytes of the disk that are left to others, to logs and to databases.
pub const RESERVE_BYTES: u64 = 1 << 30;

/// Bytes that may still be written to the disk that holds `folder`.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    #[cfg(test)]
    if full::contains(folder) {
        return Ok(0);
    }
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Folders whose disk plays a full one.
#[cfg(test)]
pub(crate) mod full {
    use std::{
        path::{Path, PathBuf},
        sync::Mutex,
    };

    static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    pub(crate) fn insert(folder: &Path) {
        FOLDERS.lock().unwrap().push(folder.to_owned());
    }

    pub(crate) fn remove(folder: &Path) {
        FOLDERS.lock().unwrap().retain(|other| other != folder);
    }

    pub(super) fn contains(folder: &Path) -> bool {
        FOLDERS.lock().unwrap().iter().any(|other| other == folder)
    }
}
