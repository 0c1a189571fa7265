//! Losses of sequences: equation 1 of the paper.

use crate::{
    InstructionSet, Model,
    arch::Architecture,
    batch::{Batch, TOKENS_PER_BATCH, WorkSpace},
    error::{Error, Stop, judge, refuse},
    forward::{Forward, HeadPart, Held, Marks},
    kernel::head::RowLoss,
    parameters::{Parameters, Piece},
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

/// Work of one layer, in floating-point operations, from which on threads share a batch: less is
/// done before another thread has woken up.
const SHARED_FLOPS_MIN: u64 = 100_000_000;
/// Shortest sequence that predicts anything.
pub(crate) const TOKENS_MIN: usize = 2;

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
    /// Told after every layer of a batch how far it is, from any thread.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Set from elsewhere to stop: the call ends with [`Error::Cancelled`] within a layer.
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
            threads: pool::n_processors(),
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
    /// Tokens of the finished sequences that were run: all but the last of each.
    pub n_tokens_done: usize,
    /// Tokens of the call that are run.
    pub n_tokens: usize,
    /// Layers that tokens have gone through, over all that are run; the head counts as a layer.
    pub n_steps_done: u64,
    /// The same of the whole call.
    pub n_steps: u64,
}

impl Progress {
    /// Nothing is done yet of these sequences.
    pub(crate) fn start(architecture: &Architecture, sequences: &[Vec<u32>]) -> Self {
        let n_tokens = sequences.iter().map(|tokens| tokens_run(tokens).len()).sum();
        Self {
            n_sequences_done: 0,
            n_sequences: sequences.len(),
            n_tokens_done: 0,
            n_tokens,
            n_steps_done: 0,
            n_steps: n_tokens as u64 * (architecture.layers.len() as u64 + 1),
        }
    }
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
        check_sequences(self.architecture(), sequences)?;
        let longest = sequences.iter().map(|tokens| tokens_run(tokens).len()).max();
        let Some(longest) = longest else { return Ok(Vec::new()) };
        let angles = self.angles(longest)?;
        let is_cancelled = options.is_cancelled();
        let evaluation = Evaluation {
            forward: self.forward(angles.as_deref(), options.instructions.check()?, &is_cancelled),
            parameters: self.parameters(),
            options,
            sequences,
            done: Mutex::new(Progress::start(self.architecture(), sequences)),
        };
        let groups = group(sequences, options);
        let n_rows = |group: &Range<usize>| {
            sequences[group.clone()].iter().map(|tokens| tokens_run(tokens).len()).sum()
        };
        let rows: Vec<usize> = groups.iter().map(n_rows).collect();
        let largest = rows.iter().copied().max().unwrap_or(0);
        let n_threads = self.threads_within_limit((largest, longest), options.threads.max(1));
        let spaces = (0..n_threads).map(|_| WorkSpace::new(self.architecture(), longest));
        let mut spaces = spaces.collect::<Result<Vec<_>, Error>>()?;
        if self.parameters().is_streamed() {
            let mut results = Vec::with_capacity(sequences.len());
            for wave in self.waves((&rows, longest), n_threads)? {
                results.extend(evaluation.wave(&groups[wave], &mut spaces)?);
            }
            return Ok(results.into_iter().collect::<Result<_, Reason>>()?);
        }
        let mut results: Vec<_> = groups.iter().map(|_| Ok(Vec::new())).collect();
        let tasks = groups.chunks(1).zip(&mut results);
        if tasks.len() >= n_threads {
            // Each thread takes whole batches, so that nobody waits for anybody.
            pool::each(tasks, &mut spaces, |(group, result), space| {
                *result = evaluation.wave(group, std::slice::from_mut(space));
            });
        } else {
            for (group, result) in tasks {
                let n_busy = self.n_busy(n_rows(&group[0]), n_threads);
                *result = evaluation.wave(group, &mut spaces[..n_busy]);
            }
        }
        // What stops a group comes first: behind it may be the first sequence to be refused. Else
        // that is the first in the order of the sequences, whoever came to one first.
        let results = results.into_iter().collect::<Result<Vec<_>, Stop>>()?;
        Ok(results.into_iter().flatten().collect::<Result<_, Reason>>()?)
    }

    /// How many of `n_threads` should share the layers of a batch.
    pub(crate) fn n_busy(&self, n_rows: usize, n_threads: usize) -> usize {
        let flops = (n_rows as u64).saturating_mul(self.inspection().flops_per_token);
        let per_layer = flops / self.architecture().layers.len().max(1) as u64;
        if per_layer < SHARED_FLOPS_MIN { 1 } else { n_threads }
    }

    /// Refuses the model if it cannot take these tokens in a sequence of `n_positions`.
    pub(crate) fn check_tokens(&self, tokens: &[u32], n_positions: usize) -> Result<(), Reason> {
        check_tokens(self.architecture(), tokens, n_positions)
    }
}

