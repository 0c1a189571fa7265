//! Every chain behaves alike: one suite, run over each implementation.

#[path = "contract/suite.rs"]
mod suite;

#[path = "contract/proxy.rs"]
mod proxy;

use chain::{
    Call, CallId, CallStatus, Chain, ClientConfig, DevNode, Error, FaultyChain, Genesis, Head,
    Keypair, MemoryChain, Metagraph, StoredCommitment, SubstrateChain, dev, faulty::Rates,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Seed};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use suite::World;

fn memory(genesis: &Genesis) -> World {
    let chain = Arc::new(MemoryChain::new(genesis).unwrap());
    let clock = Arc::clone(&chain);
    World { chain, next_block: Box::new(move || clock.produce_block().map(|_| ()).unwrap()) }
}

/// A connection that loses every fifth request, and a client that asks again.
fn faulty_and_asked_again(genesis: &Genesis) -> World {
    let rates = Rates { lost_requests: 200, ..Rates::default() };
    let memory = MemoryChain::new(genesis).unwrap();
    let chain = Arc::new(Again(FaultyChain::new(memory, Seed::of_number(1), rates)));
    let clock = Arc::clone(&chain);
    let next_block = move || clock.0.inner().produce_block().map(|_| ()).unwrap();
    World { chain, next_block: Box::new(next_block) }
}

/// A node that makes blocks when it is told to.
fn node(genesis: &Genesis) -> DevNode {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let genesis = genesis.clone();
    let config = dev::Config { listen, database: None, genesis, block_time: None };
    DevNode::start(&config).unwrap()
}

/// The client, over the network, against the embedded node.
fn client_and_node(genesis: &Genesis) -> World {
    let node = node(genesis);
    let chain = Arc::new(SubstrateChain::connect(ClientConfig::new(node.url())).unwrap());
    World { chain, next_block: Box::new(move || node.produce_block().map(|_| ()).unwrap()) }
}

/// The client against the node, over connections that break after a few messages.
fn client_and_faulty_node(genesis: &Genesis) -> World {
    let node = node(genesis);
    let proxy = proxy::Proxy::start(node.address(), Seed::of_number(1));
    let config = ClientConfig {
        patience: Duration::from_secs(20),
        ..ClientConfig::new(format!("ws://{}", proxy.address()))
    };
    let chain = Arc::new(SubstrateChain::connect(config).unwrap());
    let next_block = move || {
        let _alive = &proxy;
        node.produce_block().map(|_| ()).unwrap();
    };
    World { chain, next_block: Box::new(next_block) }
}

suite::contract!(memory);
suite::contract!(client_and_node);
suite::contract!(client_and_faulty_node);
suite::contract!(faulty_and_asked_again);

/// Asks until the connection works.
struct Again(FaultyChain<MemoryChain>);

impl Again {
    fn ask<T>(
        &self,
        request: impl Fn(&FaultyChain<MemoryChain>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..100 {
            match request(&self.0) {
                Err(Error::Unavailable { .. }) => {}
                answer => return answer,
            }
        }
        panic!("a hundred requests in a row were lost");
    }
}

impl Chain for Again {
    fn head(&self) -> Result<Head, Error> {
        self.ask(|chain| chain.head())
    }

    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.ask(|chain| chain.block_hash(block))
    }

    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.ask(|chain| chain.metagraph(netuid))
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.ask(|chain| chain.commitments(netuid, at))
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.ask(|chain| chain.balance(coldkey))
    }

    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        self.ask(|chain| chain.submit(call.clone(), signer))
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.ask(|chain| chain.status(id))
    }
}
