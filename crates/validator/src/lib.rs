//! The validator service: which models there are, text, losses, decision, weights, record.
//!
//! A [`Validator`] is driven by blocks. When a block that seeds a round is final it brings, one
//! after the other, what the round is missing, and notes each in its journal; the round itself is a
//! function of what is known (`round.rs`), which reads like section 2.3 of the paper. So whatever
//! ends the process, the next one goes on at the next thing that is missing.
//!
//! What a model is, how it is measured and where text comes from is not its business: it asks
//! [`ports`], by content.

mod book;
mod decide;
pub mod entry;
pub mod event;
pub mod fetched;
pub mod legacy;
pub mod ports;
mod records;
mod round;
pub mod state;
mod supply;
mod weights;

pub use entry::Entry;
pub use event::{Event, RoundSummary, Row};
pub use fetched::{Engine, FetchedModels, Inspected};
pub use ports::{
    Admission, Ask, Committed, Contest, Drawn, Evaluate, Had, Models, Ports, Publish, Sequence,
    Sight, Terms, Text, Trouble,
};
pub use records::RecordFolder;
pub use state::State;

use anyhow::Context as _;
use chain::{Call, CallStatus, Handed, Head, Keypair, Mechanism, Weights};
use decide::Decision;
use journal::{Journal, Past};
use protocol::{Block, Digest, NetUid, Schedule};
use round::{Known, Measured, Pause, Turn};
use state::{ContestState, Hidden};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records that are published again at a start: whether they were, a crash may have hidden.
const RECORDS_REPUBLISHED: usize = 16;
/// How this validator runs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Subnet that it serves.
    pub netuid: NetUid,
    /// Version of the rules, as it is sent with the weights.
    pub version_key: u64,
    /// Most bytes of new models that are fetched for a round; without this four models of the
    /// largest size that the competition admits, and 16 GiB at least.
    pub fetched_bytes_max: Option<u64>,
}

/// A validator at work: one hotkey on one subnet.
pub struct Validator {
    config: Config,
    ports: Ports,
    contests: Vec<Contest>,
    /// When each of them runs.
    schedule: Schedule,
    keypair: Keypair,
    past: Past<State>,
    /// Rounds that go on, by competition.
    turns: BTreeMap<String, (Head, Turn)>,
    /// Records that wait to be published: competition, number, bytes.
    unpublished: VecDeque<(String, u64, String)>,
}

impl Validator {
    /// Goes on from what stands in the journal.
    pub fn open(
        config: Config,
        ports: Ports,
        contests: Vec<Contest>,
        keypair: Keypair,
        journal: Journal,
    ) -> anyhow::Result<Self> {
        // Rules that contradict each other are found before anything follows from them.
        let schedule =
            Schedule::new(contests.iter().map(|contest| contest.competition.clone()).collect())?;
        let past = Past::open(journal)?;
        let mut unpublished = VecDeque::new();
        for entry in past.newest(entry::DECIDED, RECORDS_REPUBLISHED)? {
            if let Entry::Decided { competition, record, .. } = entry {
                let number = protocol::Record::from_json(record.as_bytes())?.round.number;
                unpublished.push_back((competition, number, record));
            }
        }
        let turns = BTreeMap::new();
        Ok(Self { config, ports, contests, schedule, keypair, past, turns, unpublished })
    }

    /// State as it stands: moving averages, champions, verdicts.
    pub fn state(&self) -> &State {
        self.past.state()
    }

    /// What the last rounds came to, the oldest first, at most `n_max` of them and 1,000 of those
    /// before the state was last written down whole.
    pub fn rounds(&self, n_max: usize) -> anyhow::Result<Vec<RoundSummary>> {
        let summary = |entry| match entry {
            Entry::Decided { summary, .. } => summary.map(|summary| *summary),
            _ => None,
        };
        let decided = self.past.newest(entry::DECIDED, n_max)?;
        Ok(decided.into_iter().filter_map(summary).collect())
    }

