//! A validator that is told to end while it waits for somebody who does not answer.

use super::{Running, Site};
use crate::hub::submit::Network;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

/// Longest time from the signal to the end; whatever hangs is ended only after eight seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_validator_ends_at_once_and_well_though_its_chain_does_not_answer() {
    let site = Site::new("50ms", "tempo = 9");
    let mut running = Running::start(&site);
    running.await_ready();
    let Network { workshop: _workshop, node, hub: _hub } = site.network;
    let address = node.url.strip_prefix("ws://").unwrap().to_owned();
    drop(node);
    // In its place somebody who takes connections and says nothing.
    let silent = loop {
        match TcpListener::bind(&address) {
            Ok(silent) => break silent,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    let _unanswered = silent.accept().unwrap();
    running.expect_alive();
    let told = Instant::now();
    let pid = Pid::from_raw(i32::try_from(running.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = running.child.wait().unwrap();
    let took = told.elapsed();
    assert_eq!(status.code(), Some(0), "{}", super::last_words(&running.log));
    assert!(took < AT_ONCE, "{took:?}: {}", super::last_words(&running.log));
}
