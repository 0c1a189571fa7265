//! What can go wrong: our own trouble with the chain, and calls that its rules refuse.

use crate::ledger::GenesisError;
use protocol::{Block, NetUid, yuma};
use serde::{Deserialize, Serialize};

/// The chain could not be read or called.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody opened this subnet.
    #[error("subnet `{0}` does not exist")]
    NoSubnet(NetUid),
    /// The state after this block is gone, or not there yet.
    #[error("the state after block {at} is not held: only blocks {oldest} to {newest} are")]
    NoState {
        /// The block asked for.
        at: Block,
        /// The oldest block held.
        oldest: Block,
        /// The newest block held.
        newest: Block,
    },
    /// The chain refused a call before it was queued.
    #[error("the chain refused a call: {0}")]
    Refused(#[from] CallError),
    /// Too many calls wait for a block already.
    #[error("{0} calls wait for a block already")]
    PoolFull(usize),
    /// The chain could not be reached, or its answer got lost on the way.
    #[error("the chain did not answer `{request}`")]
    Unavailable {
        /// What was asked.
        request: &'static str,
    },
    /// A chain cannot start like this.
    #[error("this genesis cannot start a chain")]
    Genesis(#[from] GenesisError),
    /// The ledger holds a subnet that consensus cannot read: a defect.
    #[error("the epoch of subnet `{netuid}` could not be computed")]
    Epoch {
        /// Subnet.
        netuid: NetUid,
        /// What consensus objects to.
        source: yuma::Error,
    },
}

impl Error {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::PoolFull(_) | Self::Unavailable { .. } => true,
            Self::NoState { at, newest, .. } => at > newest,
            Self::NoSubnet(_) | Self::Refused(_) | Self::Genesis(_) | Self::Epoch { .. } => false,
        }
    }
}

/// Why a call was refused; the names are those of the chain's own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// The signature is not one of the signer over this call on this chain.
    #[error("`BadSignature`: not signed by its signer for this chain")]
    BadSignature,
    /// The nonce was used already, or leaves a gap.
    #[error("`BadNonce`: used already, or not the signer's next")]
    BadNonce,
    /// The call is larger than a block takes.
    #[error("`ExhaustsResources`: the call is too large")]
    ExhaustsResources,
    /// Nobody opened this subnet.
    #[error("`SubnetNotExists`: nobody opened this subnet")]
    SubnetNotExists,
    /// The chain holds as many subnets as it can.
    #[error("`SubnetLimitReached`: no room for another subnet")]
    SubnetLimitReached,
    /// The signer cannot lock what a subnet costs.
    #[error("`NotEnoughBalanceToLock`: the balance does not cover the price of a subnet")]
    NotEnoughBalanceToLock,
    /// Slots of the root network are not for sale.
    #[error("`RegistrationNotPermittedOnRootSubnet`: the root network takes no registrations")]
    RegistrationNotPermittedOnRootSubnet,
    /// The owner of the subnet closed it.
    #[error("`SubNetRegistrationDisabled`: the subnet takes no registrations")]
    SubNetRegistrationDisabled,
    /// As many registered in this block as a block takes.
    #[error("`TooManyRegistrationsThisBlock`: try the next block")]
    TooManyRegistrationsThisBlock,
    /// Three times the target registered in this interval.
    #[error("`TooManyRegistrationsThisInterval`: try the next interval")]
    TooManyRegistrationsThisInterval,
    /// The hotkey has a slot already.
    #[error("`HotKeyAlreadyRegisteredInSubNet`: the hotkey has a slot already")]
    HotKeyAlreadyRegisteredInSubNet,
    /// The balance does not cover the amount.
    #[error("`NotEnoughBalanceToStake`: the balance does not cover the amount")]
    NotEnoughBalanceToStake,
    /// The hotkey belongs to another coldkey.
    #[error("`NonAssociatedColdKey`: the hotkey belongs to another coldkey")]
    NonAssociatedColdKey,
    /// Nobody ever registered this hotkey.
    #[error("`HotKeyAccountNotExists`: nobody registered this hotkey")]
    HotKeyAccountNotExists,
    /// The amount is zero.
    #[error("`AmountTooLow`: the amount is zero")]
    AmountTooLow,
    /// The signer has less stake there.
    #[error("`NotEnoughStakeToWithdraw`: the signer has less stake there")]
    NotEnoughStakeToWithdraw,
    /// The balance does not cover the transfer.
    #[error("`FundsUnavailable`: the balance does not cover the transfer")]
    FundsUnavailable,
    /// Only hotkeys with a slot may commit.
    #[error("`AccountNotAllowedCommit`: the signer has no slot on the subnet")]
    AccountNotAllowedCommit,
    /// The last commitment is too recent.
    #[error("`CommitmentSetRateLimitExceeded`: the last commitment is too recent")]
    CommitmentSetRateLimitExceeded,
    /// A commitment holds at most 128 bytes.
    #[error("`CommitmentTooLong`: more than 128 bytes")]
    CommitmentTooLong,
    /// Weights of the root network are not set like this.
    #[error("`CanNotSetRootNetworkWeights`: not on the root network")]
    CanNotSetRootNetworkWeights,
    /// Not as many weights as uids.
    #[error("`WeightVecNotEqualSize`: not as many weights as uids")]
    WeightVecNotEqualSize,
    /// More weights than slots.
    #[error("`UidsLengthExceedUidsInSubNet`: more weights than slots")]
    UidsLengthExceedUidsInSubNet,
    /// The signer has no slot.
    #[error("`HotKeyNotRegisteredInSubNet`: the signer has no slot on the subnet")]
    HotKeyNotRegisteredInSubNet,
    /// The stake is below the threshold.
    #[error("`NotEnoughStakeToSetWeights`: the stake is below the threshold")]
    NotEnoughStakeToSetWeights,
    /// The validator runs older rules than the subnet asks for.
    #[error("`IncorrectWeightVersionKey`: the validator runs an older version")]
    IncorrectWeightVersionKey,
    /// The last weights are too recent.
    #[error("`SettingWeightsTooFast`: the last weights are too recent")]
    SettingWeightsTooFast,
    /// Only permitted validators weigh others.
    #[error("`NeuronNoValidatorPermit`: the signer holds no validator permit")]
    NeuronNoValidatorPermit,
    /// A uid stands twice.
    #[error("`DuplicateUids`: a uid stands twice")]
    DuplicateUids,
    /// A uid has no slot.
    #[error("`UidVecContainInvalidOne`: a uid has no slot")]
    UidVecContainInvalidOne,
    /// Fewer weights than the subnet asks for.
    #[error("`WeightVecLengthIsLow`: fewer weights than the subnet asks for")]
    WeightVecLengthIsLow,
    /// One weight takes more than its share.
    #[error("`MaxWeightExceeded`: one weight takes more than the subnet allows")]
    MaxWeightExceeded,
}

impl CallError {
    /// Whether a call refused so never enters a block and uses up no nonce.
    pub fn leaves_no_trace(self) -> bool {
        matches!(self, Self::BadSignature | Self::BadNonce | Self::ExhaustsResources)
    }
}
