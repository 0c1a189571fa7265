//! How the newest final block gets here: heard of by a subscription, or asked for.
//!
//! A subscription costs no request a block. Where there is none, or where it is silent, the block
//! is asked for, at the pace of blocks. Our own node is asked each time: its blocks may come at any
//! moment, and nobody counts its requests.

use super::{
    finality::{Finality, Heard, News},
    link::{At, FORGED, Failure, Header, Link},
    lock,
};
use chain::{Error, Head};
use parity_scale_codec::Encode as _;
use protocol::{Block, BlockHash};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use subxt::{
    SubstrateConfig,
    config::{Config, Hasher as _},
    dynamic,
    rpcs::{self, client::RpcSubscription},
};
use tokio::task::JoinHandle;

/// What our own node says its name is.
pub(super) const OWN_NODE: &str = "agon";

/// Time between blocks where the runtime does not say it.
const BLOCK_TIME_USUAL: Duration = Duration::from_secs(12);

/// Longest time between blocks that is believed.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(60);

/// Times of a block for which a subscription may be silent before the endpoint is asked.
const SILENT_BLOCKS: u32 = 5;

/// Times of a block before a subscription that ended is tried again.
const RESUBSCRIBE_BLOCKS: u32 = 20;

/// Final blocks that were heard of and wait to be taken in.
const WAITING_MAX: usize = 256;

/// Blocks by which an endpoint may be behind for a while: not all hear of a block at once.
const LAG_BLOCKS_MAX: u64 = 3;

/// For how long it may be.
const LAG_TIME_MAX: Duration = Duration::from_secs(30);

/// How the newest final block of one connection gets here.
#[derive(Default)]
pub(super) struct Heads {
    /// Nothing until it was asked for once.
    way: Mutex<Option<Way>>,
    /// Since when it is behind what was final before.
    lags_since: Mutex<Option<Instant>>,
}

#[derive(Clone)]
enum Way {
    /// Each time it is wanted.
    Asked,
    /// As the endpoint tells of it.
    Followed(Arc<Followed>),
}

/// News that an endpoint sends by itself.
struct Followed {
    block_time: Duration,
    /// How the hash of a header is made; `None` if not as the endpoint makes it.
    hasher: Option<<SubstrateConfig as Config>::Hasher>,
    inbox: Mutex<Inbox>,
}

struct Inbox {
    waiting: VecDeque<News>,
    /// The highest block heard of.
    highest: Block,
    /// When it was heard of.
    heard: Instant,
    /// When the endpoint was last asked.
    asked: Instant,
    /// How often the endpoint, asked, knew of a block that it had not told of.
    n_missed: u32,
    /// When it was last asked to send news.
    subscribed: Instant,
    /// What takes in the news; it ends with them.
    listener: Option<JoinHandle<()>>,
}

/// What is to be done to know the newest final block.
enum Turn {
    /// Take in what was heard of.
    Hear(VecDeque<News>),
    /// Ask for it.
    Ask,
    /// Nothing: there is no newer one yet.
    Wait,
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(listener) = lock(&self.inbox).listener.take() {
            listener.abort();
        }
    }
}

impl Followed {
    fn news(&self, header: &Header) -> Option<News> {
        let hash = BlockHash(self.hasher?.hash(&header.encode()).0);
        let head = Head { block: Block(header.number), hash };
        Some(News { head, parent: BlockHash(header.parent_hash.0) })
    }

    fn hear(&self, header: &Header) {
        let Some(news) = self.news(header) else { return };
        let mut inbox = lock(&self.inbox);
        if news.head.block > inbox.highest {
            (inbox.highest, inbox.heard) = (news.head.block, Instant::now());
            inbox.n_missed = 0;
        }
        if inbox.waiting.len() == WAITING_MAX {
            inbox.waiting.pop_front();
        }
        inbox.waiting.push_back(news);
    }

    fn turn(&self) -> Turn {
        let mut inbox = lock(&self.inbox);
        if !inbox.waiting.is_empty() {
            return Turn::Hear(std::mem::take(&mut inbox.waiting));
        }
        let now = Instant::now();
        let since = |then: Instant| now.saturating_duration_since(then);
        let is_silent = since(inbox.heard) > self.block_time * SILENT_BLOCKS;
        if (is_silent || inbox.is_over()) && since(inbox.asked) >= self.block_time {
            inbox.asked = now;
            return Turn::Ask;
        }
        Turn::Wait
    }

    /// Whether the endpoint should be asked once more to send news, which it is by this.
    fn is_to_subscribe(&self) -> bool {
        let mut inbox = lock(&self.inbox);
        let is_due = self.hasher.is_some()
            && inbox.is_over()
            && inbox.subscribed.elapsed() >= self.block_time * RESUBSCRIBE_BLOCKS;
        if is_due {
            inbox.subscribed = Instant::now();
        }
        is_due
    }

