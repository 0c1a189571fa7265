//! What an endpoint has said is final, and whether it keeps its word.

use chain::{Error, Head};
use protocol::{Block, BlockHash};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Most hashes of blocks that are remembered.
const HASHES_MAX: usize = 16_384;

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
    fn a_head_that_stays_too_long_is_said_to_stall() {
        let mut finality = Finality::new(Some(Duration::ZERO));
        take(&mut finality, head(5, 5), None).unwrap();
        let error = take(&mut finality, head(5, 5), None).unwrap_err();
        assert!(matches!(error, Error::Stalled { .. }) && error.is_transient(), "{error}");
        assert!(take(&mut finality, head(6, 6), Some(BlockHash([5; 32]))).is_ok());
    }
}
