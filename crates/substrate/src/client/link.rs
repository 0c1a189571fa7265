//! Connections: made, lost, made again.

use super::lock;
use chain::{Error, Head};
use protocol::{Block, BlockHash, text::shown};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use subxt::{
    OnlineClient, SubstrateConfig,
    backend::LegacyBackend,
    client::{ClientAtBlock, OnlineClientAtBlockImpl},
    config::RpcConfigFor,
    rpcs::{
        self, RpcClient,
        client::{JsonrpseeRpcClient, RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT},
        methods::legacy::{LegacyRpcMethods, NumberOrHex},
    },
    utils::H256,
};
use tokio::runtime::Runtime;

/// First pause before a connection is tried again; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How a chain is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Address of the endpoint, `ws://…` or `wss://…`.
    pub url: String,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long a request is tried again on new connections before it is given up.
    pub patience: Duration,
    /// How long the newest final block may stay the newest before the endpoint is said to stall.
    pub stall_limit: Option<Duration>,
    /// Blocks after which a call that was not included never will be.
    pub era_blocks: u32,
    /// What calls are signed with.
    pub signatures: Signatures,
    /// The clock that says when hidden weights will be opened.
    pub clock: Clock,
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That of this machine.
    Machine,
    /// One that stands still, so long after 1970: for runs that are repeated.
    Stopped(Duration),
}

/// What tells the calls of one process from equal ones of another with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// Each signature is like no other: an endpoint that knows a call knows it from here.
    Unique,
    /// Equal calls have equal bytes, for runs that are repeated; a key must then be used by one
    /// process alone.
    Repeatable,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(super) fn now_ms(self) -> u64 {
        let now = match self {
            Self::Machine => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Stopped(at) => at,
        };
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

impl ClientConfig {
    /// The usual patience with the endpoint at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            request_timeout: Duration::from_secs(20),
            patience: Duration::from_secs(60),
            stall_limit: Some(Duration::from_secs(180)),
            era_blocks: 64,
            signatures: Signatures::Unique,
            clock: Clock::Machine,
        }
    }
}

/// Longest era whose first block can be any: in longer ones only some can.
const ERA_BLOCKS_MAX: u32 = 4_096;

/// A connection with all that hangs on it.
pub(super) struct Link {
    line: Arc<Line>,
    pub(super) rpc: LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>,
    /// For methods that only our own node has.
    pub(super) plain: RpcClient,
    client: OnlineClient<SubstrateConfig>,
}

/// The state at a block, with the metadata to read it.
pub(super) type At = ClientAtBlock<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;

/// What a request can fail with.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The line itself, which notices when it breaks.
struct Line {
    client: JsonrpseeRpcClient,
    is_lost: AtomicBool,
}

impl Line {
    /// Anything but an answer means that the line is of no use any more.
    fn note<T>(&self, result: Result<T, rpcs::Error>) -> Result<T, rpcs::Error> {
        if matches!(result, Err(rpcs::Error::Client(_))) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl RpcClientT for Line {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move { self.note(self.client.request_raw(method, params).await) })
    }

    fn subscribe_raw<'a>(
        &'a self,
        subscribe: &'a str,
        params: Option<Box<RawValue>>,
        unsubscribe: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        let subscribed = self.client.subscribe_raw(subscribe, params, unsubscribe);
        Box::pin(async move { self.note(subscribed.await) })
    }
}

impl Link {
    async fn connect(url: &str, config: &SubstrateConfig) -> Result<Self, Failure> {
        let client = rpcs::client::jsonrpsee_client(url).await?;
        let line = Arc::new(Line { client, is_lost: AtomicBool::new(false) });
        let rpc_client = RpcClient::new(Arc::clone(&line));
        let backend = LegacyBackend::builder().storage_page_size(256).build(rpc_client.clone());
        let backend = Arc::new(backend);
        let client = OnlineClient::from_backend_with_config(config.clone(), backend).await?;
        let rpc = LegacyRpcMethods::new(rpc_client.clone());
        Ok(Self { line, rpc, plain: rpc_client, client })
    }

    fn is_lost(&self) -> bool {
        self.line.is_lost.load(Ordering::Relaxed)
    }

    /// Hash of the block before the first.
    pub(super) fn genesis(&self) -> BlockHash {
        BlockHash(self.client.genesis_hash().0)
    }

    /// The newest final block, and what the endpoint now says `known` is.
    pub(super) async fn head(
        &self,
        known: Option<Head>,
    ) -> Result<(Head, Option<BlockHash>), Failure> {
        let hash = self.rpc.chain_get_finalized_head().await?;
        let header = self.rpc.chain_get_header(Some(hash)).await?;
        let header = header.ok_or("the newest final block has no header")?;
        let number = subxt::config::Header::number(&header);
        let head = Head { block: Block(number), hash: BlockHash(hash.0) };
        match known {
            Some(known) if known.block < head.block => {
                Ok((head, self.block_hash(known.block).await?))
            }
            _ => Ok((head, None)),
        }
    }

    /// The newest block, final or not.
    pub(super) async fn best(&self) -> Result<Option<Head>, Failure> {
        let Some(hash) = self.rpc.chain_get_block_hash(None).await? else { return Ok(None) };
        let header = self.rpc.chain_get_header(Some(hash)).await?;
        let block = |header| Block(subxt::config::Header::number(&header));
        Ok(header.map(|header| Head { block: block(header), hash: BlockHash(hash.0) }))
    }

