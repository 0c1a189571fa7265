//! Which models a round measures, from what stands on the chain alone.
//!
//! Section 2.3.5 of the paper keeps the models of the last round that have weight. Whose weight
//! counts here is what the chain pays, which everybody reads alike: a validator that is new, or was
//! away, measures what the others measure. What a validator's own averages say comes on top of it,
//! and differs only while the chain has not paid for the last rounds yet.

use crate::{Block, Competition, Uid, competition::EvaluationRules, wins::Seniority};
use std::{cmp::Reverse, collections::BTreeSet};

/// Most rounds that pay may take to follow a crown.
const N_ROUNDS_MAX: u64 = 1_000;
/// Share of all pay that the chain tells from nothing.
const SHARE_MIN: f64 = 1.0 / 65_535.0;

/// A commitment as the chain has it at the seed of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Slot of its miner.
    pub uid: Uid,
    /// When it was committed to.
    pub seniority: Seniority,
    /// What the last epoch gave its slot, of 65,535.
    pub incentive: u16,
    /// Whether the validator itself wants it measured: its own averages have significant weight for
    /// its miner, or it had to wait in the round before.
    pub is_wanted: bool,
}

/// What a round is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Block that seeds the round.
    pub seed: Block,
    /// Blocks that the chain may take to pay for what a round found: two epochs, and the wait
    /// between two settings of weights.
    pub settling_blocks: u64,
}

/// The models to measure, by uid.
///
/// Those of which the commitment is fresh: not older than a round and the time that the chain takes
/// to pay for it. Those that are paid, the best `n_models_kept` by incentive, then by seniority.
/// And those that the validator itself wants. Where none of the entrants is paid
/// the competition is young, or everybody was away: all are measured.
pub fn pool(rules: &EvaluationRules, moment: Moment, entrants: &[Entrant]) -> BTreeSet<Uid> {
    let paid = paid(rules, entrants);
    if paid.is_empty() {
        return entrants.iter().map(|entrant| entrant.uid).collect();
    }
    let is_chosen =
        |entrant: &&Entrant| entrant.is_wanted || is_fresh(rules, moment, entrant.seniority.block);
    let chosen = entrants.iter().filter(is_chosen).map(|entrant| entrant.uid);
    chosen.chain(paid).collect()
}

/// The entrants that the chain pays, the best `n_models_kept` by incentive, then by seniority.
pub fn paid(rules: &EvaluationRules, entrants: &[Entrant]) -> Vec<Uid> {
    let mut paid: Vec<&Entrant> = entrants.iter().filter(|entrant| entrant.incentive > 0).collect();
    paid.sort_by_key(|entrant| (Reverse(entrant.incentive), entrant.seniority, entrant.uid));
    paid.into_iter().take(rules.n_models_kept).map(|entrant| entrant.uid).collect()
}

/// Whether the chain may not have paid yet for the first round that measured a commitment.
pub fn is_fresh(rules: &EvaluationRules, moment: Moment, committed: Block) -> bool {
    let counts_from = committed.0.saturating_add(rules.commitment_age_min);
    let fresh_blocks = rules.blocks_per_round.saturating_add(moment.settling_blocks);
    counts_from.saturating_add(fresh_blocks) > moment.seed.0
}

/// Blocks after which the chain pays a new champion more than the one before it: its moving average
/// has overtaken the other's, and the chain has paid by it.
pub fn overtaking_blocks(competition: &Competition, settling_blocks: u64) -> u64 {
    blocks_until(competition, settling_blocks, 0.5)
}

/// Blocks after which the chain pays a slot nothing any more for what it was before; those of a
/// slot that came from another competition are taken to be alike.
pub fn forgetting_blocks(competition: &Competition, settling_blocks: u64) -> u64 {
    blocks_until(competition, settling_blocks, SHARE_MIN)
}

/// A commitment, and what the chain pays its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payee {
    /// Slot.
    pub uid: Uid,
    /// What the last epoch gave it, of 65,535.
    pub incentive: u16,
    /// Block of the commitment.
    pub committed: Block,
}

/// The slot with a higher incentive than any other that committed to the competition, if its
/// commitment is older than the chain takes to forget what a slot was before; `None` where nobody
/// is ahead.
///
/// A younger one may be paid for what its slot was before: whoever is paid in a large competition
/// would take the throne of a small one by committing to it.
pub fn paid_most(competition: &Competition, moment: Moment, payees: &[Payee]) -> Option<Uid> {
    let most = payees.iter().max_by_key(|payee| payee.incentive)?;
    let n_alike = payees.iter().filter(|payee| payee.incentive == most.incentive).count();
    let forgetting_blocks = forgetting_blocks(competition, moment.settling_blocks);
    let known = Block(moment.seed.0.saturating_sub(forgetting_blocks));
    (most.incentive > 0 && n_alike == 1 && most.committed < known).then_some(most.uid)
}