    /// Does what is due at a block: looks after weights on their way, runs the rounds whose seed is
    /// final, hands over weights, publishes records.
    ///
    /// Trouble with the chain, a hub or text is told and tried again at the next block, and keeps
    /// nothing else from being done; an `Err` is a journal that cannot be written.
    pub fn on_block(&mut self, head: Head, watch: &(dyn Fn(Event) + Sync)) -> anyhow::Result<()> {
        // Calls first: what became of them decides whether weights are due.
        self.settle(head, watch)?;
        self.look_for_reveal(head, watch)?;
        for (index, seed) in self.due(head, watch) {
            loop {
                match self.step(index, seed, watch) {
                    Ok(Step::GoesOn) => {}
                    Ok(Step::Ended) => break,
                    Err(error) if is_ours(&error) => return Err(error),
                    Err(error) => {
                        watch(Event::RoundSuspended(format!("{error:#}")));
                        break;
                    }
                }
            }
        }
        // After the rounds, so that weights which are due with one go out at the same block; and
        // before records are published, which may wait for an outage to end.
        self.set_weights(head, watch)?;
        self.publish(watch);
        Ok(())
    }

    /// The rounds to run at a block: for each competition the one that has begun, or the newest.
    ///
    /// Rounds missed while the validator was away are not made up for: only the newest seed counts.
    fn due(&self, head: Head, watch: &dyn Fn(Event)) -> Vec<(usize, Head)> {
        let mut due = Vec::new();
        for (competition, block) in self.schedule.seeds(head.block) {
            let index = self.contests.iter().position(|c| c.competition == *competition);
            let Some(index) = index else { continue };
            let state = self.past.state().contest(&competition.name);
            if let Some(begun) = state.and_then(|state| state.begun)
                && (begun.block == block || self.has_measured(&competition.name, begun))
            {
                due.push((index, begun));
                continue;
            }
            if block <= state.map_or(Block(0), |state| state.seed_block.max(state.given_up)) {
                continue;
            }
            match self.ports.chain.block_hash(block) {
                Ok(Some(hash)) => due.push((index, Head { block, hash })),
                Ok(None) => {}
                Err(error) => {
                    watch(Event::ChainTrouble(format!("cannot read a block hash: {error}")));
                }
            }
        }
        due
    }

    /// Whether something was measured for a round that has begun, so that it is worth its end.
    fn has_measured(&self, competition: &str, begun: Head) -> bool {
        let turn = self.turns.get(competition).filter(|(seed, _)| *seed == begun);
        turn.is_some_and(|(_, turn)| !turn.measured.is_empty())
            || self.past.journal().has_losses_of(begun.block).unwrap_or(false)
    }

