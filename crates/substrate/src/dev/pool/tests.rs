//! The pool under calls in any order, of any number and any size.

use super::*;
use crate::{Era, extrinsic::Lifetime};
use chain::{Call, Genesis, Keypair};
use protocol::{Seed, seed::uniform_below};

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn ledger() -> SealedLedger {
    let accounts = (0..40).map(|i| (key(i).public(), 1_000_000)).collect();
    SealedLedger::new(&Genesis { accounts, ..Genesis::default() }).unwrap()
}

fn call(ledger: &SealedLedger, signer: u64, nonce: u32) -> SignedCall {
    let call = Call::Remark { data: vec![signer as u8] };
    SignedCall::sign(call, nonce, ledger.genesis_hash(), &key(signer))
}

fn order(pool: &Pool, ledger: &SealedLedger) -> Vec<(AccountId, u32)> {
    pool.ready(ledger).into_iter().map(|call| (call.signer, call.nonce)).collect()
}

#[test]
fn calls_leave_in_the_order_of_arrival_but_each_signers_by_nonce() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    for (signer, nonce) in [(1, 1), (2, 0), (1, 0), (3, 2), (2, 1)] {
        pool.admit(call(&ledger, signer, nonce), &ledger).unwrap();
    }
    let named = |signer: u64, nonce| (key(signer).public(), nonce);
    let expected = [named(2, 0), named(1, 0), named(1, 1), named(2, 1)];
    assert_eq!(order(&pool, &ledger), expected, "the gap of signer 3 waits");
    assert_eq!(pool.nonces(&ledger)[&key(3).public()], 0);
    assert_eq!(pool.nonces(&ledger)[&key(1).public()], 2);
}

#[test]
fn what_a_block_took_or_made_impossible_leaves() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    let first = pool.admit(call(&ledger, 1, 0), &ledger).unwrap();
    let gap = pool.admit(call(&ledger, 1, 2), &ledger).unwrap();
    let lifetime = Lifetime { era: Era::mortal(4, Block(0)), birth: ledger.genesis_hash() };
    let remark = Call::Remark { data: Vec::new() };
    let genesis = ledger.genesis_hash();
    let mortal = SignedCall::sign_in_era(remark.into(), 7, lifetime, genesis, &key(2));
    let mortal = pool.admit(mortal, &ledger).unwrap();
    ledger.produce_block(pool.ready(&ledger)).unwrap();
    assert_eq!(pool.settle(&ledger, &[]), [first]);
    assert_eq!(pool.admit(call(&ledger, 1, 0), &ledger), Err(Turned::Stale));
    for _ in 0..2 {
        ledger.produce_block(Vec::new()).unwrap();
    }
    assert_eq!(pool.settle(&ledger, &[]), [mortal], "block 4 is beyond its era");
    assert_eq!(pool.settle(&ledger, &[gap]), [gap], "left out by the block");
    assert!(pool.pending().is_empty());
}

#[test]
fn attack_a_call_seen_on_the_way_cannot_be_submitted_again() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    let seen = call(&ledger, 1, 0);
    pool.admit(seen.clone(), &ledger).unwrap();
    assert_eq!(pool.admit(seen.clone(), &ledger), Err(Turned::Known));
    ledger.produce_block(pool.ready(&ledger)).unwrap();
    pool.settle(&ledger, &[]);
    assert_eq!(pool.admit(seen.clone(), &ledger), Err(Turned::Stale));
    let bent = SignedCall { nonce: 1, ..seen };
    let refused = Err(Turned::Refused(CallError::BadSignature));
    assert_eq!(pool.admit(bent, &ledger), refused);
    assert_eq!(ledger.nonce(key(1).public()), 1);
}

#[test]
fn attack_one_signer_fills_its_own_share_and_no_more() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    let known = pool.admit(call(&ledger, 1, 0), &ledger).unwrap();
    assert_eq!(pool.admit(call(&ledger, 1, 0), &ledger), Err(Turned::Known));
    let other = Call::Transfer { to: key(2).public(), amount_rao: 1 };
    let other = SignedCall::sign(other, 0, ledger.genesis_hash(), &key(1));
    assert_eq!(pool.admit(other, &ledger), Err(Turned::Taken), "first come, first served");
    for nonce in 1..POOL_CALLS_PER_SIGNER_MAX {
        pool.admit(call(&ledger, 1, nonce), &ledger).unwrap();
    }
    let beyond = call(&ledger, 1, POOL_CALLS_PER_SIGNER_MAX);
    let far = Turned::Far { ahead: POOL_CALLS_PER_SIGNER_MAX };
    assert!(far.to_string().contains("256 ahead"), "{far}");
    assert_eq!(pool.admit(beyond, &ledger), Err(far));
    let last = pool.admit(call(&ledger, 1, u32::MAX), &ledger);
    assert_eq!(last, Err(Turned::Far { ahead: u32::MAX }));
    let stranger = Turned::Refused(CallError::UnknownSigner);
    assert_eq!(pool.admit(call(&ledger, 77, 0), &ledger), Err(stranger));
    pool.admit(call(&ledger, 2, 0), &ledger).unwrap();
    assert!(pool.ids.contains_key(&known));
}

