//! The rounds of a validator: which are due, and the next thing that one of them is missing.

use crate::{
    Validator,
    book::Book,
    decide::{self, Decision, Judge},
    duels,
    entry::{Entry, RecordText},
    event::{Event, Progress, Stage},
    is_ours, ours,
    ports::Contest,
    round::{self, Known, Measured, Pause},
    state::{ContestState, State},
    supply::Supply,
    turn::Turn,
};
use chain::Head;
use journal::Past;
use protocol::{Block, Competition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What came of looking for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// One thing was done, and there may be more.
    Something,
    /// Nothing is due at this block, or others are at it.
    Nothing,
}

/// Whether a round needs more.
enum Step {
    GoesOn,
    Ended,
}

/// A round whose outcomes are all there.
#[derive(Clone, Copy)]
struct Ending<'a> {
    contest: &'a Contest,
    seed: Head,
    turn: &'a Turn,
    measured: &'a [Measured],
}

/// Rounds that go on.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Held by whoever works: models and memory of a machine are enough for one measurement.
    at_work: Mutex<()>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What is known of the rounds that have begun, by competition.
    begun: BTreeMap<Arc<str>, (Head, Box<Turn>)>,
    /// The books of the last rounds that were decided, by competition, until another begins.
    books: BTreeMap<Arc<str>, Book>,
    /// Block at which a competition had trouble that concerns its whole round: it is tried again
    /// at the next.
    troubled: BTreeMap<Arc<str>, Block>,
    /// Work that was done for each competition, over its reward share.
    spent: BTreeMap<Arc<str>, f64>,
}

