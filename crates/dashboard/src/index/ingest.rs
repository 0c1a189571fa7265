//! Records into the index, in order.

use super::{
    Error, Index, int, uint,
    voices::{self, Voice},
};
use crate::figures::Estimate;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use protocol::{
    AccountId, Block, Loss, Merit, Record,
    duel::Reign,
    record::{Finding, Judged, Model, Round},
};
use records::{Signed, signed::SIGNED_BYTES_MAX};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

/// Bytes of the row of a model, with its part of what finds it.
const MODEL_BYTES: usize = 512;

/// A record that is genuine and follows the one before it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The record with its signature.
    pub signed: Signed,
    /// Whether its verdict was derived again; not where its rules, or those of a record before it,
    /// are not known here.
    pub is_derived: bool,
    /// Whether whom the chain paid, as far as it says so, is what the chain says.
    pub is_paid_checked: bool,
}

/// How far the records of a validator in a competition were taken in.
#[derive(Debug)]
pub struct Progress {
    /// The last of them.
    pub last: Option<Signed>,
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
    pub fn progress(&self, validator: AccountId, competition: &str) -> Result<Progress, Error> {
        let sql = "SELECT h.reign, r.signed FROM heads h JOIN records r
            ON r.validator = h.validator AND r.competition = h.competition
            AND r.number = h.n_records WHERE h.validator = ?1 AND h.competition = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<(Option<String>, Vec<u8>)> = statement
            .query_row(params![validator.0, competition], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((reign, packed)) = found else { return Ok(Progress::default()) };
        let reign = reign.map(|reign| serde_json::from_str(&reign)).transpose();
        let reign = reign.map_err(|_| Error::Damaged("a reign"))?;
        let signed = Signed::from_json(&unpacked(&packed)?);
        let last = signed.map_err(|_| Error::Damaged("a record"))?;
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
        let Some(last) = lot.last() else { return Ok(()) };
        let round = &last.signed.record.round;
        let reign = reign.map(serde_json::to_string).transpose();
        let reign = reign.map_err(|_| Error::Damaged("a reign"))?;
        let transaction = self.connection.transaction()?;
        let mut n_bytes = 0u64;
        for checked in lot {
            n_bytes = n_bytes.saturating_add(take_in(&transaction, checked)?);
        }
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

    /// The bytes of a record with its signature, as they were published.
    pub fn signed(&self, id: i64) -> Result<Vec<u8>, Error> {
        unpacked(&self.packed(id)?)
    }

    /// A record of the index.
    pub fn whole(&self, id: i64) -> Result<Record, Error> {
        record_of(&self.signed(id)?)
    }

    /// The same, if it has no more than `n_bytes_left`, which it is then taken from.
    pub fn whole_within(&self, id: i64, n_bytes_left: &mut usize) -> Result<Option<Record>, Error> {
        let Some(bytes) = unpacked_within(&self.packed(id)?, *n_bytes_left)? else {
            return Ok(None);
        };
        *n_bytes_left = n_bytes_left.saturating_sub(bytes.len());
        record_of(&bytes).map(Some)
    }

    fn packed(&self, id: i64) -> Result<Vec<u8>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT signed FROM records WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get(0))?)
    }
}

/// The record in bytes that were taken in.
pub(super) fn record_of(signed: &[u8]) -> Result<Record, Error> {
    #[derive(serde::Deserialize)]
    struct Stored {
        record: Record,
    }
    let stored: Stored = serde_json::from_slice(signed).map_err(|_| Error::Damaged("a record"))?;
    Ok(stored.record)
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map_err(|_| Error::Damaged("a record"))
}

pub(super) fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Error> {
    unpacked_within(packed, SIGNED_BYTES_MAX)?.ok_or(Error::Damaged("a record"))
}

