//! Records that are false, and how much of each validator is kept.

use super::{Error, Index, Series, int, uint};
use rusqlite::params;

/// How much of a validator is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Competitions besides the one that is asked for.
    pub n_others: usize,
    /// Bytes that its records take.
    pub n_bytes: u64,
}

/// A record that its validator did sign and that is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FalseRecord<'a> {
    /// The records that it is one of.
    pub(crate) series: Series<'a>,
    /// Its number.
    pub(crate) number: u64,
    /// Why it is false.
    pub(crate) flaw: &'a str,
    /// Where it was read.
    pub(crate) source: &'a str,
}

impl Index {
    /// Notes that a record of a place is false, and so that nothing after it there is believed;
    /// whether that is new.
    pub(crate) fn note_flaw(&mut self, record: FalseRecord<'_>) -> Result<bool, Error> {
        let FalseRecord { series: Series { validator, competition }, number, flaw, source } =
            record;
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
    pub(crate) fn note_no_flaw(
        &mut self,
        Series { validator, competition }: Series<'_>,
        source: &str,
    ) -> Result<bool, Error> {
        let n_changed = self.connection.execute(
            "DELETE FROM flaws WHERE validator = ?1 AND competition = ?2 AND source = ?3",
            params![validator.0, competition, source],
        )?;
        Ok(n_changed > 0)
    }

    /// Number of the last record of a validator in a competition; 0 before the first.
    pub fn n_records(&self, Series { validator, competition }: Series<'_>) -> Result<u64, Error> {
        let sql = "SELECT coalesce(max(n_records), 0) FROM heads
            WHERE validator = ?1 AND competition = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(uint(statement.query_row(params![validator.0, competition], |row| row.get(0))?))
    }

    /// How much of a validator is in the index, besides a competition.
    pub fn extent(&self, Series { validator, competition }: Series<'_>) -> Result<Extent, Error> {
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
