//! Slots: their price, who loses one, and what a newcomer inherits.

use super::*;

#[test]
fn the_price_rises_with_demand_and_falls_without() {
    let rules = Hyperparameters {
        burn_rao: 10 * TAO,
        min_burn_rao: TAO,
        max_burn_rao: 14 * TAO,
        adjustment_interval: 10,
        target_registrations: 2,
        ..rules()
    };
    let mut ledger = ledger(rules);
    let supply = ledger.supply();
    for hotkey in 100..104 {
        ledger.call(0, register(hotkey)).unwrap();
    }
    assert_eq!(ledger.supply().burned_rao - supply.burned_rao, 40 * TAO);
    assert_eq!(ledger.balance(account(0)), 960 * TAO);
    ledger.pass(6);
    assert_eq!(ledger.burn_rao(NETUID), Some(14 * TAO), "10 * (4 + 2) / 4, but at most 14");
    ledger.pass(10);
    assert_eq!(ledger.burn_rao(NETUID), Some(7 * TAO), "14 * (0 + 2) / 4");
    ledger.pass(30);
    assert_eq!(ledger.burn_rao(NETUID), Some(TAO), "never below the minimum");
}

#[test]
fn a_smoothed_price_moves_by_a_part() {
    let rules = Hyperparameters {
        burn_rao: 9 * TAO,
        adjustment_interval: 5,
        adjustment_alpha: 65_535 / 3,
        target_registrations: 1,
        ..rules()
    };
    let mut ledger = ledger(rules);
    ledger.pass(5);
    assert_eq!(ledger.burn_rao(NETUID), Some(6 * TAO), "a third of 9 and two thirds of 4.5");
}

#[test]
fn a_block_and_an_interval_take_so_many_registrations() {
    let rules = Hyperparameters {
        max_registrations_per_block: 2,
        target_registrations: 1,
        adjustment_interval: 50,
        ..rules()
    };
    let mut ledger = ledger(rules);
    let calls = (0..4).map(|i| ledger.next(i, register(100 + i))).collect();
    let results = ledger.block(calls).results();
    let n_taken = results.iter().filter(|(_, result)| result.is_ok()).count();
    assert_eq!(n_taken, 2);
    let refused: Vec<_> = results.into_iter().filter_map(|(_, result)| result.err()).collect();
    assert_eq!(refused, vec![CallError::TooManyRegistrationsThisBlock; 2]);
    assert_eq!(ledger.call(5, register(105)), Ok(()));
    assert_eq!(ledger.call(6, register(106)), Err(CallError::TooManyRegistrationsThisInterval));
    ledger.pass(47);
    assert_eq!(ledger.call(6, register(106)), Ok(()), "the next interval counts anew");
}

#[test]
fn closed_and_unknown_subnets_sell_no_slots() {
    let mut closed = ledger(Hyperparameters { registration_allowed: false, ..rules() });
    assert_eq!(closed.call(0, register(100)), Err(CallError::SubNetRegistrationDisabled));
    let elsewhere = |netuid| Call::BurnedRegister { netuid: NetUid(netuid), hotkey: account(100) };
    assert_eq!(closed.call(0, elsewhere(0)), Err(CallError::RegistrationNotPermittedOnRootSubnet));
    assert_eq!(closed.call(0, elsewhere(2)), Err(CallError::SubnetNotExists));
}

/// Three slots, all taken: a validator at 0 that pays miner 1 three times as much as miner 2.
fn full(immunity_period: u64) -> Ledger {
    let mut ledger = ledger(Hyperparameters { max_uids: 3, immunity_period, ..rules() });
    for hotkey in [100, 101, 102] {
        ledger.call(0, register(hotkey)).unwrap();
    }
    ledger.call(0, stake(100, 100 * TAO)).unwrap();
    ledger.pass_epoch();
    ledger.call(100, weigh(&[(1, 3), (2, 1)])).unwrap();
    ledger.pass_epoch();
    ledger
}

