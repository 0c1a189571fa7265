//! The newest record of each competition, which together name all.

use crate::{Broken, Error, Signed, check_name, links::Origin};
use protocol::{AccountId, BlockHash, Digest, NetUid, text::shown};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes of an index that anybody reads.
pub const INDEX_BYTES_MAX: usize = 64 << 10;
/// Most letters of what is wrong with an index that cannot be read.
const DETAIL_LETTERS_MAX: usize = 300;
/// Number of the form of an index.
const FORMAT: u32 = 1;

/// The newest record of each competition of one validator.
///
/// A record names the one before it by its digest, so an index names every record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    format: u32,
    /// Whose records these are.
    pub validator: AccountId,
    /// Hash of the first block of the chain that they are of.
    pub genesis: BlockHash,
    /// The subnet that they are of.
    pub netuid: NetUid,
    /// The newest record of each competition, by name; each has one.
    pub competitions: BTreeMap<String, Head>,
}

/// The newest record of a competition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its number, which is how many there are.
    pub n_records: u64,
    /// Digest of the record, without its signature.
    pub digest: Digest,
}

impl Index {
    /// An index of no competition yet.
    pub fn new(validator: AccountId, genesis: BlockHash, netuid: NetUid) -> Self {
        Self { format: FORMAT, validator, genesis, netuid, competitions: BTreeMap::new() }
    }

    /// The bytes of the file: there is one text for each index.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index has text keys and is written to memory")
    }

    /// Reads what a stranger wrote; refuses whatever is not spelt as [`Index::to_json`] spells it.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        // It may quote the file, which is a stranger's.
        let refuse = |detail: &str| Error::NotAnIndex(shown(detail, DETAIL_LETTERS_MAX));
        if json.len() > INDEX_BYTES_MAX {
            return Err(refuse("too long"));
        }
        let index: Self =
            serde_json::from_slice(json).map_err(|error| refuse(&error.to_string()))?;
        if index.format != FORMAT {
            return Err(refuse("of another format"));
        }
        for (name, head) in &index.competitions {
            check_name(name)?;
            if head.n_records == 0 {
                return Err(refuse("a competition without records"));
            }
        }
        if index.to_json() != json {
            return Err(refuse("not in its canonical form"));
        }
        Ok(index)
    }

    /// Digest of [`Index::to_json`]: what stands on the chain.
    pub fn root(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// Where the index that the chain names lies in a repo, besides `index.json`, which goes on.
    pub fn path_of(root: Digest) -> String {
        format!("roots/{}.json", root.hex())
    }

    fn origin(&self) -> Origin {
        Origin { validator: self.validator, genesis: self.genesis, netuid: self.netuid }
    }

    /// Whether another index, if there is one, is of the same validator, chain and subnet.
    pub(crate) fn goes_with(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| other.origin() == self.origin())
    }

    /// Whether a record is of the validator, the chain and the subnet of this index.
    pub fn check(&self, signed: &Signed) -> Result<(), Broken> {
        self.origin().check(&signed.record.round)
    }

    /// Takes in a record as the newest of its competition, if it is genuine and the one after that
    /// which was. The first of a competition may have any number.
    pub fn push(&mut self, signed: &Signed) -> Result<(), Broken> {
        self.check_genuine(signed)?;
        let round = &signed.record.round;
        if let Some(last) = self.competitions.get(&round.competition) {
            let expected = last.n_records.saturating_add(1);
            if round.number != expected {
                return Err(Broken::Number { found: round.number, expected });
            }
            if round.previous != Some(last.digest) {
                return Err(Broken::Previous(round.number));
            }
        }
        self.put(signed);
        Ok(())
    }

    /// Takes in a record as the newest of its competition where all between the one which was and
    /// this one are lost. Whoever reads them finds that they are missing.
    pub fn push_after_lost(&mut self, signed: &Signed) -> Result<(), Broken> {
        let round = &signed.record.round;
        let last = self.competitions.get(&round.competition).map_or(0, |last| last.n_records);
        if round.number <= last.saturating_add(1) {
            return self.push(signed);
        }
        self.check_genuine(signed)?;
        self.put(signed);
        Ok(())
    }

    fn check_genuine(&self, signed: &Signed) -> Result<(), Broken> {
        self.check(signed)?;
        if signed.is_genuine() {
            return Ok(());
        }
        Err(Broken::Signature(signed.record.round.number))
    }

    /// Takes in a record that is known to be genuine as the newest of its competition.
    pub(crate) fn put(&mut self, signed: &Signed) {
        let round = &signed.record.round;
        let head = Head { n_records: round.number, digest: signed.digest() };
        self.competitions.insert(round.competition.clone(), head);
    }

    /// Whether this index can have come after an earlier one: of the same validator, chain and
    /// subnet, with at least as many records, and the same newest one where there are as many.
    ///
    /// Whether the records between lead from one to the other only they can tell.
    pub fn follows(&self, earlier: &Self) -> Result<(), Broken> {
        if self.origin() != earlier.origin() {
            return Err(Broken::Foreign);
        }
        for (competition, before) in &earlier.competitions {
            let now = self.competitions.get(competition);
            let (found, expected) = (now.map_or(0, |head| head.n_records), before.n_records);
            if found < expected {
                return Err(Broken::Older { competition: competition.clone(), found, expected });
            }
            if found == expected && now != Some(before) {
                return Err(Broken::Head(expected));
            }
        }
        Ok(())
    }
}
