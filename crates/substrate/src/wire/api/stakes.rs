//! Who staked what behind whom.

use super::Method;
use crate::wire::{
    primitives::AccountId32,
    storage::{State, items},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{TypeInfo, meta_type};
use std::collections::{BTreeMap, BTreeSet};

/// Number of the root network: stake is plain TAO here and counts on every subnet.
pub(super) const ROOT: u16 = 0;

/// Stake of a coldkey behind a hotkey, in rao.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct StakeInfo {
    hotkey: AccountId32,
    coldkey: AccountId32,
    netuid: Compact<u16>,
    stake: Compact<u64>,
    locked: Compact<u64>,
    emission: Compact<u64>,
    tao_emission: Compact<u64>,
    drain: Compact<u64>,
    is_registered: bool,
}

pub(super) fn methods() -> Vec<Method> {
    let account = meta_type::<AccountId32>;
    vec![
        Method {
            api: "StakeInfoRuntimeApi",
            name: "get_stake_info_for_coldkey",
            doc: "All stake of a coldkey.",
            inputs: vec![("coldkey_account", account())],
            output: meta_type::<Vec<StakeInfo>>(),
            answer: |arguments, state| {
                let coldkey = AccountId32::decode(arguments)?;
                Ok(of_coldkey(coldkey, &staked_rows(state), state).encode())
            },
        },
        Method {
            api: "StakeInfoRuntimeApi",
            name: "get_stake_info_for_coldkeys",
            doc: "All stake of some coldkeys.",
            inputs: vec![("coldkey_accounts", meta_type::<Vec<AccountId32>>())],
            output: meta_type::<Vec<(AccountId32, Vec<StakeInfo>)>>(),
            answer: |arguments, state| {
                let (coldkeys, rows) = (Vec::<AccountId32>::decode(arguments)?, staked_rows(state));
                let stakes = |coldkey: AccountId32| (coldkey, of_coldkey(coldkey, &rows, state));
                // Each once, however often it is named.
                let mut seen = BTreeSet::new();
                let coldkeys = coldkeys.into_iter().filter(|coldkey| seen.insert(coldkey.0));
                Ok(coldkeys.into_iter().take(COLDKEYS_MAX).map(stakes).collect::<Vec<_>>().encode())
            },
        },
        Method {
            api: "StakeInfoRuntimeApi",
            name: "get_stake_info_for_hotkey_coldkey_netuid",
            doc: "Stake of a coldkey behind a hotkey, which counts on every subnet that is there.",
            inputs: vec![
                ("hotkey_account", account()),
                ("coldkey_account", account()),
                ("netuid", meta_type::<u16>()),
            ],
            output: meta_type::<Option<StakeInfo>>(),
            answer: |arguments, state| {
                let (hotkey, coldkey, netuid) =
                    <(AccountId32, AccountId32, u16)>::decode(arguments)?;
                let is_there = netuid == ROOT || items::NETWORKS_ADDED.read(state, &(netuid,));
                let info = is_there.then(|| StakeInfo {
                    netuid: Compact(netuid),
                    ..stake_info(hotkey, coldkey, state)
                });
                Ok(info.encode())
            },
        },
        Method {
            api: "StakeInfoRuntimeApi",
            name: "get_stake_availability_for_coldkeys",
            doc: "How much of the stake of some coldkeys can be taken back: all of it.",
            inputs: vec![
                ("coldkey_accounts", meta_type::<Vec<AccountId32>>()),
                ("netuids", meta_type::<Option<Vec<u16>>>()),
            ],
            output: meta_type::<Available>(),
            answer: |arguments, state| {
                let (coldkeys, netuids) =
                    <(Vec<AccountId32>, Option<Vec<u16>>)>::decode(arguments)?;
                Ok(available(coldkeys, netuids.as_deref(), state).encode())
            },
        },
    ]
}

/// Of the stake of a coldkey on a subnet, in rao, what is held and what can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
struct StakeAvailability {
    total: Compact<u64>,
    locked: Compact<u64>,
    available: Compact<u64>,
}

/// By coldkey and subnet.
type Available = BTreeMap<AccountId32, BTreeMap<u16, StakeAvailability>>;

/// All stake is told on the root network, as by the other methods, and none is held.
fn available(coldkeys: Vec<AccountId32>, netuids: Option<&[u16]>, state: &dyn State) -> Available {
    let rows = staked_rows(state);
    let is_asked_for = netuids.is_none_or(|netuids| netuids.contains(&ROOT));
    let of = |coldkey: AccountId32| {
        let own = rows.iter().filter(|(_, owner)| *owner == coldkey);
        let stakes = own.map(|(hotkey, _)| items::STAKE.read(state, &(*hotkey, coldkey)));
        let total = Compact(stakes.fold(0, u64::saturating_add));
        let all = StakeAvailability { total, locked: Compact(0), available: total };
        let rows = (is_asked_for && total.0 > 0).then_some((ROOT, all));
        (coldkey, rows.into_iter().collect())
    };
    coldkeys.into_iter().take(COLDKEYS_MAX).map(of).collect()
}

/// Most coldkeys that are answered for at once.
const COLDKEYS_MAX: usize = 256;

/// Hotkey and coldkey of each entry of `Stake`, whose keys end with them: hash of 16 bytes and
/// hotkey, then the coldkey as it is.
pub(super) fn staked_rows(state: &dyn State) -> Vec<(AccountId32, AccountId32)> {
    let prefix = items::STAKE.prefix();
    let row = |key: Vec<u8>| {
        let mut rest = key.get(prefix.len() + 16..)?;
        <(AccountId32, AccountId32)>::decode(&mut rest).ok()
    };
    state.keys(&prefix).into_iter().filter_map(row).collect()
}

fn of_coldkey(
    coldkey: AccountId32,
    rows: &[(AccountId32, AccountId32)],
    state: &dyn State,
) -> Vec<StakeInfo> {
    let own = rows.iter().filter(|(_, owner)| *owner == coldkey);
    own.map(|(hotkey, _)| stake_info(*hotkey, coldkey, state)).collect()
}

/// Subnets on which a hotkey has a slot.
pub(super) fn memberships(hotkey: AccountId32, state: &dyn State) -> Vec<u16> {
    // Without the number of the subnet, a key is what those of all subnets begin with.
    let mut member = items::IS_NETWORK_MEMBER.key(&(hotkey, 0));
    member.truncate(member.len() - 2);
    let netuid = |key: Vec<u8>| u16::decode(&mut key.get(member.len()..)?).ok();
    state.keys(&member).into_iter().filter_map(netuid).collect()
}

fn stake_info(hotkey: AccountId32, coldkey: AccountId32, state: &dyn State) -> StakeInfo {
    let is_registered = !memberships(hotkey, state).is_empty();
    StakeInfo {
        hotkey,
        coldkey,
        netuid: Compact(ROOT),
        stake: Compact(items::STAKE.read(state, &(hotkey, coldkey))),
        locked: Compact(0),
        emission: Compact(0),
        tao_emission: Compact(0),
        drain: Compact(0),
        is_registered,
    }
}
