//! What a model is judged by: cross-entropy (equation 1) and perplexity (equation 2).

use crate::math;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{cmp::Ordering, fmt};

/// A loss: a number from zero to infinity, never NaN; lower is better.
///
/// Infinity is a value (the paper gives it to models that fail the initial verification) and is
/// written as `null` in JSON. The order is total.
#[derive(Clone, Copy, PartialEq)]
pub struct Loss(f64);

/// The number is NaN or negative.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is not a loss: it must be at least zero")]
pub struct NotALoss(f64);

impl Loss {
    /// The loss of a model that could not be measured.
    pub const INFINITE: Self = Self(f64::INFINITY);

    /// Checks that `value` is at least zero; negative zero becomes zero.
    pub fn new(value: f64) -> Result<Self, NotALoss> {
        if value >= 0.0 { Ok(Self(value + 0.0)) } else { Err(NotALoss(value)) }
    }

    /// The number, at least zero, possibly infinite.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Whether the loss is a finite number.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

/// Mean of the negative log-likelihoods, in nats, of the predicted tokens (equation 1).
///
/// Summed in order, so that everybody gets the same bits. No tokens, a NaN or a negative mean are
/// not a loss.
pub fn mean_cross_entropy(negative_log_likelihoods: &[f64]) -> Result<Loss, NotALoss> {
    let sum: f64 = negative_log_likelihoods.iter().sum();
    Loss::new(sum / negative_log_likelihoods.len() as f64)
}

/// The loss of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceLoss {
    /// Tokens that were predicted: all but the first.
    pub n_tokens: u32,
    /// Mean negative log-likelihood in nats per predicted token.
    pub cross_entropy: Loss,
}

/// Equation 1 over several sequences: the mean over all their predicted tokens.
///
/// Summed in order, so that everybody gets the same bits; infinite without a token.
pub fn of_sequences(sequences: &[SequenceLoss]) -> Loss {
    let n_tokens: u64 = sequences.iter().map(|sequence| u64::from(sequence.n_tokens)).sum();
    let nats =
        |sequence: &SequenceLoss| sequence.cross_entropy.value() * f64::from(sequence.n_tokens);
    let sum: f64 = sequences.iter().map(nats).sum();
    Loss::new(sum / n_tokens as f64).unwrap_or(Loss::INFINITE)
}

/// The loss of each batch from those of all sequences in order; `sizes` tells how many sequences
/// each batch has, and all together are not more than there are.
pub fn per_batch(
    sizes: impl IntoIterator<Item = usize>,
    mut sequences: &[SequenceLoss],
) -> Vec<Loss> {
    let per_batch = sizes.into_iter().map(|size| {
        let (own, others) = sequences.split_at(size);
        sequences = others;
        of_sequences(own)
    });
    per_batch.collect()
}

/// The perplexity of a cross-entropy in nats (equation 2); infinite above 709.78 nats.
pub fn perplexity(cross_entropy: Loss) -> Loss {
    Loss(math::exp(cross_entropy.0))
}

/// Mean of losses over batches; infinite when there are none.
///
/// Summed in ascending order, so that the order of the batches cannot matter.
pub fn mean(losses: &[Loss]) -> Loss {
    let mut sorted = losses.to_vec();
    sorted.sort_unstable();
    let sum: f64 = sorted.iter().map(|loss| loss.0).sum();
    Loss::new(sum / losses.len() as f64).unwrap_or(Loss::INFINITE)
}

impl Eq for Loss {}

impl PartialOrd for Loss {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Loss {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loss({})", self.0)
    }
}

impl Serialize for Loss {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.is_finite().then_some(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Loss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<f64>::deserialize(deserializer)? {
            None => Ok(Self::INFINITE),
            Some(value) => Self::new(value).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn perplexity_of_uniform_guesses_is_the_number_of_choices() {
        let ten_choices = mean_cross_entropy(&[10f64.ln(); 7]).unwrap();
        assert!((perplexity(ten_choices).value() - 10.0).abs() < 1e-13);
        assert_eq!(perplexity(Loss::new(0.0).unwrap()).value(), 1.0);
    }

    #[test]
    fn what_cannot_be_a_loss_is_refused_and_overflow_is_infinite() {
        assert!(mean_cross_entropy(&[]).is_err());
        assert!(mean_cross_entropy(&[1.0, f64::NAN]).is_err());
        assert!(mean_cross_entropy(&[-1.0]).is_err());
        assert_eq!(mean_cross_entropy(&[1.0, f64::INFINITY]), Ok(Loss::INFINITE));
        assert_eq!(perplexity(Loss::new(710.0).unwrap()), Loss::INFINITE);
        assert_eq!(perplexity(Loss::INFINITE), Loss::INFINITE);
        assert_eq!(mean(&[]), Loss::INFINITE);
        assert_eq!(Loss::new(-0.0).unwrap().value().to_bits(), 0);
    }

    #[test]
    fn an_infinite_loss_is_null_in_json() {
        let losses: Vec<Loss> = serde_json::from_str("[2.5,null]").unwrap();
        assert_eq!(losses, [Loss(2.5), Loss::INFINITE]);
        assert_eq!(serde_json::to_string(&losses).unwrap(), "[2.5,null]");
        assert!(serde_json::from_str::<Loss>("-1.0").is_err());
    }

    proptest! {
        #[test]
        fn the_mean_does_not_depend_on_the_order_of_the_batches(
            values in prop::collection::vec(0.0..1e6, 1..20), turn in 0usize..20,
        ) {
            let losses: Vec<Loss> = values.iter().map(|v| Loss::new(*v).unwrap()).collect();
            let mut turned = losses.clone();
            turned.rotate_left(turn % losses.len());
            prop_assert_eq!(mean(&losses).value().to_bits(), mean(&turned).value().to_bits());
        }
    }
}