    /// Hash of a block by its number.
    pub(super) async fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Failure> {
        let number = NumberOrHex::Number(block.0);
        let hash = self.rpc.chain_get_block_hash(Some(number)).await?;
        Ok(hash.map(|hash: H256| BlockHash(hash.0)))
    }

    /// The state after a block.
    pub(super) async fn at(&self, head: Head) -> Result<At, Failure> {
        Ok(self.client.at_block_hash_and_number(H256(head.hash.0), head.block.0).await?)
    }
}

/// Whether an endpoint says that it does not hold a state any more.
pub(super) fn is_state_gone(text: &str) -> bool {
    ["State already discarded", "UnknownBlock", "Unknown block"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The oldest block whose state is held, where an endpoint says it as our own node does.
pub(super) fn oldest_held(text: &str) -> Option<Block> {
    let (_, rest) = text.split_once("the states from block ")?;
    rest.split_whitespace().next()?.parse().ok().map(Block)
}

/// The connection of now, and how to get the next.
pub(super) struct Links {
    config: ClientConfig,
    /// Holds the metadata across connections.
    substrate: SubstrateConfig,
    runtime: Runtime,
    link: Mutex<Option<Arc<Link>>>,
    genesis: Mutex<Option<H256>>,
}

impl Links {
    pub(super) fn connect(config: ClientConfig) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("chain client")
            .enable_all()
            .build()
            .map_err(|source| Error::Connect { url: config.url.clone(), source: source.into() })?;
        let era_blocks = config.era_blocks.min(ERA_BLOCKS_MAX);
        let links = Self {
            config: ClientConfig { era_blocks, ..config },
            substrate: SubstrateConfig::new(),
            runtime,
            link: Mutex::new(None),
            genesis: Mutex::new(None),
        };
        links.link(Instant::now() + links.config.patience)?;
        Ok(links)
    }

    pub(super) fn url(&self) -> &str {
        &self.config.url
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// When the patience with something that begins now is over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.config.patience
    }

    /// Asks over the connection of now; over new ones while the answer gets lost.
    #[expect(clippy::needless_pass_by_value, reason = "a closure, called again and again")]
    pub(super) fn ask<T>(
        &self,
        request: &'static str,
        question: impl AsyncFn(&Link) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let until = self.deadline();
        let mut pause = PAUSE_MIN;
        loop {
            let link = self.link(until)?;
            // The timer belongs to the runtime: it must be made inside.
            let answer = self.runtime.block_on(async {
                tokio::time::timeout(self.config.request_timeout, question(&link)).await
            });
            match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) if !link.is_lost() => {
                    return Err(Error::Answer { request, text: told(&*failure) });
                }
                _ => {}
            }
            self.drop_link(&link);
            if Instant::now() + pause > until {
                return Err(Error::Unavailable { request });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks once, and says how it failed: with an answer, or without one.
    #[expect(clippy::needless_pass_by_value, reason = "a closure, called again and again")]
    pub(super) fn ask_once<T>(
        &self,
        until: Instant,
        question: impl AsyncFn(&Link) -> Result<T, rpcs::Error>,
    ) -> Result<Result<T, rpcs::Error>, Error> {
        let link = self.link(until)?;
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(self.config.request_timeout, question(&link)).await
        });
        match answer {
            Ok(Ok(answer)) => Ok(Ok(answer)),
            Ok(Err(failure)) if !link.is_lost() => Ok(Err(failure)),
            _ => {
                self.drop_link(&link);
                Err(Error::Unavailable { request: "submit" })
            }
        }
    }

    fn drop_link(&self, link: &Arc<Link>) {
        let mut current = lock(&self.link);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            *current = None;
        }
    }

    /// The connection of now, or a new one to the same chain.
    fn link(&self, until: Instant) -> Result<Arc<Link>, Error> {
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(link) = lock(&self.link).as_ref().filter(|link| !link.is_lost()) {
                return Ok(Arc::clone(link));
            }
            // Not under the lock: threads that wait may each be patient for as long as they like.
            let connecting = async {
                let connecting = Link::connect(&self.config.url, &self.substrate);
                tokio::time::timeout(self.config.request_timeout, connecting).await
            };
            let source = match self.runtime.block_on(connecting) {
                Ok(Ok(link)) => {
                    self.check_genesis(link.client.genesis_hash())?;
                    let link = Arc::new(link);
                    *lock(&self.link) = Some(Arc::clone(&link));
                    return Ok(link);
                }
                Ok(Err(failure)) => failure,
                Err(_) => "no answer in time".into(),
            };
            if Instant::now() + pause > until {
                return Err(Error::Connect { url: self.config.url.clone(), source });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The endpoint must not become another chain behind our back.
    fn check_genesis(&self, hash: H256) -> Result<(), Error> {
        let known = *lock(&self.genesis).get_or_insert(hash);
        if known == hash { Ok(()) } else { Err(Error::Contradiction { block: Block(0) }) }
    }
}

/// An error with its causes, in one line.
pub(super) fn told(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some errors repeat their causes.
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    shown(&text, 500)
}
