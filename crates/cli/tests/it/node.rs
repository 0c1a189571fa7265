//! The node as a process: killed, restarted, asked by clients.

mod asks;
mod away;
mod kill;
mod network;
mod weights;

pub(crate) use kill::ask;

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A node in a process of its own; killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
    /// The hub beside the chain, if there is one.
    hub: Value,
}

impl Node {
    /// Starts a node and waits until it listens.
    pub(crate) fn start(home: &Path, block_time: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["node", "--json", "--block-time", block_time, "--home"])
            .arg(home)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: the node said `{line}`: {:?}", child.wait()));
        let url = listening["url"].as_str().unwrap().to_owned();
        Self { child, url, hub: listening["hub"].clone() }
    }

    /// Kills the node without a warning, as a power cut would.
    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// An address that nothing listens on, for a node that must come back to the same one.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_node_may_have_a_hub_beside_its_chain() {
    let home = tempfile::tempdir().unwrap();
    let listens = ["--listen", "127.0.0.1:0", "--hub-listen", "127.0.0.1:0"];
    let node = Node::start(home.path(), "200ms", &listens);
    let address = node.hub["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let token = node.hub["environment"]["HF_TOKEN"].as_str().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "GET /api/whoami-v2 HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""name":"agon""#), "{answer}");
    assert!(home.path().join("hub/users.json").exists());
    drop(node);

    let plain = Node::start(home.path(), "200ms", &["--listen", "127.0.0.1:0"]);
    assert_eq!(plain.hub, Value::Null);
}

/// What a command says that must fail, on stderr.
fn refusal(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(args)
        .stdin(Stdio::null())
        .env_remove("AGON_WALLET_PASSWORD")
        .env_remove("BT_WALLET_PASSWORD")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_spec_that_cannot_start_leaves_the_folder_for_the_one_that_can() {
    let folder = tempfile::tempdir().unwrap();
    let (home, spec) = (folder.path().join("home"), folder.path().join("spec.toml"));
    let subnet = "[[subnets]]\nowner = \"//Alice\"\nhyperparameters = { tempo = 0 }\n";
    std::fs::write(&spec, subnet).unwrap();
    let (home_text, spec_text) = (home.to_str().unwrap(), spec.to_str().unwrap());
    let listen = ["--listen", "127.0.0.1:0", "--spec", spec_text];
    let error = refusal(&[&["node", "--home", home_text], &listen[..]].concat());
    assert!(error.contains("tempo"), "{error}");
    assert!(!home.exists(), "nothing was written");
    std::fs::write(&spec, subnet.replace("= 0", "= 5")).unwrap();
    drop(Node::start(&home, "1s", &listen));
    // And goes on at its own pace where none is named.
    std::fs::write(&spec, subnet).unwrap();
    let error = refusal(&[&["node", "--home", home_text], &listen[..]].concat());
    assert!(error.contains("tempo"), "{error}");
    drop(Node::start(&home, "1s", &["--listen", "localhost:0"]));
}

#[test]
fn refusals_name_the_numbers_and_what_mends_them() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("home"), "100ms", &["--listen", "127.0.0.1:0"]);
    let chain = |args: &[&str]| {
        let args = [&["chain"], args, &["--chain", &node.url]].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_agon")).args(&args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let refused = |args: &[&str], parts: &[&str]| {
        let error = refusal(&[&["chain"], args, &["--chain", &node.url]].concat());
        for part in parts {
            assert!(error.contains(part), "{args:?}: no `{part}` in {error}");
        }
    };
    let on = ["--netuid", "1", "--wallet", "//Alice"];
    let with = |words: &[&'static str]| [words, &on[..]].concat();
    assert!(chain(&["subnet", "create", "--wallet", "//Alice"]).contains("opened subnet 1"));
    assert!(chain(&["subnet", "show", "--netuid", "1"]).contains("target_registrations=1"));
    refused(&with(&["register"]), &["already: uid 0"]);
    for key in ["//Bob", "//Charlie"] {
        let registered = chain(&["register", "--netuid", "1", "--wallet", key]);
        assert!(registered.contains("as uid"), "{registered}");
    }
    let third = ["register", "--netuid", "1", "--wallet", "//Dave"];
    refused(&third, &["target_registrations=1", "begins with block "]);
    refused(&with(&["set-weights", "1=1"]), &["weights_rate_limit=100", "from block 1"]);
    let unsigned = ["commit", "--netuid", "1", "--wallet", "//Dave", "x"];
    refused(&unsigned, &["UnknownSigner", "agon chain register"]);
    let rules = ["subnet", "set", "immunity_period=9", "tempo=0", "kappa=7"];
    refused(&with(&rules), &["cannot set tempo=0", "before: immunity_period=9", "tried: kappa=7"]);
    chain(&with(&["commit", "x\u{202e}y"]));
    refused(&with(&["commit", "z"]), &["CommitmentSetRateLimitExceeded", "from block 1"]);
    let shown = chain(&["commitments", "--netuid", "1"]);
    assert!(shown.contains("x\u{fffd}y") && !shown.contains('\u{202e}'), "{shown}");
}

#[test]
fn a_password_that_nobody_gave_is_asked_for_by_the_variables_that_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let wallet = ["--wallet", "enc", "--wallet-path", path];
    let made = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args([&["wallet", "create"], &wallet[..]].concat())
        .env("BT_WALLET_PASSWORD", "throwaway")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let node = Node::start(&folder.path().join("home"), "1s", &["--listen", "127.0.0.1:0"]);
    let to = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
    let call = ["chain", "transfer", "--to", to, "1", "--chain", &node.url];
    let error = refusal(&[&call[..], &wallet].concat());
    assert!(error.contains("AGON_WALLET_PASSWORD") && !error.contains("wallet create"), "{error}");
    let missing = ["--wallet", "none", "--wallet-path", path];
    let error = refusal(&[&call[..], &missing].concat());
    assert!(error.contains("wallet import --wallet none"), "{error}");
}
