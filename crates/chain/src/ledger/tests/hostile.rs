//! Calls that somebody should not have sent.

use super::*;

#[test]
fn attack_a_replayed_call_applies_once() {
    let mut ledger = ledger(rules());
    let call = ledger.next(0, transfer(1, TAO));
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
        let early = OwnCall::new(account(0), nonce, transfer(1, TAO));
        assert_eq!(ledger.block(vec![early]).result(), Err(CallError::BadNonce));
    }
    assert_eq!(ledger.nonce(account(0)), 0);
}

#[test]
fn a_call_that_is_refused_in_a_block_uses_up_its_nonce() {
    let mut ledger = ledger(rules());
    assert_eq!(ledger.call(0, commit(&"x".repeat(129))), Err(CallError::CommitmentTooLong));
    assert_eq!(ledger.nonce(account(0)), 1);
}

#[test]
fn attack_nobody_spends_what_is_not_theirs() {
    let mut ledger = ledger(Hyperparameters { tempo: 1_000, ..rules() });
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, stake(100, 10 * TAO)).unwrap();
    let before = ledger.supply();
    assert_eq!(ledger.call(1, unstake(100, TAO)), Err(CallError::NotEnoughStakeToWithdraw));
    assert_eq!(ledger.call(0, unstake(100, 11 * TAO)), Err(CallError::NotEnoughStakeToWithdraw));
    assert_eq!(ledger.call(77, transfer(1, 2)), Err(CallError::UnknownSigner));
    assert_eq!(ledger.nonce(account(77)), 0, "strangers leave no trace");
    ledger.call(0, transfer(77, 1)).unwrap();
    assert_eq!(ledger.call(77, transfer(1, 2)), Err(CallError::FundsUnavailable));
    assert_eq!(ledger.call(0, transfer(1, 1_000 * TAO)), Err(CallError::FundsUnavailable));
    assert_eq!(ledger.call(1, stake(100, 1_001 * TAO)), Err(CallError::NotEnoughBalanceToStake));
    assert_eq!(ledger.call(77, register(101)), Err(CallError::NotEnoughBalanceToStake));
    assert_eq!(
        ledger.call(77, Call::RegisterNetwork { hotkey: account(78) }),
        Err(CallError::CannotAffordLockCost)
    );
    assert_eq!(ledger.supply().staked_rao, before.staked_rao);
    assert_eq!(ledger.supply().burned_rao, before.burned_rao);
}

#[test]
fn attack_a_hotkey_stays_with_its_first_owner() {
    let mut genesis = genesis(rules());
    genesis.subnets.push(genesis.subnets[0].clone());
    let mut ledger = Ledger::new(&genesis).unwrap();
    ledger.call(0, register(100)).unwrap();
    let elsewhere = Call::BurnedRegister { netuid: NetUid(2), hotkey: account(100) };
    assert_eq!(ledger.call(1, elsewhere.clone()), Err(CallError::NonAssociatedColdKey));
    assert_eq!(ledger.balance(account(1)), 1_000 * TAO, "a refused registration burns nothing");
    assert_eq!(ledger.call(0, elsewhere), Ok(()));
    assert_eq!(ledger.owner(account(100)), Some(account(0)));
}

#[test]
fn attack_amounts_beyond_all_bounds_do_not_overflow() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, stake(100, TAO)).unwrap();
    for amount in [u64::MAX, u64::MAX - TAO, i64::MAX as u64] {
        assert_eq!(ledger.call(0, stake(100, amount)), Err(CallError::NotEnoughBalanceToStake));
        assert_eq!(ledger.call(0, unstake(100, amount)), Err(CallError::NotEnoughStakeToWithdraw));
        assert_eq!(ledger.call(0, transfer(0, amount)), Err(CallError::FundsUnavailable));
    }
}

#[test]
fn attack_amounts_of_zero_are_refused() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    for call in [stake(100, 0), unstake(100, 0), transfer(1, 0)] {
        assert_eq!(ledger.call(0, call), Err(CallError::AmountTooLow));
    }
    assert_eq!(ledger.call(0, stake(55, 1)), Err(CallError::HotKeyAccountNotExists));
    assert_eq!(ledger.call(0, unstake(55, 1)), Err(CallError::HotKeyAccountNotExists));
}

#[test]
fn a_transfer_to_oneself_changes_nothing() {
    let mut ledger = ledger(rules());
    ledger.call(0, transfer(0, 500 * TAO)).unwrap();
    assert_eq!(ledger.balance(account(0)), 1_000 * TAO);
}

#[test]
fn attack_commitments_only_with_a_slot_and_at_their_pace() {
    let mut ledger = ledger(Hyperparameters { commitment_rate_limit: 3, ..rules() });
    assert_eq!(ledger.call(5, commit("x")), Err(CallError::AccountNotAllowedCommit));
    ledger.call(0, register(100)).unwrap();
    assert_eq!(ledger.call(0, commit("x")), Err(CallError::AccountNotAllowedCommit), "coldkey");
    ledger.call(100, commit("first")).unwrap();
    for _ in 0..2 {
        let too_fast = Err(CallError::CommitmentSetRateLimitExceeded);
        assert_eq!(ledger.call(100, commit("second")), too_fast);
    }
    assert_eq!(ledger.commitments(NETUID).unwrap()[0].data, b"first");
    ledger.call(100, commit("second")).unwrap();
    let nowhere = Call::SetCommitment { netuid: NetUid(8), data: Vec::new() };
    assert_eq!(ledger.call(100, nowhere), Err(CallError::AccountNotAllowedCommit));
}

#[test]
fn an_impossible_genesis_is_refused_with_its_reason() {
    let error = |genesis: &Genesis| Ledger::new(genesis).unwrap_err().to_string();
    let mut rich = genesis(rules());
    rich.accounts = vec![(account(0), u64::MAX), (account(1), u64::MAX)];
    assert_eq!(error(&rich), "the accounts hold more than 21 million TAO");
    let mut twice = genesis(rules());
    twice.accounts.push((account(0), 1));
    assert!(error(&twice).contains(&account(0).to_string()));
    let with = |hyperparameters| error(&genesis(hyperparameters));
    let named = "`tempo` of subnet `1` must be at least 1";
    assert_eq!(with(Hyperparameters { tempo: 0, ..rules() }), named);
    assert!(with(Hyperparameters { max_uids: 5_000, ..rules() }).contains("`max_uids`"));
    assert!(with(Hyperparameters { min_burn_rao: u64::MAX, ..rules() }).contains("`min_burn_rao`"));
    let average = Hyperparameters { bonds_moving_average: 1_000_001, ..rules() };
    assert!(with(average).contains("`bonds_moving_average`"));
    let mut many = genesis(rules());
    many.subnets = vec![many.subnets[0].clone(); 1_025];
    assert!(error(&many).contains("1025"));
}
