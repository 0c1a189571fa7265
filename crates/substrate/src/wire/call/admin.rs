//! Calls of the pallet AdminUtils: rules of a subnet, changed by its owner.

use chain::{Call, ledger::HyperparameterChange as Change};
use parity_scale_codec::{Decode, Encode};
use protocol::NetUid;
use scale_info::TypeInfo;

/// Calls that change one rule of a subnet each.
///
/// Deviation: Bittensor leaves some of them to its root account; here the owner may make all.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum AdminUtilsCall {
    /// Sets the version that validators must run at least.
    #[codec(index = 6)]
    sudo_set_weights_version_key {
        /// Subnet.
        netuid: u16,
        /// New value.
        weights_version_key: u64,
    },
    /// Sets the blocks between two settings of weights.
    #[codec(index = 7)]
    sudo_set_weights_set_rate_limit {
        /// Subnet.
        netuid: u16,
        /// New value.
        weights_set_rate_limit: u64,
    },
    /// Sets the blocks between two adjustments of the price of a slot.
    #[codec(index = 8)]
    sudo_set_adjustment_interval {
        /// Subnet.
        netuid: u16,
        /// New value.
        adjustment_interval: u16,
    },
    /// Sets the blocks for which a new slot is not pruned.
    #[codec(index = 13)]
    sudo_set_immunity_period {
        /// Subnet.
        netuid: u16,
        /// New value.
        immunity_period: u16,
    },
    /// Sets the fewest weights in one call.
    #[codec(index = 14)]
    sudo_set_min_allowed_weights {
        /// Subnet.
        netuid: u16,
        /// New value.
        min_allowed_weights: u16,
    },
    /// Sets the most slots.
    #[codec(index = 15)]
    sudo_set_max_allowed_uids {
        /// Subnet.
        netuid: u16,
        /// New value.
        max_allowed_uids: u16,
    },
    /// Sets the share of stake that consensus needs.
    #[codec(index = 16)]
    sudo_set_kappa {
        /// Subnet.
        netuid: u16,
        /// New value.
        kappa: u16,
    },
    /// Sets the blocks after which a silent validator has no say.
    #[codec(index = 18)]
    sudo_set_activity_cutoff {
        /// Subnet.
        netuid: u16,
        /// New value.
        activity_cutoff: u16,
    },
    /// Opens or closes registration.
    #[codec(index = 19)]
    sudo_set_network_registration_allowed {
        /// Subnet.
        netuid: u16,
        /// New value.
        registration_allowed: bool,
    },
    /// Sets the registrations at which the price stays.
    #[codec(index = 21)]
    sudo_set_target_registrations_per_interval {
        /// Subnet.
        netuid: u16,
        /// New value.
        target_registrations_per_interval: u16,
    },
    /// Sets the lowest price of a slot.
    #[codec(index = 22)]
    sudo_set_min_burn {
        /// Subnet.
        netuid: u16,
        /// New value.
        min_burn: u64,
    },
    /// Sets the highest price of a slot.
    #[codec(index = 23)]
    sudo_set_max_burn {
        /// Subnet.
        netuid: u16,
        /// New value.
        max_burn: u64,
    },
    /// Sets the most permits.
    #[codec(index = 25)]
    sudo_set_max_allowed_validators {
        /// Subnet.
        netuid: u16,
        /// New value.
        max_allowed_validators: u16,
    },
    /// Sets the share of the old bonds, in millionths.
    #[codec(index = 26)]
    sudo_set_bonds_moving_average {
        /// Subnet.
        netuid: u16,
        /// New value.
        bonds_moving_average: u64,
    },
    /// Sets the most registrations in one block.
    #[codec(index = 27)]
    sudo_set_max_registrations_per_block {
        /// Subnet.
        netuid: u16,
        /// New value.
        max_registrations_per_block: u16,
    },
    /// Sets the blocks between two epochs.
    #[codec(index = 30)]
    sudo_set_tempo {
        /// Subnet.
        netuid: u16,
        /// New value.
        tempo: u16,
    },
    /// Turns commit and reveal of weights on or off.
    #[codec(index = 49)]
    sudo_set_commit_reveal_weights_enabled {
        /// Subnet.
        netuid: u16,
        /// New value.
        enabled: bool,
    },
    /// Sets the epochs between commit and reveal.
    #[codec(index = 57)]
    sudo_set_commit_reveal_weights_interval {
        /// Subnet.
        netuid: u16,
        /// New value.
        interval: u64,
    },
    /// Sets how far clipping cuts the weights that make bonds.
    #[codec(index = 60)]
    sudo_set_bonds_penalty {
        /// Subnet.
        netuid: u16,
        /// New value.
        bonds_penalty: u16,
    },
    /// Turns the bonds of Yuma3 on or off.
    #[codec(index = 69)]
    sudo_set_yuma3_enabled {
        /// Subnet.
        netuid: u16,
        /// New value.
        enabled: bool,
    },
}

