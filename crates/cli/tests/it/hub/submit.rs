//! `agon miner submit` against a real chain and a real hub, interrupted and repeated.

use super::Hub;
use crate::{
    commands::workshop::{SmallModel, Workshop},
    node::Node,
};
use serde_json::Value;
use std::process::{Command, Output};

/// A chain with a subnet on which `//Alice` has a slot, and a hub.
struct Network {
    workshop: Workshop,
    node: Node,
    hub: Hub,
}

impl Network {
    fn new() -> Self {
        let workshop = Workshop::new();
        let node =
            Node::start(workshop.path("node").as_ref(), "200ms", &["--listen", "127.0.0.1:0"]);
        std::fs::create_dir_all(workshop.path("hub")).unwrap();
        let hub = Hub::start(workshop.path("hub").as_ref());
        let network = Self { workshop, node, hub };
        network.chain(&["subnet", "create", "--wallet", "//Alice"]);
        network.chain(&["register", "--wallet", "//Bob", "--netuid", "1"]);
        network
    }

    fn chain(&self, args: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_agon"))
            .arg("chain")
            .args(args)
            .args(["--json", "--chain", &self.node.url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn submit(&self, dir: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["miner", "submit", dir, "--competition", "tiny", "--netuid", "1", "--json"])
            .args(["--chain", &self.node.url, "--hub", &format!("http://{}", self.hub.address)])
            .args(more)
            .env("HF_TOKEN", &self.hub.token)
            .output()
            .unwrap()
    }

    fn commitments(&self) -> Vec<Value> {
        let commitments = self.chain(&["commitments", "--netuid", "1"]);
        commitments.as_array().unwrap_or_else(|| panic!("{commitments}")).clone()
    }
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_submitted_model_is_public_and_committed_to_once() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    let output = network.submit(&model, &["--wallet", "//Bob"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first = report(&output);
    assert_eq!((&first["repo"], &first["refused"]), (&"agon/tiny".into(), &Value::Null));
    let committed = network.commitments();
    assert_eq!(committed.len(), 1, "{committed:?}");
    assert_eq!(committed[0]["text"], first["commitment"], "{committed:?}");

    // Whoever has no token gets it.
    let url = format!("GET /agon/tiny/resolve/{}/config.json", first["revision"].as_str().unwrap());
    let mut anonymous = network.hub.begin(&url, 0, "");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut anonymous, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Once more: nothing new is uploaded, nothing new is committed.
    let again = report(&network.submit(&model, &["--wallet", "//Bob"]));
    assert_eq!(again, first);
    assert_eq!(network.commitments(), committed);
}

#[test]
fn a_model_that_would_be_refused_leaves_no_trace() {
    let network = Network::new();
    let tied = SmallModel::new().with_config(&serde_json::json!({ "rope_theta": "high" }));
    let model = network.workshop.model("model", &tied);
    let output = network.submit(&model, &["--wallet", "//Bob"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report(&output)["refused"]["code"], "config-refused");
    assert_eq!(network.hub.ask("GET /api/models/agon/tiny", "").0, "404");
    assert!(network.commitments().is_empty());
}

#[test]
fn what_keeps_a_model_from_being_submitted_is_said_before_it_is_uploaded() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    let missing = network.workshop.path("missing");
    for (dir, more, told) in [
        (&model, &["--wallet", "//Charlie"][..], "agon chain register"),
        (&model, &["--wallet", "//Bob", "--competition", "tyni"], "tyni"),
        (&missing, &["--wallet", "//Bob"], "missing"),
        (&model, &["--wallet", "//Bob", "--repo", "somebody/model"], "HF_TOKEN"),
        (&model, &["--wallet", "//Bob", "--hub", "http://127.0.0.1:1"], "127.0.0.1:1"),
    ] {
        let more: Vec<&str> = more.to_vec();
        let output = if more.contains(&"--competition") || more.contains(&"--hub") {
            let mut args = vec!["miner", "submit", dir.as_str(), "--netuid", "1"];
            args.extend(["--chain", &network.node.url]);
            if !more.contains(&"--competition") {
                args.extend(["--competition", "tiny"]);
            }
            Command::new(env!("CARGO_BIN_EXE_agon")).args(args).args(more).output().unwrap()
        } else {
            network.submit(dir, &more)
        };
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(told), "expected `{told}` in `{err}`");
    }
    assert_eq!(network.hub.ask("GET /api/models/agon/tiny", "").0, "404");
    assert!(network.commitments().is_empty());
}
