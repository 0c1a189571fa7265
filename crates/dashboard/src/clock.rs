//! The time of a block, told from blocks that were seen: pages and feeds show it to people, and
//! nothing is decided by it.

use protocol::Block;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// Milliseconds from block to block until they were seen: Bittensor's.
const USUAL_MILLIS: u64 = 12_000;
/// Blocks after which a pace that was seen counts.
const BLOCKS_MIN: u64 = 4;

/// A block, and when it was seen first.
#[derive(Clone, Copy, Debug)]
struct Seen {
    block: Block,
    at_millis: u64,
}

/// When blocks were, as far as this process has seen them come.
#[derive(Debug, Default)]
pub struct Clock {
    /// The first and the newest.
    seen: Mutex<Option<(Seen, Seen)>>,
}

impl Clock {
    /// Notes that a block is the newest now.
    pub fn see(&self, block: Block) {
        let now = Seen { block, at_millis: now_millis() };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = match *seen {
            Some((first, last)) if first.block <= block => {
                Some((first, if last.block < block { now } else { last }))
            }
            _ => Some((now, now)),
        };
    }

    /// The newest block that was seen.
    pub fn head(&self) -> Option<Block> {
        self.both().map(|(_, last)| last.block)
    }

    /// About when a block was or will be, in seconds since 1970; `None` before any was seen.
    pub fn seconds(&self, block: Block) -> Option<u64> {
        let (_, last) = self.both()?;
        let millis = self.millis_per_block();
        let before = last.block.since(block).saturating_mul(millis);
        let after = block.since(last.block).saturating_mul(millis);
        Some(last.at_millis.saturating_sub(before).saturating_add(after) / 1_000)
    }

    /// Milliseconds from block to block: as they were seen, or the usual ones.
    pub fn millis_per_block(&self) -> u64 {
        let Some((first, last)) = self.both() else { return USUAL_MILLIS };
        let n_blocks = last.block.since(first.block);
        if n_blocks < BLOCKS_MIN {
            return USUAL_MILLIS;
        }
        (last.at_millis.saturating_sub(first.at_millis) / n_blocks).max(1)
    }

    /// Seconds that have passed since a block, as far as it can be told.
    pub fn seconds_since(&self, block: Block) -> Option<u64> {
        Some((now_millis() / 1_000).saturating_sub(self.seconds(block)?))
    }

    fn both(&self) -> Option<(Seen, Seen)> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 as `2026-12-01T09:30:00Z`.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since the first of March of the year 0: leap days are the last of such years.
    let days = days.min(2_932_896) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests;