impl AdminUtilsCall {
    /// The rule that changes, and where.
    pub fn change(&self) -> (NetUid, Change) {
        let (netuid, change) = match *self {
            Self::sudo_set_weights_version_key { netuid, weights_version_key } => {
                (netuid, Change::WeightsVersion(weights_version_key))
            }
            Self::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit } => {
                (netuid, Change::WeightsRateLimit(weights_set_rate_limit))
            }
            Self::sudo_set_adjustment_interval { netuid, adjustment_interval } => {
                (netuid, Change::AdjustmentInterval(adjustment_interval))
            }
            Self::sudo_set_immunity_period { netuid, immunity_period } => {
                (netuid, Change::ImmunityPeriod(immunity_period))
            }
            Self::sudo_set_min_allowed_weights { netuid, min_allowed_weights } => {
                (netuid, Change::MinWeights(min_allowed_weights))
            }
            Self::sudo_set_max_allowed_uids { netuid, max_allowed_uids } => {
                (netuid, Change::MaxUids(max_allowed_uids))
            }
            Self::sudo_set_kappa { netuid, kappa } => (netuid, Change::Kappa(kappa)),
            Self::sudo_set_activity_cutoff { netuid, activity_cutoff } => {
                (netuid, Change::ActivityCutoff(activity_cutoff))
            }
            Self::sudo_set_network_registration_allowed { netuid, registration_allowed } => {
                (netuid, Change::RegistrationAllowed(registration_allowed))
            }
            Self::sudo_set_target_registrations_per_interval {
                netuid,
                target_registrations_per_interval,
            } => (netuid, Change::TargetRegistrations(target_registrations_per_interval)),
            Self::sudo_set_min_burn { netuid, min_burn } => (netuid, Change::MinBurn(min_burn)),
            Self::sudo_set_max_burn { netuid, max_burn } => (netuid, Change::MaxBurn(max_burn)),
            Self::sudo_set_max_allowed_validators { netuid, max_allowed_validators } => {
                (netuid, Change::MaxValidators(max_allowed_validators))
            }
            Self::sudo_set_bonds_moving_average { netuid, bonds_moving_average } => {
                (netuid, Change::BondsMovingAverage(bonds_moving_average))
            }
            Self::sudo_set_max_registrations_per_block { netuid, max_registrations_per_block } => {
                (netuid, Change::MaxRegistrationsPerBlock(max_registrations_per_block))
            }
            Self::sudo_set_tempo { netuid, tempo } => (netuid, Change::Tempo(tempo)),
            Self::sudo_set_commit_reveal_weights_enabled { netuid, enabled } => {
                (netuid, Change::CommitReveal(enabled))
            }
            Self::sudo_set_commit_reveal_weights_interval { netuid, interval } => {
                (netuid, Change::RevealPeriod(interval))
            }
            Self::sudo_set_bonds_penalty { netuid, bonds_penalty } => {
                (netuid, Change::BondsPenalty(bonds_penalty))
            }
            Self::sudo_set_yuma3_enabled { netuid, enabled } => (netuid, Change::Yuma3(enabled)),
        };
        (NetUid(netuid), change)
    }

    /// The call that makes a change.
    pub fn of(netuid: NetUid, change: Change) -> Self {
        let netuid = netuid.0;
        match change {
            Change::WeightsVersion(weights_version_key) => {
                Self::sudo_set_weights_version_key { netuid, weights_version_key }
            }
            Change::WeightsRateLimit(weights_set_rate_limit) => {
                Self::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit }
            }
            Change::AdjustmentInterval(adjustment_interval) => {
                Self::sudo_set_adjustment_interval { netuid, adjustment_interval }
            }
            Change::ImmunityPeriod(immunity_period) => {
                Self::sudo_set_immunity_period { netuid, immunity_period }
            }
            Change::MinWeights(min_allowed_weights) => {
                Self::sudo_set_min_allowed_weights { netuid, min_allowed_weights }
            }
            Change::MaxUids(max_allowed_uids) => {
                Self::sudo_set_max_allowed_uids { netuid, max_allowed_uids }
            }
            Change::Kappa(kappa) => Self::sudo_set_kappa { netuid, kappa },
            Change::ActivityCutoff(activity_cutoff) => {
                Self::sudo_set_activity_cutoff { netuid, activity_cutoff }
            }
            Change::RegistrationAllowed(registration_allowed) => {
                Self::sudo_set_network_registration_allowed { netuid, registration_allowed }
            }
            Change::TargetRegistrations(target_registrations_per_interval) => {
                Self::sudo_set_target_registrations_per_interval {
                    netuid,
                    target_registrations_per_interval,
                }
            }
            Change::MinBurn(min_burn) => Self::sudo_set_min_burn { netuid, min_burn },
            Change::MaxBurn(max_burn) => Self::sudo_set_max_burn { netuid, max_burn },
            Change::MaxValidators(max_allowed_validators) => {
                Self::sudo_set_max_allowed_validators { netuid, max_allowed_validators }
            }
            Change::BondsMovingAverage(bonds_moving_average) => {
                Self::sudo_set_bonds_moving_average { netuid, bonds_moving_average }
            }
            Change::MaxRegistrationsPerBlock(max_registrations_per_block) => {
                Self::sudo_set_max_registrations_per_block { netuid, max_registrations_per_block }
            }
            Change::Tempo(tempo) => Self::sudo_set_tempo { netuid, tempo },
            Change::CommitReveal(enabled) => {
                Self::sudo_set_commit_reveal_weights_enabled { netuid, enabled }
            }
            Change::RevealPeriod(interval) => {
                Self::sudo_set_commit_reveal_weights_interval { netuid, interval }
            }
            Change::BondsPenalty(bonds_penalty) => {
                Self::sudo_set_bonds_penalty { netuid, bonds_penalty }
            }
            Change::Yuma3(enabled) => Self::sudo_set_yuma3_enabled { netuid, enabled },
        }
    }
}

