//! What a coldkey may still spend: the chance of a crown by luck, over a window.

use super::DuelRules;
use crate::{AccountId, Block};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// Duels that a coldkey began in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempts {
    /// Number of the window: a block divided by the blocks of a window.
    window: u64,
    /// How many.
    n: u32,
}

impl Budget {
    /// Begins a duel of `coldkey` at block `now`: the chance that it may have of a crown by luck.
    ///
    /// Whoever has not tried since the window of `now` began is forgotten. Duels are begun in order
    /// of blocks; one of an earlier window counts in the latest that is known.
    pub fn spend(&mut self, rules: &DuelRules, coldkey: AccountId, now: Block) -> f64 {
        let window = now.0 / rules.window_blocks.max(1);
        self.attempts.retain(|_, attempts| attempts.window >= window);
        let attempts = self.attempts.entry(coldkey).or_insert(Attempts { window, n: 0 });
        attempts.n = attempts.n.saturating_add(1);
        let attempt = f64::from(attempts.n);
        rules.alpha / (attempt * (attempt + 1.0))
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
        assert_eq!(budget.spend(&rules, ANN, Block(100)), 5e-4);
        assert_eq!(budget.spend(&rules, ANN, Block(50_399)), rules.alpha / 6.0);
        let rest: f64 = (0..10_000).map(|_| budget.spend(&rules, ANN, Block(50_399))).sum();
        let spent = rest + rules.alpha / 2.0 + rules.alpha / 6.0;
        assert!(spent < rules.alpha && spent > 0.999 * rules.alpha, "{spent}");
        assert_eq!(budget.spend(&rules, BOB, Block(50_399)), 5e-4, "each key has its own");
    }

    #[test]
    fn a_new_window_has_a_new_budget_and_forgets_those_who_are_gone() {
        let rules = DuelRules::default();
        let mut budget = Budget::default();
        budget.spend(&rules, ANN, Block(50_399));
        budget.spend(&rules, BOB, Block(50_399));
        assert_eq!(budget.spend(&rules, ANN, Block(50_400)), 5e-4);
        assert_eq!((budget.n_attempts(&ANN), budget.n_attempts(&BOB)), (1, 0));
        // A block of the past does not bring back the past.
        assert_eq!(budget.spend(&rules, ANN, Block(3)), rules.alpha / 6.0);
    }

    #[test]
    fn a_budget_survives_being_written_down() {
        let mut budget = Budget::default();
        budget.spend(&DuelRules::default(), ANN, Block(7));
        let text = serde_json::to_string(&budget).unwrap();
        assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), budget);
    }
}
