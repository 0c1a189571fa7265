//! Whether a model can be trained further: section 3.4.3 of the paper.

use crate::{
    config::ModelConfig,
    error::{Error, Result},
    model::Batch,
    parameters::{self, Kind, Slot},
    recipe::Recipe,
    training::Trainer,
};
use protocol::competition::HealthLimits;
use std::path::Path;

/// What some steps of training did to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Mean cross-entropy of the held-out text before the steps, in nats per token.
    pub loss_before: f64,
    /// The same after them; infinite if training diverged.
    pub loss_after: f64,
    /// Steps that were made.
    pub n_steps: u64,
    /// Global norm of the gradient of the first batch.
    pub gradient_norm: f64,
    /// The gradients of the first batch against the parameters.
    pub tensors: Vec<TensorGradient>,
}

impl Probe {
    /// Nats per token that the steps added to the loss.
    pub fn increase(&self) -> f64 {
        self.loss_after - self.loss_before
    }

    /// The tensor whose gradient is farthest from those of its kind.
    pub fn farthest(&self) -> Option<&TensorGradient> {
        self.tensors.iter().max_by(|a, b| a.decades.abs().total_cmp(&b.decades.abs()))
    }

    /// Whether others can train the model further: neither does the loss rise nor are gradients
    /// farther from those of their kind than the limits say.
    pub fn is_passed(&self, limits: &HealthLimits) -> bool {
        let is_near = |tensor: &TensorGradient| tensor.decades.abs() <= limits.probe_decades_max;
        self.increase() <= limits.probe_increase_max && self.tensors.iter().all(is_near)
    }
}

/// The gradient of one tensor against its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorGradient {
    /// Name in the checkpoint.
    pub name: String,
    /// Root mean square of the gradient over that of the parameters.
    pub ratio: f64,
    /// Decades of the ratio above the median of its kind: gains, matrices, tables.
    pub decades: f64,
}

impl Probe {
    /// Makes one step on each batch with a fresh optimizer at a constant learning rate.
    ///
    /// The model in `dir` must be a Llama in one file. `progress` is told how many steps are made
    /// and may stop them, which is [`Error::Stopped`]. The result depends on the model and the
    /// texts alone.
    pub fn run(
        dir: &Path,
        (batches, held_out): (&[Vec<Vec<u32>>], &[Vec<u32>]),
        lr: f64,
        progress: &dyn Fn(usize) -> bool,
    ) -> Result<Self> {
        let first = batches.first().ok_or_else(|| Error::Batch("no batches".to_owned()))?;
        let recipe = Recipe {
            lr,
            lr_min: lr,
            warmup_steps: 0,
            total_steps: batches.len() as u64,
            weight_decay: 0.0,
            sequences_per_batch: first.len(),
            ..Recipe::default()
        };
        let mut trainer = Trainer::from_model(dir, recipe)?;
        let loss_before = trainer.loss(held_out)?;
        let tensors = gradients(&trainer, first)?;
        let (mut gradient_norm, mut has_diverged) = (f64::INFINITY, false);
        for (index, batch) in batches.iter().enumerate() {
            if !progress(index) {
                return Err(Error::Stopped);
            }
            match trainer.step(batch) {
                Ok(report) if index == 0 => gradient_norm = report.gradient_norm,
                Ok(_) => (),
                Err(Error::Diverged { .. }) => {
                    has_diverged = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let after = if has_diverged { f64::INFINITY } else { trainer.loss(held_out)? };
        let loss_after = if after.is_nan() { f64::INFINITY } else { after };
        Ok(Self { loss_before, loss_after, n_steps: trainer.n_steps(), gradient_norm, tensors })
    }
}

/// Stands for zero where something is divided by it or its logarithm is taken.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

fn gradients(trainer: &Trainer, batch: &[Vec<u32>]) -> Result<Vec<TensorGradient>> {
    let config: &ModelConfig = trainer.config();
    let (_, gradients) = trainer.gradients(&Batch::new(config, batch)?)?;
    let slots = parameters::slots(config);
    let values = trainer.values()?;
    let mut ratios: Vec<(&str, u8, f64)> = Vec::new();
    for (slot, (gradient, values)) in slots.iter().zip(gradients.iter().zip(&values)) {
        let mut start = 0;
        for (name, shape) in slot.tensors() {
            let part = start..start + shape.iter().product::<usize>();
            start = part.end;
            let ratio = rms(&gradient[part.clone()]) / rms(&values[part]).max(SMALLEST);
            ratios.push((name, kind(slot), ratio));
        }
    }
    let median = |kind: u8| {
        let of_kind = ratios.iter().filter(|(_, other, _)| *other == kind);
        let mut ratios: Vec<f64> = of_kind.map(|(_, _, ratio)| *ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(1.0)
    };
    let tensor = |(name, kind, ratio): &(&str, u8, f64)| TensorGradient {
        name: (*name).to_owned(),
        ratio: *ratio,
        decades: (ratio.max(SMALLEST) / median(*kind).max(SMALLEST)).log10(),
    };
    Ok(ratios.iter().map(tensor).collect())
}

/// Tensors that are compared with each other.
fn kind(slot: &Slot) -> u8 {
    match slot.kind {
        Kind::Gain => 0,
        Kind::Matrix | Kind::ResidualWriter => 1,
        Kind::Embedding => 2,
    }
}

fn rms(numbers: &[f32]) -> f64 {
    let sum: f64 = numbers.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    (sum / numbers.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests;
