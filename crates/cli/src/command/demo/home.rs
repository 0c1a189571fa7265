//! The folder of a demo: one run in it at a time, and no earlier run is lost.

use crate::{failure::HintExt as _, private};
use anyhow::Context as _;
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Marks a folder as the home of a demo; locked while the demo runs.
const MARKER: &str = ".agon-demo";

/// Runs that are kept beside the newest one.
const ASIDE_MAX: u32 = 1_000;

/// What becomes of an earlier run in the same folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It is renamed.
    MoveAside,
    /// It is deleted.
    Replace,
}

/// A home folder that is ours as long as this lives.
#[derive(Debug)]
pub struct Home {
    /// Holds the lock.
    _marker: File,
    /// Where an earlier run went.
    pub moved_to: Option<PathBuf>,
}

impl Home {
    /// Makes the folder `home`; one with anything that is not a demo's is left alone, and so is one
    /// in which a demo runs.
    pub fn make(home: &Path, earlier: Earlier) -> anyhow::Result<Self> {
        let is_empty = fs::read_dir(home).map_or(true, |mut entries| entries.next().is_none());
        let marker = home.join(MARKER);
        if !is_empty && !marker.exists() {
            return Err(anyhow::anyhow!("`{}` holds files that are no demo's", home.display()))
                .hint("name an empty or new folder with --home");
        }
        // Held until the folder is out of the way.
        let old = if is_empty { None } else { Some(lock(File::open(&marker), home)?) };
        let moved_to = match earlier {
            _ if is_empty => None,
            Earlier::MoveAside => Some(move_aside(home)?),
            Earlier::Replace => {
                let deleted = fs::remove_dir_all(home);
                deleted.with_context(|| format!("cannot delete `{}`", home.display()))?;
                None
            }
        };
        drop(old);
        private::make_home(home, MARKER).hint("name a folder that can be written with --home")?;
        let marker = File::options().write(true).create_new(true).open(&marker);
        Ok(Self { _marker: lock(marker, home)?, moved_to })
    }
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

    #[test]
    fn an_earlier_run_is_kept_and_a_running_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let running = Home::make(&home, Earlier::MoveAside).unwrap();
        fs::write(home.join("record"), "first").unwrap();
        for earlier in [Earlier::MoveAside, Earlier::Replace] {
            let error = Home::make(&home, earlier).unwrap_err();
            assert!(error.to_string().contains("a demo is running"), "{error}");
        }
        drop(running);
        let second = Home::make(&home, Earlier::MoveAside).unwrap();
        let aside = folder.path().join("home-1");
        assert_eq!(second.moved_to.as_ref(), Some(&aside));
        assert_eq!(fs::read_to_string(aside.join("record")).unwrap(), "first");
        fs::write(home.join("record"), "second").unwrap();
        drop(second);
        let third = Home::make(&home, Earlier::Replace).unwrap();
        assert!(third.moved_to.is_none() && !home.join("record").exists());
        drop(third);
        // A slash at the end names the same folder.
        let slash = PathBuf::from(format!("{}/", home.display()));
        let fourth = Home::make(&slash, Earlier::MoveAside).unwrap();
        assert_eq!(fourth.moved_to, Some(folder.path().join("home-2")));
    }

    #[test]
    fn a_folder_with_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years").unwrap();
        for earlier in [Earlier::MoveAside, Earlier::Replace] {
            assert!(Home::make(folder.path(), earlier).is_err());
        }
        assert!(folder.path().join("thesis.tex").exists());
    }
}
