//! Files that are read in pieces, wherever they are.

use crate::Error;
use protocol::Digest;
use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The files of one revision of a repo, read in pieces.
///
/// Paths are relative, with `/` between parts. Whoever reads checks what comes: an implementation
/// need not be trusted with content, only to say honestly that it failed.
pub trait RangeRead: Send + Sync {
    /// Size of a file in bytes.
    fn size_bytes(&self, path: &str) -> Result<u64, Error>;

    /// Digest of the whole file, where the place names one without reading all of it.
    fn sha256(&self, path: &str) -> Result<Option<Digest>, Error>;

    /// Fills all of `buffer` with what the file holds from `offset` on.
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
}

/// The files under a folder of this machine.
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The files under `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path_of(&self, path: &str) -> Result<PathBuf, Error> {
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        if path.split('/').all(is_part) && !path.contains(['\\', '\0']) {
            return Ok(self.root.join(path));
        }
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        Err(Error::Io { action: "find", path: self.root.join(path), source })
    }
}

impl RangeRead for Directory {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        let path = self.path_of(path)?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(source) => Err(Error::Io { action: "find", path, source }),
        }
    }

    /// None: a folder names no digests.
    fn sha256(&self, _path: &str) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let path = self.path_of(path)?;
        let read = fs::File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(buffer)
        });
        read.map_err(|source| Error::Io { action: "read", path, source })
    }
}

/// Files of which it is counted how much was read.
pub struct Counting<R> {
    inner: R,
    n_bytes: AtomicU64,
    n_reads: AtomicU64,
}

impl<R: RangeRead> Counting<R> {
    /// Counts from zero what is read of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, n_bytes: AtomicU64::new(0), n_reads: AtomicU64::new(0) }
    }

    /// Bytes read so far.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes.load(Ordering::Relaxed)
    }

    /// Reads so far; over a network each is a request.
    pub fn n_reads(&self) -> u64 {
        self.n_reads.load(Ordering::Relaxed)
    }
}

impl<R: RangeRead> RangeRead for Counting<R> {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        self.inner.size_bytes(path)
    }

    fn sha256(&self, path: &str) -> Result<Option<Digest>, Error> {
        self.inner.sha256(path)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        self.n_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.inner.read_at(path, offset, buffer)
    }
}

impl RangeRead for Box<dyn RangeRead> {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        (**self).size_bytes(path)
    }

    fn sha256(&self, path: &str) -> Result<Option<Digest>, Error> {
        (**self).sha256(path)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(path, offset, buffer)
    }
}

/// Files with a reserve that answers where the first place fails.
///
/// Both hold the same pinned bytes, so an outage changes where text comes from and never which.
pub struct WithReserve<A, B> {
    first: A,
    reserve: B,
}

impl<A: RangeRead, B: RangeRead> WithReserve<A, B> {
    /// Asks `first`, and `reserve` whenever that fails.
    pub fn new(first: A, reserve: B) -> Self {
        Self { first, reserve }
    }
}

impl<A: RangeRead, B: RangeRead> RangeRead for WithReserve<A, B> {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        // The first failure says more than that of a reserve which has nothing.
        self.first.size_bytes(path).or_else(|e| self.reserve.size_bytes(path).map_err(|_| e))
    }

    fn sha256(&self, path: &str) -> Result<Option<Digest>, Error> {
        self.first.sha256(path).or_else(|e| self.reserve.sha256(path).map_err(|_| e))
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let first = self.first.read_at(path, offset, buffer);
        first.or_else(|e| self.reserve.read_at(path, offset, buffer).map_err(|_| e))
    }
}
