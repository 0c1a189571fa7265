//! The hub in a folder: exact bytes or an error, whenever the power fails.

use super::*;
use std::{
    collections::BTreeMap,
    env,
    os::unix::fs::symlink,
    process::{Command, abort},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Moments that pass before the process ends; by default it never does.
static N_MOMENTS_LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

pub(super) fn may_crash() {
    if N_MOMENTS_LEFT.fetch_sub(1, Ordering::Relaxed) == 0 {
        abort();
    }
}

fn repo() -> Repo {
    "acme/model".parse().unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn hub() -> (StoreHub, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (StoreHub::open(&dir.path().join("hub")).unwrap(), dir)
}

/// All files of a revision, fetched.
fn fetched(hub: &StoreHub, revision: &Revision) -> Result<BTreeMap<String, String>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::new();
    for (i, file) in hub.list(&repo(), revision)?.expect("a revision").into_iter().enumerate() {
        let to = dir.path().join(i.to_string());
        hub.fetch(&repo(), revision, &file.path, &to, file.size_bytes)?;
        files.insert(file.path, fs::read_to_string(to).unwrap());
    }
    Ok(files)
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

const OLD: [(&str, &str); 2] = [("config.json", "{}"), ("a/b/notes.txt", "old")];
const NEW: [(&str, &str); 3] =
    [("config.json", "{}"), ("a/b/notes.txt", "new"), ("model.safetensors", "parameters")];

#[test]
fn a_reader_gets_exactly_the_published_files_of_each_revision() {
    let (hub, _dir) = hub();
    assert_eq!(hub.latest(&repo()).unwrap(), None);
    let old = hub.publish(&repo(), folder(&OLD).path()).unwrap();
    assert_eq!(hub.latest(&repo()).unwrap(), Some(old.clone()));
    let new = hub.publish(&repo(), folder(&NEW).path()).unwrap();
    assert_ne!(old, new);
    assert_eq!(hub.latest(&repo()).unwrap(), Some(new.clone()));
    assert_eq!(fetched(&hub, &old).unwrap(), expected(&OLD));
    assert_eq!(fetched(&hub, &new).unwrap(), expected(&NEW));
    let listed = hub.list(&repo(), &new).unwrap().unwrap();
    assert!(listed.is_sorted());
    assert_eq!(listed, content::list_folder(folder(&NEW).path()).unwrap());
}

#[test]
fn the_same_files_give_the_same_revision_and_another_repo_gives_another() {
    let (hub, _dir) = hub();
    let first = hub.publish(&repo(), folder(&OLD).path()).unwrap();
    assert_eq!(first.as_str(), "e33a5db9902576ce40c1c1a2a00db654537c88a5");
    hub.publish(&repo(), folder(&NEW).path()).unwrap();
    assert_eq!(hub.publish(&repo(), folder(&OLD).path()).unwrap(), first);
    assert_eq!(hub.latest(&repo()).unwrap(), Some(first.clone()), "the newest is the last one");
    let other: Repo = "acme/other".parse().unwrap();
    assert_ne!(hub.publish(&other, folder(&OLD).path()).unwrap(), first);
    assert_eq!(hub.list(&other, &first).unwrap(), None);
}

#[test]
fn what_is_not_there_is_none_or_an_error_that_names_it() {
    let (hub, dir) = hub();
    let revision: Revision = "0".repeat(40).parse().unwrap();
    assert_eq!(hub.list(&repo(), &revision).unwrap(), None);
    let to = dir.path().join("to");
    let error = hub.fetch(&repo(), &revision, "config.json", &to, 9).unwrap_err();
    let text = format!("`acme/model@{revision}` has no file `config.json`");
    assert_eq!(error.to_string(), text);
    let revision = hub.publish(&repo(), folder(&OLD).path()).unwrap();
    let error = hub.fetch(&repo(), &revision, "../hub/lock", &to, 9).unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }) && !error.is_transient(), "{error}");
    assert!(!to.exists());
}

#[test]
fn a_file_above_the_cap_is_not_copied_and_a_target_is_never_overwritten() {
    let (hub, dir) = hub();
    let revision = hub.publish(&repo(), folder(&NEW).path()).unwrap();
    let to = dir.path().join("to");
    let fetch = |cap| hub.fetch(&repo(), &revision, "model.safetensors", &to, cap);
    assert!(matches!(fetch(9), Err(Error::TooLarge { size_bytes: 10, .. })));
    assert!(!to.exists());
    fetch(10).unwrap();
    assert!(matches!(fetch(10), Err(Error::Io { .. })));
    assert_eq!(fs::read_to_string(&to).unwrap(), "parameters");
}

#[test]
fn odd_folders_are_not_published_and_leave_nothing_behind() {
    let (hub, dir) = hub();
    let refused = |dir: &Path| hub.publish(&repo(), dir).unwrap_err().to_string();
    assert!(refused(folder(&[]).path()).contains("no files"));
    assert!(refused(&dir.path().join("missing")).starts_with("cannot list"));
    for name in [".env", ".git/config", "a\nb", "caf\u{e9}", "a:b", "trailing.", "x/ y"] {
        let text = refused(folder(&[("config.json", "{}"), (name, "x")]).path());
        assert!(text.contains("its name"), "{name:?}: {text}");
    }
    let linked = folder(&OLD);
    symlink("/etc/passwd", linked.path().join("model.safetensors")).unwrap();
    assert!(refused(linked.path()).contains("neither a file nor a folder"));
    let linked = folder(&OLD);
    symlink("/etc", linked.path().join("etc")).unwrap();
    assert!(refused(linked.path()).contains("neither a file nor a folder"));
    assert_eq!(hub.latest(&repo()).unwrap(), None);
    assert_eq!(fs::read_dir(hub.unfinished()).unwrap().count(), 0);
}

