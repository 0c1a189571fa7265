//! A beacon: when its rounds come, who signs them, and whether a signature is one.

use crate::curve::{G1, G2, Scalar};
use std::{fmt, num::NonZeroU64};

/// Blocks from the reveal to the time that a round is chosen for. Nobody then opens what is sealed
/// while it can still be copied, be the blocks a little slower than forecast; the chain looks for
/// the signature again at each block of the reveal's epoch. The clients of Bittensor take as many.
const MARGIN_BLOCKS: u64 = 3;

/// Milliseconds of a second.
const SECOND_MS: u64 = 1_000;

/// What publishes one signature a round, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Key that its signatures verify under.
    pub public_key: PublicKey,
    /// When round 1 is published, in seconds since 1970.
    pub genesis_unix: u64,
    /// Milliseconds between two rounds.
    pub period_ms: NonZeroU64,
}

/// A key of a beacon: a compressed point of G2 of BLS12-381, if the bytes are one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 96]);

/// What a beacon publishes for a round: a compressed point of G1, if the bytes are one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 48]);

/// The secret of a beacon that lives and dies with a test or a local chain; wiped on drop, never
/// printed. Whoever has it opens everything that was sealed to the beacon.
pub struct BeaconKey(Scalar);

/// When blocks will be made, as far as somebody can tell who has just seen one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The newest block.
    pub head: u64,
    /// The time of now in milliseconds since 1970, by the clock of whoever asks.
    pub now_ms: u64,
    /// Milliseconds between two blocks.
    pub block_time_ms: u64,
}

impl Beacon {
    /// The beacon of drand that Bittensor's chain follows: scheme `bls-unchained-g1-rfc9380`, chain
    /// hash `52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971`.
    pub const QUICKNET: Self = Self {
        public_key: PublicKey(QUICKNET_KEY),
        genesis_unix: 1_692_803_367,
        period_ms: NonZeroU64::new(3_000).expect("three seconds are not zero"),
    };

    /// When a round is published, in milliseconds since 1970. Rounds count from 1; round 0, which
    /// there is none of, is as early as the first.
    pub fn published_ms(&self, round: u64) -> u64 {
        let periods = round.saturating_sub(1);
        self.genesis_ms().saturating_add(periods.saturating_mul(self.period_ms.get()))
    }

    /// The newest round that is published at a time in milliseconds since 1970; 0 before the first.
    pub fn round_at(&self, time_ms: u64) -> u64 {
        match time_ms.checked_sub(self.genesis_ms()) {
            Some(age_ms) => (age_ms / self.period_ms).saturating_add(1),
            None => 0,
        }
    }

    /// The round to seal weights to that are to be revealed from a block on; at least 1.
    ///
    /// `floor((now + (reveal + 3 - head) · block time - genesis) / period)`, as the clients of
    /// Bittensor compute it in floating seconds; here in whole milliseconds. It is the round before
    /// the newest of that time, one to two periods old then.
    pub fn reveal_round(&self, forecast: &Forecast, reveal_block: u64) -> u64 {
        let time_ms = forecast.time_ms(reveal_block.saturating_add(MARGIN_BLOCKS));
        (time_ms.saturating_sub(self.genesis_ms()) / self.period_ms).max(1)
    }

    fn genesis_ms(&self) -> u64 {
        self.genesis_unix.saturating_mul(SECOND_MS)
    }
}

impl Forecast {
    /// When a block will be there, in milliseconds since 1970; now for a block that is already.
    pub fn time_ms(&self, block: u64) -> u64 {
        let blocks = block.saturating_sub(self.head);
        self.now_ms.saturating_add(blocks.saturating_mul(self.block_time_ms))
    }
}

impl PublicKey {
    /// Whether `signature` is the one of `round`. Any bytes may be given: what is no key or no
    /// signature verifies nothing.
    pub fn verify(&self, signature: &Signature, round: u64) -> bool {
        match (G2::from_bytes(&self.0), G1::from_bytes(&signature.0)) {
            (Some(key), Some(signature)) => signature.is_signature(&key, round),
            _ => false,
        }
    }
}

impl BeaconKey {
    /// The key of a seed, the same on every machine. Whoever knows the seed has the key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Scalar::of_seed(seed))
    }

    /// The key that others verify under and seal to.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.of_generator().to_bytes())
    }

    /// The signature of a round; there is only one.
    pub fn sign(&self, round: u64) -> Signature {
        Signature(self.0.of_identity(round).to_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        beginning(&self.0, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        beginning(&self.0, f)
    }
}

impl fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeaconKey({:?})", self.public_key())
    }
}

/// Enough of some bytes to tell them from others.
fn beginning(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
    f.write_str("…)")
}

const QUICKNET_KEY: [u8; 96] = [
    0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22,
    0x12, 0xc4, 0x37, 0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c,
    0x8c, 0x4b, 0x45, 0x0b, 0x6a, 0x0a, 0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51,
    0x0d, 0x1f, 0xec, 0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b, 0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb,
    0x5e, 0xd6, 0x63, 0x04, 0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7, 0x3b, 0xab, 0x4a, 0xf5,
    0xa6, 0xe9, 0xc7, 0x6a, 0x4b, 0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4, 0x5a,
];

#[cfg(test)]
mod tests;
