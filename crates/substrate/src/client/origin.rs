//! Whose chain an endpoint serves: what is signed for it is good wherever its genesis is known.

use super::{SubstrateChain, link::Link};
use crate::SealedLedger;
use chain::{Error, Genesis};
use protocol::BlockHash;
use subxt::rpcs;

/// Bittensor's networks, by the hash of the block before their first.
const BITTENSOR: [(&str, [u8; 32]); 2] = [
    ("finney", hash(b"2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03")),
    ("test", hash(b"8f9cf856bf558a14440e75569c9e58594757048d7b3a84b5d25f6bd978263105")),
];

/// The method by which our own node tells the whole of its genesis.
pub(crate) const GENESIS_METHOD: &str = "agon_genesis";

/// Hash of the genesis of a network of Bittensor, by its name: what
/// [`ClientConfig::genesis`](super::ClientConfig::genesis) wants to know; `None` for other names.
pub fn genesis_of(network: &str) -> Option<BlockHash> {
    BITTENSOR.iter().find(|(name, _)| *name == network).map(|(_, hash)| BlockHash(*hash))
}

/// Where a chain comes from; told by its genesis alone, which every signature names.
///
/// An address proves nothing: a tunnel or a proxy on this machine may lead to any chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An `agon node` made it: its genesis is one of our ledger.
    Agon,
    /// A network of Bittensor, by its name.
    Bittensor(&'static str),
    /// Somebody else's.
    Unknown,
}

impl SubstrateChain {
    /// Hash of the block before the first; every signature is for the chain that it names.
    pub fn genesis_hash(&self) -> Result<BlockHash, Error> {
        self.links.ask("genesis", async |link: &Link| Ok(link.genesis()))
    }

    /// The network of Bittensor that this chain is, if it is one.
    pub fn bittensor(&self) -> Result<Option<&'static str>, Error> {
        Ok(network(self.genesis_hash()?))
    }

    /// Where the chain comes from.
    ///
    /// That it is our node's is proven, not said: the genesis that the endpoint tells must have the
    /// hash that signatures name, so what is signed for it is worth nothing anywhere else.
    pub fn origin(&self) -> Result<Origin, Error> {
        if let Some(origin) = self.origin.get() {
            return Ok(*origin);
        }
        let origin = self.proven_origin()?;
        Ok(*self.origin.get_or_init(|| origin))
    }

    fn proven_origin(&self) -> Result<Origin, Error> {
        if let Some(name) = self.bittensor()? {
            return Ok(Origin::Bittensor(name));
        }
        let told = self.links.ask("genesis", async |link: &Link| {
            let answer = link.plain.request::<Genesis>(GENESIS_METHOD, rpcs::rpc_params![]).await;
            match answer {
                Ok(genesis) => Ok(Some(genesis)),
                Err(lost @ rpcs::Error::Client(_)) => Err(lost.into()),
                // It has no such method, or means something else by it.
                Err(_) => Ok(None),
            }
        })?;
        let ledger = told.and_then(|genesis| SealedLedger::new(&genesis).ok());
        let is_ours = ledger.map(|ledger| ledger.genesis_hash()) == Some(self.genesis_hash()?);
        Ok(if is_ours { Origin::Agon } else { Origin::Unknown })
    }
}

/// The network of Bittensor that begins like this, by its name.
pub(super) fn network(genesis: BlockHash) -> Option<&'static str> {
    BITTENSOR.iter().find(|(_, hash)| *hash == genesis.0).map(|(name, _)| *name)
}

/// The bytes of 64 hexadecimal digits.
const fn hash(digits: &[u8; 64]) -> [u8; 32] {
    const fn value(digit: u8) -> u8 {
        if digit < b'a' { digit - b'0' } else { digit - b'a' + 10 }
    }
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = value(digits[2 * i]) * 16 + value(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}
