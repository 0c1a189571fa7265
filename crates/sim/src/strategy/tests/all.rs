//! What holds of every strategy: no better model without a machine, no commitment before its time,
//! no hand on what others have.

use super::bench::Bench;
use crate::{hub::FileId, strategy::Kind};
use protocol::Block;

/// Nobody trains from junk: what is above this is none of a training.
const TRAINED_MAX: f64 = 6.0;

/// Gives the crown to the best entry that everybody sees.
fn crown(bench: &mut Bench) {
    let public = (0..bench.slots.len()).filter_map(|slot| bench.listed(slot));
    let best = public
        .filter(|entry| entry.is_public && entry.merit < TRAINED_MAX)
        .min_by(|a, b| a.merit.total_cmp(&b.merit));
    bench.crown = best.map(|entry| entry.slot);
}

#[test]
fn attack_no_strategy_commits_faster_than_the_chain_takes_it_or_for_another_key() {
    for seed in 1..=2 {
        let mut bench = Bench::new(&Kind::ALL, "", seed);
        let mut n_commitments = 0;
        for n in 0..90 {
            let before: Vec<Option<Block>> =
                bench.slots.iter().map(|slot| slot.committed).collect();
            let now = bench.block();
            bench.check_chain();
            for (slot, before) in before.into_iter().enumerate() {
                let after = bench.slots[slot].committed;
                if after == before {
                    continue;
                }
                n_commitments += 1;
                assert_eq!(after, Some(Block(now.0 + 1)), "seed {seed}, slot {slot}");
                let gap = before.map_or(u64::MAX, |before| now.0 + 1 - before.0);
                let limit = bench.scenario.chain.commitment_rate_limit;
                assert!(gap >= limit, "seed {seed}, slot {slot}: {gap} blocks");
            }
            if n % 10 == 0 {
                crown(&mut bench);
            }
        }
        assert!(n_commitments > 45, "seed {seed}: {n_commitments}");
    }
}

#[test]
fn no_strategy_has_a_better_model_before_its_machine_has_trained_one() {
    let n_seats = Kind::ALL.len();
    for seed in 3..=4 {
        let mut bench = Bench::new(&Kind::ALL, "", seed);
        let every = bench.scenario.models.training_blocks;
        let mut n_trainings = 0;
        for n in 0..60 {
            let before: Vec<Block> = (0..n_seats).map(|seat| bench.free_from(seat)).collect();
            let best = bench.best();
            let now = bench.block();
            let trained: Vec<usize> =
                (0..n_seats).filter(|seat| bench.free_from(*seat) != before[*seat]).collect();
            for seat in &trained {
                assert!(before[*seat] <= now, "seed {seed}, {}: too early", Kind::ALL[*seat]);
                assert_eq!(bench.free_from(*seat), Block(now.0 + every), "seed {seed}");
            }
            let is_better = bench.best() < best.min(TRAINED_MAX);
            assert!(!is_better || !trained.is_empty(), "seed {seed}, block {n}");
            n_trainings += trained.len();
            if n % 10 == 0 {
                crown(&mut bench);
            }
        }
        assert!(n_trainings > 10 * 12, "seed {seed}: {n_trainings}");
    }
}

#[test]
fn no_strategy_but_the_one_that_hides_its_own_changes_who_sees_what() {
    let gate = Kind::ALL.iter().position(|kind| *kind == Kind::Gate).unwrap();
    for seed in 5..=6 {
        let mut bench = Bench::new(&Kind::ALL, "", seed);
        let gate = bench.first(gate);
        for n in 0..60 {
            let before = bench.all_shown();
            bench.block();
            let after = bench.all_shown();
            for (number, (before, after)) in (0..).zip(before.iter().zip(&after)) {
                let owner = bench.world.file(FileId(number)).unwrap().owner;
                assert!(before == after || owner == gate, "seed {seed}: file {number} of {owner}");
            }
            if n % 10 == 0 {
                crown(&mut bench);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_moves_and_another_seed_others() {
    let moves = |seed: u64| {
        let mut bench = Bench::new(&Kind::ALL, "", seed);
        for n in 0..40 {
            bench.block();
            if n % 10 == 0 {
                crown(&mut bench);
            }
        }
        let of = |slot: usize| bench.listed(slot).map(|entry| (entry.since, entry.merit.to_bits()));
        (0..bench.slots.len()).map(of).collect::<Vec<_>>()
    };
    assert_eq!(moves(7), moves(7));
    assert_ne!(moves(7), moves(8));
}

#[test]
fn every_attack_but_those_on_others_enters_a_model_of_its_own_without_any_champion() {
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let mut bench = Bench::new(&[kind], "", place as u64);
        bench.blocks(2);
        let has_entered = bench.slots[0].standing.is_some();
        let lives_on_others =
            matches!(kind, Kind::Idle | Kind::Copy | Kind::Intercept | Kind::Noise | Kind::Repack);
        assert_eq!(has_entered, !lives_on_others, "{kind}");
    }
}
