//! States of blocks older than those that are held, made again from the blocks.
//!
//! A state follows from the blocks before it. From one snapshot to the next lies a stretch of
//! blocks, and whoever asks for the state after one of them has all of the stretch made again, with
//! every header compared. One stretch is made at a time, whoever asks.

use super::{
    author::{self, Request, Shared, entries, state_after},
    history::{History, STATE_BLOCKS},
    limits,
    store::{self, SNAPSHOT_BLOCKS, StoredBlock},
};
use crate::{SealedLedger, wire::metadata::Encoded};
use chain::Genesis;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc::Sender},
};
use tokio::sync::oneshot;

/// Stretches whose states are kept in memory: as many states as of the newest blocks.
const STRETCHES_KEPT: usize = STATE_BLOCKS / SNAPSHOT_BLOCKS as usize;

/// States of old blocks.
pub(super) struct Archive {
    shared: Arc<RwLock<Shared>>,
    requests: Sender<Request>,
    genesis: Genesis,
    /// What clients are told, where the time between blocks is not the usual one.
    metadata: Option<Encoded>,
    /// The stretches that were asked for last, the newest of them last, by the block they start
    /// from.
    kept: Mutex<VecDeque<(u32, Arc<History>)>>,
    /// Whoever has it makes a stretch.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Who waits for a stretch, by the block it starts from.
    waiting: Mutex<BTreeMap<u32, usize>>,
}

/// Why a state is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotMade {
    /// Many others wait already.
    Busy,
    /// The blocks do not lead to it, or the node is stopping.
    Failed,
}

impl Archive {
    /// No state was made yet; blocks and snapshots are asked of the author.
    pub(super) fn new(
        shared: Arc<RwLock<Shared>>,
        requests: Sender<Request>,
        genesis: Genesis,
    ) -> Self {
        let metadata = author::read(&shared).history.own_metadata().cloned();
        let (kept, turn, waiting) = (Mutex::default(), Arc::default(), Mutex::default());
        Self { shared, requests, genesis, metadata, kept, turn, waiting }
    }

    /// States among which that after `number` is, a block older than those that the node holds.
    pub(super) async fn states(self: &Arc<Self>, number: u32) -> Result<Arc<History>, NotMade> {
        let base = base_of(number);
        if let Some(states) = self.kept(base) {
            return Ok(states);
        }
        let _place = Place::take(&self.waiting, base).ok_or(NotMade::Busy)?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Whoever had the turn before may have wanted the same.
        if let Some(states) = self.kept(base) {
            return Ok(states);
        }
        let archive = Arc::clone(self);
        let making = tokio::task::spawn_blocking(move || {
            // Held to the end, even if whoever asked has gone.
            let _turn = turn;
            archive.make(base)
        });
        making.await.ok().flatten().ok_or(NotMade::Failed)
    }

    fn stretches(&self) -> MutexGuard<'_, VecDeque<(u32, Arc<History>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, base: u32) -> Option<Arc<History>> {
        let mut stretches = self.stretches();
        let found = stretches.iter().position(|(of, _)| *of == base)?;
        let found = stretches.remove(found)?;
        let states = Arc::clone(&found.1);
        stretches.push_back(found);
        Some(states)
    }

    /// Makes the blocks after `base` again, up to the next snapshot.
    fn make(&self, base: u32) -> Option<Arc<History>> {
        let stored = self.block(base)?;
        let mut ledger = self.ledger(&stored)?;
        let mut states = History::new(self.metadata.clone());
        // Without its events: but for the first block, the stretch before has this state.
        let changes = states.difference(entries(&ledger, &[], stored.time_ms));
        states.push(base, changes);
        for number in base + 1..=base + SNAPSHOT_BLOCKS as u32 {
            let stored = self.block(number)?;
            let produced = store::remade(&mut ledger, &stored)?;
            let changes = states.difference(state_after(&ledger, &produced, stored.time_ms));
            states.push(number, changes);
        }
        let states = Arc::new(states);
        let mut stretches = self.stretches();
        stretches.push_back((base, Arc::clone(&states)));
        if stretches.len() > STRETCHES_KEPT {
            stretches.pop_front();
        }
        Some(states)
    }

    /// The state after a block of which there is a snapshot, or after the first.
    fn ledger(&self, block: &StoredBlock) -> Option<SealedLedger> {
        let number = block.header.number;
        if number == 0 {
            return SealedLedger::new(&self.genesis).ok();
        }
        let state = self.ask(|reply| Request::Snapshot(number.into(), reply))?;
        let hashes = author::read(&self.shared).hashes.get(..=number as usize)?.to_vec();
        store::restored(&block.header, &state, hashes)
    }

    fn block(&self, number: u32) -> Option<StoredBlock> {
        self.ask(|reply| Request::Block(number.into(), reply))
    }

    /// Asks the author, between two blocks, and waits for the answer.
    fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Option<T>>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).ok()?;
        answer.blocking_recv().ok()?
    }
}

