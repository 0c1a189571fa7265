//! What is known beside a round: losses of rounds before it, what others found in it, and records
//! that are false.

use super::{ROW, Row, row};
use crate::{
    figures::Estimate,
    index::{Error, Index, Series, entry, int, uint},
};
use protocol::{Block, Digest};
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};

/// The last loss of a model that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Number of the record that has it.
    pub number: u64,
    /// The loss.
    pub loss: Estimate,
    /// [`Row::bits_of_nat`] of that record.
    pub bits_of_nat: Option<f64>,
}

/// Most commitments to one root that are looked for.
const COMMITMENTS_MAX: i64 = 256;

impl Index {
    /// The last believed record of a validator in which the model of a root is champion and was
    /// measured.
    pub fn last_measured(
        &self,
        Series { validator, competition }: Series<'_>,
        root: Digest,
        until: Block,
    ) -> Result<Option<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r WHERE r.validator = ?1 AND r.competition = ?2
             AND r.block <= ?3 AND r.state = 0 AND r.root = ?4 AND r.loss IS NOT NULL
             ORDER BY r.block DESC LIMIT 1"
        );
        self.first(&sql, params![validator.0, competition, int(until.0), root.0], row)
    }

    /// The last believed records of a validator, newest first.
    pub fn believed(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r WHERE r.validator = ?1 AND r.competition = ?2
             AND r.block <= ?3 AND r.state = 0 ORDER BY r.block DESC LIMIT ?4"
        );
        self.all(&sql, params![validator.0, competition, int(until.0), int(n_max)], row)
    }

    /// The last losses of models by their roots; the last `n_rounds` believed records of a
    /// validator are looked at.
    pub fn known_losses(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        roots: &BTreeSet<Digest>,
        n_rounds: u64,
    ) -> Result<BTreeMap<Digest, Known>, Error> {
        let mut wanted = BTreeMap::new();
        for root in roots {
            let sql = "SELECT id FROM models WHERE root = ?1 LIMIT ?2";
            let ids: Vec<i64> =
                self.all(sql, params![root.0, COMMITMENTS_MAX], |sql| sql.get(0))?;
            wanted.extend(ids.into_iter().map(|id| (id, *root)));
        }
        let sql = "SELECT r.number, r.bits_of_nat, c.entries FROM records r
            JOIN bodies b ON b.record = r.id JOIN commons c ON c.id = b.common
            WHERE r.validator = ?1 AND r.competition = ?2 AND r.block <= ?3 AND r.state = 0
            ORDER BY r.block DESC LIMIT ?4";
        let whose = params![validator.0, competition, int(until.0), int(n_rounds)];
        let rounds: Vec<(i64, Option<f64>, Vec<u8>)> =
            self.all(sql, whose, |sql| Ok((sql.get(0)?, sql.get(1)?, sql.get(2)?)))?;
        let mut found = BTreeMap::new();
        for (number, bits_of_nat, bytes) in rounds {
            if found.len() == roots.len() {
                break;
            }
            for entry in entry::unpacked(&bytes)? {
                let (Some(root), Some(mean)) = (wanted.get(&entry.model), entry.loss) else {
                    continue;
                };
                let error = entry.error.unwrap_or(0.0);
                let n = usize::try_from(entry.n).unwrap_or(usize::MAX);
                let loss = Estimate { mean, error, n };
                let known = Known { number: uint(number), loss, bits_of_nat };
                found.entry(*root).or_insert(known);
            }
        }
        Ok(found)
    }

    /// By the number of each of the last `n_max` records of a validator: how many other validators
    /// have a record of its round, how many of them found the same losses to the bit, and how many
    /// the same champion.
    pub fn agreements(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<BTreeMap<u64, [u64; 3]>, Error> {
        let sql = "SELECT r.number, count(*), sum(o.voice = r.voice),
            sum(o.hotkey IS r.hotkey AND o.root IS r.root)
            FROM (SELECT number, competition, block, validator, voice, hotkey, root FROM records
                WHERE validator = ?1 AND competition = ?2 AND block <= ?3
                ORDER BY block DESC LIMIT ?4) r
            JOIN records o ON o.competition = r.competition AND o.block = r.block
                AND o.validator != r.validator
            GROUP BY r.number";
        let whose = params![validator.0, competition, int(until.0), int(n_max)];
        let all: Vec<(i64, [i64; 3])> =
            self.all(sql, whose, |sql| Ok((sql.get(0)?, [sql.get(1)?, sql.get(2)?, sql.get(3)?])))?;
        Ok(all.into_iter().map(|(number, counts)| (uint(number), counts.map(uint))).collect())
    }

    /// Records of a validator that are false, one of each place at most: number, why, and where.
    pub fn flaws(
        &self,
        Series { validator, competition }: Series<'_>,
    ) -> Result<Vec<(u64, String, String)>, Error> {
        let sql = "SELECT number, flaw, source FROM flaws
            WHERE validator = ?1 AND competition = ?2 ORDER BY number, source";
        self.all(sql, params![validator.0, competition], |sql| {
            Ok((uint(sql.get(0)?), sql.get(1)?, sql.get(2)?))
        })
    }
}
