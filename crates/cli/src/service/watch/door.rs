//! The door at which a watcher is asked how it is, and the thread that hears of blocks for it.
//!
//! What is judged or uploaded may take hours, and meanwhile the chain goes on: so blocks are heard
//! of beside the work, as they are by the other services.

use crate::service::{
    health::{Health, Turns},
    metrics::{ErrorKind, Metrics},
    serve::Server,
};
use anyhow::Context as _;
use chain::Chain;
use miner::{Event, Published};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What turns.
const WATCH: &str = "watch";
/// How long one turn of it may take: the measurement of a large model on a small machine, or its
/// upload.
const TURNS: [Turns; 1] = [Turns { name: WATCH, within: Duration::from_secs(24 * 3_600) }];
/// How often the chain is asked for its newest block; it costs a request only where the chain does
/// not tell of blocks by itself.
const TICK: Duration = Duration::from_millis(100);

/// Where a watcher is asked; closed when it is dropped.
pub struct Door {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    server: Server,
    is_ending: Arc<AtomicBool>,
}

impl Door {
    /// Listens, and hears of blocks from now on; the journal is open.
    pub fn open(
        listen: SocketAddr,
        chain: Arc<dyn Chain>,
        block_time: Duration,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::of_miner());
        let health = Arc::new(Health::new(block_time, &TURNS));
        health.journal_open();
        let server = Server::start(listen, Arc::clone(&metrics), Arc::clone(&health))?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let heads = {
            let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
            let is_ending = Arc::clone(&is_ending);
            move || follow(&*chain, &metrics, &health, &is_ending)
        };
        // Nobody waits for its end: it may hang on an endpoint that is away, and writes nothing.
        let thread = thread::Builder::new().name("heads".to_owned());
        thread.spawn(heads).context("cannot start a thread")?;
        Ok(Self { metrics, health, server, is_ending })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The watcher turns.
    pub fn beat(&self) {
        self.health.beat(WATCH);
    }

    /// A model was submitted.
    pub fn published(&self, published: Published) {
        self.metrics.on_miner_event(&Event::Published(published));
    }

    /// Something went wrong that is tried again.
    pub fn trouble(&self, error: &anyhow::Error) {
        if let Some(kind) = kind(error) {
            self.metrics.error(kind);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }
}

/// Tells of the blocks of a chain, until it shall end. While the chain is away there is nothing to
/// tell, and the age of the newest block says so.
fn follow(chain: &dyn Chain, metrics: &Metrics, health: &Health, is_ending: &AtomicBool) {
    while !is_ending.load(Ordering::Relaxed) {
        if let Ok(head) = chain.head() {
            metrics.head(head.block);
            health.head(head.block);
        }
        thread::sleep(TICK);
    }
}

/// What an error is with, as it is counted, if it can be told.
fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    error.chain().find_map(|cause| {
        if cause.is::<chain::Error>() {
            Some(ErrorKind::Chain)
        } else if cause.is::<hub::Error>() {
            Some(ErrorKind::Hub)
        } else if cause.is::<journal::Error>() {
            Some(ErrorKind::Journal)
        } else if cause.is::<io::Error>() {
            Some(ErrorKind::Disk)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::HintExt as _;

    #[test]
    fn trouble_is_counted_by_what_it_is_with() {
        let error = chain::Error::Unavailable { request: "head" };
        let told = Err::<(), _>(error).context("cannot read the newest block").hint("wait");
        assert_eq!(kind(&told.unwrap_err()), Some(ErrorKind::Chain));
        let error: anyhow::Error = hub::Error::Stopped.into();
        assert_eq!(kind(&error.context("cannot submit")), Some(ErrorKind::Hub));
        let error: anyhow::Error = io::Error::other("full").into();
        assert_eq!(kind(&error), Some(ErrorKind::Disk));
        assert_eq!(kind(&anyhow::anyhow!("another")), None);
    }
}
