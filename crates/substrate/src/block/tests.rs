//! Signed calls in sealed blocks, honest and hostile.

use super::*;
use chain::{Call, Hyperparameters, Keypair, SubnetGenesis, ledger::RAO_PER_TAO};
use protocol::{AccountId, Block, NetUid, Seed, Uid};

const NETUID: NetUid = NetUid(1);
const TAO: u64 = RAO_PER_TAO;
/// Owner of the subnet.
const OWNER: u64 = 9;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn account(number: u64) -> AccountId {
    key(number).public()
}

/// A fast subnet: an epoch every ten blocks, no limits on rates.
fn rules() -> Hyperparameters {
    Hyperparameters {
        tempo: 10,
        max_registrations_per_block: 100,
        target_registrations: 100,
        adjustment_interval: 1_000,
        weights_rate_limit: 0,
        commitment_rate_limit: 0,
        immunity_period: 0,
        ..Hyperparameters::default()
    }
}

/// Coldkeys 0 to 9 with 1,000 TAO each.
fn genesis(hyperparameters: Hyperparameters) -> Genesis {
    Genesis {
        seed: 1,
        accounts: (0..10).map(|i| (account(i), 1_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: account(OWNER), hyperparameters }],
        network_price_rao: 100 * TAO,
    }
}

fn ledger(hyperparameters: Hyperparameters) -> SealedLedger {
    SealedLedger::new(&genesis(hyperparameters)).unwrap()
}

fn register(hotkey: u64) -> Call {
    Call::BurnedRegister { netuid: NETUID, hotkey: account(hotkey) }
}

fn stake(hotkey: u64, amount_rao: u64) -> Call {
    Call::AddStake { hotkey: account(hotkey), netuid: NETUID, amount_rao }
}

fn transfer(to: u64, amount_rao: u64) -> Call {
    Call::Transfer { to: account(to), amount_rao }
}

fn commit(text: &str) -> Call {
    Call::SetCommitment { netuid: NETUID, data: text.into() }
}

impl Produced {
    /// Fate of the only call.
    fn result(&self) -> Result<(), CallError> {
        self.results()[0].1.clone()
    }

    /// Fates of all calls: those in the block first.
    fn results(&self) -> Vec<(CallId, Result<(), CallError>)> {
        let applied = self.applied.iter();
        let applied =
            applied.map(|call| (call.id, call.result.as_ref().map(drop).map_err(Clone::clone)));
        let left_out = self.left_out.iter().map(|(id, error)| (*id, Err(error.clone())));
        applied.chain(left_out).collect()
    }
}

impl SealedLedger {
    fn sign(&self, signer: u64, call: Call) -> SignedCall {
        let keys = key(signer);
        SignedCall::sign(call, self.nonce(keys.public()), self.genesis_hash(), &keys)
    }

    fn block(&mut self, calls: Vec<SignedCall>) -> Produced {
        self.produce_block(calls).unwrap()
    }

    /// One call in a block of its own.
    fn call(&mut self, signer: u64, call: Call) -> Result<(), CallError> {
        let signed = self.sign(signer, call);
        self.block(vec![signed]).result()
    }
}

fn calls(ledger: &SealedLedger) -> Vec<SignedCall> {
    let mut calls: Vec<_> = (0..6).map(|i| ledger.sign(i, register(100 + i))).collect();
    let next = SignedCall::sign(stake(100, TAO), 1, ledger.genesis_hash(), &key(0));
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
        let calls: Vec<_> = (0..4).map(|i| ledger.sign(i, transfer(9, 1))).collect();
        let ids: Vec<_> = calls.iter().map(SignedCall::id).collect();
        let first = ledger.block(calls).results()[0].0;
        firsts.insert(ids.iter().position(|id| *id == first));
    }
    assert_eq!(firsts.len(), 4);
}

