//! From a ledger to keys and values.

use super::{
    Item, Keys, Value,
    items::{self, BeaconConfiguration, BeaconMetadata, Registration, SubnetIdentityV3},
};
use crate::wire::{
    TOKEN_SYMBOL,
    call::{CommitmentInfo, Data, SealedBytes},
    primitives::{AccountData, AccountId32, AccountInfo, H256},
};
use chain::ledger::{
    COMMIT_REVEAL_VERSION, Ledger, Slot, Subnet, TimelockedCommit, WeightCommit, last_round,
};
use parity_scale_codec::Encode;
use protocol::{AccountId, NetUid, yuma::LiquidAlpha};
use scale_info::StaticTypeInfo;
use std::collections::BTreeMap;

/// What a spec that switches liquid alpha on without numbers gets.
const LIQUID_ALPHA: LiquidAlpha = LiquidAlpha { low: 45_875, high: 58_982, steepness: 1_000 };

/// Keys with their values.
pub type Entries = BTreeMap<Vec<u8>, Value>;

/// Collects entries, each of the types that its item says.
#[derive(Default)]
struct Out(Entries);

impl Out {
    fn put<K: Keys, V: Encode + Default + StaticTypeInfo>(
        &mut self,
        item: &Item<K, V>,
        keys: &K,
        value: &V,
    ) {
        self.0.insert(item.key(keys), value.encode().into());
    }
}

/// The state after the newest block, but for its events.
pub fn project(ledger: &Ledger) -> Entries {
    let mut out = Out::default();
    put_money(&mut out, ledger);
    let threshold =
        ledger.subnets().map(|(_, subnet)| subnet.hyperparameters.stake_threshold_rao).min();
    out.put(&items::STAKE_THRESHOLD, &(), &threshold.unwrap_or(0));
    out.put(&items::TOTAL_NETWORKS, &(), &(ledger.subnets().count() as u16).saturating_add(1));
    out.put(&items::NETWORK_MIN_LOCK_COST, &(), &ledger.network_price_rao());
    out.put(&items::START_CALL_DELAY, &(), &0);
    put_beacon(&mut out, ledger);
    for (netuid, subnet) in ledger.subnets() {
        let key = (netuid.0,);
        out.put(&items::TOKEN_SYMBOL, &key, &TOKEN_SYMBOL.as_bytes().to_vec());
        out.put(&items::NETWORKS_ADDED, &key, &true);
        put_rules(&mut out, key, subnet);
        put_epoch(&mut out, key, subnet);
        put_ownership(&mut out, key, subnet);
        put_slots(&mut out, netuid, subnet);
        put_commitments(&mut out, netuid, subnet);
    }
    out.0
}

fn put_money(out: &mut Out, ledger: &Ledger) {
    out.put(&items::NUMBER, &(), &(ledger.head().block.0 as u32));
    for (account, entry) in ledger.accounts() {
        let data = AccountData { free: entry.balance_rao, ..AccountData::default() };
        let info = AccountInfo { nonce: entry.nonce, providers: 1, data, ..AccountInfo::default() };
        out.put(&items::ACCOUNT, &(account.into(),), &info);
    }
    let supply = ledger.supply();
    let issuance = supply.issued_rao.saturating_sub(supply.burned_rao);
    out.put(&items::BALANCES_TOTAL_ISSUANCE, &(), &issuance);
    out.put(&items::TOTAL_ISSUANCE, &(), &issuance);
    out.put(&items::TOTAL_STAKE, &(), &supply.staked_rao);
    let mut owned: BTreeMap<AccountId, Vec<AccountId32>> = BTreeMap::new();
    for (hotkey, coldkey) in ledger.owners() {
        out.put(&items::OWNER, &(hotkey.into(),), &coldkey.into());
        owned.entry(coldkey).or_default().push(hotkey.into());
    }
    for (coldkey, hotkeys) in owned {
        out.put(&items::OWNED_HOTKEYS, &(coldkey.into(),), &hotkeys);
    }
    let mut totals: BTreeMap<AccountId, u64> = BTreeMap::new();
    for ((hotkey, coldkey), rao) in ledger.stakes() {
        out.put(&items::STAKE, &(hotkey.into(), coldkey.into()), &rao);
        let total = totals.entry(hotkey).or_default();
        *total = total.saturating_add(rao);
    }
    for (hotkey, rao) in totals {
        out.put(&items::TOTAL_HOTKEY_STAKE, &(hotkey.into(),), &rao);
    }
}

