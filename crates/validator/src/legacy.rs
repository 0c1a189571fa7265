//! Takes over the `state.json` that earlier versions wrote.

use crate::{
    entry::Entry,
    state::{ContestState, Holder, State, WeightsState},
};
use anyhow::Context as _;
use journal::Journal;
use protocol::{AccountId, Block, Digest, weights::MovingAverage};
use serde::Deserialize;
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
    let mut journal = Journal::open(folder)?;
    let path = folder.join(FILE);
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(journal),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    if is_empty(&journal)? {
        take_over(&mut journal, &old).with_context(|| format!("`{}`", path.display()))?;
    }
    // Only once the journal has it: a crash before leaves both, and the journal is believed.
    let aside = path.with_extension("json.taken-over");
    fs::rename(&path, &aside).with_context(|| format!("cannot rename `{}`", path.display()))?;
    Ok(journal)
}

fn is_empty(journal: &Journal) -> anyhow::Result<bool> {
    let mut is_empty = journal.snapshot()?.is_none();
    journal.after(0, |_| -> anyhow::Result<()> {
        is_empty = false;
        Ok(())
    })?;
    Ok(is_empty)
}

/// Begins a journal with what an earlier version knew: averages, champions, numbers of rounds.
///
/// What it had found of models at rest is found again: it was not bound to the rules. A text that
/// is no such state is an error.
fn take_over(journal: &mut Journal, state_json: &[u8]) -> anyhow::Result<()> {
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
    let weights = WeightsState { due: old.weights_due, sent: None };
    let state = State { contests, weights };
    Entry::TakenOver(Box::new(state)).append(journal, Block(0))?;
    Ok(())
}
