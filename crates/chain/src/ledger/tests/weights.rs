//! The checks of `set_weights`, in their order.

use super::*;

/// A validator at uid 0 (hotkey 100) with a permit, two miners, and one whose stake is too little.
fn subnet(mut hyperparameters: Hyperparameters) -> Ledger {
    hyperparameters.max_validators = 1;
    let mut ledger = ledger(hyperparameters);
    for hotkey in [100, 101, 102] {
        ledger.call(0, register(hotkey)).unwrap();
    }
    ledger.call(0, stake(100, 100 * TAO)).unwrap();
    ledger.pass_epoch();
    ledger
}

#[test]
fn the_checks_stand_in_the_order_of_the_pallet() {
    let rules = Hyperparameters {
        stake_threshold_rao: TAO,
        weights_version: 5,
        weights_rate_limit: 30,
        min_weights: 2,
        max_weight_limit: 40_000,
        ..rules()
    };
    let mut ledger = subnet(rules);
    ledger.call(0, transfer(55, 1)).unwrap();
    let set = |netuid: u16, uids: &[u16], weights: &[u16], version_key| Call::SetWeights {
        netuid: NetUid(netuid),
        uids: uids.iter().copied().map(Uid).collect(),
        weights: weights.to_vec(),
        version_key,
    };
    let mut expect = |signer: u64, call: Call, reason: CallError| {
        assert_eq!(ledger.call(signer, call.clone()), Err(reason), "{call:?}");
    };
    // Each call is wrong in every way that comes later in the list, too.
    expect(55, set(0, &[9, 9, 9, 9], &[1], 0), CallError::CanNotSetRootNetworkWeights);
    expect(55, set(7, &[9, 9, 9, 9], &[1], 0), CallError::WeightVecNotEqualSize);
    expect(55, set(7, &[9; 4], &[1; 4], 0), CallError::SubnetNotExists);
    expect(55, set(1, &[9; 4], &[1; 4], 0), CallError::UidsLengthExceedUidsInSubNet);
    expect(55, set(1, &[9; 3], &[1; 3], 0), CallError::HotKeyNotRegisteredInSubNet);
    let poor = ledger.neurons()[1].stake_rao;
    assert_eq!(poor, 0, "all emission went to stake");
    let mut expect = |signer: u64, call: Call, reason: CallError| {
        assert_eq!(ledger.call(signer, call.clone()), Err(reason), "{call:?}");
    };
    expect(101, set(1, &[9; 3], &[1; 3], 0), CallError::NotEnoughStakeToSetWeights);
    expect(100, set(1, &[9; 3], &[1; 3], 4), CallError::IncorrectWeightVersionKey);
    expect(100, set(1, &[9; 3], &[1; 3], 5), CallError::SettingWeightsTooFast);
    ledger.call(0, stake(101, 2 * TAO)).unwrap();
    ledger.pass(30);
    let mut expect = |signer: u64, call: Call, reason: CallError| {
        assert_eq!(ledger.call(signer, call.clone()), Err(reason), "{call:?}");
    };
    expect(101, set(1, &[9; 3], &[1; 3], 5), CallError::NeuronNoValidatorPermit);
    expect(100, set(1, &[9; 3], &[1; 3], 5), CallError::DuplicateUids);
    expect(100, set(1, &[9], &[1], 5), CallError::UidVecContainInvalidOne);
    expect(100, set(1, &[1], &[1], 5), CallError::WeightVecLengthIsLow);
    expect(100, set(1, &[1, 2], &[2, 1], 5), CallError::MaxWeightExceeded);
    assert_eq!(ledger.call(100, set(1, &[2, 1], &[2, 3], 6)), Ok(()));
    assert_eq!(ledger.neurons()[0].weights, [(Uid(2), 43_690), (Uid(1), 65_535)]);
}

#[test]
fn whoever_weighs_only_itself_needs_no_permit_and_gains_nothing() {
    let mut ledger = subnet(Hyperparameters { min_weights: 2, max_weight_limit: 1, ..rules() });
    assert!(!ledger.neurons()[1].validator_permit);
    assert_eq!(ledger.call(101, weigh(&[(1, 7)])), Ok(()));
    assert_eq!(ledger.neurons()[1].weights, [(Uid(1), 65_535)]);
    assert_eq!(ledger.pass_epoch().slots[1].server_rao, 0);
}

#[test]
fn a_refused_setting_leaves_the_weights_and_the_clock_as_they_were() {
    let mut ledger = subnet(rules());
    ledger.call(100, weigh(&[(1, 1)])).unwrap();
    let before = ledger.neurons();
    for bad in [weigh(&[(1, 1), (1, 1)]), weigh(&[(3, 1)]), weigh(&[])] {
        ledger.call(100, bad).unwrap_err();
    }
    assert_eq!(ledger.neurons(), before);
}

#[test]
fn weights_of_zero_are_stored_and_count_for_nobody() {
    let mut ledger = subnet(rules());
    ledger.call(100, weigh(&[(1, 0), (2, 0)])).unwrap();
    assert_eq!(ledger.neurons()[0].weights, [(Uid(1), 0), (Uid(2), 0)]);
    let epoch = ledger.pass_epoch();
    assert!(epoch.slots.iter().all(|slot| slot.incentive == 0));
}

#[test]
fn a_registration_counts_as_an_update_so_newcomers_wait_too() {
    let mut ledger = ledger(Hyperparameters { weights_rate_limit: 4, ..rules() });
    ledger.call(0, register(100)).unwrap();
    for _ in 0..3 {
        let own = weigh(&[(0, 1)]);
        assert_eq!(ledger.call(100, own), Err(CallError::SettingWeightsTooFast));
    }
    assert_eq!(ledger.call(100, weigh(&[(0, 1)])), Ok(()));
}
