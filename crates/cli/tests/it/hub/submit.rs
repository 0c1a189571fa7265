//! `agon miner submit` against a real chain and a real hub, interrupted and repeated.

use super::Hub;
use crate::{
    commands::workshop::{SmallModel, Workshop},
    node::Node,
};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output},
};

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

    /// Whether somebody without a token gets a revision.
    fn is_public(&self, revision: &str) -> bool {
        let address = &self.hub.address;
        let path = format!("/agon/tiny/resolve/{revision}/config.json");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200")
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
    assert!(network.is_public(first["revision"].as_str().unwrap()));

    // Once more: nothing new is uploaded, nothing new is committed.
    let again = report(&network.submit(&model, &["--wallet", "//Bob"]));
    assert_eq!(again, first);
    assert_eq!(network.commitments(), committed);
}

#[test]
fn what_was_interrupted_before_it_was_public_goes_on_from_there() {
    let network = Network::new();
    let model = network.workshop.model("model", &SmallModel::new());
    // As far as a submission gets that is killed between its last two steps.
    let uploaded = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["upload", &model, "agon/tiny", "--private", "--json"])
        .args(["--hub", &format!("http://{}", network.hub.address)])
        .env("HF_TOKEN", &network.hub.token)
        .output()
        .unwrap();
    let revision = report(&uploaded)["revision"].as_str().unwrap().to_owned();
    assert!(!network.is_public(&revision));
    let named = ["--model", &model, "--repo", "agon/tiny", "--revision", &revision];
    let whose = ["commit", "--wallet", "//Bob", "--netuid", "1", "--competition", "tiny"];
    let committed = network.chain(&[&whose[..], &named].concat());

    let submitted = report(&network.submit(&model, &["--wallet", "//Bob"]));
    assert_eq!(submitted["revision"], *revision);
    assert_eq!(submitted["block"], committed["block"], "it was committed to again");
    assert_eq!(network.commitments().len(), 1);
    assert!(network.is_public(&revision));
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
        (&missing, &["--wallet", "//Bob"], "missing"),
        (&model, &["--wallet", "//Bob", "--repo", "somebody/model"], "HF_TOKEN"),
        (&model, &["--wallet", "//Bob", "--repo", "noslash"], "noslash"),
    ] {
        let output = network.submit(dir, more);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(told), "expected `{told}` in `{err}`");
    }
    assert_eq!(network.hub.ask("GET /api/models/agon/tiny", "").0, "404");
    assert!(network.commitments().is_empty());
}
