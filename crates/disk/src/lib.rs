//! Files that are there whole or not at all, and the room that is left for them.
//!
//! The one meaning of *written*: after a crash, of the power as well, a name stands for the file
//! that it stood for before, or for the new one with all its bytes. So the bytes are on disk before
//! the name is given, and the name is before anybody is told.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
use tempfile::{NamedTempFile, TempDir};

/// Beginning of the names of what is not finished yet.
const UNFINISHED: &str = ".unfinished-";

/// Bytes of the disk that are left to others, to logs and to databases.
pub const RESERVE_BYTES: u64 = 1 << 30;

/// Bytes that may still be written to the disk that holds `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Writes a file, in the place of the one before. Its folder is made if it is not there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = begin(path)?;
    file.write_all(bytes)?;
    place(file, path)
}

/// A file without a name yet, on the disk where `path` will be; it is gone with this value. The
/// folder of `path` is made if it is not there.
pub fn begin(path: &Path) -> io::Result<NamedTempFile> {
    let folder = folder_of(path);
    create_folder(folder)?;
    // What has its name at last is to stay, so it is made as any file is, and not for us alone.
    let mode = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(UNFINISHED).permissions(mode).tempfile_in(folder)
}

/// The same for a folder.
pub fn begin_folder(path: &Path) -> io::Result<TempDir> {
    let folder = folder_of(path);
    create_folder(folder)?;
    let mode = fs::Permissions::from_mode(0o777);
    tempfile::Builder::new().prefix(UNFINISHED).permissions(mode).tempdir_in(folder)
}

/// Deletes what processes that were killed had begun in a folder. Only for whoever has it alone:
/// others may be writing.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a folder and those above it, each entered durably in the one above: what is in a folder is
/// lost with its name.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_folder(above)?;
    match fs::create_dir(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync(above)),
    }
}

/// Gives a file its name, in the place of the one before.
pub fn place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    // The bytes before the name, and the name before whoever calls goes on: after a crash the name
    // stands for all of this file or of the one before.
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    sync(folder_of(path))
}

/// Gives a file its name, unless there is one of that name: then the error is of the kind
/// [`io::ErrorKind::AlreadyExists`].
pub fn place_new(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|failed| failed.error)?;
    sync(folder_of(path))
}

/// Gives a file or a folder another name, once all that it holds is on disk.
///
/// What a folder holds has to be on disk already; a folder takes the place of an empty one only.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    // Its bytes, or its names, before the new name: that must never stand for less.
    sync(from)?;
    fs::rename(from, to)?;
    sync(folder_of(to))
}

/// Waits until a file, or the names in a folder, are on disk.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_the_one_before_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/record.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write(&folder.path().join("taken"), b"three").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no part is left");
    }

    #[test]
    fn a_new_file_takes_no_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        place_new(begin(&path).unwrap(), &path).unwrap();
        let error = place_new(begin(&path).unwrap(), &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_a_killed_process_had_begun_is_swept_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write(&path, b"whole").unwrap();
        std::mem::forget((begin(&path).unwrap(), begin_folder(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        sweep(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn a_folder_moves_whole_and_onto_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["next", "last"].map(|name| folder.path().join(name));
        write(&from.join("model"), b"new").unwrap();
        write(&to.join("model"), b"old").unwrap();
        assert!(rename(&from, &to).is_err());
        assert_eq!(fs::read(to.join("model")).unwrap(), b"old");
        fs::remove_dir_all(&to).unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("model")).unwrap(), b"new");
    }
}
