//! From win rates to what stands on chain: softmax (equation 6), moving average, merging of
//! competitions, 16-bit integers.

use crate::{AccountId, Uid, math};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Below this share an average that gets nothing new is forgotten.
///
/// A millionth of the smallest weight that survives rounding to 16 bits.
pub const AVERAGE_MIN: f64 = 1e-12;

/// Shares of 1 by the softmax of `values` at `temperature` (equation 6), in the order of `values`.
///
/// Values are finite, the temperature positive; stable from 1e-4 to 1e4. Summed in ascending order,
/// so that the order of `values` does not matter to the last bit.
pub fn softmax(values: &[f64], temperature: f64) -> Vec<f64> {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> =
        values.iter().map(|value| math::exp((value - highest) / temperature)).collect();
    let mut ascending = powers.clone();
    ascending.sort_unstable_by(f64::total_cmp);
    let sum: f64 = ascending.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// A hotkey in its slot: whoever takes over the slot is somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Miner {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
}

/// Moving average of the weights of one competition, by miner.
///
/// Written as a list in order of uid, so that equal averages give equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Average>", into = "Vec<Average>")]
pub struct MovingAverage {
    values: BTreeMap<Miner, f64>,
}

/// The average of one miner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Average of its weights, in [0, 1].
    pub weight: f64,
}

/// A list is not a moving average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAverage {
    /// A weight is outside [0, 1].
    #[error("average of uid `{0}` is not in [0, 1]")]
    OutOfRange(Uid),
    /// A miner stands there twice.
    #[error("uid `{0}` stands there twice with one hotkey")]
    Twice(Uid),
}

impl MovingAverage {
    /// Takes in the weights of a round; `alpha` is the weight of the old value.
    ///
    /// The first round that gives weight is taken as it is; later a miner who is missing on either
    /// side counts as zero there. A round in which nobody has weight is one of them: whoever is not
    /// there any more is paid less and less, be there others or not. A round that was given up for
    /// trouble of our own is none, and must not come here.
    pub fn update(&mut self, alpha: f64, round: &[(Miner, f64)]) {
        let new: BTreeMap<Miner, f64> =
            round.iter().copied().filter(|(_, weight)| *weight > 0.0).collect();
        if self.values.is_empty() {
            self.values = new;
            return;
        }
        let miners: BTreeSet<Miner> = self.values.keys().chain(new.keys()).copied().collect();
        for miner in miners {
            let (old, new) = (self.of(&miner), new.get(&miner).copied().unwrap_or(0.0));
            // Rounding must not leave the interval between the two.
            let mixed = (alpha * old + (1.0 - alpha) * new).clamp(old.min(new), old.max(new));
            if new == 0.0 && mixed < AVERAGE_MIN {
                self.values.remove(&miner);
            } else {
                self.values.insert(miner, mixed);
            }
        }
    }

    /// The average of a miner; zero for one who is not in it.
    pub fn of(&self, miner: &Miner) -> f64 {
        self.values.get(miner).copied().unwrap_or(0.0)
    }

    /// Whether nothing has been taken in yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All averages, in order of uid.
    pub fn iter(&self) -> impl Iterator<Item = Average> {
        self.values.iter().map(|(&Miner { uid, hotkey }, &weight)| Average { uid, hotkey, weight })
    }
}

impl From<MovingAverage> for Vec<Average> {
    fn from(average: MovingAverage) -> Self {
        average.iter().collect()
    }
}

impl TryFrom<Vec<Average>> for MovingAverage {
    type Error = NotAnAverage;

    fn try_from(list: Vec<Average>) -> Result<Self, NotAnAverage> {
        let mut values = BTreeMap::new();
        for Average { uid, hotkey, weight } in list {
            if !(0.0..=1.0).contains(&weight) {
                return Err(NotAnAverage::OutOfRange(uid));
            }
            if values.insert(Miner { uid, hotkey }, weight).is_some() {
                return Err(NotAnAverage::Twice(uid));
            }
        }
        Ok(Self { values })
    }
}

/// Weights of a subnet from its competitions, each with its reward share; they sum to 1, or all
/// are absent.
///
/// Only miners in `registered` count. A competition in which none of them has weight hands its
/// share to the others, in proportion to theirs.
pub fn merge(
    competitions: &[(f64, &MovingAverage)],
    registered: &BTreeSet<Miner>,
) -> BTreeMap<Uid, f64> {
    let mut weights = BTreeMap::new();
    for (share, average) in competitions {
        let present = || average.values.iter().filter(|(miner, _)| registered.contains(miner));
        let sum: f64 = present().map(|(_, weight)| weight).sum();
        for (miner, weight) in present().filter(|(_, weight)| **weight > 0.0) {
            *weights.entry(miner.uid).or_insert(0.0) += share * (weight / sum);
        }
    }
    let total: f64 = weights.values().sum();
    weights.retain(|_, weight| *weight > 0.0);
    weights.values_mut().for_each(|weight| *weight /= total);
    weights
}

/// Weights as the chain takes them: the largest becomes 65,535, zeros are left out.
///
/// Rounds half to even, as the Bittensor SDK does.
pub fn quantize(weights: &BTreeMap<Uid, f64>) -> Vec<(Uid, u16)> {
    let largest = weights.values().copied().fold(0.0, f64::max);
    weights
        .iter()
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(uid, weight)| {
            (*uid, (weight / largest * f64::from(u16::MAX)).round_ties_even() as u16)
        })
        .filter(|(_, weight)| *weight > 0)
        .collect()
}

#[cfg(test)]
mod tests;
