//! Whether records follow each other.

use crate::Signed;
use protocol::{AccountId, Block, BlockHash, Digest, NetUid, record::Round};

/// Why a record does not follow the one before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not signed by the validator that it names.
    #[error("record {0}: the signature is not one of the validator that it names")]
    Signature(u64),
    /// It is another validator's.
    #[error("record {number} is one of {found}, not of {expected}")]
    Validator {
        /// Number of the record.
        number: u64,
        /// Who is named.
        found: AccountId,
        /// Whose records these are.
        expected: AccountId,
    },
    /// It is of another chain.
    #[error("record {number} is of the chain of genesis {found}, not of {expected}")]
    Genesis {
        /// Number of the record.
        number: u64,
        /// The chain that is named.
        found: BlockHash,
        /// The chain that these records are of.
        expected: BlockHash,
    },
    /// It is of another subnet.
    #[error("record {number} is of subnet {found}, not of {expected}")]
    NetUid {
        /// Number of the record.
        number: u64,
        /// The subnet that is named.
        found: NetUid,
        /// The subnet that these records are of.
        expected: NetUid,
    },
    /// It is of another competition.
    #[error("record {0} is of another competition")]
    Competition(u64),
    /// It is not the next one.
    #[error("record {found} follows where record {expected} should")]
    Number {
        /// Its number.
        found: u64,
        /// The number that comes next.
        expected: u64,
    },
    /// It names another record as the one before it.
    #[error("record {0} names another record than the one before it")]
    Previous(u64),
    /// Its seed is not later than that of the one before.
    #[error("record {0} is of a block that is not later than that of the one before it")]
    Block(u64),
    /// The newest record is not the one that the index names.
    #[error("record {0} is not the one that the index names")]
    Head(u64),
    /// An index is none of this validator, chain and subnet.
    #[error("the index is of another validator, chain or subnet")]
    Foreign,
    /// An index lacks what an earlier one had.
    #[error("the index has {found} records of `{competition}`, an earlier one had {expected}")]
    Older {
        /// Which competition.
        competition: String,
        /// Records in it.
        found: u64,
        /// Records in the earlier one.
        expected: u64,
    },
}

/// Whose records are one history: of which validator, on which subnet of which chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) validator: AccountId,
    pub(crate) genesis: BlockHash,
    pub(crate) netuid: NetUid,
}

impl Origin {
    fn of(round: &Round) -> Self {
        Self { validator: round.validator, genesis: round.genesis, netuid: round.netuid }
    }

    /// Names the first thing by which a round is of another history.
    pub(crate) fn check(&self, round: &Round) -> Result<(), Broken> {
        let number = round.number;
        if round.validator != self.validator {
            let (found, expected) = (round.validator, self.validator);
            return Err(Broken::Validator { number, found, expected });
        }
        if round.genesis != self.genesis {
            let (found, expected) = (round.genesis, self.genesis);
            return Err(Broken::Genesis { number, found, expected });
        }
        if round.netuid != self.netuid {
            let (found, expected) = (round.netuid, self.netuid);
            return Err(Broken::NetUid { number, found, expected });
        }
        Ok(())
    }
}

/// What a record must follow.
#[derive(Clone, Debug)]
struct Last {
    origin: Origin,
    competition: String,
    number: u64,
    block: Block,
    digest: Digest,
}

/// Looks at records one after the other, and remembers no more than the last of them.
#[derive(Clone, Debug, Default)]
pub struct Links {
    last: Option<Last>,
}

impl Links {
    /// Goes on after a record of this digest, which was taken in before.
    pub fn after(round: &Round, digest: Digest) -> Self {
        Self { last: Some(Last::of(round, digest)) }
    }

    /// Takes in the next record, if it is genuine and follows the one before it: of the same
    /// validator, chain, subnet and competition, with the next number, a later block, and the
    /// digest of the one before. The first may have any number.
    pub fn take(&mut self, signed: &Signed) -> Result<(), Broken> {
        let round = &signed.record.round;
        let number = round.number;
        if !signed.is_genuine() {
            return Err(Broken::Signature(number));
        }
        match &self.last {
            Some(last) => last.check(signed)?,
            // A chain of records begins with number 1, and nothing else does.
            None if number == 0 => return Err(Broken::Number { found: 0, expected: 1 }),
            None if (number == 1) != round.previous.is_none() => {
                return Err(Broken::Previous(number));
            }
            None => {}
        }
        self.last = Some(Last::of(round, signed.digest()));
        Ok(())
    }

    /// Digest of the last record that was taken in.
    pub fn digest(&self) -> Option<Digest> {
        self.last.as_ref().map(|last| last.digest)
    }
}

impl Last {
    fn of(round: &Round, digest: Digest) -> Self {
        Self {
            origin: Origin::of(round),
            competition: round.competition.clone(),
            number: round.number,
            block: round.block,
            digest,
        }
    }

    fn check(&self, next: &Signed) -> Result<(), Broken> {
        let round = &next.record.round;
        let number = round.number;
        self.origin.check(round)?;
        if round.competition != self.competition {
            return Err(Broken::Competition(number));
        }
        if Some(number) != self.number.checked_add(1) {
            let expected = self.number.saturating_add(1);
            return Err(Broken::Number { found: number, expected });
        }
        if round.previous != Some(self.digest) {
            return Err(Broken::Previous(number));
        }
        if round.block <= self.block {
            return Err(Broken::Block(number));
        }
        Ok(())
    }
}