#[test]
fn a_full_subnet_gives_the_slot_of_whoever_earns_least() {
    let mut ledger = full(0);
    ledger.call(1, register(110)).unwrap();
    assert_eq!(ledger.hotkeys(), [account(100), account(101), account(110)]);
    ledger.call(1, register(111)).unwrap();
    let after = [account(100), account(111), account(110)];
    assert_eq!(ledger.hotkeys(), after, "the newcomer is safe until an epoch has judged it");
    assert_eq!(ledger.call(102, commit("x")), Err(CallError::AccountNotAllowedCommit));
    assert_eq!(ledger.call(0, register(102)), Ok(()), "who lost a slot can buy another");
}

#[test]
fn immune_slots_are_pruned_only_when_all_are() {
    let mut ledger = full(25);
    ledger.call(1, register(110)).unwrap();
    assert_eq!(ledger.hotkeys()[2], account(110), "all immune: the weakest of all");
    ledger.pass(5);
    ledger.pass_epoch();
    // Now only the newcomer is immune; it earns nothing, but miner 1 goes.
    ledger.call(1, register(111)).unwrap();
    assert_eq!(ledger.hotkeys(), [account(100), account(111), account(110)]);
}

#[test]
fn among_equals_the_higher_uid_goes() {
    let mut ledger = ledger(Hyperparameters { max_uids: 3, ..rules() });
    for hotkey in [100, 101, 102] {
        ledger.call(0, register(hotkey)).unwrap();
    }
    ledger.call(0, register(103)).unwrap();
    assert_eq!(ledger.hotkeys(), [account(100), account(101), account(103)]);
}

#[test]
fn attack_a_newcomer_inherits_nothing_of_the_slot() {
    let mut ledger = full(0);
    ledger.call(102, commit("mine")).unwrap();
    ledger.call(1, register(110)).unwrap();
    let newcomer = &ledger.neurons()[2];
    assert_eq!(newcomer.block_at_registration, ledger.head().block);
    assert_eq!(newcomer.last_update, ledger.head().block);
    assert_eq!((newcomer.incentive, newcomer.dividends, newcomer.emission_rao), (0, 0, 0));
    assert_eq!((newcomer.stake_rao, newcomer.validator_permit), (0, false));
    assert!(newcomer.weights.is_empty() && newcomer.bonds.is_empty());
    assert!(ledger.commitments(NETUID).unwrap().is_empty(), "the old commitment went with its key");
    // The validator's weight was for the one before: it pays the newcomer nothing.
    let epoch = ledger.pass_epoch();
    assert_eq!(epoch.slots[2].server_rao, 0);
    assert_eq!(epoch.slots[1].incentive, 65_535);
    assert!(ledger.neurons()[0].bonds.iter().all(|(uid, _)| *uid != Uid(2)));
}

#[test]
fn attack_bonds_on_a_slot_lapse_even_when_it_is_taken_in_the_block_of_an_epoch() {
    let mut ledger = full(0);
    let has_bond = |ledger: &Ledger| ledger.neurons()[0].bonds.iter().any(|(to, _)| *to == Uid(2));
    while !(ledger.head().block.0 + 1).is_multiple_of(10) {
        ledger.pass(1);
    }
    assert!(has_bond(&ledger));
    let taken = ledger.next(1, register(110));
    assert_eq!(ledger.block(vec![taken]).epochs.len(), 1, "the block of an epoch");
    assert!(!has_bond(&ledger));
    ledger.pass_epoch();
    assert!(!has_bond(&ledger));
}

#[test]
fn a_commitment_outlives_the_slot_with_its_block() {
    let mut ledger = full(0);
    ledger.call(102, commit("mine")).unwrap();
    let committed = ledger.head().block;
    ledger.call(1, register(110)).unwrap();
    ledger.call(0, register(102)).unwrap();
    let commitments = ledger.commitments(NETUID).unwrap();
    assert_eq!((commitments[0].block, &commitments[0].data[..]), (committed, &b"mine"[..]));
    assert_eq!(commitments[0].uid, Uid(1));
}

