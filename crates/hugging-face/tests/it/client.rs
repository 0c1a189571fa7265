//! Our client against the embedded hub: what is published is what is fetched.

use crate::desk::{ANN, BOB, Desk, noise};
use hub::{Error, FileEntry, Hub as _, content::digest_of_file};
use hugging_face::Folder;
use hugging_face::{
    ClientOptions, HubClient,
    client::{Others, Patience, Pinned, RepoKind, Step, Upload},
    dev::Limits,
};
use protocol::{Repo, Revision};
use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Larger than what travels in a commit.
const LARGE: usize = 18_000_000;

fn client(desk: &Desk, token: Option<&str>) -> HubClient {
    let patience = Patience { n_tries: 3, wait: Duration::from_millis(5), ..Patience::default() };
    let options = ClientOptions::new(&format!("http://{}", desk.hub.address()));
    let token = token.map(str::to_owned);
    HubClient::new(&ClientOptions { token, patience, ..options }).unwrap()
}

fn repo() -> Repo {
    "ann/model".parse().unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    dir
}

fn fetched(client: &HubClient, revision: &Revision, file: &FileEntry) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    client.fetch(&repo(), revision, &file.path, &to, file.size_bytes).unwrap();
    fs::read(to).unwrap()
}

#[test]
fn what_is_published_is_listed_and_fetched_and_nothing_is_sent_twice() {
    let desk = Desk::new();
    let client = client(&desk, Some(ANN));
    assert_eq!(client.user().unwrap(), "ann");
    assert_eq!(client.latest(&repo()).unwrap(), None);
    let (large, small) = (noise(1, LARGE), noise(2, 5000));
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("model-00001-of-00002.safetensors", &large),
        ("model-00002-of-00002.safetensors", &small),
        ("notes/read me.md", b"# Notes"),
    ];
    let dir = folder(&files);
    let first = client.publish(&repo(), dir.path()).unwrap();
    assert_eq!(client.latest(&repo()).unwrap(), Some(first.clone()));
    let received = desk.hub.stats().received_bytes;
    assert!(received >= LARGE as u64);
    assert_eq!(client.publish(&repo(), dir.path()).unwrap(), first, "nothing has changed");
    let again = desk.hub.stats().received_bytes - received;
    assert!(again < 1 << 20, "{again} bytes were sent again");

    let listed = client.list(&repo(), &first).unwrap().unwrap();
    let paths: Vec<_> = listed.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, files.map(|(path, _)| path));
    for (file, (path, bytes)) in listed.iter().zip(files) {
        assert_eq!(file.size_bytes, bytes.len() as u64);
        assert_eq!(fetched(&client, &first, file), bytes, "{path}");
        if !path.contains("notes") {
            assert_eq!(
                (file.size_bytes, file.sha256),
                digest_of_file(&dir.path().join(path), &|_| true).unwrap()
            );
        }
    }

    // One file changes, one goes, one comes; the old revision stays as it was.
    fs::write(dir.path().join("config.json"), b"{\"a\": 1}").unwrap();
    fs::remove_dir_all(dir.path().join("notes")).unwrap();
    fs::write(dir.path().join("README.md"), b"hello").unwrap();
    let received = desk.hub.stats().received_bytes;
    let second = client.publish(&repo(), dir.path()).unwrap();
    assert!(desk.hub.stats().received_bytes - received < 1 << 20, "the shards were sent again");
    assert_ne!(first, second);
    let paths = |revision: &Revision| {
        let listed = client.list(&repo(), revision).unwrap().unwrap();
        listed.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(&first), files.map(|(path, _)| path));
    assert_eq!(paths(&second)[..2], ["README.md", "config.json"]);
    assert_eq!(paths(&second).len(), 4);
}

