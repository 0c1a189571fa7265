//! Weights that are committed to first and revealed later.

use super::*;
use crate::ledger::{
    Weighed,
    reveal::{OPEN_COMMITS_MAX, commit_hash},
};
use protocol::Block;

const SALT: [u16; 2] = [7, 8];

/// A validator at uid 0 (hotkey 100) with a permit and a miner, on a subnet that wants commits.
fn subnet(weights_rate_limit: u64) -> Ledger {
    let rules =
        Hyperparameters { max_validators: 1, commit_reveal: true, weights_rate_limit, ..rules() };
    let mut ledger = ledger(rules);
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, register(101)).unwrap();
    ledger.call(0, stake(100, 100 * TAO)).unwrap();
    ledger.pass_epoch();
    ledger
}

fn hash(weight: u16) -> [u8; 32] {
    let weighed = Weighed { uids: &[Uid(1), Uid(0)], weights: &[weight, 1], version_key: 0 };
    commit_hash(account(100), NETUID, weighed, &SALT)
}

fn commit_to(weight: u16) -> Call {
    Call::CommitWeights { netuid: NETUID, hash: hash(weight) }
}

fn reveal(weight: u16) -> Call {
    Call::RevealWeights {
        netuid: NETUID,
        uids: vec![Uid(1), Uid(0)],
        weights: vec![weight, 1],
        salt: SALT.to_vec(),
        version_key: 0,
    }
}

#[test]
fn the_hash_of_a_commit_is_that_of_the_scale_tuple() {
    // Python: hashlib.blake2b of hotkey, `<H` subnet, three vectors with compact lengths, `<Q`.
    let weighed = Weighed { uids: &[Uid(1), Uid(0)], weights: &[65_535, 7], version_key: 9 };
    let hash = commit_hash(AccountId([1; 32]), NetUid(3), weighed, &[7, 8]);
    let expected = "02dc3e1f0b105da161a0e6e3522c6436205ebf23b32c4d7681d32478bf03226b";
    assert_eq!(hash.map(|byte| format!("{byte:02x}")).concat(), expected);
}

#[test]
fn the_hash_of_a_commit_spells_lengths_as_scale_does() {
    // Python: the same with as many sevens for uids, and nothing else.
    for (n, expected) in [
        (63, "6dcc2630e6f2e8dbb2ccf839882afa4649b73b1fd56b0d7a76708d498e042d37"),
        (64, "06fbd37486204c843f78fee9db53b2d6e017f24d26dc07408cb4e6e64bd0a26e"),
        (16_383, "4c4112672fb453ec88da135ea087d23c4eab469e8ddad92beaa1cb70f84ae35a"),
        (16_384, "3d5cd71da33d8f32d5d8ad02bf31c691be3abec1a095467e05708306e2ec8ef9"),
    ] {
        let uids = vec![Uid(7); n];
        let weighed = Weighed { uids: &uids, weights: &[], version_key: 9 };
        let hash = commit_hash(AccountId([1; 32]), NetUid(3), weighed, &[]);
        assert_eq!(hash.map(|byte| format!("{byte:02x}")).concat(), expected, "{n} uids");
    }
}

#[test]
fn weights_are_revealed_in_the_epoch_after_their_commit_and_in_no_other() {
    let mut ledger = subnet(0);
    assert_eq!(ledger.call(100, weigh(&[(1, 1)])), Err(CallError::CommitRevealEnabled));
    ledger.call(100, commit_to(5)).unwrap();
    assert_eq!(ledger.neurons()[0].last_update, ledger.head().block, "a commit is an update");
    assert_eq!(ledger.call(100, reveal(5)), Err(CallError::RevealTooEarly));
    ledger.pass_epoch();
    assert_eq!(ledger.call(101, reveal(5)), Err(CallError::NoWeightsCommitFound));
    assert_eq!(ledger.call(100, reveal(6)), Err(CallError::InvalidRevealCommitHashNotMatch));
    let updated = ledger.neurons()[0].last_update;
    ledger.call(100, reveal(5)).unwrap();
    assert_eq!(ledger.neurons()[0].weights, [(Uid(1), 65_535), (Uid(0), 13_107)]);
    assert_eq!(ledger.neurons()[0].last_update, updated, "weights are as old as their commit");
    assert_eq!(ledger.call(100, reveal(5)), Err(CallError::NoWeightsCommitFound), "used up");
    ledger.call(100, commit_to(7)).unwrap();
    ledger.pass_epoch();
    ledger.pass_epoch();
    assert_eq!(ledger.call(100, reveal(7)), Err(CallError::ExpiredWeightCommit));
}

#[test]
fn attack_a_newcomer_gets_nothing_of_weights_that_were_committed_before_it_came() {
    let mut ledger = subnet(0);
    ledger.call(100, commit_to(5)).unwrap();
    // The owner makes no room: somebody new takes the slot of uid 1.
    let change = crate::HyperparameterChange::MaxUids(2);
    ledger.call(OWNER, Call::SetHyperparameter { netuid: NETUID, change }).unwrap();
    ledger.call(0, register(102)).unwrap();
    assert_eq!(ledger.hotkeys()[1], account(102));
    ledger.pass_epoch();
    ledger.call(100, reveal(5)).unwrap();
    ledger.pass_epoch();
    assert_eq!(ledger.neurons()[1].incentive, 0, "the weights were meant for another");
}

#[test]
fn a_later_reveal_passes_over_earlier_commits() {
    let mut ledger = subnet(0);
    for weight in [2, 3, 4] {
        ledger.call(100, commit_to(weight)).unwrap();
    }
    ledger.pass_epoch();
    ledger.call(100, reveal(3)).unwrap();
    assert_eq!(ledger.call(100, reveal(2)), Err(CallError::InvalidRevealCommitHashNotMatch));
    ledger.call(100, reveal(4)).unwrap();
}

#[test]
fn attack_commits_neither_pile_up_nor_come_without_a_slot_or_too_fast() {
    let mut ledger = subnet(0);
    assert_eq!(ledger.call(5, commit_to(1)), Err(CallError::HotKeyNotRegisteredInSubNet));
    let before = ledger.head().block;
    for weight in 0..OPEN_COMMITS_MAX as u16 {
        // Several in one block, so that none expires.
        let call = ledger.next(100, commit_to(weight));
        ledger.block(vec![call]).result().unwrap();
    }
    assert!(ledger.head().block <= Block(before.0 + 10));
    assert_eq!(ledger.call(100, commit_to(99)), Err(CallError::TooManyUnrevealedCommits));
    ledger.pass(25);
    ledger.call(100, commit_to(99)).unwrap();

    let mut slow = subnet(5);
    slow.pass(5);
    slow.call(100, commit_to(1)).unwrap();
    assert_eq!(slow.call(100, commit_to(2)), Err(CallError::CommittingWeightsTooFast));
    let mut open = ledger_without_commits();
    assert_eq!(open.call(100, commit_to(1)), Err(CallError::CommitRevealDisabled));
    assert_eq!(open.call(100, reveal(1)), Err(CallError::CommitRevealDisabled));
}

fn ledger_without_commits() -> Ledger {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    ledger
}
