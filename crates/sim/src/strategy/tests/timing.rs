//! Strategies that play with when something is known.

use super::bench::Bench;
use crate::{hub::Shown, network::NETUID, strategy::Kind};
use chain::Chain as _;
use protocol::Block;

/// A player of a strategy that has entered its first model, beside somebody who has none.
fn entered(kind: Kind, seed: u64) -> Bench {
    let mut bench = Bench::new(&[kind, Kind::Idle], "", seed);
    bench.block();
    assert!(bench.slots[0].standing.is_some(), "{kind}");
    bench
}

#[test]
fn a_hoarder_keeps_what_it_has_while_it_reigns_and_shows_it_when_it_is_challenged() {
    for seed in 1..=3 {
        let mut bench = entered(Kind::Hoard, seed);
        let first = bench.standing(0);
        let merit = bench.merit(0);
        bench.crown = Some(0);
        bench.blocks(60);
        assert_eq!(bench.standing(0), first, "seed {seed}: nobody makes it publish");
        let hoarded = merit - bench.best();
        assert!(hoarded > 0.05, "seed {seed}: {hoarded}");
        bench.enter(1, merit - 0.02, Shown::Everybody);
        bench.crown = Some(1);
        let now = bench.block();
        assert_eq!(bench.standing(0).since, Block(now.0 + 1), "seed {seed}");
        assert_eq!(bench.merit(0), bench.best(), "seed {seed}: all that it has");
    }
}

#[test]
fn a_sniper_shows_no_more_than_takes_the_crown() {
    for seed in 1..=3 {
        let mut bench = entered(Kind::Snipe, seed);
        let merit = bench.merit(0);
        assert_eq!(merit, bench.best(), "seed {seed}: any model takes a crown that nobody wears");
        bench.crown = Some(0);
        bench.blocks(60);
        assert_eq!(bench.merit(0), merit, "seed {seed}");
        bench.enter(1, merit - 0.02, Shown::Everybody);
        bench.crown = Some(1);
        let needed = bench.view().needed(merit - 0.02);
        bench.block();
        assert_eq!(bench.merit(0), needed, "seed {seed}");
        assert!(bench.best() < needed - 0.02, "seed {seed}: it has more");
    }
}

/// A sniper that has shown what takes the crown of somebody else, and has more; rounds are far
/// apart.
fn sniped(seed: u64) -> Bench {
    let rules = "[competition.evaluation]\nblocks_per_round = 40\n";
    let mut bench = Bench::new(&[Kind::Snipe, Kind::Idle], rules, seed);
    bench.block();
    let merit = bench.merit(0);
    bench.crown = Some(0);
    bench.blocks(100);
    bench.enter(1, merit - 0.02, Shown::Everybody);
    bench.crown = Some(1);
    bench.block();
    assert_eq!(bench.merit(0), bench.view().needed(merit - 0.02), "seed {seed}");
    bench
}

#[test]
fn a_sniper_waits_for_the_verdict_on_what_it_has_shown_and_shows_more_only_after_it() {
    for seed in 1..=3 {
        let mut bench = sniped(seed);
        let (shown, merit) = (bench.standing(0), bench.merit(0));
        // One round has begun when it is old enough; the next one measures it.
        let verdict = shown.since.0 + 1 + 2 * 40;
        while bench.world.now.0 + 1 < verdict {
            bench.block();
            assert_eq!(bench.standing(0), shown, "seed {seed}, block {}", bench.world.now);
        }
        bench.block();
        assert_eq!(bench.merit(0), bench.view().needed(merit), "seed {seed}");
        assert!(bench.best() < bench.merit(0), "seed {seed}: it has more");
    }
}

#[test]
fn a_sniper_answers_at_once_when_what_it_has_shown_is_not_enough_any_more() {
    for seed in 1..=3 {
        let mut bench = sniped(seed);
        let shown = bench.merit(0);
        bench.blocks(20);
        assert_eq!(bench.merit(0), shown, "seed {seed}");
        bench.enter(1, shown - 0.01, Shown::Everybody);
        bench.block();
        assert_eq!(bench.merit(0), bench.view().needed(shown - 0.01), "seed {seed}");
    }
}

#[test]
fn whoever_commits_again_and_again_commits_to_the_same_files_as_often_as_the_chain_takes_it() {
    let mut bench = entered(Kind::Recommit, 1);
    let first = bench.standing(0);
    // A champion far ahead, whose bytes nobody has: nothing of its own would take the crown.
    bench.enter(1, 2.6, Shown::Nobody);
    bench.crown = Some(1);
    let mut since = vec![first.since.0];
    for _ in 0..70 {
        bench.block();
        let standing = bench.standing(0);
        assert_eq!((standing.file, standing.model), (first.file, first.model));
        if since.last() != Some(&standing.since.0) {
            since.push(standing.since.0);
        }
    }
    assert_eq!(since.len(), 4);
    assert!(since.windows(2).all(|pair| pair[1] - pair[0] == 20), "{since:?}");
}

#[test]
fn whoever_reigns_commits_to_nothing_again() {
    let mut bench = entered(Kind::Recommit, 2);
    bench.crown = Some(0);
    for _ in 0..70 {
        let before = bench.standing(0);
        bench.block();
        let after = bench.standing(0);
        assert!(after == before || after.file != before.file, "only what is better");
    }
}

#[test]
fn late_bytes_come_two_rounds_after_their_commitment() {
    let mut bench = Bench::new(&[Kind::Late], "", 3);
    let now = bench.block();
    let standing = bench.standing(0);
    assert_eq!(standing.since, Block(now.0 + 1));
    let every = bench.competition.evaluation.blocks_per_round;
    let from = Block(now.0 + 2 * every);
    assert_eq!(bench.shown(standing.file), Shown::From(from));
    bench.block();
    bench.check_chain();
    let upload = bench.world.file(standing.file).unwrap();
    assert!(!upload.is_public(Block(from.0 - 1)) && upload.is_public(from));
}

#[test]
fn a_gate_is_closed_while_its_owner_reigns_and_open_otherwise() {
    let mut bench = entered(Kind::Gate, 4);
    let file = bench.standing(0).file;
    for (crown, shown) in [
        (Some(0), Shown::Nobody),
        (None, Shown::Everybody),
        (Some(0), Shown::Nobody),
        (Some(1), Shown::Everybody),
    ] {
        bench.crown = crown;
        bench.blocks(3);
        assert_eq!(bench.standing(0).file, file, "the chain takes no other so soon");
        assert_eq!(bench.shown(file), shown, "{crown:?}");
    }
}

#[test]
fn a_deserter_withdraws_what_it_reigns_with_once_the_chain_takes_it_and_comes_back() {
    let mut bench = entered(Kind::Desert, 5);
    let first = bench.standing(0).since;
    bench.crown = Some(0);
    bench.blocks(19);
    assert!(bench.slots[0].standing.is_some(), "the chain takes nothing yet");
    bench.blocks(2);
    bench.check_chain();
    assert!(bench.slots[0].standing.is_none());
    let gone = bench.slots[0].committed.unwrap();
    assert_eq!(gone, Block(first.0 + 20));
    let stored = bench.network.chain.commitments(NETUID, bench.world.now).unwrap();
    assert_eq!(stored[0].data, b"gone");
    // Nobody stands for the crown now: it takes it again.
    bench.blocks(21);
    bench.check_chain();
    assert_eq!(bench.standing(0).since, Block(gone.0 + 20));
}
