//! What a validator knows of the past: what follows from its entries, and nothing else.

use crate::{
    entry::{After, Entry, RecordText},
    ports::Admission,
    roots::RootState,
};
use anyhow::Context as _;
use chain::{Head, Reveal, Signed};
use journal::past::Follows;
use protocol::{
    AccountId, Block, Digest, Reason, Record, Uid,
    duel::Reign,
    queue::SIGNIFICANT_WEIGHT,
    weights::{Miner, MovingAverage},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything a validator carries from round to round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(crate) contests: BTreeMap<String, ContestState>,
    /// Weights: whether they are due, and which are on their way.
    pub weights: WeightsState,
    /// The root of the records: which is on the chain, and which is on its way.
    #[serde(default)]
    pub roots: RootState,
}

/// What is known of the weights on the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsState {
    /// Whether they have changed since they were last set.
    pub due: bool,
    /// Weights on their way to the chain.
    pub sent: Option<Signed>,
    /// Block at which the chain last took weights of ours.
    #[serde(default)]
    pub set: Option<Block>,
    /// What these hide, where the subnet wants weights hidden.
    #[serde(default)]
    pub hiding: Option<Hidden>,
    /// Weights that the chain has taken and not opened yet, the oldest first.
    #[serde(default)]
    pub hidden: Vec<Hidden>,
    /// The row that the chain keeps once it has the weights that were handed over last.
    #[serde(default)]
    pub row: Option<Vec<(Uid, u16)>>,
    /// Last block in which weights of ours that were hidden can be opened.
    #[serde(default)]
    pub hidden_until: Option<Block>,
}

/// Weights that the chain opens later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// Our slot.
    pub uid: Uid,
    /// When it does.
    pub reveal: Reveal,
    /// The row that it will keep then: targets and values, in order of target.
    pub row: Vec<(Uid, u16)>,
    /// Whether the chain had such a row when they were signed, or was to get it from older ones:
    /// that it is there proves nothing.
    #[serde(default)]
    pub repeats: bool,
}

/// State of one competition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestState {
    /// Block that seeded the last round.
    pub seed_block: Block,
    /// Rounds so far.
    pub n_rounds: u64,
    /// Block that seeded the last round that was given up; it is not tried again.
    pub given_up: Block,
    /// The round that has begun and is neither decided nor given up.
    pub begun: Option<Head>,
    /// Digest of the last record.
    pub record: Option<Digest>,
    /// Moving average of the weights.
    pub average: MovingAverage,
    /// Holder of the crown.
    pub champion: Option<Holder>,
    /// Crown and duels, with rule `duel`; follows from the records.
    #[serde(default)]
    pub reign: Reign,
    /// Rounds in a row that were given up for the sake of each hotkey.
    pub spared: BTreeMap<AccountId, u64>,
    /// Who is measured if nobody who is paid can be.
    pub reserve: Vec<AccountId>,
    /// Who had to wait in the last round, and is heard in the next.
    pub waiting: Vec<AccountId>,
    /// Commitments that were seen absent, by hotkey.
    pub lapses: BTreeMap<AccountId, Lapse>,
    /// Commitments that our own trouble kept from being measured, by hotkey.
    pub skips: BTreeMap<AccountId, Skips>,
    /// What was found of each hotkey's commitment at rest.
    pub verdicts: BTreeMap<AccountId, Verdict>,
    /// Commitments that this validator has the bytes of, with their blocks; under all rules, since
    /// those of tomorrow may ask.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<AccountId, Block>,
}

/// Who holds the crown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Slot.
    pub uid: Uid,
    /// Key in that slot.
    pub hotkey: AccountId,
}

/// A commitment that was seen absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lapse {
    /// Block of the commitment.
    pub committed: Block,
    /// Seed of the round that saw it again; absent while it was not.
    pub since: Option<Block>,
}

/// A commitment that our own trouble kept from being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skips {
    /// Block of the commitment.
    pub committed: Block,
    /// Rounds in which it was tried in vain.
    pub n_rounds: u64,
    /// Number of the first round that tries again.
    pub again: u64,
}

/// What was found of one commitment at rest; not asked twice for the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Text of the commitment.
    pub commitment: String,
    /// Block of the commitment.
    pub block: Block,
    /// Digest of the rules it was judged by.
    pub rules: Digest,
    /// Version of the definition of its root ([`protocol::content::TENSOR_ROOT_VERSION`]); what was
    /// written before there were versions has none.
    #[serde(default)]
    pub roots: u32,
    /// What was found.
    pub found: Found,
}

