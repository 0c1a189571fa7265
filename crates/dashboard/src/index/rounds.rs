//! How models came out of rounds.

use super::{
    Error, Index, Series,
    entry::{self, Entry},
    int,
    query::{Build, Holder, ROW, Row, Standing, row},
    uint,
};
use protocol::{AccountId, Block, Digest};
use rusqlite::params;
use std::{collections::BTreeSet, ops::RangeInclusive};

/// Most models of a miner that are looked for in a round.
const MODELS_MAX: i64 = 256;
/// Most rounds that are looked through for one that has two models.
const COMMON_MAX: u64 = 64;

/// Whose results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of the model of a root.
    Root(Digest),
    /// Those of all models of a miner.
    Miner(AccountId),
}

impl Wanted {
    /// The column of the models that tells, and what it has to hold.
    fn column(self) -> (&'static str, [u8; 32]) {
        match self {
            Self::Root(root) => ("root", root.0),
            Self::Miner(hotkey) => ("hotkey", hotkey.0),
        }
    }
}

impl Index {
    /// How each model came out of a round, in order of uid.
    pub fn standings(&self, row: &Row) -> Result<Vec<Standing>, Error> {
        let entries = self.entries(row.id)?;
        entries.into_iter().map(|entry| self.standing(row, entry)).collect()
    }

    /// What is kept of the models of a round, each with the average of its miner.
    fn entries(&self, record: i64) -> Result<Vec<(Entry, f64)>, Error> {
        let sql = "SELECT c.entries, b.averages FROM bodies b JOIN commons c ON c.id = b.common
            WHERE b.record = ?1";
        let bytes: Option<(Vec<u8>, Vec<u8>)> =
            self.first(sql, [record], |sql| Ok((sql.get(0)?, sql.get(1)?)))?;
        let (entries, averages) = bytes.ok_or(Error::Damaged("a round"))?;
        let averages = entry::unpacked_averages(&averages)?;
        let average = |at: usize| averages.get(&at).copied().unwrap_or(0.0);
        let entries = entry::unpacked(&entries)?.into_iter().enumerate();
        Ok(entries.map(|(at, entry)| (entry, average(at))).collect())
    }

    /// The same with what the model was committed as.
    fn standing(&self, row: &Row, (entry, average): (Entry, f64)) -> Result<Standing, Error> {
        let sql = "SELECT uid, hotkey, root, repo, revision, commit_block, architecture,
            n_parameters FROM models WHERE id = ?1";
        let Entry { loss, error, fate, is_broken, .. } = entry;
        let (reason, merit) =
            if is_broken { (Some(fate), "absent".to_owned()) } else { (None, fate) };
        let found = self.first(sql, [entry.model], |sql| {
            let holder = Holder {
                uid: sql.get(0)?,
                hotkey: AccountId(sql.get(1)?),
                root: sql.get::<_, Option<[u8; 32]>>(2)?.map(Digest),
                repo: sql.get(3)?,
                loss,
                error,
            };
            let architecture: Option<String> = sql.get(6)?;
            let n_parameters = sql.get::<_, Option<i64>>(7)?.map(uint);
            let build = architecture
                .zip(n_parameters)
                .map(|(architecture, n_parameters)| Build { architecture, n_parameters });
            Ok(Standing {
                competition: row.competition.clone(),
                number: row.number,
                block: row.block,
                holder,
                revision: sql.get(4)?,
                commit_block: Block(uint(sql.get(5)?)),
                build,
                bits_of_nat: row.bits_of_nat,
                n: entry.n,
                reason,
                merit,
                wins: entry.wins,
                win_rate: entry.win_rate,
                weight: entry.weight,
                average,
            })
        });
        found?.ok_or(Error::Damaged("a model"))
    }

    /// Who has results of what is wanted, and in which competition, most stake first.
    pub fn judges_of(&self, wanted: Wanted) -> Result<Vec<(AccountId, String)>, Error> {
        let (column, bytes) = wanted.column();
        let sql = format!(
            "SELECT s.validator, s.competition, coalesce(k.rao, 0) FROM models m
             JOIN seen s ON s.model = m.id LEFT JOIN stakes k ON k.validator = s.validator
             WHERE m.{column} = ?1 GROUP BY s.competition, s.validator
             ORDER BY s.competition, coalesce(k.rao, 0) DESC, s.validator"
        );
        self.all(&sql, [bytes], |sql| Ok((AccountId(sql.get(0)?), sql.get(1)?)))
    }

