//! What a coldkey may still spend: the chance of a crown by luck, over a window.

use super::DuelRules;
use crate::{AccountId, Block};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most duels that a coldkey begins in a window: what a further one may win by luck is so unlikely
/// that it would only take the time of others.
const N_ATTEMPTS_MAX: u32 = 12;

/// How often each coldkey has tried in its window.
///
/// The j-th duel that a coldkey begins in a window has alpha / (j (j + 1)): together at most alpha,
/// however many there are. A duel that is taken up again is no new one, and a model that is
/// committed to anew goes on with its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    attempts: BTreeMap<AccountId, Attempts>,
}

/// Duels that a coldkey began in a window, up to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// Number of the window: a block divided by the blocks of a window.
    pub window: u64,
    /// How many.
    pub n: u32,
}

impl Attempts {
    /// The chance of a crown by luck that the last of them may have.
    pub fn alpha(&self, rules: &DuelRules) -> f64 {
        let attempt = f64::from(self.n);
        rules.alpha / (attempt * (attempt + 1.0))
    }
}

impl Budget {
    /// Begins a duel of `coldkey` at block `now`: which of its attempts it is.
    ///
    /// Whoever has not tried since the window of `now` began is forgotten. Duels are begun in order
    /// of blocks; one of an earlier window counts in the latest that is known.
    pub fn spend(&mut self, rules: &DuelRules, coldkey: AccountId, now: Block) -> Attempts {
        let window = now.0 / rules.window_blocks.max(1);
        self.attempts.retain(|_, attempts| attempts.window >= window);
        let attempts = self.attempts.entry(coldkey).or_insert(Attempts { window, n: 0 });
        attempts.n = attempts.n.saturating_add(1);
        *attempts
    }

    /// Whether `coldkey` begins no more duels in the window of `now`.
    pub(crate) fn is_spent(&self, rules: &DuelRules, coldkey: &AccountId, now: Block) -> bool {
        let window = now.0 / rules.window_blocks.max(1);
        let is_spent = |tried: &Attempts| tried.window >= window && tried.n >= N_ATTEMPTS_MAX;
        self.attempts.get(coldkey).is_some_and(is_spent)
    }

    /// Takes in an attempt that somebody else counted; those of windows before it are forgotten.
    pub(crate) fn note(&mut self, coldkey: AccountId, attempt: Attempts) {
        self.attempts.retain(|_, attempts| attempts.window >= attempt.window);
        let attempts = self.attempts.entry(coldkey).or_insert(attempt);
        if (attempt.window, attempt.n) > (attempts.window, attempts.n) {
            *attempts = attempt;
        }
    }

    /// Duels that `coldkey` began in the latest window that is known.
    pub fn n_attempts(&self, coldkey: &AccountId) -> u32 {
        self.attempts.get(coldkey).map_or(0, |attempts| attempts.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId([1; 32]);
    const BOB: AccountId = AccountId([2; 32]);

    #[test]
    fn attack_any_number_of_tries_in_a_window_spends_alpha_at_most() {
        let rules = DuelRules::default();
        let mut budget = Budget::default();
        let mut spend = |coldkey, block| budget.spend(&rules, coldkey, block).alpha(&rules);
        assert_eq!(spend(ANN, Block(100)), 5e-4);
        assert_eq!(spend(ANN, Block(50_399)), rules.alpha / 6.0);
        let rest: f64 = (0..10_000).map(|_| spend(ANN, Block(50_399))).sum();
        let spent = rest + rules.alpha / 2.0 + rules.alpha / 6.0;
        assert!(spent < rules.alpha && spent > 0.999 * rules.alpha, "{spent}");
        assert_eq!(spend(BOB, Block(50_399)), 5e-4, "each key has its own");
    }

    #[test]
    fn a_new_window_has_a_new_budget_and_forgets_those_who_are_gone() {
        let rules = DuelRules::default();
        let mut budget = Budget::default();
        budget.spend(&rules, ANN, Block(50_399));
        budget.spend(&rules, BOB, Block(50_399));
        assert_eq!(budget.spend(&rules, ANN, Block(50_400)), Attempts { window: 1, n: 1 });
        assert_eq!((budget.n_attempts(&ANN), budget.n_attempts(&BOB)), (1, 0));
        // A block of the past does not bring back the past.
        assert_eq!(budget.spend(&rules, ANN, Block(3)), Attempts { window: 1, n: 2 });
    }

    #[test]
    fn a_budget_follows_from_the_attempts_that_it_counted() {
        let rules = DuelRules::default();
        let (mut budget, mut follower) = (Budget::default(), Budget::default());
        for (coldkey, block) in [(ANN, 7), (ANN, 8), (BOB, 9), (BOB, 50_400), (ANN, 50_401)] {
            follower.note(coldkey, budget.spend(&rules, coldkey, Block(block)));
            assert_eq!(follower, budget, "{block}");
        }
    }
}
