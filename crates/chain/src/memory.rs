//! The whole chain in this process: for tests and simulations.

use crate::{
    Call, CallError, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair,
    Metagraph, Rewards, Signed, StoredCommitment, Voter,
    ledger::{EpochSummary, Event, Genesis, Ledger, OwnCall, Supply},
};
use protocol::{AccountId, Block, BlockHash, NetUid, Uid, yuma};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// For how many blocks commitments and fates of calls can be asked for.
pub const HISTORY_BLOCKS: usize = 1_024;

/// Most epochs that can be asked for.
const EPOCHS_KEPT: usize = 4_096;

/// Most calls that wait for a block.
pub const POOL_CALLS_MAX: usize = 8_192;

/// Bytes that the lists of a call may take, as on the network.
pub const CALL_BYTES_MAX: usize = 32 * 1024;

/// A chain that makes a block when it is told to.
///
/// Calls may come from many threads in any order: a block depends only on which calls are in it.
/// Nothing leaves the process, so nothing is signed: whoever has the key pair is its owner.
pub struct MemoryChain(Mutex<Node>);

struct Node {
    ledger: Ledger,
    pool: Vec<OwnCall>,
    /// Names of the calls that wait.
    waiting: BTreeSet<CallId>,
    /// Next nonces of signers whose calls wait.
    nonces: BTreeMap<AccountId, u32>,
    fates: BTreeMap<CallId, CallStatus>,
    /// What the last blocks left, oldest first; the last entry is the head's.
    history: VecDeque<Past>,
    epochs: VecDeque<EpochSummary>,
}

/// What is kept of a block.
struct Past {
    block: Block,
    calls: Vec<CallId>,
    commitments: Arc<Commitments>,
    rewards: BTreeMap<NetUid, Arc<Rewards>>,
    voters: BTreeMap<NetUid, Arc<Vec<Voter>>>,
}

/// The commitments of every subnet; those that stay from block to block are there once.
type Commitments = BTreeMap<NetUid, Arc<Vec<Arc<StoredCommitment>>>>;

/// Which commitments a block may have changed.
#[derive(Default)]
struct Touched {
    hotkeys: Vec<(NetUid, AccountId)>,
    /// Where slots changed hands.
    netuids: BTreeSet<NetUid>,
    /// Everywhere.
    all: bool,
}

impl MemoryChain {
    /// A chain at its genesis.
    pub fn new(genesis: &Genesis) -> Result<Self, Error> {
        let mut node = Node {
            ledger: Ledger::new(genesis)?,
            pool: Vec::new(),
            waiting: BTreeSet::new(),
            nonces: BTreeMap::new(),
            fates: BTreeMap::new(),
            history: VecDeque::new(),
            epochs: VecDeque::new(),
        };
        node.remember(Vec::new(), &Touched { all: true, ..Touched::default() });
        Ok(Self(Mutex::new(node)))
    }

    /// Makes a block of all calls that wait.
    pub fn produce_block(&self) -> Result<Head, Error> {
        self.node().produce_block()
    }

    /// The last epochs of the subnet, at most 4,096 of all subnets: who earned what, as miner and
    /// as validator.
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
    fn sign(&mut self, call: Call, signer: AccountId) -> Result<OwnCall, Error> {
        if lists_bytes(&call) > CALL_BYTES_MAX {
            return Err(CallError::ExhaustsResources.into());
        }
        if !self.ledger.knows(signer) {
            return Err(CallError::UnknownSigner.into());
        }
        Ok(OwnCall::new(signer, self.next_nonce(signer), call))
    }

    fn next_nonce(&self, signer: AccountId) -> u32 {
        self.nonces.get(&signer).copied().unwrap_or_else(|| self.ledger.nonce(signer))
    }

    fn is_known(&self, id: CallId) -> bool {
        // The same call that is signed anew for a later time has the same name here.
        let fate = self.fates.get(&id).filter(|fate| **fate != CallStatus::Expired);
        self.waiting.contains(&id) || fate.is_some()
    }

    /// Queues a call for the next block, if that may include it.
    fn queue(&mut self, call: OwnCall, last: Block) -> Result<(), Error> {
        if self.is_known(call.id) {
            return Ok(());
        }
        if last <= self.ledger.head().block {
            // A node says of a call whose era is over that its birth block is not known yet, and
            // later that its signature is bad: a client takes both for the latter.
            return Err(CallError::BadSignature.into());
        }
        if self.pool.len() >= POOL_CALLS_MAX {
            return Err(Error::PoolFull);
        }
        if call.nonce != self.next_nonce(call.signer) {
            return Err(CallError::BadNonce.into());
        }
        let next = call.nonce.checked_add(1).ok_or(CallError::BadNonce)?;
        self.nonces.insert(call.signer, next);
        self.waiting.insert(call.id);
        self.pool.push(call);
        Ok(())
    }

