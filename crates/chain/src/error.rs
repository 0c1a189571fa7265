//! What can go wrong: our own trouble with the chain, and calls that its rules refuse.

use crate::{Mechanism, epoch::EpochError, hiding::HidingError, ledger::GenesisError};
use protocol::{Block, BlockHash, NetUid, yuma};
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::Error as ValueError},
};
use std::time::Duration;

/// The chain could not be read or called.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody opened this subnet.
    #[error("subnet `{0}` does not exist")]
    NoSubnet(NetUid),
    /// The subnet has fewer mechanisms.
    #[error("subnet `{netuid}` has no mechanism `{mechanism}`: it has {count}, numbered from 0")]
    NoMechanism {
        /// Subnet.
        netuid: NetUid,
        /// The mechanism asked for.
        mechanism: Mechanism,
        /// How many there are.
        count: u64,
    },
    /// The state after this block is gone, or not there yet.
    #[error("{}", no_state(*at, *oldest, *newest))]
    NoState {
        /// The block asked for.
        at: Block,
        /// The oldest block whose state is held, where the endpoint says it.
        oldest: Option<Block>,
        /// The newest block.
        newest: Block,
    },
    /// The chain refused a call before it was queued.
    #[error("the chain refused a call")]
    Refused(#[from] CallError),
    /// The last block that was to include a call has come before the call was signed, or is one of
    /// the chain's first.
    #[error("no call that is signed at block {head} can end with block {last}")]
    TooLate {
        /// That block.
        last: Block,
        /// The newest block.
        head: Block,
    },
    /// Too many calls wait for a block already.
    #[error("too many calls wait for a block already")]
    PoolFull,
    /// The chain could not be reached, or its answer got lost on the way.
    #[error("the chain did not answer `{request}`")]
    Unavailable {
        /// What was asked.
        request: &'static str,
    },
    /// There is no connection to the endpoint.
    #[error("cannot connect to `{url}`")]
    Connect {
        /// The endpoint.
        url: String,
        /// Why the last try failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No endpoint serves the chain that is wanted.
    #[error("`{url}` serves another chain than the one whose block 0 has the hash {wanted}")]
    OtherChain {
        /// The endpoint, the first of several.
        url: String,
        /// Hash of the genesis that is wanted.
        wanted: BlockHash,
    },
    /// The endpoint wants to be left alone for longer than there is patience.
    #[error("the endpoint `{url}` asks for patience: it answers again in {seconds} s")]
    Busy {
        /// The endpoint.
        url: String,
        /// How long it asks for.
        seconds: u64,
    },
    /// The endpoint answered with an error, or with something that does not read.
    #[error("the chain answered `{request}` with: {text}")]
    Answer {
        /// What was asked.
        request: &'static str,
        /// What came back.
        text: String,
    },
    /// The runtime lacks something that this program needs.
    #[error("the runtime of this chain has no `{what}`")]
    Incompatible {
        /// What it lacks.
        what: String,
    },
    /// The endpoint is behind what it called final before.
    #[error("the endpoint lags: block {newest} was final, now it says {said}")]
    Lagging {
        /// The newest final block that it named.
        newest: Block,
        /// What it calls the newest now.
        said: Block,
    },
    /// No block has become final for too long.
    #[error("the endpoint stalls: block {newest} has been the newest for {seconds} s")]
    Stalled {
        /// The newest final block.
        newest: Block,
        /// How long it has been that.
        seconds: u64,
    },
    /// The endpoint changed a block that it had called final.
    #[error("the endpoint contradicts itself: final block {block} has another hash than before")]
    Contradiction {
        /// The block.
        block: Block,
    },
    /// What the endpoint calls the newest final block cannot be it.
    #[error("the endpoint names a false head: block {said} {why}")]
    FalseHead {
        /// The block.
        said: Block,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Our clock and the chain's differ too much to say which round opens weights.
    #[error("{}", clock(*ours, *chains, *block))]
    Clock {
        /// What our clock says, since 1970.
        ours: Duration,
        /// When the chain's newest block was made, since 1970.
        chains: Duration,
        /// What a block takes.
        block: Duration,
    },
    /// It cannot be said when hidden weights would be opened.
    #[error("no epoch opens weights that are committed now")]
    Epochs(#[from] EpochError),
    /// Weights that are hidden now would be opened at the wrong time.
    #[error("weights cannot be hidden now")]
    Hiding(#[from] HidingError),
    /// The chain's beacon is none that anything can be encrypted to.
    #[error("weights cannot be encrypted to the beacon of this chain")]
    Beacon(#[from] timelock::SealError),
    /// There is no randomness that would tell a call of this process from another's.
    #[error("nothing was sent, because the operating system gave no randomness: {text}")]
    Randomness {
        /// What the system says.
        text: String,
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
            Self::PoolFull
            | Self::TooLate { .. }
            | Self::Unavailable { .. }
            | Self::Connect { .. }
            | Self::Busy { .. }
            | Self::Lagging { .. }
            | Self::FalseHead { .. }
            | Self::Clock { .. }
            | Self::Stalled { .. } => true,
            Self::NoState { at, newest, .. } => at > newest,
            Self::Hiding(error) => error.is_transient(),
            Self::NoSubnet(_)
            | Self::NoMechanism { .. }
            | Self::Refused(_)
            | Self::Randomness { .. }
            | Self::Epochs(_)
            | Self::Beacon(_)
            | Self::Genesis(_)
            | Self::Epoch { .. }
            | Self::Answer { .. }
            | Self::Incompatible { .. }
            | Self::OtherChain { .. }
            | Self::Contradiction { .. } => false,
        }
    }
}

fn clock(ours: Duration, chains: Duration, block: Duration) -> String {
    let (off, way) = match ours.checked_sub(chains) {
        Some(off) => (off, "ahead of"),
        None => (chains.saturating_sub(ours), "behind"),
    };
    format!(
        "our clock is {:.1} s {way} the chain's newest block ({} and {} s since 1970), and a block \
         takes {:.1} s: hidden weights would be opened at the wrong time",
        off.as_secs_f64(),
        ours.as_secs(),
        chains.as_secs(),
        block.as_secs_f64()
    )
}

fn no_state(at: Block, oldest: Option<Block>, newest: Block) -> String {
    match oldest {
        _ if at > newest => format!("block {at} is not there yet: the newest is {newest}"),
        Some(oldest) => {
            format!("the state after block {at} is not held: only blocks {oldest} to {newest} are")
        }
        None => format!("the endpoint does not hold the state after block {at} any more"),
    }
}

/// Why a call was refused; the names are those of the chain's own errors, the aliases what the
/// chain of 2024 called the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// The signature is not one of the signer over this call on this chain.
    #[error("`BadSignature`: not signed by its signer for this chain")]
    BadSignature,
    /// The nonce was used already, or leaves a gap.
    #[error("`BadNonce`: used already, or not the signer's next")]
    BadNonce,
    /// The signer never had money, a hotkey or an owner.
    #[error("`UnknownSigner`: the chain does not know the signer, or it cannot pay a fee")]
    UnknownSigner,
    /// The call is larger than a block takes.
    #[error("`ExhaustsResources`: the call is too large")]
    ExhaustsResources,
    /// Nobody opened this subnet.
    #[error("`SubnetNotExists`: nobody opened this subnet")]
    SubnetNotExists,
    /// The chain holds as many subnets as it can.
    #[error("`SubnetLimitReached`: no room for another subnet")]
    SubnetLimitReached,
    /// The price of a slot is above the limit that the call names.
    #[error("`RegistrationPriceLimitExceeded`: a slot costs more than the limit now")]
    RegistrationPriceLimitExceeded,
    /// The signer cannot lock what a subnet costs.
    #[error("`CannotAffordLockCost`: the balance does not cover the price of a subnet")]
    CannotAffordLockCost,
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
    #[serde(alias = "AlreadyRegistered")]
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
    /// The hotkey has used up what it may commit in this epoch of the subnet.
    #[error("`SpaceLimitExceeded`: as many bytes as a hotkey may commit in an epoch")]
    SpaceLimitExceeded,
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
    #[serde(alias = "NotRegistered")]
    HotKeyNotRegisteredInSubNet,
    /// The stake is below the threshold.
    #[error("`NotEnoughStakeToSetWeights`: the stake is below the threshold")]
    NotEnoughStakeToSetWeights,
    /// The validator runs older rules than the subnet asks for.
    #[error("`IncorrectWeightVersionKey`: the validator runs an older version")]
    #[serde(alias = "IncorrectNetworkVersionKey")]
    IncorrectWeightVersionKey,
    /// The last weights are too recent.
    #[error("`SettingWeightsTooFast`: the last weights are too recent")]
    SettingWeightsTooFast,
    /// Only permitted validators weigh others.
    #[error("`NeuronNoValidatorPermit`: the signer holds no validator permit")]
    #[serde(alias = "NoValidatorPermit")]
    NeuronNoValidatorPermit,
    /// A uid stands twice.
    #[error("`DuplicateUids`: a uid stands twice")]
    DuplicateUids,
    /// A uid has no slot.
    #[error("`UidVecContainInvalidOne`: a uid has no slot")]
    #[serde(alias = "InvalidUid")]
    UidVecContainInvalidOne,
    /// Fewer weights than the subnet asks for.
    #[error("`WeightVecLengthIsLow`: fewer weights than the subnet asks for")]
    #[serde(alias = "NotSettingEnoughWeights")]
    WeightVecLengthIsLow,
    /// One weight takes more than its share.
    #[error("`MaxWeightExceeded`: one weight takes more than the subnet allows")]
    MaxWeightExceeded,
    /// Only the owner of the subnet may do this.
    #[error("`BadOrigin`: only the owner of the subnet may do this")]
    BadOrigin,
    /// The value is outside the range that the chain allows.
    #[error("`ValueNotInBounds`: the chain does not allow this value")]
    ValueNotInBounds,
    /// The subnet takes weights by commit and reveal only.
    #[error("`CommitRevealEnabled`: commit to the weights first, then reveal them")]
    CommitRevealEnabled,
    /// The subnet takes weights openly only.
    #[error("`CommitRevealDisabled`: the subnet takes weights openly")]
    CommitRevealDisabled,
    /// As many commits wait for their reveal as a hotkey may have.
    #[error("`TooManyUnrevealedCommits`: reveal the earlier ones first")]
    TooManyUnrevealedCommits,
    /// The last commit to weights is too recent.
    #[error("`CommittingWeightsTooFast`: the last commit is too recent")]
    CommittingWeightsTooFast,
    /// The signer has no commit that waits.
    #[error("`NoWeightsCommitFound`: no commit to weights waits for its reveal")]
    NoWeightsCommitFound,
    /// The weights are not those that were committed to.
    #[error("`InvalidRevealCommitHashNotMatch`: no commit has the hash of these weights")]
    InvalidRevealCommitHashNotMatch,
    /// The epoch of the reveal has not come.
    #[error("`RevealTooEarly`: the epoch of the reveal has not come")]
    RevealTooEarly,
    /// The epoch of the reveal has passed.
    #[error("`ExpiredWeightCommit`: the epoch of the reveal has passed")]
    ExpiredWeightCommit,
    /// The commit is of another version than the chain takes.
    #[error("`IncorrectCommitRevealVersion`: the chain takes another version of hidden weights")]
    IncorrectCommitRevealVersion,
    /// The round that opens the weights is past.
    #[error("`InvalidRevealRound`: the round that opens the weights is past")]
    InvalidRevealRound,
    /// The subnet has fewer mechanisms.
    #[error("`MechanismDoesNotExist`: the subnet has no mechanism of this number")]
    MechanismDoesNotExist,
    /// The subnet was started before.
    #[error("`FirstEmissionBlockNumberAlreadySet`: the subnet is started already")]
    FirstEmissionBlockNumberAlreadySet,
    /// New subnets are started some time after they are opened.
    #[error("`StartCallNotReady`: the subnet is too new to be started")]
    #[serde(alias = "NeedWaitingMoreBlocksToStarCall")]
    StartCallNotReady,
    /// Only the owner of the subnet may say what it is.
    #[error("`NotSubnetOwner`: only the owner of the subnet may do this")]
    NotSubnetOwner,
    /// Something that is said of a subnet is too long.
    #[error("`InvalidIdentity`: a part is longer than the chain takes")]
    InvalidIdentity,
    /// Somebody else opened a subnet lately.
    #[error("`NetworkTxRateLimitExceeded`: another subnet was opened too recently")]
    NetworkTxRateLimitExceeded,
    /// A refusal that only the chain's own name says.
    #[error("`{0}`")]
    Other(String),
}

impl CallError {
    /// The refusal of this name, as any runtime since 2024 spells it.
    pub fn from_name(name: &str) -> Self {
        let known = Self::deserialize(IntoDeserializer::<ValueError>::into_deserializer(name));
        known.unwrap_or_else(|_| Self::Other(name.to_owned()))
    }

    /// The name under which the chain knows this refusal.
    pub fn name(&self) -> String {
        match self {
            Self::Other(name) => name.clone(),
            known => format!("{known:?}"),
        }
    }

    /// Whether a call refused so never enters a block and uses up no nonce.
    pub fn leaves_no_trace(&self) -> bool {
        matches!(
            self,
            Self::BadSignature | Self::BadNonce | Self::UnknownSigner | Self::ExhaustsResources
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_found_by_the_names_of_2024_and_of_today() {
        for (name, expected) in [
            ("SettingWeightsTooFast", CallError::SettingWeightsTooFast),
            ("NoValidatorPermit", CallError::NeuronNoValidatorPermit),
            ("NeuronNoValidatorPermit", CallError::NeuronNoValidatorPermit),
            ("NotRegistered", CallError::HotKeyNotRegisteredInSubNet),
            ("SpaceLimitExceeded", CallError::SpaceLimitExceeded),
            ("SubtokenDisabled", CallError::Other("SubtokenDisabled".to_owned())),
            ("Other", CallError::Other("Other".to_owned())),
        ] {
            assert_eq!(CallError::from_name(name), expected);
        }
        let known = CallError::MaxWeightExceeded;
        assert_eq!(CallError::from_name(&known.name()), known);
    }
}
