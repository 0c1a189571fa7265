//! What an endpoint has said is final, and whether it keeps its word.

use chain::{Error, Head};
use protocol::{Block, BlockHash};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

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
    hashes: BTreeMap<Block, BlockHash>,
}

impl Finality {
    pub(super) fn new(stall_limit: Option<Duration>) -> Self {
        Self { newest: None, since: Instant::now(), stall_limit, hashes: BTreeMap::new() }
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
    fn a_head_that_stays_too_long_is_said_to_stall() {
        let mut finality = Finality::new(Some(Duration::ZERO));
        take(&mut finality, head(5, 5), None).unwrap();
        let error = take(&mut finality, head(5, 5), None).unwrap_err();
        assert!(matches!(error, Error::Stalled { .. }) && error.is_transient(), "{error}");
        assert!(take(&mut finality, head(6, 6), Some(BlockHash([5; 32]))).is_ok());
    }
}
