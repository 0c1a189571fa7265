//! The node as a process: killed, restarted, asked by clients.

mod kill;
mod network;

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
