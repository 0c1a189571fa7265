//! Entering what is not one's own, or one thing many times.

use super::bench::Bench;
use crate::{hub::Shown, strategy::Kind};
use protocol::Block;
use std::collections::BTreeSet;

/// A player of a strategy beside somebody who wears the crown with a model of this loss.
fn beside(kind: Kind, merit: f64, shown: Shown) -> Bench {
    let mut bench = Bench::new(&[kind, Kind::Idle], "", 1);
    bench.enter(kind.slots(), merit, shown);
    bench.crown = Some(kind.slots());
    bench
}

/// True losses of what the slots of a player stand for.
fn merits(bench: &Bench, kind: Kind) -> Vec<f64> {
    (0..kind.slots()).map(|slot| bench.merit(slot)).collect()
}

#[test]
fn attack_a_copier_stands_for_the_very_files_of_the_champion_later_than_their_owner() {
    let mut bench = beside(Kind::Copy, 3.0, Shown::Everybody);
    let prey = bench.standing(4);
    let now = bench.block();
    for slot in 0..4 {
        let copy = bench.standing(slot);
        assert_eq!((copy.file, copy.model), (prey.file, prey.model));
        assert!(copy.since == Block(now.0 + 1) && copy.since > prey.since);
    }
    bench.blocks(30);
    assert_eq!(bench.slots[0].committed, Some(Block(now.0 + 1)), "one copy is enough");
    // Another champion is copied once the chain takes it.
    let next = bench.enter(4, 2.9, Shown::Everybody);
    let now = bench.block();
    assert!((0..4).all(|slot| bench.standing(slot).file == next.file));
    assert_eq!(bench.standing(3).since, Block(now.0 + 1));
}

#[test]
fn copiers_leave_alone_what_cannot_be_had_and_what_is_their_own() {
    for kind in [Kind::Copy, Kind::Noise, Kind::Repack] {
        let mut bench = beside(kind, 3.0, Shown::Nobody);
        bench.blocks(5);
        assert!((0..kind.slots()).all(|slot| bench.slots[slot].standing.is_none()), "{kind}");
        let mut bench = beside(kind, 3.0, Shown::Everybody);
        bench.enter(1, 2.9, Shown::Everybody);
        bench.crown = Some(1);
        bench.blocks(5);
        assert!(bench.slots[0].standing.is_none(), "{kind}: a crown of its own");
        bench.crown = None;
        bench.blocks(5);
        assert!(bench.slots[0].standing.is_none(), "{kind}: no crown");
    }
}

#[test]
fn attack_whoever_intercepts_stands_later_than_whoever_publishes_with_its_commitment() {
    let mut bench = Bench::new(&[Kind::Intercept, Kind::Rebase], "", 2);
    let now = bench.block();
    let own = bench.standing(2);
    assert_eq!(own.since, Block(now.0 + 1));
    assert!(bench.slots[0].standing.is_none(), "nobody sees the bytes yet");
    bench.block();
    let taken = bench.standing(0);
    assert_eq!((taken.file, taken.since), (own.file, Block(own.since.0 + 1)));
    bench.block();
    bench.check_chain();
}

#[test]
fn an_interceptor_takes_what_is_new_and_shown_to_everybody_a_slot_for_each() {
    let mut bench = Bench::new(&[Kind::Idle, Kind::Intercept], "", 3);
    bench.enter(0, 3.0, Shown::Everybody);
    bench.enter(0, 2.9, Shown::Everybody);
    bench.enter(0, 2.8, Shown::Nobody);
    bench.block();
    let taken: Vec<f64> = [1, 2].map(|slot| bench.merit(slot)).to_vec();
    assert_eq!(taken, [3.0, 2.9], "in the order of uploads, a slot for each");
    bench.blocks(25);
    assert_eq!([1, 2].map(|slot| bench.merit(slot)), [3.0, 2.9], "what is old is new to nobody");
}

