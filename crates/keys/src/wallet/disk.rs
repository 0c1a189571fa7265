//! Files of a wallet: read with a limit; written whole or not at all, and for their owner only.

use super::{Existing, WalletError};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};
use zeroize::Zeroizing;

/// Most bytes of a file that are read; keys have less than one thousand.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Only the owner reads and writes.
const FILE_MODE: u32 = 0o600;

/// Only the owner enters.
const FOLDER_MODE: u32 = 0o700;

/// All bytes of a file.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    // Asked before opening: to open a pipe would wait for somebody who writes into it.
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => WalletError::Missing { path: path.to_owned() },
        _ => WalletError::io("read", path)(source),
    })?;
    if !metadata.is_file() {
        return Err(WalletError::NotAFile { path: path.to_owned() });
    }
    let too_large = || WalletError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    // With room for all of it from the start, growing leaves no copies behind in memory.
    let room = usize::try_from(metadata.len()).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let file = File::open(path).map_err(WalletError::io("open", path))?;
    let mut file = file.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(WalletError::io("read", path))?;
    // It may have grown since it was asked.
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// Whether a file may be written here; asked before work that would be lost otherwise.
pub(super) fn check_free(path: &Path, existing: Existing) -> Result<(), WalletError> {
    match fs::symlink_metadata(path) {
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(WalletError::io("read", path)(source)),
        Ok(metadata) if metadata.is_dir() => Err(WalletError::NotAFile { path: path.to_owned() }),
        Ok(_) if existing == Existing::Keep => Err(WalletError::Exists { path: path.to_owned() }),
        Ok(_) => Ok(()),
    }
}

/// Writes a file under a temporary name, makes it durable, and gives it its name.
pub(super) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), WalletError> {
    check_free(path, existing)?;
    let folder = path.parent().unwrap_or(path);
    create_folder(folder)?;
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)
        .map_err(WalletError::io("write in", folder))?;
    file.write_all(bytes).map_err(WalletError::io("write", path))?;
    let placed = match existing {
        Existing::Keep => disk::place_new(file, path),
        Existing::Overwrite => disk::place(file, path),
    };
    placed.map_err(|error| match error.kind() {
        // Somebody else was faster.
        ErrorKind::AlreadyExists => WalletError::Exists { path: path.to_owned() },
        _ => WalletError::io("write", path)(error),
    })
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), WalletError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(WalletError::io("remove", path)(source))
        }
        _ => Ok(()),
    }
}

/// The names in a folder, in order; hidden ones are left out.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, WalletError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(WalletError::io("list", folder))? {
        let name = entry.map_err(WalletError::io("list", folder))?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') {
            names.push(name.into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes a folder and those above it, each entered durably in the one above.
fn create_folder(path: &Path) -> Result<(), WalletError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    if parent != path {
        create_folder(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(WalletError::io("create", path)(source))
        }
        _ => sync_folder(parent),
    }
}

fn sync_folder(folder: &Path) -> Result<(), WalletError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(WalletError::io("sync", folder))
}