impl Shared {
    /// What is known of a round of a competition, which may be nothing yet; of another one that had
    /// begun only the book stays.
    fn take(&mut self, competition: &str, seed: Head) -> Box<Turn> {
        let book = match self.begun.remove(competition) {
            Some((of, turn)) if of == seed => return turn,
            Some((_, turn)) => turn.book.or(turn.before),
            None => None,
        };
        let before = book.or_else(|| self.books.remove(competition));
        Box::new(Turn { before, ..Turn::default() })
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Validator {
    /// Runs the rounds that are due at a block as far as they go.
    pub(crate) fn rounds_at(
        &self,
        head: Head,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<()> {
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
        Ok(())
    }

    /// Does one thing that a round is missing, of the competition that had the least work for its
    /// reward share. While one thread is at it, others find nothing to do.
    ///
    /// Trouble that concerns a whole round is told, and tried again at a later block; an `Err` is a
    /// journal that cannot be written.
    pub fn work(&self, head: Head, watch: &(dyn Fn(Event) + Sync)) -> anyhow::Result<Worked> {
        let Ok(_at_work) = self.turns.at_work.try_lock() else { return Ok(Worked::Nothing) };
        let due = self.due(head, watch);
        let Some((index, seed)) = self.next(&due, head.block) else { return Ok(Worked::Nothing) };
        match self.step(index, seed, watch) {
            Ok(_) => Ok(Worked::Something),
            Err(error) if is_ours(&error) => Err(error),
            Err(error) => {
                watch(Event::RoundSuspended(format!("{error:#}")));
                let name = Arc::clone(&self.contests[index].name);
                self.turns.lock().troubled.insert(name, head.block);
                Ok(Worked::Something)
            }
        }
    }

    /// Of the rounds that are due, the one to work on.
    fn next(&self, due: &[(usize, Head)], now: Block) -> Option<(usize, Head)> {
        let name = |index: usize| &self.contests[index].name;
        let mut shared = self.turns.lock();
        let Shared { troubled, spent, .. } = &mut *shared;
        spent.retain(|known, _| due.iter().any(|(index, _)| name(*index) == known));
        // Whoever had nothing to do saved nothing up: it begins where the least of the others is.
        let least = spent.values().copied().reduce(f64::min).unwrap_or(0.0);
        for (index, _) in due {
            spent.entry(Arc::clone(name(*index))).or_insert(least);
        }
        let is_free = |(index, _): &&(usize, Head)| {
            troubled.get(name(*index)).is_none_or(|troubled| *troubled < now)
        };
        let of = |(index, _): &(usize, Head)| spent.get(name(*index)).copied().unwrap_or(least);
        due.iter().filter(is_free).min_by(|a, b| of(a).total_cmp(&of(b))).copied()
    }

    /// The rounds to run at a block: for each competition the one that has begun, or the newest.
    ///
    /// Rounds missed while the validator was away are not made up for: only the newest seed counts.
    fn due(&self, head: Head, watch: &dyn Fn(Event)) -> Vec<(usize, Head)> {
        let newest = |name: &str| {
            let mut seeds = self.schedule.seeds(head.block);
            seeds.find(|(competition, _)| competition.name == name).map(|(_, seed)| seed)
        };
        let round = |name: &Arc<str>| self.due_of(name, newest(name), watch);
        self.names.iter().filter_map(round).collect()
    }

    /// The round of one competition, whose newest seed is named if it still runs.
    fn due_of(
        &self,
        name: &str,
        newest: Option<Block>,
        watch: &dyn Fn(Event),
    ) -> Option<(usize, Head)> {
        let (begun, last) = self
            .memory
            .contest(name, |contest| (contest.begun, contest.seed_block.max(contest.given_up)));
        // By the rules that held at its seed, though others may hold by now, or none.
        if let Some(begun) = begun
            && (newest == Some(begun.block) || self.has_measured(name, begun))
            && let Some(index) = self.rules_at(name, begun.block)
        {
            return Some((index, begun));
        }
        let block = newest.filter(|block| *block > last)?;
        let index = self.rules_at(name, block)?;
        match self.ports.chain.block_hash(block) {
            Ok(hash) => Some((index, Head { block, hash: hash? })),
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot read a block hash: {error}")));
                None
            }
        }
    }

    /// The rules of a competition that hold at a block, by their place among the contests.
    fn rules_at(&self, name: &str, block: Block) -> Option<usize> {
        let rules = self.schedule.at(block).find(|rules| rules.name == name)?;
        // Those of one name never hold at one block, so their first tells them apart.
        let first = (rules.name.as_str(), rules.from_block);
        self.contests.iter().position(|contest| {
            let Competition { name, from_block, .. } = &contest.competition;
            (name.as_str(), *from_block) == first
        })
    }

    /// Whether something was measured for a round that has begun, so that it is worth its end.
    fn has_measured(&self, competition: &str, begun: Head) -> bool {
        let shared = self.turns.lock();
        let turn = shared.begun.get(competition).filter(|(seed, _)| *seed == begun);
        let is_measured = turn.is_some_and(|(_, turn)| !turn.measured.is_empty());
        drop(shared);
        is_measured || self.memory.lock().journal().has_losses_of(begun.block).unwrap_or(false)
    }

    /// Brings one thing that a round is missing, or concludes it.
    fn step(
        &self,
        index: usize,
        seed: Head,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<Step> {
        let contest = &self.contests[index];
        let name = &contest.competition.name;
        if self.memory.contest(name, |state| state.begun) != Some(seed) {
            let entry = Entry::Begun { competition: name.clone(), seed };
            self.memory.learn(&entry, seed.block)?;
        }
        let mut turn = self.turns.lock().take(&contest.name, seed);
        match self.outcome(contest, seed, &mut turn) {
            Ok(measured) => {
                // The turn is gone already: whatever fails from here on, the journal tells the
                // rest.
                let ending = Ending { contest, seed, turn: &turn, measured: &measured };
                self.conclude(ending, watch)?;
                if let Some(book) = turn.book {
                    self.turns.lock().books.insert(Arc::clone(&contest.name), book);
                }
                Ok(Step::Ended)
            }
            Err(Pause::GiveUp { spared, error }) => {
                let competition = name.clone();
                let entry = Entry::GivenUp { competition, seed: seed.block, spared };
                self.memory.learn(&entry, seed.block)?;
                watch(Event::progress(contest, Progress::GivenUp));
                watch(Event::RoundSuspended(error));
                Ok(Step::Ended)
            }
            Err(Pause::Need(need)) => {
                let supply = Supply {
                    config: self.config,
                    ports: &self.ports,
                    memory: &self.memory,
                    contest,
                    validator: self.keypair.public(),
                    room_bytes: self.room_bytes(),
                    seed,
                };
                let before = turn.work;
                let brought = supply.bring(*need, &mut turn, watch);
                if let Err(error) = &brought
                    && is_too_late(error, contest, seed)
                {
                    let (competition, seed) = (name.clone(), seed.block);
                    let entry = Entry::GivenUp { competition, seed, spared: None };
                    self.memory.learn(&entry, seed)?;
                    watch(Event::RoundSuspended(format!("{error:#}")));
                    return Ok(Step::Ended);
                }
                let work = turn.work.saturating_sub(before) as f64;
                let share = contest.competition.reward_share.max(f64::MIN_POSITIVE);
                let mut shared = self.turns.lock();
                *shared.spent.entry(Arc::clone(&contest.name)).or_default() += work / share;
                shared.begun.insert(Arc::clone(&contest.name), (seed, turn));
                drop(shared);
                brought.map(|()| Step::GoesOn)
            }
        }
    }

    /// The outcomes of a round, or what it is missing.
    fn outcome(
        &self,
        contest: &Contest,
        seed: Head,
        turn: &mut Turn,
    ) -> Result<Vec<Measured>, Pause> {
        let name = &contest.competition.name;
        let mut told = match turn.told.take() {
            Some(told) => told,
            None => self
                .memory
                .contest(name, |state| round::round(&Known { contest, state, seed, turn }))?,
        };
        let reign = || self.memory.contest(name, |state| state.reign.clone());
        let fought = duels::fight(contest, seed.block, turn, &mut told, reign);
        // Last, so that what does not count yet keeps nobody from being measured.
        let waiting = fought.and_then(|()| {
            let have = |state: &_| Known { contest, state, seed, turn }.have_unheard();
            self.memory.contest(name, have)
        });
        match waiting {
            Ok(waiting) => {
                let mut models = told.models;
                models.extend(waiting);
                models.sort_by_key(|model| model.entry.stored.uid);
                Ok(models)
            }
            Err(pause) => {
                // Losses alone change nothing of who is in the round, unless the throne is empty
                // and they are wanted.
                turn.told = (told.is_fought || !told.is_vacant).then_some(told);
                Err(pause)
            }
        }
    }

    /// Takes the decision of a round, and tells how long it takes.
    fn conclude(&self, ending: Ending<'_>, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        watch(Event::progress(ending.contest, Progress::Began(Stage::Decide)));
        let decided = self.decide(ending, watch);
        watch(Event::progress(ending.contest, Progress::Ended(Stage::Decide)));
        decided
    }

    /// Takes the decision of a round: one entry, so record, crown, averages and the weights that
    /// are due with it are there together or not at all.
    fn decide(&self, ending: Ending<'_>, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Ending { contest, seed, turn, measured } = ending;
        let (Some(book), Some(text)) = (&turn.book, &turn.text) else { return Ok(()) };
        tell(measured, watch);
        let judge = Judge {
            validator: self.keypair.public(),
            genesis: self.config.genesis,
            netuid: self.config.netuid,
            engine: self.ports.evaluate.engine(),
        };
        let competition = &contest.competition.name;
        // Nothing of the world is asked for here, so the state may wait until it is decided.
        let decide = |state: &ContestState| -> anyhow::Result<_> {
            let known = Known { contest, state, seed, turn };
            let Decision { record, after } = Decision::new(&known, book, text, measured, &judge)?;
            let record = RecordText::of(record).map_err(ours)?;
            let summary = decide::summary(&known, &*record.record()?, measured, record.digest());
            let (competition, summary) = (competition.clone(), Some(Box::new(summary)));
            Ok((Entry::Decided { competition, record, after, summary }, state.seed_block))
        };
        let (entry, seed_before) = self.memory.contest(competition, decide)?;
        self.memory.learn(&entry, seed.block)?;
        let n_waiting = measured.iter().filter(|model| model.outcome.is_err()).count();
        let decided = Progress::Decided { n_models: measured.len(), n_waiting };
        watch(Event::progress(contest, decided));
        if let Entry::Decided { summary: Some(summary), .. } = entry {
            self.queues.push(competition, summary.round);
            watch(Event::RoundEnded(*summary));
        }
        let wanted: BTreeSet<_> = {
            let mut past = self.memory.lock();
            // Only now, when nothing of it is needed for this round any more.
            let oldest = self.oldest_needed(&past).min(seed_before);
            past.journal_mut().forget_losses(oldest).map_err(ours)?;
            past.state().admissions().map(|admission| admission.file_root).collect()
        };
        self.ports.models.retain(&wanted)
    }

    /// Seed of the oldest round that goes on with losses which were measured for it: that of
    /// another competition may take longer than several of this one, and longer than its
    /// competition runs.
    fn oldest_needed(&self, past: &Past<State>) -> Block {
        let of = |contest: &Contest| {
            let name = &contest.competition.name;
            let begun = past.state().contest(name)?.begun?.block;
            let has_losses = past.journal().has_losses_of(begun).unwrap_or(true);
            // By rules that are here no more it never goes on.
            (has_losses && self.rules_at(name, begun).is_some()).then_some(begun)
        };
        self.contests.iter().filter_map(of).min().unwrap_or(Block(u64::MAX))
    }

    /// Room for one more model of any competition.
    fn room_bytes(&self) -> u64 {
        let sizes = self.contests.iter().map(|contest| contest.competition.model.size_bytes_max);
        sizes.max().unwrap_or(0)
    }
}

/// Whether a round can never be read any more: the chain has let go of the state at its seed, and
/// the seed of a later one is there.
fn is_too_late(error: &anyhow::Error, contest: &Contest, seed: Head) -> bool {
    let every = contest.competition.evaluation.blocks_per_round;
    let Some(chain::Error::NoState { newest, .. }) = error.downcast_ref::<chain::Error>() else {
        return false;
    };
    newest.since(seed.block) >= every
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
