//! The invariants S1 to S12 of scoring and crown.
//!
//! Pairwise wins with an epsilon are not transitive, so the paper's weights cannot be immune to
//! clones (S7) or to models that are nowhere better (S8); those hold for the line of champions, and
//! are tested there.

use crate::tournament::{
    ANY, Tournament, WINS, bits, epsilons, losses, rules, seniority, tournaments,
};
use proptest::prelude::*;
use protocol::{
    AccountId, Block, Entry, Loss, Uid, Verdict,
    champion::Line,
    competition::{Epsilon, Rule},
    score,
    weights::{Miner, MovingAverage, quantize, softmax},
    wins::{Side, is_win},
};
use std::collections::BTreeMap;

fn sides() -> impl Strategy<Value = Side> {
    let blocks = prop_oneof![Just(50u64), Just(60), Just(99)];
    let losses = prop_oneof![9 => losses(), 1 => Just(Loss::INFINITE)];
    (0u16..50, blocks, losses).prop_map(|(uid, block, loss)| Side {
        uid: Uid(uid),
        seniority: seniority(uid, block),
        loss,
    })
}

fn loss(value: f64) -> Loss {
    Loss::new(value).unwrap()
}

fn ranked(tournament: &Tournament) -> Vec<Entry> {
    let mut entries = tournament.entries.clone();
    entries.sort_by_key(|entry| (entry.seniority, entry.uid));
    entries
}

fn line_of(tournament: &Tournament, entries: &[Entry]) -> Vec<Uid> {
    let mut line = Line::new(&tournament.rules, tournament.now, tournament.n_batches);
    for entry in entries {
        line.challenge(entry);
    }
    line.holders().collect()
}

