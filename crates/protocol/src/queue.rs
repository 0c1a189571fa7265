//! Which models stay in the pool for the next round (section 2.3.5 of the paper).

use crate::{
    Block, Loss, Uid,
    competition::{Rule, ScoringRules},
    wins::{Seniority, Side, is_win},
};
use std::cmp::Reverse;

/// From this average on a weight is significant, and counts more than any win rate.
pub const SIGNIFICANT_WEIGHT: f64 = 0.001;

/// What a round leaves of one model of the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Slot of its miner.
    pub uid: Uid,
    /// When it was committed to.
    pub seniority: Seniority,
    /// Moving average of its weights, after this round.
    pub average: f64,
    /// What came of measuring it.
    pub measured: Measured,
}

/// What came of measuring a model, as far as the next round is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// It was measured; with an infinite mean loss it took no part and leaves.
    Scored {
        /// Share of its comparisons that it won.
        win_rate: f64,
        /// Mean cross-entropy over the batches.
        mean_loss: Loss,
    },
    /// Our own trouble kept us from measuring it; that costs it nothing.
    Skipped,
    /// It broke a rule.
    Disqualified,
}

/// A measured model: whether it is the champion, priority, mean cross-entropy, rank by age.
type Scored = (Reverse<bool>, f64, Loss, (Seniority, Uid));

/// The models of the next pool, highest priority first.
///
/// The champion first, then by priority: 1 plus the average where that is significant, else the win
/// rate; then by mean loss, then by seniority. With rules `succession` and `duel` those without
/// significant weight come as they would be crowned, each after those before it are gone, by half
/// of the settled epsilon: so copies that are a little better than their original, by the luck of
/// noise, never take its place. The best `n_models_kept` of those that were measured stay, those
/// that were skipped stay on top of that, and whoever broke a rule leaves. Deviation: the paper and
/// the reference do not name the champion; without a place in the pool it would lose the crown to
/// nobody.
pub fn next_pool(
    rules: &ScoringRules,
    standings: &[Standing],
    champion: Option<Uid>,
    n_models_kept: usize,
) -> Vec<Uid> {
    let mut scored: Vec<Scored> = Vec::new();
    let mut skipped = Vec::new();
    for standing in standings {
        match standing.measured {
            Measured::Scored { win_rate, mean_loss } if mean_loss.is_finite() => {
                let is_champion = Some(standing.uid) == champion;
                let priority = priority(standing.average, win_rate);
                let order = (standing.seniority, standing.uid);
                scored.push((Reverse(is_champion), priority, mean_loss, order));
            }
            Measured::Skipped => skipped.push((standing.seniority, standing.uid)),
            Measured::Scored { .. } | Measured::Disqualified => {}
        }
    }
    scored
        .sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    skipped.sort_unstable();
    if matches!(rules.rule, Rule::Succession | Rule::Duel) {
        let is_settled = |(is_champion, priority, ..): &Scored| is_champion.0 || *priority >= 1.0;
        let rest = scored.split_off(scored.partition_point(is_settled));
        scored.extend(in_succession(rules, rest, n_models_kept));
    }
    let kept = scored.into_iter().take(n_models_kept).map(|(.., (_, uid))| uid);
    kept.chain(skipped.into_iter().map(|(_, uid)| uid)).collect()
}

/// The first `n` of some models, each the last of the line of succession that is left.
fn in_succession(rules: &ScoringRules, mut left: Vec<Scored>, n: usize) -> Vec<Scored> {
    let half = rules.epsilon.of_seconds();
    let side = |(.., loss, (seniority, uid)): &Scored| Side {
        uid: *uid,
        seniority: *seniority,
        loss: rules.loss.compared(*loss),
    };
    left.sort_by_key(|(.., order)| *order);
    let mut ranked = Vec::new();
    while ranked.len() < n && !left.is_empty() {
        let mut holder = 0;
        for next in 1..left.len() {
            // A fixed margin does not look at the block.
            if is_win(side(&left[next]), side(&left[holder]), half, Block(0)) {
                holder = next;
            }
        }
        ranked.push(left.remove(holder));
    }
    ranked
}

