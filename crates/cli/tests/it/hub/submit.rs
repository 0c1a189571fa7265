//! `agon miner submit` against a real chain and a real hub, interrupted, killed and repeated.

use super::{Hub, ask_as};
use crate::{
    commands::workshop::{SmallModel, Workshop},
    node::{Node, ask},
};
use hub::content::{file_root, list_folder};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// A chain with a subnet on which `//Bob` has a slot, and a hub with two users.
pub(crate) struct Network {
    pub(crate) workshop: Workshop,
    pub(crate) node: Node,
    pub(crate) hub: Hub,
}

/// The token of the hub's second user.
pub(super) const MALLORY: &str = "hf_of_somebody_else";

impl Network {
    fn new() -> Self {
        Self::with("200ms", "")
    }

    /// The same with this time between blocks, and these rules of the subnet.
    pub(crate) fn with(block_time: &str, rules: &str) -> Self {
        let workshop = Workshop::new();
        let accounts: String = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve"]
            .map(|name| format!("[[accounts]]\naccount = \"{name}\"\ntao = 100000\n"))
            .concat();
        let subnet = format!("[[subnets]]\nowner = \"//Alice\"\nhyperparameters = {{ {rules} }}\n");
        let spec = workshop.file("spec.toml", format!("{accounts}{subnet}"));
        let home = workshop.path("node");
        let options = ["--listen", "127.0.0.1:0", "--spec", &spec];
        let node = Node::start(home.as_ref(), block_time, &options);
        let users = json!([
            { "name": "agon", "token": "hf_of_the_miner", "role": "write" },
            { "name": "mallory", "token": MALLORY, "role": "write" },
        ]);
        workshop.json("hub/users.json", &users);
        let hub = Hub::start(workshop.path("hub").as_ref());
        let network = Self { workshop, node, hub };
        network.register("//Bob");
        network
    }

    pub(crate) fn register(&self, wallet: &str) {
        self.chain(&["register", "--wallet", wallet, "--netuid", "1"]);
    }