#[test]
fn files_are_added_to_those_of_a_repo_and_the_same_again_change_nothing() {
    let desk = Desk::new();
    let (client, repo, kind) = (client(&desk, Some(ANN)), repo(), RepoKind::Dataset);
    let add = |files: &[(&str, &[u8])]| {
        let dir = folder(files);
        let folder = Folder::of_everything(dir.path()).unwrap();
        let upload = Upload { others: Others::Kept, ..Upload::new(kind, &repo, &folder) };
        client.upload(&upload).unwrap().revision
    };
    let read = |revision: &Revision, path: &str| {
        let pinned = Pinned { kind, repo: &repo, revision };
        let file = client.file(pinned, path).unwrap()?;
        Some(client.read(pinned, &file).unwrap())
    };
    let first = add(&[("records/1.json", b"one"), ("index.json", b"1")]);
    let second = add(&[("records/2.json", b"two"), ("index.json", b"2")]);
    assert_ne!(first, second);
    assert_eq!(read(&second, "records/1.json").unwrap(), b"one", "it stays");
    assert_eq!(read(&second, "records/2.json").unwrap(), b"two");
    assert_eq!(read(&second, "index.json").unwrap(), b"2");
    assert_eq!(read(&first, "records/2.json"), None);
    assert_eq!(add(&[("records/1.json", b"one"), ("index.json", b"2")]), second, "nothing is new");
    // More than one request names.
    let names: Vec<String> = (0..150).map(|i| format!("many/{i:03}")).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let third = add(&many);
    assert_eq!(add(&many), third);
    let pinned = Pinned { kind, repo: &repo, revision: &third };
    let asked: Vec<&str> = names.iter().map(String::as_str).chain(["none"]).collect();
    assert_eq!(client.files_of(pinned, &asked).unwrap().len(), 150);
    assert_eq!(client.files(pinned).unwrap().unwrap().len(), 153);
}

#[test]
fn a_private_repo_is_absent_for_others_until_it_is_public() {
    let desk = Desk::new();
    let (ann, bob, nobody) =
        (client(&desk, Some(ANN)), client(&desk, Some(BOB)), client(&desk, None));
    let dir = folder(&[("config.json", b"{}")]);
    let repo = repo();
    let all = Folder::of_everything(dir.path()).unwrap();
    let upload = Upload { is_private: true, ..Upload::new(RepoKind::Model, &repo, &all) };
    let revision = ann.upload(&upload).unwrap().revision;
    for stranger in [&bob, &nobody] {
        assert_eq!(stranger.latest(&repo).unwrap(), None);
        assert_eq!(stranger.list(&repo, &revision).unwrap(), None);
    }
    assert!(bob.publish(&repo, dir.path()).is_err() && nobody.publish(&repo, dir.path()).is_err());
    ann.set_private(RepoKind::Model, &repo, false).unwrap();
    for reader in [&ann, &bob, &nobody] {
        assert_eq!(reader.latest(&repo).unwrap(), Some(revision.clone()));
    }
    assert!(matches!(bob.publish(&repo, dir.path()), Err(Error::Denied { .. })));
    assert!(matches!(nobody.publish(&repo, dir.path()), Err(Error::NoToken { .. })));
}

#[test]
fn datasets_are_read_by_ranges() {
    let desk = Desk::new();
    let client = client(&desk, Some(ANN));
    let bytes = noise(3, 100_000);
    let dir = folder(&[("data/train-00000-of-00001.parquet", &bytes)]);
    let repo = repo();
    let all = Folder::of_everything(dir.path()).unwrap();
    let uploaded = client.upload(&Upload::new(RepoKind::Dataset, &repo, &all)).unwrap();
    let revision = uploaded.revision;
    let pinned = Pinned { kind: RepoKind::Dataset, repo: &repo, revision: &revision };
    let path = "data/train-00000-of-00001.parquet";
    let listed = client.file(pinned, path).unwrap().unwrap();
    assert_eq!(listed.size_bytes, 100_000);
    assert_eq!(client.file(pinned, "data/other").unwrap(), None);
    for (offset, n) in [(0, 1), (5, 1000), (99_990, 10), (0, 100_000), (3, 0)] {
        let mut buffer = vec![0; n];
        client.read_range(pinned, path, offset, &mut buffer).unwrap();
        assert_eq!(buffer, bytes[offset as usize..][..n]);
    }
    let beyond = client.read_range(pinned, path, 99_999, &mut [0; 2]);
    assert!(beyond.is_err(), "{beyond:?}");
}

