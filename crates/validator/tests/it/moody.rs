//! A hub that treats the repos of some owners badly, or everybody.

use crate::tapped::HubTap;
use hub::Error;
use protocol::{Repo, Revision};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
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

#[derive(Default)]
pub(crate) struct Moody {
    /// By repo.
    moods: Mutex<BTreeMap<String, Mood>>,
    /// Whether it is out for everybody.
    pub(crate) is_out: AtomicBool,
}

impl Moody {
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
}

/// What is given whatever the mood is about parameters.
fn is_small(path: &str) -> bool {
    path == "config.json"
}

fn denied() -> Error {
    Error::Denied { status: 403, said: "access to this repo is restricted".to_owned() }
}

fn cut() -> Error {
    Error::Unavailable("the connection was closed".to_owned())
}

impl HubTap for Moody {
    fn shows(&self, repo: &Repo) -> Result<bool, Error> {
        match self.mood(repo)? {
            Some(Mood::Gated) => Err(denied()),
            Some(Mood::ListCut) => Err(cut()),
            mood => Ok(mood != Some(Mood::Closed)),
        }
    }

    fn before_bytes(&self, repo: &Repo, revision: &Revision, path: &str) -> Result<(), Error> {
        let no_file = || Error::NoFile {
            repo: repo.clone(),
            revision: revision.clone(),
            path: path.to_owned(),
        };
        match self.mood(repo)? {
            Some(Mood::Gated) => Err(denied()),
            Some(Mood::Refuses) if !is_small(path) => Err(denied()),
            Some(Mood::Closed) => Err(no_file()),
            Some(Mood::NoFile) if !is_small(path) => Err(no_file()),
            Some(Mood::Cut) if !is_small(path) => Err(cut()),
            _ => Ok(()),
        }
    }

    fn alters(&self, repo: &Repo, path: &str, _n_bytes: u64) -> bool {
        matches!(self.mood(repo), Ok(Some(Mood::OtherBytes))) && !is_small(path)
    }
}
