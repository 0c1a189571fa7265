//! What pages ask of the index: a handful of statements, each by an index of its tables.

mod known;

pub use known::Known;

use super::{Error, Index, Series, int, uint};
use crate::figures::Estimate;
use protocol::{AccountId, Block, Digest};
use rusqlite::{OptionalExtension as _, params};

/// Whether the losses of a record are believed beside those of other validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody found other losses for what it measured.
    Believed,
    /// As much stake found other losses as found these, which may be none.
    Disputed,
    /// More stake found other losses.
    Outvoted,
}

impl State {
    /// The number that stands for it in the tables.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Believed => 0,
            Self::Disputed => 1,
            Self::Outvoted => 2,
        }
    }

    fn of(code: i64) -> Self {
        match code {
            0 => Self::Believed,
            1 => Self::Disputed,
            _ => Self::Outvoted,
        }
    }
}

/// How far the records of a validator in a competition are known, and what is wrong with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Whose records they are.
    pub validator: AccountId,
    /// Of which competition.
    pub competition: String,
    /// Where they were read.
    pub source: String,
    /// Records that are believed, from the first on.
    pub n_records: u64,
    /// Block of the last of them.
    pub block: Block,
    /// The first record that is false, and why.
    pub flaw: Option<(u64, String)>,
    /// Stake behind the validator, in rao; 0 where the chain gave it no permit.
    pub stake_rao: u64,
}

/// A model by who committed to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Slot of its miner.
    pub uid: u16,
    /// Key of its miner.
    pub hotkey: AccountId,
    /// Tensor root.
    pub root: Option<Digest>,
    /// Where it was published.
    pub repo: Option<String>,
    /// Mean cross-entropy in nats per token.
    pub loss: Option<f64>,
    /// Its standard error.
    pub error: Option<f64>,
}

/// A record without its models.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the row in the index.
    pub id: i64,
    /// Who judged.
    pub validator: AccountId,
    /// In which competition.
    pub competition: String,
    /// Number of the record.
    pub number: u64,
    /// Block that seeded the round.
    pub block: Block,
    /// Digest of the record.
    pub digest: Digest,
    /// Digest of the rules.
    pub rules: Digest,
    /// Documents that were drawn.
    pub n_documents: u64,
    /// Models that were judged.
    pub n_models: u64,
    /// Holder of the crown.
    pub champion: Option<Holder>,
    /// By how much the loss of the best of the others is higher than the champion's, on the
    /// documents that both were measured on.
    pub gap: Option<Estimate>,
    /// Bits per byte of text that a nat per token comes to; `None` where no document says how long
    /// it is.
    pub bits_of_nat: Option<f64>,
    /// Loss of a model that knew the true distribution of its text, in nats per token, where the
    /// record tells it.
    pub optimum: Option<f64>,
    /// Whether its losses are believed.
    pub state: State,
    /// Whether its verdict was derived again.
    pub is_derived: bool,
    /// Whether whom the chain paid, as far as it says so, is what the chain says.
    pub is_paid_checked: bool,
}

/// What a model is, by the record that it is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Name of its architecture, fit to be shown.
    pub architecture: String,
    /// Number of parameters.
    pub n_parameters: u64,
}

/// How a model came out of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Competition of the round.
    pub competition: String,
    /// Number of the record.
    pub number: u64,
    /// Block that seeded it.
    pub block: Block,
    /// The model with its loss.
    pub holder: Holder,
    /// Revision in its repo.
    pub revision: Option<String>,
    /// Block of its commitment.
    pub commit_block: Block,
    /// What it is, where the record tells it.
    pub build: Option<Build>,
    /// [`Row::bits_of_nat`] of the round.
    pub bits_of_nat: Option<f64>,
    /// Documents that it was measured on and that counted.
    pub n: u64,
    /// The rule that it broke.
    pub reason: Option<String>,
    /// What the rules make of it.
    pub merit: String,
    /// Comparisons that it won.
    pub wins: u64,
    /// Share of them.
    pub win_rate: f64,
    /// Share of the weight of the round.
    pub weight: f64,
    /// Moving average of the weights of its miner.
    pub average: f64,
}

/// A change of the crown, by the records of one validator.
#[derive(Clone, Debug, PartialEq)]
pub struct Crown {
    /// The record that tells of it.
    pub row: Row,
    /// Whoever took it.
    pub to: Holder,
    /// Whoever had it, with its loss in the round before; `None` for the first.
    pub from: Option<Holder>,
}

/// Which of the rows of a list are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How many at the front are left out.
    pub skip: u64,
    /// How many there are after them, at most.
    pub n_max: u64,
}

/// What a validator says of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// The record.
    pub row: Row,
    /// Stake behind the validator, in rao.
    pub stake_rao: u64,
}

