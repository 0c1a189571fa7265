//! Records on their way to where they are published. Which ones wait is known by their numbers;
//! their bytes stay in the journal until they are published.

use crate::{
    Validator,
    entry::{DECIDED, Entry},
    event::Event,
    ports::Publish,
    state::State,
};
use anyhow::Context as _;
use journal::Past;
use protocol::{Record, record::RECORD_FORMAT};
use records::{Folder, Signed};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Records of one competition on their way.
#[derive(Debug, Default)]
struct Queue {
    /// Whether it was asked which records are not there.
    is_asked: bool,
    /// Numbers of those that wait.
    waiting: BTreeSet<u64>,
    /// Those before this number are there or lost.
    kept_from: u64,
}

/// Records on their way by competition: the trouble of one keeps no other from being published.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<BTreeMap<String, Queue>>);

impl Queues {
    /// Whatever the journal has may wait; where records go has not been asked yet.
    pub(crate) fn of(past: &Past<State>) -> anyhow::Result<Self> {
        let mut queues = BTreeMap::new();
        for (name, contest) in past.state().contests() {
            let (newest, kept_from) = (contest.n_rounds, kept_from(past, name)?);
            let waiting = (kept_from..=newest).collect();
            queues.insert(name.to_owned(), Queue { is_asked: false, waiting, kept_from });
        }
        Ok(Self(Mutex::new(queues)))
    }

    /// A record was decided.
    pub(crate) fn push(&self, competition: &str, number: u64) {
        self.lock().entry(competition.to_owned()).or_default().waiting.insert(number);
    }

    fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn first(&self, competition: &str) -> Option<u64> {
        self.lock().get(competition)?.waiting.first().copied()
    }

    fn is_asked(&self, competition: &str) -> bool {
        self.lock().get(competition).is_some_and(|queue| queue.is_asked)
    }

    /// Takes in which numbers up to `newest` are not there.
    fn learn(&self, competition: &str, gaps: &[RangeInclusive<u64>], kept_from: u64, newest: u64) {
        let mut queues = self.lock();
        let queue = queues.entry(competition.to_owned()).or_default();
        // What was decided meanwhile was not asked for.
        queue.waiting.retain(|number| *number > newest);
        for gap in gaps {
            queue.waiting.extend(kept_from.max(*gap.start())..=*gap.end());
        }
        (queue.is_asked, queue.kept_from) = (true, kept_from);
    }

    fn published(&self, competition: &str, number: u64) {
        if let Some(queue) = self.lock().get_mut(competition) {
            queue.waiting.remove(&number);
        }
    }

