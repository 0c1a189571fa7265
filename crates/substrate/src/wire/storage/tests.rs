//! What stands in storage: the keys of Substrate, and the values of the ledger.

use super::{
    items::{self, BeaconConfiguration},
    *,
};
use crate::wire::{
    call::Data,
    primitives::{AccountId32, H256},
    tests::{BUSY_BLOCK, HIDDEN, Held, OPEN, TAO, account, busy, fast, identity, pass_to},
};
use chain::{
    Genesis, Hyperparameters, Ledger, SubnetGenesis,
    ledger::{Slot, last_round},
};
use protocol::{AccountId, NetUid, yuma::LiquidAlpha};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use subxt::{ext::scale_value::scale::decode_as_type, metadata::Metadata};

#[test]
fn keys_are_hashed_as_substrate_hashes_them() {
    let alice = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
    let id = AccountId32(hex::decode(alice).unwrap().try_into().unwrap());
    let subtensor = "658faa385070e074c85bf6b568cf0555";
    // Known keys of Substrate, and hashes by another implementation.
    let system = "26aa394eea5630e07c48ae0c9558cef7";
    let alices = format!("de1e86a9a8c739864cf3cc5ec2bea59f{alice}");
    for (key, expected) in [
        (items::ACCOUNT.key(&(id,)), format!("{system}b99d880ec681799c0cf30e8886371da9{alices}")),
        (items::EVENTS.key(&()), format!("{system}80d41e5e16056765bc8461851072c9d7")),
        (items::NUMBER.key(&()), format!("{system}02a5c1b19ab7a04f536c519aca4983ac")),
        (
            items::NOW.key(&()),
            "f0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb".into(),
        ),
        (
            items::KEYS.key(&(1, 0x203)),
            format!("{subtensor}9f99a2ce711f3a31b2fc05604c93f17901000302"),
        ),
        (
            items::UIDS.key(&(1, id)),
            format!("{subtensor}aab1b4e78e1ea8305462ee53b3686dc80100{alices}"),
        ),
        (
            items::TIMELOCKED_WEIGHT_COMMITS.key(&(1, 7)),
            format!(
                "{subtensor}119e1c428ff5c7c6dac4c888a10d1443\
                 f1577fbf1d628fdd010055e4fd6a40cd76080700000000000000"
            ),
        ),
        (
            items::PULSES.key(&(1,)),
            "a285cdb66e8b8524ea70b1693c7b1e050d8e70fd32bfb1639703f9a23d15b15e\
             9ea2d098b5f70192f96c06f38d3fbc970100000000000000"
                .into(),
        ),
    ] {
        assert_eq!(hex::encode(key), expected);
    }
}

/// Name, beginning of the keys, hashers with types of the keys, type of the value.
type Told = (String, Vec<u8>, Vec<(String, u32)>, u32);

/// What clients are told of every item.
fn told(metadata: &Metadata) -> Vec<Told> {
    let mut told = Vec::new();
    for pallet in metadata.pallets() {
        let Some(storage) = pallet.storage() else { continue };
        for entry in storage.entries() {
            let parts = [storage.prefix(), entry.name()];
            let prefix = parts.map(|part| sp_crypto_hashing::twox_128(part.as_bytes())).concat();
            let keys = entry.keys().map(|key| (format!("{:?}", key.hasher), key.key_id));
            let name = format!("{}.{}", storage.prefix(), entry.name());
            told.push((name, prefix, keys.collect(), entry.value_ty()));
        }
    }
    told
}

/// Fails unless `bytes` are one value of the type, whole.
fn take(metadata: &Metadata, bytes: &mut &[u8], ty: u32, what: &str) {
    let value = decode_as_type(bytes, ty, metadata.types());
    assert!(value.is_ok(), "{what}: {value:?}");
}