/// Columns of a [`Row`].
pub(super) const ROW: &str = "r.id, r.validator, r.competition, r.number, r.block, r.digest,
    r.rules, r.n_documents, r.n_models, r.state, r.is_derived, r.uid, r.hotkey, r.root, r.repo,
    r.loss, r.error, r.gap, r.gap_error, r.gap_n, r.is_paid_checked, r.bits_of_nat, r.optimum";
/// How many they are.
const N_ROW: usize = 23;

type Sql<'a> = rusqlite::Row<'a>;

pub(super) fn row(sql: &Sql<'_>) -> rusqlite::Result<Row> {
    let uid: Option<u16> = sql.get(11)?;
    let champion = match uid {
        Some(uid) => Some(holder(sql, uid, 12)?),
        None => None,
    };
    let gap = match sql.get::<_, Option<f64>>(17)? {
        Some(mean) => {
            let n = usize::try_from(sql.get::<_, i64>(19)?).unwrap_or(0);
            Some(Estimate { mean, error: sql.get(18)?, n })
        }
        None => None,
    };
    Ok(Row {
        id: sql.get(0)?,
        validator: AccountId(sql.get(1)?),
        competition: sql.get(2)?,
        number: uint(sql.get(3)?),
        block: Block(uint(sql.get(4)?)),
        digest: Digest(sql.get(5)?),
        rules: Digest(sql.get(6)?),
        n_documents: uint(sql.get(7)?),
        n_models: uint(sql.get(8)?),
        state: State::of(sql.get(9)?),
        is_derived: sql.get(10)?,
        is_paid_checked: sql.get(20)?,
        bits_of_nat: sql.get(21)?,
        optimum: sql.get(22)?,
        champion,
        gap,
    })
}

/// A holder whose columns after the uid begin at `at`.
fn holder(sql: &Sql<'_>, uid: u16, at: usize) -> rusqlite::Result<Holder> {
    Ok(Holder {
        uid,
        hotkey: AccountId(sql.get(at)?),
        root: sql.get::<_, Option<[u8; 32]>>(at + 1)?.map(Digest),
        repo: sql.get(at + 2)?,
        loss: sql.get(at + 3)?,
        error: sql.get(at + 4)?,
    })
}

fn point(sql: &Sql<'_>) -> rusqlite::Result<(Block, f64)> {
    Ok((Block(uint(sql.get(0)?)), sql.get(1)?))
}

impl Index {
    /// Rows of a statement, in order.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Sql<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first row of a statement.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Sql<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    /// What is known of all validators and competitions, those with the most stake first.
    pub fn heads(&self) -> Result<Vec<Head>, Error> {
        let sql = "SELECT h.validator, h.competition, h.source, h.n_records, h.block,
            f.number, f.flaw, coalesce(s.rao, 0) FROM heads h
            LEFT JOIN stakes s ON s.validator = h.validator
            LEFT JOIN (SELECT validator, competition, min(number) AS number,
                flaw || ' (in ' || source || ')' AS flaw
                FROM flaws GROUP BY validator, competition) f
            ON f.validator = h.validator AND f.competition = h.competition
            ORDER BY h.competition, coalesce(s.rao, 0) DESC, h.n_records DESC, h.validator";
        self.all(sql, [], |sql| {
            let number: Option<i64> = sql.get(5)?;
            let flaw: Option<String> = sql.get(6)?;
            Ok(Head {
                validator: AccountId(sql.get(0)?),
                competition: sql.get(1)?,
                source: sql.get(2)?,
                n_records: uint(sql.get(3)?),
                block: Block(uint(sql.get(4)?)),
                flaw: number.map(uint).zip(flaw),
                stake_rao: uint(sql.get(7)?),
            })
        })
    }

    /// The last believed record of a validator at a block.
    pub fn latest(&self, series: Series<'_>, until: Block) -> Result<Option<Row>, Error> {
        Ok(self.believed(series, until, 1)?.pop())
    }