impl From<AdminUtilsCall> for Call {
    fn from(call: AdminUtilsCall) -> Self {
        let (netuid, change) = call.change();
        Self::SetHyperparameter { netuid, change }
    }
}

/// Names of the call and of its argument, and the value: a number, or else a flag.
pub(crate) fn on_chain(change: Change) -> (&'static str, &'static str, Result<u64, bool>) {
    match change {
        Change::WeightsVersion(value) => {
            ("sudo_set_weights_version_key", "weights_version_key", Ok(value))
        }
        Change::WeightsRateLimit(value) => {
            ("sudo_set_weights_set_rate_limit", "weights_set_rate_limit", Ok(value))
        }
        Change::AdjustmentInterval(value) => {
            ("sudo_set_adjustment_interval", "adjustment_interval", Ok(value.into()))
        }
        Change::ImmunityPeriod(value) => {
            ("sudo_set_immunity_period", "immunity_period", Ok(value.into()))
        }
        Change::MinWeights(value) => {
            ("sudo_set_min_allowed_weights", "min_allowed_weights", Ok(value.into()))
        }
        Change::MaxUids(value) => {
            ("sudo_set_max_allowed_uids", "max_allowed_uids", Ok(value.into()))
        }
        Change::Kappa(value) => ("sudo_set_kappa", "kappa", Ok(value.into())),
        Change::ActivityCutoff(value) => {
            ("sudo_set_activity_cutoff", "activity_cutoff", Ok(value.into()))
        }
        Change::RegistrationAllowed(value) => {
            ("sudo_set_network_registration_allowed", "registration_allowed", Err(value))
        }
        Change::TargetRegistrations(value) => (
            "sudo_set_target_registrations_per_interval",
            "target_registrations_per_interval",
            Ok(value.into()),
        ),
        Change::MinBurn(value) => ("sudo_set_min_burn", "min_burn", Ok(value)),
        Change::MaxBurn(value) => ("sudo_set_max_burn", "max_burn", Ok(value)),
        Change::MaxValidators(value) => {
            ("sudo_set_max_allowed_validators", "max_allowed_validators", Ok(value.into()))
        }
        Change::BondsMovingAverage(value) => {
            ("sudo_set_bonds_moving_average", "bonds_moving_average", Ok(value))
        }
        Change::MaxRegistrationsPerBlock(value) => (
            "sudo_set_max_registrations_per_block",
            "max_registrations_per_block",
            Ok(value.into()),
        ),
        Change::Tempo(value) => ("sudo_set_tempo", "tempo", Ok(value.into())),
        Change::CommitReveal(value) => {
            ("sudo_set_commit_reveal_weights_enabled", "enabled", Err(value))
        }
        Change::RevealPeriod(value) => {
            ("sudo_set_commit_reveal_weights_interval", "interval", Ok(value))
        }
        Change::BondsPenalty(value) => {
            ("sudo_set_bonds_penalty", "bonds_penalty", Ok(value.into()))
        }
        Change::Yuma3(value) => ("sudo_set_yuma3_enabled", "enabled", Err(value)),
    }
}
