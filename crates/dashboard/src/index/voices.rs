//! What validators found for the same model and text: who measured the same has to find the same.

use super::{Error, Index, State, ingest::losses, int, uint};
use protocol::{
    Digest, Loss,
    record::{Judged, Round},
};
use rusqlite::{Transaction, params};
use std::{collections::BTreeMap, iter};

/// Half of a digest: enough to tell what differs by chance, and half of the room.
pub(super) type Voice = [u8; 16];
/// A quarter of a digest, of which a record has some for each of its models. To find other losses
/// with the same quarter takes some 10^19 tries.
type Word = [u8; 8];

/// Fewest losses of a model that are compared besides all.
const PREFIX_MIN: usize = 8;

/// Stake behind what was found, by what was measured. Slots without stake cost little: they make a
/// dispute of what contradicts them, and outvote nobody.
type Stakes = BTreeMap<Word, BTreeMap<Word, u64>>;

/// What was measured, and what came of it: once for all losses of a model, and once for each of
/// some prefixes, each half as long again as the one before it. With rule `duel`, two validators
/// may have other numbers of losses of a model, and must agree on those that both have.
fn of_model(batches: &Digest, root: &Digest, losses: &[Loss]) -> Vec<(Word, Word)> {
    let bits: Vec<u8> =
        losses.iter().flat_map(|loss| loss.value().to_bits().to_le_bytes()).collect();
    let prefixes = iter::successors(Some(PREFIX_MIN), |n| Some(n + n / 2));
    let shorter = prefixes.take_while(|n| *n < losses.len());
    let word = |n: usize| {
        let fields: [&[u8]; 3] = [&batches.0, &root.0, &(n as u64).to_le_bytes()];
        let key = Digest::of_fields("dashboard measured", &fields);
        (first(key), first(Digest::of(bits.get(..8 * n).unwrap_or_default())))
    };
    shorter.chain([losses.len()]).map(word).collect()
}

/// The voices of a record as bytes, one for each that was measured: by rules that are not known
/// here it may have a model twice, and has one voice all the same.
pub(super) fn packed(batches: &Digest, models: &[Judged]) -> Vec<u8> {
    let mut all = BTreeMap::new();
    for judged in models {
        let losses = losses(&judged.model);
        let Some(root) = judged.model.tensor_root.filter(|_| !losses.is_empty()) else { continue };
        all.extend(of_model(batches, &root, losses));
    }
    all.into_iter()
        .flat_map(|(measured, found): (Word, Word)| [measured, found])
        .flatten()
        .collect()
}

/// The voices in bytes that [`packed`] made.
fn unpacked(bytes: &[u8]) -> Result<BTreeMap<Word, Word>, Error> {
    let (words, rest) = bytes.as_chunks::<8>();
    let (pairs, odd) = words.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        return Err(Error::Damaged("what a record found"));
    }
    Ok(pairs.iter().map(|[measured, found]| (*measured, *found)).collect())
}

/// All that a record found in one: records of a block with the same one contradict each other in
/// nothing.
pub(super) fn of_record(batches: &Digest, models: &[Judged]) -> Voice {
    let mut bytes = batches.0.to_vec();
    for judged in models {
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

fn first(Digest(bytes): Digest) -> Word {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    word
}

/// How far a record is believed that comes in: where others of its block found something else, it
/// is in dispute until the block is settled.
pub(super) fn hear(
    transaction: &Transaction<'_>,
    round: &Round,
    voice: Voice,
) -> Result<State, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM records
        WHERE competition = ?1 AND block = ?2 AND voice != ?3)";
    let mut statement = transaction.prepare_cached(sql)?;
    let params = params![round.competition, int(round.block.0), voice];
    let is_contradicted: bool = statement.query_row(params, |row| row.get(0))?;
    if !is_contradicted {
        return Ok(State::Believed);
    }
    let sql = "INSERT OR IGNORE INTO unsettled (competition, block) VALUES (?1, ?2)";
    let params = params![round.competition, int(round.block.0)];
    transaction.prepare_cached(sql)?.execute(params)?;
    Ok(State::Disputed)
}

