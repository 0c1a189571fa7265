//! The folder of a demo: one run in it at a time, and no earlier run is lost.

use crate::{failure::HintExt as _, private};
use anyhow::Context as _;
use protocol::Digest;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Marks a folder as the home of a demo; locked while the demo runs.
const MARKER: &str = ".agon-demo";

/// Runs that are kept beside the newest one.
const ASIDE_MAX: u32 = 1_000;

/// Holds what run it is, once it is set up.
const RUN: &str = "demo.json";

/// The result of a run that has ended, as `agon demo --json` prints it.
pub const REPORT: &str = "report.json";

/// What becomes of an earlier run in the same folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// The same run goes on if it has not ended; any other is renamed.
    Keep,
    /// It is deleted.
    Replace,
}

/// What two runs have in common if one can go on where the other was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Digest of the program: another one may come to other numbers.
    pub program: Digest,
    /// Number that all randomness comes from.
    pub seed: u64,
    /// Rounds in all.
    pub rounds: u64,
    /// Training steps of a miner between two of them.
    pub steps: u64,
    /// The text, where it is the user's.
    pub corpus: Option<PathBuf>,
    /// The competition, where it is the user's.
    pub competition: Option<String>,
    /// Digest of the user's own model.
    pub miner: Option<Digest>,
}

/// A folder that a run is to have: looked at, held, and not changed yet.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// The marker of the run that is there, locked; none where the folder is empty or not there.
    found: Option<File>,
    /// Whether that run is the same and goes on.
    pub goes_on: bool,
    earlier: Earlier,
}

impl Claim {
    /// Claims the folder `home` for a run; one with anything that is not a demo's is left alone,
    /// and so is one in which a demo runs.
    pub fn of(home: &Path, run: &Run, earlier: Earlier) -> anyhow::Result<Self> {
        let path = home.to_owned();
        let is_vacant = private::is_vacant(home)
            .with_context(|| format!("cannot use the folder `{}`", home.display()))
            .hint("name a folder that can be written with --home")?;
        if is_vacant {
            return Ok(Self { path, found: None, goes_on: false, earlier });
        }
        let marker = home.join(MARKER);
        if !marker.exists() {
            return Err(anyhow::anyhow!("`{}` holds files that are no demo's", home.display()))
                .hint("name an empty or new folder with --home");
        }
        // Held until the folder is out of the way, or as long as the run goes on in it.
        let found = lock(File::open(&marker), home)?;
        // Whoever had it may have made room for another run meanwhile.
        let is_still_it = found.metadata().and_then(|found| {
            fs::metadata(&marker).map(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()))
        });
        if !is_still_it.unwrap_or(false) {
            return Err(anyhow::anyhow!("a demo is running in `{}`", home.display()))
                .hint("wait for it, or name another folder with --home");
        }
        let goes_on = earlier == Earlier::Keep && goes_on(home, run)?;
        Ok(Self { path, found: Some(found), goes_on, earlier })
    }

    /// Makes the folder, or takes over the run that goes on in it; any other makes room.
    pub fn take(self) -> anyhow::Result<Home> {
        let Self { path, found, goes_on, earlier } = self;
        let mut moved_to = None;
        if let Some(found) = found {
            if goes_on {
                return Ok(Home { _marker: found, path, goes_on, moved_to });
            }
            match earlier {
                // Whatever it is: somebody may still want it.
                Earlier::Keep => moved_to = Some(move_aside(&path)?),
                Earlier::Replace => {
                    let deleted = fs::remove_dir_all(&path);
                    deleted.with_context(|| format!("cannot delete `{}`", path.display()))?;
                }
            }
        }
        private::make_home(&path, MARKER).hint("name a folder that can be written with --home")?;
        let marker = File::options().write(true).create_new(true).open(path.join(MARKER));
        Ok(Home { _marker: lock(marker, &path)?, path, goes_on, moved_to })
    }
}

/// A home folder that is ours as long as this lives.
#[derive(Debug)]
pub struct Home {
    /// Holds the lock.
    _marker: File,
    path: PathBuf,
    /// Whether a run goes on in it.
    pub goes_on: bool,
    /// Where an earlier run went.
    pub moved_to: Option<PathBuf>,
}

impl Home {
    /// Notes that the run is set up: from now on it can go on.
    pub fn is_set_up(&self, run: &Run) -> anyhow::Result<()> {
        self.write(RUN, run)
    }

