//! Bytes on disk: files named by their SHA-256, each of them whole.
//!
//! ```text
//! objects/<aa>/<sha256>   what was received, read-only
//! incoming/               what is being received; emptied when the hub starts
//! lock                    held by the hub that runs
//! ```

use super::{disk, error::ServerError};
use hub::Error;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::{NamedTempFile, TempPath};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 18;
/// Only the user whose hub it is enters.
const FOLDER_MODE: u32 = 0o700;

/// What a collection of garbage has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Takes the folder for this hub alone; the folder is made if it is not there.
pub(super) fn lock(folder: &Path) -> Result<File, ServerError> {
    private_folder(folder).map_err(Error::io("create", folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::io("open", &path))?;
    file.try_lock().map_err(|_| ServerError::InUse { folder: folder.to_owned() })?;
    Ok(file)
}

/// The folder of objects.
pub(super) struct Objects {
    folder: PathBuf,
}

impl Objects {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let objects = Self { folder: folder.to_owned() };
        let incoming = objects.incoming();
        // The lock is held, so whatever is incoming was left by a crash.
        if incoming.exists() {
            fs::remove_dir_all(&incoming).map_err(Error::io("empty", &incoming))?;
        }
        for folder in [objects.folder.join("objects"), incoming] {
            private_folder(&folder).map_err(Error::io("create", &folder))?;
            // Those of an older version are open to all users of the machine.
            let mode = fs::Permissions::from_mode(FOLDER_MODE);
            fs::set_permissions(&folder, mode).map_err(Error::io("close", &folder))?;
        }
        sync_folder(&objects.folder).map_err(Error::io("sync", &objects.folder))?;
        Ok(objects)
    }

    fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    /// Where an object is; `sha256` has been read as 64 digits before.
    pub(super) fn path(&self, sha256: &str) -> PathBuf {
        let shelf: String = sha256.chars().take(2).collect();
        self.folder.join("objects").join(shelf).join(sha256)
    }

    /// Bytes that may still be written to the disk.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        disk::free_bytes(&self.folder)
    }

    /// A file to write into, gone again unless it is placed.
    pub(super) fn begin(&self) -> io::Result<Arc<NamedTempFile>> {
        NamedTempFile::new_in(self.incoming()).map(Arc::new)
    }

    /// A file that comes from its first byte to its last.
    pub(super) fn receive(&self, size_bytes: u64, git: Git) -> io::Result<Incoming> {
        let sha1 = match git {
            Git::Pointer => None,
            Git::Blob => {
                let mut sha1 = Sha1::new();
                sha1.update(format!("blob {size_bytes}\0"));
                Some(sha1)
            }
        };
        let hashes = Hashes { sha256: Some(Sha256::new()), sha1 };
        let file = self.begin()?;
        Ok(Incoming { file, start: 0, size_bytes, n_bytes: 0, hashes, claim: None })
    }

    /// Gives a received file its name, durably. Whoever calls holds the database.
    pub(super) fn place(&self, object: Received) -> io::Result<()> {
        let path = self.path(&object.sha256);
        let shelf = path.parent().unwrap_or(&self.folder);
        // A shelf that a crash could lose would take the files in it along.
        if !shelf.is_dir() {
            private_folder(shelf)?;
            sync_folder(&self.folder.join("objects"))?;
        }
        // Its bytes are on disk since it was received; the row that names it comes after this.
        object.file.persist(&path).map_err(|failed| failed.error)?;
        sync_folder(shelf)
    }

    /// Removes objects by name, and those that have none in `is_known` and are older than `age`.
    pub(super) fn sweep(
        &self,
        age: Duration,
        is_known: &dyn Fn(&str) -> bool,
    ) -> io::Result<Collected> {
        let mut collected = Collected::default();
        for shelf in fs::read_dir(self.folder.join("objects"))? {
            let shelf = shelf?.path();
            for entry in fs::read_dir(&shelf)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                // A young one without a row may be on its way: the row comes after the file.
                let is_old = metadata.modified()?.elapsed().is_ok_and(|elapsed| elapsed >= age);
                if !is_old || entry.file_name().to_str().is_some_and(is_known) {
                    continue;
                }
                fs::remove_file(entry.path())?;
                collected.objects += 1;
                collected.bytes = collected.bytes.saturating_add(metadata.len());
            }
        }
        Ok(collected)
    }
}

