//! What holds after any sequence of calls.

use super::*;
use proptest::{collection::vec, prelude::*};

/// A call by one of a few keys; a third of them makes no sense.
fn calls() -> impl Strategy<Value = (u64, Call)> {
    let amount = prop_oneof![
        5 => 1..400 * TAO,
        1 => Just(0_u64),
        1 => Just(u64::MAX),
    ];
    let hotkey = || 100..108_u64;
    let weights = vec((0..9_u16, any::<u16>()), 0..6);
    let call = prop_oneof![
        3 => hotkey().prop_map(register),
        3 => (hotkey(), amount.clone()).prop_map(|(h, a)| stake(h, a)),
        2 => (hotkey(), amount.clone()).prop_map(|(h, a)| unstake(h, a)),
        1 => (0..12_u64, amount).prop_map(|(to, a)| transfer(to, a)),
        1 => (100_u64..106).prop_map(|hotkey| Call::RegisterNetwork { hotkey: account(hotkey) }),
        1 => "[a-z]{0,140}".prop_map(|text| commit(&text)),
        4 => weights.prop_map(|weights| weigh(&weights)),
    ];
    let signer = prop_oneof![2 => 0..6_u64, 1 => hotkey()];
    (signer, call)
}

fn small() -> Hyperparameters {
    Hyperparameters {
        tempo: 3,
        max_uids: 5,
        max_validators: 3,
        immunity_period: 4,
        adjustment_interval: 4,
        target_registrations: 1,
        max_registrations_per_block: 2,
        weights_rate_limit: 2,
        commitment_rate_limit: 2,
        burn_rao: 50 * TAO,
        activity_cutoff: 20,
        ..rules()
    }
}

fn check(ledger: &Ledger) -> Result<(), TestCaseError> {
    let supply = ledger.supply();
    let parts = [
        supply.balances_rao,
        supply.staked_rao,
        supply.pending_rao,
        supply.locked_rao,
        supply.burned_rao,
    ];
    prop_assert_eq!(supply.issued_rao, parts.iter().sum::<u64>(), "{:?}", supply);
    for netuid in ledger.netuids() {
        let neurons = ledger.metagraph(netuid).unwrap().neurons;
        let mut hotkeys: Vec<_> = neurons.iter().map(|neuron| neuron.hotkey).collect();
        hotkeys.sort_unstable();
        hotkeys.dedup();
        prop_assert_eq!(hotkeys.len(), neurons.len(), "a hotkey holds one slot");
        prop_assert!((0..).zip(&neurons).all(|(uid, neuron)| neuron.uid == Uid(uid)));
        let commitments = ledger.commitments(netuid).unwrap();
        for commitment in commitments {
            prop_assert_eq!(neurons[usize::from(commitment.uid.0)].hotkey, commitment.hotkey);
            prop_assert_eq!(ledger.block_hash(commitment.block), Some(commitment.block_hash));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_money_appears_or_vanishes_and_the_same_calls_give_the_same_hashes(
        blocks in vec(vec(calls(), 0..5), 1..25),
    ) {
        let mut ledger = ledger(small());
        let mut again = ledger.clone();
        for block in blocks {
            let mut nonces = std::collections::BTreeMap::new();
            let calls: Vec<OwnCall> = block
                .into_iter()
                .map(|(signer, call)| {
                    let nonce = nonces.entry(signer).or_insert(ledger.nonce(account(signer)));
                    *nonce += 1;
                    OwnCall::new(account(signer), *nonce - 1, call)
                })
                .collect();
            let mut reversed = calls.clone();
            reversed.reverse();
            let (one, other) = (ledger.block(calls), again.block(reversed));
            prop_assert_eq!(one.head, other.head);
            check(&ledger)?;
        }
    }

    #[test]
    fn a_refused_call_changes_only_the_nonce(
        before in vec(calls(), 0..12),
        (signer, call) in calls(),
    ) {
        let mut ledger = ledger(small());
        for (signer, call) in before {
            let _ = ledger.call(signer, call);
        }
        let call = ledger.next(signer, call);
        let mut without = ledger.clone();
        let refused = ledger.block(vec![call]).result().is_err();
        without.block(Vec::new());
        if refused {
            prop_assert_eq!(ledger.neurons(), without.neurons());
            prop_assert_eq!(ledger.supply(), without.supply());
            prop_assert_eq!(ledger.commitments(NETUID), without.commitments(NETUID));
        }
    }
}
