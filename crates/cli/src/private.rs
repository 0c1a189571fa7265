//! What keeps files and memory of a command from the other users of the machine.

use crate::terminal;
use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Whether a folder is empty, or not there.
pub fn is_vacant(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        entries => Ok(entries?.next().is_none()),
    }
}

/// Makes the folder in which a command keeps its state, for nobody else to enter.
///
/// One that is there is closed to others if it is empty or has a file called `mark`, by which it is
/// one of ours; else it may be shared on purpose, and its mode is left as it is.
pub fn make_home(path: &Path, mark: &str) -> anyhow::Result<()> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mode = fs::metadata(path)?.permissions().mode();
        let is_ours = path.join(mark).exists() || is_vacant(path)?;
        if mode & OTHERS == 0 {
            return Ok(());
        }
        if is_ours {
            return fs::set_permissions(path, Permissions::from_mode(mode & 0o7700));
        }
        let shown = terminal::shown(&path.display().to_string());
        tracing::warn!("others may enter `{shown}`; `chmod 700 {shown}` closes it to them");
        Ok(())
    };
    make().with_context(|| {
        format!("cannot make the folder `{}`", terminal::shown(&path.display().to_string()))
    })
}

/// Writes a file that is not there yet, for nobody else to read from the first moment on.
pub fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written
        .with_context(|| format!("cannot write `{}`", terminal::shown(&path.display().to_string())))
}

/// Tells of files and folders with keys that others may read or enter, and how to close them.
pub fn warn_of_open(paths: &[&Path]) {
    for told in paths.iter().filter_map(|path| open_to_others(path)) {
        tracing::warn!("{told}");
    }
}

/// What is wrong with the mode of a file or folder with keys, if it is there.
fn open_to_others(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o777;
    let (shown, right) =
        (terminal::shown(&path.display().to_string()), if metadata.is_dir() { 700 } else { 600 });
    (mode & OTHERS != 0).then(|| {
        format!(
            "`{shown}` holds keys, and its mode {mode:o} lets others in; `chmod {right} {shown}` \
             closes it to them"
        )
    })
}

/// Keeps the memory of this process, which holds keys, from ending in a file when it crashes.
pub fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!("a crash may leave keys on disk: {error}");
    }
    // A system that hands dumps to a program does so whatever the limit is.
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!("a crash may leave keys on disk: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn attack_a_home_is_entered_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        make_home(&new, "mark").unwrap();
        assert_eq!(mode(&new), 0o700);
        // What an older version made is closed; a folder of others' is left as it is.
        for (name, file, expected) in
            [("empty", None, 0o700), ("ours", Some("mark"), 0o700), ("theirs", Some("x"), 0o755)]
        {
            let home = dir.path().join(name);
            fs::create_dir(&home).unwrap();
            if let Some(file) = file {
                fs::write(home.join(file), "").unwrap();
            }
            fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
            make_home(&home, "mark").unwrap();
            assert_eq!(mode(&home), expected, "{name}");
        }
    }

    #[test]
    fn attack_a_wallet_that_others_may_read_is_told_with_what_closes_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("coldkey");
        fs::write(&key, "").unwrap();
        for (path, open, right) in
            [(&key, 0o644, "chmod 600"), (&dir.path().into(), 0o777, "chmod 700")]
        {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
            assert!(open_to_others(path).is_some_and(|told| told.contains(right)), "{open:o}");
            fs::set_permissions(path, Permissions::from_mode(open & 0o700)).unwrap();
            assert_eq!(open_to_others(path), None);
        }
        assert_eq!(open_to_others(&dir.path().join("none")), None);
    }

    #[test]
    fn attack_a_secret_is_never_written_where_something_is_already() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write_new(&at("new"), "secret").unwrap();
        assert_eq!(mode(&at("new")), 0o600);
        assert_eq!(fs::read_to_string(at("new")).unwrap(), "secret");
        fs::write(at("old"), "old").unwrap();
        fs::create_dir(at("folder")).unwrap();
        // Somebody else's link must not lead the secret to a file of theirs, there or not.
        std::os::unix::fs::symlink(at("old"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("theirs"), at("dangling")).unwrap();
        for name in ["new", "old", "folder", "link", "dangling", "no/such/folder"] {
            let error = format!("{:#}", write_new(&at(name), "other").unwrap_err());
            assert!(error.contains(name) && error.contains("cannot write"), "{error}");
        }
        assert_eq!(fs::read_to_string(at("new")).unwrap(), "secret");
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "old");
        assert!(!at("theirs").exists());
    }

    #[test]
    fn a_home_that_cannot_be_is_named_in_one_plain_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file\n\u{202e}");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = format!("{:#}", make_home(&path, "mark").unwrap_err());
            assert!(error.contains("cannot make the folder"), "{error}");
            assert!(error.chars().all(protocol::text::is_plain), "{error:?}");
        }
        // A mode that says more than who may enter keeps the rest.
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o1755)).unwrap();
        make_home(&home, "mark").unwrap();
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o7777, 0o1700);
    }
}