    /// Gives up those before a number; gives those that waited.
    fn give_up(&self, competition: &str, kept_from: u64) -> BTreeSet<u64> {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(competition) else { return BTreeSet::new() };
        queue.kept_from = queue.kept_from.max(kept_from);
        let kept = queue.waiting.split_off(&kept_from);
        mem::replace(&mut queue.waiting, kept)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of the newest record of a competition; zero before the first.
fn newest(past: &Past<State>, competition: &str) -> u64 {
    past.state().contest(competition).map_or(0, |contest| contest.n_rounds)
}

/// Number of the oldest record of a competition that the journal has, or of the next one.
fn kept_from(past: &Past<State>, competition: &str) -> anyhow::Result<u64> {
    let newest = newest(past, competition);
    let n_kept = past.journal().n_of(DECIDED, competition)?;
    Ok(newest.saturating_sub(n_kept).saturating_add(1))
}

impl Validator {
    /// Publishes the records that wait, of each competition the oldest first; trouble delays those
    /// of its competition and nothing else.
    pub fn publish(&self, watch: &dyn Fn(Event)) {
        let mut delayed = Vec::new();
        for competition in self.queues.names() {
            if let Err(error) = self.publish_of(&competition, watch) {
                delayed.push(format!("{error:#}"));
            }
        }
        if !delayed.is_empty() {
            watch(Event::RecordDelayed(delayed.join("; ")));
        }
    }

    /// Records that wait to be published.
    pub fn n_unpublished(&self) -> usize {
        self.queues.lock().values().map(|queue| queue.waiting.len()).sum()
    }

    /// Number before which records of a competition that are not where records go are lost; `None`
    /// while some are on their way there.
    pub fn lost_before(&self, competition: &str) -> Option<u64> {
        match self.queues.lock().get(competition) {
            Some(queue) if queue.is_asked && queue.waiting.is_empty() => Some(queue.kept_from),
            Some(_) => None,
            // The journal is not the one that they came from.
            None => Some(u64::MAX),
        }
    }

    /// Asks again which records are not where records go: somebody has missed one there.
    pub fn look_for_missing_records(&self) {
        self.queues.lock().values_mut().for_each(|queue| queue.is_asked = false);
    }

    fn publish_of(&self, competition: &str, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if !self.queues.is_asked(competition) {
            self.ask_for_missing(competition, watch)?;
        }
        // The oldest first: each links to the one before it, which must be there to be read.
        while let Some(number) = self.queues.first(competition) {
            let (record, kept_from) = self.kept(competition, number)?;
            if number < kept_from {
                let lost = self.queues.give_up(competition, kept_from);
                if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
                    tell_of_lost(competition, *first..=*last, watch);
                }
                continue;
            }
            if let Some(record) = record {
                // The signature follows from the record.
                let bytes = Signed::sign(record, &self.keypair).to_json();
                self.ports.publish.record(competition, number, &bytes)?;
            }
            // Only now: a record that could not be written is the first again.
            self.queues.published(competition, number);
        }
        Ok(())
    }

    /// Learns which records are not there. The journal still has some of them, and the others are
    /// lost.
    fn ask_for_missing(&self, competition: &str, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let (newest, kept_from) = {
            let past = self.memory.lock();
            let newest = newest(&past, competition);
            (newest, kept_from(&past, competition)?)
        };
        let gaps = self.ports.publish.lacks(competition, 1..=newest)?;
        self.queues.learn(competition, &gaps, kept_from, newest);
        for gap in gaps.into_iter().filter(|gap| *gap.start() < kept_from) {
            let last = (*gap.end()).min(kept_from.saturating_sub(1));
            tell_of_lost(competition, *gap.start()..=last, watch);
        }
        Ok(())
    }

    /// A record from the journal, and the number before which none is there that anybody reads. It
    /// is `None` where it is older than what is there, and where it is of an earlier format.
    fn kept(&self, competition: &str, number: u64) -> anyhow::Result<(Option<Record>, u64)> {
        let past = self.memory.lock();
        let newest = newest(&past, competition);
        let n_newer = newest.saturating_sub(number);
        let entry = past.nth_newest(DECIDED, competition, n_newer)?;
        let Some(Entry::Decided { record, .. }) = entry else {
            return Ok((None, kept_from(&past, competition)?));
        };
        drop(past);
        let record = record.record()?;
        let found = record.round.number;
        anyhow::ensure!(
            found == number,
            "the journal has record {found} of `{competition}` in the place of record {number}"
        );
        if record.format != RECORD_FORMAT {
            // Those before it are of no later one.
            return Ok((None, number.saturating_add(1)));
        }
        Ok((Some(Arc::unwrap_or_clone(record)), number))
    }
}

fn tell_of_lost(competition: &str, numbers: RangeInclusive<u64>, watch: &dyn Fn(Event)) {
    let (first, last) = numbers.into_inner();
    watch(Event::RecordsLost { competition: competition.to_owned(), first, last });
}

impl Publish for Folder {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path(competition, number);
        let written = Signed::from_json(bytes).and_then(|signed| self.write(&signed));
        written.with_context(|| format!("cannot write the record `{}`", path.display()))
    }

    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        let there = self.list(competition);
        let there = there
            .with_context(|| format!("cannot tell which records of `{competition}` are there"))?;
        Ok(gaps(&there, numbers))
    }
}

/// The parts of a range between numbers in ascending order.
fn gaps(there: &[u64], numbers: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
    let (mut next, last) = numbers.into_inner();
    let mut gaps = Vec::new();
    for number in there.iter().copied().filter(|number| *number <= last) {
        if next < number {
            gaps.push(next..=number - 1);
        }
        next = next.max(number.saturating_add(1));
    }
    if next <= last {
        gaps.push(next..=last);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_is_between_numbers() {
        let gaps = |there: &[u64], last: u64| -> Vec<(u64, u64)> {
            gaps(there, 1..=last).into_iter().map(RangeInclusive::into_inner).collect()
        };
        assert!(gaps(&[], 0).is_empty());
        assert_eq!(gaps(&[], 3), [(1, 3)]);
        assert!(gaps(&[0, 1, 2, 3, 9], 3).is_empty());
        assert_eq!(gaps(&[2, 3, 6], 7), [(1, 1), (4, 5), (7, 7)]);
    }
}
