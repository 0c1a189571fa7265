//! Records into the index, in order.

use super::{
    Error, Index, Series, State,
    common::{Common, Made},
    entry::{self, Entry},
    int,
    models::Models,
    voices,
};
use crate::figures::Estimate;
use protocol::{
    AccountId, Digest, Loss, Merit, Record,
    duel::Reign,
    record::{Finding, Judged, Model, Round},
};
use records::Signed;
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of the row of a model, with its part of what finds it.
const MODEL_BYTES: u64 = 768;
/// Bytes of the row that says in which records of a validator a model is.
const SPAN_BYTES: u64 = 96;

/// A record that is genuine and follows the one before it, with what can be told of it alone.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The record.
    pub record: Arc<Record>,
    /// Its digest.
    pub digest: Digest,
    /// Whether its verdict was derived again; not where its rules, or those of a record before it,
    /// are not known here.
    pub is_derived: bool,
    /// Whether whom the chain paid, as far as it says so, is what the chain says.
    pub is_paid_checked: bool,
    /// Bytes of the record with its signature, as it was published.
    pub n_bytes: usize,
    /// Those around what was measured, and how many of them come before that.
    around: (Vec<u8>, usize),
    pub(super) common: Arc<Common>,
}

impl Checked {
    /// A record that is known to have nothing in common with others.
    pub fn alone(signed: Signed) -> Self {
        Self::new(signed, None)
    }

    /// A record with what it has in common with others, if that is known. Nothing more is known of
    /// it yet.
    pub(crate) fn new(signed: Signed, common: Option<Arc<Common>>) -> Self {
        let common = common.unwrap_or_else(|| Arc::new(Common::alone(&signed)));
        let around = signed.around();
        Self {
            n_bytes: around.0.len() + signed.measured().len(),
            digest: signed.digest(),
            record: Arc::new(signed.record),
            is_derived: false,
            is_paid_checked: false,
            around,
            common,
        }
    }

    /// Packs records and looks at their losses: what takes time, and nothing of the index. Threads
    /// with records of the same rounds share the work; how many were left to this one.
    pub(crate) fn make(lot: &[Self]) -> usize {
        let n_made = lot.iter().filter(|checked| checked.common.make()).count();
        for checked in lot {
            // What fails is said when it is taken in.
            let _ = checked.common.made();
        }
        n_made
    }

    /// The record, for one that follows it.
    pub fn last(&self) -> Last {
        Last { record: Arc::clone(&self.record), digest: self.digest }
    }
}

/// A record that was taken in, and its digest.
#[derive(Clone, Debug)]
pub struct Last {
    /// The record.
    pub record: Arc<Record>,
    /// Its digest.
    pub digest: Digest,
}

/// How far the records of a validator in a competition were taken in.
#[derive(Debug)]
pub struct Progress {
    /// The last of them.
    pub last: Option<Last>,
    /// What they tell of crown and duels; `None` after a record whose verdict could not be derived
    /// again: nothing is followed that is not known to be true.
    pub reign: Option<Reign>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: None, reign: Some(Reign::default()) }
    }
}

impl Progress {
    /// Number of the last record; 0 before the first.
    pub fn n_records(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.record.round.number)
    }
}

