//! Takes over what earlier versions wrote: their `state.json`, and records in their journals.

use crate::{
    entry::Entry,
    state::{ContestState, Holder, State, WeightsState},
};
use anyhow::Context as _;
use journal::{Journal, Past};
use protocol::{
    AccountId, Block, BlockHash, Digest, NetUid, Record, record::RECORD_FORMAT,
    weights::MovingAverage,
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

#[derive(Deserialize)]
struct Old {
    contests: BTreeMap<String, OldContest>,
    weights_due: bool,
}

#[derive(Deserialize)]
struct OldContest {
    seed_block: Block,
    n_rounds: u64,
    record: Option<Digest>,
    average: MovingAverage,
    champion: Option<Holder>,
    kept: Vec<AccountId>,
}

/// Name of the file that earlier versions kept their state in.
const FILE: &str = "state.json";

/// Opens the journal in the folder of a validator, and takes over the state that an earlier version
/// left there, once.
pub fn open_journal(folder: &Path) -> anyhow::Result<Journal> {
    let journal = Journal::open(folder)?;
    let path = folder.join(FILE);
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(journal),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let mut past = Past::<State>::open(journal)?;
    if past.is_empty() {
        let state = taken_over(&old).with_context(|| format!("`{}`", path.display()))?;
        past.learn(&Entry::TakenOver(Box::new(state)), Block(0))?;
    }
    // Only once the journal has it: a crash before leaves both, and the journal is believed.
    let aside = path.with_extension("json.taken-over");
    fs::rename(&path, &aside).with_context(|| format!("cannot rename `{}`", path.display()))?;
    Ok(past.into_journal())
}

/// Formats of records that journals may still have: the older named neither the chain, nor the
/// subnet, nor the engine, and neither said how long documents are.
const FORMATS_BEFORE: [u64; 2] = [3, 4];

/// A record of ours from the journal: of the format of now, or of one before it, which keeps its
/// number and has zeros and nothing for what it does not name.
pub(crate) fn record(json: &[u8]) -> anyhow::Result<Record> {
    // In a journal it is as we wrote it: whether a stranger's is spelt canonically is not asked.
    let unread = match serde_json::from_slice::<Record>(json) {
        Ok(record) if record.format == RECORD_FORMAT => return Ok(record),
        _ => anyhow::anyhow!("it is no record of format {RECORD_FORMAT}, nor of one before it"),
    };
    let Ok(mut old) = serde_json::from_slice::<Value>(json) else { return Err(unread) };
    let format = old.get("format").and_then(Value::as_u64);
    let is_before = format.is_some_and(|format| FORMATS_BEFORE.contains(&format));
    let Some(round) = old.get_mut("round").and_then(Value::as_object_mut).filter(|_| is_before)
    else {
        return Err(unread);
    };
    let unnamed = [
        ("genesis", serde_json::to_value(BlockHash([0; 32]))?),
        ("netuid", serde_json::to_value(NetUid(0))?),
        ("engine", Value::String(String::new())),
    ];
    for (name, nothing) in unnamed {
        round.entry(name).or_insert(nothing);
    }
    let documents = round.get_mut("documents").and_then(Value::as_array_mut);
    for document in documents.into_iter().flatten().filter_map(Value::as_object_mut) {
        for name in ["n_bytes", "n_tokens"] {
            document.entry(name).or_insert(Value::from(0));
        }
    }
    Ok(serde_json::from_value(old)?)
}

/// What an earlier version knew: averages, champions, numbers of rounds.
///
/// What it had found of models at rest is found again: it was not bound to the rules. A text that
/// is no such state is an error.
fn taken_over(state_json: &[u8]) -> anyhow::Result<State> {
    let old: Old = serde_json::from_slice(state_json).context("this is no state of a validator")?;
    let contest = |old: OldContest| ContestState {
        seed_block: old.seed_block,
        n_rounds: old.n_rounds,
        record: old.record,
        average: old.average,
        champion: old.champion,
        reserve: old.kept,
        ..ContestState::default()
    };
    let contests = old.contests.into_iter().map(|(name, old)| (name, contest(old))).collect();
    let weights = WeightsState { due: old.weights_due, ..WeightsState::default() };
    Ok(State { contests, weights, ..State::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_format_before_is_understood_and_none_of_another() {
        let frozen = include_bytes!("../../../testdata/scoring/record.json");
        let mut old: Value = serde_json::from_slice(frozen).unwrap();
        old["format"] = serde_json::json!(4);
        old["round"].as_object_mut().unwrap().remove("optimum");
        for model in old["models"].as_array_mut().unwrap() {
            model["model"].as_object_mut().unwrap().remove("card");
        }
        for document in old["round"]["documents"].as_array_mut().unwrap() {
            let document = document.as_object_mut().unwrap();
            document.remove("n_bytes").and(document.remove("n_tokens")).unwrap();
        }
        let read = record(old.to_string().as_bytes()).unwrap();
        assert_eq!((read.format, read.round.documents[0].n_tokens), (4, 0));
        assert_ne!(read.round.genesis, BlockHash([0; 32]));
        assert_eq!(read.round.bits_per_byte(1.0), None);
        old["format"] = serde_json::json!(3);
        for added in ["genesis", "netuid", "engine"] {
            old["round"].as_object_mut().unwrap().remove(added);
        }
        let read = record(old.to_string().as_bytes()).unwrap();
        assert_eq!((read.format, read.round.number, read.champion), (3, 1, Some(protocol::Uid(5))));
        assert_eq!(read.round.genesis, BlockHash([0; 32]));
        let averages: MovingAverage = read.averages.try_into().unwrap();
        assert_eq!(averages.iter().count(), 2);
        old["format"] = serde_json::json!(2);
        assert!(record(old.to_string().as_bytes()).is_err());
        assert!(record(b"[1]").is_err() && record(b"").is_err());
    }
}
