//! A hub that fails on purpose, by a seed: for tests and simulations.

use crate::{Error, FileEntry, Hub, Part};
use protocol::{Repo, Revision, Seed, seed::uniform_below};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many of a thousand calls go wrong in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The hub does not answer; half of the time after the work was done.
    pub unavailable: u64,
    /// A fetched file or part is cut short, without an error.
    pub truncated: u64,
    /// One bit of a fetched file or part is flipped, without an error.
    pub flipped: u64,
}

/// A hub with seeded faults in front of another hub.
///
/// The same calls in the same order fail in the same way. What it lists is always right.
pub struct FaultyHub {
    inner: Arc<dyn Hub>,
    seed: Seed,
    faults: Faults,
    n_draws: AtomicU64,
}

impl FaultyHub {
    /// Puts faults in front of `inner`.
    pub fn new(inner: Arc<dyn Hub>, seed: Seed, faults: Faults) -> Self {
        Self { inner, seed, faults, n_draws: AtomicU64::new(0) }
    }

    fn below(&self, bound: u64) -> u64 {
        let draw = self.n_draws.fetch_add(1, Ordering::Relaxed);
        uniform_below(&mut self.seed.derive(&format!("fault {draw}")).stream(), bound)
    }

    fn happens(&self, per_thousand: u64) -> bool {
        self.below(1000) < per_thousand
    }

    fn maybe_unavailable<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        if !self.happens(self.faults.unavailable) {
            return call();
        }
        if self.happens(500) {
            call()?;
        }
        Err(Error::Unavailable("a fault was injected".to_owned()))
    }

    fn maybe_damage(&self, path: &Path) -> Result<(), Error> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        match self.damaged(bytes) {
            Some(damaged) => fs::write(path, damaged).map_err(Error::io("write", path)),
            None => Ok(()),
        }
    }

    /// Other bytes, if these are to be damaged.
    fn damaged(&self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let (truncated, flipped) =
            (self.happens(self.faults.truncated), self.happens(self.faults.flipped));
        if !truncated && !flipped {
            return None;
        }
        if truncated {
            bytes.truncate(self.below(bytes.len().max(1) as u64) as usize);
        }
        if flipped && !bytes.is_empty() {
            let bit = self.below(8 * bytes.len() as u64);
            if let Some(byte) = bytes.get_mut(bit as usize / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Some(bytes)
    }
}

impl Hub for FaultyHub {
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error> {
        self.maybe_unavailable(|| self.inner.publish(repo, dir))
    }

    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error> {
        self.maybe_unavailable(|| self.inner.latest(repo))
    }

    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        self.maybe_unavailable(|| self.inner.list(repo, revision))
    }

    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        self.maybe_unavailable(|| self.inner.fetch(repo, revision, path, to, size_bytes_max))?;
        self.maybe_damage(to)
    }

    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error> {
        let bytes = self.maybe_unavailable(|| self.inner.read_part(repo, revision, part))?;
        Ok(self.damaged(bytes.clone()).unwrap_or(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreHub;

    #[test]
    fn the_same_seed_fails_in_the_same_way_and_without_faults_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("config.json"), "{}").unwrap();
        let store = Arc::new(StoreHub::open(&dir.path().join("hub")).unwrap());
        let repo: Repo = "acme/model".parse().unwrap();
        let revision = store.publish(&repo, &source).unwrap();
        let outcomes = |seed, faults| {
            let hub = FaultyHub::new(store.clone(), Seed::of_number(seed), faults);
            let fetch = || {
                let to = dir.path().join("to");
                let fetched = hub.fetch(&repo, &revision, "config.json", &to, 2);
                let bytes = fs::read(&to).ok();
                let _ = fs::remove_file(&to);
                (fetched.is_ok(), bytes)
            };
            (0..50).map(|_| fetch()).collect::<Vec<_>>()
        };
        let faults = Faults { unavailable: 200, truncated: 200, flipped: 200 };
        assert_eq!(outcomes(1, faults), outcomes(1, faults));
        assert_ne!(outcomes(1, faults), outcomes(2, faults));
        let right = (true, Some(b"{}".to_vec()));
        assert!(outcomes(1, Faults::default()).iter().all(|outcome| *outcome == right));
    }
}
