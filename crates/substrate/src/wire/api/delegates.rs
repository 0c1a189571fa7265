//! Hotkeys that others may stake behind, which all are here, in the shape of Bittensor's runtime.

use super::{Method, stakes};
use crate::wire::{
    primitives::AccountId32,
    storage::{State, items},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{TypeInfo, meta_type};

/// Stakes of one coldkey: subnet and rao.
type Nominations = Vec<(Compact<u16>, Compact<u64>)>;

/// A hotkey with those who stake behind it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct DelegateInfo {
    delegate_ss58: AccountId32,
    take: Compact<u16>,
    nominators: Vec<(AccountId32, Nominations)>,
    owner_ss58: AccountId32,
    registrations: Vec<Compact<u16>>,
    validator_permits: Vec<Compact<u16>>,
    return_per_1000: Compact<u64>,
    total_daily_return: Compact<u64>,
}

/// Part of what stakers earn that the owner of a hotkey takes, as the ledger has it.
const TAKE: u16 = 11_796;

pub(super) fn methods() -> Vec<Method> {
    vec![Method {
        api: "DelegateInfoRuntimeApi",
        name: "get_delegates",
        doc: "All hotkeys that somebody stakes behind.",
        inputs: Vec::new(),
        output: meta_type::<Vec<DelegateInfo>>(),
        answer: |_, state| Ok(delegates(state).encode()),
    }]
}

fn delegates(state: &dyn State) -> Vec<DelegateInfo> {
    let mut found: Vec<DelegateInfo> = Vec::new();
    // Rows come hotkey by hotkey, because the keys of the map begin with it.
    for (hotkey, coldkey) in stakes::staked_rows(state) {
        let rao = items::STAKE.read(state, &(hotkey, coldkey));
        let nomination = (coldkey, vec![(Compact(stakes::ROOT), Compact(rao))]);
        match found.last_mut().filter(|last| last.delegate_ss58 == hotkey) {
            Some(last) => last.nominators.push(nomination),
            None => found.push(delegate(hotkey, nomination, state)),
        }
    }
    found
}

fn delegate(
    hotkey: AccountId32,
    first: (AccountId32, Nominations),
    state: &dyn State,
) -> DelegateInfo {
    let mut info = DelegateInfo {
        delegate_ss58: hotkey,
        take: Compact(TAKE),
        nominators: vec![first],
        owner_ss58: items::OWNER.read(state, &(hotkey,)),
        registrations: Vec::new(),
        validator_permits: Vec::new(),
        return_per_1000: Compact(0),
        total_daily_return: Compact(0),
    };
    for netuid in stakes::memberships(hotkey, state) {
        let key = items::UIDS.key(&(netuid, hotkey));
        let uid = state.get(&key).and_then(|bytes| u16::decode(&mut &bytes[..]).ok());
        let Some(uid) = uid else { continue };
        info.registrations.push(Compact(netuid));
        let permits = items::VALIDATOR_PERMIT.read(state, &(netuid,));
        if permits.get(usize::from(uid)).copied().unwrap_or(false) {
            info.validator_permits.push(Compact(netuid));
        }
    }
    info
}
