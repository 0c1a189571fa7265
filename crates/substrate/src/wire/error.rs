//! Errors of the runtime, by pallet and number; names are those of Bittensor's.

use super::primitives::{DispatchError, ModuleError, TokenError};
use chain::CallError;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};

/// Errors of the pallet SubtensorModule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Deserialize)]
pub enum SubtensorError {
    /// Nobody opened this subnet.
    SubnetNotExists,
    /// The chain holds as many subnets as it can.
    SubnetLimitReached,
    /// The signer cannot lock what a subnet costs.
    NotEnoughBalanceToLock,
    /// Slots of the root network are not for sale.
    RegistrationNotPermittedOnRootSubnet,
    /// The owner of the subnet closed it.
    SubNetRegistrationDisabled,
    /// As many registered in this block as a block takes.
    TooManyRegistrationsThisBlock,
    /// Three times the target registered in this interval.
    TooManyRegistrationsThisInterval,
    /// The hotkey has a slot already.
    HotKeyAlreadyRegisteredInSubNet,
    /// The balance does not cover the amount.
    NotEnoughBalanceToStake,
    /// The hotkey belongs to another coldkey.
    NonAssociatedColdKey,
    /// Nobody ever registered this hotkey.
    HotKeyAccountNotExists,
    /// The amount is zero.
    AmountTooLow,
    /// The signer has less stake there.
    NotEnoughStakeToWithdraw,
    /// Weights of the root network are not set like this.
    CanNotSetRootNetworkWeights,
    /// Not as many weights as uids.
    WeightVecNotEqualSize,
    /// More weights than slots.
    UidsLengthExceedUidsInSubNet,
    /// The signer has no slot.
    HotKeyNotRegisteredInSubNet,
    /// The stake is below the threshold.
    NotEnoughStakeToSetWeights,
    /// The validator runs older rules than the subnet asks for.
    IncorrectWeightVersionKey,
    /// The last weights are too recent.
    SettingWeightsTooFast,
    /// Only permitted validators weigh others.
    NeuronNoValidatorPermit,
    /// A uid stands twice.
    DuplicateUids,
    /// A uid has no slot.
    UidVecContainInvalidOne,
    /// Fewer weights than the subnet asks for.
    WeightVecLengthIsLow,
    /// One weight takes more than its share.
    MaxWeightExceeded,
    /// The subnet takes weights by commit and reveal only.
    CommitRevealEnabled,
    /// The subnet takes weights openly only.
    CommitRevealDisabled,
    /// As many commits wait for their reveal as a hotkey may have.
    TooManyUnrevealedCommits,
    /// The last commit to weights is too recent.
    CommittingWeightsTooFast,
    /// The signer has no commit that waits.
    NoWeightsCommitFound,
    /// The weights are not those that were committed to.
    InvalidRevealCommitHashNotMatch,
    /// The epoch of the reveal has not come.
    RevealTooEarly,
    /// The epoch of the reveal has passed.
    ExpiredWeightCommit,
    /// A subnet has one mechanism here, number 0.
    MechanismDoesNotExist,
    /// A slot costs more than the limit.
    RegistrationPriceLimitExceeded,
    /// The commit is of another version than the chain takes.
    IncorrectCommitRevealVersion,
    /// The round that opens the weights is past.
    InvalidRevealRound,
}

/// Errors of the pallet Commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Deserialize)]
pub enum CommitmentsError {
    /// Only hotkeys with a slot may commit.
    AccountNotAllowedCommit,
    /// The last commitment is too recent.
    CommitmentSetRateLimitExceeded,
    /// A commitment holds at most 128 bytes.
    CommitmentTooLong,
    /// A commitment has one field.
    TooManyFieldsInCommitmentInfo,
}

/// Errors of the pallet AdminUtils.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Deserialize)]
pub enum AdminUtilsError {
    /// The value is outside the range that the chain allows.
    ValueNotInBounds,
}

/// The error of this name in a pallet's list.
fn named<T: for<'de> Deserialize<'de>>(name: &str) -> Option<T> {
    T::deserialize(IntoDeserializer::<ValueError>::into_deserializer(name)).ok()
}

/// How a refusal travels: by the numbers of its pallet and its name.
pub fn dispatch_error(error: &CallError) -> DispatchError {
    match error {
        CallError::BadOrigin => return DispatchError::BadOrigin,
        CallError::FundsUnavailable => return DispatchError::Token(TokenError::FundsUnavailable),
        _ => {}
    }
    let name = error.name();
    let module = |index: u8, number: u8| {
        DispatchError::Module(ModuleError { index, error: [number, 0, 0, 0] })
    };
    if let Some(error) = named::<SubtensorError>(&name) {
        return module(7, error as u8);
    }
    if let Some(error) = named::<CommitmentsError>(&name) {
        return module(18, error as u8);
    }
    if let Some(error) = named::<AdminUtilsError>(&name) {
        return module(19, error as u8);
    }
    if name == "CannotLookup" { DispatchError::CannotLookup } else { DispatchError::Other }
}
