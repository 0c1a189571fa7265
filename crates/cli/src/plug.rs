//! Plugs the engine into the validator and the trainer into the miner.

use crate::failure::Interrupted;
use anyhow::Context as _;
use dataset::{Batch, pack::TrainingStream};
use engine::{EvaluateOptions, Model, Scan};
use miner::{StepReport, Train};
use protocol::{
    Competition, Loss, Outcome, Reason, ReasonCode,
    unigram::{no_better_than_guessing, unigram},
};
use std::{
    io::ErrorKind,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use trainer::{Recipe, Trainer};
use validator::Inspected;

/// Measures a model on all batches and compares it with guessing; what
/// [`validator::Evaluate::evaluate`] is, in this process.
pub fn evaluate(
    dir: &Path,
    competition: &Competition,
    batches: &[Batch],
    n_threads: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> anyhow::Result<Outcome> {
    let model = match Model::load(dir, &competition.model)? {
        Ok(model) => model,
        Err(reason) => return Ok(Outcome::Disqualified(reason)),
    };
    // A loss is a function of parameters and tokens alone, so all batches go in one call.
    let n_per_batch = batches.first().map_or(1, |batch| batch.sequences.len().max(1));
    let report = |at: engine::Progress| progress(at.n_sequences_done / n_per_batch);
    let options = EvaluateOptions {
        threads: n_threads,
        progress: Some(&report),
        ..EvaluateOptions::default()
    };
    let sequences: Vec<Vec<u32>> =
        batches.iter().flat_map(|batch| batch.sequences.iter().cloned()).collect();
    let losses = match model.evaluate(&sequences, &options)? {
        Ok(losses) => losses,
        Err(reason) => return Ok(Outcome::Disqualified(reason)),
    };
    let guessing = unigram(sequences.iter().map(Vec::as_slice));
    Ok(match no_better_than_guessing(mean_cross_entropy(&losses), guessing) {
        Some(reason) => Outcome::Disqualified(reason),
        None => {
            let sizes = batches.iter().map(|batch| batch.sequences.len());
            Outcome::Evaluated(per_batch(sizes, &losses))
        }
    })
}

/// The loss of each batch from those of all sequences in order; `sizes` tells how many sequences
/// each batch has.
pub fn per_batch(
    sizes: impl IntoIterator<Item = usize>,
    mut losses: &[engine::SequenceLoss],
) -> Vec<Loss> {
    let per_batch = sizes.into_iter().map(|size| {
        let (own, others) = losses.split_at(size);
        losses = others;
        mean_cross_entropy(own)
    });
    per_batch.collect()
}

/// What a validator says of a model before evaluating it: files, header, config, every parameter.
pub fn check(dir: &Path, competition: &Competition) -> anyhow::Result<Result<Inspected, Reason>> {
    Ok(examine(dir, competition)?.verdict)
}

/// What of [`check`] can be told without parameters: from files, headers and config alone.
pub fn check_ahead(dir: &Path, competition: &Competition) -> anyhow::Result<Result<(), Reason>> {
    Ok(inspect(dir, competition)?.map(drop))
}

/// What headers and config say, and whether that fits the text of the competition.
fn inspect(
    dir: &Path,
    competition: &Competition,
) -> anyhow::Result<Result<engine::Inspection, Reason>> {
    let inspection = match engine::inspect(dir, &competition.model)? {
        Ok(inspection) => inspection,
        Err(reason) => return Ok(Err(reason)),
    };
    let (needed, length) = (competition.text.vocabulary(), competition.text.sequence_length);
    if inspection.vocabulary < needed || inspection.context < length {
        let detail = format!(
            "the model has {} tokens and a context of {}; the competition needs {needed} and {length}",
            inspection.vocabulary, inspection.context
        );
        return Ok(Err(Reason::new(ReasonCode::VocabularyMismatch, detail)));
    }
    Ok(Ok(inspection))
}

/// What a model is like before it is evaluated.
pub struct Examined {
    /// What a validator says of it.
    pub verdict: Result<Inspected, Reason>,
    /// What its parameters are like, if they were read.
    pub scan: Option<Scan>,
}

/// [`check`], and what it saw.
pub fn examine(dir: &Path, competition: &Competition) -> anyhow::Result<Examined> {
    let refused = |reason| Ok(Examined { verdict: Err(reason), scan: None });
    let inspection = match inspect(dir, competition)? {
        Ok(inspection) => inspection,
        Err(reason) => return refused(reason),
    };
    let scan = match engine::scan(dir, &competition.model)? {
        Ok(scan) => scan,
        Err(reason) => return refused(reason),
    };
    let verdict = match scan.untrainable(&competition.model) {
        Some(reason) => Err(reason),
        None => {
            Ok(Inspected { n_parameters: inspection.n_parameters, tensor_root: scan.tensor_root })
        }
    };
    Ok(Examined { verdict, scan: Some(scan) })
}

/// Equation 1 over several sequences: the mean over all predicted tokens, summed in order.
pub fn mean_cross_entropy(sequences: &[engine::SequenceLoss]) -> Loss {
    let n_tokens: usize = sequences.iter().map(|sequence| sequence.n_tokens).sum();
    let sum: f64 = sequences
        .iter()
        .map(|sequence| sequence.cross_entropy.value() * sequence.n_tokens as f64)
        .sum();
    Loss::new(sum / n_tokens as f64).unwrap_or(Loss::INFINITE)
}

/// The trainer as miners use it: one model, one endless stream of text, some text held back.
pub struct TrainerTrain {
    trainer: Trainer,
    stream: TrainingStream,
    held_out: Vec<Vec<u32>>,
    recipe: Recipe,
    stop: Arc<AtomicBool>,
}

impl TrainerTrain {
    /// Training of `trainer` by `recipe` on `stream`, measured on `held_out`.
    pub fn new(
        trainer: Trainer,
        recipe: Recipe,
        stream: TrainingStream,
        held_out: Vec<Vec<u32>>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { trainer, stream, held_out, recipe, stop }
    }
}

impl Train for TrainerTrain {
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.trainer = Trainer::from_model(dir, self.recipe.clone())?;
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<StepReport> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        let batch = self
            .stream
            .next_batch(self.recipe.sequences_per_batch)
            .context("cannot read training text")?;
        let report = self.trainer.step(&batch)?;
        Ok(StepReport { step: report.step, loss: report.loss })
    }

    fn held_out_loss(&mut self) -> anyhow::Result<f64> {
        Ok(self.trainer.loss(&self.held_out)?)
    }

    fn loss_of(&mut self, dir: &Path) -> anyhow::Result<Option<f64>> {
        use trainer::Error::{Batch, Config, Io, Malformed};
        // Validators have measured it, so what the trainer finds wrong is only foreign to it.
        match Trainer::from_model(dir, self.recipe.clone()).map(|other| other.loss(&self.held_out))
        {
            Ok(Ok(loss)) => Ok(Some(loss)),
            Ok(Err(Batch(_))) | Err(Config(_) | Malformed { .. }) => Ok(None),
            Err(Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Ok(Err(error)) | Err(error) => Err(error.into()),
        }
    }

    fn save(&mut self, dir: &Path) -> anyhow::Result<()> {
        Ok(self.trainer.save_model(dir)?)
    }
}

#[cfg(test)]
mod tests;
