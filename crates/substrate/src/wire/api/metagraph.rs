//! The metagraph of a subnet as one value, in the shape of Bittensor's runtime.

use super::Method;
use crate::wire::{
    primitives::AccountId32,
    storage::{
        State,
        items::{self, ChainIdentityV2, SubnetIdentityV3},
    },
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{TypeInfo, meta_type};

/// A subnet with all its slots; lists are by uid. Money is in rao, shares are of 65,535.
///
/// Fields of the token economy of 2025 hold what comes nearest: a subnet's own token is TAO here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[expect(missing_docs, reason = "the fields are Bittensor's, one by one")]
pub struct Metagraph {
    pub netuid: Compact<u16>,
    pub name: Vec<Compact<u8>>,
    pub symbol: Vec<Compact<u8>>,
    pub identity: Option<SubnetIdentityV3>,
    pub network_registered_at: Compact<u64>,
    pub owner_hotkey: AccountId32,
    pub owner_coldkey: AccountId32,
    pub block: Compact<u64>,
    pub tempo: Compact<u16>,
    pub last_step: Compact<u64>,
    pub blocks_since_last_step: Compact<u64>,
    pub subnet_emission: Compact<u64>,
    pub alpha_in: Compact<u64>,
    pub alpha_out: Compact<u64>,
    pub tao_in: Compact<u64>,
    pub alpha_out_emission: Compact<u64>,
    pub alpha_in_emission: Compact<u64>,
    pub tao_in_emission: Compact<u64>,
    pub pending_alpha_emission: Compact<u64>,
    pub pending_root_emission: Compact<u64>,
    pub subnet_volume: Compact<u128>,
    pub moving_price: FixedI128,
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub weights_version: Compact<u64>,
    pub weights_rate_limit: Compact<u64>,
    pub activity_cutoff: Compact<u64>,
    pub max_validators: Compact<u16>,
    pub num_uids: Compact<u16>,
    pub max_uids: Compact<u16>,
    pub burn: Compact<u64>,
    pub difficulty: Compact<u64>,
    pub registration_allowed: bool,
    pub pow_registration_allowed: bool,
    pub immunity_period: Compact<u16>,
    pub min_difficulty: Compact<u64>,
    pub max_difficulty: Compact<u64>,
    pub min_burn: Compact<u64>,
    pub max_burn: Compact<u64>,
    pub adjustment_alpha: Compact<u64>,
    pub adjustment_interval: Compact<u16>,
    pub target_regs_per_interval: Compact<u16>,
    pub max_regs_per_block: Compact<u16>,
    pub serving_rate_limit: Compact<u64>,
    pub commit_reveal_weights_enabled: bool,
    pub commit_reveal_period: Compact<u64>,
    pub liquid_alpha_enabled: bool,
    pub alpha_high: Compact<u16>,
    pub alpha_low: Compact<u16>,
    pub bonds_moving_avg: Compact<u64>,
    pub hotkeys: Vec<AccountId32>,
    pub coldkeys: Vec<AccountId32>,
    pub identities: Vec<Option<ChainIdentityV2>>,
    pub axons: Vec<AxonInfo>,
    pub active: Vec<bool>,
    pub validator_permit: Vec<bool>,
    pub pruning_score: Vec<Compact<u16>>,
    pub last_update: Vec<Compact<u64>>,
    pub emission: Vec<Compact<u64>>,
    pub dividends: Vec<Compact<u16>>,
    pub incentives: Vec<Compact<u16>>,
    pub consensus: Vec<Compact<u16>>,
    pub trust: Vec<Compact<u16>>,
    pub rank: Vec<Compact<u16>>,
    pub block_at_registration: Vec<Compact<u64>>,
    pub alpha_stake: Vec<Compact<u64>>,
    pub tao_stake: Vec<Compact<u64>>,
    pub total_stake: Vec<Compact<u64>>,
    pub tao_dividends_per_hotkey: Vec<(AccountId32, Compact<u64>)>,
    pub alpha_dividends_per_hotkey: Vec<(AccountId32, Compact<u64>)>,
    pub collateral_locked: Vec<Compact<u64>>,
    pub collateral_min: Vec<Compact<u64>>,
    pub collateral_earned: Vec<Compact<u64>>,
}

/// A signed number with 32 bits of fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FixedI128 {
    /// The number times 2^32.
    pub bits: i128,
}

