//! Calls of the runtime, by pallet; names and arguments are those of Bittensor's.

mod admin;
mod data;

pub use admin::AdminUtilsCall;
pub(crate) use admin::on_chain;
pub use data::{CommitmentInfo, Data};

use super::primitives::{AccountId32, Address, H256};
use chain::{Call, CallError};
use parity_scale_codec::{Decode, Encode};
use protocol::{NetUid, Uid};
use scale_info::TypeInfo;

/// Any call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeCall {
    /// Of the system.
    #[codec(index = 0)]
    System(SystemCall),
    /// Of money.
    #[codec(index = 5)]
    Balances(BalancesCall),
    /// Of subnets.
    #[codec(index = 7)]
    SubtensorModule(SubtensorCall),
    /// Of commitments.
    #[codec(index = 18)]
    Commitments(CommitmentsCall),
    /// Of owners of subnets.
    #[codec(index = 19)]
    AdminUtils(AdminUtilsCall),
}

/// Calls of the pallet System.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SystemCall {
    /// Does nothing, but stands in a block.
    #[codec(index = 0)]
    remark {
        /// Any bytes.
        remark: Vec<u8>,
    },
}

/// Calls of the pallet Balances.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum BalancesCall {
    /// Moves balance to another account.
    #[codec(index = 0)]
    transfer_allow_death {
        /// Receiver.
        dest: Address,
        /// Amount in rao.
        #[codec(compact)]
        value: u64,
    },
    /// Moves all balance to another account.
    #[codec(index = 4)]
    transfer_all {
        /// Receiver.
        dest: Address,
        /// Whether to keep the account alive; accounts do not die here.
        keep_alive: bool,
    },
    /// The same as `transfer_allow_death`; accounts do not die here.
    #[codec(index = 3)]
    transfer_keep_alive {
        /// Receiver.
        dest: Address,
        /// Amount in rao.
        #[codec(compact)]
        value: u64,
    },
}