/// What was found of a model at rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It passed every check.
    Admitted(Admission),
    /// It breaks a rule.
    Refused(Reason),
    /// Its headers break a rule: it is looked at again once nothing else is to be looked at.
    Hopeless(Reason),
}

impl Holder {
    /// Who holds the crown after a round.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let uid = record.champion?;
        let judged = record.models.iter().find(|judged| judged.model.uid == uid)?;
        Some(Self { uid, hotkey: judged.model.hotkey })
    }
}

impl ContestState {
    /// Whether a miner would lose something by not being measured.
    pub(crate) fn has_weight(&self, miner: &Miner) -> bool {
        // Softmax gives everybody a trace, and a trace must not stop a round.
        self.average.of(miner) >= SIGNIFICANT_WEIGHT
            || self.champion.is_some_and(|holder| holder.hotkey == miner.hotkey)
    }

    fn decided(&mut self, text: &RecordText, after: &After) -> anyhow::Result<()> {
        // What may fail comes first: a state is changed whole, or not at all.
        let record = text.record().context("a record of ours cannot be read")?;
        let average: MovingAverage =
            record.averages.clone().try_into().context("a record of ours has no averages")?;
        (self.seed_block, self.begun) = (record.round.block, None);
        self.n_rounds = record.round.number;
        self.record = Some(text.digest());
        self.champion = Holder::of(&record);
        self.reign.follow(&record);
        self.average = average;
        let After { reserve, waiting, lapses, skips, present, seen } = after;
        (self.reserve, self.waiting) = (reserve.clone(), waiting.clone());
        self.seen = seen.clone();
        (self.lapses, self.skips) = (lapses.clone(), skips.clone());
        // Whoever was measured is no trouble any more; of others the count goes on.
        let is_measured = |hotkey: &AccountId| {
            let of_it = record.models.iter().find(|judged| judged.model.hotkey == *hotkey);
            // A champion that nobody challenged is in the record, and was not looked at.
            of_it.is_some_and(|judged| !judged.model.finding.losses().is_empty())
        };
        self.spared.retain(|hotkey, _| present.contains(hotkey) && !is_measured(hotkey));
        // What was known of a slot that is lost goes with it.
        self.verdicts.retain(|hotkey, _| present.contains(hotkey));
        Ok(())
    }
}

impl State {
    /// State of a competition of which something is known.
    pub fn contest(&self, name: &str) -> Option<&ContestState> {
        self.contests.get(name)
    }

    /// The competitions of which something is known, by name.
    pub fn contests(&self) -> impl Iterator<Item = (&str, &ContestState)> {
        self.contests.iter().map(|(name, contest)| (name.as_str(), contest))
    }

    /// Rounds that were decided, in all competitions together.
    pub(crate) fn n_decisions(&self) -> u64 {
        self.contests.values().map(|contest| contest.n_rounds).sum()
    }

    /// All models that are known to have passed every check at rest, in whatever competition.
    pub(crate) fn admissions(&self) -> impl Iterator<Item = &Admission> {
        let verdicts = self.contests.values().flat_map(|contest| contest.verdicts.values());
        verdicts.filter_map(|verdict| match &verdict.found {
            Found::Admitted(admission) => Some(admission),
            Found::Refused(_) | Found::Hopeless(_) => None,
        })
    }

    fn learnt(&mut self, entry: &Entry) -> anyhow::Result<()> {
        match entry {
            Entry::TakenOver(state) => *self = (**state).clone(),
            Entry::Begun { competition, seed } => {
                self.contests.entry(competition.clone()).or_default().begun = Some(*seed);
            }
            Entry::Inspected { competition, hotkey, verdict } => {
                let contest = self.contests.entry(competition.clone()).or_default();
                contest.verdicts.insert(*hotkey, verdict.clone());
            }
            Entry::GivenUp { competition, seed, spared } => {
                let contest = self.contests.entry(competition.clone()).or_default();
                (contest.given_up, contest.begun) = (*seed, None);
                if let Some(hotkey) = spared {
                    *contest.spared.entry(*hotkey).or_default() += 1;
                }
            }
            Entry::Decided { competition, record, after, summary: _ } => {
                let contest = self.contests.entry(competition.clone()).or_default();
                contest.decided(record, after)?;
                self.weights.due = true;
            }
            Entry::WeightsSigned { .. }
            | Entry::WeightsSettled { .. }
            | Entry::WeightsOpened { .. } => self.weights.learnt(entry),
            Entry::RootSigned(_) | Entry::RootSettled { .. } => self.roots.learnt(entry),
        }
        Ok(())
    }
}

