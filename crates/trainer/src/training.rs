//! The training loop's state: a model, its optimizer, and where it is in its schedule.

use crate::{
    adamw::{self, Moments, Update},
    checkpoint::{self, Checkpoint},
    config::ModelConfig,
    error::{Error, Result},
    model::{self, Batch},
    parameters::{self, Kind, Slot},
    recipe::Recipe,
    tape::with_floats,
};
use candle_core::{Device, Tensor, Var};
use protocol::Seed;
use std::path::Path;

/// Sequences that are measured at a time.
const SEQUENCES_PER_MEASUREMENT: usize = 16;

/// A model in training.
///
/// Everything runs in the trainer's own threads. The numbers depend on config, recipe, seed and
/// batches alone: not on the number of threads, nor on what else the process does.
pub struct Trainer {
    config: ModelConfig,
    recipe: Recipe,
    slots: Vec<Slot>,
    variables: Vec<Var>,
    moments: Vec<Moments>,
    step: u64,
    threads: rayon::ThreadPool,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Mean cross-entropy of the batch before the step, in nats per predicted token.
    pub loss: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Predicted tokens of the batch.
    pub n_tokens: usize,
}

impl Trainer {
    /// A fresh model; the seed decides its first parameters.
    pub fn new(config: ModelConfig, recipe: Recipe, seed: Seed) -> Result<Self> {
        config.check()?;
        let values = parameters::first_values(&config, &seed);
        let moments = zero_moments(&config);
        Self::assemble(Checkpoint { config, recipe, values, moments, step: 0, position: vec![] })
    }

    /// A trainer that starts from the parameters of a published model, with a fresh optimizer.
    ///
    /// Reads `config.json` and `model.safetensors`; what a stranger wrote there can give an
    /// error, never a panic or an allocation beyond what the config honestly needs.
    pub fn from_model(dir: &Path, recipe: Recipe) -> Result<Self> {
        let (config, values) = checkpoint::read_model(dir)?;
        let moments = zero_moments(&config);
        Self::assemble(Checkpoint { config, recipe, values, moments, step: 0, position: vec![] })
    }

    /// Goes on from a checkpoint; also returns the position that was saved with it.
    ///
    /// The resumed run makes the same steps, bit for bit, as the uninterrupted one.
    pub fn resume(dir: &Path) -> Result<(Self, Vec<u64>)> {
        let mut checkpoint = checkpoint::read(dir)?;
        let position = std::mem::take(&mut checkpoint.position);
        Ok((Self::assemble(checkpoint)?, position))
    }

    fn assemble(checkpoint: Checkpoint) -> Result<Self> {
        let Checkpoint { config, recipe, values, moments, step, position: _ } = checkpoint;
        recipe.check()?;
        let slots = parameters::slots(&config);
        let variables = parameters::variables(&slots, values)?;
        Ok(Self { config, recipe, slots, variables, moments, step, threads: threads(1)? })
    }

    /// Uses `n_threads` instead of one; the numbers stay the same.
    pub fn with_threads(mut self, n_threads: usize) -> Result<Self> {
        self.threads = threads(n_threads.max(1))?;
        Ok(self)
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How it is trained.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Steps made so far.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    /// Makes one step on a batch of the recipe's number of sequences, each from two tokens to the
    /// context long; every token after the first of each is predicted.
    ///
    /// After an error the model is as before.
    pub fn step(&mut self, batch: &[Vec<u32>]) -> Result<StepReport> {
        if batch.len() != self.recipe.sequences_per_batch {
            let (n, wanted) = (batch.len(), self.recipe.sequences_per_batch);
            return Err(Error::Batch(format!("{n} sequences where the recipe says {wanted}")));
        }
        let batch = Batch::new(&self.config, batch)?;
        let step = self.step + 1;
        let (loss, gradients) = self.threads.install(|| self.gradients(&batch))?;
        let gradient_norm = adamw::norm(gradients.iter().map(Vec::as_slice));
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            return Err(Error::Diverged { step, loss, gradient_norm });
        }
        self.update(&Update::new(&self.recipe, step, gradient_norm), &gradients)?;
        self.step = step;
        let (lr, n_tokens) = (self.recipe.lr_at(step), batch.n_tokens());
        Ok(StepReport { step, loss, lr, gradient_norm, n_tokens })
    }

