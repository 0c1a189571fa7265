//! Values of storage, one of which is not computed before somebody reads it.

use super::items::Pulse;
use parity_scale_codec::Encode as _;
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;
use timelock::BeaconKey;

/// A value of storage.
#[derive(Debug)]
pub struct Value(Kind);

#[derive(Debug)]
enum Kind {
    Encoded(Vec<u8>),
    Pulse(Box<OwnPulse>),
}

/// What a chain's own beacon makes in a round.
///
/// A block has a pulse of its own, which is read by few, and its signature costs as much as all
/// else of the block. It follows from key and round alone, of which both are kept: whoever reads it
/// first has it signed, and gets the bytes that it would have had at once.
#[derive(Debug)]
struct OwnPulse {
    key: BeaconKey,
    round: u64,
    bytes: OnceLock<Vec<u8>>,
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Encoded(bytes))
    }
}

impl Value {
    /// The [`Pulse`] of a round, signed when it is read first.
    pub(super) fn pulse(key: BeaconKey, round: u64) -> Self {
        Self(Kind::Pulse(Box::new(OwnPulse { key, round, bytes: OnceLock::new() })))
    }

    /// The value in SCALE.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Encoded(bytes) => bytes,
            Kind::Pulse(pulse) => pulse.bytes(),
        }
    }

    /// Whether another value of the same chain has the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Encoded(one), Kind::Encoded(other)) => one == other,
            (Kind::Pulse(one), Kind::Pulse(other)) => one.round == other.round,
            (Kind::Encoded(_), Kind::Pulse(_)) | (Kind::Pulse(_), Kind::Encoded(_)) => {
                self.bytes() == other.bytes()
            }
        }
    }

    /// Gives back what memory the encoder has taken too much.
    pub fn shrink(&mut self) {
        if let Kind::Encoded(bytes) = &mut self.0 {
            bytes.shrink_to_fit();
        }
    }
}

impl OwnPulse {
    fn bytes(&self) -> &[u8] {
        self.bytes.get_or_init(|| {
            let (round, signature) = (self.round, self.key.sign(self.round));
            let randomness = Sha256::digest(signature.0).to_vec();
            Pulse { round, randomness, signature: signature.0.to_vec() }.encode()
        })
    }
}