    /// Notes how the run ended.
    pub fn has_ended(&self, report: &impl Serialize) -> anyhow::Result<()> {
        self.write(REPORT, report)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let path = self.path.join(name);
        disk::write(&path, &serde_json::to_vec_pretty(value)?)
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Whether the run in a folder is this one, set up and not ended.
fn goes_on(home: &Path, run: &Run) -> anyhow::Result<bool> {
    let path = home.join(RUN);
    let unread = || format!("cannot read `{}`", path.display());
    let began = match fs::read(&path) {
        Ok(began) => began,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(unread),
    };
    let is_same = serde_json::from_slice::<Run>(&began).is_ok_and(|began| began == *run);
    Ok(is_same && !home.join(REPORT).try_exists().with_context(unread)?)
}

fn lock(marker: io::Result<File>, home: &Path) -> anyhow::Result<File> {
    let hint = "wait for it, or name another folder with --home";
    let runs = || anyhow::anyhow!("a demo is running in `{}`", home.display());
    let marker = match marker {
        // Another demo was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(runs()).hint(hint);
        }
        marker => marker
            .with_context(|| format!("cannot make the folder `{}`", home.display()))
            .hint("name a folder that can be written with --home")?,
    };
    match marker.try_lock() {
        Ok(()) => Ok(marker),
        Err(TryLockError::WouldBlock) => Err(runs()).hint(hint),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", home.display()))
        }
    }
}

/// Renames a folder to the first free name of `HOME-1`, `HOME-2`, …
fn move_aside(home: &Path) -> anyhow::Result<PathBuf> {
    let name = |number: u32| {
        let mut name = home.components().as_path().as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let free = (1..=ASIDE_MAX).map(name).find(|path| fs::symlink_metadata(path).is_err());
    let hint = "delete earlier runs, replace this one with --force, or name another --home";
    let Some(free) = free else {
        return Err(anyhow::anyhow!("{ASIDE_MAX} earlier runs lie beside `{}`", home.display()))
            .hint(hint);
    };
    fs::rename(home, &free)
        .with_context(|| format!("cannot rename `{}` to `{}`", home.display(), free.display()))
        .hint(hint)?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64) -> Run {
        let program = Digest::of(b"program");
        Run { program, seed, rounds: 3, steps: 100, corpus: None, competition: None, miner: None }
    }

    fn make(home: &Path, run: &Run, earlier: Earlier) -> anyhow::Result<Home> {
        Claim::of(home, run, earlier)?.take()
    }

    #[test]
    fn what_is_claimed_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        drop(Claim::of(&home, &run(1), Earlier::Keep).unwrap());
        assert!(!home.exists());
        drop(make(&home, &run(1), Earlier::Keep).unwrap());
        fs::write(home.join("work"), "of days").unwrap();
        for earlier in [Earlier::Keep, Earlier::Replace] {
            let claim = Claim::of(&home, &run(2), earlier).unwrap();
            let error = Claim::of(&home, &run(2), earlier).unwrap_err();
            assert!(error.to_string().contains("a demo is running"), "{error}");
            drop(claim);
            assert!(home.join("work").exists() && !folder.path().join("home-1").exists());
        }
    }

    #[test]
    fn a_running_demo_is_left_alone_and_one_that_has_ended_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let running = make(&home, &run(1), Earlier::Keep).unwrap();
        running.is_set_up(&run(1)).unwrap();
        running.has_ended(&"first").unwrap();
        for earlier in [Earlier::Keep, Earlier::Replace] {
            let error = make(&home, &run(1), earlier).unwrap_err();
            assert!(error.to_string().contains("a demo is running"), "{error}");
        }
        drop(running);
        let second = make(&home, &run(1), Earlier::Keep).unwrap();
        let aside = folder.path().join("home-1");
        assert_eq!(second.moved_to.as_ref(), Some(&aside));
        assert_eq!(fs::read_to_string(aside.join(REPORT)).unwrap(), "\"first\"");
        second.is_set_up(&run(1)).unwrap();
        drop(second);
        let third = make(&home, &run(1), Earlier::Replace).unwrap();
        assert!(third.moved_to.is_none() && !home.join(RUN).exists());
        third.is_set_up(&run(1)).unwrap();
        drop(third);
        // A slash at the end names the same folder; another run is kept, too.
        let slash = PathBuf::from(format!("{}/", home.display()));
        let fourth = make(&slash, &run(2), Earlier::Keep).unwrap();
        assert_eq!(fourth.moved_to, Some(folder.path().join("home-2")));
    }

    #[test]
    fn a_run_that_was_killed_goes_on_and_one_that_had_not_begun_begins() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let killed = make(&home, &run(1), Earlier::Keep).unwrap();
        fs::write(home.join("half"), "of what it takes").unwrap();
        drop(killed);
        let begun = make(&home, &run(1), Earlier::Keep).unwrap();
        assert!(!begun.goes_on && !home.join("half").exists());
        assert!(
            begun.moved_to.as_ref().unwrap().join("half").exists(),
            "nothing is deleted unasked"
        );
        begun.is_set_up(&run(1)).unwrap();
        fs::write(home.join("work"), "of days").unwrap();
        drop(begun);
        let again = make(&home, &run(1), Earlier::Keep).unwrap();
        assert!(again.goes_on && home.join("work").exists());
        let error = make(&home, &run(1), Earlier::Keep).unwrap_err();
        assert!(error.to_string().contains("a demo is running"), "{error}");
    }

    #[test]
    fn a_folder_with_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years").unwrap();
        for earlier in [Earlier::Keep, Earlier::Replace] {
            assert!(make(folder.path(), &run(1), earlier).is_err());
        }
        assert!(folder.path().join("thesis.tex").exists());
    }
}