    pub(crate) fn chain(&self, args: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_agon"))
            .arg("chain")
            .args(args)
            .args(["--json", "--chain", &self.node.url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The command that submits a model.
    pub(super) fn submission(&self, dir: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command
            .args(["miner", "submit", dir, "--competition", "tiny", "--netuid", "1", "--json"])
            .args(["--chain", &self.node.url, "--hub", &format!("http://{}", self.hub.address)])
            .args(more)
            .env("AGON_HUB_TOKEN", &self.hub.token);
        command
    }

    pub(super) fn submit(&self, dir: &str, more: &[&str]) -> Output {
        self.submission(dir, more).output().unwrap()
    }

    /// Uploads a model to a repo and gives the revision.
    fn upload(&self, dir: &str, repo: &str, more: &[&str]) -> String {
        let uploaded = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["upload", dir, repo, "--json"])
            .args(["--hub", &format!("http://{}", self.hub.address)])
            .args(more)
            .env("AGON_HUB_TOKEN", &self.hub.token)
            .output()
            .unwrap();
        report(&uploaded)["revision"].as_str().unwrap().to_owned()
    }

    /// Commits to a model by hand.
    fn commit(&self, wallet: &str, dir: &str, (repo, revision): (&str, &str)) -> Value {
        let named = ["--model", dir, "--repo", repo, "--revision", revision];
        let whose = ["commit", "--wallet", wallet, "--netuid", "1", "--competition", "tiny"];
        self.chain(&[&whose[..], &named].concat())
    }

    /// Whether somebody without a token gets a revision.
    pub(super) fn is_public(&self, repo: &str, revision: &str) -> bool {
        let path = format!("GET /{repo}/resolve/{revision}/config.json");
        ask_as(&self.hub.address, None, &path, "").0 == "200"
    }

    pub(super) fn commitments(&self) -> Vec<Value> {
        let commitments = self.chain(&["commitments", "--netuid", "1"]);
        commitments.as_array().unwrap_or_else(|| panic!("{commitments}")).clone()
    }

    pub(super) fn head(&self) -> u64 {
        self.chain(&["info"])["head"]["block"].as_u64().unwrap()
    }

    /// How the owner is answered.
    fn status(&self, line: &str) -> String {
        self.hub.ask(line, "").0
    }
}

pub(super) fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The repo that the model in a folder goes to by itself.
pub(super) fn own_repo(dir: &str) -> String {
    let root = file_root(&list_folder(Path::new(dir)).unwrap());
    format!("agon/tiny-{}", &root.hex()[..8])
}

/// A model unlike those of other numbers.
pub(super) fn numbered(number: usize) -> SmallModel {
    let mut model = SmallModel::new();
    model.tensors[0].2[0] = number as f32 / 1024.0;
    model
}

#[test]
fn a_submitted_model_is_public_and_committed_to_once() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    let output = network.submit(&model, &["--wallet", "//Bob"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first = report(&output);
    assert_eq!((&first["repo"], &first["refused"]), (&own_repo(&model).into(), &Value::Null));
    assert_eq!((&first["final"], &first["already_submitted"]), (&true.into(), &false.into()));
    let committed = network.commitments();
    assert_eq!(committed.len(), 1, "{committed:?}");
    assert_eq!(committed[0]["text"], first["commitment"], "{committed:?}");
    assert_eq!(committed[0]["block"], first["block"], "{committed:?}");

    // Whoever has no token gets it.
    assert!(network.is_public(&own_repo(&model), first["revision"].as_str().unwrap()));

    // Once more, and by the name of its repo: nothing new is uploaded, nothing new is committed.
    for more in [&["--wallet", "//Bob"][..], &["--wallet", "//Bob", "--repo", &own_repo(&model)]] {
        let again = report(&network.submit(&model, more));
        assert_eq!(again["already_submitted"], true);
        for name in ["repo", "revision", "url", "commitment", "block", "final"] {
            assert_eq!(again[name], first[name], "{name}");
        }
        assert_eq!(network.commitments(), committed);
    }
}

#[test]
fn another_model_goes_to_another_repo() {
    let network = Network::with("200ms", "commitment_rate_limit = 0");
    for number in [1, 2] {
        let model = network.workshop.model(&format!("model-{number}"), &numbered(number));
        let submitted = report(&network.submit(&model, &["--wallet", "//Bob"]));
        assert_eq!(submitted["repo"], own_repo(&model));
    }
    assert_eq!(network.commitments().len(), 1);
}

#[test]
fn within_the_rate_limit_nothing_is_uploaded_and_the_block_to_wait_for_is_said() {
    let network = Network::with("200ms", "commitment_rate_limit = 1000");
    let [first, second] =
        [1, 2].map(|number| network.workshop.model(&format!("model-{number}"), &numbered(number)));
    let submitted = report(&network.submit(&first, &["--wallet", "//Bob"]));
    let next = submitted["block"].as_u64().unwrap() + 1_000;
    let output = network.submit(&second, &["--wallet", "//Bob"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("nothing was uploaded"), "{err}");
    assert!(err.contains(&format!("from block {next} on")), "{err}");
    let line = format!("GET /api/models/{}", own_repo(&second));
    let (status, _) = ask_as(&network.hub.address, Some("hf_of_the_miner"), &line, "");
    assert_eq!(status, "404", "not even in private");
}

#[test]
fn what_was_interrupted_before_it_was_public_goes_on_from_there_and_says_what_it_missed() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    // As far as a submission gets that is killed between its last two steps; wherever it went.
    let revision = network.upload(&model, "agon/named", &["--private"]);
    assert!(!network.is_public("agon/named", &revision));
    let committed = network.commit("//Bob", &model, ("agon/named", &revision));
    // One block later it counts, and every tenth seeds a round.
    let seed = (committed["block"].as_u64().unwrap() + 1).next_multiple_of(10);
    while network.head() < seed {}

    let submitted = report(&network.submit(&model, &["--wallet", "//Bob"]));
    assert_eq!(
        (&submitted["repo"], &submitted["revision"]),
        (&json!("agon/named"), &json!(revision))
    );
    assert_eq!(submitted["block"], committed["block"], "it was committed to again");
    assert_eq!(submitted["missed_round"], seed);
    let next = submitted["measured_from_block"].as_u64().unwrap();
    assert!(next > seed && next.is_multiple_of(10), "{submitted}");
    assert_eq!(network.commitments().len(), 1);
    assert!(network.is_public("agon/named", &revision));
}

#[test]
fn a_submission_killed_at_any_step_goes_on_from_there_and_commits_once() {
    let network = Network::with("200ms", "target_registrations = 10");
    let wallets = ["//Bob", "//Charlie", "//Dave", "//Eve"];
    wallets[1..].iter().for_each(|wallet| network.register(wallet));
    for (number, wallet) in wallets.into_iter().enumerate() {
        let model = network.workshop.model(&format!("model-{number}"), &numbered(number));
        let repo = own_repo(&model);
        let committed = || -> Vec<Value> {
            let is_it = |found: &Value| {
                let text = found["text"].as_str().unwrap_or_default();
                text.starts_with(&format!("{}:", repo.replace('/', ":")))
            };
            network.commitments().into_iter().filter(is_it).collect()
        };
        let is_reached = || match number {
            0 => network.status(&format!("GET /api/models/{repo}")) == "200",
            1 => network.status(&format!("GET /{repo}/resolve/main/config.json")) == "200",
            2 => !committed().is_empty(),
            _ => network.is_public(&repo, "main"),
        };
        let mut submission = network.submission(&model, &["--wallet", wallet]);
        let mut child = submission.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !is_reached() && child.try_wait().unwrap().is_none() {}
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        let before = committed();

        let output = network.submit(&model, &["--wallet", wallet]);
        assert!(output.status.success(), "{number}: {}", String::from_utf8_lossy(&output.stderr));
        let submitted = report(&output);
        let after = committed();
        assert_eq!((after.len(), &after[0]["text"]), (1, &submitted["commitment"]), "{number}");
        assert!(before.is_empty() || before == after, "{number}: {before:?} {after:?}");
        assert!(network.is_public(&repo, submitted["revision"].as_str().unwrap()), "{number}");
    }
}

#[test]
fn ctrl_c_while_the_commitment_is_on_its_way_leaves_a_private_repo_and_a_way_on() {
    let network = Network::with("3s", "");
    let model = network.workshop.model("model", &SmallModel::new());
    let repo = own_repo(&model);
    let address = network.node.url.strip_prefix("ws://").unwrap();
    let is_sent = || {
        let pending = ask(address, "author_pendingExtrinsics", &json!([])).unwrap();
        !pending["result"].as_array().unwrap().is_empty()
    };
    let mut submission = network.submission(&model, &["--wallet", "//Bob"]);
    let mut child = submission.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !is_sent() && child.try_wait().unwrap().is_none() {}
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.ends_with("may still be included\nerror: interrupted\n"), "{err}");
    assert!(!network.is_public(&repo, "main"));

    // The chain takes the call that is on its way, and refuses another so soon.
    let output = network.submit(&model, &["--wallet", "//Bob"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(network.is_public(&repo, "main"));
    let committed = network.commitments();
    assert_eq!((committed.len(), &committed[0]["block"]), (1, &report(&output)["block"]));
}

#[test]
fn a_model_that_would_be_refused_leaves_no_trace() {
    let network = Network::new();
    let tied = SmallModel::new().with_config(&json!({ "rope_theta": "high" }));
    let model = network.workshop.model("model", &tied);
    let output = network.submit(&model, &["--wallet", "//Bob"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report(&output)["refused"]["code"], "config-refused");
    assert_eq!(network.hub.ask("GET /api/models?author=agon", "").1, "[]");
    assert!(network.commitments().is_empty());
}

#[test]
fn what_keeps_a_model_from_being_submitted_is_said_before_it_is_uploaded() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    let missing = network.workshop.path("missing");
    let long = format!("agon/{}", "x".repeat(40));
    for (dir, more, told) in [
        (&model, &["--wallet", "//Charlie"][..], "agon chain register"),
        (&missing, &["--wallet", "//Bob"], "missing"),
        (&model, &["--wallet", "//Bob", "--repo", "somebody/model"], "HF_TOKEN"),
        (&model, &["--wallet", "//Bob", "--repo", "noslash"], "noslash"),
        (
            &model,
            &["--wallet", "//Bob", "--repo", &long],
            "has 45 characters, and a commitment has room for 38",
        ),
    ] {
        let output = network.submit(dir, more);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(told), "expected `{told}` in `{err}`");
    }
    assert_eq!(network.hub.ask("GET /api/models?author=agon", "").1, "[]");
    assert!(network.commitments().is_empty());
}

#[test]
fn a_public_repo_is_refused_before_anything_is_uploaded() {
    let network = Network::new();
    let other = network.workshop.model("other", &numbered(1));
    let model = network.workshop.model("model", &numbered(2));
    let revision = network.upload(&other, "agon/open", &[]);
    // The repo that the model would go to by itself, too: who knows who has seen it there.
    network.upload(&model, &own_repo(&model), &[]);
    for more in [&["--wallet", "//Bob", "--repo", "agon/open"][..], &["--wallet", "//Bob"]] {
        let output = network.submit(&model, more);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        for told in [
            "is public",
            "could commit to the same files first",
            "leave --repo away",
            "--public-before-commitment",
        ] {
            assert!(err.contains(told), "expected `{told}` in `{err}`");
        }
    }
    let head = network.hub.ask("GET /api/models/agon/open", "").1;
    assert!(head.contains(&revision), "something was uploaded: {head}");
    assert!(network.commitments().is_empty());

    let insisting = ["--wallet", "//Bob", "--repo", "agon/open", "--public-before-commitment"];
    let output = network.submit(&model, &insisting);
    assert!(String::from_utf8_lossy(&output.stderr).contains("whoever watches it"));
    assert_eq!(report(&output)["repo"], "agon/open");
}

#[test]
fn a_repo_that_becomes_public_on_the_way_is_not_committed_to() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    // Nearly all that the competition admits, for an upload that takes its time.
    network.workshop.file("model/README.md", vec![b'a'; 11 << 20]);
    let repo = own_repo(&model);
    let mut submission = network.submission(&model, &["--wallet", "//Bob"]);
    let mut child = submission.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let settings = format!("PUT /api/models/{repo}/settings");
    let open = || network.hub.ask(&settings, r#"{"private": false}"#).0;
    while open() != "200" && child.try_wait().unwrap().is_none() {}
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    let told = ["did not stay private", "is public although it was to be private"];
    assert!(told.iter().any(|told| err.contains(told)), "{err}");
    assert!(network.commitments().is_empty());
}

#[test]
fn a_private_repo_by_name_is_used() {
    let network = Network::new();
    let other = network.workshop.model("other", &numbered(1));
    let model = network.workshop.model("model", &numbered(2));
    let revision = network.upload(&other, "agon/kept", &["--private"]);
    let submitted = report(&network.submit(&model, &["--wallet", "//Bob", "--repo", "agon/kept"]));
    assert_eq!(submitted["repo"], "agon/kept");
    assert_ne!(submitted["revision"], *revision);
    assert!(network.is_public("agon/kept", submitted["revision"].as_str().unwrap()));
}
