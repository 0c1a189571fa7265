//! Rules of a subnet, and how its owner changes them.

use super::{Event, GenesisError, Ledger, RAO_PER_TAO};
use crate::CallError;
use protocol::{AccountId, NetUid, yuma};
use serde::{Deserialize, Serialize};

/// Rules of a subnet that its owner chooses, with the defaults of summer 2024.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// Blocks between two epochs.
    pub tempo: u16,
    /// Most slots.
    pub max_uids: u16,
    /// Most permits.
    pub max_validators: u16,
    /// Blocks for which a new slot is not pruned.
    pub immunity_period: u64,
    /// Whether slots can be bought.
    pub registration_allowed: bool,
    /// Price of a slot at the start.
    pub burn_rao: u64,
    /// Lowest price.
    pub min_burn_rao: u64,
    /// Highest price.
    pub max_burn_rao: u64,
    /// Blocks between two adjustments of the price.
    pub adjustment_interval: u64,
    /// Share of the old price in the adjusted one, of 65,535.
    pub adjustment_alpha: u16,
    /// Registrations per interval at which the price stays; three times as many are allowed.
    pub target_registrations: u16,
    /// Most registrations in one block.
    pub max_registrations_per_block: u16,
    /// Blocks between two settings of weights of one validator.
    pub weights_rate_limit: u64,
    /// Fewest weights in one call.
    pub min_weights: u16,
    /// Largest share of one weight, of 65,535.
    pub max_weight_limit: u16,
    /// Version that validators must run at least; zero accepts all.
    pub weights_version: u64,
    /// Blocks between two commitments of one hotkey.
    pub commitment_rate_limit: u64,
    /// Share of stake that consensus needs, of 65,535.
    pub kappa: u16,
    /// Share of the old bonds, in millionths.
    pub bonds_moving_average: u64,
    /// How far clipping cuts the weights that make bonds, of 65,535.
    pub bonds_penalty: u16,
    /// Whether bonds follow Yuma3.
    pub yuma3: bool,
    /// Bond rates that depend on weight and consensus; needs `yuma3`.
    pub liquid_alpha: Option<yuma::LiquidAlpha>,
    /// Which generation of small rules consensus follows.
    ///
    /// Deviation: today's even beside the bonds of 2024, because under the rules of 2024 the bonds
    /// on a pruned miner could pass to whoever took its slot.
    pub era: yuma::Era,
    /// Blocks without new weights after which a validator has no say.
    pub activity_cutoff: u64,
    /// Stake below which nobody sets weights or counts in consensus.
    pub stake_threshold_rao: u64,
    /// Whether weights are committed to first and revealed later.
    pub commit_reveal: bool,
    /// Epochs between commit and reveal.
    pub reveal_period: u64,
}

/// One rule with its new value; names and units are those of [`Hyperparameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HyperparameterChange {
    /// `weights_version`.
    WeightsVersion(u64),
    /// `weights_rate_limit`.
    WeightsRateLimit(u64),
    /// `adjustment_interval`.
    AdjustmentInterval(u16),
    /// `immunity_period`.
    ImmunityPeriod(u16),
    /// `min_weights`.
    MinWeights(u16),
    /// `max_uids`.
    MaxUids(u16),
    /// `kappa`.
    Kappa(u16),
    /// `activity_cutoff`.
    ActivityCutoff(u16),
    /// `registration_allowed`.
    RegistrationAllowed(bool),
    /// `target_registrations`.
    TargetRegistrations(u16),
    /// `min_burn_rao`.
    #[serde(rename = "min_burn_rao", alias = "min_burn")]
    MinBurn(u64),
    /// `max_burn_rao`.
    #[serde(rename = "max_burn_rao", alias = "max_burn")]
    MaxBurn(u64),
    /// `max_validators`.
    MaxValidators(u16),
    /// `bonds_moving_average`.
    BondsMovingAverage(u64),
    /// `max_registrations_per_block`.
    MaxRegistrationsPerBlock(u16),
    /// `tempo`.
    Tempo(u16),
    /// `commit_reveal`.
    CommitReveal(bool),
    /// `reveal_period`.
    RevealPeriod(u64),
    /// `bonds_penalty`.
    BondsPenalty(u16),
    /// `yuma3`.
    Yuma3(bool),
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            tempo: 360,
            max_uids: 256,
            max_validators: 64,
            immunity_period: 5_000,
            registration_allowed: true,
            burn_rao: RAO_PER_TAO,
            min_burn_rao: RAO_PER_TAO,
            max_burn_rao: 100 * RAO_PER_TAO,
            adjustment_interval: 360,
            adjustment_alpha: 0,
            target_registrations: 1,
            max_registrations_per_block: 1,
            weights_rate_limit: 100,
            min_weights: 1,
            max_weight_limit: u16::MAX,
            weights_version: 0,
            commitment_rate_limit: 100,
            kappa: 32_767,
            bonds_moving_average: 900_000,
            bonds_penalty: u16::MAX,
            yuma3: false,
            liquid_alpha: None,
            era: yuma::Era::Latest,
            activity_cutoff: 5_000,
            stake_threshold_rao: 0,
            commit_reveal: false,
            reveal_period: 1,
        }
    }
}

