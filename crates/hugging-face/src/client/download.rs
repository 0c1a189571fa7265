//! Files that come piece by piece, are hashed meanwhile, and go on where they stopped.

use super::{
    HubClient, Pinned, TICK,
    http::{self, Answer},
    patience::{Failure, Term},
    writer::Writer,
};
use hub::{
    Error, FileEntry, Progress,
    content::{digest_of_file, hash},
};
use protocol::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

/// What the name of a file ends with until it is whole.
const INCOMPLETE: &str = ".incomplete";

impl HubClient {
    /// Downloads a file of known size and digest to `to`, and syncs it.
    ///
    /// What an earlier call got lies beside it under the name of its digest, which ends with
    /// `.incomplete`, and is not asked for again; who finds another process at it waits. Bytes that
    /// turn out to be others than expected are thrown away.
    pub fn download(
        &self,
        pinned: Pinned<'_>,
        file: &FileEntry,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let expected = (file.size_bytes, file.sha256);
        let Some(mut partial) = Partial::open(to, &file.sha256, progress)? else {
            // Whoever had the file before us has made it.
            return match digest_of_file(to, progress)? {
                found if found == expected => Ok(()),
                _ => Err(Error::io("write", to)(io::ErrorKind::AlreadyExists.into())),
            };
        };
        let wanted = Wanted { pinned, path: &file.path, size_bytes_max: file.size_bytes };
        let mut is_ours_alone = partial.size_bytes == 0;
        loop {
            self.complete(wanted, &mut partial, progress)?;
            if (partial.size_bytes, partial.digest()) == expected {
                return partial.finish(to);
            }
            if is_ours_alone {
                partial.remove()?;
                let reason = "the bytes that came are not the listed ones";
                return Err(Error::Damaged { name: pinned.name(&file.path), reason });
            }
            // It may be what lay here that was wrong.
            is_ours_alone = true;
            partial.restart()?;
        }
    }

    /// Downloads a file of which nothing is known but how large it may be, from where the last try
    /// broke off.
    pub(super) fn fetch_whole(
        &self,
        pinned: Pinned<'_>,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        let name = Digest::of(pinned.name(path).as_bytes());
        let exists = || Error::io("write", to)(io::ErrorKind::AlreadyExists.into());
        let progress = |_| (self.http.on_piece)();
        let mut partial = Partial::open(to, &name, &progress)?.ok_or_else(exists)?;
        let wanted = Wanted { pinned, path, size_bytes_max };
        if let Err(error) = self.complete(wanted, &mut partial, &progress) {
            // What came is worth keeping only where the rest of it may come.
            if !error.is_transient() && !matches!(error, Error::Stopped) {
                partial.remove()?;
            }
            return Err(error);
        }
        partial.finish(to)
    }

    /// Gets what is missing of a file, with as many requests as it takes.
    fn complete(
        &self,
        wanted: Wanted<'_>,
        partial: &mut Partial,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let patience = self.http.patience;
        // The time that the hub asks for is not held against it, up to the longest for each try.
        let waits_max = patience.wait_max.saturating_mul(patience.n_tries);
        let term = Term::after(patience.time_for(wanted.size_bytes_max), waits_max);
        let (mut n_failed, mut most) = (0, partial.size_bytes);
        let watch = Watch { term: &term, progress };
        loop {
            match self.go_on(wanted, partial, watch) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    if term.is_over() {
                        return Err(wanted.too_slow());
                    }
                    // What makes progress is not failing; the term ends it all the same.
                    n_failed = if partial.size_bytes > most { 1 } else { n_failed + 1 };
                    most = most.max(partial.size_bytes);
                    self.http.wait_or_give_up(failure, n_failed, Some(&term))?;
                }
            }
        }
    }

    /// One request for all that is missing.
    fn go_on(
        &self,
        wanted: Wanted<'_>,
        partial: &mut Partial,
        watch: Watch<'_>,
    ) -> Result<(), Failure> {
        let Wanted { pinned, path, size_bytes_max } = wanted;
        if partial.size_bytes > size_bytes_max {
            partial.restart()?;
        }
        if partial.size_bytes == size_bytes_max && size_bytes_max > 0 {
            return Ok(());
        }
        let range = (partial.size_bytes > 0).then_some((partial.size_bytes, None));
        let Answer { first, size_bytes, mut body } =
            self.http.file((pinned, path), range, Some(watch.term))?;
        (self.http.on_answer)();
        if size_bytes.is_some_and(|size_bytes| size_bytes > size_bytes_max) {
            return Err(wanted.too_large(size_bytes).into());
        }
        if first != partial.size_bytes {
            if first != 0 {
                let reason = "the hub answered with another range";
                return Err(Error::Damaged { name: pinned.name(path), reason }.into());
            }
            partial.restart()?;
        }
        let file = partial.file.try_clone().map_err(Error::io("write", &partial.path))?;
        let writer = Writer::new(file);
        let received = wanted.receive(&mut body, partial, &writer, watch);
        // First of all: what was not written may not count as received.
        writer.end().map_err(|error| partial.lost(error))?;
        received?;
        match size_bytes {
            Some(size_bytes) if partial.size_bytes < size_bytes => {
                Err(http::broken(&io::ErrorKind::UnexpectedEof.into()))
            }
            _ => Ok(()),
        }
    }
}

