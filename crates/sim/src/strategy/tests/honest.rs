//! Honest play: its own line, or the best that everybody sees, and no more than it needs to say.

use super::bench::Bench;
use crate::{hub::Shown, noise::mix, strategy::Kind};
use protocol::Block;

/// By how much a model must be better to be entered: two epsilons of the base's rules.
const NEEDED: f64 = 0.01;

/// What a slot was committed to over so many blocks: from when, and how good it was.
fn entries(bench: &mut Bench, slot: usize, n: usize) -> Vec<(Block, f64)> {
    let mut found = Vec::new();
    for _ in 0..n {
        bench.block();
        if let Some(standing) = bench.slots[slot].standing {
            let entry = (standing.since, bench.merit(slot));
            if found.last() != Some(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

#[test]
fn honest_players_publish_for_everybody_from_the_block_in_which_the_commitment_stands() {
    for kind in [Kind::Scratch, Kind::Rebase] {
        let mut bench = Bench::new(&[kind], "", 1);
        let now = bench.block();
        let standing = bench.standing(0);
        let next = Block(now.0 + 1);
        assert_eq!((standing.since, bench.shown(standing.file)), (next, Shown::From(next)));
        // The first of a line has the loss of the start, within the spread of first models.
        assert!((bench.merit(0) - 4.0).abs() < 4.0 * 0.02 * 3.5, "{kind}: {}", bench.merit(0));
        bench.block();
        bench.check_chain();
    }
}

#[test]
fn each_entry_is_clearly_better_than_the_one_before_and_comes_when_the_chain_takes_it() {
    for kind in [Kind::Scratch, Kind::Rebase] {
        for seed in 1..=3 {
            let mut bench = Bench::new(&[kind], "", seed);
            let found = entries(&mut bench, 0, 120);
            assert!(found.len() >= 4, "{kind}, seed {seed}: {found:?}");
            for pair in found.windows(2) {
                let ((before, worse), (since, better)) = (pair[0], pair[1]);
                assert!(better < worse - NEEDED, "{kind}, seed {seed}: {found:?}");
                assert!(since.since(before) >= 20, "{kind}, seed {seed}: {found:?}");
            }
        }
    }
}

#[test]
fn a_line_of_its_own_never_takes_from_the_champion_and_rebasing_does() {
    for (kind, enters) in [(Kind::Scratch, false), (Kind::Rebase, true)] {
        let mut bench = Bench::new(&[kind, Kind::Idle], "", 2);
        bench.enter(1, 2.6, Shown::Everybody);
        bench.crown = Some(1);
        bench.blocks(100);
        assert_eq!(bench.slots[0].standing.is_some(), enters, "{kind}");
        if enters {
            assert!(bench.merit(0) < 2.6 - NEEDED, "{}", bench.merit(0));
        }
    }
}

#[test]
fn nobody_trains_from_a_champion_whose_bytes_cannot_be_had() {
    for shown in [Shown::Nobody, Shown::Only(1), Shown::From(Block(10_000))] {
        let mut bench = Bench::new(&[Kind::Rebase, Kind::Idle], "", 3);
        bench.enter(1, 2.6, shown);
        bench.crown = Some(1);
        bench.blocks(60);
        assert!(bench.slots[0].standing.is_none(), "{shown:?}");
    }
}

#[test]
fn idleness_does_nothing_at_all() {
    let mut bench = Bench::new(&[Kind::Idle, Kind::Rebase], "", 4);
    let free = bench.free_from(0);
    bench.crown = Some(1);
    bench.blocks(40);
    bench.check_chain();
    assert!(bench.slots[0].standing.is_none() && bench.slots[0].committed.is_none());
    assert_eq!(bench.free_from(0), free, "no training either");
}

#[test]
fn what_a_player_does_does_not_move_the_stream_of_its_neighbour() {
    let with = |neighbour: Kind| {
        let mut bench = Bench::new(&[Kind::Scratch, neighbour], "", 5);
        entries(&mut bench, 0, 80)
    };
    let alone = with(Kind::Idle);
    assert!(alone.len() > 2, "{alone:?}");
    for neighbour in [Kind::Scratch, Kind::Spam, Kind::Sybil, Kind::Gate, Kind::Desert] {
        assert_eq!(with(neighbour), alone, "{neighbour}");
    }
}

#[test]
fn what_is_needed_is_two_epsilons_of_what_the_rules_compare() {
    let needed = |rules: &str, merit: f64| {
        let bench = Bench::new(&[Kind::Idle], rules, 1);
        bench.view().needed(merit)
    };
    let entropy = "[competition.scoring]\nloss = \"cross-entropy\"\n";
    let decay = "[competition.scoring]\n\
                 epsilon = { kind = \"linear\", start = 0.03, end = 0.001, blocks = 100 }\n";
    for seed in 0..5 {
        let merit = 1.0 + (mix(seed, 1) % 1_000) as f64 / 250.0;
        for (rules, epsilon) in [("", 0.005), (entropy, 0.005 * merit), (decay, 0.03)] {
            let found = needed(rules, merit);
            assert!((found - (merit - 2.0 * epsilon)).abs() < 1e-12, "{rules}: {found} of {merit}");
        }
    }
    assert_eq!(needed("", f64::INFINITY), f64::INFINITY, "any is better than none");
}