#[test]
fn a_hash_depends_on_seed_rules_calls_and_parent() {
    let head = |genesis: &Genesis, n_calls: usize| {
        let mut ledger = SealedLedger::new(genesis).unwrap();
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
fn the_hashes_of_a_small_history_are_frozen() {
    let mut ledger = ledger(rules());
    let calls = calls(&ledger);
    ledger.block(calls);
    ledger.call(100, commit("namespace:model")).unwrap();
    while ledger.block(Vec::new()).epochs.is_empty() {}
    assert_eq!(ledger.head().block, Block(10));
    assert_eq!(ledger.genesis_hash().to_string(), FROZEN_GENESIS);
    assert_eq!(ledger.head().hash.to_string(), FROZEN_HEAD);
}

const FROZEN_GENESIS: &str = "0xa25a7a452f7ff35cbfba08dd436822a6c3ff2b6e89d23da5b61a304898baf819";
const FROZEN_HEAD: &str = "0x5dc9655394abe0d36c0bb8522612ae39ae37a3aba5e039b0b80938bae81d7e5e";

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

#[test]
fn attack_a_call_that_its_signer_did_not_sign_leaves_no_trace() {
    let mut ledger = ledger(rules());
    let honest = ledger.sign(0, transfer(1, TAO));
    let mut other_signer = honest.clone();
    other_signer.signer = account(2);
    let mut other_amount = honest.clone();
    other_amount.call = transfer(1, 2 * TAO).into();
    let mut other_nonce = honest.clone();
    other_nonce.nonce = 1;
    let mut bent = honest.clone();
    bent.signature.0[10] ^= 1;
    let empty = ledger.clone().block(Vec::new()).head;
    for forged in [other_signer, other_amount, other_nonce, bent] {
        let mut ledger = ledger.clone();
        let produced = ledger.block(vec![forged]);
        assert_eq!(produced.result(), Err(CallError::BadSignature));
        assert_eq!(produced.head, empty, "as if nobody had called");
    }
    assert_eq!(ledger.block(vec![honest]).result(), Ok(()));
}

#[test]
fn attack_a_call_signed_for_another_chain_is_refused() {
    let other = SealedLedger::new(&Genesis { seed: 2, ..genesis(rules()) }).unwrap();
    let elsewhere = other.sign(0, transfer(1, TAO));
    let mut ledger = ledger(rules());
    assert_eq!(ledger.block(vec![elsewhere]).result(), Err(CallError::BadSignature));
}

#[test]
fn attack_a_replayed_call_applies_once() {
    let mut ledger = ledger(rules());
    let call = ledger.sign(0, transfer(1, TAO));
    let twice = ledger.block(vec![call.clone(), call.clone()]);
    let results: Vec<_> = twice.results().into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Ok(()), Err(CallError::BadNonce)]);
    assert_eq!(ledger.block(vec![call]).result(), Err(CallError::BadNonce));
    assert_eq!(ledger.balance(account(1)), 1_001 * TAO);
}

#[test]
fn attack_nonces_out_of_turn_wait_for_nobody() {
    let mut ledger = ledger(rules());
    for nonce in [1, u32::MAX] {
        let early = SignedCall::sign(transfer(1, TAO), nonce, ledger.genesis_hash(), &key(0));
        assert_eq!(ledger.block(vec![early]).result(), Err(CallError::BadNonce));
    }
    assert_eq!(ledger.nonce(account(0)), 0);
}

#[test]
fn attack_giant_calls_are_refused_before_they_are_hashed() {
    let mut ledger = ledger(rules());
    let weights = Call::SetWeights {
        netuid: NETUID,
        uids: vec![Uid(0); 10_000_000],
        weights: vec![1; 10_000_000],
        version_key: 0,
    };
    let commitment = Call::SetCommitment { netuid: NETUID, data: vec![0; 10_000_000] };
    for call in [weights, commitment] {
        // Signed by nobody: a real signature would cost more than the refusal.
        let mut giant = ledger.sign(0, transfer(1, 1));
        giant.call = call.into();
        assert!(!giant.fits());
        assert_eq!(ledger.apply(&giant), Err(CallError::ExhaustsResources));
    }
    assert_eq!(ledger.call(0, commit(&"x".repeat(129))), Err(CallError::CommitmentTooLong));
    assert_eq!(ledger.nonce(account(0)), 1, "what enters a block uses up its nonce");
}

#[test]
fn a_state_reads_back_from_its_bytes_and_goes_on_to_the_same_hashes() {
    let mut ledger = ledger(rules());
    let calls = calls(&ledger);
    ledger.block(calls);
    let (bytes, hashes) = (ledger.state_bytes(), ledger.hashes().to_vec());
    let mut again = SealedLedger::from_state_bytes(&bytes, hashes).unwrap();
    assert_eq!(again.head(), ledger.head());
    assert_eq!(again.block(Vec::new()).head, ledger.block(Vec::new()).head);
    assert!(SealedLedger::from_state_bytes(&bytes[..bytes.len() / 2], Vec::new()).is_err());
}
