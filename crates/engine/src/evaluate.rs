//! Losses of sequences: equation 1 of the paper.

use crate::{
    InstructionSet, Model,
    batch::{Batch, Memory, WorkSpace},
    error::{Error, Stop, judge, refuse},
    forward::Forward,
    kernel::head::RowLoss,
    parameters::Parameters,
    pool,
};
use protocol::{
    Loss, Reason,
    ReasonCode::{NonFiniteLoss, VocabularyMismatch},
};
use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Rows that a batch should have: enough to keep the kernels busy, few enough for the caches.
const ROWS_PER_BATCH: usize = 512;
/// Work of one layer, in floating-point operations, from which on threads share a batch: less is
/// done before another thread has woken up.
const SHARED_FLOPS_MIN: u64 = 100_000_000;
/// Shortest sequence that predicts anything.
const TOKENS_MIN: usize = 2;

/// How to evaluate. Nothing here changes a loss: it is a function of parameters and tokens.
#[derive(Clone, Copy)]
pub struct EvaluateOptions<'a> {
    /// Threads to use, at least one.
    pub threads: usize,
    /// Sequences whose rows go through the layers together; zero chooses by their lengths.
    pub sequences_per_batch: usize,
    /// Whether to return the loss of every token.
    pub per_token: bool,
    /// Instructions to use.
    pub instructions: InstructionSet,
    /// Told after every batch how far it is, from any thread.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Set from elsewhere to stop: the call ends with [`Error::Cancelled`] at the next layer.
    pub cancelled: Option<&'a AtomicBool>,
}

impl<'a> EvaluateOptions<'a> {
    /// Whether the call was cancelled.
    pub(crate) fn is_cancelled(&self) -> impl Fn() -> bool + use<'a> {
        let cancelled = self.cancelled;
        move || cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Default for EvaluateOptions<'_> {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            sequences_per_batch: 0,
            per_token: false,
            instructions: InstructionSet::best(),
            progress: None,
            cancelled: None,
        }
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Sequences that are finished.
    pub n_sequences_done: usize,
    /// Sequences of the call.
    pub n_sequences: usize,
    /// Tokens of the finished sequences.
    pub n_tokens_done: usize,
    /// Tokens of the call.
    pub n_tokens: usize,
}

/// The loss of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceLoss {
    /// Tokens that were predicted: all but the first.
    pub n_tokens: usize,
    /// Mean negative log-likelihood in nats per predicted token, finite.
    pub cross_entropy: Loss,
    /// The negative log-likelihood of each predicted token, rounded to `f32`, if asked for.
    pub token_nll: Option<Vec<f32>>,
}

impl Model {
    /// The loss of each sequence: every token after the first is predicted from those before it.
    ///
    /// The model is refused if it does not know a token, if a sequence is longer than its context,
    /// or if a loss is not finite. A sequence of fewer than two tokens is the caller's error.
    pub fn evaluate(
        &self,
        sequences: &[Vec<u32>],
        options: &EvaluateOptions<'_>,
    ) -> Result<Result<Vec<SequenceLoss>, Reason>, Error> {
        judge(self.try_evaluate(sequences, options))
    }

    fn try_evaluate(
        &self,
        sequences: &[Vec<u32>],
        options: &EvaluateOptions<'_>,
    ) -> Result<Vec<SequenceLoss>, Stop> {
        for (index, tokens) in sequences.iter().enumerate() {
            self.check_tokens(tokens, tokens.len())?;
            if tokens.len() < TOKENS_MIN {
                let (n_tokens, n_tokens_min) = (tokens.len(), TOKENS_MIN);
                return Err(Error::SequenceTooShort { index, n_tokens, n_tokens_min }.into());
            }
        }
        let Some(longest) = sequences.iter().map(Vec::len).max() else { return Ok(Vec::new()) };
        let angles = self.angles(longest)?;
        let is_cancelled = options.is_cancelled();
        let evaluation = Evaluation {
            forward: self.forward(angles.as_deref(), options.instructions.check()?, &is_cancelled),
            parameters: self.parameters(),
            options,
            sequences,
            done: Mutex::new(Progress {
                n_sequences_done: 0,
                n_sequences: sequences.len(),
                n_tokens_done: 0,
                n_tokens: sequences.iter().map(Vec::len).sum(),
            }),
        };
        let groups = group(sequences, options);
        let n_threads = options.threads.max(1);
        let spaces = (0..n_threads).map(|_| WorkSpace::new(self.architecture(), longest));
        let mut spaces = spaces.collect::<Result<Vec<_>, Error>>()?;
        let mut results: Vec<Vec<_>> = groups.iter().map(|_| Vec::new()).collect();
        let tasks = groups.into_iter().zip(&mut results);
        if tasks.len() >= n_threads {
            // Each thread takes whole batches, so that nobody waits for anybody.
            pool::each(tasks, &mut spaces, |(group, result), space| {
                *result = evaluation.group(group, std::slice::from_mut(space));
            });
        } else {
            for (group, result) in tasks {
                let n_rows = sequences[group.clone()].iter().map(Vec::len).sum();
                let n_busy = self.n_busy(n_rows, n_threads);
                *result = evaluation.group(group, &mut spaces[..n_busy]);
            }
        }
        // The first fault in the order of the sequences, whoever found one first.
        results.into_iter().flatten().collect()
    }

