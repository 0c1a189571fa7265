//! What validators found for the same model and text: who measured the same has to find the same.

use super::{
    Error, State,
    ingest::{losses, record_of, unpacked},
    int, uint,
};
use protocol::{
    Digest, Record,
    record::{Model, Round},
};
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;

/// Half of a digest: enough to tell what differs by chance, and half of the room.
pub(super) type Voice = [u8; 16];

/// Numbers of losses that are compared besides all: with rule `duel`, two validators may have other
/// numbers of a model, and must agree on the first.
const PREFIXES: [usize; 6] = [5, 20, 80, 320, 1_280, 5_120];

/// Stake behind what was found, by what was measured. Slots without stake cost little: they make a
/// dispute of what contradicts them, and outvote nobody.
type Stakes = BTreeMap<Voice, BTreeMap<Voice, u64>>;

/// What was measured, and what came of it: once for all losses of a model, and once for each
/// prefix.
fn of_model(round: &Round, model: &Model) -> Vec<(Voice, Voice)> {
    let losses = losses(model);
    let Some(root) = model.tensor_root.filter(|_| !losses.is_empty()) else { return Vec::new() };
    let bits: Vec<u8> =
        losses.iter().flat_map(|loss| loss.value().to_bits().to_le_bytes()).collect();
    let shorter = PREFIXES.into_iter().filter(|n| *n < losses.len());
    let voice = |n: usize| {
        let fields: [&[u8]; 3] = [&round.batches.0, &root.0, &(n as u64).to_le_bytes()];
        let key = Digest::of_fields("dashboard measured", &fields);
        (half(key), half(Digest::of(bits.get(..8 * n).unwrap_or_default())))
    };
    shorter.chain([losses.len()]).map(voice).collect()
}

/// The voices of a record, one for each that was measured: by rules that are not known here it may
/// have a model twice, and has one voice all the same.
fn all_of(record: &Record) -> BTreeMap<Voice, Voice> {
    let models = record.models.iter().map(|judged| &judged.model);
    models.flat_map(|model| of_model(&record.round, model)).collect()
}

/// All that a record found in one: records of a block with the same one contradict each other in
/// nothing.
pub(super) fn of_record(record: &Record) -> Voice {
    let mut bytes = record.round.batches.0.to_vec();
    for judged in &record.models {
        let losses = losses(&judged.model);
        let Some(root) = judged.model.tensor_root.filter(|_| !losses.is_empty()) else { continue };
        bytes.extend(root.0);
        bytes.extend((losses.len() as u64).to_le_bytes());
        bytes.extend(losses.iter().flat_map(|loss| loss.value().to_bits().to_le_bytes()));
    }
    half(Digest::of(&bytes))
}

fn half(Digest(bytes): Digest) -> Voice {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    half
}

/// Takes in what a record found; where others of its block found something else, says anew which of
/// them are believed.
pub(super) fn hear(
    transaction: &Transaction<'_>,
    round: &Round,
    voice: Voice,
) -> Result<(), Error> {
    let sql = "SELECT count(*) FROM records
        WHERE competition = ?1 AND block = ?2 AND voice != ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    let params = params![round.competition, int(round.block.0), voice];
    let n_others: i64 = statement.query_row(params, |row| row.get(0))?;
    if n_others > 0 { settle(transaction, round) } else { Ok(()) }
}

/// Says anew which records of a block are believed.
fn settle(transaction: &Transaction<'_>, round: &Round) -> Result<(), Error> {
    let sql = "SELECT r.id, b.signed, coalesce(k.rao, 0) FROM records r
        JOIN bodies b ON b.record = r.id
        LEFT JOIN stakes k ON k.validator = r.validator
        WHERE r.competition = ?1 AND r.block = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params![round.competition, int(round.block.0)])?;
    let mut all = Vec::new();
    let mut stakes = Stakes::new();
    while let Some(row) = rows.next()? {
        let (id, packed, rao): (i64, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let voices = all_of(&record_of(&unpacked(&packed)?)?);
        for (measured, found) in &voices {
            let behind = stakes.entry(*measured).or_default().entry(*found).or_default();
            *behind = behind.saturating_add(uint(rao));
        }
        all.push((id, voices));
    }
    let mut update = transaction.prepare_cached("UPDATE records SET state = ?2 WHERE id = ?1")?;
    for (id, voices) in all {
        update.execute(params![id, state_of(&voices, &stakes).code()])?;
    }
    Ok(())
}

/// How much stands against what a record found.
fn state_of(voices: &BTreeMap<Voice, Voice>, stakes: &Stakes) -> State {
    let of = |(measured, own): (&Voice, &Voice)| {
        let Some(found) = stakes.get(measured) else { return State::Believed };
        let behind = found.get(own).copied().unwrap_or(0);
        let against = found.iter().filter(|(found, _)| *found != own).map(|(_, rao)| *rao).max();
        match against {
            Some(rao) if rao > behind => State::Outvoted,
            Some(rao) if rao == behind => State::Disputed,
            _ => State::Believed,
        }
    };
    voices.iter().map(of).max().unwrap_or(State::Believed)
}