/// Refuses a model that cannot take these sequences; one that is too short is our own mistake.
pub(crate) fn check_sequences(
    architecture: &Architecture,
    sequences: &[Vec<u32>],
) -> Result<(), Stop> {
    for (index, tokens) in sequences.iter().enumerate() {
        check_tokens(architecture, tokens, tokens.len())?;
        if tokens.len() < TOKENS_MIN {
            let (n_tokens, n_tokens_min) = (tokens.len(), TOKENS_MIN);
            return Err(Error::SequenceTooShort { index, n_tokens, n_tokens_min }.into());
        }
    }
    Ok(())
}

fn check_tokens(
    architecture: &Architecture,
    tokens: &[u32],
    n_positions: usize,
) -> Result<(), Reason> {
    let Architecture { vocabulary, context, .. } = *architecture;
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

/// The tokens of a sequence that are run: all but the last.
///
/// The last is only predicted. Nothing is predicted from it, so that what it would become in the
/// layers decides nothing: not the loss, and not whether there is one.
pub(crate) fn tokens_run(tokens: &[u32]) -> &[u32] {
    tokens.split_last().map_or(&[], |(_, run)| run)
}

/// The loss of sequence `index` from those of its predicted tokens.
///
/// A refusal names the sequence and no token: its text is recorded, and the definition of a loss
/// says whether one is finite, not how far what is not finite has spread.
pub(crate) fn sequence_loss(
    index: usize,
    nats: &[f64],
    per_token: bool,
) -> Result<SequenceLoss, Reason> {
    let mean = nats.iter().sum::<f64>() / nats.len() as f64;
    let cross_entropy = match Loss::new(mean) {
        Ok(loss) if loss.is_finite() => loss,
        _ => {
            return refuse(NonFiniteLoss, format!("the loss of sequence {index}"));
        }
    };
    let rounded = || nats.iter().map(|&nats| nats as f32).collect();
    let token_nll = per_token.then(rounded);
    Ok(SequenceLoss { n_tokens: nats.len(), cross_entropy, token_nll })
}

/// Which sequences go through the layers together.
fn group(sequences: &[Vec<u32>], options: &EvaluateOptions<'_>) -> Vec<Range<usize>> {
    let n_tokens: usize = sequences.iter().map(Vec::len).sum();
    // No thread should be left without a batch while another has two.
    let share = n_tokens.div_ceil(options.threads.max(1)).min(TOKENS_PER_BATCH);
    let mut groups = Vec::new();
    let mut start = 0;
    let mut n_so_far = 0;
    for (index, tokens) in sequences.iter().enumerate() {
        n_so_far += tokens.len();
        let is_full = match options.sequences_per_batch {
            0 => n_so_far >= share,
            n => index + 1 - start == n,
        };
        if is_full {
            groups.push(start..index + 1);
            start = index + 1;
            n_so_far = 0;
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

/// Sequences on their way, and what is known of their losses.
struct State {
    batch: Batch,
    targets: Vec<u32>,
    losses: Vec<RowLoss>,
}

impl Evaluation<'_> {
    /// The losses of some groups, each of which goes through a layer before any goes through the
    /// next; a sequence may have none.
    fn wave(
        &self,
        groups: &[Range<usize>],
        spaces: &mut [WorkSpace],
    ) -> Result<Vec<Result<SequenceLoss, Reason>>, Stop> {
        let states = self.states(groups, spaces)?;
        let mut results = Vec::new();
        for (group, state) in groups.iter().zip(states) {
            let nats: Vec<f64> = state.losses.into_iter().map(RowLoss::nats).collect();
            let mut rest = &nats[..];
            results.extend(group.clone().map(|index| {
                let n = tokens_run(&self.sequences[index]).len();
                let nats = rest.split_off(..n).unwrap_or_default();
                sequence_loss(index, nats, self.options.per_token)
            }));
        }
        Ok(results)
    }

    /// Takes groups through the whole model.
    fn states(
        &self,
        groups: &[Range<usize>],
        spaces: &mut [WorkSpace],
    ) -> Result<Vec<State>, Stop> {
        let Self { parameters, forward, sequences, .. } = self;
        let architecture = forward.architecture;
        let start = |group: &Range<usize>| {
            let sequences = &sequences[group.clone()];
            let tokens: Vec<_> = sequences.iter().map(|tokens| tokens_run(tokens)).collect();
            let targets: Vec<u32> =
                sequences.iter().flat_map(|tokens| &tokens[1..]).copied().collect();
            let batch = Batch::start(architecture, parameters, &tokens, 0)?;
            Ok(State { losses: vec![RowLoss::START; targets.len()], batch, targets })
        };
        let mut states = groups.iter().map(start).collect::<Result<Vec<_>, Stop>>()?;
        let norm = parameters.rows.norm.as_ref();
        share(&mut states, spaces, |state, spaces| {
            forward.norm_rows(norm, &mut state.batch, spaces)
        })?;
        parameters.each(architecture, |piece| {
            share(&mut states, spaces, |state, spaces| {
                let n_rows = state.targets.len();
                match &piece {
                    Piece::Layer(index, layer) => {
                        let mut memory = std::mem::take(&mut spaces[0].memory);
                        memory.reserve(architecture, &state.batch, false)?;
                        let held = Held { batch: &mut state.batch, memory: &mut memory };
                        forward.layer(*index, layer, held, spaces)?;
                        spaces[0].memory = memory;
                        self.report(n_rows, 0);
                    }
                    Piece::Head(tokens, head) => {
                        let State { batch, targets, losses } = state;
                        if tokens.start == 0 {
                            forward.norm_rows(parameters.final_norm.as_ref(), batch, spaces)?;
                        }
                        let part = HeadPart { head, tokens };
                        forward.losses(part, batch, spaces, Marks { targets, losses })?;
                        if tokens.end == architecture.vocabulary {
                            self.report(n_rows, batch.n_sequences());
                        }
                    }
                }
                Ok(())
            })
        })?;
        Ok(states)
    }

    /// So many rows are through another layer, or, with their sequences, through the head.
    fn report(&self, n_rows: usize, n_sequences: usize) {
        let Some(progress) = self.options.progress else { return };
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.n_steps_done += n_rows as u64;
        if n_sequences > 0 {
            done.n_sequences_done += n_sequences;
            done.n_tokens_done += n_rows;
        }
        // Reported under the lock, so that reports never go backwards.
        progress(*done);
    }
}

/// Works on each state: a thread for each if there are as many, else all threads on one.
fn share(
    states: &mut [State],
    spaces: &mut [WorkSpace],
    work: impl Fn(&mut State, &mut [WorkSpace]) -> Result<(), Error> + Sync,
) -> Result<(), Stop> {
    if states.len() < spaces.len() || spaces.len() == 1 {
        states.iter_mut().try_for_each(|state| work(state, spaces))?;
        return Ok(());
    }
    let mut results: Vec<Result<(), Error>> = states.iter().map(|_| Ok(())).collect();
    pool::each(states.iter_mut().zip(&mut results), spaces, |(state, result), space| {
        *result = work(state, std::slice::from_mut(space));
    });
    Ok(results.into_iter().collect::<Result<(), Error>>()?)
}
