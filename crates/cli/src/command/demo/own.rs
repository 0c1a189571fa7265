//! The user's own model as one more miner of a demo.

use miner::{Event, Publisher};
use std::path::PathBuf;

/// Publishes one model that is there already, at the first block.
pub struct Own {
    publisher: Publisher,
    model: PathBuf,
    is_done: bool,
}

impl Own {
    /// A miner of the model in the folder `model`.
    pub fn new(publisher: Publisher, model: PathBuf) -> Self {
        Self { publisher, model, is_done: false }
    }

    /// Publishes the model, once.
    pub fn on_block(&mut self, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if self.is_done {
            return Ok(());
        }
        self.is_done = true;
        match self.publisher.publish(&self.model)? {
            Ok(published) => watch(Event::Published(published)),
            Err(reason) => watch(Event::Withheld(reason)),
        }
        Ok(())
    }
}
