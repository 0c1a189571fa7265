//! Errors of the runtime, by pallet and number; names are those of Bittensor's.
//!
//! The numbers are those of its spec 461. They move with its versions, so clients go by the names
//! that the metadata give them.

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
    SubnetNotExists = 76,
    /// The chain holds as many subnets as it can.
    SubnetLimitReached = 116,
    /// The signer cannot lock what a subnet costs.
    CannotAffordLockCost = 117,
    /// Slots of the root network are not for sale.
    RegistrationNotPermittedOnRootSubnet = 42,
    /// The owner of the subnet closed it.
    SubNetRegistrationDisabled = 37,
    /// As many registered in this block as a block takes.
    TooManyRegistrationsThisBlock = 20,
    /// Three times the target registered in this interval.
    TooManyRegistrationsThisInterval = 38,
    /// The hotkey has a slot already.
    HotKeyAlreadyRegisteredInSubNet = 21,
    /// The balance does not cover the amount.
    NotEnoughBalanceToStake = 12,
    /// The hotkey belongs to another coldkey.
    NonAssociatedColdKey = 7,
    /// Nobody ever registered this hotkey.
    HotKeyAccountNotExists = 5,
    /// The amount is zero.
    AmountTooLow = 82,
    /// The signer has less stake there.
    NotEnoughStakeToWithdraw = 9,
    /// Weights of the root network are not set like this.
    CanNotSetRootNetworkWeights = 47,
    /// Not as many weights as uids.
    WeightVecNotEqualSize = 16,
    /// More weights than slots.
    UidsLengthExceedUidsInSubNet = 32,
    /// The signer has no slot.
    HotKeyNotRegisteredInSubNet = 4,
    /// The stake is below the threshold.
    NotEnoughStakeToSetWeights = 10,
    /// The validator runs older rules than the subnet asks for.
    IncorrectWeightVersionKey = 30,
    /// The last weights are too recent.
    SettingWeightsTooFast = 29,
    /// Only permitted validators weigh others.
    NeuronNoValidatorPermit = 15,
    /// A uid stands twice.
    DuplicateUids = 17,
    /// A uid has no slot.
    UidVecContainInvalidOne = 18,
    /// Fewer weights than the subnet asks for.
    WeightVecLengthIsLow = 19,
    /// One weight takes more than its share.
    MaxWeightExceeded = 27,
    /// The subnet takes weights by commit and reveal only.
    CommitRevealEnabled = 53,
    /// The subnet takes weights openly only.
    CommitRevealDisabled = 54,
    /// As many commits wait for their reveal as a hotkey may have.
    TooManyUnrevealedCommits = 77,
    /// The last commit to weights is too recent.
    CommittingWeightsTooFast = 81,
    /// The signer has no commit that waits.
    NoWeightsCommitFound = 51,
    /// The weights are not those that were committed to.
    InvalidRevealCommitHashNotMatch = 52,
    /// The epoch of the reveal has not come.
    RevealTooEarly = 79,
    /// The epoch of the reveal has passed.
    ExpiredWeightCommit = 78,
    /// A subnet has one mechanism here, number 0.
    MechanismDoesNotExist = 74,
    /// Only the owner of the subnet may do this.
    NotSubnetOwner = 41,
    /// A part of an identity is too long.
    InvalidIdentity = 73,
    /// Every subnet is started as it is opened here.
    FirstEmissionBlockNumberAlreadySet = 88,
    /// A slot costs more than the limit.
    RegistrationPriceLimitExceeded = 136,
    /// The commit is of another version than the chain takes.
    IncorrectCommitRevealVersion = 111,
    /// The round that opens the weights is past.
    InvalidRevealRound = 112,
}

/// Errors of the pallet Commitments; what Bittensor's has no name for stands above its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Deserialize)]
pub enum CommitmentsError {
    /// Only hotkeys with a slot may commit.
    AccountNotAllowedCommit = 1,
    /// The last commitment is too recent.
    CommitmentSetRateLimitExceeded = 128,
    /// A commitment holds at most 128 bytes.
    CommitmentTooLong = 129,
    /// A commitment has one field.
    TooManyFieldsInCommitmentInfo = 0,
}

/// Errors of the pallet AdminUtils.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Deserialize)]
pub enum AdminUtilsError {
    /// The value is outside the range that the chain allows.
    ValueNotInBounds = 5,
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

#[cfg(test)]
mod tests;
