//! An endpoint that goes away while a command waits: what the command says, and that it ends well.

use super::{Node, ask, free_address};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

#[test]
fn a_command_says_when_the_endpoint_goes_away_and_when_it_answers_again() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let (home, listen) = (folder.path().join("home"), ["--listen", &address]);
    // The call is on its way until the node is started again, with blocks that come at once.
    let node = Node::start(&home, "10m", &listen);
    let bob = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["chain", "transfer", "--wallet", "//Alice", "--to", bob, "3", "--json"])
        .args(["--chain", &node.url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_sent = || {
        let pending = ask(&address, "author_pendingExtrinsics", &json!([])).unwrap();
        !pending["result"].as_array().unwrap().is_empty()
    };
    while !is_sent() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before its call was sent");
        thread::sleep(Duration::from_millis(5));
    }
    node.kill();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    let was_sent = line.split("call ").nth(1).unwrap_or_else(|| panic!("it said `{line}`"));
    assert!(was_sent.ends_with(" was sent and may still be included: waiting\n"), "{line}");

    let _again = Node::start(&home, "200ms", &listen);
    let mut later = String::new();
    err.read_line(&mut later).unwrap();
    assert_eq!(later, "the chain answers again\n");
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert_eq!((output.status.code(), rest.as_str()), (Some(0), ""));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["did"], format!("sent 3 TAO to {bob}"));
    let call = done["call"].as_str().unwrap();
    assert!(was_sent.starts_with(call), "{call} is another call than in `{line}`");
}
