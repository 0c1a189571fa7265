//! What holds for every epoch (Y1 to Y6), and that two implementations agree.

use super::slow;
use crate::yuma::{Era, Input, LiquidAlpha, Output, epoch};
use proptest::{collection::vec, option, prelude::*, sample::Index};

const BLOCK: u64 = 1_000;

type Rows = Vec<Vec<(u16, u16)>>;

/// Sparse to dense rows, with zeros and repeated values.
fn rows(n: usize) -> impl Strategy<Value = Rows> {
    let value = prop_oneof![Just(0_u16), Just(1), Just(u16::MAX), any::<u16>()];
    vec(vec(option::weighted(0.7, value), n), n).prop_map(|rows| {
        rows.into_iter()
            .map(|row| (0..).zip(row).filter_map(|(j, v)| Some((j, v?))).collect())
            .collect()
    })
}

fn stake() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(5_000_000), 4 => 1..2_000_000_000_000_u64]
}

fn recent() -> impl Strategy<Value = u64> {
    prop_oneof![1 => 900..=BLOCK, 3 => 980..=BLOCK]
}

prop_compose! {
    fn rules(n: usize)(
        kappa in prop_oneof![4 => Just(32_767_u16), 1 => any::<u16>()],
        bonds_moving_average in prop_oneof![Just(900_000_u64), 0..=1_000_000_u64],
        max_allowed_validators in 0..=(n as u16 + 1),
        emission_rao in option::of(prop_oneof![0..2_000_000_000_000_u64, any::<u64>()]),
        bonds_penalty in prop_oneof![Just(0), Just(u16::MAX), any::<u16>()],
        yuma3 in any::<bool>(),
        era in option::of(prop_oneof![Just(Era::Y2024), Just(Era::Latest)]),
        owner in option::weighted(0.3, any::<Index>()),
        stake_threshold_rao in prop_oneof![3 => Just(0_u64), 1 => 0..500_000_000_000_u64],
        last_epoch in prop_oneof![Just(0_u64), 900..BLOCK],
    ) -> Input {
        Input {
            n, block: BLOCK, tempo: 10, activity_cutoff: 50, kappa, bonds_moving_average,
            max_allowed_validators, emission_rao, bonds_penalty, yuma3, era,
            owner_uid: owner.map(|owner| owner.index(n) as u16),
            stake_threshold_rao, last_epoch, ..Input::default()
        }
    }
}

prop_compose! {
    fn inputs()(n in 1..=10_usize)(
        rules in rules(n),
        stake_rao in vec(stake(), n),
        validator_permit_before in vec(prop::bool::weighted(0.8), n),
        last_update in vec(recent(), n),
        block_at_registration in vec(prop_oneof![3 => 0..900_u64, 1 => 900..=BLOCK], n),
        weights_u16 in rows(n),
        bonds_before_u16 in rows(n),
        commit_blocks in option::weighted(0.2, vec(option::of(recent()), n)),
    ) -> Input {
        Input {
            stake_rao, validator_permit_before, last_update, block_at_registration, weights_u16,
            bonds_before_u16, commit_blocks, ..rules
        }
    }
}

fn run(input: &Input) -> Output {
    epoch(input).unwrap()
}

/// Whether consensus ignores this cell of the weights.
fn is_masked(input: &Input, i: usize, j: usize) -> bool {
    let born = input.block_at_registration[j];
    !input.validator_permit_before[i]
        || (i == j && input.owner_uid != Some(i as u16))
        || input.last_update[i] <= born
        || input.commit_blocks.as_ref().and_then(|c| c[i]).is_some_and(|c| c < born)
}