#[test]
fn attack_a_blob_changed_on_disk_is_never_served() {
    let (hub, _dir) = hub();
    let revision = hub.publish(&repo(), folder(&NEW).path()).unwrap();
    let blob = hub.blob(&Digest::of(b"parameters"));
    let mode = fs::metadata(&blob).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444, "blobs are read-only");
    for tampered in ["parameterz", "param", "parameters and more", ""] {
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, tampered).unwrap();
        let error = fetched(&hub, &revision).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{tampered}: {error}");
    }
    fs::remove_file(&blob).unwrap();
    assert!(matches!(fetched(&hub, &revision), Err(Error::Damaged { .. })), "missing");
    // Publishing again repairs it.
    hub.publish(&repo(), folder(&NEW).path()).unwrap();
    assert_eq!(fetched(&hub, &revision).unwrap(), expected(&NEW));
}

#[test]
fn attack_a_blob_that_is_a_link_is_not_followed() {
    let (hub, dir) = hub();
    let revision = hub.publish(&repo(), folder(&NEW).path()).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "parameters").unwrap();
    let blob = hub.blob(&Digest::of(b"parameters"));
    fs::remove_file(&blob).unwrap();
    symlink(&elsewhere, &blob).unwrap();
    assert!(matches!(fetched(&hub, &revision), Err(Error::Damaged { .. })));
}

#[test]
fn attack_a_manifest_changed_on_disk_is_never_read() {
    let (hub, _dir) = hub();
    let revision = hub.publish(&repo(), folder(&NEW).path()).unwrap();
    let path = hub.repo(&repo()).join(revision.as_str());
    let manifest = fs::read_to_string(&path).unwrap();
    for tampered in [manifest.replace("notes", "n0tes"), manifest[..40].to_owned(), String::new()] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, tampered).unwrap();
        assert!(matches!(hub.list(&repo(), &revision), Err(Error::Damaged { .. })));
    }
}

/// Does nothing in a normal run: the process in which the test below publishes and dies.
#[test]
fn publisher_that_dies() {
    let (Ok(folder), Ok(n)) = (env::var("AGON_TEST_HUB"), env::var("AGON_TEST_MOMENTS")) else {
        return;
    };
    let hub = StoreHub::open(Path::new(&folder)).unwrap();
    let source = self::folder(&NEW);
    N_MOMENTS_LEFT.store(n.parse().unwrap(), Ordering::Relaxed);
    let revision = hub.publish(&repo(), source.path()).unwrap();
    N_MOMENTS_LEFT.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(fetched(&hub, &revision).unwrap(), expected(&NEW));
}

#[test]
fn a_publisher_killed_at_any_moment_leaves_the_old_revision_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut n_died = 0;
    for n_moments in 0.. {
        let path = dir.path().join(n_moments.to_string());
        let hub = StoreHub::open(&path).unwrap();
        let old = hub.publish(&repo(), folder(&OLD).path()).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::tests::publisher_that_dies"])
            .env("AGON_TEST_HUB", &path)
            .env("AGON_TEST_MOMENTS", n_moments.to_string())
            .output()
            .unwrap();
        let hub = StoreHub::open(&path).unwrap();
        let latest = hub.latest(&repo()).unwrap().expect("the old revision at least");
        let files = if latest == old { expected(&OLD) } else { expected(&NEW) };
        assert_eq!(fetched(&hub, &latest).unwrap(), files, "after {n_moments} moments");
        assert_eq!(fetched(&hub, &old).unwrap(), expected(&OLD), "after {n_moments} moments");
        assert_eq!(
            fs::read_dir(hub.unfinished()).unwrap().count(),
            0,
            "nothing half-written stays"
        );
        let new = hub.publish(&repo(), folder(&NEW).path()).unwrap();
        assert_eq!(fetched(&hub, &new).unwrap(), expected(&NEW), "publishing again works");
        if child.status.success() {
            assert_eq!(latest, new, "what was acknowledged is there");
            break;
        }
        n_died += 1;
    }
    assert_eq!(n_died, 5 * 4, "four moments for each of three files, the manifest and `latest`");
}

#[test]
fn publishers_and_readers_at_the_same_time_never_see_half_a_revision() {
    let (hub, dir) = hub();
    let path = dir.path().join("hub");
    thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                let hub = StoreHub::open(path).unwrap();
                for i in 0..8 {
                    let text = format!("{writer} {i}");
                    let dir = folder(&[("config.json", "{}"), ("model.safetensors", &text)]);
                    let revision = hub.publish(&repo(), dir.path()).unwrap();
                    assert_eq!(fetched(&hub, &revision).unwrap()["model.safetensors"], text);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..60 {
                if let Some(latest) = hub.latest(&repo()).unwrap() {
                    assert_eq!(fetched(&hub, &latest).unwrap().len(), 2);
                }
            }
        });
    });
    assert_eq!(fs::read_dir(hub.unfinished()).unwrap().count(), 0);
}