#[test]
fn every_entry_is_of_one_item_and_reads_wholly_by_the_types_that_clients_are_told() {
    let metadata = Metadata::decode_from(&Encoded::usual().version_15).unwrap();
    let told = told(&metadata);
    let mut seen = BTreeSet::new();
    for (key, value) in project(&busy()) {
        let of: Vec<&Told> = told.iter().filter(|item| key.starts_with(&item.1)).collect();
        assert_eq!(of.len(), 1, "{}", hex::encode(&key));
        let (name, prefix, keys, ty) = of[0];
        let mut rest = &key[prefix.len()..];
        for (hasher, ty) in keys {
            let n_hash = match hasher.as_str() {
                "Identity" => 0,
                "Twox64Concat" => 8,
                "Blake2_128Concat" => 16,
                other => panic!("{name}: {other}"),
            };
            let (hash, from) = rest.split_at(n_hash);
            rest = from;
            take(&metadata, &mut rest, *ty, name);
            let part = &from[..from.len() - rest.len()];
            let expected = match n_hash {
                0 => Vec::new(),
                8 => sp_crypto_hashing::twox_64(part).to_vec(),
                _ => sp_crypto_hashing::blake2_128(part).to_vec(),
            };
            assert_eq!(hash, expected, "{name}");
        }
        assert!(rest.is_empty(), "{name}: the key goes on");
        let mut rest = value.bytes();
        take(&metadata, &mut rest, *ty, name);
        assert!(rest.is_empty(), "{name}: the value goes on");
        seen.insert(name.clone());
    }
    assert!(seen.len() > 70, "only {} items are written", seen.len());
}

#[test]
fn no_item_can_be_mistaken_for_another_and_every_default_reads() {
    let metadata = Metadata::decode_from(&Encoded::usual().version_15).unwrap();
    let mut prefixes = BTreeSet::new();
    for pallet in metadata.pallets() {
        let Some(storage) = pallet.storage() else { continue };
        for entry in storage.entries() {
            let Some(mut default) = entry.default_value() else { continue };
            take(&metadata, &mut default, entry.value_ty(), entry.name());
            assert!(default.is_empty(), "{}", entry.name());
        }
    }
    for (name, prefix, ..) in told(&metadata) {
        assert_eq!(prefix.len(), 32);
        assert!(prefixes.insert(prefix), "{name}");
    }
}

#[test]
fn what_is_not_stored_or_does_not_read_is_the_default() {
    let mut state = Held(Entries::new());
    assert_eq!(items::TEMPO.read(&state, &(1,)), 0);
    assert_eq!(items::BEACON_CONFIG.read(&state, &()), BeaconConfiguration::default());
    state.0.insert(items::TEMPO.key(&(1,)), vec![9_u8].into());
    assert_eq!(items::TEMPO.read(&state, &(1,)), 0, "half a number");
    state.0.insert(items::TEMPO.key(&(1,)), vec![9_u8, 1].into());
    assert_eq!(items::TEMPO.read(&state, &(1,)), 265);
    assert_eq!(items::TEMPO.read(&state, &(2,)), 0, "of another subnet");
}

#[test]
fn balances_nonces_and_totals_are_those_of_the_ledger() {
    let ledger = busy();
    let state = Held::of(&ledger);
    let mut n_accounts = 0;
    for (account, entry) in ledger.accounts() {
        let info = items::ACCOUNT.read(&state, &(account.into(),));
        assert_eq!((info.data.free, info.nonce), (entry.balance_rao, entry.nonce));
        assert_eq!((info.data.reserved, info.data.frozen, info.providers), (0, 0, 1));
        n_accounts += 1;
    }
    assert!(n_accounts >= 6, "coldkeys, and hotkeys that have signed");
    assert_eq!(state.keys(&items::ACCOUNT.prefix()).len(), n_accounts);
    let supply = ledger.supply();
    let circulating =
        supply.balances_rao + supply.staked_rao + supply.pending_rao + supply.locked_rao;
    assert_eq!(items::TOTAL_ISSUANCE.read(&state, &()), circulating);
    assert_eq!(items::BALANCES_TOTAL_ISSUANCE.read(&state, &()), circulating);
    assert_eq!(items::TOTAL_STAKE.read(&state, &()), supply.staked_rao);
    assert_eq!(items::NUMBER.read(&state, &()), BUSY_BLOCK as u32);
    assert_eq!(items::TOTAL_NETWORKS.read(&state, &()), 4, "the root network counts");
    assert_eq!(items::NETWORK_MIN_LOCK_COST.read(&state, &()), TAO);
    assert_eq!(items::SUBNET_LOCKED.read(&state, &(3,)), TAO);
    let stranger = items::ACCOUNT.read(&state, &(AccountId32([9; 32]),));
    assert_eq!((stranger.nonce, stranger.providers), (0, 0));
}