impl Index {
    /// How far the records of a validator in a competition were taken in.
    pub fn progress(
        &self,
        Series { validator, competition }: Series<'_>,
    ) -> Result<Progress, Error> {
        let sql = "SELECT h.reign, r.digest, r.id FROM heads h JOIN records r
            ON r.validator = h.validator AND r.competition = h.competition
            AND r.number = h.n_records WHERE h.validator = ?1 AND h.competition = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![validator.0, competition])?;
        let Some(row) = rows.next()? else { return Ok(Progress::default()) };
        let reign: Option<String> = row.get(0)?;
        let reign = reign.map(|reign| serde_json::from_str(&reign)).transpose();
        let reign = reign.map_err(|_| Error::Damaged("a reign"))?;
        let record = Arc::new(self.whole(row.get(2)?)?);
        let last = Last { record, digest: Digest(row.get(1)?) };
        Ok(Progress { last: Some(last), reign })
    }

    /// Takes in records that follow each other, whole or not at all, with what they tell of crown
    /// and duels, if that is known; `source` is where they were read.
    pub fn take_in(
        &mut self,
        lot: &[Checked],
        reign: Option<&Reign>,
        source: &str,
    ) -> Result<(), Error> {
        let taken = self.try_take_in(lot, reign, source);
        if taken.is_err() {
            // Rows that were made are gone again.
            self.models = Models::default();
        }
        taken
    }

    fn try_take_in(
        &mut self,
        lot: &[Checked],
        reign: Option<&Reign>,
        source: &str,
    ) -> Result<(), Error> {
        let Some(last) = lot.last() else { return Ok(()) };
        let round = &last.record.round;
        let reign = reign.map(serde_json::to_string).transpose();
        let reign = reign.map_err(|_| Error::Damaged("a reign"))?;
        let transaction = self.connection.transaction()?;
        let n_made = self.models.n_made;
        let (mut spans, mut n_bytes) = (BTreeMap::new(), 0_u64);
        for checked in lot {
            n_bytes += take_in(&transaction, checked, &mut self.models, &mut spans)?;
        }
        n_bytes += (self.models.n_made - n_made) * MODEL_BYTES;
        n_bytes += spans.len() as u64 * SPAN_BYTES;
        note_spans(&transaction, round, &spans)?;
        transaction.execute(
            "INSERT INTO heads (validator, competition, source, n_records, block, reign, n_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
             source = excluded.source, n_records = excluded.n_records, block = excluded.block,
             reign = excluded.reign, n_bytes = heads.n_bytes + excluded.n_bytes",
            params![
                round.validator.0,
                round.competition,
                source,
                int(round.number),
                int(round.block.0),
                reign,
                int(n_bytes),
            ],
        )?;
        transaction.execute(
            "DELETE FROM flaws WHERE validator = ?1 AND competition = ?2 AND source = ?3",
            params![round.validator.0, round.competition, source],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

/// Losses of a model that was measured.
pub(super) fn losses(model: &Model) -> &[Loss] {
    match &model.finding {
        Finding::Evaluated(losses) => losses,
        Finding::Disqualified(_) => &[],
    }
}

/// Who holds a crown, as rows of the tables have it.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    uid: u16,
    hotkey: [u8; 32],
    root: Option<[u8; 32]>,
    repo: Option<String>,
    loss: Option<f64>,
    error: Option<f64>,
}

impl Named {
    fn of(judged: &Judged) -> Self {
        let model = &judged.model;
        let estimate = Estimate::of_losses(losses(model));
        Self {
            uid: model.uid.0,
            hotkey: model.hotkey.0,
            root: model.tensor_root.map(|root| root.0),
            repo: model.repo.as_ref().map(ToString::to_string),
            loss: estimate.map(|estimate| estimate.mean),
            error: estimate.map(|estimate| estimate.error),
        }
    }
}

/// First and last number of the records of a lot that have a model, by its row.
type Spans = BTreeMap<i64, (u64, u64)>;

/// Takes in a record; the bytes that it takes, without the rows of its models. What it has in
/// common with others counts for each of them.
fn take_in(
    transaction: &Transaction<'_>,
    checked: &Checked,
    models: &mut Models,
    spans: &mut Spans,
) -> Result<u64, Error> {
    let record = &checked.record;
    let round = &record.round;
    let named = record.champion.and_then(|champion| {
        let judged = record.models.iter().find(|judged| judged.model.uid == champion);
        judged.map(Named::of)
    });
    let former = former(transaction, round)?;
    let stored = models.stored(transaction, checked)?;
    let state = voices::hear(transaction, round, checked.common.made()?.voice)?;
    let id = insert_record(transaction, (checked, state), named.as_ref())?;
    if let Some(named) = &named {
        let who = |named: &Named| (named.hotkey, named.root);
        if former.as_ref().map(who) != Some(who(named)) {
            insert_crown(transaction, id, named, former.as_ref())?;
        }
    }
    let averages = averages_of(record);
    let n_bytes = stored.n_bytes + averages.len() + checked.around.0.len();
    insert_body(transaction, id, (checked, stored.id), &averages)?;
    for row in &stored.models {
        spans.entry(*row).or_insert((round.number, round.number)).1 = round.number;
    }
    Ok(n_bytes as u64)
}

/// The averages of the miners of a record, as they are kept.
fn averages_of(record: &Record) -> Vec<u8> {
    let mut averages: Vec<((u16, AccountId), f64)> =
        record.averages.iter().map(|a| ((a.uid.0, a.hotkey), a.weight)).collect();
    // Most are in order.
    averages.sort_by_key(|(miner, _)| *miner);
    let average = |judged: &Judged| {
        let miner = (judged.model.uid.0, judged.model.hotkey);
        let after = averages.partition_point(|(other, _)| *other <= miner);
        let last = after.checked_sub(1).and_then(|at| averages.get(at));
        last.filter(|(other, _)| *other == miner).map_or(0.0, |(_, average)| *average)
    };
    entry::packed_averages(record.models.iter().map(average))
}

/// Notes in which records of a validator models are.
fn note_spans(transaction: &Transaction<'_>, round: &Round, spans: &Spans) -> Result<(), Error> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO seen (model, validator, competition, first, last)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET last = excluded.last",
    )?;
    for (model, (first, last)) in spans {
        let (validator, competition) = (round.validator.0, &round.competition);
        statement.execute(params![model, validator, competition, int(*first), int(*last)])?;
    }
    Ok(())
}