    /// Brings one thing that a round is missing, or concludes it.
    fn step(
        &mut self,
        index: usize,
        seed: Head,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<Step> {
        let contest = &self.contests[index];
        let name = contest.competition.name.clone();
        if self.past.state().contest(&name).and_then(|state| state.begun) != Some(seed) {
            let entry = Entry::Begun { competition: name.clone(), seed };
            self.past.learn(&entry, seed.block).map_err(ours)?;
        }
        let (_, mut turn) = self
            .turns
            .remove(&name)
            .filter(|(of, _)| *of == seed)
            .unwrap_or_else(|| (seed, Turn::default()));
        let fresh = ContestState::default();
        let state = self.past.state().contest(&name).unwrap_or(&fresh);
        match round::round(&Known { contest, state, seed, turn: &turn }) {
            Ok(measured) => {
                // The decision changes the state that it is made from.
                let (contest, state) = (contest.clone(), state.clone());
                let known = Known { contest: &contest, state: &state, seed, turn: &turn };
                // The turn is gone already: whatever fails from here on, the journal tells the
                // rest.
                self.conclude(&known, &measured, watch)?;
                Ok(Step::Ended)
            }
            Err(Pause::GiveUp { spared, error }) => {
                let entry = Entry::GivenUp { competition: name, seed: seed.block, spared };
                self.past.learn(&entry, seed.block).map_err(ours)?;
                watch(Event::RoundSuspended(error));
                Ok(Step::Ended)
            }
            Err(Pause::Need(need)) => {
                let supply = supply::Supply {
                    config: self.config,
                    ports: &self.ports,
                    past: &mut self.past,
                    contest,
                    room_bytes: room_bytes(&self.contests),
                    seed,
                };
                let brought = supply.bring(*need, &mut turn, watch);
                self.turns.insert(name, (seed, turn));
                brought.map(|()| Step::GoesOn)
            }
        }
    }

    /// Takes the decision of a round: one entry, so record, crown, averages and the weights that
    /// are due with it are there together or not at all.
    fn conclude(
        &mut self,
        known: &Known<'_>,
        measured: &[Measured],
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        let (Some(book), Some(text)) = (&known.turn.book, &known.turn.text) else { return Ok(()) };
        tell(measured, watch);
        let decision = Decision::new(known, (book, text), measured, self.keypair.public());
        let record = String::from_utf8(decision.record.to_json()).map_err(ours)?;
        let summary = decide::summary(known, &decision, measured, Digest::of(record.as_bytes()));
        let competition = known.contest.competition.name.clone();
        let entry = Entry::Decided {
            competition: competition.clone(),
            record: record.clone(),
            after: decision.after,
            summary: Some(Box::new(summary.clone())),
        };
        self.past.learn(&entry, known.seed.block).map_err(ours)?;
        self.unpublished.push_back((competition, summary.round, record));
        watch(Event::RoundEnded(summary));
        // Only now, when nothing of it is needed for this round any more.
        self.past.journal_mut().forget_losses(known.state.seed_block).map_err(ours)?;
        let wanted: BTreeSet<_> =
            self.past.state().admissions().map(|admission| admission.file_root).collect();
        self.ports.models.retain(&wanted)
    }

    /// Learns what became of the weights on their way; lost ones are handed over again.
    fn settle(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Some(sent) = &self.past.state().weights.sent else { return Ok(()) };
        let again = match self.ports.chain.follow(sent) {
            Ok(CallStatus::Pending) => return Ok(()),
            Ok(CallStatus::Unknown) if head.block <= sent.last => return Ok(()),
            Ok(CallStatus::Applied(_)) => false,
            Ok(CallStatus::Refused(_, error)) => {
                watch(Event::WeightsRefused(error));
                true
            }
            Ok(CallStatus::Expired | CallStatus::Displaced) => true,
            // No block tells, but the chain's own state does.
            Ok(CallStatus::Unreadable(_) | CallStatus::Unknown) => match self.last_update() {
                Ok(last_update) => last_update <= sent.from,
                Err(error) => {
                    watch(Event::ChainTrouble(format!("{error:#}")));
                    return Ok(());
                }
            },
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot ask for the weights: {error}")));
                return Ok(());
            }
        };
        let settled = Entry::WeightsSettled { again };
        self.past.learn(&settled, head.block).map_err(ours)
    }

    /// Block at which our own slot last set weights.
    fn last_update(&self) -> anyhow::Result<Block> {
        let metagraph = self.ports.chain.metagraph(self.config.netuid);
        let metagraph = metagraph.context("cannot read the metagraph")?;
        Ok(weights::slot(&metagraph, self.keypair.public())?.last_update)
    }