/// What Git calls an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Git {
    /// A blob of its bytes, which takes another pass over them.
    Blob,
    /// The pointer that stands for it: all that is ever asked of what is too large for a commit.
    Pointer,
}

/// What is hashed while it comes.
#[derive(Default)]
pub(super) struct Hashes {
    /// Of the file up to here; `None` where a part does not follow on what is there.
    pub(super) sha256: Option<Sha256>,
    /// For Git's name of a blob, where it is wanted.
    pub(super) sha1: Option<Sha1>,
}

impl Hashes {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
    }
}

/// A file on its way in, or a part of one.
pub(super) struct Incoming {
    pub(super) file: Arc<NamedTempFile>,
    /// Offset of the first byte in the file.
    pub(super) start: u64,
    pub(super) size_bytes: u64,
    pub(super) n_bytes: u64,
    pub(super) hashes: Hashes,
    /// What is given back when nothing is written any more.
    pub(super) claim: Option<Box<dyn Send>>,
}

impl Incoming {
    /// Takes the next bytes; never more than were announced.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.store(bytes)?;
        self.hashes.update(bytes);
        Ok(())
    }

    /// The same, for bytes that somebody else hashes meanwhile.
    pub(super) fn store(&mut self, bytes: &[u8]) -> io::Result<()> {
        let n_bytes = self.n_bytes.saturating_add(bytes.len() as u64);
        if n_bytes > self.size_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than announced"));
        }
        let at = self.start.saturating_add(self.n_bytes);
        self.file.as_file().write_all_at(bytes, at)?;
        self.n_bytes = n_bytes;
        Ok(())
    }

    /// That all that was announced has come.
    pub(super) fn check_whole(&self) -> io::Result<()> {
        if self.n_bytes == self.size_bytes {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "fewer bytes than announced"))
    }

    /// The whole file, on disk and read-only; an error if bytes are missing.
    pub(super) fn finish(self) -> io::Result<Received> {
        self.check_whole()?;
        let Self { file, size_bytes, hashes: Hashes { sha256, sha1 }, .. } = self;
        let git = sha1.map(|sha1| hex::encode(sha1.finalize()));
        keep(file, size_bytes, sha256.unwrap_or_default(), git)
    }
}

/// A file whose bytes are all there and hashed, on disk and read-only.
fn keep(
    file: Arc<NamedTempFile>,
    size_bytes: u64,
    sha256: Sha256,
    git: Option<String>,
) -> io::Result<Received> {
    // Whoever writes or syncs holds another end of it, and is waited for before.
    let file = Arc::into_inner(file).ok_or(io::ErrorKind::ResourceBusy)?;
    // Before it has a name: under that nobody ever opens it for writing.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o400))?;
    file.as_file().sync_all()?;
    let sha256 = hex::encode(sha256.finalize());
    let git = git.unwrap_or_else(|| pointer(&sha256, size_bytes).0);
    Ok(Received { file: file.into_temp_path(), sha256, git, size_bytes })
}

/// Finishes a file that came in parts, of which `sha256` knows the first `hashed_bytes` already.
pub(super) fn finish_parts(
    file: Arc<NamedTempFile>,
    size_bytes: u64,
    (mut sha256, mut hashed_bytes): (Sha256, u64),
) -> io::Result<Received> {
    let mut chunk = vec![0; CHUNK_BYTES];
    while hashed_bytes < size_bytes {
        let n = file.as_file().read_at(&mut chunk, hashed_bytes)?;
        let Some(bytes) = chunk.get(..n).filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        sha256.update(bytes);
        hashed_bytes = hashed_bytes.saturating_add(n as u64);
    }
    keep(file, size_bytes, sha256, None)
}

/// A whole file that has no name yet.
pub(super) struct Received {
    pub(super) file: TempPath,
    pub(super) sha256: String,
    /// What Git calls a blob of these bytes.
    pub(super) git: String,
    pub(super) size_bytes: u64,
}

/// What Git calls the pointer that stands for a large file in its tree, and its length.
pub(super) fn pointer(sha256: &str, size_bytes: u64) -> (String, usize) {
    let text = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n"
    );
    let mut sha1 = Sha1::new();
    sha1.update(format!("blob {}\0{text}", text.len()));
    (hex::encode(sha1.finalize()), text.len())
}

/// Makes a folder that nobody else enters: what is private lies there.
fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
