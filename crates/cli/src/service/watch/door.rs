//! The door at which a watcher is asked how it is, and the thread that hears of blocks for it.
//!
//! What is judged or uploaded may take hours, and meanwhile the chain goes on: so blocks are heard
//! of beside the work, as they are by the other services.

use super::{report::Verdict, scan::Checkpoint};
use crate::{
    args::ServiceArgs,
    service::{
        health::{Health, Turns},
        metrics::Metrics,
        serve::Server,
        setup::Place,
    },
};
use anyhow::Context as _;
use chain::Chain;
use std::{
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

/// Where a watcher is asked, if anywhere; closed when it is dropped.
pub struct Door {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    is_ending: Arc<AtomicBool>,
    /// Answers as long as it is there.
    _server: Option<Server>,
}

impl Door {
    /// Says that the watcher is at work, and begins to answer and to hear of blocks where the
    /// options say so; the journal is open.
    pub fn open(place: &Place, args: &ServiceArgs) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::of_watcher(&Verdict::ALL.map(Verdict::name)));
        let health = Arc::new(Health::new(place.block_time()?, &TURNS));
        health.journal_open();
        let server = place.announce(WATCH, args, (&metrics, &health))?;
        let is_ending = Arc::new(AtomicBool::new(false));
        if server.is_some() {
            let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
            let (chain, is_ending) = (Arc::clone(&place.chain), Arc::clone(&is_ending));
            let heads = move || follow(&*chain, &metrics, &health, &is_ending);
            // Nobody waits for its end: it may hang on an endpoint that is away, and writes
            // nothing.
            let thread = thread::Builder::new().name("heads".to_owned());
            thread.spawn(heads).context("cannot start a thread")?;
        }
        Ok(Self { metrics, health, is_ending, _server: server })
    }

    /// The watcher turns.
    pub fn beat(&self) {
        self.health.beat(WATCH);
    }

    /// These checkpoints are there, the newest first.
    pub fn looked(&self, checkpoints: &[Checkpoint]) {
        let newest = checkpoints.first().map(Checkpoint::since_1970);
        self.metrics.looked(checkpoints.len(), newest);
    }

    /// This was said of a checkpoint.
    pub fn judged(&self, verdict: Verdict) {
        self.metrics.judged(verdict.name());
    }

    /// Something went wrong that is tried again.
    pub fn trouble(&self, error: &anyhow::Error) {
        self.metrics.failed(error);
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