    /// How many of `n_threads` should share the layers of a batch.
    pub(crate) fn n_busy(&self, n_rows: usize, n_threads: usize) -> usize {
        let flops = (n_rows as u64).saturating_mul(self.inspection().flops_per_token);
        let per_layer = flops / self.architecture().layers.len().max(1) as u64;
        if per_layer < SHARED_FLOPS_MIN { 1 } else { n_threads }
    }

    /// Refuses the model if it cannot take these tokens in a sequence of `n_positions`.
    pub(crate) fn check_tokens(&self, tokens: &[u32], n_positions: usize) -> Result<(), Reason> {
        let (vocabulary, context) = (self.vocabulary(), self.context());
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            let detail = format!("the token {token} is not in its vocabulary of {vocabulary}");
            return refuse(VocabularyMismatch, detail);
        }
        if n_positions > context {
            let detail = format!("{n_positions} tokens do not fit its context of {context}");
            return refuse(VocabularyMismatch, detail);
        }
        Ok(())
    }
}

/// Which sequences go through the layers together.
fn group(sequences: &[Vec<u32>], options: &EvaluateOptions<'_>) -> Vec<Range<usize>> {
    let n_tokens: usize = sequences.iter().map(Vec::len).sum();
    // No thread should be left without a batch while another has two.
    let share = n_tokens.div_ceil(options.threads.max(1)).min(ROWS_PER_BATCH);
    let mut groups = Vec::new();
    let mut start = 0;
    let mut n_rows = 0;
    for (index, tokens) in sequences.iter().enumerate() {
        n_rows += tokens.len();
        let is_full = match options.sequences_per_batch {
            0 => n_rows >= share,
            n => index + 1 - start == n,
        };
        if is_full {
            groups.push(start..index + 1);
            start = index + 1;
            n_rows = 0;
        }
    }
    if start < sequences.len() {
        groups.push(start..sequences.len());
    }
    groups
}

/// One call, shared by its threads.
struct Evaluation<'a> {
    forward: Forward<'a>,
    parameters: &'a Parameters,
    options: &'a EvaluateOptions<'a>,
    sequences: &'a [Vec<u32>],
    done: Mutex<Progress>,
}

impl Evaluation<'_> {
    fn group(
        &self,
        group: Range<usize>,
        spaces: &mut [WorkSpace],
    ) -> Vec<Result<SequenceLoss, Stop>> {
        let sequences = &self.sequences[group.clone()];
        let losses = match self.nats(sequences, spaces) {
            Ok(losses) => losses,
            Err(error) => return vec![Err(error.into())],
        };
        let mut rest = &losses[..];
        let results = sequences.iter().zip(group).map(|(tokens, index)| {
            let nats = rest.split_off(..tokens.len()).unwrap_or_default();
            let nats = &nats[..tokens.len() - 1];
            let mean = nats.iter().sum::<f64>() / nats.len() as f64;
            let cross_entropy = match Loss::new(mean) {
                Ok(loss) if loss.is_finite() => loss,
                _ => {
                    let token = nats.iter().position(|nats| !nats.is_finite()).unwrap_or(0) + 1;
                    let detail = format!("the loss of token {token} of sequence {index}");
                    return refuse(NonFiniteLoss, detail);
                }
            };
            let per_token = || nats.iter().map(|&nats| nats as f32).collect();
            let token_nll = self.options.per_token.then(per_token);
            Ok(SequenceLoss { n_tokens: nats.len(), cross_entropy, token_nll })
        });
        let results = results.collect();
        self.report(sequences);
        results
    }

    /// The loss of every row; that of a sequence's last row means nothing.
    fn nats(&self, sequences: &[Vec<u32>], spaces: &mut [WorkSpace]) -> Result<Vec<f64>, Error> {
        let Self { parameters, forward, .. } = self;
        let tokens: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let mut batch = Batch::start(forward.architecture, parameters, &tokens, 0)?;
        let mut memory = Memory::new(forward.architecture, &batch, false)?;
        forward.norm_rows(parameters.rows.norm.as_ref(), &mut batch, spaces)?;
        for layer in parameters.layers.iter().enumerate() {
            forward.layer(layer, (&mut batch, &mut memory), spaces)?;
        }
        forward.norm_rows(parameters.final_norm.as_ref(), &mut batch, spaces)?;
        let successors = tokens.iter().flat_map(|tokens| tokens[1..].iter().chain([&0]));
        let targets: Vec<u32> = successors.copied().collect();
        let mut losses = vec![RowLoss::START; targets.len()];
        let head = (&parameters.head, &(0..forward.architecture.vocabulary));
        forward.losses(head, &mut batch, spaces, (&targets, &mut losses))?;
        Ok(losses.into_iter().map(RowLoss::nats).collect())
    }

    fn report(&self, sequences: &[Vec<u32>]) {
        let Some(progress) = self.options.progress else { return };
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.n_sequences_done += sequences.len();
        done.n_tokens_done += sequences.iter().map(Vec::len).sum::<usize>();
        // Reported under the lock, so that reports never go backwards.
        progress(*done);
    }
}
