//! Whom the initial verification refuses: the rule by loss beside the former rule by outputs.
//!
//! `cargo bench -p trainer --bench verification` prints tables; it takes some ten minutes.
//! `… -- --text FILE...` takes files or folders of text in place of generated worlds.

#![allow(clippy::print_stdout, reason = "its only output are tables")]

#[path = "verification/models.rs"]
mod models;
#[path = "verification/report.rs"]
mod report;
#[path = "verification/rounds.rs"]
mod rounds;
#[path = "verification/sabotage.rs"]
mod sabotage;
#[path = "verification/statistics.rs"]
mod statistics;
#[path = "verification/texts.rs"]
mod texts;

use models::{Checkpoint, WIDTHS, on_all_cores};
use protocol::Seed;
use rounds::{Judged, PER_ROUND, Pool};
use sabotage::{KINDS, Tools};
use std::time::Instant;
use texts::{Failure, PER_BATCH, Text};

const SEED: u64 = 23;
/// Texts: the files that are given, then worlds of the generated corpus from the first on.
const N_TEXTS: usize = 8;
/// Sequences that sabotaged models are measured on: the first of the pool.
const N_FOR_SABOTAGED: usize = 2 * PER_ROUND * PER_BATCH;
/// Training sequences that a table of frequencies is made from.
const N_FOR_TABLE: usize = 256;

/// A text with its rounds for honest models and for sabotaged ones.
struct Place {
    text: Text,
    pool: Pool,
    small_pool: Pool,
    training: Vec<Vec<u32>>,
}

/// What a model is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Honest, after so many steps.
    Honest(u64),
    /// Sabotaged, by the place in [`KINDS`].
    Sabotaged(usize),
}

/// One model and what the rules say of it.
struct Entry {
    place: usize,
    hidden: usize,
    kind: Kind,
    /// Nothing where the engine itself refuses it.
    judged: Option<Judged>,
}

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let seed = Seed::of_number(SEED);
    let files = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let texts = files.map(|path| Text::file(&path, seed));
    let texts = texts.chain((1..).map(|world| Text::generated(world, seed))).take(N_TEXTS);
    let places = texts.map(|text| place(text?, seed)).collect::<Result<Vec<_>, _>>()?;
    // The widest first, so that no core is left alone with one of them.
    let of_width = |hidden: usize| (0..places.len()).map(move |place| (place, hidden));
    let jobs: Vec<(usize, usize)> = WIDTHS.into_iter().rev().flat_map(of_width).collect();
    let entries = on_all_cores(&jobs, |(place, hidden)| {
        let entries = entries(&places[*place], (*place, *hidden), seed)?;
        eprintln!("{:.0?}: {}, {hidden} wide", start.elapsed(), places[*place].text.name);
        Ok(entries)
    })?;
    let entries: Vec<Entry> = entries.into_iter().flatten().collect();
    println!("seed {SEED}, {:.0?}\n", start.elapsed());
    report::texts(&places);
    report::honest_by_stage(&entries, seed);
    report::honest_by_gain(&entries);
    report::worst(&entries, &places);
    report::sabotaged(&entries, seed);
    report::admitted(&entries);
    Ok(())
}

fn place(text: Text, seed: Seed) -> Result<Place, Failure> {
    let seed = seed.derive(&text.name);
    let pool = Pool::new(&text.sequences, seed.derive("rounds"));
    let n = N_FOR_SABOTAGED.min(text.sequences.len());
    let small_pool = Pool::new(&text.sequences[..n], seed.derive("rounds of sabotaged models"));
    let training = text.stream(seed.derive("table"))?.next_batch(N_FOR_TABLE)?;
    Ok(Place { text, pool, small_pool, training })
}

/// The honest models of one width on one text, and the sabotaged ones made from the last of them.
fn entries(
    place: &Place,
    (number, hidden): (usize, usize),
    seed: Seed,
) -> Result<Vec<Entry>, Failure> {
    let seed = seed.derive(&format!("{} {hidden}", place.text.name));
    let mut entries = Vec::new();
    let mut last = None;
    models::train(&place.text, (hidden, seed), |step, checkpoint| {
        let judged = place.pool.judge(&checkpoint.load()?)?;
        let judged = Some(judged.map_err(|reason| format!("{reason:?}"))?);
        entries.push(Entry { place: number, hidden, kind: Kind::Honest(step), judged });
        last = Some(checkpoint);
        Ok(())
    })?;
    let last: Checkpoint = last.ok_or("a model without stages")?;
    let width = WIDTHS.iter().position(|width| *width == hidden).unwrap_or(0);
    for (kind, (name, sabotage)) in KINDS.iter().enumerate() {
        let tools = Tools {
            hidden,
            number: number + width,
            training: &place.training,
            measured: &place.small_pool.sequences,
            seed: seed.derive(name),
        };
        let model = sabotage(last.clone(), &tools)?.load()?;
        let judged = place.small_pool.judge(&model)?.ok();
        entries.push(Entry { place: number, hidden, kind: Kind::Sabotaged(kind), judged });
    }
    Ok(entries)
}
