//! The whole chain in this process: for tests, simulations and the demo.

use crate::{
    Call, CallError, CallId, CallStatus, Chain, Error, Head, Keypair, Metagraph, SignedCall,
    StoredCommitment,
    ledger::{EpochSummary, Genesis, Ledger, Supply},
};
use protocol::{AccountId, Block, BlockHash, NetUid, yuma};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// For how many blocks commitments and fates of calls can be asked for.
pub const HISTORY_BLOCKS: usize = 1_024;

/// Most calls that wait for a block.
pub const POOL_CALLS_MAX: usize = 8_192;

/// A chain that makes a block when it is told to.
///
/// Calls may come from many threads in any order: a block depends only on which calls are in it.
pub struct MemoryChain(Mutex<Node>);

struct Node {
    ledger: Ledger,
    pool: Vec<SignedCall>,
    waiting: BTreeSet<CallId>,
    fates: BTreeMap<CallId, CallStatus>,
    /// What the last blocks left, oldest first; the last entry is the head's.
    history: VecDeque<Past>,
    epochs: Vec<EpochSummary>,
}

/// What is kept of a block.
struct Past {
    block: Block,
    calls: Vec<CallId>,
    commitments: BTreeMap<NetUid, Arc<Vec<StoredCommitment>>>,
}

impl MemoryChain {
    /// A chain at its genesis.
    pub fn new(genesis: &Genesis) -> Result<Self, Error> {
        let mut node = Node {
            ledger: Ledger::new(genesis)?,
            pool: Vec::new(),
            waiting: BTreeSet::new(),
            fates: BTreeMap::new(),
            history: VecDeque::new(),
            epochs: Vec::new(),
        };
        node.remember(Vec::new());
        Ok(Self(Mutex::new(node)))
    }

    /// Makes a block of all calls that wait.
    pub fn produce_block(&self) -> Result<Head, Error> {
        self.node().produce_block()
    }

    /// Queues a call that was signed elsewhere.
    pub fn submit_signed(&self, call: SignedCall) -> Result<CallId, Error> {
        self.node().submit(call)
    }

    /// Every epoch of the subnet since genesis: who earned what, as miner and as validator.
    pub fn epochs(&self, netuid: NetUid) -> Vec<EpochSummary> {
        self.node().epochs.iter().filter(|epoch| epoch.netuid == netuid).cloned().collect()
    }

    /// Where all the money is.
    pub fn supply(&self) -> Supply {
        self.node().ledger.supply()
    }

    /// What an epoch of the subnet would be computed from in the next block.
    pub fn yuma_input(&self, netuid: NetUid) -> Result<yuma::Input, Error> {
        self.node().ledger.yuma_input(netuid).ok_or(Error::NoSubnet(netuid))
    }

    /// A copy of the state after the newest block.
    pub fn ledger(&self) -> Ledger {
        self.node().ledger.clone()
    }

    // A thread that panicked while it held the lock left the state of the last finished step: no
    // step of the ledger can panic half-way, so going on is safe.
    fn node(&self) -> MutexGuard<'_, Node> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn submit(&mut self, call: SignedCall) -> Result<CallId, Error> {
        let id = call.id();
        self.ledger.check_signed(&call)?;
        if call.nonce < self.ledger.nonce(call.signer) || self.waiting.contains(&id) {
            return Err(CallError::BadNonce.into());
        }
        if self.pool.len() >= POOL_CALLS_MAX {
            return Err(Error::PoolFull);
        }
        self.waiting.insert(id);
        self.pool.push(call);
        Ok(id)
    }

    /// The signer's next nonce, past all of its calls that wait.
    fn next_nonce(&self, signer: AccountId) -> u32 {
        let waiting = self.pool.iter().filter(|call| call.signer == signer);
        let after = waiting.map(|call| call.nonce.saturating_add(1)).max();
        self.ledger.nonce(signer).max(after.unwrap_or(0))
    }

    fn produce_block(&mut self) -> Result<Head, Error> {
        let calls = std::mem::take(&mut self.pool);
        self.waiting.clear();
        let produced = self.ledger.produce_block(calls)?;
        let block = produced.head.block;
        let mut fates: Vec<(CallId, CallStatus)> = Vec::with_capacity(produced.applied.len());
        for call in produced.applied {
            let fate = match call.result {
                Ok(_) => CallStatus::Applied(block),
                Err(reason) => CallStatus::Refused(block, reason),
            };
            fates.push((call.id, fate));
        }
        let left_out = produced.left_out.into_iter();
        fates.extend(left_out.map(|(id, reason)| (id, CallStatus::Refused(block, reason))));
        let ids = fates.iter().map(|(id, _)| *id).collect();
        self.fates.extend(fates);
        self.epochs.extend(produced.epochs);
        self.remember(ids);
        Ok(produced.head)
    }

    /// Keeps what can be asked about the newest block, and drops the oldest.
    fn remember(&mut self, calls: Vec<CallId>) {
        let before = self.history.back().map(|past| &past.commitments);
        let commitments = |netuid: NetUid| {
            let now = self.ledger.commitments(netuid).unwrap_or_default();
            let same = before.and_then(|before| before.get(&netuid)).filter(|old| ***old == now);
            (netuid, same.map_or_else(|| Arc::new(now), Arc::clone))
        };
        let commitments = self.ledger.netuids().into_iter().map(commitments).collect();
        self.history.push_back(Past { block: self.ledger.head().block, calls, commitments });
        if self.history.len() > HISTORY_BLOCKS {
            let oldest = self.history.pop_front();
            for id in oldest.into_iter().flat_map(|past| past.calls) {
                self.fates.remove(&id);
            }
        }
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        let newest = self.ledger.head().block;
        let oldest = self.history.front().map_or(newest, |past| past.block);
        let past =
            at.0.checked_sub(oldest.0)
                .and_then(|i| self.history.get(usize::try_from(i).ok()?))
                .ok_or(Error::NoState { at, oldest: Some(oldest), newest })?;
        let commitments = past.commitments.get(&netuid).ok_or(Error::NoSubnet(netuid))?;
        Ok(commitments.to_vec())
    }
}

impl Chain for MemoryChain {
    fn head(&self) -> Result<Head, Error> {
        Ok(self.node().ledger.head())
    }

    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        Ok(self.node().ledger.block_hash(block))
    }

    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.node().ledger.metagraph(netuid).ok_or(Error::NoSubnet(netuid))
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.node().commitments(netuid, at)
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        Ok(self.node().ledger.balance(coldkey))
    }

    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        // One lock for nonce, signature and pool: two threads with one key get two nonces.
        let mut node = self.node();
        let nonce = node.next_nonce(signer.public());
        let signed = SignedCall::sign(call, nonce, node.ledger.genesis_hash(), signer);
        node.submit(signed)
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        let node = self.node();
        if node.waiting.contains(&id) {
            return Ok(CallStatus::Pending);
        }
        Ok(node.fates.get(&id).cloned().unwrap_or(CallStatus::Unknown))
    }
}

#[cfg(test)]
mod tests;
