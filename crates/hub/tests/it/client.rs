//! Our own client against our own hub.

use crate::desk::{ANN, BOB, Desk, noise};
use hub::{
    ClientOptions, Error, Hub as _, HubClient,
    client::{Pinned, RepoKind},
    dev::Limits,
};
use protocol::Repo;

fn client(desk: &Desk, token: &str) -> HubClient {
    let token = Some(token.to_owned());
    HubClient::new(&ClientOptions { token, ..ClientOptions::new(&desk.hub.url()) }).unwrap()
}

#[test]
fn our_client_publishes_and_fetches_whole_inline_and_in_parts() {
    // Small files inside the commit, middle ones whole, large ones in parts.
    let limits = Limits { inline_bytes_max: 1_000, part_bytes: 400_000, ..Limits::default() };
    let desk = Desk::with(limits);
    let folder = tempfile::tempdir().unwrap();
    let files = [("config.json", 2), ("a.txt", 5_000), ("model.safetensors", 1_000_001)];
    for (name, n) in files {
        std::fs::write(folder.path().join(name), noise(1, n)).unwrap();
    }
    let ann = client(&desk, ANN);
    assert_eq!(ann.user().unwrap(), "ann");
    let repo: Repo = "ann/tiny".parse().unwrap();
    assert_eq!(ann.latest(&repo).unwrap(), None);
    let revision = ann.publish(&repo, folder.path()).unwrap();
    assert_eq!(ann.latest(&repo).unwrap(), Some(revision.clone()));
    let sent = desk.hub.stats().received_bytes;
    assert_eq!(ann.publish(&repo, folder.path()).unwrap(), revision, "the same files");
    assert_eq!(desk.hub.stats().received_bytes, sent, "nothing was sent again");

    let listed = ann.list(&repo, &revision).unwrap().unwrap();
    for (name, n) in files.iter().filter(|file| file.0 != "a.txt") {
        let entry = listed.iter().find(|entry| entry.path == *name).unwrap();
        assert_eq!(entry.size_bytes, *n as u64);
        let to = folder.path().join("fetched");
        ann.fetch(&repo, &revision, name, &to, 2_000_000).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), noise(1, *n), "{name}");
        std::fs::remove_file(&to).unwrap();
    }
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    let mut part = [0; 1_001];
    ann.read_range(pinned, "model.safetensors", 999_000, &mut part).unwrap();
    assert_eq!(part, noise(1, 1_000_001)[999_000..]);
}

#[test]
fn our_client_names_what_the_hub_refuses() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), b"{}").unwrap();
    let repo: Repo = "ann/tiny".parse().unwrap();
    client(&desk, ANN).publish(&repo, folder.path()).unwrap();
    let refused = client(&desk, BOB).publish(&repo, folder.path()).unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    let unknown = client(&desk, "hf_nobodys_token").latest(&repo);
    assert!(unknown.is_err_and(|error: Error| !error.is_transient()));
}
