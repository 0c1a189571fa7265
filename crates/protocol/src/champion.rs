//! Who wears the crown: the line of champions.
//!
//! Win rates alone do not name a champion safely: with an epsilon, "beats" is not transitive, and a
//! second key can shield the first (a model beats the champion, the champion's own tweak beats the
//! model, the champion beats its tweak). So the crown passes in order of seniority. The first model
//! wears it; each later one takes it if it beats every model that has worn it before.
//!
//! To beat the present champion is not enough: with wins by majority of batches, a copy of a
//! dethroned champion may beat the present one, and the crown would run in circles. Against the
//! whole line no copy, and no model that is nowhere better than a senior one, ever takes the crown.
//!
//! Among the models that never wore it, one is often just short of the champion by epsilon. A
//! hundred copies of it with a little noise each would have one that is lucky enough. So, with rule
//! `succession`, there are seconds: models that do not beat the crown, are better than everybody
//! who has worn it, and better than each second before them by half of the settled epsilon.
//! Whoever takes the crown must beat the seconds by as much: more than noise gains (see
//! `docs/benchmarks.md`). An exact copy of whoever came before is never a second, be that a second,
//! a champion or neither, and a copy of a second with a little luck is none: they change nothing
//! here. And a second is less than epsilon better than the
//! champion, so that a model that is better by one and a half is never held up, whatever there is.
//! Age does not matter to seconds, or fresh copies of an old champion would bring back the epsilon
//! of its youth.

use crate::{
    Block, Uid,
    competition::{Epsilon, Rule, ScoringRules},
    wins::{Entry, Row, is_win},
};

/// The line of champions among models that are brought forward in order of seniority.
///
/// A prefix and the rest give the same line as the whole, so it may be kept and continued.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    rules: &'a ScoringRules,
    now: Block,
    n_batches: usize,
    holders: Vec<Row<'a>>,
    /// Those who challenged in vain, but clearly better than whoever came before; with `succession`
    /// alone.
    seconds: Vec<Row<'a>>,
}

/// What comes of bringing a model forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// It lacks a finite loss for a batch: it is as if it did not exist.
    Absent,
    /// It does not beat this model; of several, the last that wore the crown, else a second.
    BeatenBy(Uid),
    /// It beats everybody that it has to, and wears the crown now.
    Crowned,
}

impl<'a> Line<'a> {
    /// A line without a champion, for a round of `n_batches` batches seen from block `now`.
    pub fn new(rules: &'a ScoringRules, now: Block, n_batches: usize) -> Self {
        Self { rules, now, n_batches, holders: Vec::new(), seconds: Vec::new() }
    }

    /// Lets `entry`, junior to all before it, challenge; says what comes of it.
    pub fn challenge(&mut self, entry: &'a Entry) -> Challenge {
        let Some(challenger) = Row::new(self.rules, self.n_batches, entry) else {
            return Challenge::Absent;
        };
        let (epsilon, now) = (self.rules.epsilon, self.now);
        let half = epsilon.of_seconds();
        let holds = |holder: &&Row| !beats(&challenger, holder, epsilon, now);
        let stands = |second: &&Row| !beats(&challenger, second, half, now);
        let second = self.seconds.iter().find(stands).map(|second| second.entry.uid);
        if let Some(holder) = self.holders.iter().rev().find(holds) {
            let by = holder.entry.uid;
            let none = Epsilon::Fixed { value: 0.0 };
            let is_better = self.holders.iter().all(|holder| beats(&challenger, holder, none, now));
            if self.rules.rule == Rule::Succession && second.is_none() && is_better {
                self.seconds.push(challenger);
            }
            return Challenge::BeatenBy(by);
        }
        if let Some(second) = second {
            return Challenge::BeatenBy(second);
        }
        self.holders.push(challenger);
        Challenge::Crowned
    }

    /// Whoever wears the crown now.
    pub fn champion(&self) -> Option<Uid> {
        self.holders.last().map(|holder| holder.entry.uid)
    }

    /// Everybody who has worn it, first to last.
    pub fn holders(&self) -> impl Iterator<Item = Uid> {
        self.holders.iter().map(|holder| holder.entry.uid)
    }
}

/// The champion among `entries`, in whatever order they are given; `None` if nobody is present.
///
/// With rule `duel` it is an estimate by mean losses: see [`score`](crate::score::score).
pub fn champion(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> Option<Uid> {
    let mut line = Line::new(rules, now, n_batches);
    for entry in ranked(entries) {
        line.challenge(entry);
    }
    line.champion()
}

/// The entries in order of seniority; the uid decides between equal ones.
pub(crate) fn ranked(entries: &[Entry]) -> Vec<&Entry> {
    let mut ranked: Vec<&Entry> = entries.iter().collect();
    ranked.sort_by_key(|entry| (entry.seniority, entry.uid));
    ranked
}

/// Whether `challenger` wins more than half of the comparisons against `holder`.
fn beats(challenger: &Row, holder: &Row, epsilon: Epsilon, now: Block) -> bool {
    let pairs = challenger.sides().zip(holder.sides());
    let wins = pairs.filter(|(own, other)| is_win(*own, *other, epsilon, now)).count();
    2 * wins > challenger.losses.len()
}

#[cfg(test)]
mod tests;