fn put_rules(out: &mut Out, key: (u16,), subnet: &Subnet) {
    let rules = &subnet.hyperparameters;
    // What the chain keeps in 16 bits is shown as at most that.
    let short = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    out.put(&items::TEMPO, &key, &rules.tempo);
    out.put(&items::MIN_BURN, &key, &rules.min_burn_rao);
    out.put(&items::MAX_BURN, &key, &rules.max_burn_rao);
    out.put(&items::MAX_ALLOWED_UIDS, &key, &rules.max_uids);
    out.put(&items::MAX_ALLOWED_VALIDATORS, &key, &rules.max_validators);
    out.put(&items::IMMUNITY_PERIOD, &key, &short(rules.immunity_period));
    out.put(&items::ADJUSTMENT_INTERVAL, &key, &short(rules.adjustment_interval));
    let share = u64::from(rules.adjustment_alpha) * (u64::MAX / u64::from(u16::MAX));
    out.put(&items::ADJUSTMENT_ALPHA, &key, &share);
    out.put(&items::TARGET_REGISTRATIONS_PER_INTERVAL, &key, &rules.target_registrations);
    out.put(&items::MAX_REGISTRATIONS_PER_BLOCK, &key, &rules.max_registrations_per_block);
    out.put(&items::WEIGHTS_SET_RATE_LIMIT, &key, &rules.weights_rate_limit);
    out.put(&items::MIN_ALLOWED_WEIGHTS, &key, &rules.min_weights);
    out.put(&items::MAX_WEIGHTS_LIMIT, &key, &rules.max_weight_limit);
    out.put(&items::WEIGHTS_VERSION_KEY, &key, &rules.weights_version);
    out.put(&items::KAPPA, &key, &rules.kappa);
    out.put(&items::BONDS_MOVING_AVERAGE, &key, &rules.bonds_moving_average);
    out.put(&items::BONDS_PENALTY, &key, &rules.bonds_penalty);
    out.put(&items::YUMA3_ON, &key, &rules.yuma3);
    out.put(&items::LIQUID_ALPHA_ON, &key, &rules.liquid_alpha.is_some());
    let alpha = rules.liquid_alpha.unwrap_or(LIQUID_ALPHA);
    out.put(&items::ALPHA_VALUES, &key, &(alpha.low, alpha.high));
    out.put(&items::ALPHA_SIGMOID_STEEPNESS, &key, &alpha.steepness);
    out.put(&items::ACTIVITY_CUTOFF, &key, &short(rules.activity_cutoff));
    let factor = rules.activity_cutoff.saturating_mul(1_000).div_ceil(rules.tempo.max(1).into());
    let factor = u32::try_from(factor).unwrap_or(u32::MAX);
    out.put(&items::ACTIVITY_CUTOFF_FACTOR_MILLI, &key, &factor);
    // What the ledger does on every subnet: see its emission and its pruning.
    out.put(&items::OWNER_CUT_ENABLED, &key, &true);
    out.put(&items::IMMUNE_OWNER_UIDS_LIMIT, &key, &1);
    out.put(&items::NETWORK_REGISTRATION_ALLOWED, &key, &rules.registration_allowed);
    out.put(&items::COMMIT_REVEAL_WEIGHTS_ENABLED, &key, &rules.commit_reveal);
    out.put(&items::COMMITMENT_RATE_LIMIT, &key, &rules.commitment_rate_limit);
    out.put(&items::REVEAL_PERIOD_EPOCHS, &key, &rules.reveal_period);
}

/// The beacon, and its newest pulse.
fn put_beacon(out: &mut Out, ledger: &Ledger) {
    let (beacon, round) = (ledger.beacon(), last_round(ledger.head().block));
    let config = BeaconConfiguration {
        public_key: beacon.public_key.0.to_vec(),
        period: (beacon.period_ms.get() / 1_000) as u32,
        genesis_time: beacon.genesis_unix as u32,
        scheme_id: b"bls-unchained-g1-rfc9380".to_vec(),
        metadata: BeaconMetadata { beacon_id: b"agon".to_vec() },
        ..BeaconConfiguration::default()
    };
    out.put(&items::BEACON_CONFIG, &(), &config);
    out.put(&items::COMMIT_REVEAL_WEIGHTS_VERSION, &(), &COMMIT_REVEAL_VERSION);
    out.put(&items::LAST_STORED_ROUND, &(), &round);
    out.0.insert(items::PULSES.key(&(round,)), Value::pulse(ledger.beacon_key(), round));
}

