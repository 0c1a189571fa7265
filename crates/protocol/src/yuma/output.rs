//! What an epoch decides, slot by slot, in the units in which the chain stores it.

use serde::{Deserialize, Serialize};

/// Result of one epoch; ratios are of 65,535, rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Share of each miner in what miners earn.
    pub incentive: Vec<u16>,
    /// Share of each validator in what validators earn.
    pub dividends: Vec<u16>,
    /// The weight for each slot that a kappa of stake supports.
    pub consensus: Vec<u16>,
    /// Part of its raw rank that consensus left to each slot (2024).
    pub trust: Vec<u16>,
    /// Equal to incentive; the chain of 2024 stored both.
    pub rank: Vec<u16>,
    /// Part of its weights that consensus left to each validator.
    pub validator_trust: Vec<u16>,
    /// Who may set weights from now on.
    pub validator_permit: Vec<bool>,
    /// Rao paid to each slot, as miner and validator together.
    pub emission: Vec<u64>,
    /// Whether each slot set weights recently enough.
    pub active: Vec<bool>,
    /// Emission scaled so that the largest is 65,535: who is pruned first (2024).
    pub pruning_scores: Vec<u16>,
    /// Rows of (target, bond) to store.
    pub bonds: Vec<Vec<(u16, u16)>>,
    /// Rao paid to each slot as a miner.
    #[serde(skip)]
    pub server_emission: Vec<u64>,
    /// Rao paid to each slot as a validator.
    #[serde(skip)]
    pub validator_emission: Vec<u64>,
    /// Share of stake of each slot.
    #[serde(skip)]
    pub stake_weight: Vec<u16>,
}
