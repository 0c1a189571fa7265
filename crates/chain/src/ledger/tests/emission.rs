//! Who gets how much, and when.

use super::super::emission::block_emission;
use super::*;
use protocol::yuma;

/// A validator (hotkey 100 of coldkey 0) and a miner (hotkey 101 of coldkey 1).
fn pair() -> Ledger {
    let mut ledger = ledger(Hyperparameters { max_validators: 1, ..rules() });
    ledger.call(0, register(100)).unwrap();
    ledger.call(1, register(101)).unwrap();
    ledger.call(0, stake(100, 300 * TAO)).unwrap();
    ledger.pass_epoch();
    ledger.call(100, weigh(&[(1, 1)])).unwrap();
    ledger
}

#[test]
fn emission_halves_each_time_half_of_what_was_left_has_come() {
    let million = 1_000_000 * TAO;
    assert_eq!(block_emission(0), TAO);
    assert_eq!(block_emission(7 * million), TAO);
    assert_eq!(block_emission(10_500_000 * TAO - 1), TAO);
    assert_eq!(block_emission(10_500_000 * TAO), TAO / 2);
    assert_eq!(block_emission(15_750_000 * TAO), TAO / 4);
    assert_eq!(block_emission(21 * million - 1), 0);
    assert_eq!(block_emission(21 * million), 0);
    assert_eq!(block_emission(u64::MAX), 0);
}

#[test]
fn each_block_pays_eighteen_per_cent_to_the_owner_and_keeps_the_rest_for_the_epoch() {
    let mut ledger = ledger(rules());
    ledger.pass(3);
    assert_eq!(ledger.balance(account(OWNER)), 1_000 * TAO + 3 * 179_995_422);
    assert_eq!(ledger.supply().pending_rao, 3 * yuma::EMISSION_RAO_PER_BLOCK);
}

#[test]
fn epochs_come_every_tempo() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    let blocks: Vec<u64> = (0..3).map(|_| ledger.pass_epoch().block.0).collect();
    assert_eq!(blocks, [10, 20, 30]);
}

#[test]
fn an_epoch_without_slots_waits_with_its_emission() {
    let mut ledger = ledger(rules());
    ledger.pass(25);
    assert_eq!(ledger.supply().pending_rao, 25 * yuma::EMISSION_RAO_PER_BLOCK);
    ledger.call(0, register(100)).unwrap();
    let epoch = ledger.pass_epoch();
    assert_eq!((epoch.block.0, ledger.supply().pending_rao), (30, 0));
}

#[test]
fn miners_and_validators_get_forty_one_per_cent_each() {
    let mut ledger = pair();
    let before = (ledger.total_stake(account(100)), ledger.balance(account(OWNER)));
    let epoch = ledger.pass_epoch();
    let purse = 10 * yuma::EMISSION_RAO_PER_BLOCK;
    assert_eq!(epoch.slots[1].server_rao, purse / 2);
    assert_eq!(epoch.slots[0].validator_rao, purse / 2);
    assert_eq!((epoch.slots[0].server_rao, epoch.slots[1].validator_rao), (0, 0));
    assert_eq!(epoch.owner_rao, 10 * 179_995_422);
    assert_eq!(ledger.stake(account(101), account(1)), purse / 2, "stake of the miner's coldkey");
    assert_eq!(ledger.total_stake(account(100)), before.0 + purse / 2);
    assert!(ledger.balance(account(OWNER)) > before.1);
}

#[test]
fn stakers_share_a_validators_part_after_the_owners_take() {
    let mut ledger = pair();
    ledger.call(2, stake(100, 100 * TAO)).unwrap();
    let owned = ledger.stake(account(100), account(0));
    let earned = ledger.pass_epoch().slots[0].validator_rao;
    let nominator = ledger.stake(account(100), account(2)) - 100 * TAO;
    let total = u128::from(owned + 100 * TAO);
    let shared = u128::from(earned) * 53_739 / 65_535;
    assert_eq!(u128::from(nominator), shared * u128::from(100 * TAO) / total);
    assert_eq!(ledger.stake(account(100), account(0)), owned + earned - nominator);
}

#[test]
fn an_epoch_is_what_consensus_computes_from_the_state_before_it() {
    let mut ledger = pair();
    let (mut input, epoch) = loop {
        let input = ledger.yuma_input(NETUID).unwrap();
        if let Some(epoch) = ledger.block(Vec::new()).epochs.pop() {
            break (input, epoch);
        }
    };
    // The block brings its own emission before it runs the epoch.
    input.emission_rao = input.emission_rao.map(|rao| rao + yuma::EMISSION_RAO_PER_BLOCK);
    let output = yuma::epoch(&input).unwrap();
    let neurons = ledger.neurons();
    for (uid, slot) in epoch.slots.iter().enumerate() {
        assert_eq!(
            (slot.incentive, slot.dividends),
            (output.incentive[uid], output.dividends[uid])
        );
        assert_eq!(slot.server_rao, output.server_emission[uid]);
        assert_eq!(slot.validator_rao, output.validator_emission[uid]);
        assert_eq!(neurons[uid].emission_rao, output.emission[uid]);
        assert_eq!(neurons[uid].validator_trust, output.validator_trust[uid]);
        assert_eq!(neurons[uid].consensus, output.consensus[uid]);
    }
}

#[test]
fn dividends_follow_a_miner_that_leaves_its_stake_where_it_is() {
    let mut ledger = pair();
    ledger.pass_epoch();
    let earned = ledger.stake(account(101), account(1));
    ledger.call(1, unstake(101, earned)).unwrap();
    assert_eq!(ledger.balance(account(1)), 999 * TAO + earned);
    assert_eq!(ledger.total_stake(account(101)), 0);
}