#[test]
fn owners_and_stakes_are_those_of_the_ledger_from_both_sides() {
    let ledger = busy();
    let state = Held::of(&ledger);
    let mut owned: BTreeMap<AccountId, BTreeSet<AccountId32>> = BTreeMap::new();
    for (hotkey, coldkey) in ledger.owners() {
        assert_eq!(items::OWNER.read(&state, &(hotkey.into(),)), AccountId32::from(coldkey));
        owned.entry(coldkey).or_default().insert(hotkey.into());
    }
    assert_eq!(owned.len(), 3);
    for (coldkey, hotkeys) in owned {
        let read = items::OWNED_HOTKEYS.read(&state, &(coldkey.into(),));
        assert_eq!(read.len(), hotkeys.len());
        assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), hotkeys);
    }
    let mut totals: BTreeMap<AccountId, u64> = BTreeMap::new();
    for ((hotkey, coldkey), rao) in ledger.stakes() {
        assert_eq!(items::STAKE.read(&state, &(hotkey.into(), coldkey.into())), rao);
        *totals.entry(hotkey).or_default() += rao;
    }
    assert_eq!(state.keys(&items::STAKE.prefix()).len(), ledger.stakes().count());
    for (hotkey, rao) in &totals {
        assert_eq!(items::TOTAL_HOTKEY_STAKE.read(&state, &((*hotkey).into(),)), *rao);
    }
    assert!(totals[&account(100)] >= 107 * TAO, "of two coldkeys");
    let (hotkey, other) = (account(100).into(), account(1).into());
    assert_eq!(items::STAKE.read(&state, &(hotkey, other)), 0, "who staked elsewhere");
}

#[test]
fn every_list_by_uid_is_the_ledgers() {
    let ledger = busy();
    let state = Held::of(&ledger);
    for (netuid, subnet) in ledger.subnets() {
        let (key, slots) = ((netuid.0,), &subnet.slots);
        let shorts = |field: fn(&Slot) -> u16| slots.iter().map(field).collect::<Vec<u16>>();
        let longs = |field: fn(&Slot) -> u64| slots.iter().map(field).collect::<Vec<u64>>();
        let flags = |field: fn(&Slot) -> bool| slots.iter().map(field).collect::<Vec<bool>>();
        assert_eq!(usize::from(items::SUBNETWORK_N.read(&state, &key)), slots.len());
        for (item, expected) in [
            (items::CONSENSUS, shorts(|slot| slot.consensus)),
            (items::INCENTIVE, shorts(|slot| slot.incentive)),
            (items::DIVIDENDS, shorts(|slot| slot.dividends)),
            (items::VALIDATOR_TRUST, shorts(|slot| slot.validator_trust)),
            (items::PRUNING_SCORES, shorts(|slot| slot.pruning_score)),
        ] {
            assert_eq!(item.read(&state, &key), expected, "{} of {netuid}", item.name);
        }
        assert_eq!(items::EMISSION.read(&state, &key), longs(|slot| slot.emission_rao));
        assert_eq!(items::LAST_UPDATE.read(&state, &key), longs(|slot| slot.last_update.0));
        assert_eq!(items::ACTIVE.read(&state, &key), flags(|slot| slot.active));
        let permits = items::VALIDATOR_PERMIT.read(&state, &key);
        assert_eq!(permits, flags(|slot| slot.validator_permit));
        assert_eq!(permits.iter().any(|permit| *permit), netuid != NetUid(3), "{netuid}");
    }
    let paid = items::INCENTIVE.read(&state, &(OPEN.0,));
    assert!(paid.iter().any(|share| *share > 0), "an epoch has paid: {paid:?}");
}

