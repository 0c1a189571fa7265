//! Every chain behaves alike: the suite of `chain`, over a node and its client.

mod proxy;

use crate::suite::{self, World};
use chain::Genesis;
use protocol::Seed;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use substrate::{ClientConfig, DevNode, SubstrateChain, dev};

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

suite::contract!(client_and_node);
suite::contract!(client_and_faulty_node);
