//! What an endpoint has said is final, and whether it keeps its word.

use chain::{Error, Head};
use protocol::{Block, BlockHash};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Blocks that may become final at once, after none has for a while: two hours of them.
const AHEAD_BLOCKS_MAX: u64 = 600;

/// What is wrong with a head that is further ahead.
const TOO_SOON: &str = "comes sooner than blocks are made";

/// Blocks behind the newest that is known beyond which an endpoint contests it.
const CONTEST_BLOCKS: u64 = 50;

/// Blocks between endpoints that still agree.
const AGREE_BLOCKS: u64 = 10;

/// Blocks by which one of them must have moved on: those that stand still prove nothing.
const GROWN_BLOCKS: u64 = 3;

/// Most hashes of blocks that are remembered.
const HASHES_MAX: usize = 16_384;

/// A final block that an endpoint told of by itself, with the hash of the block before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) head: Head,
    pub(super) parent: BlockHash,
}

impl News {
    /// The block before it.
    pub(super) fn before(&self) -> Head {
        Head { block: Block(self.head.block.0.saturating_sub(1)), hash: self.parent }
    }
}

/// What came of hearing of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is known.
    Taken,
    /// Blocks lie between it and this one, which the endpoint is to be asked for again.
    After(Head),
}

/// Final blocks that an endpoint has named.
pub(super) struct Finality {
    newest: Option<Head>,
    /// When the newest was first heard of.
    since: Instant,
    /// How long the newest may stay the newest.
    stall_limit: Option<Duration>,
    /// What a block takes at least, where that is known.
    pace: Option<Duration>,
    hashes: BTreeMap<Block, BlockHash>,
}

/// What endpoints say against the newest final block that another of them has named.
#[derive(Default)]
pub(super) struct Contest {
    /// The block.
    about: Option<Head>,
    /// What each endpoint said of the newest block, by address: at first, and last.
    said: BTreeMap<String, (Block, Block)>,
}

impl Contest {
    /// Notes what an endpoint says where this is the newest block that is known; whether enough
    /// say that it is not.
    ///
    /// Two are enough where they agree, and one of them has moved on since.
    pub(super) fn note(
        &mut self,
        known: Option<Head>,
        url: &str,
        said: &Result<Head, Error>,
    ) -> bool {
        if self.about != known {
            *self = Self { about: known, said: BTreeMap::new() };
        }
        let block = match said {
            Err(Error::Lagging { newest, said }) if newest.since(*said) > CONTEST_BLOCKS => *said,
            Err(Error::FalseHead { said, why: TOO_SOON }) => *said,
            Ok(_) => {
                self.said.remove(url);
                return false;
            }
            Err(_) => return false,
        };
        self.said.entry(url.to_owned()).or_insert((block, block)).1 = block;
        let lasts = || self.said.values().map(|(_, last)| *last);
        let (Some(low), Some(high)) = (lasts().min(), lasts().max()) else { return false };
        let has_grown = |(first, last): &(Block, Block)| last.since(*first) >= GROWN_BLOCKS;
        let is_over = self.said.len() > 1
            && high.since(low) <= AGREE_BLOCKS
            && self.said.values().any(has_grown);
        if is_over {
            *self = Self::default();
        }
        is_over
    }
}

impl Finality {
    pub(super) fn new(stall_limit: Option<Duration>) -> Self {
        let (newest, pace, hashes) = (None, None, BTreeMap::new());
        Self { newest, since: Instant::now(), stall_limit, pace, hashes }
    }

    /// From now on no head is taken that is further ahead than blocks which take so long allow.
    pub(super) fn set_pace(&mut self, block_time: Duration) {
        self.pace = Some(block_time);
    }

    /// Forgets everything, as if no block had been named yet.
    pub(super) fn forget(&mut self) {
        *self = Self { pace: self.pace, ..Self::new(self.stall_limit) };
    }

    /// Refuses a head to which no chain could have come since the newest was heard of. Twice the
    /// pace is allowed, so that whoever has been wrong is right after a while.
    fn check_pace(&self, head: Head) -> Result<(), Error> {
        let (Some(pace), Some(known)) = (self.pace, self.newest) else { return Ok(()) };
        let made = self.since.elapsed().as_millis() / pace.as_millis().max(1);
        let made = u64::try_from(made).unwrap_or(u64::MAX).saturating_mul(2);
        if head.block.since(known.block) <= made.saturating_add(AHEAD_BLOCKS_MAX) {
            return Ok(());
        }
        Err(Error::FalseHead { said: head.block, why: TOO_SOON })
    }

    pub(super) fn newest(&self) -> Option<Head> {
        self.newest
    }

