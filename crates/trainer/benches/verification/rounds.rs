//! Both rules for the initial verification, over many rounds drawn from one pool of sequences.
//!
//! A model is measured once on the whole pool; a round then is a choice among what was measured.

use crate::{
    models::options,
    statistics::{LowTail, Moments},
    texts::{Failure, PER_BATCH},
};
use engine::Model;
use protocol::{Reason, Seed, seed::uniform_below, unigram};
use std::collections::HashSet;

/// Rounds of a model under either rule.
pub(crate) const N_ROUNDS: usize = 1_000;
/// Batches of a round, as in the competition `tiny`.
pub(crate) const PER_ROUND: usize = 24;
/// Prompts that are continued: the first halves of the first sequences of as many batches.
const N_PROMPTS_MAX: usize = 300;
/// Prompts that the engine continues at a time.
const PROMPTS_AT_ONCE: usize = 50;

/// The former rule, by the figures of the reference (SN9): tokens generated for each of two
/// prompts, equal positions from which on both outputs are the same, and how often one token may
/// stand in both.
const N_GENERATED: usize = 20;
const EQUAL_POSITIONS_MIN: usize = 10;
const REPETITIONS_MAX: usize = 10;

/// Sequences of one text, and rounds drawn from them.
pub(crate) struct Pool {
    pub(crate) sequences: Vec<Vec<u32>>,
    /// Loss of the table of the whole pool.
    pub(crate) table: f64,
    rounds: Vec<Round>,
}

struct Round {
    /// Distinct batches of the pool.
    batches: Vec<usize>,
    /// Loss of the table of the round.
    table: f64,
    /// Two batches whose first sequences are the prompts of the former rule.
    prompts: [usize; 2],
}

/// What both rules say of one model in all rounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    /// Loss of the table of the whole pool less the model's, in nats per token.
    pub(crate) gain: f64,
    /// Mean loss over the whole pool.
    pub(crate) loss: f64,
    /// Rounds in which the former rule refuses it.
    pub(crate) n_old: usize,
    /// Rounds in which the rule by loss does.
    pub(crate) n_new: usize,
    /// The table's loss less the model's, by round.
    pub(crate) margin: Moments,
    /// The lowest margins.
    pub(crate) tail: LowTail,
}

impl Pool {
    pub(crate) fn new(sequences: &[Vec<u32>], seed: Seed) -> Self {
        let sequences = sequences.to_vec();
        let n_batches = sequences.len() / PER_BATCH;
        let mut stream = seed.stream();
        let mut distinct = |n: usize, of: usize| {
            let mut left: Vec<usize> = (0..of).collect();
            let draw = |_| {
                let index = uniform_below(&mut stream, left.len() as u64);
                left.swap_remove(index as usize)
            };
            (0..n).map(draw).collect::<Vec<_>>()
        };
        let mut round = |_| {
            let batches = distinct(PER_ROUND, n_batches);
            let drawn =
                batches.iter().flat_map(|batch| &sequences[batch * PER_BATCH..][..PER_BATCH]);
            let table = unigram(drawn.map(Vec::as_slice)).value();
            let prompts = distinct(2, n_batches.min(N_PROMPTS_MAX));
            Round { batches, table, prompts: [prompts[0], prompts[1]] }
        };
        let rounds = (0..N_ROUNDS).map(&mut round).collect();
        let table = unigram(sequences.iter().map(Vec::as_slice)).value();
        Self { sequences, table, rounds }
    }

    /// Mean over rounds of the table's loss and of the number of different tokens.
    pub(crate) fn mean_round(&self) -> (f64, f64) {
        let n_types = |round: &Round| {
            let drawn = round.batches.iter();
            let drawn = drawn.flat_map(|batch| &self.sequences[batch * PER_BATCH..][..PER_BATCH]);
            drawn.flat_map(|tokens| &tokens[1..]).collect::<HashSet<_>>().len()
        };
        let tables: f64 = self.rounds.iter().map(|round| round.table).sum();
        let types: usize = self.rounds.iter().map(n_types).sum();
        let n = self.rounds.len() as f64;
        (tables / n, types as f64 / n)
    }

    /// Both verdicts for every round; or why the engine refuses the model whatever the rule.
    pub(crate) fn judge(&self, model: &Model) -> Result<Result<Judged, Reason>, Failure> {
        let losses = match model.evaluate(&self.sequences, &options())? {
            Ok(losses) => losses,
            Err(reason) => return Ok(Err(reason)),
        };
        let outputs = match self.outputs(model)? {
            Ok(outputs) => outputs,
            Err(reason) => return Ok(Err(reason)),
        };
        let losses: Vec<f64> = losses.iter().map(|loss| loss.cross_entropy.value()).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let of_batches: Vec<f64> = losses.chunks(PER_BATCH).map(mean).collect();
        let (mut n_old, mut n_new, mut margins) = (0, 0, Vec::new());
        for Round { batches, table, prompts: [first, second] } in &self.rounds {
            let drawn: Vec<f64> = batches.iter().map(|batch| of_batches[*batch]).collect();
            let loss = mean(&drawn);
            n_new += usize::from(loss >= *table);
            n_old += usize::from(is_refused_by_outputs(&outputs[*first], &outputs[*second]));
            margins.push(table - loss);
        }
        let loss = mean(&losses);
        let (margin, tail) = (Moments::of(&margins), LowTail::of(&margins));
        Ok(Ok(Judged { gain: self.table - loss, loss, n_old, n_new, margin, tail }))
    }

    /// What the model says after every prompt.
    fn outputs(&self, model: &Model) -> Result<Result<Vec<Vec<u32>>, Reason>, Failure> {
        let firsts = self.sequences.iter().step_by(PER_BATCH).take(N_PROMPTS_MAX);
        let prompts: Vec<&[u32]> = firsts.map(|tokens| &tokens[..tokens.len() / 2]).collect();
        let mut outputs = Vec::new();
        for prompts in prompts.chunks(PROMPTS_AT_ONCE) {
            match model.generate(prompts, N_GENERATED, &options())? {
                Ok(generated) => outputs.extend(generated),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(outputs))
    }
}

/// The former rule.
fn is_refused_by_outputs(first: &[u32], second: &[u32]) -> bool {
    let n_equal = first.iter().zip(second).filter(|(a, b)| a == b).count();
    let n_repeated = most_common(first).min(most_common(second));
    n_equal >= EQUAL_POSITIONS_MIN || n_repeated > REPETITIONS_MAX
}

/// How often the most common token stands.
fn most_common(tokens: &[u32]) -> usize {
    let count = |token| tokens.iter().filter(|other| *other == token).count();
    tokens.iter().map(count).max().unwrap_or(0)
}
