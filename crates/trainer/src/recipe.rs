//! How a model is trained: the numbers of the optimizer and the schedule of the learning rate.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a model is trained; the defaults suit models of up to a few million parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Largest learning rate, reached at the end of the warm-up.
    pub lr: f64,
    /// Learning rate at the end of the schedule, and after it.
    pub lr_min: f64,
    /// Steps over which the learning rate rises from zero.
    pub warmup_steps: u64,
    /// Steps of the whole schedule, warm-up included.
    pub total_steps: u64,
    /// Share of every matrix that a step at learning rate 1 takes away; gains do not decay.
    pub weight_decay: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean of squared gradients.
    pub adam_epsilon: f64,
    /// Gradients with a larger global norm are scaled down to it.
    pub clip_norm: f64,
    /// Sequences of every batch.
    pub sequences_per_batch: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            lr: 3e-3,
            lr_min: 3e-4,
            warmup_steps: 30,
            total_steps: 1000,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            adam_epsilon: 1e-8,
            clip_norm: 1.0,
            sequences_per_batch: 16,
        }
    }
}

impl Recipe {
    /// Checks that every number is in its range; every constructor of a trainer does.
    pub fn check(&self) -> Result<()> {
        let is_positive = |x: f64| x > 0.0 && x.is_finite();
        // Steps are computed in 32 bits, where a number a hair below 1 is 1.
        let is_fraction = |x: f64| x >= 0.0 && (x as f32) < 1.0;
        let rules = [
            ("`lr` must be positive", is_positive(self.lr)),
            ("`lr_min` must be from 0 to `lr`", (0.0..=self.lr).contains(&self.lr_min)),
            ("`total_steps` must be positive", self.total_steps > 0),
            ("`warmup_steps` must be at most `total_steps`", self.warmup_steps <= self.total_steps),
            ("`weight_decay` must be from 0 to 1", (0.0..=1.0).contains(&self.weight_decay)),
            ("`beta1` must be in [0, 1)", is_fraction(self.beta1)),
            ("`beta2` must be in [0, 1)", is_fraction(self.beta2)),
            ("`adam_epsilon` must be positive", is_positive(self.adam_epsilon)),
            ("`clip_norm` must be positive", is_positive(self.clip_norm)),
            ("`sequences_per_batch` must be positive", self.sequences_per_batch > 0),
        ];
        match rules.iter().find(|(_, holds)| !holds) {
            Some((rule, _)) => Err(Error::Recipe((*rule).to_owned())),
            None => Ok(()),
        }
    }

    /// Learning rate of a step, counted from 1: a linear warm-up, then half a cosine.
    pub fn lr_at(&self, step: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.lr * step as f64 / self.warmup_steps.max(1) as f64;
        }
        let n = (self.total_steps - self.warmup_steps).max(1);
        let done = (step - self.warmup_steps).min(n) as f64 / n as f64;
        let height = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.lr_min + (self.lr - self.lr_min) * height
    }
}

#[cfg(test)]
mod tests;