#[test]
fn noise_makes_as_many_models_of_the_champion_as_it_has_slots_and_each_once() {
    let mut bench = beside(Kind::Noise, 3.0, Shown::Everybody);
    let now = bench.block();
    assert_eq!(merits(&bench, Kind::Noise), [3.0; 4], "noise makes nothing better on average");
    let models: BTreeSet<_> = (0..4).map(|slot| bench.standing(slot).model).collect();
    assert_eq!(models.len(), 4);
    let roots: BTreeSet<_> =
        models.iter().map(|model| bench.world.library.tensor_root(*model)).collect();
    assert!(roots.len() == 4 && !models.contains(&bench.standing(4).model));
    bench.blocks(50);
    assert!((0..4).all(|slot| bench.slots[slot].committed == Some(Block(now.0 + 1))));
}

#[test]
fn attack_a_repacked_model_has_the_tensors_of_the_champion_in_other_files() {
    let mut bench = beside(Kind::Repack, 3.0, Shown::Everybody);
    bench.block();
    let prey = bench.standing(2);
    for slot in 0..2 {
        let own = bench.standing(slot);
        assert_eq!(own.model, prey.model);
        let [own, other] = [own, prey].map(|standing| bench.world.file(standing.file).unwrap());
        assert_ne!(own.file_root, other.file_root);
        assert_eq!((own.owner, own.shown), (0, Shown::Everybody));
    }
}

#[test]
fn spam_commits_in_every_block_in_which_the_chain_takes_it() {
    let mut bench = Bench::new(&[Kind::Spam], "", 4);
    let mut blocks = Vec::new();
    for _ in 0..61 {
        let now = bench.block();
        bench.check_chain();
        if bench.slots[0].committed == Some(Block(now.0 + 1)) {
            blocks.push(now.0);
            assert_eq!(merits(&bench, Kind::Spam), [8.0; 4], "junk loses more than guessing");
        }
    }
    assert_eq!(blocks.len(), 4);
    assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] == 20), "{blocks:?}");
}

#[test]
fn spam_beside_a_champion_is_half_noise_and_half_junk() {
    let mut bench = beside(Kind::Spam, 3.0, Shown::Everybody);
    bench.block();
    let mut found = merits(&bench, Kind::Spam);
    found.sort_by(f64::total_cmp);
    assert_eq!(found, [3.0, 3.0, 8.0, 8.0]);
}

#[test]
fn a_sybil_enters_one_model_under_every_key_with_noise() {
    let mut bench = Bench::new(&[Kind::Sybil], "", 5);
    let now = bench.block();
    let best = bench.best();
    assert_eq!(merits(&bench, Kind::Sybil), [best; 4]);
    let models: BTreeSet<_> = (0..4).map(|slot| bench.standing(slot).model).collect();
    assert_eq!(models.len(), 4, "no two are the same to the bit");
    let next = Block(now.0 + 1);
    assert!((0..4).all(|slot| bench.shown(bench.standing(slot).file) == Shown::From(next)));
    bench.block();
    bench.check_chain();
}

#[test]
fn a_ladder_has_its_best_first_and_rungs_of_equal_distance_up_to_what_beats_the_champion() {
    let mut bench = beside(Kind::Ladder, 5.0, Shown::Everybody);
    let needed = bench.view().needed(5.0);
    // A training may go wrong: it enters when one went well enough.
    for _ in 0..60 {
        if bench.slots[0].standing.is_none() {
            bench.block();
        }
    }
    let found = merits(&bench, Kind::Ladder);
    let best = bench.best();
    for (slot, merit) in found.iter().enumerate() {
        let rung = best + (needed - best) * slot as f64 / 4.0;
        assert!((merit - rung).abs() < 1e-12, "slot {slot}: {found:?}");
        assert!(*merit < needed, "every rung takes the crown: {found:?}");
    }
    let mut alone = Bench::new(&[Kind::Ladder], "", 6);
    alone.block();
    let (found, best) = (merits(&alone, Kind::Ladder), alone.best());
    assert!(found.iter().all(|merit| (merit - best).abs() < 1e-12), "no champion: {found:?}");
}
