//! One connection, with what is asked over it.

use super::{
    config::{ClientConfig, Clock},
    door,
    heads::Heads,
    limiter::Limiter,
    line::Line,
    lock, origin,
};
use chain::Head;
use parity_scale_codec::Encode as _;
use protocol::{Block, BlockHash, text::shown};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use subxt::{
    OnlineClient, SubstrateConfig,
    backend::LegacyBackend,
    client::{ClientAtBlock, OnlineClientAtBlockImpl},
    config::{Config, RpcConfigFor},
    rpcs::{
        self, RpcClient,
        methods::legacy::{LegacyRpcMethods, NumberOrHex},
    },
    utils::H256,
};

/// Hashes of blocks that are asked for together.
const HASHES_MAX: usize = 256;

/// Keys that are asked for together, at first.
const KEYS_MAX: usize = 256;

/// What is wrong with a header that [`Link::is_forged`].
pub(super) const FORGED: &str = "has another hash than was asked for";

/// A connection with all that hangs on it.
pub(super) struct Link {
    /// Whose it is.
    pub(super) url: String,
    line: Arc<Line>,
    pub(super) rpc: LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>,
    /// For methods that only our own node has.
    pub(super) plain: RpcClient,
    client: OnlineClient<SubstrateConfig>,
    /// How the newest final block gets here.
    pub(super) heads: Heads,
    /// The state that was asked for last: what is read at one block names its runtime once.
    last_at: Mutex<Option<At>>,
    takes_lists: AtomicBool,
    keys_max: AtomicUsize,
}

/// The state at a block, with the metadata to read it.
pub(super) type At = ClientAtBlock<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;

/// The head of a block, as it is sent.
pub(super) type Header = <SubstrateConfig as Config>::Header;

