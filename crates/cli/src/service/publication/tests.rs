//! Records on a hub of our own: in order, through outages, and read again.

use super::*;
use hugging_face::{
    ClientOptions, DevHub,
    client::Patience,
    dev::{Config, Front, Limits, Role, User},
};
use keys::Keypair;
use protocol::{BlockHash, NetUid, Record, Seed, record::RECORD_FORMAT};
use records::{Broken, Error, Records, Signed};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};

const TOKEN: &str = "hf_val_may_write";
/// All records are in the home, and none is lost.
const NOTHING_LOST: LostBefore<'static> = &|_| Some(1);

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// The record of no models that follows another of `tiny`, signed.
fn after(previous: Option<&Signed>, of: &Keypair) -> Signed {
    let digest = Digest::of(b"something");
    let number = previous.map_or(1, |signed| signed.record.round.number + 1);
    let record: Record = serde_json::from_value(json!({
        "format": RECORD_FORMAT,
        "round": {
            "competition": "tiny",
            "competition_digest": digest,
            "number": number,
            "previous": previous.map(Signed::digest),
            "block": 10 * number,
            "block_hash": BlockHash([7; 32]),
            "validator": of.public(),
            "genesis": BlockHash([8; 32]),
            "netuid": 7,
            "engine": "a test",
            "tokenizer": digest,
            "dataset": digest,
            "documents": [],
            "batches": digest,
        },
        "models": [],
        "averages": [],
        "champion": null,
    }))
    .unwrap();
    Signed::sign(record, of)
}

fn chain(n: usize, of: &Keypair) -> Vec<Signed> {
    let mut records: Vec<Signed> = Vec::new();
    for _ in 0..n {
        records.push(after(records.last(), of));
    }
    records
}

/// A hub, and the home of a validator.
struct Scene {
    dir: tempfile::TempDir,
    hub: Option<DevHub>,
    address: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("hub")).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let mut scene = Self { dir, hub: None, address };
        scene.start();
        scene
    }

    /// Starts the hub, where it was.
    fn start(&mut self) {
        let user = |name: &str, token: &str| User {
            name: name.to_owned(),
            token: token.to_owned(),
            role: Role::Write,
            organisations: Vec::new(),
        };
        let config = Config {
            listen: self.address,
            folder: self.dir.path().join("hub"),
            users: vec![user("val", TOKEN)],
            limits: Limits::default(),
            front: Front::default(),
        };
        let hub = DevHub::start(&config).unwrap();
        self.address = hub.address();
        self.hub = Some(hub);
    }

    fn n_commits(&self) -> u64 {
        self.hub.as_ref().unwrap().stats().commits
    }

    fn client(&self) -> HubClient {
        let wait = Duration::from_millis(5);
        let patience = Patience { n_tries: 3, wait, ..Patience::default() };
        let options = ClientOptions::new(&format!("http://{}", self.address));
        let token = Some(TOKEN.to_owned());
        HubClient::new(&ClientOptions { token, patience, ..options }).unwrap()
    }

    /// The records of a home.
    fn folder(&self, home: &str) -> Folder {
        Folder::new(self.dir.path().join(home).join("records"))
    }

    /// A process that publishes the records of a home, of the first key.
    fn publication(&self, home: &str) -> Publication {
        let outgoing = self.dir.path().join(home).join(OUTGOING);
        let (client, validator) = (self.client(), key(1).public());
        Publication::of(client, repo(), validator, (self.folder(home), outgoing))
    }

    /// What anybody reads of the repo: numbers, and why there were no more.
    fn read(&self) -> (Vec<u64>, Option<Error>) {
        let (client, repo) = (self.client(), repo());
        let there = HubRecords::newest(&client, &repo).unwrap().unwrap();
        let index = there.index().unwrap().unwrap();
        let mut numbers = Vec::new();
        for read in Records::new(&there, &index, "tiny", 1..=u64::MAX) {
            match read {
                Ok(signed) => numbers.push(signed.record.round.number),
                Err(error) => return (numbers, Some(error)),
            }
        }
        (numbers, None)
    }

    /// A file of the repo.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        let (client, repo) = (self.client(), repo());
        let there = HubRecords::newest(&client, &repo).unwrap()?;
        there.bytes(path, 1 << 20).unwrap()
    }

    /// Puts a file into the repo, as whoever has the token can.
    fn put(&self, path: &str, bytes: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(path), bytes).unwrap();
        let (files, repo) = (Files::of_everything(dir.path()).unwrap(), repo());
        let upload = Upload::new(HubRecords::KIND, &repo, &files);
        self.client().upload(&Upload { others: Others::Kept, ..upload }).unwrap();
    }
}

