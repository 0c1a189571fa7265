//! The newest block of a network, heard of in a thread of its own.

use chain::Chain as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use substrate::{ClientConfig, SubstrateChain};

/// How often the chain is asked.
const TICK: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Knows the newest block; a node that is away keeps nobody waiting.
pub struct Heads {
    block: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Heads {
    /// Begins to ask the chain at an address.
    pub fn watch(url: String) -> Self {
        let (block, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (newest, is_over) = (Arc::clone(&block), Arc::clone(&stop));
        std::thread::spawn(move || {
            let config = ClientConfig {
                patience: PATIENCE,
                request_timeout: PATIENCE,
                stall_limit: None,
                ..ClientConfig::new(url)
            };
            let mut chain = None;
            while !is_over.load(Ordering::Relaxed) {
                if chain.is_none() {
                    // Tried again as long as it takes.
                    chain = SubstrateChain::connect(config.clone()).ok();
                }
                if let Some(Ok(head)) = chain.as_ref().map(|chain| chain.head()) {
                    newest.fetch_max(head.block.0, Ordering::Relaxed);
                }
                std::thread::sleep(TICK);
            }
        });
        Self { block, stop }
    }

    /// The newest block that was heard of; `None` before the first.
    pub fn block(&self) -> Option<u64> {
        Some(self.block.load(Ordering::Relaxed)).filter(|block| *block > 0)
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