    pub(super) fn hash(&self, block: Block) -> Option<BlockHash> {
        self.hashes.get(&block).copied()
    }

    /// Keeps the hash of a final block.
    pub(super) fn remember(&mut self, head: Head) {
        self.hashes.insert(head.block, head.hash);
        if self.hashes.len() > HASHES_MAX {
            self.hashes.pop_first();
        }
    }

    /// Takes in a final block that the endpoint told of by itself: each names the one before it.
    pub(super) fn hear(&mut self, news: News) -> Result<Heard, Error> {
        let head = news.head;
        let known = match self.newest {
            Some(known) if known.block >= head.block => {
                // Heard late: no news, but not to be contradicted either.
                return match self.hash(head.block) {
                    Some(hash) if hash != head.hash => {
                        Err(Error::Contradiction { block: head.block })
                    }
                    _ => Ok(Heard::Taken),
                };
            }
            Some(known) if known.block != news.before().block => return Ok(Heard::After(known)),
            known => known,
        };
        if let Some(known) = known.filter(|known| known.hash != news.parent) {
            return Err(Error::Contradiction { block: known.block });
        }
        self.check_pace(head)?;
        self.newest = Some(head);
        self.since = Instant::now();
        self.remember(head);
        Ok(Heard::Taken)
    }