/// A number with 64 bits of fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FixedU128 {
    /// The number times 2^64.
    pub bits: u128,
}

/// Where a neuron is served; nobody serves here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AxonInfo {
    /// Block of the announcement.
    pub block: u64,
    /// Version of the software.
    pub version: u32,
    /// Address.
    pub ip: u128,
    /// Port.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
    /// Protocol.
    pub protocol: u8,
    /// Reserved.
    pub placeholder1: u8,
    /// Reserved.
    pub placeholder2: u8,
}

pub(super) fn methods() -> Vec<Method> {
    vec![Method {
        api: "SubnetInfoRuntimeApi",
        name: "get_metagraph",
        doc: "The subnet with all its slots, if it is there.",
        inputs: vec![("netuid", meta_type::<u16>())],
        output: meta_type::<Option<Metagraph>>(),
        answer: |arguments, state| Ok(metagraph(u16::decode(arguments)?, state).encode()),
    }]
}

fn compact<T: Copy>(values: Vec<T>) -> Vec<Compact<T>> {
    values.into_iter().map(Compact).collect()
}

/// The subnet in the state; `None` if nobody opened it.
#[expect(clippy::too_many_lines, reason = "one line for each field of one value")]
pub(super) fn metagraph(netuid: u16, state: &dyn State) -> Option<Metagraph> {
    let key = (netuid,);
    if !items::NETWORKS_ADDED.read(state, &key) {
        return None;
    }
    let n = items::SUBNETWORK_N.read(state, &key);
    let hotkeys: Vec<_> = (0..n).map(|uid| items::KEYS.read(state, &(netuid, uid))).collect();
    let stakes: Vec<u64> =
        hotkeys.iter().map(|hotkey| items::TOTAL_HOTKEY_STAKE.read(state, &(*hotkey,))).collect();
    let pending = items::PENDING_EMISSION.read(state, &key);
    let (alpha_low, alpha_high) = items::ALPHA_VALUES.read(state, &key);
    let zeros = || vec![Compact(0_u16); usize::from(n)];
    Some(Metagraph {
        netuid: Compact(netuid),
        name: b"agon".map(Compact).to_vec(),
        symbol: compact(items::TOKEN_SYMBOL.read(state, &key)),
        identity: items::SUBNET_IDENTITIES.try_read(state, &key),
        network_registered_at: Compact(items::NETWORK_REGISTERED_AT.read(state, &key)),
        owner_hotkey: items::SUBNET_OWNER_HOTKEY.read(state, &key),
        owner_coldkey: items::SUBNET_OWNER.read(state, &key),
        block: Compact(items::NUMBER.read(state, &()).into()),
        tempo: Compact(items::TEMPO.read(state, &key)),
        last_step: Compact(items::LAST_MECHANSIM_STEP_BLOCK.read(state, &key)),
        blocks_since_last_step: Compact(items::BLOCKS_SINCE_LAST_STEP.read(state, &key)),
        subnet_emission: Compact(0),
        alpha_in: Compact(0),
        alpha_out: Compact(0),
        tao_in: Compact(0),
        alpha_out_emission: Compact(0),
        alpha_in_emission: Compact(0),
        tao_in_emission: Compact(0),
        pending_alpha_emission: Compact(pending),
        pending_root_emission: Compact(0),
        subnet_volume: Compact(0),
        moving_price: FixedI128 { bits: 1 << 32 },
        rho: Compact(10),
        kappa: Compact(items::KAPPA.read(state, &key)),
        min_allowed_weights: Compact(items::MIN_ALLOWED_WEIGHTS.read(state, &key)),
        max_weights_limit: Compact(items::MAX_WEIGHTS_LIMIT.read(state, &key)),
        weights_version: Compact(items::WEIGHTS_VERSION_KEY.read(state, &key)),
        weights_rate_limit: Compact(items::WEIGHTS_SET_RATE_LIMIT.read(state, &key)),
        activity_cutoff: Compact(items::ACTIVITY_CUTOFF.read(state, &key).into()),
        max_validators: Compact(items::MAX_ALLOWED_VALIDATORS.read(state, &key)),
        num_uids: Compact(n),
        max_uids: Compact(items::MAX_ALLOWED_UIDS.read(state, &key)),
        burn: Compact(items::BURN.read(state, &key)),
        difficulty: Compact(0),
        registration_allowed: items::NETWORK_REGISTRATION_ALLOWED.read(state, &key),
        pow_registration_allowed: false,
        immunity_period: Compact(items::IMMUNITY_PERIOD.read(state, &key)),
        min_difficulty: Compact(0),
        max_difficulty: Compact(0),
        min_burn: Compact(items::MIN_BURN.read(state, &key)),
        max_burn: Compact(items::MAX_BURN.read(state, &key)),
        adjustment_alpha: Compact(items::ADJUSTMENT_ALPHA.read(state, &key)),
        adjustment_interval: Compact(items::ADJUSTMENT_INTERVAL.read(state, &key)),
        target_regs_per_interval: Compact(
            items::TARGET_REGISTRATIONS_PER_INTERVAL.read(state, &key),
        ),
        max_regs_per_block: Compact(items::MAX_REGISTRATIONS_PER_BLOCK.read(state, &key)),
        serving_rate_limit: Compact(50),
        commit_reveal_weights_enabled: items::COMMIT_REVEAL_WEIGHTS_ENABLED.read(state, &key),
        commit_reveal_period: Compact(items::REVEAL_PERIOD_EPOCHS.read(state, &key)),
        liquid_alpha_enabled: items::LIQUID_ALPHA_ON.read(state, &key),
        alpha_high: Compact(alpha_high),
        alpha_low: Compact(alpha_low),
        bonds_moving_avg: Compact(items::BONDS_MOVING_AVERAGE.read(state, &key)),
        coldkeys: hotkeys.iter().map(|hotkey| items::OWNER.read(state, &(*hotkey,))).collect(),
        identities: vec![None; usize::from(n)],
        axons: vec![AxonInfo::default(); usize::from(n)],
        active: items::ACTIVE.read(state, &key),
        validator_permit: items::VALIDATOR_PERMIT.read(state, &key),
        pruning_score: compact(items::PRUNING_SCORES.read(state, &key)),
        last_update: compact(items::LAST_UPDATE.read(state, &key)),
        emission: compact(items::EMISSION.read(state, &key)),
        dividends: compact(items::DIVIDENDS.read(state, &key)),
        incentives: compact(items::INCENTIVE.read(state, &key)),
        consensus: compact(items::CONSENSUS.read(state, &key)),
        trust: zeros(),
        rank: zeros(),
        block_at_registration: (0..n)
            .map(|uid| Compact(items::BLOCK_AT_REGISTRATION.read(state, &(netuid, uid))))
            .collect(),
        alpha_stake: vec![Compact(0); usize::from(n)],
        tao_stake: compact(stakes.clone()),
        total_stake: compact(stakes),
        tao_dividends_per_hotkey: Vec::new(),
        alpha_dividends_per_hotkey: Vec::new(),
        collateral_locked: vec![Compact(0); usize::from(n)],
        collateral_min: vec![Compact(0); usize::from(n)],
        collateral_earned: vec![Compact(0); usize::from(n)],
        hotkeys,
    })
}