    /// Takes in what a subscription brings until it ends.
    fn listen(self: &Arc<Self>, mut subscription: RpcSubscription<Header>) {
        let followed = Arc::downgrade(self);
        let listening = tokio::spawn(async move {
            while let Some(Ok(header)) = subscription.next().await {
                let Some(followed) = followed.upgrade() else { return };
                followed.hear(&header);
            }
        });
        lock(&self.inbox).listener = Some(listening);
    }
}

impl Inbox {
    fn new(highest: Block) -> Self {
        let now = Instant::now();
        let (waiting, n_missed, listener) = (VecDeque::new(), 0, None);
        Self { waiting, highest, heard: now, asked: now, n_missed, subscribed: now, listener }
    }

    /// Whether there are no news any more.
    fn is_over(&self) -> bool {
        self.listener.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Heads {
    /// Whether an endpoint should be left for another, by what it says is the newest final block.
    pub(super) fn are_bad(&self, said: &Result<Head, Error>) -> bool {
        let mut lags_since = lock(&self.lags_since);
        match said {
            Err(Error::Lagging { newest, said }) => {
                let since = *lags_since.get_or_insert_with(Instant::now);
                newest.since(*said) > LAG_BLOCKS_MAX || since.elapsed() > LAG_TIME_MAX
            }
            Err(Error::Stalled { .. } | Error::FalseHead { .. }) => true,
            Ok(_) | Err(_) => {
                *lags_since = None;
                false
            }
        }
    }

    fn way(&self) -> Option<Way> {
        lock(&self.way).clone()
    }
}

impl Link {
    /// The newest final block, as far as is known here or has to be asked for; the second error is
    /// what the block says of the endpoint.
    pub(super) async fn head(
        &self,
        finality: &Mutex<Finality>,
    ) -> Result<Result<Head, Error>, Failure> {
        let Some(way) = self.heads.way() else { return self.first(finality).await };
        let Way::Followed(followed) = way else {
            return self.asked(finality).await;
        };
        match followed.turn() {
            Turn::Hear(news) => {
                for news in news {
                    if let Err(error) = self.heard(finality, news).await? {
                        return Ok(Err(error));
                    }
                }
            }
            Turn::Ask => {
                let known = lock(finality).newest();
                let asked = self.asked(finality).await?;
                if asked.as_ref().is_ok_and(|head| known.is_some_and(|known| known != *head)) {
                    self.amend(&followed).await?;
                }
                return Ok(asked);
            }
            Turn::Wait => {}
        }
        // What is known may have been the newest for too long.
        let known = lock(finality).newest();
        match known {
            Some(known) => Ok(lock(finality).take(Some(known), (known, None))),
            None => self.asked(finality).await,
        }
    }

    /// Asks for the newest final block, and what the one that was known is now.
    async fn asked(&self, finality: &Mutex<Finality>) -> Result<Result<Head, Error>, Failure> {
        let known = lock(finality).newest();
        let hash = self.finalized().await?;
        if let Some(known) = known.filter(|known| known.hash == hash) {
            return Ok(lock(finality).take(Some(known), (known, None)));
        }
        let header = self.header(hash).await?;
        let head = Head { block: Block(header.number), hash };
        if self.is_forged(&header, hash) {
            return Ok(Err(Error::FalseHead { said: head.block, why: FORGED }));
        }
        let again = match known {
            Some(known) if known.block.0.checked_add(1) == Some(head.block.0) => {
                Some(BlockHash(header.parent_hash.0))
            }
            Some(known) if known.block < head.block => self.block_hash(known.block).await?,
            _ => None,
        };
        Ok(lock(finality).take(known, (head, again)))
    }

    /// The first time on this connection: asks, and settles how it is known from here on.
    async fn first(&self, finality: &Mutex<Finality>) -> Result<Result<Head, Error>, Failure> {
        let head = match self.asked(finality).await? {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let is_ours = match self.rpc.system_name().await {
            Ok(name) => name == OWN_NODE,
            Err(lost @ rpcs::Error::Client(_)) => return Err(lost.into()),
            Err(_) => false,
        };
        let way = if is_ours { Way::Asked } else { self.follow(head).await? };
        *lock(&self.heads.way) = Some(way);
        Ok(Ok(head))
    }

    /// Has the endpoint tell of final blocks from now on.
    async fn follow(&self, head: Head) -> Result<Way, Failure> {
        let at = self.at(head).await?;
        let block_time = block_time(&at);
        if block_time.is_zero() {
            return Ok(Way::Asked);
        }
        // A hash that is made here must be the endpoint's, or news would be of no use.
        let header = self.header(head.hash).await?;
        let is_same = at.hasher().hash(&header.encode()).0 == head.hash.0;
        let followed = Followed {
            block_time,
            hasher: is_same.then(|| *at.hasher()),
            inbox: Mutex::new(Inbox::new(head.block)),
        };
        let followed = Arc::new(followed);
        if is_same {
            self.subscribe(&followed).await?;
        }
        Ok(Way::Followed(followed))
    }

    /// Sees to it that news come again, where blocks come without them.
    async fn amend(&self, followed: &Arc<Followed>) -> Result<(), Failure> {
        if followed.is_to_subscribe() {
            return self.subscribe(followed).await;
        }
        let mut inbox = lock(&followed.inbox);
        if !inbox.is_over() {
            inbox.n_missed += 1;
            // One may have been on its way. Else the subscription is dead, and to end it would be a
            // request that nobody counts: the next connection has another.
            if inbox.n_missed > 1 {
                self.lose();
            }
        }
        Ok(())
    }

    /// Subscribes, where the endpoint lets us.
    async fn subscribe(&self, followed: &Arc<Followed>) -> Result<(), Failure> {
        match self.rpc.chain_subscribe_finalized_heads().await {
            Ok(subscription) => followed.listen(subscription),
            Err(lost @ rpcs::Error::Client(_)) if self.is_lost() => return Err(lost.into()),
            Err(_) => {}
        }
        Ok(())
    }

    /// Takes in a final block that was heard of.
    async fn heard(
        &self,
        finality: &Mutex<Finality>,
        news: News,
    ) -> Result<Result<(), Error>, Failure> {
        let heard = lock(finality).hear(news);
        let known = match heard {
            Ok(Heard::Taken) => return Ok(Ok(())),
            Ok(Heard::After(known)) => known,
            Err(error) => return Ok(Err(error)),
        };
        // Blocks lie between: the endpoint says whether it still has the one that was known.
        let again = self.block_hash(known.block).await?;
        let mut finality = lock(finality);
        Ok(finality.take(Some(known), (news.head, again)).map(|_| finality.remember(news.before())))
    }
}

/// Time between blocks, as the runtime has it.
fn block_time(at: &At) -> Duration {
    let constant = |pallet: &str, name: &str| {
        at.constants().entry(dynamic::constant::<u64>(pallet, name)).ok()
    };
    let slot = constant("Aura", "SlotDuration");
    let ms = slot.or_else(|| Some(constant("Timestamp", "MinimumPeriod")?.saturating_mul(2)));
    ms.map_or(BLOCK_TIME_USUAL, Duration::from_millis).min(BLOCK_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_TIME: Duration = Duration::from_secs(12);

    /// What follows an endpoint that told of block 5 so long ago.
    fn followed(silent_for: Duration) -> Followed {
        let now = Instant::now();
        let inbox = Inbox { heard: now.checked_sub(silent_for).unwrap(), ..Inbox::new(Block(5)) };
        Followed { block_time: BLOCK_TIME, hasher: None, inbox: Mutex::new(inbox) }
    }

    /// As if the endpoint were asked for the last time so long ago.
    fn asked_before(followed: &Followed, since: Duration) {
        lock(&followed.inbox).asked = Instant::now().checked_sub(since).unwrap();
    }

    fn with_listener(followed: &Followed) -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        lock(&followed.inbox).listener = Some(runtime.spawn(std::future::pending()));
        runtime
    }

    fn is_asked(followed: &Followed) -> bool {
        matches!(followed.turn(), Turn::Ask)
    }

    #[test]
    fn an_endpoint_that_tells_of_blocks_is_not_asked_for_them() {
        let followed = followed(4 * BLOCK_TIME);
        let _runtime = with_listener(&followed);
        asked_before(&followed, 100 * BLOCK_TIME);
        assert!(!is_asked(&followed));
    }

    #[test]
    fn one_that_is_silent_for_some_blocks_is_asked_once_a_block() {
        let followed = followed(6 * BLOCK_TIME);
        let _runtime = with_listener(&followed);
        asked_before(&followed, BLOCK_TIME);
        assert!(is_asked(&followed));
        assert!(!is_asked(&followed), "just now");
        asked_before(&followed, BLOCK_TIME / 2);
        assert!(!is_asked(&followed), "no block has passed");
        asked_before(&followed, BLOCK_TIME);
        assert!(is_asked(&followed));
    }

    #[test]
    fn one_that_ended_its_news_is_asked_at_the_pace_of_blocks_from_then_on() {
        let followed = followed(Duration::ZERO);
        asked_before(&followed, BLOCK_TIME / 2);
        assert!(!is_asked(&followed));
        asked_before(&followed, BLOCK_TIME);
        assert!(is_asked(&followed));
    }

    #[test]
    fn an_endpoint_may_be_a_little_behind_for_a_while() {
        let heads = Heads::default();
        let lags = |said| Err(Error::Lagging { newest: Block(100), said: Block(said) });
        assert!(!heads.are_bad(&lags(98)));
        assert!(heads.are_bad(&lags(90)), "far behind");
        *lock(&heads.lags_since) = Instant::now().checked_sub(LAG_TIME_MAX + BLOCK_TIME);
        assert!(heads.are_bad(&lags(98)), "for long");
        assert!(!heads.are_bad(&Ok(Head { block: Block(100), hash: BlockHash([1; 32]) })));
        assert!(!heads.are_bad(&lags(98)), "it had come up");
        assert!(heads.are_bad(&Err(Error::Stalled { newest: Block(1), seconds: 9 })));
        assert!(heads.are_bad(&Err(Error::FalseHead { said: Block(1), why: FORGED })));
    }
}
