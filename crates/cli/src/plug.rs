//! Plugs the engine into the validator and the trainer into the miner.

use crate::failure::Interrupted;
use anyhow::Context as _;
use dataset::pack::{Position, TrainingStream};
use engine::{EvaluateOptions, Inspection, LoadOptions, Model, Sabotage, Scan};
use miner::{StepReport, Train};
use protocol::{
    Competition, Digest, Loss, Reason, SequenceLoss, competition::ARITHMETIC, loss, record::Card,
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

/// Name of the definition of a loss's bits: `docs/protocol.md` writes it down.
pub const ENGINE: &str = "arithmetic-1";
const _: () = assert!(ARITHMETIC == 1);

/// Tokens for each thread after which losses are handed over: few enough that a crash costs
/// minutes, many enough that nobody waits for anybody.
const TOKENS_PER_PIECE: usize = 1 << 14;

/// Measures a model on sequences and hands their losses over, in order and in pieces; what
/// [`validator::Engine::losses`] is, in this process.
pub fn losses(
    dir: &Path,
    exam: &Exam<'_>,
    learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
) -> anyhow::Result<Result<(), Reason>> {
    let Exam { competition, tensor_root, sequences, n_threads, memory_limit } = *exam;
    let options =
        LoadOptions { memory_limit, expect_root: Some(tensor_root), ..LoadOptions::default() };
    let model = match Model::load_with(dir, competition, &options)? {
        Ok(model) => model,
        Err(reason) => return Ok(Err(reason)),
    };
    let options = EvaluateOptions { threads: n_threads, ..EvaluateOptions::default() };
    let longest = sequences.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let per_piece = match memory_limit {
        // Each piece reads all parameters from the files again.
        Some(_) => sequences.len().max(1),
        None => (TOKENS_PER_PIECE * n_threads.max(1) / longest).max(n_threads.max(1)),
    };
    // A loss is a function of parameters and tokens alone, so the pieces do not matter to it.
    for piece in sequences.chunks(per_piece) {
        match model.evaluate(piece, &options)? {
            Ok(losses) => learn(&of_all(&losses))?,
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(()))
}

/// What a model is measured on, and with what.
#[derive(Clone, Copy)]
pub struct Exam<'a> {
    /// The rules.
    pub competition: &'a Competition,
    /// Tensor root that the model was admitted with.
    pub tensor_root: Digest,
    /// The text.
    pub sequences: &'a [Vec<u32>],
    /// Threads to use.
    pub n_threads: usize,
    /// Most bytes of memory to take: parameters that would fill more than half of it stay in their
    /// files.
    pub memory_limit: Option<u64>,
}

/// Losses as the rules take them.
fn of_all(losses: &[engine::SequenceLoss]) -> Vec<SequenceLoss> {
    let of = |loss: &engine::SequenceLoss| SequenceLoss {
        n_tokens: u32::try_from(loss.n_tokens).unwrap_or(u32::MAX),
        cross_entropy: loss.cross_entropy,
    };
    losses.iter().map(of).collect()
}

/// The loss of each batch from those of all sequences in order; `sizes` tells how many sequences
/// each batch has.
pub fn per_batch(
    sizes: impl IntoIterator<Item = usize>,
    losses: &[engine::SequenceLoss],
) -> Vec<Loss> {
    loss::per_batch(sizes, &of_all(losses))
}

/// What a validator says of a model before evaluating it: files, header, config, every parameter.
pub fn check(dir: &Path, competition: &Competition) -> anyhow::Result<Result<Inspected, Reason>> {
    Ok(examine(dir, competition)?.verdict)
}

/// What of [`check`] can be told without parameters: from files, headers and config alone.
pub fn check_ahead(dir: &Path, competition: &Competition) -> anyhow::Result<Result<(), Reason>> {
    Ok(engine::inspect(dir, competition)?.map(drop))
}

/// What a record says of a model.
fn card(inspection: Inspection, scan: &Scan) -> Card {
    let n_findings =
        |of: Sabotage| scan.findings.iter().filter(|f| f.sabotage == of).count() as u64;
    Card {
        architecture: inspection.architecture,
        n_parameters: inspection.n_parameters,
        size_bytes: inspection.size_bytes,
        vocabulary: inspection.vocabulary as u64,
        context: inspection.context as u64,
        n_vanishing: n_findings(Sabotage::Vanishing),
        n_exploding: n_findings(Sabotage::Exploding),
    }
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
    let inspection = match engine::inspect(dir, competition)? {
        Ok(inspection) => inspection,
        Err(reason) => return refused(reason),
    };
    let scan = match engine::scan(dir, competition)? {
        Ok(scan) => scan,
        Err(reason) => return refused(reason),
    };
    let verdict = match scan.untrainable(&competition.model) {
        Some(reason) => Err(reason),
        None => Ok(Inspected { tensor_root: scan.tensor_root, card: card(inspection, &scan) }),
    };
    Ok(Examined { verdict, scan: Some(scan) })
}

/// Equation 1 over several sequences: the mean over all predicted tokens, summed in order.
pub fn mean_cross_entropy(sequences: &[engine::SequenceLoss]) -> Loss {
    loss::of_sequences(&of_all(sequences))
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
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<bool> {
        // A model that is fine to evaluate may have gradients that overflow: a champion that was
        // made so would end whoever trains on from it. The text held back is no text to learn from,
        // and the step on it is thrown away.
        let mut trial = Trainer::from_model(dir, self.recipe.clone())?;
        let n_sequences = self.recipe.sequences_per_batch;
        let batch: Vec<_> = self.held_out.iter().cycle().take(n_sequences).cloned().collect();
        match trial.step(&batch) {
            Ok(_) => {}
            Err(trainer::Error::Diverged { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.trainer = Trainer::from_model(dir, self.recipe.clone())?;
        Ok(true)
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

    fn checkpoint(&mut self, dir: &Path, n_steps: u64) -> anyhow::Result<()> {
        let Position { epoch, n_documents, n_tokens } = self.stream.position();
        let position = [n_steps, epoch, n_documents, n_tokens as u64];
        disk::create_folder(dir)?;
        Ok(self.trainer.save_checkpoint(dir, &position)?)
    }

    fn resume(&mut self, dir: &Path) -> anyhow::Result<Option<u64>> {
        let (trainer, position) = match Trainer::resume(dir) {
            Ok(resumed) => resumed,
            Err(trainer::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        anyhow::ensure!(
            *trainer.recipe() == self.recipe,
            "the checkpoint in `{}` is of another recipe",
            dir.display()
        );
        let Ok([n_steps, epoch, n_documents, n_tokens]) = <[u64; 4]>::try_from(position) else {
            anyhow::bail!("the checkpoint in `{}` is no miner's", dir.display());
        };
        let n_tokens = usize::try_from(n_tokens)?;
        self.stream.set_position(Position { epoch, n_documents, n_tokens })?;
        self.trainer = trainer;
        Ok(Some(n_steps))
    }
}

#[cfg(test)]
mod tests;
