//! Records into the index, in order.

use super::{Error, Index, State, int, uint};
use crate::figures::Estimate;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use protocol::{
    AccountId, Block, Digest, Loss, Merit, Record,
    duel::Reign,
    record::{Finding, Judged, Model, Round},
};
use records::{Signed, signed::SIGNED_BYTES_MAX};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

/// A record that is genuine and follows the one before it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The record with its signature.
    pub signed: Signed,
    /// Whether its verdict was derived again; not where its rules are not known here.
    pub is_derived: bool,
}

/// How far the records of a validator in a competition were taken in.
#[derive(Debug, Default)]
pub struct Progress {
    /// The last of them.
    pub last: Option<Signed>,
    /// What they tell of crown and duels.
    pub reign: Reign,
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
        let found: Option<(String, Vec<u8>)> = statement
            .query_row(params![validator.0, competition], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((reign, packed)) = found else { return Ok(Progress::default()) };
        let reign = serde_json::from_str(&reign).map_err(|_| Error::Damaged("a reign"))?;
        let signed = Signed::from_json(&unpacked(&packed)?);
        let last = signed.map_err(|_| Error::Damaged("a record"))?;
        Ok(Progress { last: Some(last), reign })
    }

    /// Takes in records that follow each other, whole or not at all, with what they tell of crown
    /// and duels; `source` is where they were read.
    pub fn take_in(&mut self, lot: &[Checked], reign: &Reign, source: &str) -> Result<(), Error> {
        let Some(last) = lot.last() else { return Ok(()) };
        let round = &last.signed.record.round;
        let reign = serde_json::to_string(reign).map_err(|_| Error::Damaged("a reign"))?;
        let transaction = self.connection.transaction()?;
        for checked in lot {
            take_in(&transaction, checked)?;
        }
        transaction.execute(
            "INSERT INTO heads (validator, competition, source, n_records, block, reign)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET source = excluded.source,
             n_records = excluded.n_records, block = excluded.block, reign = excluded.reign,
             flaw_number = NULL, flaw = NULL",
            params![
                round.validator.0,
                round.competition,
                source,
                int(round.number),
                int(round.block.0),
                reign
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes that a record is false, and so that nothing of the validator in the competition is
    /// believed from it on.
    pub fn note_flaw(
        &mut self,
        validator: AccountId,
        competition: &str,
        (number, flaw): (u64, &str),
        source: &str,
    ) -> Result<(), Error> {
        self.connection.execute(
            "INSERT INTO heads
             (validator, competition, source, n_records, block, reign, flaw_number, flaw)
             VALUES (?1, ?2, ?3, 0, 0, '', ?4, ?5) ON CONFLICT DO UPDATE SET
             source = excluded.source, flaw_number = excluded.flaw_number, flaw = excluded.flaw",
            params![validator.0, competition, source, int(number), flaw],
        )?;
        Ok(())
    }

    /// Notes that nothing is wrong any more with what a source has.
    pub fn note_no_flaw(
        &mut self,
        validator: AccountId,
        competition: &str,
        source: &str,
    ) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE heads SET flaw_number = NULL, flaw = NULL WHERE validator = ?1
             AND competition = ?2 AND source = ?3 AND flaw IS NOT NULL",
            params![validator.0, competition, source],
        )?;
        Ok(())
    }

    /// The bytes of a record with its signature, as they were published.
    pub fn signed(&self, id: i64) -> Result<Vec<u8>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT signed FROM records WHERE id = ?1")?;
        let packed: Vec<u8> = statement.query_row([id], |row| row.get(0))?;
        unpacked(&packed)
    }

    /// A record of the index.
    pub fn whole(&self, id: i64) -> Result<Record, Error> {
        record_of(&self.signed(id)?)
    }
}

/// The record in bytes that were taken in.
fn record_of(signed: &[u8]) -> Result<Record, Error> {
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

fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = SIGNED_BYTES_MAX as u64 + 1;
    let read = ZlibDecoder::new(packed).take(most).read_to_end(&mut bytes);
    read.map_err(|_| Error::Damaged("a record"))?;
    Ok(bytes)
}

