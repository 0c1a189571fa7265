//! An endpoint that goes away while a command waits: what the command says, and that it ends well.

use super::{Node, ask, free_address};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// Longer than anything here takes; only a command that says nothing is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of a pipe, as they come.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // The test may have ended.
            let _ = send.send(line);
        }
    });
    lines
}

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
    let lines = lines_of(child.stderr.take().unwrap());
    let mut next = |what: &str| {
        lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            child.kill().unwrap();
            panic!("it does not say {what}: {error}")
        })
    };
    let line = next("that the endpoint is away");
    let was_sent = line.split("call ").nth(1).unwrap_or_else(|| panic!("it said `{line}`"));
    assert!(was_sent.ends_with(" was sent and may still be included: waiting"), "{line}");

    let _again = Node::start(&home, "200ms", &listen);
    assert_eq!(next("that it is back"), "the chain answers again");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), lines.iter().collect()), (Some(0), Vec::<String>::new()));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["did"], format!("sent 3 TAO to {bob}"));
    let call = done["call"].as_str().unwrap();
    assert!(was_sent.starts_with(call), "{call} is another call than in `{line}`");
}
