//! The embedded node: a chain of one author that speaks Substrate's JSON-RPC.
//!
//! Stock clients of Bittensor work against it: the wire is [`wire`](crate::wire), the rules are the
//! [`Ledger`]'s, the state is in one SQLite file. A block is final when it is made,
//! and it is made when it is on disk.

mod author;
mod error;
mod history;
mod pool;
mod rpc;
mod store;

pub use error::NodeError;
pub use history::STATE_BLOCKS;
pub use pool::{BLOCK_CALLS_MAX, POOL_CALLS_MAX, POOL_CALLS_PER_SIGNER_MAX};
pub use rpc::limits;

use crate::{EpochSummary, Genesis, Head, Ledger};
use author::{Author, Request, Shared};
use jsonrpsee::server::ServerHandle;
use protocol::{BlockHash, NetUid};
use std::{
    net::SocketAddr,
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

/// A running node; it stops when it is dropped.
pub struct DevNode {
    address: SocketAddr,
    shared: Arc<RwLock<Shared>>,
    requests: Sender<Request>,
    author: Mutex<Option<JoinHandle<Result<(), NodeError>>>>,
    server: ServerHandle,
    runtime: Option<Runtime>,
}

impl DevNode {
    /// Opens the chain and serves it.
    pub fn start(config: &Config) -> Result<Self, NodeError> {
        let store = store::Store::open(config.database.as_deref(), &config.genesis)?;
        let author = Author::open(store, &config.genesis, config.block_time)?;
        let (shared, notices) = (author.shared(), author.notices());
        let (requests, inbox) = channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("node")
            .enable_all()
            .build()
            .map_err(NodeError::System)?;
        let context =
            rpc::Context { shared: Arc::clone(&shared), requests: requests.clone(), notices };
        let (server, address) = runtime
            .block_on(rpc::serve(config.listen, context))
            .map_err(|source| NodeError::Listen { address: config.listen, source })?;
        let author = std::thread::Builder::new()
            .name("author".to_owned())
            .spawn(move || author.run(&inbox))
            .map_err(NodeError::System)?;
        let author = Mutex::new(Some(author));
        Ok(Self { address, shared, requests, author, server, runtime: Some(runtime) })
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as clients take it.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Makes a block of the calls that wait; when it returns, the block is on disk and served.
    pub fn produce_block(&self) -> Result<Head, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Produce(reply)).map_err(|_| NodeError::Stopped)?;
        answer.blocking_recv().map_err(|_| self.failure())
    }

    /// The newest block.
    pub fn head(&self) -> Head {
        author::read(&self.shared).head
    }

    /// Every epoch of the subnet since the node started: who earned what.
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
        let _ = self.server.stop();
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

/// Makes every block of a database again, from its genesis on, and compares all hashes.
///
/// Gives the ledger at the end. This is what [`DevNode::start`] trusts snapshots to save.
pub fn replay(database: &std::path::Path, genesis: &Genesis) -> Result<Ledger, NodeError> {
    let store = store::Store::open(Some(database), genesis)?;
    let mut ledger = Ledger::new(genesis)?;
    for number in 1..=store.newest()? {
        match store.block(number)? {
            Some(block) => store.replay(&mut ledger, &block)?,
            None => {
                let (path, block) = (database.to_owned(), protocol::Block(number));
                return Err(NodeError::Damaged { path, block });
            }
        };
    }
    Ok(ledger)
}
