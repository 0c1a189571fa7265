//! Files that are there whole or not at all.

use crate::Error;
use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Tells apart files that are written at once by one process.
static N_WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Writes a file beside its place and moves it there once all of it is on disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let number = N_WRITTEN.fetch_add(1, Ordering::Relaxed);
    let beside = folder.join(format!(".{}-{number}.part", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        fail(source)
    })
}
