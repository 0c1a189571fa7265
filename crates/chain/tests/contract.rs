//! Every chain behaves alike: one suite, here over those that live in this process.

#[path = "contract/suite.rs"]
mod suite;

use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, FaultyChain, Genesis, Head, HidingRules,
    Keypair, MemoryChain, Metagraph, Rewards, Signed, StoredCommitment, Voter, faulty::Rates,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Seed, Uid};
use std::sync::Arc;
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

suite::contract!(memory);
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

    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.ask(|chain| chain.rewards(netuid, at))
    }
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.ask(|chain| chain.voters(netuid, at))
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.ask(|chain| chain.balance(coldkey))
    }

    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.ask(|chain| chain.weights(netuid, uid))
    }

    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.ask(|chain| chain.hiding(netuid))
    }

    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.ask(|chain| chain.demands(netuid))
    }

    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        self.ask(|chain| chain.sign(call.clone(), signer, last))
    }

    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.ask(|chain| chain.send(signed))
    }

    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.ask(|chain| chain.resume(signed))
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.ask(|chain| chain.status(id))
    }
}
