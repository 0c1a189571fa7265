//! Refusals with the numbers behind them: the chain names a rule, its state says the values.

use super::table::tao;
use chain::{Call, CallError, Chain as _};
use protocol::{AccountId, NetUid, Uid};
use substrate::{SubnetRules, SubstrateChain};

/// What a person is told about a refusal beside the chain's own name for it.
#[derive(Default)]
pub struct Explanation {
    /// The values of the rule and of what it was held against.
    pub numbers: Option<String>,
    /// What can be done.
    pub hint: Option<String>,
}

/// Looks up what is behind a refusal; what cannot be read now is left out.
pub fn explain(
    chain: &SubstrateChain,
    call: &Call,
    signer: AccountId,
    reason: &CallError,
) -> Explanation {
    let refused = Refused { chain, call, signer, reason };
    Explanation { numbers: refused.numbers(), hint: refused.hint() }
}

/// A call that the chain did not want.
struct Refused<'a> {
    chain: &'a SubstrateChain,
    call: &'a Call,
    signer: AccountId,
    reason: &'a CallError,
}

impl Refused<'_> {
    fn netuid(&self) -> Option<NetUid> {
        match self.call {
            Call::BurnedRegister { netuid, .. }
            | Call::RegisterLimit { netuid, .. }
            | Call::AddStake { netuid, .. }
            | Call::RemoveStake { netuid, .. }
            | Call::SetCommitment { netuid, .. }
            | Call::SetWeights { netuid, .. }
            | Call::CommitWeights { netuid, .. }
            | Call::RevealWeights { netuid, .. }
            | Call::CommitTimelockedWeights { netuid, .. }
            | Call::SetMechanismWeights { netuid, .. }
            | Call::CommitTimelockedMechanismWeights { netuid, .. }
            | Call::StartSubnet { netuid }
            | Call::SetSubnetIdentity { netuid, .. }
            | Call::SetHyperparameter { netuid, .. } => Some(*netuid),
            _ => None,
        }
    }

    /// Whether a hotkey signs such calls, which needs no money but a slot.
    fn is_hotkeys(&self) -> bool {
        matches!(
            self.call,
            Call::SetCommitment { .. }
                | Call::SetWeights { .. }
                | Call::CommitWeights { .. }
                | Call::RevealWeights { .. }
                | Call::CommitTimelockedWeights { .. }
                | Call::SetMechanismWeights { .. }
                | Call::CommitTimelockedMechanismWeights { .. }
        )
    }

    fn rules(&self) -> Option<SubnetRules> {
        self.chain.rules(self.netuid()?).ok()
    }

    fn numbers(&self) -> Option<String> {
        use CallError as Reason;
        match self.reason {
            Reason::UidVecContainInvalidOne | Reason::UidsLengthExceedUidsInSubNet => {
                self.of_uids()
            }
            Reason::WeightVecLengthIsLow => {
                let (given, fewest) = (self.uids()?.len(), self.rules()?.number("min_weights")?);
                Some(format!("{given} are given, min_weights={fewest}"))
            }
            Reason::IncorrectWeightVersionKey => {
                let given = self.version_key()?;
                let version = self.rules()?.number("weights_version")?;
                Some(format!("the version key is {given}, weights_version={version}"))
            }
            Reason::SettingWeightsTooFast | Reason::CommittingWeightsTooFast => self.of_weights(),
            Reason::CommitmentSetRateLimitExceeded => {
                let next = self.chain.next_commitment(self.netuid()?, self.signer).ok()?;
                let limit = self.rules()?.number("commitment_rate_limit")?;
                Some(format!("commitment_rate_limit={limit}: the next goes from block {next} on"))
            }
            Reason::SpaceLimitExceeded => {
                let blocks = self.rules()?.number("tempo")?.saturating_add(1);
                Some(format!("the bytes are counted anew in each epoch, within {blocks} blocks"))
            }
            Reason::NotEnoughStakeToSetWeights => {
                let threshold = self.chain.stake_threshold_rao().ok()?;
                Some(format!("the least is {} TAO", tao(threshold)))
            }
            Reason::TooManyRegistrationsThisBlock => {
                let most = self.rules()?.number("max_registrations_per_block")?;
                Some(format!("max_registrations_per_block={most}"))
            }
            Reason::TooManyRegistrationsThisInterval => self.of_interval(),
            Reason::HotKeyAlreadyRegisteredInSubNet => {
                let uid = self.chain.slot(self.netuid()?, self.registered()?).ok()??;
                Some(format!("it has uid {uid}"))
            }
            Reason::RegistrationPriceLimitExceeded => {
                let price = self.chain.slot_price_rao(self.netuid()?).ok()?;
                Some(format!("it costs {} TAO", tao(price)))
            }
            Reason::NotEnoughBalanceToStake
            | Reason::CannotAffordLockCost
            | Reason::FundsUnavailable => {
                let balance = self.chain.balance(self.signer).ok()?;
                Some(format!("{} holds {} TAO", self.signer, tao(balance)))
            }
            _ => self.of_owner(),
        }
    }

    /// What an owner of a subnet is refused for.
    fn of_owner(&self) -> Option<String> {
        use CallError as Reason;
        Some(match self.reason {
            Reason::BadOrigin | Reason::NotSubnetOwner => {
                format!("the owner is {}", self.rules()?.owner)
            }
            Reason::MechanismDoesNotExist => {
                let count = self.chain.mechanism_count(self.netuid()?).ok()?;
                format!("it has {count}, numbered from 0")
            }
            Reason::FirstEmissionBlockNumberAlreadySet => {
                let first = self.chain.subnet_start(self.netuid()?).ok()?.first_emission?;
                format!("its epochs pay since block {first}")
            }
            Reason::StartCallNotReady => {
                let start = self.chain.subnet_start(self.netuid()?).ok()?;
                format!("it can be from block {} on, and now is {}", start.from, start.block)
            }
            Reason::NetworkTxRateLimitExceeded => {
                let opening = self.chain.opening().ok()?;
                let price = tao(self.chain.network_price_rao().ok()?);
                let (from, now) = (opening.from, opening.block);
                format!("the next can be from block {from} on, and now is {now}, at {price} TAO")
            }
            _ => return None,
        })
    }

    fn uids(&self) -> Option<&[Uid]> {
        match self.call {
            Call::SetWeights { uids, .. }
            | Call::SetMechanismWeights { uids, .. }
            | Call::RevealWeights { uids, .. } => Some(uids),
            _ => None,
        }
    }

    fn version_key(&self) -> Option<u64> {
        match self.call {
            Call::SetWeights { version_key, .. }
            | Call::SetMechanismWeights { version_key, .. }
            | Call::RevealWeights { version_key, .. } => Some(*version_key),
            _ => None,
        }
    }

    fn registered(&self) -> Option<AccountId> {
        match self.call {
            Call::BurnedRegister { hotkey, .. } | Call::RegisterLimit { hotkey, .. } => {
                Some(*hotkey)
            }
            _ => None,
        }
    }

    /// Which uids have no slot.
    fn of_uids(&self) -> Option<String> {
        let (uids, slots) = (self.uids()?, self.rules()?.slots);
        let missing: Vec<String> = uids
            .iter()
            .filter(|uid| u64::from(uid.0) >= slots)
            .map(ToString::to_string)
            .take(16)
            .collect();
        let missing = match &missing[..] {
            [] => format!("{} weights", uids.len()),
            missing => format!("no slot: {}", missing.join(", ")),
        };
        Some(match slots {
            0 => format!("{missing}; no slot is taken"),
            _ => format!("{missing}; there are {slots}, 0 to {}", slots - 1),
        })
    }

    /// From which block on weights may be set.
    fn of_weights(&self) -> Option<String> {
        let metagraph = self.chain.metagraph(self.netuid()?).ok()?;
        let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == self.signer)?;
        let limit = metagraph.weights_rate_limit;
        let from = own.last_update.0.saturating_add(limit);
        Some(format!(
            "weights_rate_limit={limit} and the last update was in block {}: the next goes from \
             block {from} on",
            own.last_update
        ))
    }

    /// From which block on registrations are counted anew.
    fn of_interval(&self) -> Option<String> {
        let rules = self.rules()?;
        let target = rules.number("target_registrations")?;
        let interval = rules.number("adjustment_interval")?.max(1);
        let from = rules.block.0.saturating_add(1).checked_next_multiple_of(interval)?;
        Some(format!(
            "three times target_registrations={target} may register in an interval of {interval} \
             blocks, and the next begins with block {from}"
        ))
    }

    fn hint(&self) -> Option<String> {
        use CallError as Reason;
        let netuid = self.netuid().map(|netuid| netuid.to_string()).unwrap_or_default();
        let set = format!("agon chain subnet set --netuid {netuid}");
        Some(match self.reason {
            Reason::UnknownSigner if self.is_hotkeys() => {
                "only hotkeys with a slot may do this: `agon chain register` buys one, paid for by \
                 the coldkey"
                    .to_owned()
            }
            Reason::UnknownSigner => format!("send {} some TAO first", self.signer),
            Reason::NeuronNoValidatorPermit => {
                "permits come with an epoch, to the hotkeys with the most stake: stake, then wait \
                 for one"
                    .to_owned()
            }
            Reason::CommitRevealEnabled | Reason::CommitRevealDisabled => {
                "the owner has just changed whether weights are hidden; try again".to_owned()
            }
            Reason::InvalidRevealRound => {
                "the beacon went on while the call waited for a block; try again".to_owned()
            }
            Reason::IncorrectCommitRevealVersion => {
                "the chain hides weights in another way than this program knows; update".to_owned()
            }
            Reason::SpaceLimitExceeded => {
                "wait for the next epoch of the subnet: some thirty commitments of a hotkey fit \
                 into one"
                    .to_owned()
            }
            Reason::SettingWeightsTooFast => {
                "wait; a registration counts as an update, too".to_owned()
            }
            Reason::TooManyRegistrationsThisInterval => {
                format!("wait, or, if the subnet is yours, `{set} target_registrations=8`")
            }
            Reason::TooManyRegistrationsThisBlock => "try again in the next block".to_owned(),
            Reason::IncorrectWeightVersionKey => {
                "update, or say with --version-key which rules you run".to_owned()
            }
            Reason::HotKeyNotRegisteredInSubNet | Reason::AccountNotAllowedCommit => {
                "`agon chain register` buys a slot".to_owned()
            }
            Reason::HotKeyAccountNotExists => "register the hotkey first".to_owned(),
            Reason::RegistrationPriceLimitExceeded => {
                "nothing was paid; the price falls while nobody registers: raise --limit or wait"
                    .to_owned()
            }
            Reason::ValueNotInBounds => {
                format!("`agon chain subnet show --netuid {netuid}` shows the rules")
            }
            Reason::BadOrigin | Reason::NotSubnetOwner => {
                "sign with the wallet that opened the subnet".to_owned()
            }
            Reason::NetworkTxRateLimitExceeded => {
                "`agon chain subnet create --wait` waits for that block; the price falls until then"
                    .to_owned()
            }
            Reason::BadNonce => {
                "other processes use this key at the same time; try again".to_owned()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::{Genesis, Hyperparameters, SubnetGenesis};
    use std::net::SocketAddr;
    use substrate::{ClientConfig, DevNode, dev};

    #[test]
    fn whoever_has_committed_too_much_in_an_epoch_is_told_when_the_next_begins() {
        let owner = AccountId([1; 32]);
        let hyperparameters = Hyperparameters { tempo: 99, ..Hyperparameters::default() };
        let genesis = Genesis {
            subnets: vec![SubnetGenesis { owner, hyperparameters }],
            ..Genesis::default()
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let node = DevNode::start(&config).unwrap();
        let chain = SubstrateChain::connect(ClientConfig::new(node.url())).unwrap();
        let call = Call::SetCommitment { netuid: NetUid(1), data: vec![1] };
        let reason = CallError::from_name("SpaceLimitExceeded");
        let Explanation { numbers, hint } = explain(&chain, &call, owner, &reason);
        assert!(numbers.unwrap().contains("within 100 blocks"));
        assert!(hint.unwrap().contains("next epoch"));
        assert!(reason.to_string().contains("`SpaceLimitExceeded`"));
    }
}