/// What a request can fail with.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Link {
    /// Connects to an endpoint whose turns the limiter has.
    pub(super) async fn connect(
        url: &str,
        config: &ClientConfig,
        (substrate, limiter): (&SubstrateConfig, &Arc<Limiter>),
    ) -> Result<Self, Failure> {
        // A handshake is a request, too.
        let mut patience = config.patience;
        if let Err(wait) = limiter.pass(&mut patience).await {
            return Err(format!("the endpoint asks for patience: {} s", wait.as_secs()).into());
        }
        let connecting = door::connect(url, config.request_timeout);
        let connected = tokio::time::timeout(config.request_timeout, connecting).await;
        let client = connected.map_err(|_| "no answer in time")??;
        let line = Arc::new(Line::new(client, Arc::clone(limiter), config));
        let plain = RpcClient::new(Arc::clone(&line));
        let backend =
            Arc::new(LegacyBackend::builder().storage_page_size(256).build(plain.clone()));
        let client = OnlineClient::from_backend_with_config(substrate.clone(), backend).await?;
        Ok(Self {
            url: url.to_owned(),
            line,
            rpc: LegacyRpcMethods::new(plain.clone()),
            plain,
            client,
            heads: Heads::default(),
            last_at: Mutex::new(None),
            takes_lists: AtomicBool::new(true),
            keys_max: AtomicUsize::new(KEYS_MAX),
        })
    }

    /// Whether nothing comes over it any more.
    pub(super) fn is_lost(&self) -> bool {
        self.line.is_lost()
    }

    /// Gives the connection up.
    pub(super) fn lose(&self) {
        self.line.lose();
    }

    /// How many requests the endpoint has put off for longer than they wait.
    pub(super) fn n_put_off(&self) -> u64 {
        self.line.n_put_off()
    }

    /// Hash of the block before the first.
    pub(super) fn genesis(&self) -> BlockHash {
        BlockHash(self.client.genesis_hash().0)
    }

    /// Hash of the newest final block.
    pub(super) async fn finalized(&self) -> Result<BlockHash, Failure> {
        Ok(BlockHash(self.rpc.chain_get_finalized_head().await?.0))
    }

    /// The header of a final block, or of one that was.
    pub(super) async fn header(&self, hash: BlockHash) -> Result<Header, Failure> {
        let header = self.rpc.chain_get_header(Some(H256(hash.0))).await?;
        Ok(header.ok_or("the newest final block has no header")?)
    }

    /// The newest block, final or not, and what a clock said as it was named, in milliseconds since
    /// 1970: whatever is asked for afterwards may have to wait for its turn.
    pub(super) async fn best(&self, clock: Clock) -> Result<(Option<Head>, u64), Failure> {
        let hash = self.rpc.chain_get_block_hash(None).await?;
        let seen_ms = clock.now_ms();
        let Some(hash) = hash else { return Ok((None, seen_ms)) };
        let header = self.rpc.chain_get_header(Some(hash)).await?;
        let hash = BlockHash(hash.0);
        if header.as_ref().is_some_and(|header| self.is_forged(header, hash)) {
            return Err(format!("the newest block {FORGED}").into());
        }
        Ok((header.map(|header| Head { block: Block(header.number), hash }), seen_ms))
    }

    /// Whether a header is not the one with this hash. How headers are hashed is known of
    /// Bittensor's networks; of other chains each is believed.
    pub(super) fn is_forged(&self, header: &Header, hash: BlockHash) -> bool {
        let is_known = origin::network(self.genesis()).is_some();
        is_known && chain::hash::blake2_256(&header.encode()) != hash.0
    }

    /// Hash of a block by its number.
    pub(super) async fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Failure> {
        let number = NumberOrHex::Number(block.0);
        let hash = self.rpc.chain_get_block_hash(Some(number)).await?;
        Ok(hash.map(|hash: H256| BlockHash(hash.0)))
    }

    /// Hashes of blocks by their numbers, in their order: many a request, or one where the endpoint
    /// takes no lists.
    pub(super) async fn block_hashes(
        &self,
        blocks: &[Block],
    ) -> Result<Vec<Option<BlockHash>>, Failure> {
        let mut hashes = Vec::with_capacity(blocks.len());
        for blocks in blocks.chunks(HASHES_MAX) {
            match self.listed_hashes(blocks).await? {
                Some(listed) => hashes.extend(listed),
                None => {
                    for block in blocks {
                        hashes.push(self.block_hash(*block).await?);
                    }
                }
            }
        }
        Ok(hashes)
    }

    /// The hashes by one request; `None` where the endpoint refuses lists.
    async fn listed_hashes(
        &self,
        blocks: &[Block],
    ) -> Result<Option<Vec<Option<BlockHash>>>, Failure> {
        if blocks.len() < 2 || !self.takes_lists.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let n_put_off = self.n_put_off();
        let numbers: Vec<u64> = blocks.iter().map(|block| block.0).collect();
        let params = rpcs::rpc_params![numbers];
        let listed = self.plain.request::<Vec<Option<H256>>>("chain_getBlockHash", params).await;
        match listed {
            Ok(hashes) if hashes.len() == blocks.len() => {
                let hashes = hashes.into_iter().map(|hash| hash.map(|hash| BlockHash(hash.0)));
                Ok(Some(hashes.collect()))
            }
            // Put off is not refused.
            Err(rpcs::Error::User(said)) if self.n_put_off() > n_put_off => {
                Err(rpcs::Error::User(said).into())
            }
            Ok(_) | Err(rpcs::Error::User(_) | rpcs::Error::Deserialization(_)) => {
                self.takes_lists.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// How many keys may be asked for together.
    pub(super) fn keys_max(&self) -> usize {
        self.keys_max.load(Ordering::Relaxed)
    }

    /// Notes that the endpoint answers for so many keys at most.
    pub(super) fn lower_keys_max(&self, n: usize) {
        self.keys_max.fetch_min(n.max(1), Ordering::Relaxed);
    }

    /// The state after a block.
    pub(super) async fn at(&self, head: Head) -> Result<At, Failure> {
        let hash = H256(head.hash.0);
        let last = lock(&self.last_at).clone().filter(|at| at.block_hash() == hash);
        if let Some(at) = last {
            return Ok(at);
        }
        let at = self.client.at_block_hash_and_number(hash, head.block.0).await?;
        *lock(&self.last_at) = Some(at.clone());
        Ok(at)
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