/// Losses of a model that was measured.
fn losses(model: &Model) -> &[Loss] {
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

fn take_in(transaction: &Transaction<'_>, checked: &Checked) -> Result<(), Error> {
    let record = &checked.signed.record;
    let round = &record.round;
    let named = record.champion.and_then(|champion| {
        let judged = record.models.iter().find(|judged| judged.model.uid == champion);
        judged.map(Named::of)
    });
    let former = former(transaction, round)?;
    let id = insert_record(transaction, checked, named.as_ref())?;
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
    if vote(transaction, record)? {
        settle(transaction, round)?;
    }
    Ok(())
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
) -> Result<i64, Error> {
    let record = &checked.signed.record;
    let round = &record.round;
    let sql = "INSERT INTO records
        (validator, competition, number, block, digest, rules, batches, n_documents, n_models,
         uid, hotkey, root, repo, loss, error, state, is_derived, signed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0, ?16, ?17)";
    transaction.prepare_cached(sql)?.execute(params![
        round.validator.0,
        round.competition,
        int(round.number),
        int(round.block.0),
        checked.signed.digest().0,
        round.competition_digest.0,
        round.batches.0,
        int(round.documents.len() as u64),
        int(record.models.len() as u64),
        champion.map(|named| named.uid),
        champion.map(|named| named.hotkey),
        champion.and_then(|named| named.root),
        champion.and_then(|named| named.repo.as_deref()),
        champion.and_then(|named| named.loss),
        champion.and_then(|named| named.error),
        checked.is_derived,
        packed(&checked.signed.to_json())?,
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

/// Numbers of losses that are compared besides all: with rule `duel`, two validators may have other
/// numbers of a model, and must agree on the first.
const PREFIXES: [usize; 6] = [5, 20, 80, 320, 1_280, 5_120];

/// What was measured, and what came of it, in 16 bytes each: who measured the same has to find the
/// same. A validator has one record of a block, and so one voice in each.
fn voices(round: &Round, model: &Model) -> Vec<([u8; 16], [u8; 16])> {
    let losses = losses(model);
    let Some(root) = model.tensor_root.filter(|_| !losses.is_empty()) else { return Vec::new() };
    let bits: Vec<u8> =
        losses.iter().flat_map(|loss| loss.value().to_bits().to_le_bytes()).collect();
    let shorter = PREFIXES.into_iter().filter(|n| *n < losses.len());
    let voice = |n: usize| {
        let fields: [&[u8]; 5] = [
            round.competition.as_bytes(),
            &round.block.0.to_le_bytes(),
            &round.batches.0,
            &root.0,
            &(n as u64).to_le_bytes(),
        ];
        let key = Digest::of_fields("dashboard measured", &fields);
        (half(key), half(Digest::of(bits.get(..8 * n).unwrap_or_default())))
    };
    shorter.chain([losses.len()]).map(voice).collect()
}

/// The first half of a digest: enough to tell what differs by chance, and half of the room.
fn half(Digest(bytes): Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    half
}

/// Counts the losses of a record; whether others have other ones.
fn vote(transaction: &Transaction<'_>, record: &Record) -> Result<bool, Error> {
    let mut count = transaction.prepare_cached(
        "INSERT INTO votes (key, fingerprint, n) VALUES (?1, ?2, 1)
         ON CONFLICT DO UPDATE SET n = n + 1",
    )?;
    let mut others = transaction
        .prepare_cached("SELECT count(*) FROM votes WHERE key = ?1 AND fingerprint != ?2")?;
    let mut is_disputed = false;
    for judged in &record.models {
        for (key, fingerprint) in voices(&record.round, &judged.model) {
            count.execute(params![key, fingerprint])?;
            let n: i64 = others.query_row(params![key, fingerprint], |row| row.get(0))?;
            is_disputed |= n > 0;
        }
    }
    Ok(is_disputed)
}

/// Says anew which records of a block are believed, whose losses contradict each other.
fn settle(transaction: &Transaction<'_>, round: &Round) -> Result<(), Error> {
    let sql = "SELECT id, signed FROM records WHERE competition = ?1 AND block = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map(params![round.competition, int(round.block.0)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    for (id, bytes) in rows {
        let state = state_of(transaction, &record_of(&unpacked(&bytes)?)?)?;
        transaction
            .prepare_cached("UPDATE records SET state = ?2 WHERE id = ?1")?
            .execute(params![id, state.code()])?;
    }
    Ok(())
}

/// How many stand against the losses of a record.
fn state_of(transaction: &Transaction<'_>, record: &Record) -> Result<State, Error> {
    let mut statement =
        transaction.prepare_cached("SELECT fingerprint, n FROM votes WHERE key = ?1")?;
    let mut state = State::Believed;
    let models = record.models.iter().map(|judged| &judged.model);
    for (key, own) in models.flat_map(|model| voices(&record.round, model)) {
        let rows = statement.query_map(params![key], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?))
        })?;
        let counts: Vec<([u8; 16], i64)> = rows.collect::<Result<_, _>>()?;
        let of = |is_own: bool| {
            let found = counts.iter().filter(|(found, _)| (*found == own) == is_own);
            found.map(|(_, n)| *n).max().unwrap_or(0)
        };
        state = state.max(match of(false) {
            n if n > of(true) => State::Outvoted,
            n if n == of(true) => State::Disputed,
            _ => State::Believed,
        });
    }
    Ok(state)
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
