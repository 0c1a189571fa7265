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

use crate::{
    Block, Uid,
    competition::{Epsilon, ScoringRules},
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
}

impl<'a> Line<'a> {
    /// A line without a champion, for a round of `n_batches` batches seen from block `now`.
    pub fn new(rules: &'a ScoringRules, now: Block, n_batches: usize) -> Self {
        Self { rules, now, n_batches, holders: Vec::new() }
    }

    /// Lets `entry`, junior to all before it, challenge; says whether it takes the crown.
    pub fn challenge(&mut self, entry: &'a Entry) -> bool {
        let Some(challenger) = Row::new(self.rules.rule, self.n_batches, entry) else {
            return false;
        };
        let (epsilon, now) = (self.rules.epsilon, self.now);
        let takes =
            self.holders.iter().rev().all(|holder| beats(&challenger, holder, epsilon, now));
        if takes {
            self.holders.push(challenger);
        }
        takes
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
pub fn champion(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> Option<Uid> {
    let mut ranked: Vec<&Entry> = entries.iter().collect();
    ranked.sort_by_key(|entry| (entry.seniority, entry.uid));
    let mut line = Line::new(rules, now, n_batches);
    for entry in ranked {
        line.challenge(entry);
    }
    line.champion()
}

/// Whether `challenger` wins more than half of the comparisons against `holder`.
fn beats(challenger: &Row, holder: &Row, epsilon: Epsilon, now: Block) -> bool {
    let pairs = challenger.sides().zip(holder.sides());
    let wins = pairs.filter(|(own, other)| is_win(*own, *other, epsilon, now)).count();
    2 * wins > challenger.losses.len()
}

#[cfg(test)]
mod tests;
