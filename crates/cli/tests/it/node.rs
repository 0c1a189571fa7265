//! The node as a process: killed, restarted, asked by clients.

mod kill;
mod network;

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A node in a process of its own; killed when it is dropped.
struct Node {
    child: Child,
    url: String,
}

impl Node {
    /// Starts a node and waits until it listens.
    fn start(home: &Path, block_time: &str, more: &[&str]) -> Self {
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
        Self { child, url: listening["url"].as_str().unwrap().to_owned() }
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