#[test]
fn every_slot_is_found_by_its_number_and_by_its_hotkey() {
    let ledger = busy();
    let state = Held::of(&ledger);
    let (mut n_slots, mut n_rows) = (0, 0);
    for (netuid, subnet) in ledger.subnets() {
        for (uid, slot) in (0..).zip(&subnet.slots) {
            let (place, hotkey) = ((netuid.0, uid), AccountId32::from(slot.hotkey));
            assert_eq!(items::KEYS.read(&state, &place), hotkey);
            assert_eq!(items::UIDS.read(&state, &(netuid.0, hotkey)), uid);
            assert!(items::IS_NETWORK_MEMBER.read(&state, &(hotkey, netuid.0)));
            let since = slot.block_at_registration.0;
            assert_eq!(items::BLOCK_AT_REGISTRATION.read(&state, &place), since);
            assert_eq!(items::WEIGHTS.read(&state, &place), slot.weights);
            assert_eq!(items::BONDS.read(&state, &place), slot.bonds);
            n_rows += usize::from(!slot.weights.is_empty()) + usize::from(!slot.bonds.is_empty());
            n_slots += 1;
        }
    }
    assert_eq!((n_slots, n_rows), (6, 2), "one validator has weights and bonds");
    // An empty row is none, and a hotkey has no number where it has no slot.
    assert_eq!(state.keys(&items::WEIGHTS.prefix()).len(), 1);
    let (hotkey, other) = (AccountId32::from(account(100)), HIDDEN.0);
    assert_eq!(state.get(&items::UIDS.key(&(other, hotkey))), None);
    assert!(!items::IS_NETWORK_MEMBER.read(&state, &(hotkey, other)));
}

#[test]
fn a_subnet_tells_its_owner_its_age_and_its_place_in_the_epoch() {
    let ledger = busy();
    let state = Held::of(&ledger);
    for (netuid, subnet) in ledger.subnets() {
        let key = (netuid.0,);
        assert!(items::NETWORKS_ADDED.read(&state, &key));
        assert_eq!(items::SUBNET_OWNER.read(&state, &key), AccountId32::from(subnet.owner));
        assert_eq!(items::NETWORK_REGISTERED_AT.read(&state, &key), subnet.opened_at.0);
        let started = items::FIRST_EMISSION_BLOCK_NUMBER.try_read(&state, &key);
        assert_eq!(started, Some(subnet.opened_at.0 + 1));
        assert_eq!(items::MECHANISM_COUNT_CURRENT.read(&state, &key), 1);
        let said = items::SUBNET_IDENTITIES.try_read(&state, &key);
        let last = said.map(|said| (said.subnet_name, said.additional));
        let expected = (identity().name, identity().additional);
        assert_eq!(last, (netuid == NetUid(3)).then_some(expected));
        assert_eq!(items::BURN.read(&state, &key), subnet.burn_rao);
        assert_eq!(items::PENDING_EMISSION.read(&state, &key), subnet.pending_rao);
        assert_eq!(items::LAST_MECHANSIM_STEP_BLOCK.read(&state, &key), subnet.last_epoch.0);
        let cycle = subnet.cycle;
        assert_eq!(items::LAST_EPOCH_BLOCK.read(&state, &key), cycle.last_epoch_block.0);
        assert_eq!(items::BLOCKS_SINCE_LAST_STEP.read(&state, &key), cycle.blocks_since_step);
        assert_eq!(items::SUBNET_EPOCH_INDEX.read(&state, &key), cycle.index);
        let in_interval = items::REGISTRATIONS_THIS_INTERVAL.read(&state, &key);
        assert_eq!(u32::from(in_interval), subnet.registrations_this_interval);
    }
    assert_eq!(items::LAST_EPOCH_BLOCK.read(&state, &(OPEN.0,)), 20);
    assert_eq!(items::SUBNET_EPOCH_INDEX.read(&state, &(OPEN.0,)), 2);
    assert_eq!(items::REGISTRATIONS_THIS_INTERVAL.read(&state, &(OPEN.0,)), 3);
    let first = AccountId32::from(account(105));
    assert_eq!(items::SUBNET_OWNER_HOTKEY.read(&state, &(3,)), first);
    assert_eq!(state.get(&items::SUBNET_OWNER_HOTKEY.key(&(OPEN.0,))), None, "of the genesis");
    assert!(!items::NETWORKS_ADDED.read(&state, &(4,)));
}