    /// Queues a call that may have been queued before; where another has its nonce, or its time is
    /// over, it never will be included.
    fn resume(&mut self, call: OwnCall, signed: &Signed) -> Result<(), Error> {
        let (id, from) = (call.id, signed.from);
        let is_over = signed.last <= self.ledger.head().block;
        let has_nonce = call.nonce >= self.next_nonce(call.signer);
        if self.is_known(id) || (has_nonce && !is_over) {
            return self.queue(call, signed.last);
        }
        // Of calls in blocks that are not remembered nothing is known.
        let is_told = self.history.front().is_some_and(|oldest| oldest.block <= from);
        let fate = if has_nonce {
            CallStatus::Expired
        } else if is_told {
            CallStatus::Displaced
        } else {
            CallStatus::Unreadable(from)
        };
        self.fates.insert(id, fate);
        if let Some(newest) = self.history.back_mut() {
            newest.calls.push(id);
        }
        Ok(())
    }

    fn produce_block(&mut self) -> Result<Head, Error> {
        let calls = std::mem::take(&mut self.pool);
        self.waiting.clear();
        self.nonces.clear();
        let produced = self.ledger.produce_block(calls)?;
        let block = produced.head.block;
        let mut touched = Touched::default();
        let mut ids = Vec::with_capacity(produced.applied.len());
        for (id, result) in produced.applied {
            let fate = match result {
                Ok(event) => {
                    touched.note(&event);
                    CallStatus::Applied(block)
                }
                Err(reason) => CallStatus::Refused(block, reason),
            };
            self.fates.insert(id, fate);
            ids.push(id);
        }
        for (id, reason) in produced.left_out {
            self.fates.insert(id, CallStatus::Refused(block, reason));
            ids.push(id);
        }
        self.epochs.extend(produced.epochs);
        let n_too_many = self.epochs.len().saturating_sub(EPOCHS_KEPT);
        self.epochs.drain(..n_too_many);
        self.remember(ids, &touched);
        Ok(produced.head)
    }

    /// Keeps what can be asked about the newest block, and drops the oldest.
    fn remember(&mut self, calls: Vec<CallId>, touched: &Touched) {
        let before = self.history.back();
        let rewards = |netuid: NetUid| {
            let now = self.ledger.rewards(netuid).unwrap_or_default();
            let same = before.and_then(|before| before.rewards.get(&netuid));
            let same = same.filter(|old| ***old == now);
            (netuid, same.map_or_else(|| Arc::new(now), Arc::clone))
        };
        let rewards = self.ledger.netuids().into_iter().map(rewards).collect();
        let voters = |netuid: NetUid| {
            let now = self.ledger.voters(netuid).unwrap_or_default();
            let same = before.and_then(|before| before.voters.get(&netuid));
            let same = same.filter(|old| ***old == now);
            (netuid, same.map_or_else(|| Arc::new(now), Arc::clone))
        };
        let voters = self.ledger.netuids().into_iter().map(voters).collect();
        let before = before.map(|past| Arc::clone(&past.commitments));
        let mut commitments = before.unwrap_or_default();
        for &(netuid, hotkey) in &touched.hotkeys {
            if let Some(now) = self.ledger.commitment(netuid, hotkey).map(Arc::new) {
                let subnets = Arc::make_mut(&mut commitments);
                let list = Arc::make_mut(subnets.entry(netuid).or_default());
                match list.binary_search_by_key(&now.uid, |commitment| commitment.uid) {
                    Ok(place) => list[place] = now,
                    Err(place) => list.insert(place, now),
                }
            }
        }
        let netuids = if touched.all { self.ledger.netuids() } else { touched.list() };
        for netuid in netuids {
            let now = self.ledger.commitments(netuid).unwrap_or_default();
            let now = now.into_iter().map(Arc::new).collect();
            Arc::make_mut(&mut commitments).insert(netuid, Arc::new(now));
        }
        self.history.push_back(Past {
            block: self.ledger.head().block,
            calls,
            commitments,
            rewards,
            voters,
        });
        if self.history.len() > HISTORY_BLOCKS {
            let oldest = self.history.pop_front();
            for id in oldest.into_iter().flat_map(|past| past.calls) {
                self.fates.remove(&id);
            }
        }
    }

