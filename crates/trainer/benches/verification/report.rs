//! The tables of the benchmark.

use crate::{
    Entry, Kind, Place,
    models::STAGES,
    rounds::{Judged, N_ROUNDS, PER_ROUND},
    sabotage::KINDS,
    statistics::{bound_of_none, interval_by_model, log10_of_tail, wilson},
    texts::{PER_BATCH, SEQUENCE_LENGTH},
};
use protocol::Seed;

/// Bounds between the groups of models by their gain over the table, in nats per token.
const GAINS: [f64; 6] = [0.0, 0.02, 0.05, 0.1, 0.3, 1.0];
/// The gain from which on a model must not be refused by chance.
const GAIN_CLEAR: f64 = 0.3;
/// Models that are shown alone: those nearest to the bar.
const N_WORST: usize = 5;

pub(crate) fn texts(places: &[Place]) {
    let n_tokens = PER_ROUND * PER_BATCH * (SEQUENCE_LENGTH - 1);
    println!("{N_ROUNDS} rounds of {n_tokens} predicted tokens for each text\n");
    println!(
        "| text | sequences | table of all | table of a round, mean | lower by | tokens of a \
         round, K | (K - 1) / 2N |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for Place { text, pool, .. } in places {
        let (round, n_types) = pool.mean_round();
        println!(
            "| {} | {} | {:.4} | {round:.4} | {:.4} | {n_types:.0} | {:.4} |",
            text.name,
            text.sequences.len(),
            pool.table,
            pool.table - round,
            (n_types - 1.0) / (2 * n_tokens) as f64,
        );
    }
}