#[test]
fn a_download_stopped_at_thirty_places_has_all_bytes_in_the_end() {
    let desk = Desk::new();
    let client = client(&desk, Some(ANN));
    let bytes = noise(4, 9_000_000);
    let dir = folder(&[("config.json", b"{}"), ("model.safetensors", &bytes)]);
    let revision = client.publish(&repo(), dir.path()).unwrap();
    let files = client.list(&repo(), &revision).unwrap().unwrap();
    let (repo, to) = (repo(), dir.path().join("copy"));
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    for place in 1..=30_u64 {
        // Places that no two runs share, spread over the file by a multiplier that is no divisor.
        let stop = (place - 1) * 300_000 + place * 7_919_111 % 300_000;
        let stopped = client.download(pinned, &files[1], &to, &|n| n < stop.max(1));
        assert!(matches!(stopped, Err(Error::Stopped)), "at {stop}: {stopped:?}");
        assert!(!to.exists());
    }
    let sent = desk.hub.stats().sent_bytes;
    client.download(pinned, &files[1], &to, &|_| true).unwrap();
    assert!(fs::read(&to).unwrap() == bytes, "the bytes differ");
    assert!(desk.hub.stats().sent_bytes - sent < 4_000_000, "it began anew");
}

#[test]
fn an_upload_that_is_stopped_publishes_nothing_and_can_be_repeated() {
    let desk = Desk::new();
    let client = client(&desk, Some(ANN));
    let bytes = noise(5, LARGE);
    let dir = folder(&[("config.json", b"{}"), ("model.safetensors", &bytes)]);
    let repo = repo();
    let before = client.latest(&repo).unwrap();
    assert_eq!(before, None);
    let all = Folder::of_everything(dir.path()).unwrap();
    let whole = Upload::new(RepoKind::Model, &repo, &all);
    for last in [Step::Hash, Step::Send] {
        let seen = AtomicBool::new(false);
        let progress = |step, _, _| {
            seen.fetch_or(step == last, Ordering::Relaxed);
            step != last
        };
        let stopped = client.upload(&Upload { progress: &progress, ..whole });
        assert!(matches!(stopped, Err(Error::Stopped)), "{last:?}: {stopped:?}");
        assert!(seen.load(Ordering::Relaxed));
    }
    // Whether the file had arrived by then is a matter of time: the commit was not made.
    assert!(client.latest(&repo).unwrap().is_none_or(|_| desk.hub.stats().commits == 0));
    fs::write(dir.path().join("model.safetensors"), noise(7, LARGE)).unwrap();
    let told = Mutex::new(Vec::new());
    let progress = |step, done, all| {
        told.lock().unwrap().push((step, done, all));
        true
    };
    let uploaded = client.upload(&Upload { progress: &progress, ..whole }).unwrap();
    let revision = uploaded.revision;
    let (told, large) = (told.into_inner().unwrap(), LARGE as u64);
    let of_step = |wanted| told.iter().filter(move |(step, ..)| *step == wanted);
    assert_eq!(of_step(Step::Hash).map(|told| told.1).max(), Some(large + 2), "with the config");
    assert!(of_step(Step::Hash).all(|told| told.2 == large + 2));
    assert_eq!(told.last(), Some(&(Step::Send, large, large)));
    assert_eq!(client.list(&repo, &revision).unwrap().unwrap().len(), 2);
}

#[test]
fn a_small_part_size_is_sent_in_parts() {
    let desk = Desk::with(Limits { part_bytes: 8 << 20, ..Limits::default() });
    let client = client(&desk, Some(ANN));
    let bytes = noise(6, LARGE);
    let dir = folder(&[("config.json", b"{}"), ("model.safetensors", &bytes)]);
    let revision = client.publish(&repo(), dir.path()).unwrap();
    let files = client.list(&repo(), &revision).unwrap().unwrap();
    assert!(fetched(&client, &revision, &files[1]) == bytes, "the bytes differ");
}