    /// What is kept of the block `at`.
    fn past(&self, at: Block) -> Result<&Past, Error> {
        let newest = self.ledger.head().block;
        let oldest = self.history.front().map_or(newest, |past| past.block);
        at.0.checked_sub(oldest.0)
            .and_then(|i| self.history.get(usize::try_from(i).ok()?))
            .ok_or(Error::NoState { at, oldest: Some(oldest), newest })
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        let commitments = self.past(at)?.commitments.get(&netuid).ok_or(Error::NoSubnet(netuid))?;
        Ok(commitments.iter().map(|commitment| StoredCommitment::clone(commitment)).collect())
    }
}

impl Touched {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Committed { netuid, hotkey } => self.hotkeys.push((*netuid, *hotkey)),
            Event::NeuronRegistered { netuid, .. } | Event::NetworkAdded { netuid } => {
                self.netuids.insert(*netuid);
            }
            Event::HotkeySwapped { .. } => self.all = true,
            Event::Remarked { .. }
            | Event::Transferred { .. }
            | Event::StakeAdded { .. }
            | Event::StakeRemoved { .. }
            | Event::WeightsSet { .. }
            | Event::WeightsCommitted { .. }
            | Event::WeightsRevealed { .. }
            | Event::TimelockedCommitted { .. }
            | Event::TimelockedRevealed { .. }
            | Event::SubnetIdentitySet { .. }
            | Event::HyperparameterSet { .. } => {}
        }
    }

    fn list(&self) -> Vec<NetUid> {
        self.netuids.iter().copied().collect()
    }
}

/// The call in what [`Chain::sign`] gave.
fn opened(signed: &Signed) -> Result<OwnCall, Error> {
    let nonce = u32::try_from(signed.nonce).map_err(|_| CallError::BadNonce)?;
    let call = postcard::from_bytes(&signed.bytes).map_err(|_| CallError::BadSignature)?;
    let call = OwnCall::new(signed.signer, nonce, call);
    if call.id == signed.id { Ok(call) } else { Err(CallError::BadSignature.into()) }
}

/// Bytes of the lists in a call; all else is small.
fn lists_bytes(call: &Call) -> usize {
    let numbers = |n: usize| n.saturating_mul(2);
    match call {
        Call::Remark { data } | Call::SetCommitment { data, .. } => data.len(),
        Call::CommitTimelockedWeights { sealed, .. }
        | Call::CommitTimelockedMechanismWeights { sealed, .. } => sealed.len(),
        Call::SetWeights { uids, weights, .. }
        | Call::SetMechanismWeights { uids, weights, .. } => numbers(uids.len() + weights.len()),
        Call::SetSubnetIdentity { identity, .. } => identity.n_bytes(),
        Call::RevealWeights { uids, weights, salt, .. } => {
            numbers(uids.len() + weights.len() + salt.len())
        }
        Call::BurnedRegister { .. }
        | Call::RegisterLimit { .. }
        | Call::AddStake { .. }
        | Call::RemoveStake { .. }
        | Call::Transfer { .. }
        | Call::TransferAll { .. }
        | Call::UnstakeAll { .. }
        | Call::SwapHotkey { .. }
        | Call::RegisterNetwork { .. }
        | Call::CommitWeights { .. }
        | Call::StartSubnet { .. }
        | Call::SetHyperparameter { .. } => 0,
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

    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        let node = self.node();
        let rewards = node.past(at)?.rewards.get(&netuid);
        rewards.map(|rewards| (**rewards).clone()).ok_or(Error::NoSubnet(netuid))
    }

    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        let node = self.node();
        let voters = node.past(at)?.voters.get(&netuid);
        voters.map(|voters| (**voters).clone()).ok_or(Error::NoSubnet(netuid))
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        Ok(self.node().ledger.balance(coldkey))
    }

    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.node().ledger.weights(netuid, uid).ok_or(Error::NoSubnet(netuid))
    }

    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.node().ledger.hiding(netuid).ok_or(Error::NoSubnet(netuid))
    }

    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.node().ledger.demands(netuid).ok_or(Error::NoSubnet(netuid))
    }

    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        let mut node = self.node();
        let from = node.ledger.head().block;
        let last = last.unwrap_or(Block(u64::MAX));
        if last <= from {
            return Err(Error::TooLate { last, head: from });
        }
        let OwnCall { id, signer, nonce, call } = node.sign(call, signer.public())?;
        // Numbers, lists and variants always serialize.
        let bytes = postcard::to_allocvec(&call).unwrap_or_default();
        Ok(Signed { id, signer, nonce: nonce.into(), from, last, bytes })
    }

    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.node().queue(opened(signed)?, signed.last)
    }

    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.node().resume(opened(signed)?, signed)
    }

    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        // One lock for nonce and pool: two threads with one key get two nonces.
        let mut node = self.node();
        let call = node.sign(call, signer.public())?;
        let id = call.id;
        node.queue(call, Block(u64::MAX)).map(|()| id)
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
