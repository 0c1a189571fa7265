//! The rules of a subnet as a list of names and values, in the shape of Bittensor's runtime.

use super::Method;
use crate::wire::storage::{State, items};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{TypeInfo, meta_type};

/// One rule, under the name that the runtime gives it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct HyperparamEntry {
    name: Vec<u8>,
    value: HyperparamValue,
}

/// The value of a rule; the runtime has more kinds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
enum HyperparamValue {
    #[codec(index = 0)]
    Bool(bool),
    #[codec(index = 1)]
    U16(Compact<u16>),
    #[codec(index = 3)]
    U64(Compact<u64>),
    #[codec(index = 5)]
    TaoBalance(Compact<u64>),
}

pub(super) fn methods() -> Vec<Method> {
    vec![Method {
        api: "SubnetInfoRuntimeApi",
        name: "get_subnet_hyperparams_v3",
        doc: "The rules of a subnet, if it is there.",
        inputs: vec![("netuid", meta_type::<u16>())],
        output: meta_type::<Option<Vec<HyperparamEntry>>>(),
        answer: |arguments, state| Ok(rules(u16::decode(arguments)?, state).encode()),
    }]
}

fn rules(netuid: u16, state: &dyn State) -> Option<Vec<HyperparamEntry>> {
    let key = (netuid,);
    if !items::NETWORKS_ADDED.read(state, &key) {
        return None;
    }
    let short = |value| HyperparamValue::U16(Compact(value));
    let long = |value| HyperparamValue::U64(Compact(value));
    let money = |value| HyperparamValue::TaoBalance(Compact(value));
    let flag = HyperparamValue::Bool;
    let yuma3 = items::YUMA3_ON.read(state, &key);
    let rules = [
        ("kappa", short(items::KAPPA.read(state, &key))),
        ("immunity_period", short(items::IMMUNITY_PERIOD.read(state, &key))),
        ("min_allowed_weights", short(items::MIN_ALLOWED_WEIGHTS.read(state, &key))),
        ("max_weights_limit", short(items::MAX_WEIGHTS_LIMIT.read(state, &key))),
        ("tempo", short(items::TEMPO.read(state, &key))),
        ("weights_version", long(items::WEIGHTS_VERSION_KEY.read(state, &key))),
        ("weights_rate_limit", long(items::WEIGHTS_SET_RATE_LIMIT.read(state, &key))),
        ("adjustment_interval", short(items::ADJUSTMENT_INTERVAL.read(state, &key))),
        ("adjustment_alpha", long(items::ADJUSTMENT_ALPHA.read(state, &key))),
        ("activity_cutoff", short(items::ACTIVITY_CUTOFF.read(state, &key))),
        ("registration_allowed", flag(items::NETWORK_REGISTRATION_ALLOWED.read(state, &key))),
        (
            "target_regs_per_interval",
            short(items::TARGET_REGISTRATIONS_PER_INTERVAL.read(state, &key)),
        ),
        ("max_regs_per_block", short(items::MAX_REGISTRATIONS_PER_BLOCK.read(state, &key))),
        ("min_burn", money(items::MIN_BURN.read(state, &key))),
        ("max_burn", money(items::MAX_BURN.read(state, &key))),
        ("max_validators", short(items::MAX_ALLOWED_VALIDATORS.read(state, &key))),
        ("bonds_moving_avg", long(items::BONDS_MOVING_AVERAGE.read(state, &key))),
        ("commit_reveal_period", long(items::REVEAL_PERIOD_EPOCHS.read(state, &key))),
        (
            "commit_reveal_weights_enabled",
            flag(items::COMMIT_REVEAL_WEIGHTS_ENABLED.read(state, &key)),
        ),
        ("liquid_alpha_enabled", flag(items::LIQUID_ALPHA_ON.read(state, &key))),
        ("yuma_version", short(if yuma3 { 3 } else { 2 })),
    ];
    let entry = |(name, value): (&str, _)| HyperparamEntry { name: name.into(), value };
    Some(rules.into_iter().map(entry).collect())
}
