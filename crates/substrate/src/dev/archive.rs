//! States of blocks older than those that are held, made again from the blocks.
//!
//! A state follows from the blocks before it. From one snapshot to the next lies a stretch of
//! blocks, and whoever asks for the state after one of them has all of the stretch made again, with
//! every header compared. One stretch is made at a time, whoever asks, and once for all who wait
//! for it. Stretches come in the order in which they were asked for, and requests of one address
//! wait for no more than half of those that may be waited for.

use super::{
    author::{self, Request, Shared, entries, state_after},
    callers::Caller,
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
use tokio::sync::{OnceCell, oneshot};

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
    waiting: Mutex<Waiting>,
}

/// Stretches that are waited for, by the block they start from.
type Waiting = BTreeMap<u32, Wanted>;

/// Whom a request is counted with; nobody where this process asks itself.
type Asker = Option<Caller>;

/// A stretch that is waited for.
#[derive(Default)]
struct Wanted {
    /// How many requests of each address wait for it.
    askers: BTreeMap<Asker, usize>,
    /// Its states, once whoever has the turn has made them; nothing if they cannot be made.
    made: Arc<OnceCell<Option<Arc<History>>>>,
}

/// Why a state is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotMade {
    /// Many others wait already, or the same address for much else.
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
    pub(super) async fn states(
        self: &Arc<Self>,
        number: u32,
        asker: Asker,
    ) -> Result<Arc<History>, NotMade> {
        let base = base_of(number);
        if let Some(states) = self.kept(base) {
            return Ok(states);
        }
        let place = Place::take(&self.waiting, (base, asker)).ok_or(NotMade::Busy)?;
        // One of those who wait makes it for all: a request more is no turn more.
        let states = place.made.get_or_init(|| self.in_turn(base)).await;
        states.clone().ok_or(NotMade::Failed)
    }

    /// Makes a stretch when those that were wanted before are made.
    async fn in_turn(self: &Arc<Self>, base: u32) -> Option<Arc<History>> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Whoever had the turn before may have wanted the same, and gone before it was there.
        if let Some(states) = self.kept(base) {
            return Some(states);
        }
        let archive = Arc::clone(self);
        let making = tokio::task::spawn_blocking(move || {
            // Held to the end, even if whoever asked has gone.
            let _turn = turn;
            archive.make(base)
        });
        making.await.ok().flatten()
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
    waiting: &'a Mutex<Waiting>,
    base: u32,
    asker: Asker,
    made: Arc<OnceCell<Option<Arc<History>>>>,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<Waiting>, (base, asker): (u32, Asker)) -> Option<Self> {
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = all.len() >= limits::ARCHIVE_WAITING_MAX && !all.contains_key(&base);
        // Whoever waits for a stretch that others wait for, too, keeps it when they go: it counts.
        let is_own = |wanted: &Wanted| wanted.askers.contains_key(&asker);
        let n_own = all.values().filter(|wanted| is_own(wanted)).count();
        let has_many = n_own >= limits::ARCHIVE_WAITING_PER_ADDRESS_MAX;
        if is_full || (has_many && !all.get(&base).is_some_and(is_own)) {
            return None;
        }
        let wanted = all.entry(base).or_default();
        *wanted.askers.entry(asker).or_default() += 1;
        let made = Arc::clone(&wanted.made);
        Some(Self { waiting, base, asker, made })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = all.get_mut(&self.base) else { return };
        if let Some(n_waiting) = wanted.askers.get_mut(&self.asker) {
            *n_waiting -= 1;
            if *n_waiting == 0 {
                wanted.askers.remove(&self.asker);
            }
        }
        if wanted.askers.is_empty() {
            all.remove(&self.base);
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
    use crate::dev::{
        author::{Author, Notice},
        error::NodeError,
        rpc::{self, Context},
        store::Store,
    };
    use serde_json::{Value, json};
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
        sync::mpsc::channel,
        thread::JoinHandle,
    };
    use tokio::sync::broadcast;

    /// A chain of some empty blocks, and the thread that has it.
    struct Chain {
        shared: Arc<RwLock<Shared>>,
        requests: Sender<Request>,
        notices: broadcast::Sender<Arc<Notice>>,
        author: JoinHandle<Result<(), NodeError>>,
    }

    impl Chain {
        fn of(n_blocks: u32) -> Self {
            let genesis = Genesis::default();
            let mut store = Store::open(None, &genesis).unwrap();
            store.begin(&SealedLedger::new(&genesis).unwrap().genesis_header()).unwrap();
            let author = Author::open(store, &genesis, None, &|_, _| true).unwrap();
            let (shared, notices) = (author.shared(), author.notices());
            let (requests, inbox) = channel();
            let author = std::thread::spawn(move || author.run(&inbox));
            for _ in 0..n_blocks {
                let (reply, answer) = oneshot::channel();
                requests.send(Request::Produce(reply)).unwrap();
                answer.blocking_recv().unwrap();
            }
            Self { shared, requests, notices, author }
        }

        fn archive(&self) -> Arc<Archive> {
            let (shared, requests) = (Arc::clone(&self.shared), self.requests.clone());
            Arc::new(Archive::new(shared, requests, Genesis::default()))
        }

        fn stop(self) {
            self.requests.send(Request::Stop).unwrap();
            self.author.join().unwrap().unwrap();
        }
    }

    fn at(last: u8) -> Asker {
        Some(Caller::of([127, 0, 0, last].into()))
    }

    #[test]
    fn a_state_is_made_from_the_snapshot_before_its_block() {
        let bases = [0, 1, 255, 256, 257, 512, 513].map(base_of);
        assert_eq!(bases, [0, 0, 0, 0, 256, 256, 512]);
    }

    #[test]
    fn attack_old_states_that_strangers_ask_for_take_a_bounded_room_and_one_thread() {
        let n_stretches = STRETCHES_KEPT as u32 + 2;
        let stretch = SNAPSHOT_BLOCKS as u32;
        let chain = Chain::of(n_stretches * stretch);
        let archive = chain.archive();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for number in (1..=n_stretches * stretch).step_by(stretch as usize) {
                let states =
                    archive.states(number, None).await.unwrap_or_else(|why| panic!("{why:?}"));
                assert!(states.at(number).is_some(), "block {number}");
                assert!(archive.stretches().len() <= STRETCHES_KEPT);
            }
            let newest = n_stretches * stretch;
            let again = archive.states(newest, None).await.unwrap_or_else(|why| panic!("{why:?}"));
            assert!(Arc::ptr_eq(&again, &archive.kept(newest - stretch).unwrap()), "it was kept");
            // One is being made: any number waits for the same, and too many others are sent away.
            let n_waiting = 3 * limits::ARCHIVE_WAITING_MAX;
            let turn = archive.turn.lock().await;
            let waiting: Vec<_> = (0..n_waiting)
                .map(|_| {
                    let archive = Arc::clone(&archive);
                    tokio::spawn(async move { archive.states(1, at(1)).await.ok() })
                })
                .collect();
            let n_there = || {
                let all = archive.waiting.lock().unwrap();
                all.get(&0).map_or(0, |wanted| wanted.askers.values().sum::<usize>())
            };
            while n_there() != n_waiting {
                tokio::task::yield_now().await;
            }
            let take = |i: usize| Place::take(&archive.waiting, (1_000 + i as u32, at(i as u8)));
            let others: Vec<_> = (1..limits::ARCHIVE_WAITING_MAX).map(take).collect();
            assert!(others.iter().all(Option::is_some));
            assert_eq!(archive.states(257, at(99)).await.err(), Some(NotMade::Busy));
            drop((turn, others));
            let mut all = Vec::new();
            for one in waiting {
                all.push(one.await.unwrap().unwrap());
            }
            assert!(all.iter().all(|states| Arc::ptr_eq(states, &all[0])), "it is made once");
            assert!(archive.waiting.lock().unwrap().is_empty());
        });
        chain.stop();
        // A node that stops makes nothing any more.
        let gone = runtime.block_on(archive.states(300, None));
        assert_eq!(gone.err(), Some(NotMade::Failed));
    }

    #[test]
    fn attack_one_address_holds_no_more_than_half_of_the_places_for_old_states() {
        let waiting = Mutex::default();
        let take = |base: u32, asker: Asker| Place::take(&waiting, (base, asker));
        let half = limits::ARCHIVE_WAITING_PER_ADDRESS_MAX as u32;
        let mut greedy: Vec<_> = (0..half).map(|base| take(base, at(1)).unwrap()).collect();
        assert!(take(half, at(1)).is_none(), "a stretch too many");
        // A request more for the same costs nobody anything, and is no other place.
        greedy.push(take(0, at(1)).unwrap());
        let others: Vec<_> = (half..2 * half).map(|base| take(base, at(2)).unwrap()).collect();
        assert!(take(half, at(1)).is_none(), "nor one that others wait for, who may go");
        assert!(take(2 * half, at(3)).is_none(), "all places are taken");
        let joined = take(0, at(3)).unwrap();
        drop(greedy);
        let stays = waiting.lock().unwrap().keys().copied().min();
        assert_eq!(stays, Some(0), "whoever waits has its place, whoever came first");
        assert!(take(2 * half, at(3)).is_some(), "places are given back");
        drop((joined, others));
        assert!(waiting.lock().unwrap().is_empty());
    }

    /// One request over a connection of its own.
    fn ask(address: SocketAddr, request: &Value) -> Value {
        let body = request.to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    #[test]
    fn a_request_for_an_old_state_is_counted_with_the_address_that_it_comes_from() {
        let chain = Chain::of(STATE_BLOCKS as u32 + 1);
        let archive = chain.archive();
        let (shared, requests) = (Arc::clone(&chain.shared), chain.requests.clone());
        let context = Context::new(shared, requests, chain.notices.clone(), Genesis::default());
        let context = context.with_archive(Some(Arc::clone(&archive)));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = runtime.block_on(rpc::serve(listener, context)).unwrap();
        let first = author::read(&chain.shared).hashes[0].to_string();
        let method = "state_getStorageSize";
        let request =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": ["0x00", first] });
        let batch = json!([request]);
        let is_busy = |answer: &Value| answer["error"]["code"] == -32_005;
        let take = |i: usize| Place::take(&archive.waiting, (1_000 + i as u32, at(1))).unwrap();
        let places: Vec<_> = (0..limits::ARCHIVE_WAITING_PER_ADDRESS_MAX).map(take).collect();
        assert!(is_busy(&ask(server.address, &request)));
        assert!(is_busy(&ask(server.address, &batch)[0]), "in a batch, too");
        drop(places);
        let answer = ask(server.address, &request);
        assert!(answer["error"].is_null(), "{answer}");
        drop((server, runtime));
        chain.stop();
    }
}