    /// Hands over the merged weights when they are due, allowed, and none are on their way.
    fn set_weights(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let state = self.past.state();
        if !state.weights.due || state.weights.sent.is_some() {
            return Ok(());
        }
        let (call, hidden) = match self.weights() {
            Ok(Some(weights)) => weights,
            Ok(None) => return Ok(()),
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                return Ok(());
            }
        };
        let signed = match self.ports.chain.sign(call, &self.keypair) {
            Ok(signed) => signed,
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot sign the weights: {error}")));
                return Ok(());
            }
        };
        // Before they are sent: if we die now, the next process knows what it has to ask for.
        let entry = Entry::WeightsSigned { signed: signed.clone(), hidden };
        self.past.learn(&entry, head.block).map_err(ours)?;
        match self.ports.chain.send(&signed) {
            Ok(()) => {
                watch(Event::WeightsSubmitted(signed.id));
                Ok(())
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot send the weights: {error}")));
                let settled = Entry::WeightsSettled { again: true };
                self.past.learn(&settled, head.block).map_err(ours)
            }
        }
    }

    /// Looks whether the chain has opened our hidden weights: it tells nobody.
    ///
    /// All that were committed in one epoch are opened together, in their order, so the last of
    /// them is what stays. Weights that are not there when their time is over are said to be lost,
    /// and are handed over again if no later ones are on their way.
    fn look_for_reveal(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let hidden = &self.past.state().weights.hidden;
        let Some(oldest) = hidden.first().filter(|oldest| head.block >= oldest.reveal.from) else {
            return Ok(());
        };
        let mut row = match self.ports.chain.weights(self.config.netuid, oldest.uid) {
            Ok(row) => row,
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot read our own weights: {error}")));
                return Ok(());
            }
        };
        row.sort_unstable();
        // While we were away, later ones may have taken the place of the oldest.
        let opened = hidden.iter().rev().find(|hidden| {
            head.block >= hidden.reveal.from && hidden.row == row && hidden.uid == oldest.uid
        });
        let (until, again) = match opened {
            Some(opened) => {
                watch(Event::WeightsRevealed { block: head.block });
                (opened.reveal.until, false)
            }
            None if head.block <= oldest.reveal.until => return Ok(()),
            None => {
                watch(Event::WeightsNotRevealed { reveal: oldest.reveal });
                let until = oldest.reveal.until;
                (until, hidden.iter().all(|hidden| hidden.reveal.until == until))
            }
        };
        let opened = Entry::WeightsOpened { until, again };
        self.past.learn(&opened, head.block).map_err(ours)
    }

    /// The call that sets the weights, and what it hides, if the chain takes one now.
    fn weights(&self) -> anyhow::Result<Option<(Call, Option<Hidden>)>> {
        let Config { netuid, version_key, .. } = self.config;
        let metagraph = self.ports.chain.metagraph(netuid).context("cannot read the metagraph")?;
        let own = weights::slot(&metagraph, self.keypair.public())?;
        // The chain counts registration as an update, so a new validator waits as well.
        if metagraph.block.since(own.last_update) < metagraph.weights_rate_limit
            || !own.validator_permit
        {
            return Ok(None);
        }
        let (uids, weights) =
            weights::merged(&self.contests, self.past.state(), &metagraph, own.uid);
        if uids.is_empty() {
            return Ok(None);
        }
        let mechanism = Mechanism::FIRST;
        let weights = Weights { netuid, mechanism, uids, weights, version_key };
        let handed = self.ports.chain.hand(&weights, &self.keypair);
        let Handed { call, reveal } = handed.context("cannot hand over the weights")?;
        let hidden = reveal.map(|reveal| Hidden { uid: own.uid, reveal, row: weights.row() });
        Ok(Some((call, hidden)))
    }

    /// Publishes the records that wait, the oldest first; an outage delays them and nothing else.
    fn publish(&mut self, watch: &dyn Fn(Event)) {
        while let Some((competition, number, record)) = self.unpublished.front() {
            let published = self.ports.publish.record(competition, *number, record.as_bytes());
            if let Err(error) = published {
                watch(Event::RecordDelayed(format!("{error:#}")));
                return;
            }
            self.unpublished.pop_front();
        }
    }
}

/// Whether a round needs more.
enum Step {
    GoesOn,
    Ended,
}

/// Room for one more model of any competition.
fn room_bytes(contests: &[Contest]) -> u64 {
    let sizes = contests.iter().map(|contest| contest.competition.model.size_bytes_max);
    sizes.max().unwrap_or(0)
}

fn tell(measured: &[Measured], watch: &dyn Fn(Event)) {
    use protocol::Outcome::{Disqualified, Evaluated};
    for model in measured {
        let uid = model.entry.stored.uid;
        match &model.outcome {
            Ok(Evaluated(_)) => {}
            Ok(Disqualified(reason)) => watch(Event::Disqualified { uid, reason: reason.clone() }),
            Err(skipped) => watch(Event::Skipped { uid, error: skipped.to_string() }),
        }
    }
}

/// A journal that fails: nothing may go on.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be written")]
struct JournalFailed;

fn ours(error: impl Into<anyhow::Error>) -> anyhow::Error {
    error.into().context(JournalFailed)
}

fn is_ours(error: &anyhow::Error) -> bool {
    error.downcast_ref::<JournalFailed>().is_some()
}