/// How a model came out, as it is kept.
pub(super) fn entry_of(model: i64, judged: &Judged) -> Entry {
    let verdict = &judged.verdict;
    let losses = losses(&judged.model);
    let estimate = Estimate::of_losses(losses);
    let (is_broken, fate) = match (&judged.model.finding, verdict.merit) {
        (Finding::Disqualified(code), _) => (true, code.to_string()),
        (_, Merit::Counts) => (false, "counts".to_owned()),
        (_, Merit::BeatenBy(uid)) => (false, format!("beaten by {uid}")),
        (_, Merit::SucceededBy(uid)) => (false, format!("succeeded by {uid}")),
        (_, Merit::Absent) => (false, "absent".to_owned()),
    };
    Entry {
        model,
        n: losses.len() as u64,
        wins: verdict.wins,
        loss: estimate.map(|estimate| estimate.mean),
        error: estimate.map(|estimate| estimate.error),
        win_rate: verdict.win_rate,
        weight: verdict.weight,
        is_broken,
        fate,
    }
}

/// Whoever held the crown by the records so far.
fn former(transaction: &Transaction<'_>, round: &Round) -> Result<Option<Named>, Error> {
    let sql = "SELECT uid, hotkey, root, repo, loss, error FROM records
        WHERE validator = ?1 AND competition = ?2 AND uid IS NOT NULL
        ORDER BY number DESC LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    let named = statement.query_row(params![round.validator.0, round.competition], |row| {
        Ok(Named {
            uid: row.get(0)?,
            hotkey: row.get(1)?,
            root: row.get(2)?,
            repo: row.get(3)?,
            loss: row.get(4)?,
            error: row.get(5)?,
        })
    });
    Ok(named.optional()?)
}

fn insert_record(
    transaction: &Transaction<'_>,
    (checked, state): (&Checked, State),
    champion: Option<&Named>,
) -> Result<i64, Error> {
    let record = &checked.record;
    let round = &record.round;
    let Made { voice, gap, .. } = checked.common.made()?;
    let sql = "INSERT INTO records
        (validator, competition, number, block, digest, rules, voice, n_documents, n_models,
         uid, hotkey, root, repo, loss, error, state, is_derived, gap, gap_error, gap_n,
         is_paid_checked, bits_of_nat, optimum)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
         ?18, ?19, ?20, ?21, ?22, ?23)";
    transaction.prepare_cached(sql)?.execute(params![
        round.validator.0,
        round.competition,
        int(round.number),
        int(round.block.0),
        checked.digest.0,
        round.competition_digest.0,
        voice,
        int(round.documents.len() as u64),
        int(record.models.len() as u64),
        champion.map(|named| named.uid),
        champion.map(|named| named.hotkey),
        champion.and_then(|named| named.root),
        champion.and_then(|named| named.repo.as_deref()),
        champion.and_then(|named| named.loss),
        champion.and_then(|named| named.error),
        state.code(),
        checked.is_derived,
        gap.map(|gap| gap.mean),
        gap.map(|gap| gap.error),
        gap.map(|gap| int(gap.n as u64)),
        checked.is_paid_checked,
        // Where no document says how long it is, or none has tokens, there is nothing to tell.
        round.bits_per_byte(1.0).filter(|bits| bits.is_finite() && *bits > 0.0),
        round.optimum.map(Loss::value).filter(|optimum| optimum.is_finite()),
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// Keeps what is a record's own, and where the rest of it is.
fn insert_body(
    transaction: &Transaction<'_>,
    id: i64,
    (checked, common): (&Checked, i64),
    averages: &[u8],
) -> Result<(), Error> {
    let sql = "INSERT INTO bodies (record, common, n_bytes, n_before, averages, around)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (around, n_before) = &checked.around;
    let [n_bytes, n_before] = [checked.n_bytes, *n_before].map(|n| int(n as u64));
    let params = params![id, common, n_bytes, n_before, averages, around];
    transaction.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn insert_crown(
    transaction: &Transaction<'_>,
    id: i64,
    named: &Named,
    former: Option<&Named>,
) -> Result<(), Error> {
    let sql = "INSERT INTO crowns (record, uid, hotkey, root, repo, loss, former_uid,
        former_hotkey, former_root, former_repo, former_loss)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    transaction.prepare_cached(sql)?.execute(params![
        id,
        named.uid,
        named.hotkey,
        named.root,
        named.repo,
        named.loss,
        former.map(|former| former.uid),
        former.map(|former| former.hotkey),
        former.and_then(|former| former.root),
        former.and_then(|former| former.repo.as_deref()),
        former.and_then(|former| former.loss),
    ])?;
    Ok(())
}