fn repo() -> Repo {
    "val/records".parse().unwrap()
}

/// Publishes all that waits; gives the number of commits.
fn publish(publication: &Publication) -> usize {
    let mut n = 0;
    while publication.publish_some(NOTHING_LOST).unwrap() {
        n += 1;
    }
    n
}

#[test]
fn records_are_published_in_order_and_the_same_again_change_nothing() {
    let scene = Scene::new();
    let publication = scene.publication("home");
    assert_eq!(publish(&publication), 0);
    assert!(scene.file(INDEX_PATH).is_none(), "nothing is made before there is a record");
    let records = chain(RECORDS_MAX + 3, &key(1));
    records.iter().for_each(|signed| scene.folder("home").write(signed).unwrap());
    assert!(publication.publish_some(NOTHING_LOST).unwrap());
    let index = Index::from_json(&scene.file(INDEX_PATH).unwrap()).unwrap();
    assert_eq!(index.competitions["tiny"].n_records, RECORDS_MAX as u64, "so many in a commit");
    assert_eq!(publish(&publication), 1);
    let n_commits = scene.n_commits();
    let (numbers, error) = scene.read();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(numbers, (1..=RECORDS_MAX as u64 + 3).collect::<Vec<u64>>());
    assert_eq!(scene.file("records/tiny/000000/000003.json").unwrap(), records[2].to_json());
    // A new process asks, and finds that all is there.
    assert_eq!(publish(&scene.publication("home")), 0);
    assert_eq!(scene.n_commits(), n_commits);
    assert!(!scene.dir.path().join("home").join(OUTGOING).exists(), "nothing is left on the way");
}

#[test]
fn an_outage_delays_records_and_whoever_comes_after_it_publishes_what_is_missing() {
    let mut scene = Scene::new();
    let records = chain(6, &key(1));
    let publication = scene.publication("home");
    scene.folder("home").write(&records[0]).unwrap();
    assert_eq!(publish(&publication), 1);
    scene.hub = None;
    for signed in &records[1..4] {
        scene.folder("home").write(signed).unwrap();
        assert!(publication.publish_some(NOTHING_LOST).is_err());
    }
    scene.start();
    // All that waited is one commit.
    assert_eq!(publish(&publication), 1);
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3, 4]));
    // The same across the end of the process.
    scene.hub = None;
    drop(publication);
    records[4..].iter().for_each(|signed| scene.folder("home").write(signed).unwrap());
    assert!(scene.publication("home").publish_some(NOTHING_LOST).is_err());
    scene.start();
    assert_eq!(publish(&scene.publication("home")), 1);
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3, 4, 5, 6]));
}

#[test]
fn a_root_may_be_committed_to_once_its_index_lies_in_the_repo() {
    let scene = Scene::new();
    let publication = scene.publication("home");
    publication.publish_root().unwrap();
    assert_eq!(publication.root(), None, "of nothing there is no root");
    let records = chain(3, &key(1));
    records[..2].iter().for_each(|signed| scene.folder("home").write(signed).unwrap());
    assert_eq!(publish(&publication), 1);
    assert_eq!(publication.root(), None);
    publication.publish_root().unwrap();
    let RootCommitment { root, .. } = publication.root().unwrap();
    let committed = Index::from_json(&scene.file(&Index::path_of(root)).unwrap()).unwrap();
    assert_eq!(committed.root(), root);
    // Records go on, and the root is what it was until the next is wanted.
    scene.folder("home").write(&records[2]).unwrap();
    assert_eq!(publish(&publication), 1);
    assert_eq!(publication.root().unwrap().root, root);
    let now = Index::from_json(&scene.file(INDEX_PATH).unwrap()).unwrap();
    assert_ne!(now.root(), root);
    assert_eq!(now.follows(&committed), Ok(()));
    let n_commits = scene.n_commits();
    publication.publish_root().unwrap();
    publication.publish_root().unwrap();
    assert_eq!(scene.n_commits(), n_commits + 1);
    assert_eq!(publication.root().unwrap().root, now.root());
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3]));
}

