//! A folder of the user's own: what of it goes to a hub, and what stays here and why.
//!
//! Such folders hold more than a model: what a trainer leaves behind, the folder of git, links into
//! a cache. All of that is left out, and listed. What a *published* repo may hold is the intake's
//! to say, and stricter.

use crate::dev::patterns::Patterns;
use hub::{
    Error, FileEntry,
    content::{Kind, is_plain_path, is_safe_path, kind, list_files, shards_of_index},
};
use protocol::{
    files::{CONFIG, INDEX, SINGLE, is_shard_name},
    text::shown,
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Most files and folders that are looked at.
const N_ENTRIES_MAX: usize = 10_000;
/// Most bytes of an index over shards, and of a `.gitignore`.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Most characters of a name that are shown.
const SHOWN_MAX: usize = 200;
/// What the owner of a folder keeps out of it when it is published.
const IGNORE: &str = ".gitignore";
/// Hidden files that say nothing of whoever owns the folder.
const HARMLESS: [&str; 2] = [".gitattributes", ".gitignore"];
/// Folders in which trainers keep earlier states, and publishers other formats of the same model.
const OTHER_STATES: [&str; 3] = ["checkpoint-", "global_step", "original"];

/// The files of a folder that go to a hub, by their names and not by their bytes.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
    files: Vec<String>,
    left_out: Vec<LeftOut>,
}

/// Something that stays here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// Path inside the folder; with `/` at its end for a folder and all that is in it.
    pub path: String,
    /// Why it stays.
    pub reason: &'static str,
}

/// What a folder is listed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Model,
    Anything,
}

impl Folder {
    /// The model in a folder, with the texts beside it: what validators admit.
    pub fn of_model(dir: &Path) -> Result<Self, Error> {
        let mut folder = Self::walk(dir, Purpose::Model)?;
        let shards = folder.shards()?;
        let (files, strays) = std::mem::take(&mut folder.files)
            .into_iter()
            .partition(|path| shards.as_ref().is_none_or(|shards| !is_stray(path, shards)));
        let strays: Vec<String> = strays;
        folder.files = files;
        let reason = "no parameters of this model";
        folder.left_out.extend(strays.into_iter().map(|path| LeftOut { path, reason }));
        folder.left_out.sort();
        Ok(folder)
    }

    /// All that a folder holds, but hidden files, which may hold secrets, and special ones.
    pub fn of_everything(dir: &Path) -> Result<Self, Error> {
        let folder = Self::walk(dir, Purpose::Anything)?;
        if folder.files.is_empty() {
            let reason = "it has no files that could be";
            return Err(Error::NotPublishable { path: dir.to_owned(), reason });
        }
        Ok(folder)
    }

    /// What is left out, in order.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What goes to a hub, as paths inside the folder, in order.
    pub fn paths(&self) -> &[String] {
        &self.files
    }