    /// Mean cross-entropy over all predicted tokens of some sequences, in nats.
    pub fn loss(&self, sequences: &[Vec<u32>]) -> Result<f64> {
        if sequences.is_empty() {
            return Err(Error::Batch("no sequences".to_owned()));
        }
        let slots: Vec<Tensor> = self.variables.iter().map(Var::as_detached_tensor).collect();
        let slots: Vec<&Tensor> = slots.iter().collect();
        let (mut sum, mut n_tokens) = (0.0, 0);
        for sequences in sequences.chunks(SEQUENCES_PER_MEASUREMENT) {
            let batch = Batch::new(&self.config, sequences)?;
            let measure = || model::cross_entropy_sum(&self.config, &slots, &batch);
            sum += self.threads.install(measure)?;
            n_tokens += batch.n_tokens();
        }
        Ok(sum / n_tokens as f64)
    }

    /// Writes the model as transformers would: `config.json` and `model.safetensors`, in F32.
    ///
    /// Appears whole or not at all; `dir` must not exist or be empty. Equal parameters give equal
    /// bytes.
    pub fn save_model(&self, dir: &Path) -> Result<()> {
        checkpoint::write_model(dir, &self.config, &self.values()?)
    }

    /// Writes `checkpoint.safetensors` into `dir`, replacing an older one in one instant.
    ///
    /// `position` is the caller's: where in its data it is, to be given back by [`Self::resume`].
    pub fn save_checkpoint(&self, dir: &Path, position: &[u64]) -> Result<()> {
        let checkpoint = Checkpoint {
            config: self.config.clone(),
            recipe: self.recipe.clone(),
            values: self.values()?,
            moments: self.moments.clone(),
            step: self.step,
            position: position.to_vec(),
        };
        checkpoint::write(dir, &checkpoint)
    }

    /// The loss of a batch and the gradient of every slot, in their order.
    pub(crate) fn gradients(&self, batch: &Batch) -> Result<(f64, Vec<Vec<f32>>)> {
        let slots: Vec<&Tensor> = self.variables.iter().map(Var::as_tensor).collect();
        let loss = model::loss(&self.config, &slots, batch)?;
        let gradients = loss.backward()?;
        let of_slots =
            slots.iter().zip(&self.slots).map(|(tensor, slot)| match gradients.get(tensor) {
                Some(gradient) => with_floats([gradient], |[gradient]| gradient.to_vec()),
                None => Ok(vec![0.0; slot.len()]),
            });
        Ok((loss.to_scalar()?, of_slots.collect::<candle_core::Result<_>>()?))
    }

    fn update(&mut self, update: &Update, gradients: &[Vec<f32>]) -> Result<()> {
        let tensors = self.variables.iter().zip(&self.slots).zip(gradients);
        for (((variable, slot), gradient), moments) in tensors.zip(&mut self.moments) {
            let mut values = with_floats([variable.as_tensor()], |[values]| values.to_vec())?;
            update.apply(&mut values, gradient, moments, slot.kind != Kind::Gain);
            variable.set(&Tensor::from_vec(values, slot.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }

    /// A copy of all parameters, by slot.
    pub(crate) fn values(&self) -> Result<Vec<Vec<f32>>> {
        let values = |variable: &Var| with_floats([variable.as_tensor()], |[v]| v.to_vec());
        Ok(self.variables.iter().map(values).collect::<candle_core::Result<_>>()?)
    }
}

fn zero_moments(config: &ModelConfig) -> Vec<Moments> {
    parameters::slots(config).iter().map(|slot| Moments::zeros(slot.len())).collect()
}

fn threads(n_threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|i| format!("trainer-{i}"))
        .build()
        .map_err(|source| Error::Threads { n_threads, source })
}

#[cfg(test)]
mod tests;
