//! A hub in a folder: blobs by content, revisions that never change, publishing all or nothing.
//!
//! ```text
//! blobs/<sha256>                      bytes, read-only
//! repos/<owner>/<name>/<revision>     manifest: the files of a revision
//! repos/<owner>/<name>/latest         the newest revision
//! unfinished/                         files being written; emptied when nobody publishes
//! lock                                held shared by everybody who publishes
//! ```
//!
//! Every file is written under a temporary name, synced and renamed; blobs come first, the
//! manifest after them, `latest` last. Whatever moment the power fails, a manifest that can be read
//! names only blobs that are there.

use crate::{
    Error, FileEntry, Hub, Part,
    content::{self, copy, digest_of_file},
};
use protocol::{Digest, Repo, Revision};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

#[cfg(test)]
mod tests;

/// Most bytes of a manifest.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A hub in a folder of this machine; any number of threads and processes may use it at once.
#[derive(Debug)]
pub struct StoreHub {
    folder: PathBuf,
}

impl StoreHub {
    /// Opens the hub in `folder`, which is made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let hub = Self { folder: folder.to_owned() };
        for part in ["blobs", "repos", "unfinished"] {
            create_folder(&folder.join(part))?;
        }
        // Whoever publishes holds the lock, so what is unfinished now was left by a crash.
        let lock = hub.lock_file()?;
        if lock.try_lock().is_ok() {
            empty_folder(&hub.unfinished())?;
        }
        Ok(hub)
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.hex())
    }

    fn repo(&self, repo: &Repo) -> PathBuf {
        let (owner, name) = repo.parts();
        self.folder.join("repos").join(owner).join(name)
    }

    fn lock_file(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        File::create(&path).map_err(Error::io("open", &path))
    }

    /// Takes a file in as a blob.
    ///
    /// A blob that is there already is written again: that repairs it, should it be damaged.
    fn store_blob(&self, path: &Path) -> Result<(u64, Digest), Error> {
        let mut from = File::open(path).map_err(Error::io("read", path))?;
        let mut to = self.create_unfinished()?;
        let copied = copy(&mut from, to.as_file_mut(), u64::MAX);
        let (size_bytes, digest) = copied.map_err(Error::io("copy", path))?;
        place(to, &self.blob(&digest))?;
        Ok((size_bytes, digest))
    }

    /// Writes a file whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.create_unfinished()?;
        file.write_all(bytes).map_err(Error::io("write", file.path()))?;
        place(file, path)
    }

    fn create_unfinished(&self) -> Result<NamedTempFile, Error> {
        let folder = self.unfinished();
        let file = NamedTempFile::new_in(&folder).map_err(Error::io("write in", &folder))?;
        may_crash();
        Ok(file)
    }

    /// The manifest of a revision, checked against the revision.
    fn manifest(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        let damaged = |reason| Error::damaged(repo, revision, "", reason);
        let path = self.repo(repo).join(revision.as_str());
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        // Before it is read: what was changed says nothing.
        if revision_of(repo, &bytes) != revision.as_str() {
            return Err(damaged("its manifest was changed"));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged("its manifest is unreadable"))
    }

    /// What the manifest says of a file.
    fn entry(&self, repo: &Repo, revision: &Revision, path: &str) -> Result<FileEntry, Error> {
        let files = self.manifest(repo, revision)?.unwrap_or_default();
        files.into_iter().find(|entry| entry.path == path).ok_or_else(|| {
            let (repo, revision, path) = (repo.clone(), revision.clone(), path.to_owned());
            Error::NoFile { repo, revision, path }
        })
    }
}