/// Blocks until less than a share of an old average is left, one round more, and the time that the
/// chain takes to pay.
fn blocks_until(competition: &Competition, settling_blocks: u64, share: f64) -> u64 {
    let (mut left, mut n_rounds) = (1.0, 0);
    while left >= share && n_rounds < N_ROUNDS_MAX {
        left *= competition.scoring.alpha;
        n_rounds += 1;
    }
    let blocks = competition.evaluation.blocks_per_round.saturating_mul(n_rounds + 1);
    blocks.saturating_add(settling_blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Competition, Digest};
    use proptest::prelude::*;

    fn rules() -> EvaluationRules {
        let rules = Competition::builtin("tiny").unwrap().evaluation;
        EvaluationRules { blocks_per_round: 10, commitment_age_min: 1, n_models_kept: 3, ..rules }
    }

    fn entrant(uid: u16, block: u64, incentive: u16) -> Entrant {
        let seniority = Seniority { block: Block(block), tie_break: Digest([uid as u8; 32]) };
        Entrant { uid: Uid(uid), seniority, incentive, is_wanted: false }
    }

    const MOMENT: Moment = Moment { seed: Block(1_000), settling_blocks: 20 };

    fn uids(entrants: &[Entrant]) -> Vec<u16> {
        pool(&rules(), MOMENT, entrants).into_iter().map(|uid| uid.0).collect()
    }

    #[test]
    fn the_paid_the_fresh_and_the_wanted_are_measured() {
        let mut entrants = vec![
            entrant(1, 10, 9),
            entrant(2, 20, 60_000),
            entrant(3, 30, 5_000),
            entrant(4, 40, 5_000),
            entrant(5, 50, 0),
            entrant(6, 970, 0),
            entrant(7, 969, 0),
            entrant(8, 60, 0),
        ];
        entrants[7].is_wanted = true;
        assert_eq!(uids(&entrants), [2, 3, 4, 6, 8]);
    }

    #[test]
    fn all_are_measured_where_nobody_is_paid() {
        assert_eq!(uids(&[entrant(1, 10, 0), entrant(2, 20, 0)]), [1, 2]);
        assert_eq!(uids(&[]), [0; 0]);
    }

    proptest! {
        #[test]
        fn attack_old_commitments_that_nobody_pays_move_nobody_else(
            n in 1_u16..255, paid in 1_u16..65_535,
        ) {
            let mut entrants = vec![entrant(0, 10, paid), entrant(1, 975, 0)];
            let alone = uids(&entrants);
            entrants.extend((2..2 + n).map(|uid| entrant(uid, u64::from(uid), 0)));
            entrants.reverse();
            prop_assert_eq!(uids(&entrants), alone);
        }
    }

    #[test]
    fn whoever_has_a_higher_incentive_than_all_others_is_paid_most() {
        let competition = Competition::builtin("tiny").unwrap();
        let moment = Moment { seed: Block(100_000), settling_blocks: 7 };
        let paid = |incentives: &[(u16, u16)]| {
            let payee = |(uid, incentive): &(u16, u16)| Payee {
                uid: Uid(*uid),
                incentive: *incentive,
                committed: Block(5),
            };
            let payees: Vec<Payee> = incentives.iter().map(payee).collect();
            paid_most(&competition, moment, &payees)
        };
        assert_eq!(paid(&[]), None);
        assert_eq!(paid(&[(1, 0)]), None);
        assert_eq!(paid(&[(1, 7), (2, 9), (3, 9), (4, 0)]), None);
        assert_eq!(paid(&[(1, 7), (2, 9), (3, 8), (4, 0)]), Some(Uid(2)));
    }

    #[test]
    fn attack_whoever_is_paid_for_another_competition_is_not_paid_for_this_one() {
        let competition = Competition::builtin("tiny").unwrap();
        let committed = Block(1_000);
        let newcomer = Payee { uid: Uid(2), incentive: 9, committed };
        let payees = [Payee { uid: Uid(1), incentive: 7, committed: Block(5) }, newcomer];
        let forgotten = committed.0 + forgetting_blocks(&competition, 7);
        let paid = |seed: u64| {
            paid_most(&competition, Moment { seed: Block(seed), settling_blocks: 7 }, &payees)
        };
        // Nor is the other: somebody is ahead of it.
        assert_eq!(paid(forgotten), None);
        assert_eq!(paid(forgotten + 1), Some(Uid(2)), "by now it is paid for this one");
    }

    #[test]
    fn pay_follows_a_crown_once_the_average_has_overtaken_the_other() {
        let mut competition = Competition::builtin("tiny").unwrap();
        competition.evaluation.blocks_per_round = 10;
        for (alpha, overtaking, forgetting) in [
            (0.0, 20, 20),
            // Both averages are a half after one round.
            (0.5, 30, 170),
            (0.9, 80, 1_070),
            (0.999_999, 10_010, 10_010),
        ] {
            competition.scoring.alpha = alpha;
            assert_eq!(overtaking_blocks(&competition, 7), overtaking + 7, "{alpha}");
            assert_eq!(forgetting_blocks(&competition, 7), forgetting + 7, "{alpha}");
        }
        assert_eq!(overtaking_blocks(&competition, u64::MAX), u64::MAX);
    }
}
