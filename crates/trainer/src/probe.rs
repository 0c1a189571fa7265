//! Whether a model can be trained further: section 3.4.3 of the paper.

use crate::{
    config::ModelConfig,
    error::{Error, Result},
    model::Batch,
    parameters::{self, Kind, Slot},
    recipe::Recipe,
    training::Trainer,
};
use std::{collections::BTreeMap, path::Path};

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
}

/// The gradient of one tensor against its numbers, or of several that are trained as one.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorGradient {
    /// Names, joined by `+`.
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

fn gradients(trainer: &Trainer, batch: &[Vec<u32>]) -> Result<Vec<TensorGradient>> {
    let config: &ModelConfig = trainer.config();
    let (_, gradients) = trainer.gradients(&Batch::new(config, batch)?)?;
    let slots = parameters::slots(config);
    let ratios: Vec<(&Slot, f64)> = slots
        .iter()
        .zip(gradients.iter().zip(trainer.values()?))
        .map(|(slot, (gradient, values))| (slot, rms(gradient) / rms(&values)))
        .collect();
    let mut kinds: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
    for (slot, ratio) in &ratios {
        kinds.entry(kind(slot)).or_default().push(*ratio);
    }
    let median = |slot: &Slot| {
        let mut ratios = kinds.get(&kind(slot)).cloned().unwrap_or_default();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(1.0)
    };
    let tensor = |(slot, ratio): &(&Slot, f64)| TensorGradient {
        name: slot.tensors().map(|(name, _)| name).collect::<Vec<_>>().join("+"),
        ratio: *ratio,
        decades: (ratio / median(slot)).log10(),
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