impl Index {
    /// Says anew which records are believed of blocks of which some contradict others; whether
    /// there were any such.
    pub fn settle(&mut self) -> Result<bool, Error> {
        let sql = "SELECT competition, block FROM unsettled";
        let blocks: Vec<(String, i64)> = self.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if blocks.is_empty() {
            return Ok(false);
        }
        let transaction = self.connection.transaction()?;
        for (competition, block) in &blocks {
            settle(&transaction, competition, *block)?;
        }
        transaction.execute("DELETE FROM unsettled", [])?;
        transaction.commit()?;
        Ok(true)
    }
}

/// Says anew which records of a block are believed.
fn settle(transaction: &Transaction<'_>, competition: &str, block: i64) -> Result<(), Error> {
    let sql = "SELECT b.common, r.id, coalesce(k.rao, 0) FROM records r
        JOIN bodies b ON b.record = r.id
        LEFT JOIN stakes k ON k.validator = r.validator
        WHERE r.competition = ?1 AND r.block = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params![competition, block])?;
    // Records that found the same are believed alike.
    let mut alike: BTreeMap<i64, (Vec<i64>, u64)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (common, id, rao): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (ids, behind) = alike.entry(common).or_default();
        ids.push(id);
        *behind = behind.saturating_add(uint(rao));
    }
    let mut found = transaction.prepare_cached("SELECT found FROM commons WHERE id = ?1")?;
    let (mut all, mut stakes) = (Vec::new(), Stakes::new());
    for (common, (ids, rao)) in alike {
        let packed: Vec<u8> = found.query_row([common], |row| row.get(0))?;
        let voices = unpacked(&packed)?;
        add(&mut stakes, &voices, rao);
        all.push((ids, voices));
    }
    let mut update = transaction.prepare_cached("UPDATE records SET state = ?2 WHERE id = ?1")?;
    for (ids, voices) in all {
        let state = state_of(&voices, &stakes).code();
        for id in ids {
            update.execute(params![id, state])?;
        }
    }
    Ok(())
}

/// Adds stake to what a record found.
fn add(stakes: &mut Stakes, voices: &BTreeMap<Word, Word>, rao: u64) {
    for (measured, found) in voices {
        let behind = stakes.entry(*measured).or_default().entry(*found).or_default();
        *behind = behind.saturating_add(rao);
    }
}

/// How much stands against what a record found.
fn state_of(voices: &BTreeMap<Word, Word>, stakes: &Stakes) -> State {
    let of = |(measured, own): (&Word, &Word)| {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How far each is believed of those who found so many losses of a model, of which the one at
    /// a place may be another.
    fn states<const N: usize>(found: [(usize, Option<usize>, u64); N]) -> [State; N] {
        let (batches, root) = (Digest::of(b"batches"), Digest::of(b"root"));
        let voices = found.map(|(n, lie, _)| -> BTreeMap<Word, Word> {
            let value = |at: usize| 3.0 + at as f64 * 0.01 + f64::from(u8::from(lie == Some(at)));
            let losses: Vec<Loss> = (0..n).map(|at| Loss::new(value(at)).unwrap()).collect();
            of_model(&batches, &root, &losses).into_iter().collect()
        });
        let mut stakes = Stakes::new();
        for (voices, (_, _, rao)) in voices.iter().zip(found) {
            add(&mut stakes, voices, rao);
        }
        voices.map(|voices| state_of(&voices, &stakes))
    }

    #[test]
    fn who_measured_other_numbers_of_documents_agrees_on_those_that_both_have() {
        assert_eq!(states([(30, None, 1), (100, None, 5), (8, None, 2)]), [State::Believed; 3]);
    }

    #[test]
    fn attack_a_false_loss_among_those_that_both_have_is_found() {
        let outvoted = [State::Believed, State::Outvoted];
        assert_eq!(states([(100, None, 5), (30, Some(20), 1)]), outvoted);
        assert_eq!(states([(30, None, 5), (100, Some(7), 1)]), outvoted);
        assert_eq!(states([(30, None, 5), (30, Some(29), 1)]), outvoted, "the last of all");
        let beyond = [State::Believed; 2];
        assert_eq!(states([(30, None, 5), (100, Some(31), 1)]), beyond, "nobody else has it");
    }
}
