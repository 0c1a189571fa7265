//! What a hub lists of a file, and whether bytes are that file.

use protocol::Digest;
use sha1::{Digest as _, Sha1};
use std::{fs::File, io::Read as _, path::Path};

/// Bytes of a file of ours that are hashed at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// One file of a repo as the hub lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Path inside the repo, with `/`; written by a stranger.
    pub path: String,
    /// Length.
    pub size_bytes: u64,
    /// Digest of the bytes, which hubs tell of large files alone.
    pub sha256: Option<Digest>,
    /// What git calls the file, which hubs tell of all others.
    pub git: Option<[u8; 20]>,
}

impl Listed {
    /// Why bytes that came are not this file, if they are not all that is said of it.
    ///
    /// A file of which the hub says nothing that proves it is never taken.
    pub(super) fn verify(&self, bytes: &[u8]) -> Result<(), &'static str> {
        if bytes.len() as u64 != self.size_bytes {
            return Err("fewer or more bytes came than are listed");
        }
        let is_it = match (self.sha256, self.git) {
            (None, None) => return Err("the hub lists no digest of it"),
            (Some(sha256), _) => sha256 == Digest::of(bytes),
            (None, Some(git)) => {
                git == git_blob(self.size_bytes).chain_update(bytes).finalize()[..]
            }
        };
        if is_it { Ok(()) } else { Err("the bytes that came are not the listed ones") }
    }
}

/// A hash as git writes it.
pub(super) fn git_hash(oid: &str) -> Option<[u8; 20]> {
    hex::decode(oid).ok()?.try_into().ok()
}

/// Git's hash of a file of ours, as long as it has so many bytes.
pub(super) fn git_hash_of(path: &Path, size_bytes: u64) -> std::io::Result<[u8; 20]> {
    let (mut file, mut hasher) = (File::open(path)?.take(size_bytes), git_blob(size_bytes));
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = file.read(&mut chunk)?;
        match chunk.get(..n).filter(|read| !read.is_empty()) {
            Some(read) => hasher.update(read),
            None => return Ok(hasher.finalize().into()),
        }
    }
}

/// A hasher that has seen what git puts before the bytes of a file.
fn git_blob(size_bytes: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {size_bytes}\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(sha256: Option<Digest>, git: Option<&str>) -> Listed {
        let git = git.map(|git| git_hash(git).unwrap());
        Listed { path: "a".to_owned(), size_bytes: 6, sha256, git }
    }

    #[test]
    fn bytes_are_a_file_when_they_are_all_that_is_said_of_it() {
        // `printf 'hello\n' | git hash-object --stdin`
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let small = listed(None, Some(git));
        let large = listed(Some(Digest::of(b"hello\n")), None);
        for file in [&small, &large] {
            assert_eq!(file.verify(b"hello\n"), Ok(()));
            for other in [&b"hello"[..], b"", b"hello\n\n", b"hellO\n", b"<html>"] {
                assert!(file.verify(other).is_err(), "{other:?}");
            }
        }
        assert!(listed(None, None).verify(b"hello\n").is_err(), "nothing proves it");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "hello\n").unwrap();
        assert_eq!(git_hash_of(&dir.path().join("a"), 6).unwrap(), git_hash(git).unwrap());
    }
}
