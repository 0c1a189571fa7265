//! More encrypted weights than the node has room and time for.

use super::*;
use crate::{
    Mechanism, Weights,
    ledger::{OPENINGS_PER_BLOCK_MAX, SEALED_BYTES_MAX, WAITING_BYTES_MAX},
};
use protocol::Block;

/// The block in which what is committed in the first epoch is opened.
const OPENED: u64 = 23;
/// The round of the beacon that opens it.
const ROUND: u64 = 4 * OPENED;
/// Commits of one hotkey in an epoch.
const COMMITS: u32 = 10;

/// A validator at uid 0 (hotkey 100) with the only permit, and strangers in all other slots, after
/// the first epoch.
fn subnet(n_strangers: u64) -> Ledger {
    let rules = Hyperparameters { max_validators: 1, commit_reveal: true, ..rules() };
    let mut ledger = ledger(rules);
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, stake(100, 100 * TAO)).unwrap();
    let nonce = ledger.nonce(account(0));
    let calls = (0..n_strangers).map(|i| {
        let nonce = nonce + u32::try_from(i).unwrap();
        OwnCall::new(account(0), nonce, register(101 + i))
    });
    let calls: Vec<OwnCall> = calls.collect();
    assert!(ledger.block(calls).results().iter().all(|(_, result)| result.is_ok()));
    ledger.pass_epoch();
    assert_eq!(ledger.head().block, Block(10));
    ledger
}

/// As many commits of each stranger as an epoch takes, in one block; gives how many were taken.
fn flood(ledger: &mut Ledger, n_strangers: u64, sealed: &[u8]) -> usize {
    let call = Call::CommitTimelockedWeights {
        netuid: NETUID,
        sealed: sealed.to_vec(),
        round: ROUND,
        version: 4,
    };
    let of = |i| (0..COMMITS).map(move |nonce| (account(101 + i), nonce));
    let calls = (0..n_strangers).flat_map(of);
    let calls = calls.map(|(signer, nonce)| OwnCall::new(signer, nonce, call.clone())).collect();
    let results = ledger.block(calls).results();
    for (_, result) in &results {
        assert!(matches!(result, Ok(()) | Err(CallError::TooManyUnrevealedCommits)), "{result:?}");
    }
    results.iter().filter(|(_, result)| result.is_ok()).count()
}

fn hidden(ledger: &Ledger, signer: u64, uids: &[u16]) -> Call {
    let weights = Weights {
        netuid: NETUID,
        mechanism: Mechanism::FIRST,
        uids: uids.iter().copied().map(Uid).collect(),
        weights: vec![7; uids.len()],
        version_key: 0,
    };
    let rules = ledger.hiding(NETUID).unwrap().unwrap();
    weights.hidden(&rules, &key(signer)).unwrap().call
}

fn n_waiting(ledger: &Ledger) -> usize {
    let (_, subnet) = ledger.subnets().next().unwrap();
    subnet.timelocked.values().map(Vec::len).sum()
}

fn pass_to(ledger: &mut Ledger, block: u64) {
    while ledger.head().block < Block(block) {
        ledger.block(Vec::new());
    }
}

#[test]
fn attack_strangers_fill_their_room_and_keep_no_validator_out() {
    let n_strangers = 60;
    for sealed in [vec![1_u8; SEALED_BYTES_MAX], Vec::new()] {
        let mut ledger = subnet(n_strangers);
        let n_taken = flood(&mut ledger, n_strangers, &sealed);
        let n_sent = n_strangers as usize * COMMITS as usize;
        let n_room = WAITING_BYTES_MAX / sealed.len().max(512);
        assert_eq!(n_taken, n_sent.min(n_room), "{} bytes each", sealed.len());
        assert_eq!(n_waiting(&ledger), n_taken);
        let own = hidden(&ledger, 100, &[1, 0]);
        ledger.call(100, own).unwrap();
        pass_to(&mut ledger, OPENED + 7);
        assert_eq!(ledger.weights(NETUID, Uid(0)).unwrap().len(), 2);
        assert_eq!(n_waiting(&ledger), 0, "the room is free again");
    }
}

#[test]
fn attack_what_a_block_has_no_time_to_open_waits_and_a_validator_comes_first() {
    let n_strangers = 40;
    let mut ledger = subnet(n_strangers);
    let n_taken = flood(&mut ledger, n_strangers, &[1; 200]);
    assert_eq!(n_taken, 400, "all of them before the validator's");
    let own = hidden(&ledger, 100, &[1, 0]);
    ledger.call(100, own).unwrap();
    pass_to(&mut ledger, OPENED - 1);
    assert_eq!(n_waiting(&ledger), n_taken + 1);
    pass_to(&mut ledger, OPENED);
    assert_eq!(n_waiting(&ledger), n_taken + 1 - OPENINGS_PER_BLOCK_MAX);
    assert_eq!(ledger.weights(NETUID, Uid(0)).unwrap().len(), 2);
    pass_to(&mut ledger, OPENED + 1);
    assert_eq!(n_waiting(&ledger), 0);
}

#[test]
fn attack_what_could_not_be_set_whatever_is_in_it_takes_nobodys_turn() {
    let n_strangers = 40;
    let mut ledger = subnet(n_strangers);
    // A byte more than a stranger's weight of itself takes.
    let own = hidden(&ledger, 101, &[1]);
    let Call::CommitTimelockedWeights { sealed, round, .. } = &own else { panic!("{own:?}") };
    assert_eq!(*round, ROUND);
    flood(&mut ledger, n_strangers, &vec![1_u8; sealed.len() + 1]);
    pass_to(&mut ledger, OPENED - 1);
    assert_eq!(n_waiting(&ledger), 400);
    pass_to(&mut ledger, OPENED);
    assert_eq!(n_waiting(&ledger), 0, "none of them was opened");
}

#[test]
fn a_weight_of_oneself_needs_no_permit_when_it_is_hidden() {
    let mut ledger = subnet(2);
    let own = hidden(&ledger, 101, &[1]);
    ledger.call(101, own).unwrap();
    pass_to(&mut ledger, OPENED);
    assert_eq!(ledger.weights(NETUID, Uid(1)).unwrap(), [(Uid(1), 65_535)]);
}