/// What was packed, if it has no more than so many bytes.
fn unpacked_within(packed: &[u8], n_bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let most = (n_bytes_max as u64).saturating_add(1);
    let read = ZlibDecoder::new(packed).take(most).read_to_end(&mut bytes);
    read.map_err(|_| Error::Damaged("a record"))?;
    Ok((bytes.len() <= n_bytes_max).then_some(bytes))
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

/// Takes in a record; the bytes that it takes.
fn take_in(transaction: &Transaction<'_>, checked: &Checked) -> Result<u64, Error> {
    let record = &checked.signed.record;
    let round = &record.round;
    let named = record.champion.and_then(|champion| {
        let judged = record.models.iter().find(|judged| judged.model.uid == champion);
        judged.map(Named::of)
    });
    let former = former(transaction, round)?;
    let packed = packed(&checked.signed.to_json())?;
    let voice = voices::of_record(record);
    let id = insert_record(transaction, checked, named.as_ref(), (packed.as_slice(), voice))?;
    if let Some(named) = &named {
        let who = |named: &Named| (named.hotkey, named.root);
        if former.as_ref().map(who) != Some(who(named)) {
            insert_crown(transaction, id, named, former.as_ref())?;
        }
    }
    let averages: BTreeMap<(u16, AccountId), f64> =
        record.averages.iter().map(|a| ((a.uid.0, a.hotkey), a.weight)).collect();
    for judged in &record.models {
        let key = (judged.model.uid.0, judged.model.hotkey);
        insert_result(transaction, id, judged, averages.get(&key).copied().unwrap_or(0.0))?;
    }
    voices::hear(transaction, round, voice)?;
    Ok((packed.len() + MODEL_BYTES * record.models.len()) as u64)
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
    checked: &Checked,
    champion: Option<&Named>,
    (packed, voice): (&[u8], Voice),
) -> Result<i64, Error> {
    let record = &checked.signed.record;
    let round = &record.round;
    let sql = "INSERT INTO records
        (validator, competition, number, block, digest, rules, voice, n_documents, n_models,
         uid, hotkey, root, repo, loss, error, state, is_derived, is_paid_checked, signed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0, ?16, ?17,
         ?18)";
    transaction.prepare_cached(sql)?.execute(params![
        round.validator.0,
        round.competition,
        int(round.number),
        int(round.block.0),
        checked.signed.digest().0,
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
        checked.is_derived,
        checked.is_paid_checked,
        packed,
    ])?;
    Ok(transaction.last_insert_rowid())
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

fn insert_result(
    transaction: &Transaction<'_>,
    id: i64,
    judged: &Judged,
    average: f64,
) -> Result<(), Error> {
    let (model, verdict) = (&judged.model, &judged.verdict);
    let estimate = Estimate::of_losses(losses(model));
    let reason = match &model.finding {
        Finding::Disqualified(code) => Some(code.to_string()),
        Finding::Evaluated(_) => None,
    };
    let merit = match verdict.merit {
        Merit::Counts => "counts".to_owned(),
        Merit::BeatenBy(uid) => format!("beaten by {uid}"),
        Merit::SucceededBy(uid) => format!("succeeded by {uid}"),
        Merit::Absent => "absent".to_owned(),
    };
    let sql = "INSERT INTO results
        (record, uid, hotkey, root, repo, revision, commit_block, loss, error, n, reason, merit,
         wins, win_rate, weight, average)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    transaction.prepare_cached(sql)?.execute(params![
        id,
        model.uid.0,
        model.hotkey.0,
        model.tensor_root.map(|root| root.0),
        model.repo.as_ref().map(|repo| repo.as_str()),
        model.revision.as_ref().map(|revision| revision.as_str()),
        int(model.commit_block.0),
        estimate.map(|estimate| estimate.mean),
        estimate.map(|estimate| estimate.error),
        int(losses(model).len() as u64),
        reason,
        merit,
        int(verdict.wins),
        verdict.win_rate,
        verdict.weight,
        average,
    ])?;
    Ok(())
}

impl Index {
    /// Notes the subnet as it is at a block, and the stake of whoever may judge.
    pub fn note_metagraph(&mut self, metagraph: &chain::Metagraph) -> Result<(), Error> {
        let body = serde_json::to_string(metagraph).map_err(|_| Error::Damaged("a metagraph"))?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO metagraphs (block, body) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET body = excluded.body",
            params![int(metagraph.block.0), body],
        )?;
        // As many as epochs that are looked back at; each has some hundred kilobytes.
        transaction.execute(
            "DELETE FROM metagraphs WHERE block NOT IN
             (SELECT block FROM metagraphs ORDER BY block DESC LIMIT ?1)",
            [METAGRAPHS_MAX],
        )?;
        transaction.execute("DELETE FROM stakes", [])?;
        for neuron in metagraph.neurons.iter().filter(|neuron| neuron.validator_permit) {
            transaction.execute(
                "INSERT OR REPLACE INTO stakes (validator, rao) VALUES (?1, ?2)",
                params![neuron.hotkey.0, int(neuron.stake_rao)],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Block of the newest state of the subnet that was noted.
    pub fn newest_metagraph(&self) -> Result<Option<Block>, Error> {
        let sql = "SELECT max(block) FROM metagraphs";
        let block: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(block.map(|block| Block(uint(block))))
    }
}

/// States of the subnet that are kept.
const METAGRAPHS_MAX: i64 = 500;
