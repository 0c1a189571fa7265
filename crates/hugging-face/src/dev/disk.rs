//! How much of the disk is left, and a disk that plays a full one in tests.

use std::{io, path::Path};

/// Bytes that may still be written to the disk that holds `folder`.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    #[cfg(test)]
    if full::contains(folder) {
        return Ok(0);
    }
    ::disk::free_bytes(folder)
}

/// Folders whose disk plays a full one.
#[cfg(test)]
pub(in crate::dev) mod full {
    use std::{
        path::{Path, PathBuf},
        sync::Mutex,
    };

    static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    pub(in crate::dev) fn insert(folder: &Path) {
        FOLDERS.lock().unwrap().push(folder.to_owned());
    }

    pub(in crate::dev) fn remove(folder: &Path) {
        FOLDERS.lock().unwrap().retain(|other| other != folder);
    }

    pub(super) fn contains(folder: &Path) -> bool {
        FOLDERS.lock().unwrap().iter().any(|other| other == folder)
    }
}