#[test]
fn attack_giant_calls_fill_a_block_by_their_bytes() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    let n_bytes = 30_000;
    let fill = |signer: u64, nonce| {
        let call = Call::Remark { data: vec![0; n_bytes] };
        SignedCall::sign(call, nonce, ledger.genesis_hash(), &key(signer))
    };
    for nonce in 0..200 {
        pool.admit(fill(1, nonce), &ledger).unwrap();
    }
    let n_taken = pool.ready(&ledger).len();
    assert_eq!(n_taken, BLOCK_BYTES_MAX / (n_bytes + 110), "{n_taken}");
    assert!(pool.pending().len() <= n_taken);
    pool.n_bytes = POOL_BYTES_MAX - n_bytes;
    assert_eq!(pool.admit(fill(2, 0), &ledger), Err(Turned::Full));
}

#[test]
fn attack_many_signers_fill_the_pool_and_no_more() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    let n_signers = POOL_CALLS_MAX as u64 / u64::from(POOL_CALLS_PER_SIGNER_MAX);
    for signer in 0..n_signers {
        for nonce in 0..POOL_CALLS_PER_SIGNER_MAX {
            pool.admit(call(&ledger, signer, nonce), &ledger).unwrap();
        }
    }
    assert_eq!(pool.waiting.len(), POOL_CALLS_MAX);
    assert_eq!(pool.admit(call(&ledger, 39, 0), &ledger), Err(Turned::Full));
    assert_eq!(pool.ready(&ledger).len(), BLOCK_CALLS_MAX);
}

#[test]
fn calls_that_come_before_their_turn_wait_until_the_gap_is_filled() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    let me = key(1).public();
    for nonce in [3, 0, 1] {
        pool.admit(call(&ledger, 1, nonce), &ledger).unwrap();
    }
    assert_eq!(order(&pool, &ledger), [(me, 0), (me, 1)]);
    assert_eq!(pool.nonces(&ledger)[&me], 2, "the gap is the next nonce");
    ledger.produce_block(pool.ready(&ledger)).unwrap();
    assert_eq!(pool.settle(&ledger, &[]).len(), 2);
    assert_eq!(order(&pool, &ledger), [], "what waits for the gap stays");
    pool.admit(call(&ledger, 1, 2), &ledger).unwrap();
    assert_eq!(order(&pool, &ledger), [(me, 2), (me, 3)]);
    assert_eq!(pool.nonces(&ledger)[&me], 4);
}

#[test]
fn a_signers_share_moves_on_with_its_nonce() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    let last = POOL_CALLS_PER_SIGNER_MAX - 1;
    pool.admit(call(&ledger, 1, last), &ledger).unwrap();
    let next = call(&ledger, 1, last + 1);
    let far = Turned::Far { ahead: POOL_CALLS_PER_SIGNER_MAX };
    assert_eq!(pool.admit(next.clone(), &ledger), Err(far));
    pool.admit(call(&ledger, 1, 0), &ledger).unwrap();
    ledger.produce_block(pool.ready(&ledger)).unwrap();
    pool.settle(&ledger, &[]);
    pool.admit(next, &ledger).unwrap();
}

#[test]
fn room_that_calls_took_is_given_back_when_they_leave() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    for nonce in 0..5 {
        pool.admit(call(&ledger, 1, nonce), &ledger).unwrap();
    }
    let early = pool.admit(call(&ledger, 2, 9), &ledger).unwrap();
    let n_bytes: usize = pool.pending().iter().map(Vec::len).sum();
    assert_eq!(pool.n_bytes, n_bytes);
    ledger.produce_block(pool.ready(&ledger)).unwrap();
    assert_eq!(pool.settle(&ledger, &[]).len(), 5);
    assert_eq!(pool.n_bytes, pool.pending()[0].len());
    assert_eq!(pool.settle(&ledger, &[early]), [early]);
    assert_eq!((pool.n_bytes, pool.waiting.len(), pool.ids.len()), (0, 0, 0));
    assert!(pool.nonces(&ledger).is_empty());
    // What left without a block may come again.
    assert_eq!(pool.admit(call(&ledger, 2, 9), &ledger), Ok(early));
}

#[test]
fn what_waits_is_told_by_signer_and_nonce_in_the_bytes_that_came() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    let mut calls = Vec::new();
    for (signer, nonce) in [(2, 1), (1, 7), (2, 0), (1, 3)] {
        let call = call(&ledger, signer, nonce);
        pool.admit(call.clone(), &ledger).unwrap();
        calls.push(call);
    }
    calls.sort_by_key(|call| (call.signer, call.nonce));
    let bytes: Vec<Vec<u8>> = calls.iter().map(SignedCall::to_bytes).collect();
    assert_eq!(pool.pending(), bytes);
}