    /// Takes in the newest final block, and what the endpoint now says was the block that was the
    /// newest when it was asked; gives the newest.
    pub(super) fn take(
        &mut self,
        asked: Option<Head>,
        (head, again): (Head, Option<BlockHash>),
    ) -> Result<Head, Error> {
        if let (Some(asked), Some(again)) = (asked, again)
            && asked.hash != again
        {
            return Err(Error::Contradiction { block: asked.block });
        }
        if let Some(known) = self.newest {
            if head.block < known.block {
                // Another thread may have asked later and heard earlier.
                if self.newest != asked {
                    return Ok(known);
                }
                // Behind what was final before: one of several servers lags.
                return Err(Error::Lagging { newest: known.block, said: head.block });
            }
            if head.block == known.block && head.hash != known.hash {
                return Err(Error::Contradiction { block: known.block });
            }
            if head.block == known.block {
                let waited = self.since.elapsed();
                return match self.stall_limit {
                    Some(limit) if waited > limit => {
                        Err(Error::Stalled { newest: known.block, seconds: waited.as_secs() })
                    }
                    _ => Ok(known),
                };
            }
        }
        self.check_pace(head)?;
        self.newest = Some(head);
        self.since = Instant::now();
        self.remember(head);
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(block: u64, hash: u8) -> Head {
        Head { block: Block(block), hash: BlockHash([hash; 32]) }
    }

    /// Asks when the newest is what it is, and takes the answer.
    fn take(finality: &mut Finality, head: Head, again: Option<BlockHash>) -> Result<Head, Error> {
        finality.take(finality.newest(), (head, again))
    }

    #[test]
    fn an_endpoint_that_goes_back_lags_and_one_that_changes_a_final_block_lies() {
        let mut finality = Finality::new(None);
        assert_eq!(take(&mut finality, head(5, 5), None).unwrap(), head(5, 5));
        let error = take(&mut finality, head(4, 4), None).unwrap_err();
        assert!(matches!(error, Error::Lagging { .. }) && error.is_transient(), "{error}");
        let error = take(&mut finality, head(5, 6), None).unwrap_err();
        assert!(matches!(error, Error::Contradiction { .. }) && !error.is_transient(), "{error}");
        let error = take(&mut finality, head(6, 6), Some(BlockHash([9; 32]))).unwrap_err();
        assert!(matches!(error, Error::Contradiction { block: Block(5) }), "{error}");
        let again = Some(BlockHash([5; 32]));
        assert_eq!(take(&mut finality, head(6, 6), again).unwrap(), head(6, 6));
        assert_eq!(finality.hash(Block(5)), Some(BlockHash([5; 32])));
    }

    #[test]
    fn threads_that_ask_at_once_may_hear_in_any_order() {
        let mut finality = Finality::new(None);
        take(&mut finality, head(9, 9), None).unwrap();
        let asked = finality.newest();
        let again = Some(BlockHash([9; 32]));
        assert_eq!(finality.take(asked, (head(11, 11), again)).unwrap(), head(11, 11));
        assert_eq!(finality.take(asked, (head(10, 10), again)).unwrap(), head(11, 11));
        assert_eq!(finality.take(asked, (head(12, 12), again)).unwrap(), head(12, 12));
    }

    #[test]
    fn blocks_that_an_endpoint_tells_of_each_lead_to_the_next() {
        let news = |block: u64, hash: u8, parent: u8| News {
            head: head(block, hash),
            parent: BlockHash([parent; 32]),
        };
        let mut finality = Finality::new(None);
        assert_eq!(finality.hear(news(5, 5, 4)).unwrap(), Heard::Taken);
        assert_eq!(finality.hear(news(6, 6, 5)).unwrap(), Heard::Taken);
        let error = finality.hear(news(7, 7, 9)).unwrap_err();
        assert!(matches!(error, Error::Contradiction { block: Block(6) }), "{error}");
        assert_eq!(finality.newest(), Some(head(6, 6)));
        // Some are left out: the one before is asked for.
        assert_eq!(finality.hear(news(9, 9, 8)).unwrap(), Heard::After(head(6, 6)));
        let again = Some(BlockHash([6; 32]));
        assert_eq!(finality.take(Some(head(6, 6)), (head(9, 9), again)).unwrap(), head(9, 9));
        // What comes twice, or late, must be what it was.
        assert_eq!(finality.hear(news(6, 6, 5)).unwrap(), Heard::Taken);
        assert_eq!(finality.hear(news(9, 9, 8)).unwrap(), Heard::Taken);
        let error = finality.hear(news(6, 7, 5)).unwrap_err();
        assert!(matches!(error, Error::Contradiction { block: Block(6) }), "{error}");
        assert_eq!(finality.newest(), Some(head(9, 9)));
    }

    #[test]
    fn attack_a_head_that_no_chain_could_have_come_to_is_not_taken() {
        let mut finality = Finality::new(None);
        finality.set_pace(Duration::from_secs(12));
        take(&mut finality, head(1_000, 1), None).unwrap();
        let again = Some(BlockHash([1; 32]));
        for block in [1_000 + AHEAD_BLOCKS_MAX + 1, u64::MAX] {
            let error = take(&mut finality, head(block, 2), again).unwrap_err();
            assert!(matches!(error, Error::FalseHead { .. }) && error.is_transient(), "{error}");
        }
        assert_eq!(finality.newest(), Some(head(1_000, 1)));
        // Finality may have waited, and then comes at once.
        let jump = head(1_000 + AHEAD_BLOCKS_MAX, 2);
        assert_eq!(take(&mut finality, jump, again).unwrap(), jump);
        // After the time of ten blocks, ten more may be there.
        finality.since = Instant::now().checked_sub(Duration::from_secs(120)).unwrap();
        let later = head(jump.block.0 + AHEAD_BLOCKS_MAX + 10, 3);
        assert_eq!(take(&mut finality, later, Some(jump.hash)).unwrap(), later);
    }

    #[test]
    fn two_that_agree_and_move_on_are_right_and_one_or_those_that_stand_still_are_not() {
        let known = Some(head(1_000_000, 1));
        let lags = |said| Err(Error::Lagging { newest: Block(1_000_000), said: Block(said) });
        let mut alone = Contest::default();
        assert!((100..200).all(|said| !alone.note(known, "a", &lags(said))));
        let mut still = Contest::default();
        assert!((0..100).all(|i| !still.note(known, ["a", "b"][i % 2], &lags(100))));
        let mut apart = Contest::default();
        assert!(!apart.note(known, "b", &lags(500)));
        assert!((100..200).all(|said| !apart.note(known, "a", &lags(said))));
        let mut both = Contest::default();
        assert!(!both.note(known, "a", &lags(100)));
        assert!(!both.note(known, "b", &lags(101)));
        assert!(!both.note(known, "b", &lags(103)));
        assert!(both.note(known, "b", &lags(104)));
        // A little behind is no objection, and who comes up has none.
        let mut near = Contest::default();
        assert!((0..40).all(|i| !near.note(known, ["a", "b"][i % 2], &lags(999_960 + i as u64))));
        assert!(
            !near.note(known, "a", &lags(100)) && !near.note(known, "a", &Ok(head(1_000_000, 1)))
        );
        assert!((100..200).all(|said| !near.note(known, "b", &lags(said))));
        // About another block all is said anew.
        let mut moved = Contest::default();
        assert!(!moved.note(known, "a", &lags(100)));
        let other = Some(head(2_000_000, 2));
        assert!((100..200).all(|said| !moved.note(other, "b", &lags(said))));
    }

    #[test]
    fn a_head_that_stays_too_long_is_said_to_stall() {
        let mut finality = Finality::new(Some(Duration::ZERO));
        take(&mut finality, head(5, 5), None).unwrap();
        let error = take(&mut finality, head(5, 5), None).unwrap_err();
        assert!(matches!(error, Error::Stalled { .. }) && error.is_transient(), "{error}");
        assert!(take(&mut finality, head(6, 6), Some(BlockHash([5; 32]))).is_ok());
    }
}
