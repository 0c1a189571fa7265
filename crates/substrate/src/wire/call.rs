//! Calls of the runtime, by pallet; names and arguments are those of Bittensor's.

mod admin;
mod convert;
mod data;

pub use admin::AdminUtilsCall;
pub(crate) use admin::on_chain;
pub use data::{CommitmentInfo, Data};

use super::primitives::{AccountId32, Address, H256};
use chain::ledger::SEALED_BYTES_MAX;
use parity_scale_codec::{self as codec, Decode, Encode, Input};
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
    /// Says what a subnet is.
    #[codec(index = 78)]
    set_subnet_identity {
        /// Subnet.
        netuid: u16,
        /// Its name.
        subnet_name: Vec<u8>,
        /// Where its code is.
        github_repo: Vec<u8>,
        /// Whom to write to.
        subnet_contact: Vec<u8>,
        /// Its page.
        subnet_url: Vec<u8>,
        /// Where its people talk.
        discord: Vec<u8>,
        /// What it is for.
        description: Vec<u8>,
        /// Address of its logo.
        logo_url: Vec<u8>,
        /// Anything else.
        additional: Vec<u8>,
    },
    /// Starts a subnet; here all are started as they are opened.
    #[codec(index = 92)]
    start_call {
        /// Subnet.
        netuid: u16,
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
    /// Commits to weights that a pulse of the beacon opens.
    #[codec(index = 113)]
    commit_timelocked_weights {
        /// Subnet.
        netuid: u16,
        /// The weights, encrypted.
        commit: SealedBytes,
        /// Round of the beacon.
        reveal_round: u64,
        /// Version of the scheme.
        commit_reveal_version: u16,
    },
    /// The same for one mechanism; a subnet has one here, number 0.
    #[codec(index = 118)]
    commit_timelocked_mechanism_weights {
        /// Subnet.
        netuid: u16,
        /// Number of the mechanism.
        mecid: u8,
        /// The weights, encrypted.
        commit: SealedBytes,
        /// Round of the beacon.
        reveal_round: u64,
        /// Version of the scheme.
        commit_reveal_version: u16,
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

/// Encrypted weights, as many bytes as a call takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, TypeInfo)]
pub struct SealedBytes(Vec<u8>);

impl SealedBytes {
    /// Bytes that were sealed.
    pub fn new(sealed: Vec<u8>) -> Self {
        Self(sealed)
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Decode for SealedBytes {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        let sealed = Vec::decode(input)?;
        if sealed.len() > SEALED_BYTES_MAX {
            return Err("more encrypted weights than a call takes".into());
        }
        Ok(Self(sealed))
    }
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

#[cfg(test)]
mod tests;