impl WeightsState {
    /// Learns which row the chain has: those that are still hidden may be told from it.
    fn repeat(&mut self, row: &[(Uid, u16)]) {
        let rows: Vec<_> = self.hidden.iter().map(|hidden| hidden.row.clone()).collect();
        for (place, hidden) in self.hidden.iter_mut().chain(&mut self.hiding).enumerate() {
            hidden.repeats = hidden.row == row || rows[..place].contains(&hidden.row);
        }
    }

    fn learnt(&mut self, entry: &Entry) {
        match entry {
            Entry::WeightsSigned { signed, hidden, row } => {
                self.due = false;
                let of_hidden = hidden.as_ref().map(|hidden| hidden.row.clone());
                self.row = row.clone().or(of_hidden);
                (self.sent, self.hiding) = (Some(signed.clone()), hidden.clone());
            }
            Entry::WeightsSettled { again, set, epoch } => {
                self.sent = None;
                self.set = set.or(self.set);
                let hidden = self.hiding.take().filter(|_| !*again);
                if let Some(mut hidden) = hidden {
                    hidden.reveal.epoch = epoch.unwrap_or(hidden.reveal.epoch);
                    self.hidden_until = self.hidden_until.max(Some(hidden.reveal.until));
                    self.hidden.push(hidden);
                }
                self.due |= *again;
            }
            Entry::WeightsOpened { until, again, places, row } => {
                let hidden = std::mem::take(&mut self.hidden).into_iter().enumerate();
                let stays = |(place, hidden): &(usize, Hidden)| match places {
                    Some(places) => !places.contains(place),
                    None => hidden.reveal.until > *until,
                };
                self.hidden = hidden.filter(stays).map(|(_, hidden)| hidden).collect();
                if let Some(row) = row {
                    self.repeat(row);
                }
                self.due |= *again;
            }
            _ => {}
        }
    }
}

impl Follows for State {
    type Entry = Entry;

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        self.learnt(entry).map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contest_of_an_earlier_version_has_no_duels() {
        let mut contest = serde_json::to_value(ContestState::default()).unwrap();
        assert!(contest.as_object_mut().unwrap().remove("reign").is_some());
        let contest: ContestState = serde_json::from_value(contest).unwrap();
        assert_eq!(contest.reign, Reign::default());
    }

    #[test]
    fn a_record_that_cannot_be_taken_in_changes_nothing() {
        let frozen = include_str!("../../../testdata/scoring/record.json").trim_end();
        let mut record = Record::from_json(frozen.as_bytes()).unwrap();
        let begun = Some(Head { block: Block(110), hash: record.round.block_hash });
        let mut contest = ContestState { begun, ..ContestState::default() };
        record.averages[0].weight = 2.0;
        let before = contest.clone();
        let bad = RecordText::of(record).unwrap();
        assert!(contest.decided(&bad, &After::default()).is_err());
        assert_eq!(contest, before);
        let frozen: RecordText = serde_json::from_str(frozen).unwrap();
        contest.decided(&frozen, &After::default()).unwrap();
        assert_eq!((contest.begun, contest.n_rounds), (None, 1));
    }

    #[test]
    fn a_verdict_of_before_there_were_versions_of_roots_has_none() {
        let reason = json!({ "code": "too-large", "detail": "" });
        let rules = Digest::of(b"rules");
        let verdict = json!({
            "commitment": "", "block": 1, "rules": rules, "found": { "refused": reason },
        });
        let verdict: Verdict = serde_json::from_value(verdict).unwrap();
        assert_eq!(verdict.roots, 0);
    }

    #[test]
    fn weights_and_entries_of_earlier_versions_mean_what_they_meant() {
        let hidden = |until: u64| {
            let reveal = json!({ "round": 4, "from": until - 9, "until": until });
            json!({ "uid": 0, "reveal": reveal, "row": [[1, 65_535]] })
        };
        let hidden = [hidden(39), hidden(49)];
        let weights = json!({ "due": false, "sent": null, "set": 21, "hidden": hidden });
        let weights = serde_json::from_value(weights).unwrap();
        let mut state = State { weights, ..State::default() };
        let mut learn = |entry| state.apply(&serde_json::from_value(entry).unwrap()).unwrap();
        learn(json!({ "weights-settled": { "again": false, "set": 41 } }));
        learn(json!({ "weights-opened": { "until": 39, "again": true } }));
        let weights = state.weights;
        let left: Vec<Block> = weights.hidden.iter().map(|hidden| hidden.reveal.until).collect();
        assert_eq!((left, weights.due, weights.set), (vec![Block(49)], true, Some(Block(41))));
        assert_eq!((weights.hidden[0].reveal.epoch, weights.hidden[0].repeats), (0, false));
    }
}