#[test]
fn attack_a_hub_that_has_other_records_gets_none_of_ours() {
    // Somebody else's.
    let scene = Scene::new();
    let mut index = Index::new(key(2).public(), BlockHash([8; 32]), NetUid(7));
    index.push(&after(None, &key(2))).unwrap();
    scene.put(INDEX_PATH, &index.to_json());
    scene.folder("home").write(&after(None, &key(1))).unwrap();
    let error = format!("{:#}", scene.publication("home").publish_some(NOTHING_LOST).unwrap_err());
    assert!(error.contains(&key(2).public().to_string()), "{error}");

    // Ours, of another journal: two records of one number would be two stories.
    let scene = Scene::new();
    let records = chain(3, &key(1));
    records.iter().for_each(|signed| scene.folder("home").write(signed).unwrap());
    assert_eq!(publish(&scene.publication("home")), 1);
    let mut other = records[0].record.clone();
    other.round.engine = "other".to_owned();
    let mut last = Signed::sign(other, &key(1));
    for _ in 0..4 {
        scene.folder("other").write(&last).unwrap();
        let error =
            format!("{:#}", scene.publication("other").publish_some(NOTHING_LOST).unwrap_err());
        assert!(error.contains("not one of this home"), "{error}");
        last = after(Some(&last), &key(1));
    }
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3]));

    // An older index: what it lacks is published again, and is there already.
    let older = {
        let mut index = Index::new(key(1).public(), BlockHash([8; 32]), NetUid(7));
        index.push(&records[0]).unwrap();
        index
    };
    scene.put(INDEX_PATH, &older.to_json());
    assert_eq!(publish(&scene.publication("home")), 1);
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3]));
}

#[test]
fn attack_whoever_reads_a_hub_believes_it_nothing() {
    let scene = Scene::new();
    let records = chain(3, &key(1));
    records.iter().for_each(|signed| scene.folder("home").write(signed).unwrap());
    assert_eq!(publish(&scene.publication("home")), 1);
    let second = "records/tiny/000000/000002.json";
    let other = chain(2, &key(2)).pop().unwrap();
    scene.put(second, &other.to_json());
    let (numbers, error) = scene.read();
    assert_eq!(numbers, [1], "a record of another validator");
    assert!(matches!(error, Some(Error::Broken(Broken::Validator { number: 2, .. }))), "{error:?}");
    let bytes = records[1].to_json();
    scene.put(second, &bytes[..bytes.len() - 9]);
    let (numbers, error) = scene.read();
    assert_eq!(numbers, [1], "a cut file");
    assert!(matches!(error, Some(Error::NotSigned)), "{error:?}");
    let (client, repo) = (scene.client(), repo());
    let there = HubRecords::newest(&client, &repo).unwrap().unwrap();
    let long = there.bytes(second, bytes.len() - 10);
    assert!(matches!(long, Err(Error::TooLarge { .. })), "more than is wanted is not fetched");
}

#[test]
fn a_gap_in_the_home_is_told_and_nothing_is_published_beyond_it() {
    let scene = Scene::new();
    let records = chain(4, &key(1));
    scene.folder("home").write(&records[0]).unwrap();
    assert_eq!(publish(&scene.publication("home")), 1);
    scene.folder("home").write(&records[2]).unwrap();
    let error = format!("{:#}", scene.publication("home").publish_some(NOTHING_LOST).unwrap_err());
    assert!(error.contains("000002.json` is missing"), "{error}");
    scene.folder("home").write(&records[1]).unwrap();
    assert_eq!(publish(&scene.publication("home")), 1);
    assert!(matches!(scene.read(), (numbers, None) if numbers == [1, 2, 3]));
}