/// Rules of which no two are alike.
fn distinct() -> Hyperparameters {
    Hyperparameters {
        tempo: 11,
        max_uids: 12,
        max_validators: 13,
        immunity_period: 14,
        registration_allowed: false,
        burn_rao: 1_000,
        min_burn_rao: 15,
        max_burn_rao: 2_000,
        adjustment_interval: 16,
        adjustment_alpha: 17,
        target_registrations: 18,
        max_registrations_per_block: 19,
        weights_rate_limit: 20,
        min_weights: 21,
        max_weight_limit: 22,
        weights_version: 23,
        commitment_rate_limit: 24,
        kappa: 25,
        bonds_moving_average: 26,
        bonds_penalty: 27,
        yuma3: true,
        liquid_alpha: Some(LiquidAlpha { low: 28, high: 29, steepness: -30 }),
        activity_cutoff: 31,
        stake_threshold_rao: 32,
        commit_reveal: true,
        reveal_period: 33,
        ..Hyperparameters::default()
    }
}

/// The state before the first block of a chain with these subnets.
fn before(rules: Vec<Hyperparameters>) -> Held {
    let subnet = |hyperparameters| SubnetGenesis { owner: AccountId([1; 32]), hyperparameters };
    let subnets = rules.into_iter().map(subnet).collect();
    Held::of(&Ledger::new(&Genesis { subnets, ..Genesis::default() }).unwrap())
}

#[test]
fn every_rule_stands_under_its_own_name() {
    let (state, key) = (before(vec![distinct(), Hyperparameters::default()]), (1,));
    for (item, expected) in [
        (items::TEMPO, 11),
        (items::MAX_ALLOWED_UIDS, 12),
        (items::MAX_ALLOWED_VALIDATORS, 13),
        (items::IMMUNITY_PERIOD, 14),
        (items::ADJUSTMENT_INTERVAL, 16),
        (items::TARGET_REGISTRATIONS_PER_INTERVAL, 18),
        (items::MAX_REGISTRATIONS_PER_BLOCK, 19),
        (items::MIN_ALLOWED_WEIGHTS, 21),
        (items::MAX_WEIGHTS_LIMIT, 22),
        (items::KAPPA, 25),
        (items::BONDS_PENALTY, 27),
        (items::ACTIVITY_CUTOFF, 31),
    ] {
        assert_eq!(item.read(&state, &key), expected, "{}", item.name);
        assert_ne!(item.read(&state, &(2,)), expected, "{} of another subnet", item.name);
    }
    for (item, expected) in [
        (items::BURN, 1_000),
        (items::MIN_BURN, 15),
        (items::MAX_BURN, 2_000),
        (items::WEIGHTS_SET_RATE_LIMIT, 20),
        (items::WEIGHTS_VERSION_KEY, 23),
        (items::COMMITMENT_RATE_LIMIT, 24),
        (items::BONDS_MOVING_AVERAGE, 26),
        (items::REVEAL_PERIOD_EPOCHS, 33),
        // Of 65,535 there, of 2^64 - 1 here.
        (items::ADJUSTMENT_ALPHA, 17 * 281_479_271_743_489),
    ] {
        assert_eq!(item.read(&state, &key), expected, "{}", item.name);
    }
    for (item, expected) in [
        (items::NETWORK_REGISTRATION_ALLOWED, false),
        (items::COMMIT_REVEAL_WEIGHTS_ENABLED, true),
        (items::YUMA3_ON, true),
        (items::LIQUID_ALPHA_ON, true),
    ] {
        assert_eq!(item.read(&state, &key), expected, "{}", item.name);
        assert_eq!(item.read(&state, &(2,)), !expected, "{} of another subnet", item.name);
    }
    assert_eq!(items::ALPHA_VALUES.read(&state, &key), (28, 29));
    assert_eq!(items::ALPHA_SIGMOID_STEEPNESS.read(&state, &key), -30);
}

#[test]
fn what_is_longer_than_the_chain_counts_is_shown_as_the_most_it_counts() {
    let long = Hyperparameters {
        immunity_period: 65_536,
        adjustment_interval: u64::MAX,
        activity_cutoff: 70_000,
        adjustment_alpha: u16::MAX,
        ..Hyperparameters::default()
    };
    let (state, key) = (before(vec![long]), (1,));
    for item in [items::IMMUNITY_PERIOD, items::ADJUSTMENT_INTERVAL, items::ACTIVITY_CUTOFF] {
        assert_eq!(item.read(&state, &key), u16::MAX, "{}", item.name);
    }
    assert_eq!(items::ADJUSTMENT_ALPHA.read(&state, &key), u64::MAX, "the whole is the whole");
}