fn put_epoch(out: &mut Out, key: (u16,), subnet: &Subnet) {
    let slots = &subnet.slots;
    let shorts = |field: fn(&Slot) -> u16| slots.iter().map(field).collect::<Vec<u16>>();
    let flags = |field: fn(&Slot) -> bool| slots.iter().map(field).collect::<Vec<bool>>();
    let longs = |field: fn(&Slot) -> u64| slots.iter().map(field).collect::<Vec<u64>>();
    out.put(&items::SUBNETWORK_N, &key, &(slots.len() as u16));
    out.put(&items::ACTIVE, &key, &flags(|slot| slot.active));
    out.put(&items::CONSENSUS, &key, &shorts(|slot| slot.consensus));
    out.put(&items::INCENTIVE, &key, &shorts(|slot| slot.incentive));
    out.put(&items::DIVIDENDS, &key, &shorts(|slot| slot.dividends));
    out.put(&items::VALIDATOR_TRUST, &key, &shorts(|slot| slot.validator_trust));
    out.put(&items::EMISSION, &key, &longs(|slot| slot.emission_rao));
    out.put(&items::LAST_UPDATE, &key, &longs(|slot| slot.last_update.0));
    out.put(&items::VALIDATOR_PERMIT, &key, &flags(|slot| slot.validator_permit));
    out.put(&items::PRUNING_SCORES, &key, &shorts(|slot| slot.pruning_score));
    out.put(&items::BURN, &key, &subnet.burn_rao);
    let in_interval = u16::try_from(subnet.registrations_this_interval).unwrap_or(u16::MAX);
    out.put(&items::REGISTRATIONS_THIS_INTERVAL, &key, &in_interval);
    out.put(&items::REGISTRATIONS_THIS_BLOCK, &key, &subnet.registrations_this_block);
    out.put(&items::SUBNET_LOCKED, &key, &subnet.locked_rao);
    out.put(&items::PENDING_EMISSION, &key, &subnet.pending_rao);
    out.put(&items::LAST_MECHANSIM_STEP_BLOCK, &key, &subnet.last_epoch.0);
    out.put(&items::LAST_EPOCH_BLOCK, &key, &subnet.cycle.last_epoch_block.0);
    out.put(&items::BLOCKS_SINCE_LAST_STEP, &key, &subnet.cycle.blocks_since_step);
    out.put(&items::SUBNET_EPOCH_INDEX, &key, &subnet.cycle.index);
}

fn put_ownership(out: &mut Out, key: (u16,), subnet: &Subnet) {
    out.put(&items::SUBNET_OWNER, &key, &subnet.owner.into());
    out.put(&items::NETWORK_REGISTERED_AT, &key, &subnet.opened_at.0);
    out.put(&items::FIRST_EMISSION_BLOCK_NUMBER, &key, &subnet.opened_at.0.saturating_add(1));
    out.put(&items::MECHANISM_COUNT_CURRENT, &key, &1);
    if let Some(hotkey) = subnet.owner_hotkey {
        out.put(&items::SUBNET_OWNER_HOTKEY, &key, &hotkey.into());
    }
    if let Some(identity) = subnet.identity.clone() {
        let stored = SubnetIdentityV3 {
            subnet_name: identity.name,
            github_repo: identity.github,
            subnet_contact: identity.contact,
            subnet_url: identity.url,
            discord: identity.discord,
            description: identity.description,
            logo_url: identity.logo_url,
            additional: identity.additional,
        };
        out.put(&items::SUBNET_IDENTITIES, &key, &stored);
    }
    for (coldkey, block) in &subnet.swaps {
        let place = (key.0, AccountId32::from(*coldkey));
        out.put(&items::LAST_HOTKEY_SWAP_ON_NETUID, &place, &block.0);
    }
}

fn put_slots(out: &mut Out, netuid: NetUid, subnet: &Subnet) {
    let netuid = netuid.0;
    for (uid, slot) in (0..).zip(&subnet.slots) {
        let hotkey = AccountId32::from(slot.hotkey);
        out.put(&items::KEYS, &(netuid, uid), &hotkey);
        out.put(&items::UIDS, &(netuid, hotkey), &uid);
        out.put(&items::IS_NETWORK_MEMBER, &(hotkey, netuid), &true);
        out.put(&items::BLOCK_AT_REGISTRATION, &(netuid, uid), &slot.block_at_registration.0);
        if !slot.weights.is_empty() {
            out.put(&items::WEIGHTS, &(netuid, uid), &slot.weights);
        }
        if !slot.bonds.is_empty() {
            out.put(&items::BONDS, &(netuid, uid), &slot.bonds);
        }
    }
}

fn put_commitments(out: &mut Out, netuid: NetUid, subnet: &Subnet) {
    for (hotkey, commitment) in &subnet.commitments {
        let key = (netuid.0, AccountId32::from(*hotkey));
        let block = commitment.block.0 as u32;
        let info = CommitmentInfo { fields: vec![Data::of(commitment.data.clone())] };
        out.put(&items::COMMITMENT_OF, &key, &Registration { deposit: 0, block, info });
        out.put(&items::LAST_COMMITMENT, &key, &block);
    }
    for (hotkey, commits) in &subnet.weight_commits {
        let key = (netuid.0, AccountId32::from(*hotkey));
        let row = |commit: &WeightCommit| (H256(commit.hash), commit.epoch, commit.block.0, 0);
        out.put(&items::WEIGHT_COMMITS, &key, &commits.iter().map(row).collect());
    }
    for (epoch, commits) in &subnet.timelocked {
        let row = |commit: &TimelockedCommit| {
            let sealed = SealedBytes::new(commit.sealed.clone());
            (commit.hotkey.into(), commit.block.0, sealed, commit.round)
        };
        let rows = commits.iter().map(row).collect();
        out.put(&items::TIMELOCKED_WEIGHT_COMMITS, &(netuid.0, *epoch), &rows);
    }
}
