//! What a player can do: train, make variants, upload, show, commit, and nothing more.

use super::bench::Bench;
use crate::{
    hub::{FileId, Shown},
    model::ModelId,
    strategy::Kind,
};
use protocol::Block;

/// Two players that do nothing by themselves.
fn bench(seed: u64) -> Bench {
    Bench::new(&[Kind::Idle, Kind::Idle], "", seed)
}

/// A model of a seat.
fn model(bench: &mut Bench, merit: f64) -> ModelId {
    bench.world.library.independent(merit)
}

#[test]
fn a_slot_may_commit_again_exactly_when_the_chain_takes_it() {
    let mut bench = bench(9);
    let model = model(&mut bench, 3.0);
    let mut taken = Vec::new();
    for _ in 0..45 {
        let now = bench.block();
        bench.check_chain();
        let may = bench.with(0, |hands| hands.can_commit(0));
        let does = bench.with(0, |hands| hands.publish(0, model));
        assert_eq!(may, does, "block {now}");
        if does {
            taken.push(now.0);
            assert!(!bench.with(0, |hands| hands.publish(0, model)), "once in a block");
        }
    }
    assert_eq!(taken.len(), 3, "{taken:?}");
    assert!(taken.windows(2).all(|pair| pair[1] - pair[0] == 20), "{taken:?}");
}

#[test]
fn a_commitment_that_may_not_be_made_uploads_nothing() {
    let mut bench = bench(1);
    let model = model(&mut bench, 3.0);
    assert!(bench.with(0, |hands| hands.enter(0, model, Shown::Everybody)));
    let before = bench.all_shown().len();
    assert!(!bench.with(0, |hands| hands.enter(0, model, Shown::Everybody)), "too early");
    assert!(!bench.with(0, |hands| hands.enter(1, model, Shown::Everybody)), "no such slot");
    assert_eq!(bench.all_shown().len(), before);
    assert!(!bench.with(1, |hands| hands.commit(0, FileId(99))), "no such files");
    assert!(bench.slots[1].committed.is_none());
    bench.block();
    bench.check_chain();
}

#[test]
fn a_machine_trains_one_model_at_a_time() {
    let mut bench = bench(2);
    let mut trained = Vec::new();
    for n in 0..26 {
        bench.block();
        if bench.with(0, |hands| hands.train(None)).is_some() {
            trained.push(n);
            assert!(bench.with(0, |hands| hands.train(None)).is_none(), "one machine");
        }
    }
    assert_eq!(trained, [0, 5, 10, 15, 20, 25]);
}

#[test]
fn a_training_gains_its_share_of_what_is_left_on_average_and_stays_within_its_luck() {
    const N: usize = 1_000;
    for seed in 1..=2 {
        let mut bench = bench(seed);
        let parent = model(&mut bench, 3.5);
        let mut sum = 0.0;
        for _ in 0..N {
            bench.free(0);
            let child = bench.with(0, |hands| hands.train(Some(parent))).unwrap();
            // One nat is left to the floor, of which a training gains 2 % by its luck.
            let luck = (3.5 - bench.world.library.merit(child)) / 0.02;
            assert!((-0.5 - 1e-9..2.5 + 1e-9).contains(&luck), "seed {seed}: {luck}");
            sum += luck;
        }
        // Luck is uniform over a range of 3: five standard errors of its mean.
        let error = 5.0 * (9.0 / 12.0 / N as f64).sqrt();
        assert!((sum / N as f64 - 1.0).abs() < error, "seed {seed}: {}", sum / N as f64);
    }
}

