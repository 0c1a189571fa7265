//! A hub that treats the repos of some owners badly, or everybody.

use hub::{Error, FileEntry, Hub, Part};
use protocol::{Repo, Revision};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What becomes of requests for a repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It is as if it were not there.
    Closed,
    /// Nothing of it is given, not even its list: gated, as config.json is needed for that.
    Gated,
    /// It is listed, and its parameters are refused.
    Refuses,
    /// It is listed, and a file of it is not there.
    NoFile,
    /// It is listed, and its parameters are others.
    OtherBytes,
    /// It is listed, and its parameters never come to their end.
    Cut,
    /// Its list never comes to its end.
    ListCut,
}

impl Mood {
    pub(crate) const BAD: [Self; 7] = [
        Self::Closed,
        Self::Gated,
        Self::Refuses,
        Self::NoFile,
        Self::OtherBytes,
        Self::Cut,
        Self::ListCut,
    ];
}

pub(crate) struct Moody {
    inner: Arc<dyn Hub>,
    /// By repo.
    pub(crate) moods: Mutex<BTreeMap<String, Mood>>,
    /// Whether it is out for everybody.
    pub(crate) is_out: AtomicBool,
}

impl Moody {
    pub(crate) fn new(inner: Arc<dyn Hub>) -> Arc<Self> {
        Arc::new(Self { inner, moods: Mutex::default(), is_out: AtomicBool::new(false) })
    }

    pub(crate) fn set(&self, repo: &str, mood: Option<Mood>) {
        let mut moods = self.moods.lock().unwrap();
        match mood {
            Some(mood) => drop(moods.insert(repo.to_owned(), mood)),
            None => drop(moods.remove(repo)),
        }
    }

    fn mood(&self, repo: &Repo) -> Result<Option<Mood>, Error> {
        if self.is_out.load(Ordering::Relaxed) {
            return Err(cut());
        }
        Ok(self.moods.lock().unwrap().get(repo.as_str()).copied())
    }

    /// What is said where parameters are asked for.
    fn bytes(&self, repo: &Repo, revision: &Revision, path: &str) -> Result<Option<Mood>, Error> {
        let mood = self.mood(repo)?;
        let is_small = path == "config.json";
        let no_file = || Error::NoFile {
            repo: repo.clone(),
            revision: revision.clone(),
            path: path.to_owned(),
        };
        match mood {
            Some(Mood::Gated) => Err(denied()),
            Some(Mood::Refuses) if !is_small => Err(denied()),
            Some(Mood::Closed) => Err(no_file()),
            Some(Mood::NoFile) if !is_small => Err(no_file()),
            Some(Mood::Cut) if !is_small => Err(cut()),
            mood => Ok(mood.filter(|mood| *mood == Mood::OtherBytes && !is_small)),
        }
    }
}

fn denied() -> Error {
    Error::Denied { status: 403, said: "access to this repo is restricted".to_owned() }
}

fn cut() -> Error {
    Error::Unavailable("the connection was closed".to_owned())
}

impl Hub for Moody {
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error> {
        self.inner.publish(repo, dir)
    }

    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error> {
        self.inner.latest(repo)
    }

    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        match self.mood(repo)? {
            Some(Mood::Closed) => Ok(None),
            Some(Mood::Gated) => Err(denied()),
            Some(Mood::ListCut) => Err(cut()),
            _ => self.inner.list(repo, revision),
        }
    }

    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        let other = self.bytes(repo, revision, path)?;
        self.inner.fetch(repo, revision, path, to, size_bytes_max)?;
        if other.is_some() {
            let mut bytes = fs::read(to).unwrap();
            bytes[0] ^= 1;
            fs::remove_file(to).unwrap();
            fs::write(to, bytes).unwrap();
        }
        Ok(())
    }

    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error> {
        let other = self.bytes(repo, revision, part.path)?;
        let mut bytes = self.inner.read_part(repo, revision, part)?;
        if other.is_some() {
            bytes[0] ^= 1;
        }
        Ok(bytes)
    }
}