/// A place among those who wait for a stretch; any number may wait for the same.
struct Place<'a> {
    waiting: &'a Mutex<BTreeMap<u32, usize>>,
    base: u32,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<BTreeMap<u32, usize>>, base: u32) -> Option<Self> {
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= limits::ARCHIVE_WAITING_MAX && !all.contains_key(&base) {
            return None;
        }
        *all.entry(base).or_default() += 1;
        Some(Self { waiting, base })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_waiting) = all.get_mut(&self.base) {
            *n_waiting -= 1;
            if *n_waiting == 0 {
                all.remove(&self.base);
            }
        }
    }
}

/// The block from which the state after `number` is made again: that of the snapshot before it.
fn base_of(number: u32) -> u32 {
    let stretch = SNAPSHOT_BLOCKS as u32;
    number.saturating_sub(1) / stretch * stretch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::{author::Author, store::Store};
    use std::sync::mpsc::channel;

    #[test]
    fn a_state_is_made_from_the_snapshot_before_its_block() {
        let bases = [0, 1, 255, 256, 257, 512, 513].map(base_of);
        assert_eq!(bases, [0, 0, 0, 0, 256, 256, 512]);
    }

    #[test]
    fn attack_old_states_that_strangers_ask_for_take_a_bounded_room_and_one_thread() {
        let genesis = Genesis::default();
        let mut store = Store::open(None, &genesis).unwrap();
        store.begin(&SealedLedger::new(&genesis).unwrap().genesis_header()).unwrap();
        let author = Author::open(store, &genesis, None).unwrap();
        let shared = author.shared();
        let (requests, inbox) = channel();
        let working = std::thread::spawn(move || author.run(&inbox));
        let n_stretches = STRETCHES_KEPT as u32 + 2;
        let stretch = SNAPSHOT_BLOCKS as u32;
        for _ in 0..n_stretches * stretch {
            let (reply, answer) = oneshot::channel();
            requests.send(Request::Produce(reply)).unwrap();
            answer.blocking_recv().unwrap();
        }
        let archive = Arc::new(Archive::new(shared, requests.clone(), genesis));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for number in (1..=n_stretches * stretch).step_by(stretch as usize) {
                let states = archive.states(number).await.unwrap_or_else(|why| panic!("{why:?}"));
                assert!(states.at(number).is_some(), "block {number}");
                assert!(archive.stretches().len() <= STRETCHES_KEPT);
            }
            let newest = n_stretches * stretch;
            let again = archive.states(newest).await.unwrap_or_else(|why| panic!("{why:?}"));
            assert!(Arc::ptr_eq(&again, &archive.kept(newest - stretch).unwrap()), "it was kept");
            // One is being made: any number waits for the same, and too many others are sent away.
            let n_waiting = 3 * limits::ARCHIVE_WAITING_MAX;
            let turn = archive.turn.lock().await;
            let waiting: Vec<_> = (0..n_waiting)
                .map(|_| {
                    let archive = Arc::clone(&archive);
                    tokio::spawn(async move { archive.states(1).await.is_ok() })
                })
                .collect();
            while archive.waiting.lock().unwrap().get(&0) != Some(&n_waiting) {
                tokio::task::yield_now().await;
            }
            let take = |base: usize| Place::take(&archive.waiting, 1_000 + base as u32);
            let others: Vec<_> = (1..limits::ARCHIVE_WAITING_MAX).map(take).collect();
            assert!(others.iter().all(Option::is_some));
            assert_eq!(archive.states(257).await.err(), Some(NotMade::Busy));
            drop((turn, others));
            for one in waiting {
                assert!(one.await.unwrap());
            }
            assert!(archive.waiting.lock().unwrap().is_empty());
        });
        requests.send(Request::Stop).unwrap();
        working.join().unwrap().unwrap();
        // A node that stops makes nothing any more.
        let gone = runtime.block_on(archive.states(300));
        assert_eq!(gone.err(), Some(NotMade::Failed));
    }
}