/// What may end a download before all of it has come.
#[derive(Clone, Copy)]
struct Watch<'a> {
    /// The time that it may take.
    term: &'a Term,
    /// Asked whether to go on after each piece.
    progress: Progress<'a>,
}

/// A file, and how large it may be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    pinned: Pinned<'a>,
    path: &'a str,
    size_bytes_max: u64,
}

impl Wanted<'_> {
    fn too_large(&self, size_bytes: Option<u64>) -> Error {
        let size_bytes_max = self.size_bytes_max;
        let size_bytes = size_bytes.unwrap_or(size_bytes_max.saturating_add(1));
        Error::TooLarge { name: self.pinned.name(self.path), size_bytes, size_bytes_max }
    }

    /// Reads an answer to its end; what fails in writing is for the writer to say.
    fn receive(
        &self,
        body: &mut impl Read,
        partial: &mut Partial,
        writer: &Writer,
        watch: Watch<'_>,
    ) -> Result<(), Failure> {
        while let Some(mut piece) = writer.piece() {
            let n = body.read(&mut piece).map_err(|error| http::broken(&error))?;
            if n == 0 {
                break;
            }
            if partial.size_bytes + n as u64 > self.size_bytes_max {
                return Err(self.too_large(None).into());
            }
            partial.hasher.update(&piece[..n]);
            partial.size_bytes += n as u64;
            if !writer.write(piece, n) {
                break;
            }
            if !(watch.progress)(partial.size_bytes) {
                return Err(Error::Stopped.into());
            }
            if watch.term.is_over() {
                return Err(self.too_slow().into());
            }
        }
        Ok(())
    }

    fn too_slow(&self) -> Error {
        Error::Unavailable(format!("{} comes too slowly", self.pinned.name(self.path)))
    }
}

/// A file on its way, and the digest of what is there.
struct Partial {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    hasher: Sha256,
}

impl Partial {
    /// Goes on with what is there of a file called by `name`, which will be `to`; hashing that is
    /// progress. `None` if another process has made `to` while we waited for it.
    fn open(to: &Path, name: &Digest, progress: Progress<'_>) -> Result<Option<Self>, Error> {
        let is_there = || fs::symlink_metadata(to).is_ok();
        if is_there() {
            return Err(Error::io("write", to)(io::ErrorKind::AlreadyExists.into()));
        }
        let path = to.with_file_name(format!(".{}{INCOMPLETE}", name.hex()));
        let file = loop {
            if let Some(file) = lock_part(&path)? {
                break file;
            }
            thread::sleep(TICK);
            if !progress(0) {
                return Err(Error::Stopped);
            }
        };
        if is_there() {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            return Ok(None);
        }
        let (size_bytes, hasher) = hash((&file, &path), progress)?;
        Ok(Some(Self { path, file, size_bytes, hasher }))
    }

    /// Forgets what is there.
    fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("write", &self.path))?;
        (self.size_bytes, self.hasher) = (0, Sha256::new());
        Ok(())
    }

    /// That writing has failed. What is there may look whole until the system forgets what it could
    /// not bring to disk, so nothing of it is kept, unless there was no room for more.
    fn lost(&mut self, error: io::Error) -> Error {
        let error = Error::io("write", &self.path)(error);
        if !error.is_disk_full() {
            // Better no more than the error that we have.
            let _ = self.restart();
        }
        error
    }

    fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    /// Gives the file its name.
    fn finish(mut self, to: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| self.lost(error))?;
        fs::rename(&self.path, to).map_err(Error::io("write", to))
    }

    fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

/// Opens a file for us alone, as two at a time would mix their bytes; `None` while another has it.
fn lock_part(path: &Path) -> Result<Option<File>, Error> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_link {
        fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    let file = OpenOptions::new().read(true).append(true).create(true).open(path);
    let file = file.map_err(Error::io("write", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
    }
    // Whoever had it may have given it its name, or thrown it away.
    let own = file.metadata().map_err(Error::io("find", path))?;
    let is_still_it = fs::symlink_metadata(path).is_ok_and(|there| there.ino() == own.ino());
    Ok(is_still_it.then_some(file))
}
