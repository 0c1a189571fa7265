//! What a call did, for whoever watches blocks.

use super::HyperparameterChange;
use protocol::{AccountId, NetUid, Uid};

/// The effect of a call that was applied; every call has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody left a remark.
    Remarked {
        /// Who.
        signer: AccountId,
    },
    /// Money moved.
    Transferred {
        /// Payer.
        from: AccountId,
        /// Receiver.
        to: AccountId,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// A hotkey got a slot.
    NeuronRegistered {
        /// Subnet.
        netuid: NetUid,
        /// The slot.
        uid: Uid,
        /// Key that holds it now.
        hotkey: AccountId,
    },
    /// A hotkey took the place of another.
    HotkeySwapped {
        /// Owner of both.
        coldkey: AccountId,
        /// The key of before.
        old: AccountId,
        /// The key of now.
        new: AccountId,
    },
    /// A subnet was opened.
    NetworkAdded {
        /// Its number.
        netuid: NetUid,
    },
    /// Balance became stake.
    StakeAdded {
        /// Who staked.
        coldkey: AccountId,
        /// Behind whom.
        hotkey: AccountId,
        /// Subnet that the call named.
        netuid: NetUid,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// Stake became balance.
    StakeRemoved {
        /// Who had staked.
        coldkey: AccountId,
        /// Behind whom.
        hotkey: AccountId,
        /// Subnet that the call named.
        netuid: NetUid,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// A validator set its weights.
    WeightsSet {
        /// Subnet.
        netuid: NetUid,
        /// The validator.
        uid: Uid,
    },
    /// A validator committed to weights.
    WeightsCommitted {
        /// The validator.
        hotkey: AccountId,
        /// Subnet.
        netuid: NetUid,
        /// What it committed to.
        hash: [u8; 32],
    },
    /// A validator revealed weights, which are set now.
    WeightsRevealed {
        /// The validator.
        hotkey: AccountId,
        /// Subnet.
        netuid: NetUid,
        /// The commit they belong to.
        hash: [u8; 32],
    },
    /// A validator committed to weights that a pulse will open.
    TimelockedCommitted {
        /// The validator.
        hotkey: AccountId,
        /// Subnet.
        netuid: NetUid,
        /// BLAKE2b-256 of what it committed.
        hash: [u8; 32],
        /// Round of the beacon that opens it.
        round: u64,
    },
    /// The chain opened the weights of a validator, which are set now.
    TimelockedRevealed {
        /// The validator.
        hotkey: AccountId,
        /// Subnet.
        netuid: NetUid,
    },
    /// A hotkey published a commitment.
    Committed {
        /// Subnet.
        netuid: NetUid,
        /// Who.
        hotkey: AccountId,
    },
    /// An owner said what a subnet is.
    SubnetIdentitySet {
        /// Subnet.
        netuid: NetUid,
    },
    /// An owner changed a rule.
    HyperparameterSet {
        /// Subnet.
        netuid: NetUid,
        /// The rule and its value.
        change: HyperparameterChange,
    },
}