impl Hub for StoreHub {
    /// Links, special files, hidden files and odd names are refused.
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error> {
        // Held until all is named: an opening hub would sweep what is not finished.
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(Error::io("lock", &self.folder))?;
        // Blobs, then the manifest that names them, then the name of the manifest: whoever finds
        // one of these finds all that it refers to, whenever we die.
        let mut files = Vec::new();
        for (path, file) in content::publishable_files(dir)? {
            let (size_bytes, sha256) = self.store_blob(&file)?;
            files.push(FileEntry { path, size_bytes, sha256 });
        }
        let impossible = |cause: &dyn std::fmt::Display| Error::Unavailable(cause.to_string());
        let manifest = serde_json::to_vec(&files).map_err(|e| impossible(&e))?;
        let revision = revision_of(repo, &manifest);
        let folder = self.repo(repo);
        create_folder(&folder)?;
        self.write(&folder.join(&revision), &manifest)?;
        self.write(&folder.join("latest"), revision.as_bytes())?;
        revision.parse().map_err(|e| impossible(&e))
    }

    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error> {
        let path = self.repo(repo).join("latest");
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let revision = str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        let name = path.display().to_string();
        revision.map(Some).ok_or(Error::Damaged { name, reason: "it names no revision" })
    }

    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        self.manifest(repo, revision)
    }

    /// Every byte is checked on the way; on an error, `to` does not stay behind.
    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        let FileEntry { size_bytes, sha256, .. } = self.entry(repo, revision, path)?;
        let damaged = |reason| Error::damaged(repo, revision, path, reason);
        // By the manifest, before a byte is copied.
        if size_bytes > size_bytes_max {
            let name = format!("{repo}@{revision}/{path}");
            return Err(Error::TooLarge { name, size_bytes, size_bytes_max });
        }
        let blob = self.blob(&sha256);
        if !fs::symlink_metadata(&blob).is_ok_and(|metadata| metadata.is_file()) {
            return Err(damaged("its blob is missing, or not a file"));
        }
        let mut from = File::open(&blob).map_err(Error::io("read", &blob))?;
        let mut target = File::create_new(to).map_err(Error::io("create", to))?;
        let copied = match copy(&mut from, &mut target, size_bytes) {
            Ok(found) if found == (size_bytes, sha256) => Ok(()),
            Ok(_) => Err(damaged("its blob is not what was published")),
            Err(cause) => Err(Error::io("copy to", to)(cause)),
        };
        if copied.is_err() {
            // The copy is worthless; that it could not be removed would say less than the error.
            let _ = fs::remove_file(to);
        }
        copied
    }

    /// The whole file is checked, so that no part of a damaged one is served.
    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error> {
        let FileEntry { size_bytes, sha256, path } = self.entry(repo, revision, part.path)?;
        let blob = self.blob(&sha256);
        if digest_of_file(&blob, &|_| true)? != (size_bytes, sha256) {
            let reason = "its blob is not what was published";
            return Err(Error::damaged(repo, revision, &path, reason));
        }
        let mut bytes = vec![0; part.n_bytes];
        File::open(&blob)
            .and_then(|file| file.read_exact_at(&mut bytes, part.offset))
            .map_err(Error::io("read", &blob))?;
        Ok(bytes)
    }
}

/// A revision is the digest of its manifest within its repo.
fn revision_of(repo: &Repo, manifest: &[u8]) -> String {
    let digest = Digest::of_fields("agon revision", &[repo.as_str().as_bytes(), manifest]);
    digest.hex().chars().take(40).collect()
}

/// Gives a finished file its name, read-only and safe against a power failure.
fn place(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    may_crash();
    // Before it has its name: nobody ever sees it writable.
    let read_only = fs::Permissions::from_mode(0o444);
    let protected = file.as_file().set_permissions(read_only);
    protected.map_err(Error::io("protect", file.path()))?;
    may_crash();
    disk::place(file, path).map_err(Error::io("write", path))?;
    may_crash();
    Ok(())
}

fn create_folder(path: &Path) -> Result<(), Error> {
    disk::create_folder(path).map_err(Error::io("create", path))
}

fn empty_folder(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let path = entry.map_err(Error::io("list", path))?.path();
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            let read = file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes);
            read.map(|_| Some(bytes)).map_err(Error::io("read", path))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io("read", path)(cause)),
    }
}

/// Marks a moment at which a test may end the process.
fn may_crash() {
    #[cfg(test)]
    tests::may_crash();
}
