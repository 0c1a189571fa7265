//! The door for models, with a real client and a real hub behind it.

use crate::desk::{ANN, Desk, file, noise};
use hub::{Hub as _, Intake, intake::file_root};
use hugging_face::{ClientOptions, HubClient};
use protocol::{AccountId, Commitment, Competition, ReasonCode, Repo, content::bound_hash};
use std::fs;

const OWNER: AccountId = AccountId([1; 32]);
/// Bytes of a shard: as one file it travels by itself, not inside a commit.
const SHARD_BYTES: usize = 5_000_000;
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

struct Setting {
    desk: Desk,
    client: HubClient,
    intake: Intake,
    competition: Competition,
    dir: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let (desk, dir) = (Desk::new(), tempfile::tempdir().unwrap());
        let options = ClientOptions::new(&desk.hub.url());
        let options = ClientOptions { token: Some(ANN.to_owned()), ..options };
        let client = HubClient::new(&options).unwrap();
        let intake = Intake::open(&dir.path().join("models")).unwrap();
        let mut competition = Competition::builtin("tiny").unwrap();
        competition.model.size_bytes_max = 1 << 30;
        Self { desk, client, intake, competition, dir }
    }

    /// Publishes a model of two shards, and gives the commitment to it.
    fn publish(&self, name: &str, shards: [&[u8]; 2]) -> Commitment {
        let folder = self.dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        let [a, b] = SHARDS;
        let index = format!(r#"{{"weight_map":{{"a":"{a}","b":"{b}"}}}}"#);
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        for (path, bytes) in SHARDS.into_iter().zip(shards) {
            fs::write(folder.join(path), bytes).unwrap();
        }
        let repo: Repo = format!("ann/{name}").parse().unwrap();
        self.client.publish(&repo, &folder).unwrap();
        self.commitment(repo)
    }

    /// The commitment to what a repo holds now.
    fn commitment(&self, repo: Repo) -> Commitment {
        let revision = self.client.latest(&repo).unwrap().unwrap();
        let root = file_root(&self.client.list(&repo, &revision).unwrap().unwrap());
        let competition = self.competition.id;
        let secure_hash = bound_hash(&root, &OWNER, competition);
        Commitment { repo, revision, secure_hash, competition }
    }

    /// The reason why a model is not let in, and the bytes that the hub sent until then.
    fn admit(&self, commitment: &Commitment) -> (Option<ReasonCode>, u64) {
        let before = self.desk.hub.stats().sent_bytes;
        let admitted = self.intake.admit(&self.client, &self.competition, OWNER, commitment);
        let code = admitted.unwrap().err().map(|reason| reason.code);
        (code, self.desk.hub.stats().sent_bytes - before)
    }
}

#[test]
fn a_shard_that_two_models_share_is_sent_once() {
    let setting = Setting::new();
    let shards = [1, 2, 3].map(|seed| noise(seed, SHARD_BYTES));
    let first = setting.publish("first", [&shards[0], &shards[1]]);
    let second = setting.publish("second", [&shards[0], &shards[2]]);
    let (refused, sent) = setting.admit(&first);
    assert!(refused.is_none() && sent >= 2 * SHARD_BYTES as u64, "{refused:?}, {sent} bytes");
    let (refused, sent) = setting.admit(&second);
    let extra = sent.checked_sub(SHARD_BYTES as u64);
    assert!(refused.is_none() && extra.is_some_and(|n| n < 10_000), "{refused:?}, {sent} bytes");
}

#[test]
fn attack_names_of_every_kind_in_a_list_are_refused_before_a_byte_of_the_model_is_sent() {
    let setting = Setting::new();
    let (a, b) = (noise(1, 1000), noise(2, 1000));
    let names = [
        "modeling.py",
        "pickle.bin",
        "caf\u{e9}.md",
        "\u{1f600}.md",
        "a'b.md",
        "<script>.md",
        "a b .md ",
        "Config.json",
        "MODEL-00001-of-00002.safetensors",
        "sub/model.safetensors",
    ];
    for (i, name) in names.into_iter().enumerate() {
        setting.publish(&format!("model-{i}"), [&a, &b]);
        let repo: Repo = format!("ann/model-{i}").parse().unwrap();
        let sent = setting.desk.send(
            repo.as_str(),
            ANN,
            &serde_json::json!({ "summary": "more" }),
            &[file(name, b"x")],
        );
        // What the hub itself does not take cannot be listed by it.
        if sent.status() != 200 {
            assert_eq!(sent.status(), 400, "{name}");
            continue;
        }
        let commitment = setting.commitment(repo);
        let (refused, sent) = setting.admit(&commitment);
        assert_eq!(refused, Some(ReasonCode::FileRefused), "{name}");
        assert!(sent < 1000, "{name}: {sent} bytes were sent");
    }
}
