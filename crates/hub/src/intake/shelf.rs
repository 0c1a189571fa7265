//! The folder behind an intake: admitted models by content, and remembered refusals.

use crate::{Error, FileEntry, Hub, content::digest_of_file};
use protocol::{Commitment, Digest, Reason};
use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most refusals that are remembered; then all are forgotten.
const N_REFUSALS_MAX: usize = 100_000;
/// Most bytes of a remembered refusal.
const REFUSAL_BYTES_MAX: u64 = 1 << 14;

#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    pub(super) quota_bytes: u64,
    /// Held shared for as long as the shelf lives: the quarantine is in use.
    _lock: File,
    /// Models that were given out, and bytes reserved for models on their way.
    in_use: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    models: BTreeSet<String>,
    reserved_bytes: u64,
}

impl Shelf {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        for part in ["models", "used", "refused", "quarantine"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(Error::io("open", &path))?;
        // Whoever fetches holds the lock, so what is in quarantine now was left by a crash.
        if lock.try_lock().is_ok() {
            for path in entries(&folder.join("quarantine"))? {
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
            lock.unlock().map_err(Error::io("unlock", &path))?;
        }
        lock.lock_shared().map_err(Error::io("lock", &path))?;
        let folder = folder.to_owned();
        Ok(Self { folder, quota_bytes: u64::MAX, _lock: lock, in_use: Mutex::default() })
    }

    fn model(&self, root: &str) -> PathBuf {
        self.folder.join("models").join(root)
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason remembered for a question.
    pub(super) fn refusal(&self, question: &Digest) -> Result<Option<Reason>, Error> {
        let path = self.folder.join("refused").join(question.hex());
        match File::open(&path) {
            // One that a crash left half-written is no refusal: the question is asked again.
            Ok(file) => Ok(serde_json::from_reader(io::Read::take(file, REFUSAL_BYTES_MAX)).ok()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::io("read", &path)(cause)),
        }
    }

    /// Remembers the reason for a question.
    pub(super) fn refuse(&self, question: &Digest, reason: &Reason) -> Result<(), Error> {
        let folder = self.folder.join("refused");
        let known = entries(&folder)?;
        if known.len() >= N_REFUSALS_MAX {
            for path in known {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let path = folder.join(question.hex());
        let json = serde_json::to_vec(reason).map_err(|e| Error::io("write", &path)(e.into()))?;
        self.write_atomically(&path, &json)
    }

    /// The model of a root, if it is here, whole and unchanged; a damaged one is thrown away.
    pub(super) fn find(
        &self,
        root: &Digest,
        files: &[FileEntry],
    ) -> Result<Option<PathBuf>, Error> {
        let dir = self.model(&root.hex());
        if !dir.exists() {
            return Ok(None);
        }
        // Taken into use first, so that it is not thrown away while it is read.
        self.use_model(root)?;
        if is_whole(&dir, files) {
            return Ok(Some(dir));
        }
        remove_model(&dir)?;
        Ok(None)
    }

    /// Fetches files into quarantine, checks every byte, and puts them on the shelf.
    pub(super) fn fetch(
        &self,
        hub: &dyn Hub,
        commitment: &Commitment,
        root: &Digest,
        files: &[FileEntry],
    ) -> Result<PathBuf, Error> {
        let size_bytes = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size_bytes));
        self.reserve(size_bytes)?;
        let fetched = self.fetch_reserved(hub, commitment, root, files);
        self.in_use().reserved_bytes -= size_bytes;
        fetched
    }

    fn fetch_reserved(
        &self,
        hub: &dyn Hub,
        commitment: &Commitment,
        root: &Digest,
        files: &[FileEntry],
    ) -> Result<PathBuf, Error> {
        let folder = self.folder.join("quarantine");
        let quarantine = tempfile::tempdir_in(&folder).map_err(Error::io("write in", &folder))?;
        for file in files {
            fetch_file(hub, commitment, file, &quarantine.path().join(&file.path))?;
        }
        let for_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(quarantine.path(), for_all)
            .and_then(|()| File::open(quarantine.path())?.sync_all())
            .map_err(Error::io("sync", quarantine.path()))?;
        self.use_model(root)?;
        let dir = self.model(&root.hex());
        // The same content may have come in beside us; then ours is not needed.
        if let Err(cause) = fs::rename(quarantine.path(), &dir)
            && !is_whole(&dir, files)
        {
            return Err(Error::io("write", &dir)(cause));
        }
        sync(&self.folder.join("models"))?;
        Ok(dir)
    }

    /// Notes that a model is asked for now, and keeps it from being thrown away by us.
    fn use_model(&self, root: &Digest) -> Result<(), Error> {
        let name = root.hex();
        let mut in_use = self.in_use();
        let now = 1 + self.uses()?.into_values().max().unwrap_or(0);
        self.write_atomically(&self.folder.join("used").join(&name), now.to_string().as_bytes())?;
        in_use.models.insert(name);
        Ok(())
    }

    /// When each model was last asked for; one that says nothing readable was so never.
    fn uses(&self) -> Result<HashMap<String, u64>, Error> {
        let paths = entries(&self.folder.join("used"))?;
        let use_of = |path: PathBuf| {
            let count = fs::read_to_string(&path).ok()?.parse().ok()?;
            Some((path.file_name()?.to_str()?.to_owned(), count))
        };
        Ok(paths.into_iter().filter_map(use_of).collect())
    }

    /// Makes room for a model by throwing away those asked for longest ago.
    fn reserve(&self, size_bytes: u64) -> Result<(), Error> {
        let mut in_use = self.in_use();
        if self.quota_bytes < u64::MAX {
            let uses = self.uses()?;
            let mut models = Vec::new();
            for dir in entries(&self.folder.join("models"))? {
                let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let last_use = uses.get(&name).copied().unwrap_or(0);
                models.push((last_use, size_of(&dir)?, name));
            }
            models.sort();
            let kept: u64 = models.iter().map(|(_, size_bytes, _)| size_bytes).sum();
            let mut total = kept.saturating_add(in_use.reserved_bytes).saturating_add(size_bytes);
            for (_, size_bytes, name) in models {
                if total <= self.quota_bytes {
                    break;
                }
                if !in_use.models.contains(&name) {
                    remove_model(&self.model(&name))?;
                    // A use without its model would only cost time.
                    let _ = fs::remove_file(self.folder.join("used").join(&name));
                    total -= size_bytes;
                }
            }
            if total > self.quota_bytes {
                return Err(Error::NoRoom { size_bytes, quota_bytes: self.quota_bytes });
            }
        }
        in_use.reserved_bytes += size_bytes;
        Ok(())
    }

    /// Writes a small file whole or not at all; not so that it outlives a power failure.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file =
            tempfile::NamedTempFile::new_in(&self.folder).map_err(Error::io("write", path))?;
        file.write_all(bytes).map_err(Error::io("write", path))?;
        file.persist(path).map(drop).map_err(|failed| Error::io("write", path)(failed.error))
    }
}

/// Fetches one file and checks it; whatever the hub says, what counts is what arrived.
fn fetch_file(
    hub: &dyn Hub,
    commitment: &Commitment,
    file: &FileEntry,
    to: &Path,
) -> Result<(), Error> {
    let Commitment { repo, revision, .. } = commitment;
    hub.fetch(repo, revision, &file.path, to, file.size_bytes)?;
    if !is_file_with(to, file) {
        let reason = "the bytes that came are not the listed ones";
        return Err(Error::damaged(repo, revision, &file.path, reason));
    }
    let read_only = fs::Permissions::from_mode(0o444);
    fs::set_permissions(to, read_only).map_err(Error::io("protect", to))?;
    sync(to)
}

/// Whether a folder has exactly these files with exactly these bytes, and no links.
fn is_whole(dir: &Path, files: &[FileEntry]) -> bool {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    is_folder
        && entries(dir).is_ok_and(|entries| entries.len() == files.len())
        && files.iter().all(|file| is_file_with(&dir.join(&file.path), file))
}

fn is_file_with(path: &Path, file: &FileEntry) -> bool {
    // The length first: a file that is too long is not read through.
    let fits = |metadata: fs::Metadata| metadata.is_file() && metadata.len() == file.size_bytes;
    fs::symlink_metadata(path).is_ok_and(fits)
        && digest_of_file(path).is_ok_and(|found| found == (file.size_bytes, file.sha256))
}

fn remove_model(dir: &Path) -> Result<(), Error> {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs::remove_dir_all(dir) } else { fs::remove_file(dir) };
    match removed {
        // Somebody else was faster.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", dir)),
    }
}

fn size_of(dir: &Path) -> Result<u64, Error> {
    let mut size_bytes = 0_u64;
    for path in entries(dir)? {
        let metadata = fs::symlink_metadata(&path).map_err(Error::io("find", &path))?;
        size_bytes = size_bytes.saturating_add(metadata.len());
    }
    Ok(size_bytes)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<io::Result<_>>().map_err(Error::io("list", folder))
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}
