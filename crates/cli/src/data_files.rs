//! Where the files of a pinned dataset are read from: a folder, a hub, or a mirror.

use crate::failure::HintExt as _;
use dataset::{
    Mirror, RangeRead,
    remote::{Directory, WithReserve},
};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Names the folder of the mirror.
const MIRROR_VARIABLE: &str = "AGON_MIRROR";

/// The files of a revision of a repo: in the folder `dir` if one is given, else on the hub, and in
/// the mirror where the hub does not answer.
pub fn open(repo: &str, revision: &str, dir: Option<&Path>) -> anyhow::Result<Box<dyn RangeRead>> {
    if let Some(dir) = dir {
        return Ok(Box::new(Directory::new(dir)));
    }
    let mirror = env::var_os(MIRROR_VARIABLE).map(PathBuf::from);
    let mirror = mirror.map(|root| mirror_folder(&root, repo, revision));
    match (open_remote(repo, revision), mirror.filter(|folder| folder.is_dir())) {
        (Ok(hub), Some(mirror)) => Ok(Box::new(WithReserve::new(hub, Mirror::new(&mirror)))),
        (Ok(hub), None) => Ok(hub),
        (Err(_), Some(mirror)) => Ok(Box::new(Mirror::new(&mirror))),
        (Err(error), None) => Err(error),
    }
}

/// Folder of a revision of a repo in a mirror.
pub fn mirror_folder(root: &Path, repo: &str, revision: &str) -> PathBuf {
    root.join(repo).join(revision)
}

/// Folder in which footers are kept; `None` where the system names no place for such things.
pub fn footers() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    Some(cache.or_else(home)?.join("agon").join("footers"))
}

/// The files of a revision of a repo on the hub.
fn open_remote(repo: &str, revision: &str) -> anyhow::Result<Box<dyn RangeRead>> {
    Err(anyhow::anyhow!(
        "`{repo}` at revision {revision} is on a hub, which this version cannot fetch: the hub \
         client is still to come"
    ))
    .hint(format!("name a folder with its files by --dir, or a mirror of it by {MIRROR_VARIABLE}"))
}
