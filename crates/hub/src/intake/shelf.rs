//! The folder behind an intake: admitted models by content, and remembered refusals.
//!
//! A file of a model lies under its digest too, as another link to the same bytes. So the number of
//! links says who needs it: one with a single link belongs to no model, and goes.

use super::incoming::Incoming;
use crate::{Error, FileEntry, Hub, content::digest_of_file};
use protocol::{
    Commitment, Digest, Reason,
    files::{CONFIG, INDEX, is_shard_name},
};
use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;

/// Most refusals that are remembered; then all are forgotten.
const N_REFUSALS_MAX: usize = 100_000;
/// Most bytes of a remembered refusal.
const REFUSAL_BYTES_MAX: u64 = 1 << 14;

#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) folder: PathBuf,
    pub(super) quota_bytes: u64,
    pub(super) reserve_bytes: u64,
    /// Held shared for as long as the shelf lives: the quarantine is in use.
    _lock: File,
    /// Models that were given out, and bytes reserved for models on their way.
    in_use: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    models: BTreeSet<String>,
    /// Models that the caller wants kept, whatever happens.
    kept: BTreeSet<String>,
    reserved_bytes: u64,
}

impl Shelf {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        for part in ["models", "files", "used", "refused", "quarantine", "incoming"] {
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
            remove_unneeded(&folder.join("files"))?;
            lock.unlock().map_err(Error::io("unlock", &path))?;
        }
        lock.lock_shared().map_err(Error::io("lock", &path))?;
        Ok(Self {
            folder: folder.to_owned(),
            quota_bytes: u64::MAX,
            reserve_bytes: disk::RESERVE_BYTES,
            _lock: lock,
            in_use: Mutex::default(),
        })
    }

    pub(super) fn model(&self, root: &str) -> PathBuf {
        self.folder.join("models").join(root)
    }

    fn file(&self, sha256: &Digest) -> PathBuf {
        self.folder.join("files").join(sha256.hex())
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

    /// Remembers the reason for a question; on a full disk it is forgotten, and asked for again.
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
        unless_full(self.write_atomically(&path, &json))
    }

    pub(super) fn keep(&self, root: &Digest) {
        self.in_use().kept.insert(root.hex());
    }

    /// Throws a model away, unless it is to be kept.
    pub(super) fn discard(&self, root: &Digest) -> Result<(), Error> {
        let name = root.hex();
        let mut in_use = self.in_use();
        in_use.models.remove(&name);
        if in_use.kept.contains(&name) { Ok(()) } else { self.remove(&name) }
    }

    /// Throws away all models but these.
    pub(super) fn retain(&self, roots: &BTreeSet<Digest>) -> Result<(), Error> {
        let names: BTreeSet<String> = roots.iter().map(Digest::hex).collect();
        let mut in_use = self.in_use();
        for dir in entries(&self.folder.join("models"))? {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !names.contains(&name) && !in_use.kept.contains(&name) {
                in_use.models.remove(&name);
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Bytes of the files of a model that is here.
    pub(super) fn size_bytes(&self, root: &Digest) -> u64 {
        bytes_in(&self.model(&root.hex()))
    }

    /// Throws away a model, and of its files those that no other model has.
    fn remove(&self, name: &str) -> Result<(), Error> {
        remove_if_there(&self.model(name))?;
        // A use without its model would only cost time.
        let _ = fs::remove_file(self.folder.join("used").join(name));
        remove_unneeded(&self.folder.join("files"))
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
        self.remove(&root.hex())?;
        Ok(None)
    }

    /// Fetches config and index of a model into a quarantine of its own, and checks every byte.
    pub(super) fn begin(&self, origin: Origin<'_>, files: &[FileEntry]) -> Result<TempDir, Error> {
        let folder = self.folder.join("quarantine");
        let quarantine = tempfile::tempdir_in(&folder).map_err(Error::io("write in", &folder));
        let quarantine =
            quarantine.map_err(|error| self.or_disk_full(error, size_of(files.iter())))?;
        let is_small = |file: &&FileEntry| [CONFIG, INDEX].contains(&&*file.path);
        let small: Vec<&FileEntry> = files.iter().filter(is_small).collect();
        self.fetch_missing(origin, quarantine.path(), None, &small)?;
        Ok(quarantine)
    }

    /// Fetches the rest of a model into its quarantine, checks every byte, and shelves it.
    pub(super) fn fetch(
        &self,
        origin: Origin<'_>,
        quarantine: &Path,
        root: &Digest,
        files: &[FileEntry],
    ) -> Result<PathBuf, Error> {
        let is_away = |file: &&FileEntry| !quarantine.join(&file.path).exists();
        let away: Vec<&FileEntry> = files.iter().filter(is_away).collect();
        // Held while room is made, so that what came before neither goes nor counts twice.
        let incoming = self.incoming(root)?;
        self.fetch_missing(origin, quarantine, incoming.as_ref(), &away)?;
        files.iter().for_each(|file| self.share(file, &quarantine.join(&file.path)));
        let admitted = self.admit(quarantine, root, files);
        let dir = admitted.map_err(|error| self.or_disk_full(error, size_of(files.iter())))?;
        incoming.map_or(Ok(()), Incoming::finish)?;
        Ok(dir)
    }

    /// Brings files into a folder, by way of the place of their model where there is one: there
    /// they stay until all have come.
    fn fetch_missing(
        &self,
        origin: Origin<'_>,
        quarantine: &Path,
        incoming: Option<&Incoming>,
        files: &[&FileEntry],
    ) -> Result<(), Error> {
        let place = |file: &FileEntry| quarantine.join(&file.path);
        // Linked first, so that what is here already stays while room is made for the rest.
        let is_missing = |file: &&FileEntry| !self.link(file, &place(file));
        let missing: Vec<&FileEntry> = files.iter().copied().filter(is_missing).collect();
        let size_bytes = size_of(missing.iter().copied());
        self.reserve(size_bytes, incoming.map_or(0, Incoming::size_bytes))?;
        let fetched = missing.iter().try_for_each(|file| match incoming {
            Some(incoming) => incoming.fetch(origin, file),
            // The same bytes may have come under another name of this model.
            None if self.link(file, &place(file)) => Ok(()),
            None => {
                fetch_file(origin, file, &place(file))?;
                // Of a model that may yet be refused nothing is for others.
                if is_shard_name(&file.path) {
                    self.share(file, &place(file));
                }
                Ok(())
            }
        });
        let placed = fetched.and_then(|()| match incoming {
            Some(incoming) => missing.iter().try_for_each(|file| {
                fs::hard_link(incoming.place(file), place(file))
                    .map_err(Error::io("write", &place(file)))
            }),
            None => Ok(()),
        });
        self.in_use().reserved_bytes -= size_bytes;
        if placed.is_err() {
            // What came before the trouble belongs to no model; the trouble says more than this.
            for file in files {
                let _ = fs::remove_file(place(file));
            }
            let _ = remove_unneeded(&self.folder.join("files"));
        }
        placed.map_err(|error| self.or_disk_full(error, size_bytes))
    }

    /// A folder to look at a model in before its parameters are fetched.
    pub(super) fn workbench(&self) -> Result<TempDir, Error> {
        let folder = self.folder.join("quarantine");
        tempfile::tempdir_in(&folder).map_err(Error::io("write in", &folder))
    }

    /// Moves a model out of quarantine.
    fn admit(&self, from: &Path, root: &Digest, files: &[FileEntry]) -> Result<PathBuf, Error> {
        let for_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(from, for_all)
            .and_then(|()| File::open(from)?.sync_all())
            .map_err(Error::io("sync", from))?;
        self.use_model(root)?;
        let dir = self.model(&root.hex());
        // The same content may have come in beside us; then ours is not needed.
        if let Err(cause) = fs::rename(from, &dir)
            && !is_whole(&dir, files)
        {
            return Err(Error::io("write", &dir)(cause));
        }
        sync(&self.folder.join("models"))?;
        Ok(dir)
    }

    /// Makes a file of what is here under its digest, if that is whole and unchanged.
    fn link(&self, file: &FileEntry, to: &Path) -> bool {
        let shared = self.file(&file.sha256);
        if fs::hard_link(&shared, to).is_err() {
            return false;
        }
        let is_whole = is_file_with(to, file);
        if !is_whole {
            // Damaged, for whoever has it; each of them notices when it is asked for.
            let _ = fs::remove_file(to).and_then(|()| fs::remove_file(shared));
        }
        is_whole
    }

    /// Lets other models have a file; where that cannot be, they fetch it.
    fn share(&self, file: &FileEntry, from: &Path) {
        let _ = fs::hard_link(from, self.file(&file.sha256));
    }

    /// Notes that a model is asked for now, and keeps it from being thrown away by us.
    fn use_model(&self, root: &Digest) -> Result<(), Error> {
        let name = root.hex();
        let mut in_use = self.in_use();
        let now = 1 + self.uses()?.into_values().max().unwrap_or(0);
        let path = self.folder.join("used").join(&name);
        // On a full disk the order is lost, but not the model.
        unless_full(self.write_atomically(&path, now.to_string().as_bytes()))?;
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

    /// Makes room for so many bytes, of which some are on the disk already, by throwing away the
    /// models asked for longest ago.
    fn reserve(&self, size_bytes: u64, here_bytes: u64) -> Result<(), Error> {
        let mut in_use = self.in_use();
        let mut models = Vec::new();
        if self.has_room(&in_use, size_bytes, here_bytes).is_err() {
            let uses = self.uses()?;
            for dir in entries(&self.folder.join("models"))? {
                let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !in_use.models.contains(&name) && !in_use.kept.contains(&name) {
                    models.push((uses.get(&name).copied().unwrap_or(0), name));
                }
            }
            models.sort();
        }
        let mut models = models.into_iter();
        while let Err(error) = self.has_room(&in_use, size_bytes, here_bytes) {
            // What is here whole is worth more than what is not.
            if self.forget_oldest()? {
                continue;
            }
            let Some((_, name)) = models.next() else { return Err(error) };
            self.remove(&name)?;
        }
        in_use.reserved_bytes += size_bytes;
        Ok(())
    }

    /// Whether so many bytes fit into what models may have, and those that are not here onto the
    /// disk.
    fn has_room(&self, in_use: &InUse, size_bytes: u64, here_bytes: u64) -> Result<(), Error> {
        if size_bytes == 0 {
            return Ok(());
        }
        if self.quota_bytes < u64::MAX {
            let total = self.stored_bytes()?.saturating_add(self.idle_bytes()?);
            let total = total.saturating_add(in_use.reserved_bytes);
            if total.saturating_add(size_bytes) > self.quota_bytes {
                return Err(Error::NoRoom { size_bytes, quota_bytes: self.quota_bytes });
            }
        }
        let free_bytes = self.free_bytes()?.saturating_sub(in_use.reserved_bytes);
        let to_come_bytes = size_bytes.saturating_sub(here_bytes);
        if free_bytes < to_come_bytes.saturating_add(self.reserve_bytes) {
            return Err(self.disk_full(size_bytes, free_bytes));
        }
        Ok(())
    }

    /// Bytes of all models, each file counted once however many have it.
    fn stored_bytes(&self) -> Result<u64, Error> {
        let mut sizes = HashMap::new();
        for dir in entries(&self.folder.join("models"))? {
            for path in entries(&dir)? {
                let metadata = fs::symlink_metadata(&path).map_err(Error::io("find", &path))?;
                sizes.insert(metadata.ino(), metadata.len());
            }
        }
        Ok(sizes.into_values().fold(0, u64::saturating_add))
    }

    /// Bytes of the disk that we may still write.
    fn free_bytes(&self) -> Result<u64, Error> {
        disk::free_bytes(&self.folder).map_err(Error::io("ask for the free bytes of", &self.folder))
    }

    fn disk_full(&self, size_bytes: u64, free_bytes: u64) -> Error {
        let (folder, reserve_bytes) = (self.folder.clone(), self.reserve_bytes);
        Error::DiskFull { folder, size_bytes, free_bytes, reserve_bytes }
    }

    /// An error, told as what it means for new models if the disk is full.
    fn or_disk_full(&self, error: Error, size_bytes: u64) -> Error {
        if !error.is_disk_full() {
            return error;
        }
        self.free_bytes().map_or(error, |free_bytes| self.disk_full(size_bytes, free_bytes))
    }

    /// Writes a small file whole or not at all.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        disk::write(path, bytes).map_err(Error::io("write", path))
    }
}

/// Where the bytes of a committed model come from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) hub: &'a dyn Hub,
    pub(super) commitment: &'a Commitment,
}

/// Fetches one file and checks it; whatever the hub says, what counts is what arrived.
pub(super) fn fetch_file(origin: Origin<'_>, file: &FileEntry, to: &Path) -> Result<(), Error> {
    let Commitment { repo, revision, .. } = origin.commitment;
    origin.hub.fetch(repo, revision, &file.path, to, file.size_bytes)?;
    if !is_file_with(to, file) {
        let reason = "the bytes that came are not the listed ones";
        return Err(Error::damaged(repo, revision, &file.path, reason));
    }
    protect(to)
}

/// Makes a file that was checked read-only, and waits until it is on disk.
pub(super) fn protect(file: &Path) -> Result<(), Error> {
    let read_only = fs::Permissions::from_mode(0o444);
    fs::set_permissions(file, read_only).map_err(Error::io("protect", file))?;
    sync(file)
}

/// Whether a folder has exactly these files with exactly these bytes, and no links.
fn is_whole(dir: &Path, files: &[FileEntry]) -> bool {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    is_folder
        && entries(dir).is_ok_and(|entries| entries.len() == files.len())
        && files.iter().all(|file| is_file_with(&dir.join(&file.path), file))
}

pub(super) fn is_file_with(path: &Path, file: &FileEntry) -> bool {
    // The length first: a file that is too long is not read through.
    let fits = |metadata: fs::Metadata| metadata.is_file() && metadata.len() == file.size_bytes;
    fs::symlink_metadata(path).is_ok_and(fits)
        && digest_of_file(path, &|_| true)
            .is_ok_and(|found| found == (file.size_bytes, file.sha256))
}

/// Bytes of the files in a folder; none if it is not there.
pub(super) fn bytes_in(dir: &Path) -> u64 {
    let size = |path: PathBuf| fs::symlink_metadata(path).map_or(0, |found| found.len());
    entries(dir).unwrap_or_default().into_iter().map(size).fold(0, u64::saturating_add)
}

/// Removes a folder with all that is in it, or a file, if it is there.
pub(super) fn remove_if_there(dir: &Path) -> Result<(), Error> {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs::remove_dir_all(dir) } else { fs::remove_file(dir) };
    match removed {
        // Somebody else was faster.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", dir)),
    }
}

/// Throws away the files that no model has; one that nobody else links to has but one link.
fn remove_unneeded(files: &Path) -> Result<(), Error> {
    for path in entries(files)? {
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.nlink() == 1) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// What is only noted for later is not worth an error on a full disk.
fn unless_full(noted: Result<(), Error>) -> Result<(), Error> {
    if noted.as_ref().is_err_and(Error::is_disk_full) { Ok(()) } else { noted }
}

/// Bytes of files, those of one digest counted once.
fn size_of<'a>(files: impl Iterator<Item = &'a FileEntry>) -> u64 {
    let sizes: HashMap<Digest, u64> = files.map(|file| (file.sha256, file.size_bytes)).collect();
    sizes.into_values().fold(0, u64::saturating_add)
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<io::Result<_>>().map_err(Error::io("list", folder))
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}