    /// Where a file is.
    pub fn path_of(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// The files as a hub would list them after publishing; `progress` is told how many bytes of
    /// all have been hashed, and `false` stops it.
    pub fn list(
        &self,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Vec<FileEntry>, Error> {
        let files = self.files.iter().map(|path| (path.clone(), self.path_of(path)));
        list_files(files.collect(), progress)
    }

    /// The text of the folder's `.gitignore`, if that goes to the hub.
    pub fn gitignore(&self) -> Result<Option<String>, Error> {
        let name = IGNORE.to_owned();
        if !self.files.contains(&name) {
            return Ok(None);
        }
        let path = self.path_of(&name);
        let bytes = read_small(&path).map_err(Error::io("read", &path))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// How to make a model of a folder that has its parameters in another form, if so it is.
    pub fn advice(&self) -> Option<&'static str> {
        if self.files.iter().any(|path| is_shard_name(path)) {
            return None;
        }
        let has = |is_it: fn(&str) -> bool| self.left_out.iter().any(|left| is_it(&left.path));
        if has(|path| path.starts_with("adapter_")) {
            return Some(
                "this is an adapter: load it on its base model, and `model.merge_and_unload()` and \
                 `save_pretrained(DIR, safe_serialization=True)` give a model",
            );
        }
        has(|path| [".bin", ".pt", ".pth"].iter().any(|ending| path.ends_with(ending))).then_some(
            "parameters are read from safetensors alone: load the model and \
             `save_pretrained(DIR, safe_serialization=True)`",
        )
    }

    /// Finds the files, and what is left out by its name or by what it is.
    fn walk(dir: &Path, purpose: Purpose) -> Result<Self, Error> {
        let mut found = Self { dir: dir.to_owned(), files: Vec::new(), left_out: Vec::new() };
        let mut folders = vec![String::new()];
        let mut n_seen = 0;
        while let Some(prefix) = folders.pop() {
            let folder = dir.join(&prefix);
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                let entry = entry.map_err(Error::io("list", &folder))?;
                n_seen += 1;
                if n_seen > N_ENTRIES_MAX {
                    let reason = "it has more than 10000 files and folders";
                    return Err(Error::NotPublishable { path: dir.to_owned(), reason });
                }
                let name = entry.file_name();
                let path = format!("{prefix}{}", name.to_string_lossy());
                let is_utf8 = name.to_str().is_some();
                match what(&entry.path()).map_err(Error::io("find", &entry.path()))? {
                    What::Folder => match reason_against_folder(&path, is_utf8, purpose) {
                        None => folders.push(path + "/"),
                        Some(reason) => {
                            found.left_out.push(LeftOut { path: path + "/", reason });
                        }
                    },
                    What::File => match reason_against_file(&path, is_utf8, purpose) {
                        None => found.files.push(path),
                        Some(reason) => found.left_out.push(LeftOut { path, reason }),
                    },
                    What::Other(reason) => found.left_out.push(LeftOut { path, reason }),
                }
            }
        }
        found.heed_gitignore(purpose)?;
        found.files.sort_unstable();
        found.left_out.sort();
        Ok(found)
    }

    /// Leaves out what the folder's own `.gitignore` does, as the hub would be asked to. A model
    /// that is named as one keeps its config and parameters: those are what is asked for.
    fn heed_gitignore(&mut self, purpose: Purpose) -> Result<(), Error> {
        let path = self.path_of(IGNORE);
        if !path.is_file() {
            return Ok(());
        }
        let bytes = read_small(&path).map_err(Error::io("read", &path))?;
        let reason = "its `.gitignore` has more than 64 KiB or 1000 lines";
        let patterns = Patterns::of_gitignore(&String::from_utf8_lossy(&bytes))
            .ok_or_else(|| Error::NotPublishable { path: self.dir.clone(), reason })?;
        let is_wanted = |path: &str| {
            purpose == Purpose::Model && (path == CONFIG || path == INDEX || is_shard_name(path))
        };
        let (files, ignored): (Vec<String>, Vec<String>) = std::mem::take(&mut self.files)
            .into_iter()
            .partition(|path| is_wanted(path) || !patterns.has_path(path));
        self.files = files;
        let reason = "the folder's `.gitignore` leaves it out";
        self.left_out.extend(ignored.into_iter().map(|path| LeftOut { path, reason }));
        Ok(())
    }

    /// The files that hold the model's parameters; `None` where that cannot be told, so that
    /// whoever judges the model sees all of them.
    fn shards(&self) -> Result<Option<BTreeSet<String>>, Error> {
        if !self.files.iter().any(|path| path == INDEX) {
            return Ok(Some(BTreeSet::from([SINGLE.to_owned()])));
        }
        let path = self.path_of(INDEX);
        let index = read_small(&path).map_err(Error::io("read", &path))?;
        Ok(shards_of_index(&index).ok())
    }
}

impl LeftOut {
    /// What is left out, one line each.
    pub fn for_people(left_out: &[Self]) -> String {
        let line = |left: &Self| {
            format!("left out  `{}`: {}\n", shown(&left.path, SHOWN_MAX), left.reason)
        };
        left_out.iter().map(line).collect()
    }
}

/// Whether parameters are not the model's. One file beside shards leaves two ways to read it, which
/// is to be judged and not mended.
fn is_stray(path: &str, shards: &BTreeSet<String>) -> bool {
    is_shard_name(path) && path != SINGLE && !shards.contains(path)
}

/// What an entry of a folder is.
enum What {
    File,
    Folder,
    Other(&'static str),
}

/// A link to a file is that file: the cache of Hugging Face's tools is made of them. One to a
/// folder could lead anywhere, and in circles.
fn what(path: &Path) -> io::Result<What> {
    let own = fs::symlink_metadata(path)?.file_type();
    if own.is_dir() {
        return Ok(What::Folder);
    }
    Ok(match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => What::File,
        Ok(metadata) if metadata.is_dir() => What::Other("a link to a folder is not followed"),
        Ok(_) => What::Other("neither a file nor a folder"),
        Err(_) if own.is_symlink() => What::Other("a link that leads nowhere"),
        Err(error) => return Err(error),
    })
}

fn reason_against_folder(path: &str, is_utf8: bool, purpose: Purpose) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.starts_with('.') {
        return Some("hidden folders stay here");
    }
    if purpose == Purpose::Model && OTHER_STATES.iter().any(|other| name.starts_with(other)) {
        return Some("another state or form of the model");
    }
    reason_against_name(path, is_utf8, purpose)
}

fn reason_against_file(path: &str, is_utf8: bool, purpose: Purpose) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_harmless = purpose == Purpose::Anything && HARMLESS.contains(&name);
    if name.starts_with('.') && !is_harmless {
        return Some("hidden files stay here");
    }
    if let Some(reason) = reason_against_name(path, is_utf8, purpose) {
        return Some(reason);
    }
    if purpose == Purpose::Anything {
        return None;
    }
    if name.starts_with("adapter_") {
        return Some("an adapter is no model");
    }
    (kind(path) == Kind::Refused).then_some("no such file is admitted in a model")
}

fn reason_against_name(path: &str, is_utf8: bool, purpose: Purpose) -> Option<&'static str> {
    match purpose {
        _ if !is_utf8 => Some("its name is not UTF-8"),
        Purpose::Model if !is_plain_path(path) => {
            Some("its name is too long or has other characters than `A-Za-z0-9._-+ `")
        }
        Purpose::Anything if !is_safe_path(path) => {
            Some("its name is too long, or does more than be shown")
        }
        _ => None,
    }
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