/// How urgently a model is measured again; above 1 for those with significant weight.
fn priority(average: f64, win_rate: f64) -> f64 {
    if average >= SIGNIFICANT_WEIGHT { 1.0 + average } else { win_rate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Digest,
        competition::{Epsilon, LossKind},
    };

    fn scored(uid: u16, average: f64, win_rate: f64, mean_loss: f64) -> Standing {
        let mean_loss = Loss::new(mean_loss).unwrap();
        let measured = Measured::Scored { win_rate, mean_loss };
        standing(uid, average, measured)
    }

    fn standing(uid: u16, average: f64, measured: Measured) -> Standing {
        let tie_break = Digest([uid as u8; 32]);
        let seniority = Seniority { block: Block(10), tie_break };
        Standing { uid: Uid(uid), seniority, average, measured }
    }

    fn rules(rule: Rule) -> ScoringRules {
        let (loss, epsilon) = (LossKind::Perplexity, Epsilon::Fixed { value: 0.005 });
        ScoringRules { rule, loss, epsilon, temperature: 0.01, alpha: 0.5, duel: None }
    }

    fn uids(pool: &[Uid]) -> Vec<u16> {
        pool.iter().map(|uid| uid.0).collect()
    }

    #[test]
    fn significant_weights_come_first_then_win_rates_then_losses() {
        let standings = [
            scored(1, 0.0009, 0.9, 3.0),
            scored(2, 0.001, 0.0, 3.0),
            scored(3, 0.7, 0.1, 3.0),
            scored(4, 0.0, 0.5, 2.9),
            scored(5, 0.0, 0.5, 2.8),
            scored(6, 0.0, 0.5, 2.8),
        ];
        assert_eq!(uids(&next_pool(&rules(Rule::Wins), &standings, None, 10)), [3, 2, 1, 5, 6, 4]);
        assert_eq!(uids(&next_pool(&rules(Rule::Wins), &standings, None, 3)), [3, 2, 1]);
    }

    #[test]
    fn the_champion_never_leaves_the_pool_while_it_can_be_measured() {
        let standings = [scored(1, 0.9, 1.0, 1.0), scored(2, 0.0, 0.0, 9.0)];
        assert_eq!(uids(&next_pool(&rules(Rule::Wins), &standings, Some(Uid(2)), 1)), [2]);
    }

    #[test]
    fn our_own_trouble_costs_no_model_its_place_and_a_broken_rule_does() {
        let standings = [
            scored(1, 0.9, 1.0, 1.0),
            standing(3, 0.8, Measured::Disqualified),
            standing(4, 0.8, Measured::Scored { win_rate: 0.0, mean_loss: Loss::INFINITE }),
            standing(2, 0.0, Measured::Skipped),
        ];
        assert_eq!(uids(&next_pool(&rules(Rule::Wins), &standings, None, 1)), [1, 2]);
    }

    #[test]
    fn attack_copies_that_are_a_little_luckier_never_take_the_place_of_their_original() {
        let aged = |uid: u16, block: u64, mean_loss: f64| {
            let seniority = Seniority { block: Block(block), tie_break: Digest([uid as u8; 32]) };
            Standing { seniority, ..scored(uid, 0.0, 0.0, mean_loss) }
        };
        let mut standings = vec![
            Standing { average: 1.0, ..aged(1, 10, 3.0) },
            aged(2, 20, 2.996),
            aged(3, 15, 3.2),
            // Clearly better than the original: no copy.
            aged(4, 50, 2.993),
        ];
        standings.extend((10..40).map(|uid| aged(uid, 30, 2.996 - 1e-5 * f64::from(uid))));
        let pool = next_pool(&rules(Rule::Succession), &standings, Some(Uid(1)), 5);
        assert_eq!(uids(&pool)[..3], [1, 4, 2], "{pool:?}");
        let by_loss = next_pool(&rules(Rule::Mean), &standings, Some(Uid(1)), 5);
        assert!(!uids(&by_loss).contains(&2), "by mean loss they do: {by_loss:?}");
    }

    #[test]
    fn the_pool_does_not_depend_on_the_order_of_the_standings() {
        let mut standings =
            [scored(4, 0.0, 0.5, 2.0), scored(1, 0.0, 0.5, 2.0), scored(2, 0.5, 0.5, 2.0)];
        let pool = next_pool(&rules(Rule::Wins), &standings, None, 2);
        standings.reverse();
        assert_eq!(next_pool(&rules(Rule::Wins), &standings, None, 2), pool);
    }
}
