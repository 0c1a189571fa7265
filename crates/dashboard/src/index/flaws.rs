//! Records that are false, and how much of each validator is kept.

use super::{Error, Index, int, uint};
use protocol::AccountId;
use rusqlite::params;

/// How much of a validator is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Competitions besides the one that is asked for.
    pub n_others: usize,
    /// Bytes that its records take.
    pub n_bytes: u64,
}

impl Index {
    /// Notes that a record of a place, which the validator did sign, is false, and so that nothing
    /// after it there is believed; whether that is new.
    pub fn note_flaw(
        &mut self,
        (validator, competition): (AccountId, &str),
        (number, flaw): (u64, &str),
        source: &str,
    ) -> Result<bool, Error> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO heads (validator, competition, source, n_records, block, n_bytes)
             VALUES (?1, ?2, ?3, 0, 0, 0) ON CONFLICT DO NOTHING",
            params![validator.0, competition, source],
        )?;
        let n_changed = transaction.execute(
            "INSERT INTO flaws (validator, competition, source, number, flaw)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET number = excluded.number, flaw = excluded.flaw
             WHERE flaws.number != excluded.number OR flaws.flaw != excluded.flaw",
            params![validator.0, competition, source, int(number), flaw],
        )?;
        transaction.commit()?;
        Ok(n_changed > 0)
    }

    /// Notes that nothing is wrong any more with what a place has; whether anything was.
    pub fn note_no_flaw(
        &mut self,
        (validator, competition): (AccountId, &str),
        source: &str,
    ) -> Result<bool, Error> {
        let n_changed = self.connection.execute(
            "DELETE FROM flaws WHERE validator = ?1 AND competition = ?2 AND source = ?3",
            params![validator.0, competition, source],
        )?;
        Ok(n_changed > 0)
    }

    /// Number of the last record of a validator in a competition; 0 before the first.
    pub fn n_records(&self, (validator, competition): (AccountId, &str)) -> Result<u64, Error> {
        let sql = "SELECT coalesce(max(n_records), 0) FROM heads
            WHERE validator = ?1 AND competition = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(uint(statement.query_row(params![validator.0, competition], |row| row.get(0))?))
    }

    /// How much of a validator is in the index, besides a competition.
    pub fn extent(&self, (validator, competition): (AccountId, &str)) -> Result<Extent, Error> {
        let sql = "SELECT coalesce(sum(competition != ?2), 0), coalesce(sum(n_bytes), 0)
            FROM heads WHERE validator = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let extent = statement.query_row(params![validator.0, competition], |row| {
            let n_others = usize::try_from(uint(row.get(0)?)).unwrap_or(usize::MAX);
            Ok(Extent { n_others, n_bytes: uint(row.get(1)?) })
        })?;
        Ok(extent)
    }
}