impl Hyperparameters {
    /// Everything that the ledger relies on of a subnet.
    pub(super) fn check(&self, netuid: NetUid) -> Result<(), GenesisError> {
        let uids = 1..=yuma::MAX_NEURONS;
        let liquid_fits =
            self.liquid_alpha.is_none_or(|alpha| self.yuma3 && alpha.low <= alpha.high);
        let rules = [
            ("tempo", "at least 1", self.tempo >= 1),
            ("max_uids", "from 1 to 4096", uids.contains(&usize::from(self.max_uids))),
            ("min_burn_rao", "at most `max_burn_rao`", self.min_burn_rao <= self.max_burn_rao),
            ("adjustment_interval", "at least 1", self.adjustment_interval >= 1),
            ("target_registrations", "at least 1", self.target_registrations >= 1),
            ("bonds_moving_average", "at most 1000000", self.bonds_moving_average <= 1_000_000),
            ("reveal_period", "from 1 to 100", (1..=100).contains(&self.reveal_period)),
            ("liquid_alpha", "`low` at most `high`, with `yuma3`", liquid_fits),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, expected, _)) => {
                Err(GenesisError::Hyperparameter { netuid, field, expected })
            }
            None => Ok(()),
        }
    }
}

impl Hyperparameters {
    /// Takes a change in; whether the result is possible is asked afterwards.
    fn take(&mut self, change: HyperparameterChange) {
        use HyperparameterChange as Change;
        match change {
            Change::WeightsVersion(value) => self.weights_version = value,
            Change::WeightsRateLimit(value) => self.weights_rate_limit = value,
            Change::AdjustmentInterval(value) => self.adjustment_interval = value.into(),
            Change::ImmunityPeriod(value) => self.immunity_period = value.into(),
            Change::MinWeights(value) => self.min_weights = value,
            Change::MaxUids(value) => self.max_uids = value,
            Change::Kappa(value) => self.kappa = value,
            Change::ActivityCutoff(value) => self.activity_cutoff = value.into(),
            Change::RegistrationAllowed(value) => self.registration_allowed = value,
            Change::TargetRegistrations(value) => self.target_registrations = value,
            Change::MinBurn(value) => self.min_burn_rao = value,
            Change::MaxBurn(value) => self.max_burn_rao = value,
            Change::MaxValidators(value) => self.max_validators = value,
            Change::BondsMovingAverage(value) => self.bonds_moving_average = value,
            Change::MaxRegistrationsPerBlock(value) => self.max_registrations_per_block = value,
            Change::Tempo(value) => self.tempo = value,
            Change::CommitReveal(value) => self.commit_reveal = value,
            Change::RevealPeriod(value) => self.reveal_period = value,
            Change::BondsPenalty(value) => self.bonds_penalty = value,
            Change::Yuma3(value) => self.yuma3 = value,
        }
    }
}

impl Ledger {
    /// `sudo_set_…`: the owner of a subnet changes one of its rules, within what the ledger can do.
    pub(super) fn set_hyperparameter(
        &mut self,
        coldkey: AccountId,
        netuid: NetUid,
        change: HyperparameterChange,
    ) -> Result<Event, CallError> {
        let now = self.now();
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        if subnet.owner != coldkey {
            return Err(CallError::BadOrigin);
        }
        let mut rules = subnet.hyperparameters.clone();
        rules.take(change);
        rules.check(netuid).map_err(|_| CallError::ValueNotInBounds)?;
        // Nobody loses a slot because the owner wants fewer.
        if usize::from(rules.max_uids) < subnet.slots.len() {
            return Err(CallError::ValueNotInBounds);
        }
        subnet.burn_rao = subnet.burn_rao.clamp(rules.min_burn_rao, rules.max_burn_rao);
        subnet.hyperparameters = rules;
        if matches!(change, HyperparameterChange::Tempo(_)) {
            // As on the chain: a new tempo begins to count where it is set.
            subnet.cycle.last_epoch_block = now;
        }
        Ok(Event::HyperparameterSet { netuid, change })
    }
}
