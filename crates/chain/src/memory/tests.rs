//! Many threads, replays and long histories.

use super::*;
use crate::{Hyperparameters, SubnetGenesis};
use protocol::Seed;
use std::{collections::BTreeMap, thread};

const NETUID: NetUid = NetUid(1);

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn chain() -> MemoryChain {
    let hyperparameters = Hyperparameters {
        commitment_rate_limit: 0,
        max_registrations_per_block: 100,
        target_registrations: 100,
        ..Hyperparameters::default()
    };
    let genesis = Genesis {
        accounts: (0..8).map(|i| (key(i).public(), 1_000_000_000_000)).collect(),
        subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
        ..Genesis::default()
    };
    MemoryChain::new(&genesis).unwrap()
}

fn commit(text: &str) -> Call {
    Call::SetCommitment { netuid: NETUID, data: text.into() }
}

fn register(i: u64) -> Call {
    Call::BurnedRegister { netuid: NETUID, hotkey: key(100 + i).public() }
}

#[test]
fn threads_that_submit_at_once_give_the_same_block_in_every_run() {
    let run = || {
        let chain = chain();
        thread::scope(|scope| {
            for i in 0..8 {
                let chain = &chain;
                scope.spawn(move || {
                    chain.submit(register(i), &key(i)).unwrap();
                    let to = key(99).public();
                    for amount_rao in 1..5 {
                        chain.submit(Call::Transfer { to, amount_rao }, &key(i)).unwrap();
                    }
                });
            }
        });
        let head = chain.produce_block().unwrap();
        assert_eq!(chain.balance(key(99).public()).unwrap(), 8 * 10, "no nonce was given twice");
        head
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

#[test]
fn attack_content_and_block_of_two_commitments_never_mix() {
    // Defect D6 of the reference: content and block were two reads, and a commitment made in
    // between paired new content with an old, senior block.
    let chain = chain();
    chain.submit(register(0), &key(0)).unwrap();
    chain.produce_block().unwrap();
    let n_commitments = 300_u64;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = BTreeMap::new();
                    while seen.len() < 50 && chain.head().unwrap().block.0 <= n_commitments {
                        let head = chain.head().unwrap().block;
                        for commitment in chain.commitments(NETUID, head).unwrap() {
                            seen.insert(commitment.block, commitment.data);
                        }
                    }
                    seen
                })
            })
            .collect();
        for i in 0..n_commitments {
            // Registration took block 1, so this one is in block i + 2.
            chain.submit(commit(&(i + 2).to_string()), &key(100)).unwrap();
            chain.produce_block().unwrap();
        }
        for reader in readers {
            for (block, data) in reader.join().unwrap() {
                assert_eq!(data, block.to_string().into_bytes());
            }
        }
    });
    for at in 2..n_commitments + 2 {
        let commitments = chain.commitments(NETUID, Block(at)).unwrap();
        assert_eq!(
            (commitments[0].block, &commitments[0].data),
            (Block(at), &at.to_string().into())
        );
    }
}

#[test]
fn attack_a_flood_of_calls_fills_the_pool_and_no_more() {
    let chain = chain();
    let mut node = chain.node();
    let call = OwnCall::new(key(0).public(), 0, register(0));
    node.pool = vec![call; POOL_CALLS_MAX];
    drop(node);
    let error = chain.submit(register(1), &key(1)).unwrap_err();
    assert!(matches!(error, Error::PoolFull) && error.is_transient());
}

#[test]
fn attack_giant_calls_and_calls_of_nobody_are_refused_before_they_are_queued() {
    let chain = chain();
    let uids = vec![Uid(0); 10_000_000];
    let weights = vec![1; 10_000_000];
    let giants = [
        Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 },
        Call::SetCommitment { netuid: NETUID, data: vec![0; 10_000_000] },
    ];
    let refusal = |call, signer| match chain.submit(call, &key(signer)) {
        Err(Error::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    for giant in giants {
        assert_eq!(refusal(giant, 0), CallError::ExhaustsResources);
    }
    assert_eq!(refusal(commit("x"), 77), CallError::UnknownSigner);
    assert!(chain.node().pool.is_empty());
}

#[test]
fn the_hash_of_a_block_depends_on_the_seed_and_on_every_call_before() {
    let head = |seed, texts: &[&str]| {
        let genesis = Genesis { seed, accounts: vec![(key(0).public(), 1)], ..Genesis::default() };
        let chain = MemoryChain::new(&genesis).unwrap();
        for text in texts {
            let data = text.as_bytes().to_vec();
            chain.submit(Call::Remark { data }, &key(0)).unwrap();
            chain.produce_block().unwrap();
        }
        chain.head().unwrap().hash
    };
    let usual = head(1, &["a", "b"]);
    assert_eq!(head(1, &["a", "b"]), usual);
    for other in [head(2, &["a", "b"]), head(1, &["c", "b"]), head(1, &["a", "c"])] {
        assert_ne!(other, usual);
    }
}

#[test]
fn commitments_after_a_block_follow_every_call_that_changes_them() {
    let chain = chain();
    let (first, second) = (key(100).public(), key(101).public());
    let mut expect = Vec::new();
    let swap = Call::SwapHotkey { hotkey: first, new_hotkey: second, netuid: None };
    for (call, signer) in [
        (register(0), 0),
        (commit("a"), 100),
        (Call::Remark { data: Vec::new() }, 0),
        (commit("b"), 100),
        (swap, 0),
        (commit("c"), 101),
    ] {
        chain.submit(call, &key(signer)).unwrap();
        let block = chain.produce_block().unwrap().block;
        let state = chain.ledger().commitments(NETUID).unwrap();
        expect.push((block, state));
    }
    assert_eq!(expect[3].1[0].data, b"b");
    assert!(expect[4].1.is_empty(), "commitments do not go over");
    for (block, state) in expect {
        assert_eq!(chain.commitments(NETUID, block).unwrap(), state, "block {block}");
    }
}

#[test]
fn the_oldest_states_and_fates_are_forgotten_with_an_error_that_says_so() {
    let chain = chain();
    let id = chain.submit(register(0), &key(0)).unwrap();
    for _ in 0..HISTORY_BLOCKS {
        chain.produce_block().unwrap();
    }
    assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(Block(1)));
    chain.produce_block().unwrap();
    assert_eq!(chain.status(id).unwrap(), CallStatus::Unknown);
    assert!(chain.commitments(NETUID, Block(2)).is_ok());
    let error = chain.commitments(NETUID, Block(1)).unwrap_err();
    assert!(matches!(error, Error::NoState { oldest: Some(Block(2)), .. }), "{error}");
    assert!(!error.is_transient(), "what is gone does not come back");
}

#[test]
fn epochs_say_who_earned_what() {
    let chain = chain();
    chain.submit(register(0), &key(0)).unwrap();
    let stake =
        Call::AddStake { hotkey: key(100).public(), netuid: NetUid(0), amount_rao: 1_000_000_000 };
    chain.submit(stake, &key(0)).unwrap();
    while chain.epochs(NETUID).is_empty() {
        chain.produce_block().unwrap();
    }
    let epochs = chain.epochs(NETUID);
    assert_eq!(epochs[0].block, chain.metagraph(NETUID).unwrap().last_epoch);
    assert_eq!(epochs[0].slots[0].hotkey, key(100).public());
    assert_eq!(epochs[0].slots[0].validator_rao, 360 * 820_004_577);
    assert!(chain.epochs(NetUid(2)).is_empty());
}
