//! Events of the runtime, by pallet; names and fields are those of Bittensor's.

use super::{
    error,
    primitives::{AccountId32, DispatchError, DispatchInfo, EventRecord, H256, Phase},
};
use chain::{CallError, ledger::Event};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// An event as it stands in `System.Events`.
pub type Record = EventRecord<RuntimeEvent, H256>;

/// Any event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeEvent {
    /// Of the system.
    #[codec(index = 0)]
    System(SystemEvent),
    /// Of money.
    #[codec(index = 5)]
    Balances(BalancesEvent),
    /// Of subnets.
    #[codec(index = 7)]
    SubtensorModule(SubtensorEvent),
    /// Of commitments.
    #[codec(index = 18)]
    Commitments(CommitmentsEvent),
}

/// Events of the pallet System.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SystemEvent {
    /// A call took effect.
    #[codec(index = 0)]
    ExtrinsicSuccess {
        /// What it cost.
        dispatch_info: DispatchInfo,
    },
    /// A call was refused.
    #[codec(index = 1)]
    ExtrinsicFailed {
        /// Why.
        dispatch_error: DispatchError,
        /// What it cost.
        dispatch_info: DispatchInfo,
    },
}

/// Events of the pallet Balances.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum BalancesEvent {
    /// Money moved.
    #[codec(index = 2)]
    Transfer {
        /// Payer.
        from: AccountId32,
        /// Receiver.
        to: AccountId32,
        /// Amount in rao.
        amount: u64,
    },
}

/// Events of the pallet SubtensorModule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SubtensorEvent {
    /// A subnet was opened: number, kind.
    #[codec(index = 0)]
    NetworkAdded(u16, u16),
    /// Balance became stake: coldkey, hotkey, rao, stake in the subnet's own unit, subnet, fee.
    #[codec(index = 2)]
    StakeAdded(AccountId32, AccountId32, u64, u64, u16, u64),
    /// Stake became balance: coldkey, hotkey, rao, stake in the subnet's own unit, subnet, fee.
    #[codec(index = 3)]
    StakeRemoved(AccountId32, AccountId32, u64, u64, u16, u64),
    /// A validator set its weights: subnet, uid.
    #[codec(index = 5)]
    WeightsSet(u16, u16),
    /// A hotkey got a slot: subnet, uid, hotkey.
    #[codec(index = 7)]
    NeuronRegistered(u16, u16, AccountId32),
    /// An owner said what a subnet is.
    #[codec(index = 79)]
    SubnetIdentitySet(u16),
    /// A validator committed to weights: hotkey, subnet, hash.
    #[codec(index = 86)]
    WeightsCommitted(AccountId32, u16, H256),
    /// A validator revealed weights: hotkey, subnet, hash.
    #[codec(index = 87)]
    WeightsRevealed(AccountId32, u16, H256),
    /// A validator committed to weights that a pulse opens: hotkey, subnet, hash, round.
    #[codec(index = 108)]
    TimelockedWeightsCommitted(AccountId32, u16, H256, u64),
    /// The chain opened weights and set them: subnet, hotkey.
    #[codec(index = 109)]
    TimelockedWeightsRevealed(u16, AccountId32),
}

/// Events of the pallet Commitments.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum CommitmentsEvent {
    /// A hotkey published.
    #[codec(index = 0)]
    Commitment {
        /// Subnet.
        netuid: u16,
        /// Who.
        who: AccountId32,
    },
}

/// The events of a block: what its start revealed, then what became of its calls, in order.
pub fn records<'a>(
    start: &[Event],
    results: impl Iterator<Item = &'a Result<Event, CallError>>,
) -> Vec<Record> {
    let record = |phase: Phase| move |event| EventRecord { phase, event, topics: Vec::new() };
    let start = start.iter().filter_map(runtime_event).map(record(Phase::Initialization));
    let of_call = |(number, result): (u32, &Result<Event, CallError>)| {
        let effect = result.as_ref().ok().and_then(runtime_event);
        let fate = RuntimeEvent::System(fate(result));
        effect.into_iter().chain([fate]).map(record(Phase::ApplyExtrinsic(number)))
    };
    start.chain((0..).zip(results).flat_map(of_call)).collect()
}

fn fate(result: &Result<Event, CallError>) -> SystemEvent {
    let dispatch_info = DispatchInfo::FREE;
    match result {
        Ok(_) => SystemEvent::ExtrinsicSuccess { dispatch_info },
        Err(error) => SystemEvent::ExtrinsicFailed {
            dispatch_error: error::dispatch_error(error),
            dispatch_info,
        },
    }
}

fn runtime_event(event: &Event) -> Option<RuntimeEvent> {
    let subtensor = match event {
        Event::Remarked { .. } | Event::HyperparameterSet { .. } | Event::HotkeySwapped { .. } => {
            return None;
        }
        Event::Transferred { from, to, amount_rao } => {
            let (from, to) = ((*from).into(), (*to).into());
            return Some(RuntimeEvent::Balances(BalancesEvent::Transfer {
                from,
                to,
                amount: *amount_rao,
            }));
        }
        Event::Committed { netuid, hotkey } => {
            let who = (*hotkey).into();
            return Some(RuntimeEvent::Commitments(CommitmentsEvent::Commitment {
                netuid: netuid.0,
                who,
            }));
        }
        Event::NetworkAdded { netuid } => SubtensorEvent::NetworkAdded(netuid.0, 0),
        Event::NeuronRegistered { netuid, uid, hotkey } => {
            SubtensorEvent::NeuronRegistered(netuid.0, uid.0, (*hotkey).into())
        }
        Event::StakeAdded { coldkey, hotkey, netuid, amount_rao } => {
            let (coldkey, hotkey) = ((*coldkey).into(), (*hotkey).into());
            SubtensorEvent::StakeAdded(coldkey, hotkey, *amount_rao, *amount_rao, netuid.0, 0)
        }
        Event::StakeRemoved { coldkey, hotkey, netuid, amount_rao } => {
            let (coldkey, hotkey) = ((*coldkey).into(), (*hotkey).into());
            SubtensorEvent::StakeRemoved(coldkey, hotkey, *amount_rao, *amount_rao, netuid.0, 0)
        }
        Event::SubnetIdentitySet { netuid } => SubtensorEvent::SubnetIdentitySet(netuid.0),
        Event::WeightsSet { netuid, uid } => SubtensorEvent::WeightsSet(netuid.0, uid.0),
        Event::WeightsCommitted { hotkey, netuid, hash } => {
            SubtensorEvent::WeightsCommitted((*hotkey).into(), netuid.0, H256(*hash))
        }
        Event::TimelockedCommitted { hotkey, netuid, hash, round } => {
            let (hotkey, hash) = ((*hotkey).into(), H256(*hash));
            SubtensorEvent::TimelockedWeightsCommitted(hotkey, netuid.0, hash, *round)
        }
        Event::TimelockedRevealed { hotkey, netuid } => {
            SubtensorEvent::TimelockedWeightsRevealed(netuid.0, (*hotkey).into())
        }
        Event::WeightsRevealed { hotkey, netuid, hash } => {
            SubtensorEvent::WeightsRevealed((*hotkey).into(), netuid.0, H256(*hash))
        }
    };
    Some(RuntimeEvent::SubtensorModule(subtensor))
}

#[cfg(test)]
mod tests;
