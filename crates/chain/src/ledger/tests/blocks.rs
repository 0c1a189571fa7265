//! Block hashes: what they bind, and what they must not depend on.

use super::*;
use protocol::Block;

fn calls(ledger: &Ledger) -> Vec<OwnCall> {
    let mut calls: Vec<_> = (0..6).map(|i| ledger.next(i, register(100 + i))).collect();
    let next = OwnCall::new(account(0), 1, stake(100, TAO));
    calls.push(next);
    calls
}

#[test]
fn a_block_does_not_depend_on_the_order_in_which_calls_arrived() {
    let ledger = ledger(Hyperparameters { max_registrations_per_block: 3, ..rules() });
    let mut calls = calls(&ledger);
    let first = ledger.clone().block(calls.clone());
    calls.reverse();
    let mut again = ledger;
    let second = again.block(calls);
    assert_eq!(first.head, second.head);
    assert_eq!(first.results(), second.results());
}

#[test]
fn no_key_is_always_the_first_in_a_block() {
    let mut ledger = ledger(rules());
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let calls: Vec<_> = (0..4).map(|i| ledger.next(i, transfer(9, 1))).collect();
        let ids: Vec<_> = calls.iter().map(|call| call.id).collect();
        let first = ledger.block(calls).results()[0].0;
        firsts.insert(ids.iter().position(|id| *id == first));
    }
    assert_eq!(firsts.len(), 4);
}

#[test]
fn a_hash_depends_on_seed_rules_calls_and_parent() {
    let head = |genesis: &Genesis, n_calls: usize| {
        let mut ledger = Ledger::new(genesis).unwrap();
        let calls = calls(&ledger).into_iter().take(n_calls).collect();
        ledger.block(calls);
        ledger.block(Vec::new()).head.hash
    };
    let base = genesis(rules());
    let other_seed = Genesis { seed: 2, ..base.clone() };
    let other_rules = genesis(Hyperparameters { kappa: 1, ..rules() });
    let hashes = [head(&base, 2), head(&base, 3), head(&other_seed, 2), head(&other_rules, 2)];
    for (i, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..i].contains(hash), "{i}");
    }
    assert_eq!(head(&base, 2), hashes[0]);
}

#[test]
fn every_block_keeps_its_hash() {
    let mut ledger = ledger(rules());
    let heads: Vec<_> = (0..5).map(|_| ledger.block(Vec::new()).head).collect();
    for head in heads {
        assert_eq!(ledger.block_hash(head.block), Some(head.hash));
    }
    assert_eq!(ledger.block_hash(Block(6)), None);
    assert_eq!(ledger.block_hash(Block(u64::MAX)), None);
}
