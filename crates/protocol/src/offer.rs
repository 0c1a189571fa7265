//! An offer to pay for a competition: what whoever wants a model signs, and what a payment buys.

use crate::{AccountId, BlockHash, Competition, Digest, NetUid, digest::canonical_json};
use serde::{Deserialize, Serialize};

/// Most bytes of an offer.
pub const OFFER_BYTES_MAX: usize = 4 << 10;
/// Blocks of the day that is paid for.
pub const DAY_BLOCKS: u64 = 7_200;

/// Number of the form of an offer.
const FORMAT: u32 = 1;

/// TAO a day for a competition on a subnet of one chain, from a payer to a payee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    format: u32,
    /// Genesis of the chain that payments stand on.
    pub genesis: BlockHash,
    /// Subnet.
    pub netuid: NetUid,
    /// Digest of the rules, as whoever pays wrote them.
    pub rules: Digest,
    /// Account that pays and signs.
    pub payer: AccountId,
    /// Account that is paid: the owner of the subnet.
    pub payee: AccountId,
    /// Rao for a day of 7,200 blocks.
    pub rao_per_day: u64,
    /// First block that is wanted.
    pub from_block: u64,
    /// First block that is not wanted any more.
    pub until_block: u64,
}

/// Who offers what to whom.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Genesis of the chain.
    pub genesis: BlockHash,
    /// Subnet.
    pub netuid: NetUid,
    /// Account that pays.
    pub payer: AccountId,
    /// Account that is paid.
    pub payee: AccountId,
    /// Rao for a day.
    pub rao_per_day: u64,
}

/// Why bytes are no offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an offer: {0}")]
pub struct NotAnOffer(String);

impl Offer {
    /// An offer for a competition from its first block to its last.
    pub fn new(rules: &Competition, terms: Terms) -> Result<Self, NotAnOffer> {
        let Terms { genesis, netuid, payer, payee, rao_per_day } = terms;
        let until_block =
            rules.until_block.ok_or_else(|| refuse("the rules have no last block"))?;
        let (from_block, rules) = (rules.from_block, rules.digest());
        let offer = Self {
            format: FORMAT,
            genesis,
            netuid,
            rules,
            payer,
            payee,
            rao_per_day,
            from_block,
            until_block,
        };
        offer.check()?;
        Ok(offer)
    }

    /// Reads what a stranger wrote; there is one text for each offer, all others are refused.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotAnOffer> {
        if bytes.len() > OFFER_BYTES_MAX {
            return Err(refuse("too long"));
        }
        let offer: Self =
            serde_json::from_slice(bytes).map_err(|error| refuse(&error.to_string()))?;
        offer.check()?;
        if offer.to_json() == bytes { Ok(offer) } else { Err(refuse("not in its canonical form")) }
    }

    /// The offer as canonical JSON.
    pub fn to_json(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// What is signed: 32 bytes that no call of a chain is.
    pub fn digest(&self) -> Digest {
        Digest::of_fields("agon offer", &[&self.to_json()])
    }

    /// Blocks that so much money buys.
    pub fn blocks_bought(&self, rao: u64) -> u64 {
        let bought = u128::from(rao) * u128::from(DAY_BLOCKS) / u128::from(self.rao_per_day.max(1));
        u64::try_from(bought).unwrap_or(u64::MAX)
    }

    fn check(&self) -> Result<(), NotAnOffer> {
        if self.format != FORMAT {
            return Err(refuse("of another format"));
        }
        if self.rao_per_day == 0 {
            return Err(refuse("it pays nothing"));
        }
        if self.until_block <= self.from_block {
            return Err(refuse("it ends before it begins"));
        }
        Ok(())
    }
}

fn refuse(detail: &str) -> NotAnOffer {
    NotAnOffer(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        let mut rules = Competition::builtin("tiny").unwrap();
        (rules.from_block, rules.until_block) = (100, Some(90_000));
        let terms = Terms {
            genesis: BlockHash([7; 32]),
            netuid: NetUid(1),
            payer: AccountId([1; 32]),
            payee: AccountId([2; 32]),
            rao_per_day: 3_000_000_000,
        };
        Offer::new(&rules, terms).unwrap()
    }

    #[test]
    fn an_offer_is_one_text_and_money_buys_whole_blocks() {
        let offer = offer();
        let bytes = offer.to_json();
        assert_eq!(Offer::from_json(&bytes).unwrap(), offer);
        let mut other = offer.clone();
        other.rao_per_day += 1;
        assert_ne!(other.digest(), offer.digest());
        assert_eq!(offer.blocks_bought(3_000_000_000), 7_200);
        assert_eq!(offer.blocks_bought(416_666), 0, "a block costs a little more");
        assert_eq!(offer.blocks_bought(416_667), 1);
        assert_eq!(offer.blocks_bought(0), 0);
        let spaced = [&bytes[..], b" "].concat();
        assert!(Offer::from_json(&spaced).is_err());
        assert!(Offer::from_json(&[b'['; OFFER_BYTES_MAX + 1]).is_err());
        let free = Offer { rao_per_day: 0, ..offer };
        assert!(Offer::from_json(&free.to_json()).is_err());
        let over = Offer { until_block: 100, ..offer };
        assert!(Offer::from_json(&over.to_json()).is_err());
        let endless = Competition::builtin("tiny").unwrap();
        let Offer { genesis, netuid, payer, payee, rao_per_day, .. } = over;
        let terms = Terms { genesis, netuid, payer, payee, rao_per_day };
        assert!(Offer::new(&endless, terms).is_err());
    }
}