    /// How what is wanted came out of the last believed rounds of a validator, newest first;
    /// `n_max` rounds are looked at.
    pub fn history(
        &self,
        series: Series<'_>,
        wanted: Wanted,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<Standing>, Error> {
        let (column, bytes) = wanted.column();
        let sql = format!(
            "SELECT m.id, s.first, s.last FROM models m JOIN seen s ON s.model = m.id
             WHERE m.{column} = ?1 AND s.validator = ?2 AND s.competition = ?3
             ORDER BY s.last DESC LIMIT ?4"
        );
        let whose = params![bytes, series.validator.0, series.competition, MODELS_MAX];
        let seen: Vec<(i64, i64, i64)> =
            self.all(&sql, whose, |sql| Ok((sql.get(0)?, sql.get(1)?, sql.get(2)?)))?;
        let ids: BTreeSet<i64> = seen.iter().map(|(id, ..)| *id).collect();
        let first = seen.iter().map(|(_, first, _)| *first).min().unwrap_or(0);
        let last = seen.iter().map(|(.., last)| *last).max().unwrap_or(0);
        let mut found = Vec::new();
        for row in self.span(series, until, first..=last, n_max)? {
            for entry in self.entries(row.id)? {
                if ids.contains(&entry.0.model) {
                    found.push(self.standing(&row, entry)?);
                }
            }
        }
        Ok(found)
    }

    /// Believed records of a validator with numbers within a range, newest first.
    fn span(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        numbers: RangeInclusive<i64>,
        n_max: u64,
    ) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r WHERE r.validator = ?1 AND r.competition = ?2
             AND r.number BETWEEN ?3 AND ?4 AND r.block <= ?5 AND r.state = 0
             ORDER BY r.number DESC LIMIT ?6"
        );
        let (first, last) = numbers.into_inner();
        let (until, n_max) = (int(until.0), int(n_max));
        self.all(&sql, params![validator.0, competition, first, last, until, n_max], row)
    }

    /// The last believed records of a validator that have the model of a root measured, newest
    /// first; `n_max` are looked at.
    pub fn measured(
        &self,
        series: Series<'_>,
        root: Digest,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<Row>, Error> {
        let standings = self.history(series, Wanted::Root(root), until, n_max)?;
        let mut numbers: Vec<u64> =
            standings.iter().filter(|found| found.n > 0).map(|found| found.number).collect();
        numbers.dedup();
        let mut rows = Vec::new();
        for number in numbers {
            rows.extend(self.record(series, number)?);
        }
        Ok(rows)
    }

    /// The last believed record of a validator that has both models measured.
    pub fn common(
        &self,
        series: Series<'_>,
        until: Block,
        (a, b): (Digest, Digest),
    ) -> Result<Option<Row>, Error> {
        let [first, second] = [
            self.measured(series, a, until, COMMON_MAX)?,
            self.measured(series, b, until, COMMON_MAX)?,
        ];
        let numbers: BTreeSet<u64> = second.iter().map(|row| row.number).collect();
        Ok(first.into_iter().find(|row| numbers.contains(&row.number)))
    }

    /// Block and loss of all models of every so-many-th round, at most about `n_max` of them.
    pub fn model_losses(
        &self,
        series: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<(Block, f64)>, Error> {
        let Some(last) = self.latest(series, until)? else {
            return Ok(Vec::new());
        };
        let every = last.number.saturating_mul(last.n_models).div_ceil(n_max.max(1)).max(1);
        let sql = "SELECT r.block, c.entries FROM records r JOIN bodies b ON b.record = r.id
            JOIN commons c ON c.id = b.common
            WHERE r.validator = ?1 AND r.competition = ?2 AND r.block <= ?3 AND r.state = 0
            AND (?4 - r.number) % ?5 = 0 ORDER BY r.block";
        let Series { validator, competition } = series;
        let (number, until) = (int(last.number), int(until.0));
        let rounds: Vec<(i64, Vec<u8>)> =
            self.all(sql, params![validator.0, competition, until, number, int(every)], |sql| {
                Ok((sql.get(0)?, sql.get(1)?))
            })?;
        let mut points = Vec::new();
        for (block, bytes) in rounds {
            let losses = entry::unpacked(&bytes)?.into_iter().filter_map(|entry| entry.loss);
            points.extend(losses.map(|loss| (Block(uint(block)), loss)));
        }
        Ok(points)
    }
}
