//! The embedded node: a chain of one author that speaks Substrate's JSON-RPC.
//!
//! Stock clients of Bittensor work against it: the wire is [`wire`](crate::wire), the rules are the
//! [`SealedLedger`]'s, the state is in one SQLite file. A block is final when it is made,
//! and it is made when it is on disk.

mod archive;
mod author;
mod callers;
mod error;
mod header;
mod history;
pub mod limits;
mod pool;
mod rpc;
mod store;

pub use error::NodeError;
pub use history::STATE_BLOCKS;
pub use pool::{
    BLOCK_BYTES_MAX, BLOCK_CALLS_MAX, POOL_BYTES_MAX, POOL_CALLS_MAX, POOL_CALLS_PER_SIGNER_MAX,
};

use crate::SealedLedger;
use archive::Archive;
use author::{Author, Request, Shared};
use chain::{CallId, EpochSummary, Genesis, Head};
use protocol::{AccountId, BlockHash, NetUid};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{runtime::Runtime, sync::oneshot};

/// How a node runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens, for WebSocket and HTTP; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The file of the chain, made if it is not there; without one the chain lives in memory.
    pub database: Option<PathBuf>,
    /// What the chain starts with; a file that is there must have started with the same.
    pub genesis: Genesis,
    /// Time between blocks; without one a block is made at each [`DevNode::produce_block`].
    pub block_time: Option<Duration>,
}

/// Of which blocks a node has the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    /// Of the last [`STATE_BLOCKS`].
    Newest,
    /// Of all.
    All,
}

/// Told during a start how many blocks are made again, and how many will be; `false` ends it with
/// [`NodeError::Interrupted`].
///
/// An archive counts twice: first the blocks up to the snapshots that are missing in its file, then
/// the newest ones. Snapshots that were made stay, so that the next start goes on from there.
pub type Watch<'a> = &'a dyn Fn(u64, u64) -> bool;

/// A running node; it stops when it is dropped.
pub struct DevNode {
    shared: Arc<RwLock<Shared>>,
    requests: Sender<Request>,
    author: Mutex<Option<JoinHandle<Result<(), NodeError>>>>,
    server: rpc::Server,
    runtime: Option<Runtime>,
}

impl DevNode {
    /// Opens the chain and serves it, with the states after the newest blocks.
    ///
    /// Nothing is written before the genesis was judged and the address is taken, so that a start
    /// that failed ties no file to a chain that cannot be.
    pub fn start(config: &Config) -> Result<Self, NodeError> {
        Self::open(config, States::Newest, &|_, _| true)
    }

    /// The same with the state after any block: an archive.
    ///
    /// Every 256th state is kept in the file; those that are missing there are made again first,
    /// which takes as long as to make those blocks. What lies between two of them is made again
    /// when it is asked for, one stretch at a time.
    pub fn start_archive(config: &Config) -> Result<Self, NodeError> {
        Self::open(config, States::All, &|_, _| true)
    }

    /// Either of the two, watched by somebody who may end it.
    pub fn open(config: &Config, states: States, watch: Watch<'_>) -> Result<Self, NodeError> {
        let ledger = SealedLedger::new(&config.genesis)?;
        let refused = |source| NodeError::Listen { address: config.listen, source };
        let listener = std::net::TcpListener::bind(config.listen).map_err(refused)?;
        let mut store = store::Store::open(config.database.as_deref(), &config.genesis)?;
        store.begin(&ledger.genesis_header())?;
        if let Some(block_time) = config.block_time {
            store.keep_block_time(block_time)?;
        }
        if states == States::All {
            store.keep_all(&config.genesis, watch)?;
        }
        let author = Author::open(store, &config.genesis, config.block_time, watch)?;
        let (shared, notices) = (author.shared(), author.notices());
        let (requests, inbox) = channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("node")
            .enable_all()
            .build()
            .map_err(NodeError::System)?;
        let genesis = config.genesis.clone();
        let archive = (states == States::All).then(|| {
            let (shared, requests) = (Arc::clone(&shared), requests.clone());
            Arc::new(Archive::new(shared, requests, genesis.clone()))
        });
        let context = rpc::Context::new(Arc::clone(&shared), requests.clone(), notices, genesis);
        let context = context.with_archive(archive);
        let server = runtime.block_on(rpc::serve(listener, context)).map_err(refused)?;
        let author = std::thread::Builder::new()
            .name("author".to_owned())
            .spawn(move || author.run(&inbox))
            .map_err(NodeError::System)?;
        let author = Mutex::new(Some(author));
        Ok(Self { shared, requests, author, server, runtime: Some(runtime) })
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The address as clients of this machine take it.
    pub fn url(&self) -> String {
        let mut address = self.server.address;
        if address.ip().is_unspecified() {
            // Where one listens everywhere, one is reached here, too.
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("ws://{address}")
    }

    /// The answer to one JSON-RPC request, as a connection would get it; nothing if it is no JSON.
    ///
    /// For embedding and for tests: it is what the server does behind its limits on sizes.
    pub fn answer(&self, request: &str) -> Option<String> {
        let answer = self.server.methods.raw_json_request(request, 1);
        let runtime = self.runtime.as_ref()?;
        runtime.block_on(answer).ok().map(|(answer, _)| answer.get().to_owned())
    }

    /// Makes a block of the calls that wait; when it returns, the block is on disk and served.
    pub fn produce_block(&self) -> Result<Head, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Produce(reply)).map_err(|_| NodeError::Stopped)?;
        answer.blocking_recv().map_err(|_| self.failure())
    }

