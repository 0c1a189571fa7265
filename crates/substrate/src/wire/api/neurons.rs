//! Slots of a subnet one by one, in the shape of Bittensor's runtime.

use super::{
    Method,
    metagraph::{self, AxonInfo},
};
use crate::wire::{
    primitives::AccountId32,
    storage::{State, items},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{TypeInfo, meta_type};

/// A slot without its weights and bonds. Money is in rao, shares are of 65,535.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct NeuronInfoLite {
    hotkey: AccountId32,
    coldkey: AccountId32,
    uid: Compact<u16>,
    netuid: Compact<u16>,
    active: bool,
    axon_info: AxonInfo,
    prometheus_info: PrometheusInfo,
    stake: Vec<(AccountId32, Compact<u64>)>,
    rank: Compact<u16>,
    emission: Compact<u64>,
    incentive: Compact<u16>,
    consensus: Compact<u16>,
    trust: Compact<u16>,
    validator_trust: Compact<u16>,
    dividends: Compact<u16>,
    last_update: Compact<u64>,
    validator_permit: bool,
    pruning_score: Compact<u16>,
}

/// Where metrics of a neuron are served; nobody serves here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct PrometheusInfo {
    block: u64,
    version: u32,
    ip: u128,
    port: u16,
    ip_type: u8,
}

pub(super) fn methods() -> Vec<Method> {
    vec![
        Method {
            api: "NeuronInfoRuntimeApi",
            name: "get_neurons_lite",
            doc: "All slots of a subnet, without weights and bonds.",
            inputs: vec![("netuid", meta_type::<u16>())],
            output: meta_type::<Vec<NeuronInfoLite>>(),
            answer: |arguments, state| Ok(neurons(u16::decode(arguments)?, state).encode()),
        },
        Method {
            api: "NeuronInfoRuntimeApi",
            name: "get_neuron_lite",
            doc: "One slot of a subnet, if it is taken.",
            inputs: vec![("netuid", meta_type::<u16>()), ("uid", meta_type::<u16>())],
            output: meta_type::<Option<NeuronInfoLite>>(),
            answer: |arguments, state| {
                let (netuid, uid) = <(u16, u16)>::decode(arguments)?;
                let neuron = neurons(netuid, state).into_iter().nth(uid.into());
                Ok(neuron.encode())
            },
        },
    ]
}

fn neurons(netuid: u16, state: &dyn State) -> Vec<NeuronInfoLite> {
    let Some(metagraph) = metagraph::metagraph(netuid, state) else { return Vec::new() };
    let validator_trust = items::VALIDATOR_TRUST.read(state, &(netuid,));
    let at = |list: &[Compact<u16>], i: usize| list.get(i).copied().unwrap_or(Compact(0));
    let neuron = |(i, (hotkey, coldkey)): (usize, (&AccountId32, &AccountId32))| NeuronInfoLite {
        hotkey: *hotkey,
        coldkey: *coldkey,
        uid: Compact(i as u16),
        netuid: Compact(netuid),
        active: metagraph.active.get(i).copied().unwrap_or(false),
        axon_info: AxonInfo::default(),
        prometheus_info: PrometheusInfo::default(),
        stake: metagraph.total_stake.get(i).map(|stake| (*coldkey, *stake)).into_iter().collect(),
        rank: Compact(0),
        emission: metagraph.emission.get(i).copied().unwrap_or(Compact(0)),
        incentive: at(&metagraph.incentives, i),
        consensus: at(&metagraph.consensus, i),
        trust: Compact(0),
        validator_trust: Compact(validator_trust.get(i).copied().unwrap_or(0)),
        dividends: at(&metagraph.dividends, i),
        last_update: metagraph.last_update.get(i).copied().unwrap_or(Compact(0)),
        validator_permit: metagraph.validator_permit.get(i).copied().unwrap_or(false),
        pruning_score: at(&metagraph.pruning_score, i),
    };
    metagraph.hotkeys.iter().zip(&metagraph.coldkeys).enumerate().map(neuron).collect()
}