    /// A record by its number, believed or not.
    pub fn record(
        &self,
        Series { validator, competition }: Series<'_>,
        number: u64,
    ) -> Result<Option<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r
             WHERE r.validator = ?1 AND r.competition = ?2 AND r.number = ?3"
        );
        self.first(&sql, params![validator.0, competition, int(number)], row)
    }

    /// A stretch of the records of a validator, newest first.
    pub fn records(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        Stretch { skip, n_max }: Stretch,
    ) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r WHERE r.validator = ?1 AND r.competition = ?2
             AND r.block <= ?3 ORDER BY r.block DESC LIMIT ?4 OFFSET ?5"
        );
        let until = int(until.0);
        self.all(&sql, params![validator.0, competition, until, int(n_max), int(skip)], row)
    }

    /// Records of a validator from one block to another, both included, oldest first.
    pub fn between(
        &self,
        Series { validator, competition }: Series<'_>,
        from: Block,
        until: Block,
    ) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT {ROW} FROM records r WHERE r.validator = ?1 AND r.competition = ?2
             AND r.block BETWEEN ?3 AND ?4 ORDER BY r.block LIMIT ?5"
        );
        let (from, until) = (int(from.0), int(until.0));
        self.all(&sql, params![validator.0, competition, from, until, BETWEEN_MAX], row)
    }

    /// What all validators say of the round of a block, most stake first.
    pub fn others(&self, competition: &str, block: Block) -> Result<Vec<Other>, Error> {
        let sql = format!(
            "SELECT {ROW}, coalesce(k.rao, 0) FROM records r
             LEFT JOIN stakes k ON k.validator = r.validator
             WHERE r.competition = ?1 AND r.block = ?2
             ORDER BY coalesce(k.rao, 0) DESC, r.validator"
        );
        self.all(&sql, params![competition, int(block.0)], |sql| {
            Ok(Other { row: row(sql)?, stake_rao: uint(sql.get(N_ROW)?) })
        })
    }

    /// Block and champion's loss of every so-many-th round, at most about `n_max` of them.
    pub fn champion_losses(
        &self,
        series: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<(Block, f64)>, Error> {
        let last = self.latest(series, until)?.map_or(0, |row| row.number);
        let every = last.div_ceil(n_max.max(1)).max(1);
        // The newest is always among them.
        let sql = "SELECT r.block, r.loss FROM records r WHERE r.validator = ?1
            AND r.competition = ?2 AND r.block <= ?3 AND r.state = 0 AND r.loss IS NOT NULL
            AND (?4 - r.number) % ?5 = 0 ORDER BY r.block";
        let Series { validator, competition } = series;
        let (until, last, every) = (int(until.0), int(last), int(every));
        self.all(sql, params![validator.0, competition, until, last, every], point)
    }

    /// Block and optimum of every so-many-th round, at most about `n_max` of them; nothing for one
    /// whose record does not tell it.
    pub fn optima(
        &self,
        series: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<(Block, Option<f64>)>, Error> {
        let last = self.latest(series, until)?.map_or(0, |row| row.number);
        let every = last.div_ceil(n_max.max(1)).max(1);
        let sql = "SELECT r.block, r.optimum FROM records r WHERE r.validator = ?1
            AND r.competition = ?2 AND r.block <= ?3 AND r.state = 0
            AND (?4 - r.number) % ?5 = 0 ORDER BY r.block";
        let Series { validator, competition } = series;
        let (until, last, every) = (int(until.0), int(last), int(every));
        self.all(sql, params![validator.0, competition, until, last, every], |sql| {
            Ok((Block(uint(sql.get(0)?)), sql.get(1)?))
        })
    }

    /// Changes of the crown by the records of a validator, newest first.
    pub fn crowns(
        &self,
        Series { validator, competition }: Series<'_>,
        until: Block,
        n_max: u64,
    ) -> Result<Vec<Crown>, Error> {
        let sql = format!(
            "SELECT {ROW}, {CROWN} FROM records r JOIN crowns c ON c.record = r.id
             WHERE r.validator = ?1 AND r.competition = ?2 AND r.block <= ?3 AND r.state = 0
             ORDER BY r.block DESC LIMIT ?4"
        );
        let until = int(until.0);
        self.all(&sql, params![validator.0, competition, until, int(n_max)], crown)
    }

    /// The change of the crown that a record tells of.
    pub fn crown(&self, record: i64) -> Result<Option<Crown>, Error> {
        let sql = format!(
            "SELECT {ROW}, {CROWN} FROM records r JOIN crowns c ON c.record = r.id
             WHERE r.id = ?1"
        );
        self.first(&sql, [record], crown)
    }
}

/// Most records that a duel is put together from.
const BETWEEN_MAX: i64 = 512;
/// Columns of a [`Crown`] after those of its [`Row`].
const CROWN: &str = "c.uid, c.hotkey, c.root, c.repo, c.loss, NULL, c.former_uid,
    c.former_hotkey, c.former_root, c.former_repo, c.former_loss, NULL";

fn crown(sql: &Sql<'_>) -> rusqlite::Result<Crown> {
    let former: Option<u16> = sql.get(N_ROW + 6)?;
    let from = match former {
        Some(uid) => Some(holder(sql, uid, N_ROW + 7)?),
        None => None,
    };
    Ok(Crown { row: row(sql)?, to: holder(sql, sql.get(N_ROW)?, N_ROW + 1)?, from })
}