    /// Nonce of the account's next call, past those that wait.
    pub fn next_nonce(&self, account: AccountId) -> u32 {
        author::read(&self.shared).next_nonce(account)
    }

    /// The newest block.
    pub fn head(&self) -> Head {
        author::read(&self.shared).head
    }

    /// The last epochs of the subnet since the node started, at most 1,024 of all subnets: who
    /// earned what.
    pub fn epochs(&self, netuid: NetUid) -> Vec<EpochSummary> {
        let shared = author::read(&self.shared);
        shared.epochs.iter().filter(|epoch| epoch.netuid == netuid).cloned().collect()
    }

    /// Hash of the block before the first.
    pub fn genesis_hash(&self) -> BlockHash {
        author::read(&self.shared).hashes.first().copied().unwrap_or(BlockHash([0; 32]))
    }

    /// Says why the node has stopped by itself, which it does only when something broke.
    pub fn check(&self) -> Result<(), NodeError> {
        let author = self.author.lock().unwrap_or_else(PoisonError::into_inner);
        if author.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        drop(author);
        Err(self.failure())
    }

    /// Why the author's thread ended.
    fn failure(&self) -> NodeError {
        let handle = self.author.lock().unwrap_or_else(PoisonError::into_inner).take();
        match handle.map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(Ok(()))) | None => NodeError::Stopped,
        }
    }
}

impl Drop for DevNode {
    fn drop(&mut self) {
        // Whoever has stopped already needs no telling.
        let _ = self.server.handle.stop();
        let _ = self.requests.send(Request::Stop);
        if let Some(author) = self.author.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = author.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// What the chain in a database started with; `None` if there is no such file.
pub fn stored_genesis(database: &std::path::Path) -> Result<Option<Genesis>, NodeError> {
    if database.exists() { store::stored_genesis(database) } else { Ok(None) }
}

/// Time between the blocks of the chain in a database, when it was last made by a clock.
pub fn stored_block_time(database: &std::path::Path) -> Result<Option<Duration>, NodeError> {
    if database.exists() { store::stored_block_time(database) } else { Ok(None) }
}

/// The blocks of a database, made again one after the other with all hashes compared.
///
/// This is what [`DevNode::start`] trusts snapshots to save. A node may be at work on the file
/// meanwhile, which is only read: in a file without a chain none is begun.
pub struct Replay {
    database: PathBuf,
    genesis: Genesis,
    ledger: SealedLedger,
}

/// What a replay found in the blocks that were new to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Calls in the blocks, in order.
    pub included: Vec<CallId>,
    /// Calls that were acknowledged and wait for a block.
    pub waiting: Vec<CallId>,
    /// Epochs of all subnets, in order: who earned what.
    pub epochs: Vec<EpochSummary>,
}

impl Replay {
    /// A replay that stands before the first block.
    pub fn new(database: PathBuf, genesis: Genesis) -> Result<Self, NodeError> {
        let ledger = SealedLedger::new(&genesis)?;
        Ok(Self { database, genesis, ledger })
    }

    /// Makes all blocks that have come since again.
    pub fn advance(&mut self) -> Result<Replayed, NodeError> {
        let store = store::Store::look(&self.database, &self.genesis)?;
        let mut found = Replayed::default();
        for number in self.ledger.head().block.0 + 1..=store.newest()? {
            let block = store.block(number)?.ok_or_else(|| store.damaged(number))?;
            let produced = store.replay(&mut self.ledger, &block)?;
            found.included.extend(produced.applied.iter().map(|call| call.id));
            found.epochs.extend(produced.epochs);
        }
        let name = |bytes: &Vec<u8>| CallId(chain::hash::blake2_256(bytes));
        found.waiting = store.pool()?.iter().map(name).collect();
        Ok(found)
    }

    /// The state after the newest block that was made again.
    pub fn ledger(&self) -> &SealedLedger {
        &self.ledger
    }
}
