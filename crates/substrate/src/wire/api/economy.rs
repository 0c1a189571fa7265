//! APIs of Bittensor's economy: prices, costs and times that clients look up before they sign.

use super::Method;
use crate::wire::storage::{State, items};
use parity_scale_codec::{Decode, Encode};
use scale_info::{TypeInfo, meta_type};

/// Price of a subnet's own token in rao: it is TAO itself here.
const ALPHA_PRICE_RAO: u64 = 1_000_000_000;

/// Price of the token of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct SubnetPrice {
    netuid: u16,
    price: u64,
}

pub(super) fn methods() -> Vec<Method> {
    vec![
        Method {
            api: "SwapRuntimeApi",
            name: "current_alpha_price",
            doc: "Price of the token of a subnet, in rao.",
            inputs: vec![("netuid", meta_type::<u16>())],
            output: meta_type::<u64>(),
            answer: |arguments, _| {
                u16::decode(arguments)?;
                Ok(ALPHA_PRICE_RAO.encode())
            },
        },
        Method {
            api: "SwapRuntimeApi",
            name: "current_alpha_price_all",
            doc: "Prices of the tokens of all subnets, in rao.",
            inputs: Vec::new(),
            output: meta_type::<Vec<SubnetPrice>>(),
            answer: |_, state| {
                let price = |netuid| SubnetPrice { netuid, price: ALPHA_PRICE_RAO };
                Ok(open_subnets(state).map(price).collect::<Vec<_>>().encode())
            },
        },
        Method {
            api: "SubnetRegistrationRuntimeApi",
            name: "get_network_registration_cost",
            doc: "What opening a subnet costs, in rao.",
            inputs: Vec::new(),
            output: meta_type::<u64>(),
            answer: |_, state| Ok(items::NETWORK_MIN_LOCK_COST.read(state, &()).encode()),
        },
        Method {
            api: "SubnetInfoRuntimeApi",
            name: "get_next_epoch_start_block",
            doc: "Block of the next epoch of a subnet, if it is there.",
            inputs: vec![("netuid", meta_type::<u16>())],
            output: meta_type::<Option<u64>>(),
            answer: |arguments, state| Ok(next_epoch(u16::decode(arguments)?, state).encode()),
        },
    ]
}

/// The subnets that are there; numbers are given from 1 on and never taken back.
fn open_subnets(state: &dyn State) -> impl Iterator<Item = u16> {
    1..items::TOTAL_NETWORKS.read(state, &())
}

/// The block of the next epoch: a tempo after the last.
fn next_epoch(netuid: u16, state: &dyn State) -> Option<u64> {
    if !items::NETWORKS_ADDED.read(state, &(netuid,)) {
        return None;
    }
    let tempo = u64::from(items::TEMPO.read(state, &(netuid,)));
    let now = u64::from(items::NUMBER.read(state, &()));
    Some((items::LAST_EPOCH_BLOCK.read(state, &(netuid,)) + tempo).max(now + 1))
}
