//! What a model is judged by: cross-entropy (equation 1) and perplexity (equation 2).

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