#[test]
fn first_models_scatter_about_the_start() {
    const N: usize = 1_000;
    let mut bench = bench(3);
    let mut merits = Vec::new();
    for _ in 0..N {
        bench.free(0);
        let model = bench.with(0, |hands| hands.train(None)).unwrap();
        merits.push(bench.world.library.merit(model) / 4.0 - 1.0);
    }
    let n = N as f64;
    let mean = merits.iter().sum::<f64>() / n;
    let spread = (merits.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
    assert!(mean.abs() < 5.0 * 0.02 / n.sqrt(), "{mean}");
    assert!((spread / 0.02 - 1.0).abs() < 5.0 * (1.7 / n).sqrt() / 2.0, "{spread}");
}

#[test]
fn no_training_goes_below_the_floor() {
    let mut bench = bench(4);
    let mut best = model(&mut bench, 2.5005);
    for _ in 0..200 {
        bench.free(0);
        let next = bench.with(0, |hands| hands.train(Some(best))).unwrap();
        let merit = bench.world.library.merit(next);
        assert!(merit >= 2.5, "{merit}");
        if merit < bench.world.library.merit(best) {
            best = next;
        }
    }
    // What is below already has nothing left to gain.
    let below = model(&mut bench, 2.0);
    bench.free(0);
    let next = bench.with(0, |hands| hands.train(Some(below))).unwrap();
    assert_eq!(bench.world.library.merit(next), 2.0);
}

#[test]
fn attack_nothing_gets_better_from_sabotaged_parameters_however_often_they_are_trained() {
    for seed in 1..=3 {
        let mut bench = bench(seed);
        let good = model(&mut bench, 3.5);
        let mut line = bench.with(1, |hands| hands.sabotaged(good));
        for step in 0..50 {
            bench.free(0);
            line = bench.with(0, |hands| {
                let line = hands.train(Some(line)).unwrap();
                if step % 10 == 9 { hands.noised(line) } else { line }
            });
            let merit = bench.world.library.merit(line);
            assert!(merit >= 3.5, "seed {seed}, step {step}: {merit}");
        }
    }
}

#[test]
fn attack_nobody_changes_who_sees_what_another_has_uploaded() {
    let mut bench = bench(5);
    let model = model(&mut bench, 3.0);
    let file = bench.with(0, |hands| hands.upload(model, Shown::Everybody)).unwrap();
    bench.with(1, |hands| {
        // To stand for it does not make it one's own.
        assert!(hands.commit(0, file));
        hands.show(file, Shown::Nobody);
    });
    assert_eq!(bench.shown(file), Shown::Everybody);
    bench.with(0, |hands| hands.show(file, Shown::Nobody));
    assert_eq!(bench.shown(file), Shown::Nobody);
}

#[test]
fn what_is_new_of_others_leaves_out_ones_own_and_what_is_hidden() {
    let mut bench = bench(6);
    let model = model(&mut bench, 3.0);
    bench.block();
    let next = Block(bench.world.now.0 + 1);
    let theirs = bench.with(1, |hands| {
        [Shown::Everybody, Shown::Nobody, Shown::From(next), Shown::Only(u64::MAX)]
            .map(|shown| hands.upload(model, shown).unwrap())
    });
    bench.with(0, |hands| hands.upload(model, Shown::Everybody)).unwrap();
    let seen = |bench: &mut Bench| bench.with(0, |hands| hands.newest_of_others());
    assert_eq!(seen(&mut bench), [theirs[0]]);
    bench.block();
    assert_eq!(seen(&mut bench), [theirs[0], theirs[2]]);
    bench.block();
    assert!(seen(&mut bench).is_empty(), "two blocks later it is old");
}

#[test]
fn an_entry_is_ones_own_by_its_slot() {
    let mut bench = Bench::new(&[Kind::Idle, Kind::Ladder, Kind::Idle], "", 7);
    for slot in 0..6 {
        bench.enter(slot, 3.0, Shown::Everybody);
        let entry = bench.listed(slot).unwrap();
        let own = [0, 1, 2].map(|seat| bench.with(seat, |hands| hands.is_own(&entry)));
        assert_eq!(own, [slot == 0, (1..5).contains(&slot), slot == 5], "slot {slot}");
    }
    assert_eq!(bench.with(1, |hands| hands.n_slots()), 4);
    let standing = bench.standing(3);
    let known = bench.with(1, |hands| (hands.standing_file(2), hands.standing_model(2)));
    assert_eq!(known, (Some(standing.file), Some(standing.model)));
    assert_eq!(bench.with(0, |hands| hands.standing_file(1)), None, "no slot of its own");
}

#[test]
fn a_withdrawn_commitment_frees_the_slot_no_sooner_than_a_new_one() {
    let mut bench = bench(8);
    let model = model(&mut bench, 3.0);
    assert!(bench.with(0, |hands| hands.publish(0, model)));
    bench.with(0, |hands| hands.desert(0));
    assert!(bench.slots[0].standing.is_some(), "the chain does not take it yet");
    bench.blocks(20);
    bench.with(0, |hands| hands.desert(0));
    assert!(bench.slots[0].standing.is_none());
    assert!(!bench.with(0, |hands| hands.publish(0, model)), "and nothing in its place");
    bench.block();
    bench.check_chain();
}