pub(crate) fn honest_by_stage(entries: &[Entry], seed: Seed) {
    println!("\nHonest models by stage\n");
    println!(
        "| steps | models | perplexity | gain | refused by outputs | 95 % by model | models ever \
         | worst model | refused by loss |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let is_honest = |entry: &&Entry| matches!(entry.kind, Kind::Honest(_));
    for stage in STAGES {
        let judged = judged(entries, |entry| entry.kind == Kind::Honest(stage));
        honest_row(&stage.to_string(), &judged, seed);
    }
    honest_row("all", &judged(entries, |entry| is_honest(&entry)), seed);
}

fn honest_row(name: &str, judged: &[Judged], seed: Seed) {
    let old = rates(judged, |judged| judged.n_old);
    let worst = old.iter().copied().fold(0.0, f64::max);
    println!(
        "| {name} | {} | {} | {} | {} | {} | {:.1} % | {} of {} rounds |",
        judged.len(),
        range(judged, |judged| judged.loss.exp()),
        range(judged, |judged| judged.gain),
        rate_and_interval(&old, seed),
        old.iter().filter(|rate| **rate > 0.0).count(),
        100.0 * worst,
        judged.iter().map(|judged| judged.n_new).sum::<usize>(),
        judged.len() * N_ROUNDS,
    );
}

pub(crate) fn honest_by_gain(entries: &[Entry]) {
    println!("\nHonest models by their gain over the table of the whole pool\n");
    println!(
        "| gain, nats per token | models | rounds | refused by loss | 95 % of the rate | models \
         ever | least margin seen | least z | by a normal tail | by an exponential tail | \
         refused by outputs |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut bounds = vec![f64::NEG_INFINITY];
    bounds.extend(GAINS);
    bounds.push(f64::INFINITY);
    for pair in bounds.windows(2) {
        gain_row(entries, (pair[0], pair[1]));
    }
    gain_row(entries, (0.0, GAIN_CLEAR));
    gain_row(entries, (GAIN_CLEAR, f64::INFINITY));
}

fn gain_row(entries: &[Entry], (low, high): (f64, f64)) {
    let judged: Vec<Judged> = judged(entries, |entry| matches!(entry.kind, Kind::Honest(_)))
        .into_iter()
        .filter(|judged| (low..high).contains(&judged.gain))
        .collect();
    let name = format!("{low} to {high}");
    if judged.is_empty() {
        println!("| {name} | 0 | | | | | | | | | |");
        return;
    }
    let n_rounds = judged.len() * N_ROUNDS;
    let n_refused: usize = judged.iter().map(|judged| judged.n_new).sum();
    let (least, most) = wilson(n_refused, n_rounds);
    let interval = match n_refused {
        0 => format!("at most {:.1e}", bound_of_none(n_rounds)),
        _ => format!("{:.3} to {:.3} %", 100.0 * least, 100.0 * most),
    };
    let least = |of: fn(&Judged) -> f64| judged.iter().map(of).fold(f64::INFINITY, f64::min);
    let z = least(|judged| judged.margin.z());
    // The probability that goes with the model that is nearest to the bar.
    let exponential = -least(|judged| -judged.tail.log10_below_zero());
    let chances = if low < 0.02 {
        " | | ".to_owned()
    } else {
        format!("{z:.1} | {} | 10^{exponential:.1}", normal(z))
    };
    println!(
        "| {name} | {} | {n_rounds} | {n_refused} | {interval} | {} | {:.4} | {chances} | {:.2} % |",
        judged.len(),
        judged.iter().filter(|judged| judged.n_new > 0).count(),
        least(|judged| judged.margin.least),
        100.0 * judged.iter().map(|judged| judged.n_old).sum::<usize>() as f64 / n_rounds as f64,
    );
}

/// The probability that goes with so many deviations.
fn normal(z: f64) -> String {
    if z > 1.0 { format!("10^{:.1}", log10_of_tail(z)) } else { String::new() }
}

pub(crate) fn worst(entries: &[Entry], places: &[Place]) {
    println!("\nHonest models that gain {GAIN_CLEAR} nats and are nearest to refusal by loss\n");
    println!(
        "| text | width | steps | gain | margin by round: mean | deviation | least | z | by a \
         normal tail | by an exponential tail |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut clear: Vec<_> = entries
        .iter()
        .filter_map(|entry| match (entry.kind, entry.judged) {
            (Kind::Honest(step), Some(judged)) => Some((entry, step, judged)),
            _ => None,
        })
        .filter(|(_, _, judged)| judged.gain >= GAIN_CLEAR)
        .collect();
    clear.sort_by(|(_, _, a), (_, _, b)| {
        b.tail.log10_below_zero().total_cmp(&a.tail.log10_below_zero())
    });
    for (entry, step, judged) in clear.into_iter().take(N_WORST) {
        let Judged { gain, margin, tail, .. } = judged;
        println!(
            "| {} | {} | {step} | {gain:.3} | {:.3} | {:.4} | {:.3} | {:.1} | {} | 10^{:.1} |",
            places[entry.place].text.name,
            entry.hidden,
            margin.mean,
            margin.deviation,
            margin.least,
            margin.z(),
            normal(margin.z()),
            tail.log10_below_zero(),
        );
    }
}

pub(crate) fn sabotaged(entries: &[Entry], seed: Seed) {
    println!("\nSabotaged models: rounds in which they are refused\n");
    println!(
        "| sabotage | models | by the engine | by outputs | 95 % by model | by loss | 95 % by \
         model | gain | least distance from the bar, deviations |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (kind, (name, _)) in KINDS.iter().enumerate() {
        let is_kind = |entry: &Entry| entry.kind == Kind::Sabotaged(kind);
        let judged = judged(entries, is_kind);
        let n = entries.iter().filter(|entry| is_kind(entry)).count();
        if judged.is_empty() {
            println!("| {name} | {n} | {n} | | | | | | |");
            continue;
        }
        let z = judged.iter().map(|judged| judged.margin.z()).fold(f64::NEG_INFINITY, f64::max);
        println!(
            "| {name} | {n} | {} | {} | {} | {} | {:.1} |",
            n - judged.len(),
            rate_and_interval(&rates(&judged, |judged| judged.n_old), seed),
            rate_and_interval(&rates(&judged, |judged| judged.n_new), seed),
            range(&judged, |judged| judged.gain),
            -z,
        );
    }
}

pub(crate) fn admitted(entries: &[Entry]) {
    println!("\nSabotaged models that the rule by loss admits in most rounds, by their gain\n");
    println!(
        "| sabotage | admitted, of all | gain below 0.02 | to 0.3 | from 0.3 on | perplexity |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (kind, (name, _)) in KINDS.iter().enumerate() {
        let all = judged(entries, |entry| entry.kind == Kind::Sabotaged(kind));
        let n = all.len();
        let admitted: Vec<Judged> =
            all.into_iter().filter(|judged| judged.n_new * 2 < N_ROUNDS).collect();
        let between = |low: f64, high: f64| {
            admitted.iter().filter(|judged| (low..high).contains(&judged.gain)).count()
        };
        if !admitted.is_empty() {
            println!(
                "| {name} | {} of {n} | {} | {} | {} | {} |",
                admitted.len(),
                between(f64::NEG_INFINITY, 0.02),
                between(0.02, GAIN_CLEAR),
                between(GAIN_CLEAR, f64::INFINITY),
                range(&admitted, |judged| judged.loss.exp()),
            );
        }
    }
}

fn judged(entries: &[Entry], is_meant: impl Fn(&Entry) -> bool) -> Vec<Judged> {
    entries.iter().filter(|entry| is_meant(entry)).filter_map(|entry| entry.judged).collect()
}

fn rates(judged: &[Judged], count: fn(&Judged) -> usize) -> Vec<f64> {
    judged.iter().map(|judged| count(judged) as f64 / N_ROUNDS as f64).collect()
}

/// Two cells: the mean of the rates of models, and its interval.
fn rate_and_interval(rates: &[f64], seed: Seed) -> String {
    let n = rates.len();
    let rate = rates.iter().sum::<f64>() / n as f64;
    // Where all models are alike, drawing them again shows no chance: each counts once.
    let (low, high) = match rate {
        0.0 => wilson(0, n),
        1.0 => wilson(n, n),
        _ => interval_by_model(rates, seed),
    };
    format!("{:.2} % | {:.1} to {:.1} %", 100.0 * rate, 100.0 * low, 100.0 * high)
}

/// Least, median and greatest.
fn range(judged: &[Judged], of: fn(&Judged) -> f64) -> String {
    let mut numbers: Vec<f64> = judged.iter().map(of).collect();
    numbers.sort_by(f64::total_cmp);
    match numbers[..] {
        [] => String::new(),
        [only] => format!("{only:.2}"),
        [least, .., most] => {
            format!("{least:.2}, {:.2}, {most:.2}", numbers[numbers.len() / 2])
        }
    }
}
