//! The one thread that changes the chain: takes calls in, makes blocks, writes both down.
//!
//! What it says has happened is on disk. Calls that arrive together are written together.

use super::{
    Watch,
    error::NodeError,
    history::{History, STATE_BLOCKS},
    pool::{Pool, Turned},
    store::{SNAPSHOT_BLOCKS, Store, StoredBlock},
};
use crate::{
    SealedLedger, SignedCall,
    block::Produced,
    wire::{
        event,
        metadata::Encoded,
        storage::{Entries, items, project},
    },
};
use chain::{CallId, EpochSummary, Genesis, Head};
use parity_scale_codec::Encode as _;
use protocol::{AccountId, BlockHash};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{broadcast, oneshot};

/// Most calls that are written to disk together.
const CALLS_TOGETHER_MAX: usize = 512;

/// Newest blocks kept in memory, and most bytes of their calls.
const BLOCKS_KEPT: usize = STATE_BLOCKS;
const BLOCKS_KEPT_BYTES: usize = 64 << 20;

/// Newest epochs that are remembered.
const EPOCHS_KEPT: usize = 1_024;

/// What the thread is asked to do.
pub(super) enum Request {
    /// Take a call in; the answer comes when it is on disk.
    Submit(Box<SignedCall>, oneshot::Sender<Result<CallId, Turned>>),
    /// Make a block now.
    Produce(oneshot::Sender<Head>),
    /// Give a block that is no longer in memory.
    Block(u64, oneshot::Sender<Option<StoredBlock>>),
    /// Give the bytes of the state after a block, if there is a snapshot of it.
    Snapshot(u64, oneshot::Sender<Option<Vec<u8>>>),
    /// Give the bytes of the calls that wait.
    Pending(oneshot::Sender<Vec<Vec<u8>>>),
    /// Finish.
    Stop,
}

/// What everybody may read.
pub(super) struct Shared {
    pub(super) head: Head,
    pub(super) history: History,
    /// Hash of every block.
    pub(super) hashes: Vec<BlockHash>,
    /// Number of every block.
    pub(super) numbers: HashMap<BlockHash, u32>,
    /// The newest blocks, oldest first.
    pub(super) blocks: VecDeque<Arc<StoredBlock>>,
    /// Bytes of the calls in them.
    pub(super) n_block_bytes: usize,
    /// Next nonces of signers whose calls wait.
    pub(super) nonces: HashMap<AccountId, u32>,
    /// The last epochs since the node was started, oldest first.
    pub(super) epochs: VecDeque<EpochSummary>,
}

impl Shared {
    /// Goes on to a block that was made.
    fn advance(&mut self, produced: &Produced) {
        self.head = produced.head;
        self.hashes.push(produced.head.hash);
        self.numbers.insert(produced.head.hash, produced.head.block.0 as u32);
        self.epochs.extend(produced.epochs.iter().cloned());
        let n_too_many = self.epochs.len().saturating_sub(EPOCHS_KEPT);
        self.epochs.drain(..n_too_many);
    }

    /// Adds the newest block, and drops the oldest beyond what is kept in memory.
    fn keep(&mut self, block: StoredBlock) {
        self.n_block_bytes += block.n_bytes();
        self.blocks.push_back(Arc::new(block));
        while self.blocks.len() > BLOCKS_KEPT
            || (self.n_block_bytes > BLOCKS_KEPT_BYTES && self.blocks.len() > 1)
        {
            self.n_block_bytes -= self.blocks.pop_front().map_or(0, |block| block.n_bytes());
        }
    }

    /// Nonce of the account's next call, past those that wait.
    pub(super) fn next_nonce(&self, account: AccountId) -> u32 {
        if let Some(nonce) = self.nonces.get(&account) {
            return *nonce;
        }
        let state = self.history.at(self.head.block.0 as u32);
        let info = state.map(|state| items::ACCOUNT.read(&state, &(account.into(),)));
        info.unwrap_or_default().nonce
    }
}

/// News for whoever watches.
#[derive(Debug)]
pub(super) struct Notice {
    /// The new block.
    pub(super) head: Head,
    /// Its header as JSON.
    pub(super) header: Arc<serde_json::value::RawValue>,
    /// Names of the calls in it.
    pub(super) calls: Vec<CallId>,
    /// Names of calls that left the pool otherwise.
    pub(super) dropped: Vec<CallId>,
}

/// The thread's own things.
pub(super) struct Author {
    ledger: SealedLedger,
    pool: Pool,
    store: Store,
    shared: Arc<RwLock<Shared>>,
    notices: broadcast::Sender<Arc<Notice>>,
    /// Time between blocks; without one they are made when asked for.
    block_time: Option<Duration>,
}

