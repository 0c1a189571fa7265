//! Pairs of trained models, measured by the engine: how their gains spread, and how duels end.
//!
//! `cargo bench -p trainer --bench pairs -- --corpus FOLDER` prints tables; it takes some minutes.
//! Pairs are made on the generated corpus and on each folder or file of text that is given.

#![allow(clippy::print_stdout, reason = "its only output are tables")]

#[path = "pairs/contest.rs"]
mod contest;
#[path = "pairs/corpus.rs"]
mod corpus;
#[path = "pairs/family.rs"]
mod family;
#[path = "verification/models.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmark alone")]
mod models;
#[path = "pairs/report.rs"]
mod report;
#[path = "pairs/statistics.rs"]
mod statistics;
#[path = "verification/texts.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmark alone")]
mod texts;

use contest::Findings;
use corpus::Corpus;
use family::{Family, KINDS};
use models::on_all_cores;
use protocol::Seed;
use std::{fs, path::PathBuf, str::FromStr, time::Instant};
use texts::Failure;

/// Fewest steps of a model: what is done to it takes an eighth of them.
const STEPS_MIN: u64 = 8;
/// Most documents that are measured for a pair.
const DOCUMENTS_MAX: usize = 100_000;

/// What the command line asks for.
struct Options {
    /// Folders and files of text, besides the generated corpus.
    corpora: Vec<PathBuf>,
    /// Steps that a model is trained for.
    steps: u64,
    seed: u64,
    /// Pairs on each corpus.
    n_pairs: usize,
    /// Documents that a pair is measured on, where a corpus has so many.
    n_documents: usize,
    /// Where figures and gains are written.
    out: Option<PathBuf>,
}

/// One champion and one challenger, and what was found.
struct Pair {
    /// Place of the corpus.
    corpus: usize,
    /// Number of the champion on its corpus.
    family: usize,
    /// What the challenger is.
    challenger: String,
    findings: Findings,
}

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let options = Options::parse(std::env::args().skip(1))?;
    let corpora = corpora(&options)?;
    let n_families = options.n_pairs.div_ceil(KINDS.len());
    let jobs: Vec<(usize, usize)> = (0..n_families)
        .flat_map(|family| (0..corpora.len()).map(move |corpus| (corpus, family)))
        .collect();
    let measured = on_all_cores(&jobs, |job| {
        let pairs = pairs(&corpora, *job, &options)?;
        let (corpus, family) = *job;
        eprintln!("{:.0?}: {}, family {family}", start.elapsed(), corpora[corpus].name);
        Ok(pairs)
    })?;
    let mut pairs: Vec<Pair> = measured.into_iter().flatten().collect();
    pairs.sort_by_key(|pair| pair.corpus);
    println!("seed {}, {} steps, {:.0?}\n", options.seed, options.steps, start.elapsed());
    report::corpora(&corpora, &pairs);
    report::pairs(&corpora, &pairs);
    if let Some(path) = &options.out {
        let json = report::json(&options, &corpora, &pairs);
        fs::write(path, serde_json::to_vec(&json)?)
            .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    }
    Ok(())
}

fn corpora(options: &Options) -> Result<Vec<Corpus>, Failure> {
    let seed = Seed::of_number(options.seed);
    let n = options.n_documents;
    let mut corpora = vec![Corpus::generated(n, seed)?];
    for path in &options.corpora {
        corpora.push(Corpus::text(path, n, seed)?);
    }
    for Corpus { name, documents, .. } in &corpora {
        eprintln!("{name}: {} documents to measure on", documents.len());
    }
    Ok(corpora)
}

/// The pairs of one champion.
fn pairs(
    corpora: &[Corpus],
    (place, number): (usize, usize),
    options: &Options,
) -> Result<Vec<Pair>, Failure> {
    let corpus = &corpora[place];
    let seed = corpus.seed.derive(&format!("family {number}"));
    let family = Family::train(corpus, (options.steps, number), seed)?;
    let champion = corpus.measure(&family.base.load()?)?;
    let n_left = options.n_pairs - number * KINDS.len();
    let mut pairs = Vec::new();
    for kind in KINDS.into_iter().take(n_left) {
        let (name, challenger) = family.challenger(kind)?;
        let challenger = corpus.measure(&challenger.load()?)?;
        let seed = seed.derive(&format!("null of {name}"));
        let findings = Findings::of(corpus, [&champion, &challenger], seed)?;
        pairs.push(Pair { corpus: place, family: number, challenger: name, findings });
    }
    Ok(pairs)
}

impl Default for Options {
    fn default() -> Self {
        let (corpora, out) = (Vec::new(), None);
        Self { corpora, steps: 400, seed: 19, n_pairs: 2 * KINDS.len(), n_documents: 600, out }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            // Cargo says so to every benchmark.
            if name == "--bench" {
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--corpus" => options.corpora.push(PathBuf::from(value)),
                "--steps" => options.steps = number(&name, &value)?,
                "--seed" => options.seed = number(&name, &value)?,
                "--pairs" => options.n_pairs = number(&name, &value)?,
                "--documents" => options.n_documents = number(&name, &value)?,
                "--out" => options.out = Some(PathBuf::from(value)),
                _ => {
                    let known = "--corpus, --steps, --seed, --pairs, --documents, --out";
                    return Err(format!("there is no option `{name}`; there are {known}").into());
                }
            }
        }
        options.check()
    }

    fn check(self) -> Result<Self, Failure> {
        let n_documents_min = contest::N_DOCUMENTS_MIN;
        if self.steps < STEPS_MIN {
            return Err(format!("`--steps` must be at least {STEPS_MIN}").into());
        }
        if self.n_pairs == 0 {
            return Err("`--pairs` must be at least 1".into());
        }
        if !(n_documents_min..=DOCUMENTS_MAX).contains(&self.n_documents) {
            let range = format!("from {n_documents_min} to {DOCUMENTS_MAX}");
            return Err(format!("`--documents` must be {range}").into());
        }
        Ok(self)
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| format!("`{name}` is `{value}`: expected a whole number").into())
}
