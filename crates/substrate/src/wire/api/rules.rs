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
    let (alpha_low, alpha_high) = items::ALPHA_VALUES.read(state, &key);
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
        ("alpha_low", short(alpha_low)),
        ("alpha_high", short(alpha_high)),
        ("yuma_version", short(if yuma3 { 3 } else { 2 })),
    ];
    let entry = |(name, value): (&str, _)| HyperparamEntry { name: name.into(), value };
    Some(rules.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::storage::{Entries, project};
    use chain::ledger::{Genesis, Hyperparameters, Ledger, SubnetGenesis};
    use protocol::{AccountId, yuma::LiquidAlpha};

    struct Held(Entries);

    impl State for Held {
        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            self.0.get(key).map(|value| value.bytes().to_vec())
        }

        fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
            self.0.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
        }
    }

    fn state(hyperparameters: Hyperparameters) -> Held {
        let owner = AccountId([1; 32]);
        let genesis = Genesis {
            seed: 1,
            accounts: Vec::new(),
            subnets: vec![SubnetGenesis { owner, hyperparameters }],
            network_price_rao: 1,
        };
        Held(project(&Ledger::new(&genesis).unwrap()))
    }

    #[test]
    fn the_rules_and_the_metagraph_tell_the_rates_of_bonds_that_the_ledger_has() {
        let alpha = LiquidAlpha { low: 100, high: 200, steepness: -7 };
        let liquid_alpha = Some(alpha);
        let state = state(Hyperparameters { yuma3: true, liquid_alpha, ..Default::default() });
        let rules = rules(1, &state).unwrap();
        let told = |name: &str| {
            let rule = rules.iter().find(|rule| rule.name == name.as_bytes());
            rule.map(|rule| rule.value.clone())
        };
        assert_eq!(told("alpha_low"), Some(HyperparamValue::U16(Compact(100))));
        assert_eq!(told("alpha_high"), Some(HyperparamValue::U16(Compact(200))));
        let graph = super::super::metagraph::metagraph(1, &state).unwrap();
        assert_eq!((graph.alpha_low, graph.alpha_high), (Compact(100), Compact(200)));
        assert_eq!(items::ALPHA_SIGMOID_STEEPNESS.read(&state, &(1,)), -7);
    }

    #[test]
    fn the_cutoff_by_the_factor_is_never_sooner_than_the_one_in_blocks() {
        for (tempo, activity_cutoff, wanted) in
            [(360, 5_000, 13_889), (20, 5_000, 250_000), (7, 1, 143), (1, u64::MAX, u32::MAX)]
        {
            let state = state(Hyperparameters { tempo, activity_cutoff, ..Default::default() });
            let factor = items::ACTIVITY_CUTOFF_FACTOR_MILLI.read(&state, &(1,));
            assert_eq!(factor, wanted);
            let blocks = u64::from(factor) * u64::from(tempo) / 1_000;
            assert!(blocks >= activity_cutoff.min(u64::from(u16::MAX)), "{tempo}");
        }
    }

    #[test]
    fn what_the_ledger_does_not_have_reads_as_nothing() {
        let state = state(Hyperparameters::default());
        let key = (1,);
        assert!(items::OWNER_CUT_ENABLED.read(&state, &key));
        assert_eq!(items::IMMUNE_OWNER_UIDS_LIMIT.read(&state, &key), 1);
        for absent in [
            items::RHO.key(&key),
            items::SERVING_RATE_LIMIT.key(&key),
            items::BURN_INCREASE_MULT.key(&key),
            items::BURN_HALF_LIFE.key(&key),
            items::COLLATERAL_DRAIN_RATIO.key(&key),
        ] {
            assert_eq!(state.get(&absent), None);
        }
        assert_eq!(state.keys(&items::LOCK.prefix()), Vec::<Vec<u8>>::new());
        assert_eq!(state.keys(&items::IDENTITIES.prefix()), Vec::<Vec<u8>>::new());
    }
}
