//! What noise on the parameters of a model does to its losses.
//!
//! `cargo bench -p trainer --bench noise` prints a table; it takes some minutes.

#![allow(clippy::print_stdout, reason = "its only output is a table")]

#[path = "verification/models.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmark alone")]
mod models;
#[path = "verification/texts.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmark alone")]
mod texts;

use engine::Model;
use models::{Checkpoint, normal, on_all_cores, options, uniform};
use protocol::{Seed, seed::uniform_below};
use texts::{Failure, PER_BATCH, Text};

const SEED: u64 = 41;
/// Texts, each with a model of every width.
const WORLDS: [u64; 2] = [1, 2];
const WIDTHS: [usize; 5] = [16, 32, 48, 64, 96];
/// Batches of every text that are measured.
const N_BATCHES: usize = 96;
/// Batches of a round, as in the competition `tiny`.
const PER_ROUND: usize = 24;
/// Copies of a model with each kind and strength of noise.
const N_COPIES: usize = 8;
/// Rounds that are drawn for every copy.
const N_ROUNDS: usize = 1_000;
/// The least gain that wins a batch in `tiny`, as a share.
const EPSILON: f64 = 0.005;
const STRENGTHS: [f64; 4] = [1e-4, 1e-3, 1e-2, 3e-2];

/// How noise is put on a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Times 1 + s u, with u uniform from -1 to 1.
    Times,
    /// Plus a normal number of s deviations of the tensor.
    Plus,
}

/// Changes of a copy's perplexity against the original's, as shares.
struct Copy {
    kind: Kind,
    strength: f64,
    of_batches: Vec<f64>,
    of_rounds: Vec<f64>,
}

fn main() -> Result<(), Failure> {
    let seed = Seed::of_number(SEED);
    let texts = WORLDS.map(|world| Text::generated(world, seed.derive(&format!("world {world}"))));
    let texts = texts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let jobs: Vec<_> = texts.iter().flat_map(|text| WIDTHS.map(|hidden| (text, hidden))).collect();
    let copies = on_all_cores(&jobs, |(text, hidden)| {
        let seed = seed.derive(&format!("{} {hidden}", text.name));
        copies_of(text, *hidden, seed)
    })?;
    let copies: Vec<Copy> = copies.into_iter().flatten().collect();
    println!("seed {SEED}; {} models, {N_COPIES} copies of each for each row\n", jobs.len());
    println!(
        "| noise | strength | mean change | deviation between copies | best copy | within a copy: \
         of a batch | of the mean of a round | greatest gain of a round | of a batch | batches \
         better | by {EPSILON} |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [Kind::Times, Kind::Plus] {
        for strength in STRENGTHS {
            let of_kind = |copy: &&Copy| copy.kind == kind && copy.strength == strength;
            print_row(&copies.iter().filter(of_kind).collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn print_row(copies: &[&Copy]) {
    let n = copies.len() as f64;
    let means: Vec<f64> = copies.iter().map(|copy| moments(&copy.of_batches).0).collect();
    let batches: Vec<f64> = copies.iter().flat_map(|copy| copy.of_batches.clone()).collect();
    // Within a copy: what differs between copies is no chance of a round.
    let deviation = |of: fn(&Copy) -> &Vec<f64>| {
        (copies.iter().map(|copy| moments(of(copy)).1.powi(2)).sum::<f64>() / n).sqrt()
    };
    let least = |numbers: &[f64]| numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let least_of_rounds: Vec<f64> = copies.iter().map(|copy| least(&copy.of_rounds)).collect();
    let share = |gain: f64| {
        let n_better = batches.iter().filter(|change| **change < -gain).count();
        100.0 * n_better as f64 / batches.len() as f64
    };
    let Copy { kind, strength, .. } = copies[0];
    let figures = [
        moments(&means).0,
        moments(&means).1,
        least(&means),
        deviation(|copy| &copy.of_batches),
        deviation(|copy| &copy.of_rounds),
        -least(&least_of_rounds),
        -least(&batches),
    ];
    let figures = figures.map(|figure| format!("{:.4} %", 100.0 * figure)).join(" | ");
    let (better, clearly) = (share(0.0), share(EPSILON));
    println!("| {kind:?} | {} % | {figures} | {better:.1} % | {clearly:.2} % |", 100.0 * strength);
}

fn copies_of(text: &Text, hidden: usize, seed: Seed) -> Result<Vec<Copy>, Failure> {
    let mut honest = None;
    models::train(text, (hidden, seed), |_, checkpoint| {
        honest = Some(checkpoint);
        Ok(())
    })?;
    let honest = honest.ok_or("a model without stages")?;
    let sequences = &text.sequences[..PER_BATCH * N_BATCHES];
    let original = perplexities(&honest.load()?, sequences)?;
    let mut copies = Vec::new();
    for kind in [Kind::Times, Kind::Plus] {
        for strength in STRENGTHS {
            for number in 0..N_COPIES {
                let seed = seed.derive(&format!("{kind:?} {strength} {number}"));
                let noised = noised(&honest, (kind, strength), seed);
                let noised = perplexities(&noised.load()?, sequences)?;
                let pairs = noised.iter().zip(&original);
                let of_batches: Vec<f64> = pairs.map(|(new, old)| new / old - 1.0).collect();
                let of_rounds = rounds(&of_batches, seed.derive("rounds"));
                copies.push(Copy { kind, strength, of_batches, of_rounds });
            }
        }
    }
    eprintln!("{}, {hidden} wide: perplexity {:.3}", text.name, moments(&original).0);
    Ok(copies)
}

fn noised(honest: &Checkpoint, (kind, strength): (Kind, f64), seed: Seed) -> Checkpoint {
    let mut copy = honest.clone();
    let mut stream = seed.stream();
    for (_, numbers) in copy.tensors.values_mut() {
        let wide: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
        let deviation = moments(&wide).1;
        for (number, wide) in numbers.iter_mut().zip(wide) {
            *number = match kind {
                Kind::Times => wide * (1.0 + strength * (2.0 * uniform(&mut stream) - 1.0)),
                Kind::Plus => wide + strength * deviation * normal(&mut stream),
            } as f32;
        }
    }
    copy
}

/// The perplexity of every batch.
fn perplexities(model: &Model, sequences: &[Vec<u32>]) -> Result<Vec<f64>, Failure> {
    let losses = model.evaluate(sequences, &options())?.map_err(|reason| format!("{reason:?}"))?;
    let losses: Vec<f64> = losses.iter().map(|loss| loss.cross_entropy.value()).collect();
    let batches = losses.chunks(PER_BATCH);
    Ok(batches.map(|batch| (batch.iter().sum::<f64>() / batch.len() as f64).exp()).collect())
}

/// Mean changes of rounds of distinct batches.
fn rounds(changes: &[f64], seed: Seed) -> Vec<f64> {
    let mut stream = seed.stream();
    let mut round = || {
        let mut left: Vec<f64> = changes.to_vec();
        let drawn = (0..PER_ROUND).map(|_| {
            let index = uniform_below(&mut stream, left.len() as u64);
            left.swap_remove(index as usize)
        });
        drawn.sum::<f64>() / PER_ROUND as f64
    };
    (0..N_ROUNDS).map(|_| round()).collect()
}

/// Mean and deviation.
fn moments(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let squares = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}
