//! Every chain behaves alike: one suite, run over each implementation.

#[path = "contract/suite.rs"]
mod suite;

use chain::{Genesis, MemoryChain};
use std::sync::Arc;
use suite::World;

fn memory(genesis: &Genesis) -> World {
    let chain = Arc::new(MemoryChain::new(genesis).unwrap());
    let clock = Arc::clone(&chain);
    World { chain, next_block: Box::new(move || clock.produce_block().map(|_| ()).unwrap()) }
}

suite::contract!(memory);