fn sum_of(average: &MovingAverage) -> f64 {
    average.iter().map(|average| average.weight).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn s1_exactly_one_of_a_pair_wins_and_ties_go_to_the_senior(
        a in sides(), b in sides(), epsilon in epsilons(),
    ) {
        prop_assume!(a.uid != b.uid);
        let now = Block(100);
        prop_assert_ne!(is_win(a, b, epsilon, now), is_win(b, a, epsilon, now));
        let tied = Side { loss: b.loss, ..a };
        let is_senior = (a.seniority, a.uid) < (b.seniority, b.uid);
        prop_assert_eq!(is_win(tied, b, epsilon, now), is_senior);
    }

    #[test]
    fn s2_wins_sum_to_one_per_pair_and_batch(tournament in tournaments(ANY)) {
        let verdicts = tournament.score();
        prop_assert!(verdicts.iter().all(|v| (0.0..=1.0).contains(&v.win_rate)));
        if tournament.rules.rule == Rule::Wins {
            let (n, m) = (tournament.entries.len() as u64, tournament.n_batches as u64);
            prop_assert_eq!(verdicts.iter().map(|v| v.wins).sum::<u64>(), m * n * (n - 1) / 2);
        }
    }

    #[test]
    fn s3_a_larger_epsilon_never_makes_a_junior_win(
        a in sides(), b in sides(), small in 0.0..0.02, more in 0.0..0.02,
    ) {
        prop_assume!(a.uid != b.uid);
        let (senior, junior) =
            if (a.seniority, a.uid) < (b.seniority, b.uid) { (a, b) } else { (b, a) };
        let wins = |value| is_win(junior, senior, Epsilon::Fixed { value }, Block(100));
        prop_assert!(wins(small) || !wins(small + more));
    }

    #[test]
    fn s3_a_larger_epsilon_never_gives_the_most_junior_model_a_win_or_the_crown(
        tournament in tournaments(ANY), small in 0.0..0.02, more in 0.0..0.02,
    ) {
        let mut tournament = tournament.with_rule(Rule::Wins);
        let youngest = ranked(&tournament).last().unwrap().uid;
        let mut at = |value| {
            tournament.rules.epsilon = Epsilon::Fixed { value };
            let verdicts = tournament.score();
            let wins = verdicts.iter().find(|v| v.uid == youngest).unwrap().wins;
            let rest: Vec<Entry> = ranked(&tournament).into_iter().rev().take(1).collect();
            let senior = ranked(&tournament).into_iter().next().unwrap();
            let pair = tournament.with_entries(vec![senior, rest[0].clone()]);
            (wins, pair.champion() == Some(youngest))
        };
        let ((few, crowned_small), (fewer, crowned_large)) = (at(small), at(small + more));
        prop_assert!(fewer <= few);
        prop_assert!(crowned_small || !crowned_large || tournament.entries.len() == 1);
    }

    #[test]
    fn s4_scaling_the_losses_of_a_batch_changes_nothing(
        tournament in tournaments(WINS), batch in 0usize..7, exponent in -8i32..8,
    ) {
        let batch = batch % tournament.n_batches;
        let mut entries = tournament.entries.clone();
        for entry in &mut entries {
            // A power of two, so that the scaled losses are exact.
            entry.losses[batch] = loss(entry.losses[batch].value() * 2f64.powi(exponent));
        }
        let scaled = tournament.with_entries(entries);
        prop_assert_eq!(bits(&scaled.score()), bits(&tournament.score()));
        prop_assert_eq!(scaled.champion(), tournament.champion());
    }

    #[test]
    fn s5_the_order_of_models_and_batches_does_not_matter_to_the_last_bit(
        tournament in tournaments(ANY), models in any::<prop::sample::Index>(),
        batches in any::<prop::sample::Index>(),
    ) {
        let mut entries = tournament.entries.clone();
        let n = entries.len();
        entries.rotate_left(models.index(n));
        if n > 2 {
            entries.swap(0, 1);
        }
        for entry in &mut entries {
            entry.losses.rotate_left(batches.index(tournament.n_batches));
        }
        let permuted = tournament.with_entries(entries);
        prop_assert_eq!(bits(&permuted.score()), bits(&tournament.score()));
        prop_assert_eq!(permuted.champion(), tournament.champion());
    }

    /// Under `mean` this cannot hold for weights: a model that improves may push a model it used to
    /// beat out of the competitive ones, and lose that win.
    #[test]
    fn s6_lower_losses_never_lower_the_own_weight(
        tournament in tournaments(WINS), who in any::<prop::sample::Index>(),
        factors in prop::collection::vec(0.97..=1.0, 7),
    ) {
        let (before, after, who) = improve(&tournament, who, &factors);
        let (old, new) = (before.score(), after.score());
        for (i, (old, new)) in old.iter().zip(&new).enumerate() {
            let (more, fewer) = if i == who { (new, old) } else { (old, new) };
            prop_assert!(more.wins >= fewer.wins);
        }
        // Exact up to the rounding of the exponential and of the sum.
        prop_assert!(new[who].weight >= old[who].weight - 1e-12);
    }

    #[test]
    fn s6_lower_losses_never_cost_the_crown(
        tournament in tournaments(ANY), factors in prop::collection::vec(0.97..=1.0, 7),
    ) {
        let champion = tournament.champion().unwrap();
        let place = tournament.entries.iter().position(|e| e.uid == champion).unwrap();
        let mut entries = tournament.entries.clone();
        for (loss_of, factor) in entries[place].losses.iter_mut().zip(&factors) {
            *loss_of = loss(loss_of.value() * factor);
        }
        prop_assert_eq!(tournament.with_entries(entries).champion(), Some(champion));
    }

    /// Holds for the crown, not for the weights of pairwise wins: a clone gives the model it copies
    /// nothing, but it does take part in the win rates of all.
    #[test]
    fn s7_clones_and_models_that_do_not_beat_the_champion_move_no_crown(
        tournament in tournaments(ANY),
        clones in prop::collection::vec((any::<prop::sample::Index>(), 0u64..3), 1..6),
        late in prop::collection::vec(losses(), 7),
    ) {
        let champion = tournament.champion();
        let holder = tournament.entries.iter().find(|e| Some(e.uid) == champion).unwrap().clone();
        let mut entries = tournament.entries.clone();
        for (uid, (original, delay)) in (200u16..).zip(clones) {
            let original = original.get(&tournament.entries);
            let seniority = seniority(uid, original.seniority.block.0 + delay);
            // In the same block chance decides who is the clone.
            if seniority > original.seniority {
                entries.push(Entry { uid: Uid(uid), seniority, losses: original.losses.clone() });
            }
        }
        prop_assert_eq!(tournament.with_entries(entries.clone()).champion(), champion);

        let losses = late[..tournament.n_batches].to_vec();
        let loser = Entry { uid: Uid(300), seniority: seniority(300, 100), losses };
        let duel = tournament.with_entries(vec![holder, loser.clone()]);
        if duel.champion() == champion {
            entries.push(loser);
            prop_assert_eq!(tournament.with_entries(entries).champion(), champion);
        }
    }

    /// Holds for the crown; win rates count every model.
    #[test]
    fn s8_a_model_that_is_nowhere_better_than_a_senior_one_changes_no_crown(
        tournament in tournaments(ANY), senior in any::<prop::sample::Index>(),
        delay in 0u64..40, factors in prop::collection::vec(1.0..1.02, 7),
    ) {
        let senior = senior.get(&tournament.entries);
        let seniority = seniority(200, senior.seniority.block.0 + delay);
        prop_assume!(seniority > senior.seniority);
        let worse = senior.losses.iter().zip(&factors).map(|(l, f)| loss(l.value() * f)).collect();
        let mut entries = tournament.entries.clone();
        entries.push(Entry { uid: Uid(200), seniority, losses: worse });
        prop_assert_eq!(tournament.with_entries(entries).champion(), tournament.champion());
    }

    #[test]
    fn s9_a_missing_or_infinite_loss_is_as_if_the_model_were_absent(
        tournament in tournaments(ANY), which in prop::collection::vec(0u8..5, 8),
        batch in any::<prop::sample::Index>(),
    ) {
        let mut entries = tournament.entries.clone();
        for (entry, kind) in entries.iter_mut().zip(&which) {
            match kind {
                0 => entry.losses[batch.index(tournament.n_batches)] = Loss::INFINITE,
                1 => drop(entry.losses.pop()),
                2 => entry.losses.push(loss(0.1)),
                _ => {}
            }
        }
        let healthy = entries.iter().zip(&which).filter(|(_, kind)| **kind > 2);
        let rest = healthy.map(|(entry, _)| entry.clone()).collect();
        let (with, without) = (tournament.with_entries(entries), tournament.with_entries(rest));
        let verdicts = with.score();
        let (present, absent): (Vec<Verdict>, Vec<Verdict>) =
            verdicts.into_iter().partition(|verdict| verdict.present);
        prop_assert_eq!(bits(&present), bits(&without.score()));
        prop_assert_eq!(present.len(), without.entries.len());
        prop_assert!(absent.iter().all(|v| v.wins == 0 && v.win_rate == 0.0 && v.weight == 0.0));
        prop_assert_eq!(with.champion(), without.champion());
        prop_assert_eq!(present.is_empty(), with.champion().is_none());
    }

    #[test]
    fn s10_the_line_of_champions_may_be_interrupted_anywhere(
        tournament in tournaments(ANY), cut in any::<prop::sample::Index>(),
    ) {
        let entries = ranked(&tournament);
        let whole = line_of(&tournament, &entries);
        let (prefix, rest) = entries.split_at(cut.index(entries.len() + 1));
        let mut line = Line::new(&tournament.rules, tournament.now, tournament.n_batches);
        for entry in prefix {
            line.challenge(entry);
        }
        prop_assert_eq!(line.holders().collect::<Vec<_>>(), line_of(&tournament, prefix));
        let mut continued = line.clone();
        for entry in rest {
            continued.challenge(entry);
        }
        prop_assert_eq!(continued.holders().collect::<Vec<_>>(), &whole[..]);
        prop_assert_eq!(whole.last().copied(), tournament.champion());
    }

    #[test]
    fn s11_weights_are_shares_at_every_temperature(
        tournament in tournaments(ANY), exponent in -4.0..=4.0,
    ) {
        let mut tournament = tournament;
        tournament.rules.temperature = 10f64.powf(exponent).clamp(1e-4, 1e4);
        let verdicts = tournament.score();
        let sum: f64 = verdicts.iter().map(|v| v.weight).sum();
        prop_assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        prop_assert!(verdicts.iter().all(|v| (0.0..=1.0).contains(&v.weight)));
        let weights: BTreeMap<Uid, f64> = verdicts.iter().map(|v| (v.uid, v.weight)).collect();
        let integers = quantize(&weights);
        prop_assert_eq!(integers.iter().map(|(_, weight)| *weight).max(), Some(u16::MAX));
        prop_assert!(integers.iter().all(|(_, weight)| *weight > 0));
    }

    #[test]
    fn s12_the_average_stays_between_its_values_and_a_new_hotkey_inherits_nothing(
        rounds in prop::collection::vec(
            prop::collection::btree_map((0u16..6, 0u8..2), 0.0..=1.0, 0..8), 1..12),
        alpha in 0.0..0.99,
    ) {
        let mut average = MovingAverage::default();
        let mut known = Vec::<Miner>::new();
        for round in rounds {
            // One hotkey per slot and round; a slot changes hands, vanishes and returns.
            let mut slots = BTreeMap::new();
            for ((uid, key), value) in round {
                let miner = Miner { uid: Uid(uid), hotkey: AccountId([key; 32]) };
                slots.insert(Uid(uid), (miner, value));
            }
            let (miners, values): (Vec<Miner>, Vec<f64>) = slots.into_values().unzip();
            let step: Vec<(Miner, f64)> = miners.into_iter().zip(softmax(&values, 0.3)).collect();
            let before = average.clone();
            average.update(alpha, &step);
            known.extend(step.iter().map(|(miner, _)| *miner));
            for miner in &known {
                let new = step.iter().find(|(m, _)| m == miner).map_or(0.0, |(_, weight)| *weight);
                let (old, mixed) = (before.of(miner), average.of(miner));
                prop_assert!((old.min(new)..=old.max(new)).contains(&mixed));
                if !before.iter().any(|a| a.hotkey == miner.hotkey && a.uid == miner.uid)
                    && !before.is_empty()
                    && !step.is_empty()
                {
                    let share = (1.0 - alpha) * new;
                    prop_assert!((mixed - share).abs() <= 1e-15, "inherits nothing");
                }
            }
            // Of a round of nobody everybody has what it leaves: nothing.
            let (sum, left) = (sum_of(&average), sum_of(&before));
            let expected = match (step.is_empty(), before.is_empty()) {
                (true, _) => alpha * left,
                (false, true) => 1.0,
                (false, false) => alpha * left + 1.0 - alpha,
            };
            prop_assert!((sum - expected).abs() < 1e-9, "{sum}, not {expected}");
        }
    }

    #[test]
    fn wins_are_those_of_the_plain_loop_over_pairs_and_batches(
        tournament in tournaments(WINS),
    ) {
        let Tournament { rules, now, entries, .. } = &tournament;
        let side = |entry: &Entry, k: usize| {
            Side { uid: entry.uid, seniority: entry.seniority, loss: entry.losses[k] }
        };
        for (verdict, model) in tournament.score().iter().zip(entries) {
            let others = entries.iter().filter(|other| other.uid != model.uid);
            let wins = others.flat_map(|other| {
                (0..tournament.n_batches).map(move |k| {
                    is_win(side(model, k), side(other, k), rules.epsilon, *now)
                })
            });
            prop_assert_eq!(verdict.wins, wins.filter(|win| *win).count() as u64);
        }
    }

    #[test]
    fn any_bit_patterns_of_losses_are_scored_without_panic(
        rules in rules(ANY),
        losses in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..4), 0..6),
    ) {
        let loss = |bits: &u64| Loss::new(f64::from_bits(*bits)).unwrap_or(Loss::INFINITE);
        let entry = |(uid, losses): (u16, &Vec<u64>)| Entry {
            uid: Uid(uid),
            seniority: seniority(uid, u64::from(uid % 3)),
            losses: losses.iter().map(loss).collect(),
        };
        let entries: Vec<Entry> = (0u16..).zip(&losses).map(entry).collect();
        let verdicts = score(&rules, Block(100), 3, &entries);
        prop_assert!(verdicts.iter().all(|v| v.weight.is_finite() && v.win_rate.is_finite()));
    }
}

/// The tournament before and after one model's losses fall, and the place of that model.
fn improve(
    tournament: &Tournament,
    who: prop::sample::Index,
    factors: &[f64],
) -> (Tournament, Tournament, usize) {
    let who = who.index(tournament.entries.len());
    let mut entries = tournament.entries.clone();
    for (loss_of, factor) in entries[who].losses.iter_mut().zip(factors) {
        *loss_of = loss(loss_of.value() * factor);
    }
    (tournament.clone(), tournament.with_entries(entries), who)
}