#[test]
fn publication_goes_on_after_what_is_lost_and_readers_find_that_it_is_missing() {
    let scene = Scene::new();
    let records = chain(9, &key(1));
    let write = |signed: &Signed| scene.folder("home").write(signed).unwrap();
    records[..2].iter().for_each(write);
    let publication = scene.publication("home");
    assert_eq!(publish(&publication), 1);
    records[5..8].iter().for_each(write);
    // The journal has the one before these.
    let error = publication.publish_some(&|_| Some(5)).unwrap_err();
    let missing = error.downcast_ref::<Error>();
    assert!(matches!(missing, Some(Error::Missing(path)) if path.contains("000005")));
    // It has those from this one on.
    assert!(publication.publish_some(&|_| Some(6)).unwrap());
    assert!(!publication.publish_some(&|_| Some(6)).unwrap());
    let (numbers, error) = scene.read();
    assert_eq!(numbers, [1, 2]);
    assert!(matches!(error, Some(Error::Missing(path)) if path.contains("000003")));
    // Another process, and whatever comes later.
    write(&records[8]);
    assert!(scene.publication("home").publish_some(&|_| Some(6)).unwrap());
    let index = Index::from_json(&scene.file(INDEX_PATH).unwrap()).unwrap();
    assert_eq!(index.competitions["tiny"].n_records, 9);
    let (client, repo) = (scene.client(), repo());
    let there = HubRecords::newest(&client, &repo).unwrap().unwrap();
    let after: Result<Vec<Signed>, Error> = Records::new(&there, &index, "tiny", 6..=9).collect();
    assert_eq!(after.unwrap(), records[5..]);
}

#[test]
fn one_competition_that_has_trouble_or_waits_keeps_no_other_from_the_hub() {
    let scene = Scene::new();
    let other = |competition: &str| {
        let mut record = after(None, &key(1)).record;
        record.round.competition = competition.to_owned();
        Signed::sign(record, &key(1))
    };
    let records = chain(3, &key(1));
    let write = |signed: &Signed| scene.folder("home").write(signed).unwrap();
    write(&records[0]);
    write(&other("early"));
    assert_eq!(publish(&scene.publication("home")), 1);
    // A gap in one, and one of which the home does not have all yet.
    write(&records[2]);
    write(&other("waits"));
    write(&other("zest"));
    let publication = scene.publication("home");
    let lost_before = |name: &str| (name != "waits").then_some(1_u64);
    assert!(publication.publish_some(&lost_before).unwrap());
    let index = Index::from_json(&scene.file(INDEX_PATH).unwrap()).unwrap();
    let names: Vec<&str> = index.competitions.keys().map(String::as_str).collect();
    assert_eq!(names, ["early", "tiny", "zest"]);
    assert!(publication.publish_some(&lost_before).is_err(), "it is told all the same");
    assert!(publication.is_known(), "a root may go out");
}

/// The file of a record as an earlier version wrote it, and the digest of the record.
fn of_earlier_format(signed: &Signed) -> (String, Digest) {
    let text = String::from_utf8(signed.to_json()).unwrap();
    let document = json!([{ "id": "a", "sha256": Digest([1; 32]) }]);
    let text = text.replacen("\"documents\":[]", &format!("\"documents\":{document}"), 1);
    let text = text.replacen(&format!("\"format\":{RECORD_FORMAT}"), "\"format\":4", 1);
    let record = text.strip_prefix("{\"record\":").unwrap();
    let record = record.split_once(",\"signature\"").unwrap().0;
    let digest = Digest::of(record.as_bytes());
    (text, digest)
}

#[test]
fn records_of_an_earlier_format_keep_none_of_this_one_from_the_hub() {
    let (scene, records) = (Scene::new(), chain(3, &key(1)));
    // An earlier version has published the first, and not the second.
    let earlier: Vec<_> = records[..2].iter().map(of_earlier_format).collect();
    for (number, (text, _)) in (1..).zip(&earlier) {
        write(&scene.folder("home").path("tiny", number), text.as_bytes()).unwrap();
    }
    let put = |digest: Digest| {
        let mut index = Index::new(key(1).public(), BlockHash([8; 32]), NetUid(7));
        let head = records::Head { n_records: 1, digest };
        index.competitions.insert("tiny".to_owned(), head);
        scene.put(INDEX_PATH, &index.to_json());
    };
    put(earlier[0].1);
    assert_eq!(publish(&scene.publication("home")), 0, "nobody would read it");
    scene.folder("home").write(&records[2]).unwrap();
    assert_eq!(publish(&scene.publication("home")), 1);
    let index = Index::from_json(&scene.file(INDEX_PATH).unwrap()).unwrap();
    assert_eq!(index.competitions["tiny"].n_records, 3);
    assert_eq!(scene.file("records/tiny/000000/000003.json").unwrap(), records[2].to_json());
    assert!(scene.file("records/tiny/000000/000002.json").is_none());
    // One that is not of this home is none for being of an earlier format.
    put(Digest::of(b"other"));
    let error = format!("{:#}", scene.publication("home").publish_some(NOTHING_LOST).unwrap_err());
    assert!(error.contains("not one of this home"), "{error}");
}