pub(super) fn read(shared: &RwLock<Shared>) -> RwLockReadGuard<'_, Shared> {
    shared.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shared: &RwLock<Shared>) -> RwLockWriteGuard<'_, Shared> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}

impl Author {
    /// Opens the chain: makes the last blocks again, and takes the pool back in.
    pub(super) fn open(
        store: Store,
        genesis: &Genesis,
        block_time: Option<Duration>,
        watch: Watch<'_>,
    ) -> Result<Self, NodeError> {
        let ledger = store.base(genesis)?;
        let head = ledger.head();
        let hashes = ledger.hashes().to_vec();
        let numbers = (0..).zip(&hashes).map(|(number, hash)| (*hash, number)).collect();
        let shared = Shared {
            head,
            history: History::new(block_time.map(metadata_for)),
            hashes,
            numbers,
            blocks: VecDeque::new(),
            n_block_bytes: 0,
            nonces: HashMap::new(),
            epochs: VecDeque::new(),
        };
        let shared = Arc::new(RwLock::new(shared));
        let (notices, _) = broadcast::channel(64);
        let pool = Pool::default();
        let mut author = Self { ledger, pool, store, shared, notices, block_time };
        author.catch_up(watch)?;
        Ok(author)
    }

    pub(super) fn shared(&self) -> Arc<RwLock<Shared>> {
        Arc::clone(&self.shared)
    }

    pub(super) fn notices(&self) -> broadcast::Sender<Arc<Notice>> {
        self.notices.clone()
    }

    fn catch_up(&mut self, watch: Watch<'_>) -> Result<(), NodeError> {
        let (first, newest) = (self.ledger.head().block.0, self.store.newest()?);
        // States before it are not held: of those blocks only the ledger is needed.
        let oldest = (newest + 1).saturating_sub(STATE_BLOCKS as u64);
        for number in first..=newest {
            if !watch(number - first, newest - first) {
                return Err(NodeError::Interrupted);
            }
            let block = self.store.block(number)?.ok_or_else(|| self.store.damaged(number))?;
            if number == first {
                if number >= oldest {
                    let entries = entries(&self.ledger, &[], block.time_ms);
                    let mut shared = write(&self.shared);
                    let changes = shared.history.difference(entries);
                    shared.history.push(number as u32, changes);
                    shared.keep(block);
                }
                continue;
            }
            let produced = self.store.replay(&mut self.ledger, &block)?;
            if number >= oldest {
                self.add(&produced, block);
            } else {
                write(&self.shared).advance(&produced);
            }
        }
        // After the blocks: the state after the newest tells which calls may still wait.
        let mut gone = Vec::new();
        for bytes in self.store.pool()? {
            let call = SignedCall::from_bytes(&bytes);
            // What the last blocks made impossible stays out.
            if call.is_ok_and(|call| self.pool.admit(call, &self.ledger).is_ok()) {
                continue;
            }
            gone.push(CallId(chain::hash::blake2_256(&bytes)));
        }
        self.store.drop_from_pool(&gone)?;
        self.publish_pool();
        Ok(())
    }

