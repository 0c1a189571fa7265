//! When a signed call may be included.

use parity_scale_codec::{Decode, Encode, Error as CodecError, Input};
use protocol::Block;

/// Blocks in which a call may be included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Any.
    Immortal,
    /// From the youngest block divisible by `period` with rest `phase`, for `period` blocks.
    Mortal {
        /// A power of two from 4 to 65,536.
        period: u32,
        /// Less than `period`.
        phase: u32,
    },
}

impl Era {
    const PERIOD_MIN: u32 = 4;
    const PERIOD_MAX: u32 = 1 << 16;

    /// The era of at least `period` blocks that begins with block `current`.
    pub fn mortal(period: u32, current: Block) -> Self {
        let period = period.clamp(Self::PERIOD_MIN, Self::PERIOD_MAX).next_power_of_two();
        let phase = (current.0 % u64::from(period)) as u32;
        // The phase of long eras is rounded down to the grid on which it travels.
        Self::Mortal { period, phase: phase - phase % Self::grid(period) }
    }

    /// An era that block `head` is in and that ends with block `last` at the latest, after about
    /// `period` blocks where that is sooner; `None` where `last` has come, or is among the first
    /// blocks of a chain, in which no era can end.
    ///
    /// An era may begin before it is signed: so one of four blocks has an end even where only the
    /// next block is left.
    pub fn until(last: Block, head: Block, period: u32) -> Option<Self> {
        let usual = Self::mortal(period, head);
        if usual.ends_by(last, head) {
            return Some(usual);
        }
        // Shorter than the usual one, so that it fits.
        let left = u32::try_from(last.0.checked_sub(head.0)?).ok()?.checked_add(1)?;
        if left == 1 {
            return None;
        }
        let period = left.clamp(Self::PERIOD_MIN, Self::PERIOD_MAX).next_power_of_two();
        let beyond = last.0.checked_add(1)?;
        match beyond.checked_sub(u64::from(period)) {
            Some(birth) => Some(Self::mortal(period, Block(birth))),
            // It would begin before the chain: one of half the blocks ends sooner.
            None => Some(Self::mortal(period / 2, head)).filter(|era| era.ends_by(last, head)),
        }
    }

    /// Whether no block after `last` is in the era of `head`.
    fn ends_by(self, last: Block, head: Block) -> bool {
        self.death(head).is_some_and(|death| death.0.checked_sub(1) <= Some(last.0))
    }

    fn grid(period: u32) -> u32 {
        (period >> 12).max(1)
    }

    /// The first block of the era that `current` is in.
    pub fn birth(self, current: Block) -> Block {
        match self {
            Self::Immortal => Block(0),
            Self::Mortal { period, phase } => {
                let (period, phase) = (u64::from(period.max(1)), u64::from(phase));
                Block((current.0.max(phase) - phase) / period * period + phase)
            }
        }
    }

    /// The first block after the era that `current` is in; `None` for never.
    pub fn death(self, current: Block) -> Option<Block> {
        match self {
            Self::Immortal => None,
            Self::Mortal { period, .. } => {
                Some(Block(self.birth(current).0.saturating_add(u64::from(period))))
            }
        }
    }
}

// One byte 0, or two bytes: the logarithm of the period less one in the low four bits, the phase
// in units of its grid above them.
impl Encode for Era {
    fn size_hint(&self) -> usize {
        2
    }

    fn using_encoded<R, F: FnOnce(&[u8]) -> R>(&self, f: F) -> R {
        match self {
            Self::Immortal => f(&[0]),
            Self::Mortal { period, phase } => {
                let low = (period.trailing_zeros().saturating_sub(1)).clamp(1, 15) as u16;
                let high = (phase / Self::grid(*period)) as u16;
                f(&(low | high << 4).to_le_bytes())
            }
        }
    }
}

impl Decode for Era {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        let first = input.read_byte()?;
        if first == 0 {
            return Ok(Self::Immortal);
        }
        let encoded = u16::from_le_bytes([first, input.read_byte()?]);
        let period = 2_u32 << (encoded & 15);
        let phase = u32::from(encoded >> 4).checked_mul(Self::grid(period));
        match phase.filter(|phase| *phase < period && period >= Self::PERIOD_MIN) {
            Some(phase) => Ok(Self::Mortal { period, phase }),
            None => Err("period and phase of the era do not belong together".into()),
        }
    }
}

#[cfg(test)]
mod tests;