/// Calls of the pallet SubtensorModule.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SubtensorCall {
    /// Sets the weights of the signing hotkey.
    #[codec(index = 0)]
    set_weights {
        /// Subnet.
        netuid: u16,
        /// Miners.
        dests: Vec<u16>,
        /// Their weights, same order.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Moves balance of the signing coldkey into stake.
    #[codec(index = 2)]
    add_stake {
        /// Key that gets the stake.
        hotkey: AccountId32,
        /// Subnet, or 0 for the root network; stake counts on all of them here.
        netuid: u16,
        /// Amount in rao.
        amount_staked: u64,
    },
    /// Takes stake back into balance.
    #[codec(index = 3)]
    remove_stake {
        /// Key that loses the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_unstaked: u64,
    },
    /// Buys a slot.
    #[codec(index = 7)]
    burned_register {
        /// Subnet.
        netuid: u16,
        /// Key that gets the slot.
        hotkey: AccountId32,
    },
    /// Opens a subnet.
    #[codec(index = 59)]
    register_network {
        /// Key that gets its first slot.
        hotkey: AccountId32,
    },
    /// Lets another hotkey take the place of one, on one subnet or on all.
    #[codec(index = 70)]
    swap_hotkey {
        /// Key that loses its slots.
        hotkey: AccountId32,
        /// Key that gets them.
        new_hotkey: AccountId32,
        /// Subnet, or nothing for all of them and the stake as well.
        netuid: Option<u16>,
    },
    /// Takes all stake of the signing coldkey behind a hotkey back into balance.
    #[codec(index = 83)]
    unstake_all {
        /// Key that loses the stake.
        hotkey: AccountId32,
    },
    /// The same as `add_stake`, at no worse a price than named; there is one price here.
    #[codec(index = 88)]
    add_stake_limit {
        /// Key that gets the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_staked: u64,
        /// Highest price, in rao.
        limit_price: u64,
        /// Whether a part may be staked where all is not to be had at this price.
        allow_partial: bool,
    },
    /// The same as `remove_stake`, at no worse a price than named; there is one price here.
    #[codec(index = 89)]
    remove_stake_limit {
        /// Key that loses the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_unstaked: u64,
        /// Lowest price, in rao.
        limit_price: u64,
        /// Whether a part may be taken where all is not to be had at this price.
        allow_partial: bool,
    },
    /// Commits to weights by their hash.
    #[codec(index = 96)]
    commit_weights {
        /// Subnet.
        netuid: u16,
        /// Hash of the weights and a salt.
        commit_hash: H256,
    },
    /// Reveals weights that were committed to.
    #[codec(index = 97)]
    reveal_weights {
        /// Subnet.
        netuid: u16,
        /// Miners.
        uids: Vec<u16>,
        /// Their weights, same order.
        values: Vec<u16>,
        /// The salt of the commit.
        salt: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Buys a slot at no higher a price than named.
    #[codec(index = 134)]
    register_limit {
        /// Subnet.
        netuid: u16,
        /// Key that gets the slot.
        hotkey: AccountId32,
        /// Highest price, in rao.
        limit_price: u64,
    },
    /// Sets weights of one mechanism; a subnet has one here, number 0.
    #[codec(index = 119)]
    set_mechanism_weights {
        /// Subnet.
        netuid: u16,
        /// Number of the mechanism.
        mecid: u8,
        /// Miners.
        dests: Vec<u16>,
        /// Their weights, same order.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
}

/// Calls of the pallet Commitments.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum CommitmentsCall {
    /// Publishes bytes under the signing hotkey.
    #[codec(index = 0)]
    set_commitment {
        /// Subnet.
        netuid: u16,
        /// What to publish.
        info: CommitmentInfo,
    },
}

impl From<Call> for RuntimeCall {
    fn from(call: Call) -> Self {
        let plain = |uids: Vec<Uid>| uids.into_iter().map(|uid| uid.0).collect::<Vec<u16>>();
        let subtensor = match call {
            Call::Remark { data } => return Self::System(SystemCall::remark { remark: data }),
            Call::Transfer { to, amount_rao } => {
                let dest = Address::Id(to.into());
                return Self::Balances(BalancesCall::transfer_keep_alive {
                    dest,
                    value: amount_rao,
                });
            }
            Call::TransferAll { to } => {
                let dest = Address::Id(to.into());
                return Self::Balances(BalancesCall::transfer_all { dest, keep_alive: false });
            }
            Call::SetCommitment { netuid, data } => {
                let info = CommitmentInfo { fields: vec![Data::of(data)] };
                let call = CommitmentsCall::set_commitment { netuid: netuid.0, info };
                return Self::Commitments(call);
            }
            Call::SetHyperparameter { netuid, change } => {
                return Self::AdminUtils(AdminUtilsCall::of(netuid, change));
            }
            Call::BurnedRegister { netuid, hotkey } => {
                SubtensorCall::burned_register { netuid: netuid.0, hotkey: hotkey.into() }
            }
            Call::RegisterLimit { netuid, hotkey, limit_rao } => SubtensorCall::register_limit {
                netuid: netuid.0,
                hotkey: hotkey.into(),
                limit_price: limit_rao,
            },
            Call::UnstakeAll { hotkey } => SubtensorCall::unstake_all { hotkey: hotkey.into() },
            Call::SwapHotkey { hotkey, new_hotkey, netuid } => SubtensorCall::swap_hotkey {
                hotkey: hotkey.into(),
                new_hotkey: new_hotkey.into(),
                netuid: netuid.map(|netuid| netuid.0),
            },
            Call::AddStake { hotkey, netuid, amount_rao } => SubtensorCall::add_stake {
                hotkey: hotkey.into(),
                netuid: netuid.0,
                amount_staked: amount_rao,
            },
            Call::RemoveStake { hotkey, netuid, amount_rao } => SubtensorCall::remove_stake {
                hotkey: hotkey.into(),
                netuid: netuid.0,
                amount_unstaked: amount_rao,
            },
            Call::RegisterNetwork { hotkey } => {
                SubtensorCall::register_network { hotkey: hotkey.into() }
            }
            Call::SetWeights { netuid, uids, weights, version_key } => SubtensorCall::set_weights {
                netuid: netuid.0,
                dests: plain(uids),
                weights,
                version_key,
            },
            Call::CommitWeights { netuid, hash } => {
                SubtensorCall::commit_weights { netuid: netuid.0, commit_hash: H256(hash) }
            }
            Call::RevealWeights { netuid, uids, weights, salt, version_key } => {
                SubtensorCall::reveal_weights {
                    netuid: netuid.0,
                    uids: plain(uids),
                    values: weights,
                    salt,
                    version_key,
                }
            }
        };
        Self::SubtensorModule(subtensor)
    }
}

impl TryFrom<RuntimeCall> for Call {
    type Error = CallError;

    /// What the ledger is to do; refused where Bittensor has something that is not here.
    fn try_from(call: RuntimeCall) -> Result<Self, CallError> {
        match call {
            RuntimeCall::System(SystemCall::remark { remark }) => Ok(Self::Remark { data: remark }),
            RuntimeCall::Balances(
                BalancesCall::transfer_allow_death { dest, value }
                | BalancesCall::transfer_keep_alive { dest, value },
            ) => match dest {
                Address::Id(to) => Ok(Self::Transfer { to: to.into(), amount_rao: value }),
                _ => Err(CallError::Other("CannotLookup".to_owned())),
            },
            RuntimeCall::Balances(BalancesCall::transfer_all { dest, .. }) => match dest {
                Address::Id(to) => Ok(Self::TransferAll { to: to.into() }),
                _ => Err(CallError::Other("CannotLookup".to_owned())),
            },
            RuntimeCall::SubtensorModule(call) => call.try_into(),
            RuntimeCall::Commitments(CommitmentsCall::set_commitment { netuid, info }) => {
                let mut fields = info.fields.into_iter();
                match (fields.next(), fields.next()) {
                    (Some(Data::Raw(data) | Data::BigRaw(data)), None) => {
                        Ok(Self::SetCommitment { netuid: NetUid(netuid), data })
                    }
                    (None | Some(Data::None), None) => {
                        Ok(Self::SetCommitment { netuid: NetUid(netuid), data: Vec::new() })
                    }
                    _ => Err(CallError::Other("TooManyFieldsInCommitmentInfo".to_owned())),
                }
            }
            RuntimeCall::AdminUtils(call) => Ok(call.into()),
        }
    }
}

impl TryFrom<SubtensorCall> for Call {
    type Error = CallError;

    fn try_from(call: SubtensorCall) -> Result<Self, CallError> {
        let named = |uids: Vec<u16>| uids.into_iter().map(Uid).collect::<Vec<Uid>>();
        Ok(match call {
            SubtensorCall::set_weights { netuid, dests, weights, version_key }
            | SubtensorCall::set_mechanism_weights {
                netuid,
                mecid: 0,
                dests,
                weights,
                version_key,
            } => Self::SetWeights {
                netuid: NetUid(netuid),
                uids: named(dests),
                weights,
                version_key,
            },
            SubtensorCall::set_mechanism_weights { .. } => {
                return Err(CallError::Other("MechanismDoesNotExist".to_owned()));
            }
            SubtensorCall::add_stake { hotkey, netuid, amount_staked }
            | SubtensorCall::add_stake_limit { hotkey, netuid, amount_staked, .. } => {
                Self::AddStake {
                    hotkey: hotkey.into(),
                    netuid: NetUid(netuid),
                    amount_rao: amount_staked,
                }
            }
            SubtensorCall::remove_stake { hotkey, netuid, amount_unstaked }
            | SubtensorCall::remove_stake_limit { hotkey, netuid, amount_unstaked, .. } => {
                Self::RemoveStake {
                    hotkey: hotkey.into(),
                    netuid: NetUid(netuid),
                    amount_rao: amount_unstaked,
                }
            }
            SubtensorCall::burned_register { netuid, hotkey } => {
                Self::BurnedRegister { netuid: NetUid(netuid), hotkey: hotkey.into() }
            }
            SubtensorCall::unstake_all { hotkey } => Self::UnstakeAll { hotkey: hotkey.into() },
            SubtensorCall::swap_hotkey { hotkey, new_hotkey, netuid } => Self::SwapHotkey {
                hotkey: hotkey.into(),
                new_hotkey: new_hotkey.into(),
                netuid: netuid.map(NetUid),
            },
            SubtensorCall::register_limit { netuid, hotkey, limit_price } => Self::RegisterLimit {
                netuid: NetUid(netuid),
                hotkey: hotkey.into(),
                limit_rao: limit_price,
            },
            SubtensorCall::register_network { hotkey } => {
                Self::RegisterNetwork { hotkey: hotkey.into() }
            }
            SubtensorCall::commit_weights { netuid, commit_hash } => {
                Self::CommitWeights { netuid: NetUid(netuid), hash: commit_hash.0 }
            }
            SubtensorCall::reveal_weights { netuid, uids, values, salt, version_key } => {
                Self::RevealWeights {
                    netuid: NetUid(netuid),
                    uids: named(uids),
                    weights: values,
                    salt,
                    version_key,
                }
            }
        })
    }
}