/// The subnet with slot `order[k]` moved to place `k`.
fn permuted(input: &Input, order: &[usize]) -> Input {
    let place = |j: &u16| order.iter().position(|old| *old == usize::from(*j)).unwrap() as u16;
    let numbers = |list: &[u64]| order.iter().map(|i| list[*i]).collect::<Vec<_>>();
    let moved = |rows: &Rows| -> Rows {
        order.iter().map(|i| rows[*i].iter().map(|(j, v)| (place(j), *v)).collect()).collect()
    };
    Input {
        stake_rao: numbers(&input.stake_rao),
        last_update: numbers(&input.last_update),
        block_at_registration: numbers(&input.block_at_registration),
        validator_permit_before: order.iter().map(|i| input.validator_permit_before[*i]).collect(),
        weights_u16: moved(&input.weights_u16),
        bonds_before_u16: moved(&input.bonds_before_u16),
        commit_blocks: input.commit_blocks.as_ref().map(|c| order.iter().map(|i| c[*i]).collect()),
        owner_uid: input.owner_uid.as_ref().map(place),
        ..input.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_second_slow_implementation_agrees_to_the_bit_on_10_000_epochs(input in inputs()) {
        prop_assert_eq!(run(&input), slow::epoch(&input));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn incentive_and_dividends_each_sum_to_one_or_nothing(input in inputs()) {
        let output = run(&input);
        let n = input.n as u32;
        for ratios in [&output.incentive, &output.dividends] {
            let sum: u32 = ratios.iter().map(|ratio| u32::from(*ratio)).sum();
            prop_assert!(sum == 0 || (65_535 - 2 * n..=65_535).contains(&sum), "{}", sum);
        }
    }

    #[test]
    fn emission_is_paid_whole_up_to_rounding_and_never_more(input in inputs()) {
        let output = run(&input);
        let emission = u128::from(input.emission_rao());
        let sum = |parts: &[u64]| parts.iter().map(|rao| u128::from(*rao)).sum::<u128>();
        let apart = sum(&output.server_emission) + sum(&output.validator_emission);
        let rounding = 4 * input.n as u128 * (1 + (emission >> 32));
        for paid in [sum(&output.emission), apart] {
            prop_assert!(paid <= emission);
            let is_anyone_paid = output.stake_weight.iter().any(|share| *share > 0);
            prop_assert!(!is_anyone_paid || paid + rounding >= emission, "{} of {}", paid, emission);
        }
    }

    #[test]
    fn the_order_of_slots_does_not_matter(
        input in inputs(),
        shuffle in Just((0..10).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        // Ties for permits are broken by uid, so everybody gets one here.
        let input = Input { max_allowed_validators: input.n as u16, ..input };
        let order: Vec<usize> = shuffle.into_iter().filter(|i| *i < input.n).collect();
        let (before, after) = (run(&input), run(&permuted(&input, &order)));
        for (k, i) in order.iter().enumerate() {
            prop_assert_eq!(after.incentive[k], before.incentive[*i]);
            prop_assert_eq!(after.dividends[k], before.dividends[*i]);
            prop_assert_eq!(after.consensus[k], before.consensus[*i]);
            prop_assert_eq!(after.emission[k], before.emission[*i]);
            prop_assert_eq!(after.server_emission[k], before.server_emission[*i]);
        }
    }

    #[test]
    fn only_ratios_of_stake_and_of_weights_count(input in inputs(), factor in 2..1_000_u64) {
        let halves = |rows: &Rows| -> Rows {
            rows.iter().map(|row| row.iter().map(|(j, v)| (*j, v / 2)).collect()).collect()
        };
        let doubles = |rows: &Rows| -> Rows {
            rows.iter().map(|row| row.iter().map(|(j, v)| (*j, v * 2)).collect()).collect()
        };
        let small = Input {
            weights_u16: halves(&input.weights_u16),
            stake_threshold_rao: 0,
            ..input
        };
        let large = Input {
            weights_u16: doubles(&small.weights_u16),
            stake_rao: small.stake_rao.iter().map(|rao| rao * factor).collect(),
            ..small.clone()
        };
        prop_assert_eq!(run(&small), run(&large));
    }

    #[test]
    fn masked_weights_contribute_nothing(input in inputs(), junk in rows(10)) {
        let mut without = input.clone();
        let mut with_junk = input.clone();
        for (i, junk) in junk.iter().enumerate().take(input.n) {
            let live = |(j, _): &(u16, u16)| !is_masked(&input, i, usize::from(*j));
            without.weights_u16[i].retain(live);
            with_junk.weights_u16[i].retain(live);
            let dead = |(j, _): &&(u16, u16)| usize::from(*j) < input.n && !live(&(*j, 0));
            with_junk.weights_u16[i].extend(junk.iter().filter(dead));
        }
        prop_assert_eq!(run(&without), run(&input));
        prop_assert_eq!(run(&with_junk), run(&input));
    }

    #[test]
    fn who_has_no_say_moves_no_incentive(input in inputs(), junk in rows(10)) {
        // Permitted but inactive, or without stake.
        let mut other = input.clone();
        let base = run(&input);
        for (i, junk) in junk.iter().enumerate().take(input.n) {
            if !base.active[i] || input.stake_rao[i] == 0 {
                other.weights_u16[i] =
                    junk.iter().copied().filter(|(j, _)| usize::from(*j) < input.n).collect();
            }
        }
        prop_assert_eq!(run(&other).incentive, base.incentive);
        prop_assert_eq!(run(&other).consensus, base.consensus);
    }

    #[test]
    fn a_minority_cannot_raise_consensus_above_the_honest_maximum(
        input in inputs(),
        lies in rows(10),
        share in 0..49_u64,
    ) {
        // Slot 0 lies with less than 49 % of the stake; kappa is just below a half.
        if input.n < 2 {
            return Ok(());
        }
        let honest: u64 = 100_000_000_000;
        let others = input.n as u64 - 1;
        let mut input = Input {
            kappa: 32_767, owner_uid: None, stake_threshold_rao: 0, commit_blocks: None, ..input
        };
        input.stake_rao = vec![honest; input.n];
        input.stake_rao[0] = honest * others * share / (100 - share);
        input.validator_permit_before = vec![true; input.n];
        input.last_update = vec![BLOCK; input.n];
        input.block_at_registration = vec![0; input.n];
        let mut silent = input.clone();
        silent.kappa = 0;
        silent.validator_permit_before[0] = false;
        let highest = run(&silent).consensus;
        input.weights_u16[0] =
            lies[0].iter().copied().filter(|(j, _)| usize::from(*j) < input.n).collect();
        for (ours, highest) in run(&input).consensus.iter().zip(&highest) {
            prop_assert!(ours <= highest);
        }
    }

    #[test]
    fn bonds_move_towards_the_weights_and_never_past_them(
        weight in 1..=u16::MAX,
        other in 1..=u16::MAX,
        bond in any::<u16>(),
        liquid in option::of((any::<u16>(), any::<u16>(), any::<i16>())),
        moving_average in 0..=1_000_000_u64,
    ) {
        let liquid_alpha = liquid.map(|(a, b, steepness)| {
            LiquidAlpha { low: a.min(b), high: a.max(b), steepness }
        });
        let input = Input {
            n: 3, block: BLOCK, tempo: 10, activity_cutoff: 50, kappa: 32_767,
            bonds_moving_average: moving_average, max_allowed_validators: 1,
            stake_rao: vec![1, 0, 0], validator_permit_before: vec![true, false, false],
            last_update: vec![BLOCK; 3], block_at_registration: vec![0; 3],
            weights_u16: vec![vec![(1, weight), (2, other)], vec![], vec![]],
            bonds_before_u16: vec![vec![(1, bond)], vec![], vec![]],
            bonds_penalty: 0, yuma3: true, liquid_alpha, ..Input::default()
        };
        let output = run(&input);
        let target = u64::from(weight) * 65_535 / (u64::from(weight) + u64::from(other));
        let (low, high) = (target.min(bond.into()), target.max(bond.into()));
        let now = output.bonds[0].iter().find(|(j, _)| *j == 1).map_or(0, |(_, b)| u64::from(*b));
        prop_assert!(low.saturating_sub(2) <= now && now <= high + 1, "{} {} {}", low, now, high);
    }

    #[test]
    fn the_largest_stored_bond_of_a_column_is_one_under_yuma2(input in inputs()) {
        let input = Input { yuma3: false, max_allowed_validators: input.n as u16, ..input };
        let input = Input { era: Some(Era::Y2024), ..input };
        let output = run(&input);
        for j in 0..input.n as u16 {
            let column = output.bonds.iter().flatten().filter(|(to, _)| *to == j);
            let largest = column.map(|(_, bond)| *bond).max();
            prop_assert!(largest.is_none_or(|bond| bond == u16::MAX));
        }
    }
}