#[test]
fn the_stake_threshold_is_that_of_the_least_strict_subnet() {
    let with = |stake_threshold_rao| Hyperparameters { stake_threshold_rao, ..fast() };
    for (rules, expected) in [
        (Vec::new(), 0),
        (vec![with(9)], 9),
        (vec![with(9), with(4), with(7)], 4),
        (vec![with(9), with(0)], 0),
    ] {
        assert_eq!(items::STAKE_THRESHOLD.read(&before(rules), &()), expected);
    }
}

#[test]
fn commitments_and_commits_stand_under_their_hotkeys_with_their_blocks() {
    let ledger = busy();
    let state = Held::of(&ledger);
    for (netuid, hotkey, text) in [(OPEN, 101, "the first"), (HIDDEN, 104, "")] {
        let key = (netuid.0, account(hotkey).into());
        let stored = items::COMMITMENT_OF.read(&state, &key);
        assert_eq!((stored.deposit, stored.block), (0, 11));
        assert_eq!(stored.info.fields, [Data::Raw(text.into())]);
        assert_eq!(items::LAST_COMMITMENT.read(&state, &key), 11);
    }
    assert_eq!(state.keys(&items::COMMITMENT_OF.prefix()).len(), 2);
    let rows = items::WEIGHT_COMMITS.read(&state, &(HIDDEN.0, account(103).into()));
    assert_eq!(rows, [(H256([7; 32]), 1, 11, 0)], "hash, epoch, block");
    assert_eq!(state.keys(&items::WEIGHT_COMMITS.prefix()).len(), 1);
}

#[test]
fn time_locked_weights_stand_under_their_epoch_until_they_are_opened() {
    let mut ledger = busy();
    let key = (HIDDEN.0, 1);
    let rows = items::TIMELOCKED_WEIGHT_COMMITS.read(&Held::of(&ledger), &key);
    let (_, subnet) = ledger.subnets().find(|(netuid, _)| *netuid == HIDDEN).unwrap();
    let commits = &subnet.timelocked[&1];
    assert_eq!((rows.len(), commits.len()), (1, 1));
    let (hotkey, block, sealed, round) = rows[0].clone();
    let expected = (AccountId32::from(account(103)), 11, commits[0].round);
    assert_eq!((hotkey, block, round), expected);
    assert_eq!(sealed.into_bytes(), commits[0].sealed);
    pass_to(&mut ledger, 22);
    assert!(Held::of(&ledger).get(&items::TIMELOCKED_WEIGHT_COMMITS.key(&key)).is_some());
    pass_to(&mut ledger, 23);
    let opened = Held::of(&ledger);
    assert_eq!(opened.get(&items::TIMELOCKED_WEIGHT_COMMITS.key(&key)), None);
    let expected = [(1, 65_535), (0, 13_107)];
    assert_eq!(items::WEIGHTS.read(&opened, &(HIDDEN.0, 0)), expected);
}

#[test]
fn the_beacon_and_its_newest_pulse_are_such_as_anybody_can_check() {
    let ledger = busy();
    let state = Held::of(&ledger);
    let beacon = ledger.beacon();
    let config = items::BEACON_CONFIG.read(&state, &());
    assert_eq!(config.public_key, beacon.public_key.0);
    assert_eq!((config.period, config.genesis_time), (3, 0));
    assert_eq!(items::COMMIT_REVEAL_WEIGHTS_VERSION.read(&state, &()), 4);
    let round = items::LAST_STORED_ROUND.read(&state, &());
    assert_eq!(round, last_round(ledger.head().block));
    assert_eq!(state.keys(&items::PULSES.prefix()), [items::PULSES.key(&(round,))]);
    let pulse = items::PULSES.read(&state, &(round,));
    assert_eq!(pulse.round, round);
    assert_eq!(pulse.randomness, Sha256::digest(&pulse.signature).to_vec());
    let signature = timelock::Signature(pulse.signature.try_into().unwrap());
    assert!(beacon.public_key.verify(&signature, round));
    assert!(!beacon.public_key.verify(&signature, round + 1), "of this round alone");
}