#[test]
fn a_new_subnet_locks_its_price_and_gets_its_part_of_the_emission() {
    let mut ledger = ledger(rules());
    ledger.call(3, Call::RegisterNetwork { hotkey: account(103) }).unwrap();
    assert_eq!(ledger.netuids(), [NetUid(1), NetUid(2)]);
    assert_eq!(ledger.supply().locked_rao, 100 * TAO);
    assert_eq!(ledger.balance(account(3)), 900 * TAO);
    ledger.pass(1);
    assert_eq!(ledger.balance(account(3)), 900 * TAO + 89_997_711, "18 % of half a TAO");
}

#[test]
fn a_limit_holds_when_the_slot_is_paid_for_however_the_price_has_moved() {
    let mut ledger = ledger(rules());
    let price = ledger.burn_rao(NETUID).unwrap();
    let limited = |hotkey, limit_rao| Call::RegisterLimit {
        netuid: NETUID,
        hotkey: account(hotkey),
        limit_rao,
    };
    let refused = ledger.call(0, limited(100, price - 1)).unwrap_err();
    assert_eq!(refused, CallError::RegistrationPriceLimitExceeded);
    assert_eq!(ledger.balance(account(0)), 1_000 * TAO, "nothing was paid");
    ledger.call(0, limited(100, price)).unwrap();
    assert_eq!(ledger.balance(account(0)), 1_000 * TAO - price);
}

#[test]
fn a_hotkey_that_takes_the_place_of_another_gets_slot_and_stake_but_no_commitment() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, stake(100, 5 * TAO)).unwrap();
    ledger.call(100, commit("namespace:model")).unwrap();
    let swap = |old, new, netuid| Call::SwapHotkey {
        hotkey: account(old),
        new_hotkey: account(new),
        netuid,
    };
    let strangers = ledger.call(1, swap(100, 101, None)).unwrap_err();
    assert_eq!(strangers, CallError::NonAssociatedColdKey);
    ledger.call(0, swap(100, 101, Some(NETUID))).unwrap();
    let neuron = ledger.metagraph(NETUID).unwrap().neurons.remove(0);
    assert_eq!((neuron.hotkey, neuron.stake_rao), (account(101), 0), "the stake stays behind");
    assert_eq!(ledger.commitments(NETUID).unwrap(), []);
    let gone = ledger.call(0, swap(100, 102, Some(NETUID))).unwrap_err();
    assert_eq!(gone, CallError::HotKeyNotRegisteredInSubNet);
    ledger.call(0, register(100)).unwrap();
    let taken = ledger.call(0, swap(101, 100, None)).unwrap_err();
    assert_eq!(taken, CallError::HotKeyAlreadyRegisteredInSubNet);
    ledger.call(0, swap(100, 103, None)).unwrap();
    let neuron = ledger.metagraph(NETUID).unwrap().neurons.remove(1);
    assert_eq!(neuron.hotkey, account(103));
    assert!(neuron.stake_rao >= 5 * TAO, "what an epoch has paid meanwhile goes over, too");
    assert_eq!(ledger.total_stake(account(100)), 0);
}

#[test]
fn all_means_all_of_a_balance_and_of_a_stake() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, stake(100, 5 * TAO)).unwrap();
    ledger.call(1, stake(100, 3 * TAO)).unwrap();
    ledger.call(0, Call::UnstakeAll { hotkey: account(100) }).unwrap();
    assert_eq!(ledger.total_stake(account(100)), 3 * TAO, "another's stays");
    let nothing = ledger.call(0, Call::UnstakeAll { hotkey: account(100) }).unwrap_err();
    assert_eq!(nothing, CallError::AmountTooLow);
    let (balance, before) = (ledger.balance(account(0)), ledger.balance(account(2)));
    ledger.call(0, Call::TransferAll { to: account(2) }).unwrap();
    assert_eq!((ledger.balance(account(0)), ledger.balance(account(2))), (0, before + balance));
}