#[test]
fn a_call_is_taken_in_while_its_era_lasts() {
    let (mut ledger, mut pool) = (ledger(), Pool::default());
    let genesis = ledger.genesis_hash();
    let remark = || Call::Remark { data: Vec::new() }.into();
    // Good for blocks 0 to 3.
    let era = Era::mortal(4, Block(0));
    let mortal = |nonce| {
        let lifetime = Lifetime { era, birth: genesis };
        SignedCall::sign_in_era(remark(), nonce, lifetime, genesis, &key(1))
    };
    let bad: Result<CallId, Turned> = Err(Turned::Refused(CallError::BadSignature));
    for block in 1..=5_u32 {
        let answer = pool.admit(mortal(block), &ledger);
        assert_eq!(answer.is_ok(), block <= 3, "for block {block}: {answer:?}");
        assert!(block <= 3 || answer == bad, "{answer:?}");
        ledger.produce_block(Vec::new()).unwrap();
        let gone = pool.settle(&ledger, &[]);
        assert_eq!(gone.len(), if block == 3 { 3 } else { 0 }, "after block {block}");
    }
    // The hash of another block for the same era.
    let wrong = Lifetime { era, birth: ledger.head().hash };
    let wrong = SignedCall::sign_in_era(remark(), 0, wrong, genesis, &key(1));
    assert_eq!(pool.admit(wrong, &ledger), bad);
}

#[test]
fn attack_a_call_larger_than_a_block_takes_is_refused_and_leaves_nothing() {
    let (ledger, mut pool) = (ledger(), Pool::default());
    let fill = |n| {
        let call = Call::Remark { data: vec![0; n] };
        SignedCall::sign(call, 0, ledger.genesis_hash(), &key(1))
    };
    let refused = Err(Turned::Refused(CallError::ExhaustsResources));
    for n in [crate::extrinsic::EXTRINSIC_BYTES_MAX - 255, 1_000_000] {
        assert_eq!(pool.admit(fill(n), &ledger), refused, "{n} bytes");
    }
    assert_eq!((pool.n_bytes, pool.waiting.len()), (0, 0));
    pool.admit(fill(32_000), &ledger).unwrap();
}

#[test]
fn refusals_have_the_words_that_clients_know() {
    let refused = Turned::Refused;
    for (turned, words) in [
        (Turned::Known, "Already Imported"),
        (Turned::Taken, "Priority is too low"),
        (Turned::Full, "Immediately Dropped"),
        (Turned::Far { ahead: 300 }, "Immediately Dropped"),
        (Turned::Stale, "outdated"),
        (refused(CallError::ExhaustsResources), "exhaust the block limits"),
        (refused(CallError::UnknownSigner), "Inability to pay some fees"),
        (refused(CallError::BadSignature), "bad signature"),
    ] {
        assert!(turned.to_string().contains(words), "{turned}");
    }
}

#[test]
fn in_whatever_order_calls_arrive_a_block_takes_all_whose_turn_it_is() {
    const N_SIGNERS: u64 = 5;
    for seed in 0..30 {
        let mut random = Seed::of_number(seed).derive("pool").stream();
        let (mut ledger, mut pool) = (ledger(), Pool::default());
        let mut places: Vec<(u64, u32)> = Vec::new();
        for _ in 0..40 {
            let mut below = |bound| uniform_below(&mut random, bound);
            let (signer, nonce) = (below(N_SIGNERS), below(12) as u32);
            let is_new = !places.contains(&(signer, nonce));
            let answer = pool.admit(call(&ledger, signer, nonce), &ledger);
            assert_eq!(answer.is_ok(), is_new, "seed {seed}: {answer:?}");
            if is_new {
                places.push((signer, nonce));
            }
        }
        let in_row = |signer| (0..).take_while(|n| places.contains(&(signer, *n))).count();
        let expected: Vec<usize> = (0..N_SIGNERS).map(in_row).collect();
        let ready = pool.ready(&ledger);
        assert_eq!(ready.len(), expected.iter().sum::<usize>(), "seed {seed}");
        for (signer, n) in (0..).zip(expected) {
            let public = key(signer).public();
            let own = ready.iter().filter(|call| call.signer == public);
            let nonces: Vec<usize> = own.map(|call| call.nonce as usize).collect();
            assert_eq!(nonces, (0..n).collect::<Vec<_>>(), "seed {seed}");
        }
        let n_ready = ready.len();
        let produced = ledger.produce_block(ready).unwrap();
        assert!(produced.left_out.is_empty(), "seed {seed}: {:?}", produced.left_out);
        assert_eq!(pool.settle(&ledger, &[]).len(), n_ready, "seed {seed}");
        assert_eq!(pool.waiting.len(), places.len() - n_ready, "seed {seed}");
        assert!(pool.ready(&ledger).is_empty(), "seed {seed}");
    }
}
