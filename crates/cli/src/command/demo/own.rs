//! The user's own model as one more miner of a demo.

use chain::Head;
use miner::{Event, Outbox};

/// Name of the folder of the model, in that of its miner.
pub const MODEL: &str = "published";

/// Publishes one model that is there already, at the first block.
pub struct Own {
    outbox: Outbox,
}

impl Own {
    /// A miner of the model in the folder [`MODEL`] of the home of `outbox`.
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// Publishes the model, once.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if self.outbox.state().offered.is_none() {
            self.outbox.offer(MODEL, head.block)?;
        }
        self.outbox.advance(head, watch)
    }
}