    /// Works until it is told to stop, or something breaks.
    pub(super) fn run(mut self, requests: &Receiver<Request>) -> Result<(), NodeError> {
        let mut next = self.block_time.map(|time| Instant::now() + time);
        loop {
            let request = match next {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => requests.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match request {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Request::Submit(call, reply)) => {
                    if !self.take_in((call, reply), requests)? {
                        return Ok(());
                    }
                }
                Ok(request) => self.answer(request)?,
            }
            if let (Some(at), Some(time)) = (next, self.block_time)
                && at <= Instant::now()
            {
                self.produce()?;
                // Blocks that could not be made on time are left out, not made up for.
                next = Some((at + time).max(Instant::now()));
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<(), NodeError> {
        match request {
            Request::Produce(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.produce()?);
            }
            Request::Block(number, reply) => {
                // What cannot be read is not there: no request ends the node.
                let _ = reply.send(self.store.block(number).ok().flatten());
            }
            Request::Snapshot(number, reply) => {
                let _ = reply.send(self.store.snapshot(number).ok().flatten());
            }
            Request::Pending(reply) => {
                let _ = reply.send(self.pool.pending());
            }
            Request::Submit(..) | Request::Stop => {}
        }
        Ok(())
    }

    /// Takes in a call and all that arrived meanwhile; false if it is told to stop.
    fn take_in(
        &mut self,
        first: (Box<SignedCall>, oneshot::Sender<Result<CallId, Turned>>),
        requests: &Receiver<Request>,
    ) -> Result<bool, NodeError> {
        let (mut answers, mut fresh, mut later) = (Vec::new(), Vec::new(), None);
        let mut next = Some(first);
        while let Some((call, reply)) = next.take() {
            let bytes = call.to_bytes();
            let answer = self.pool.admit(*call, &self.ledger);
            if let Ok(id) = answer {
                fresh.push((id, bytes));
            }
            answers.push((reply, answer));
            if answers.len() < CALLS_TOGETHER_MAX {
                match requests.try_recv() {
                    Ok(Request::Submit(call, reply)) => next = Some((call, reply)),
                    Ok(other) => later = Some(other),
                    Err(_) => {}
                }
            }
        }
        // On disk before anybody is told: an acknowledged call outlives us.
        self.store.commit_pool(&fresh)?;
        self.publish_pool();
        for (reply, answer) in answers {
            let _ = reply.send(answer);
        }
        match later {
            Some(Request::Stop) => Ok(false),
            Some(other) => self.answer(other).map(|()| true),
            None => Ok(true),
        }
    }

    fn produce(&mut self) -> Result<Head, NodeError> {
        let calls = self.pool.ready(&self.ledger);
        let produced = self.ledger.produce_block(calls).map_err(NodeError::Block)?;
        let block = produced.head.block.0;
        let time_ms = match self.block_time {
            Some(_) => {
                let parent = read(&self.shared).blocks.back().map_or(0, |block| block.time_ms);
                time_after(parent, now_ms())
            }
            None => 0,
        };
        let left_out: Vec<CallId> = produced.left_out.iter().map(|(id, _)| *id).collect();
        let gone = self.pool.settle(&self.ledger, &left_out);
        let snapshot = block.is_multiple_of(SNAPSHOT_BLOCKS).then(|| self.ledger.state_bytes());
        // On disk before it is shown: nobody may build on a block that a crash could take back.
        self.store.commit_block(&produced, time_ms, &gone, snapshot.as_deref())?;
        let extrinsics = produced.applied.iter().map(|call| call.bytes.clone()).collect();
        let stored = StoredBlock { header: produced.header.clone(), time_ms, extrinsics };
        self.publish(&produced, stored, gone);
        self.publish_pool();
        Ok(produced.head)
    }

    /// Shows a block to everybody.
    fn publish(&self, produced: &Produced, block: StoredBlock, gone: Vec<CallId>) {
        let head = produced.head;
        let header = super::header::header_json(&block.header);
        let calls: Vec<CallId> = produced.applied.iter().map(|call| call.id).collect();
        let included: HashSet<&CallId> = calls.iter().collect();
        let dropped = gone.into_iter().filter(|id| !included.contains(id)).collect();
        self.add(produced, block);
        // Nobody may be listening.
        let _ = self.notices.send(Arc::new(Notice { head, header, calls, dropped }));
    }

    /// Adds a block and the state after it to what may be read.
    fn add(&self, produced: &Produced, block: StoredBlock) {
        let entries = state_after(&self.ledger, produced, block.time_ms);
        // What costs as much as the state is large is done while others may read.
        let changes = read(&self.shared).history.difference(entries);
        let mut shared = write(&self.shared);
        shared.history.push(produced.head.block.0 as u32, changes);
        shared.keep(block);
        shared.advance(produced);
    }

    fn publish_pool(&self) {
        let nonces = self.pool.nonces(&self.ledger);
        write(&self.shared).nonces = nonces;
    }
}

/// The state after a block that was made, with its events and its time.
pub(super) fn state_after(ledger: &SealedLedger, produced: &Produced, time_ms: u64) -> Entries {
    let results = produced.applied.iter().map(|call| &call.result);
    let events = event::records(&produced.revealed, results).encode();
    entries(ledger, &events, time_ms)
}

/// The state with the events and the time of its block.
pub(super) fn entries(ledger: &SealedLedger, events: &[u8], time_ms: u64) -> Entries {
    let mut entries = project(ledger);
    if !events.is_empty() {
        entries.insert(items::EVENTS.key(&()), events.to_vec().into());
    }
    entries.insert(items::NOW.key(&()), time_ms.encode().into());
    entries
}

/// Metadata with the time between blocks.
fn metadata_for(block_time: Duration) -> Encoded {
    Encoded::new(u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX))
}

/// When a block was made: the machine's clock may go back, the chain's does not.
fn time_after(parent_ms: u64, now_ms: u64) -> u64 {
    now_ms.max(parent_ms.saturating_add(1))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_blocks_goes_on_when_the_clock_goes_back() {
        assert_eq!(time_after(1_000, 13_000), 13_000);
        assert_eq!(time_after(13_000, 9_000), 13_001);
        assert_eq!(time_after(u64::MAX, 0), u64::MAX);
    }
}
