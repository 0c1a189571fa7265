//! The tables and the file of the benchmark.

use crate::{
    Options, Pair,
    contest::{EPSILON, Findings, N_BATCHES, N_RESAMPLED},
    corpus::Corpus,
    statistics::Moments,
};
use protocol::duel::{DuelRules, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) fn corpora(corpora: &[Corpus], pairs: &[Pair]) {
    println!("| corpus | documents | with several windows | windows of these | champions, nats |");
    println!("| --- | --- | --- | --- | --- |");
    for (place, corpus) in corpora.iter().enumerate() {
        let of_corpus = pairs.iter().filter(|pair| pair.corpus == place);
        let champions: BTreeMap<usize, f64> =
            of_corpus.map(|pair| (pair.family, pair.findings.reference)).collect();
        let champions: Vec<String> =
            champions.values().map(|reference| format!("{reference:.3}")).collect();
        let sizes = corpus.documents.iter().map(|document| document.windows.len());
        let several: Vec<usize> = sizes.filter(|n| *n > 1).collect();
        println!(
            "| {} | {} | {} | {} | {} |",
            corpus.name,
            corpus.documents.len(),
            several.len(),
            several.iter().sum::<usize>(),
            champions.join(", "),
        );
    }
}

pub(crate) fn pairs(corpora: &[Corpus], pairs: &[Pair]) {
    println!(
        "\n| corpus | challenger | mean gain | spread | skew | excess kurtosis | within documents \
         | correlation | margin | duel | documents | paper's rule | false crowns | false \
         rejections |"
    );
    println!("|{}", " --- |".repeat(14));
    for Pair { corpus, family, challenger, findings } in pairs {
        let Moments { mean, spread, skew, excess_kurtosis } = findings.moments;
        let margin = findings.margin.map_or("-".to_owned(), |m| format!("{:.2} %", 100.0 * m));
        let crown = if findings.is_majority() { "dethroned" } else { "stays" };
        println!(
            "| {} {family} | {challenger} | {:+.3} % | {:.3} % | {skew:+.1} | {excess_kurtosis:.1} \
             | {:.2} | {:.5} | {margin} | {} | {} | {} of {N_BATCHES}: {crown} | {} | {} |",
            corpora[*corpus].name,
            100.0 * mean,
            100.0 * spread,
            findings.within_documents,
            findings.correlation,
            verdict(findings),
            findings.n_documents,
            findings.n_batches_won,
            findings.null.n_dethroned,
            findings.null.n_rejected,
        );
    }
    let sum = |count: fn(&Findings) -> usize| -> usize {
        pairs.iter().map(|pair| count(&pair.findings)).sum()
    };
    println!(
        "\n{} pairs; of {} duels of a challenger that is {EPSILON} better, {} crown it and {} \
         reject it",
        pairs.len(),
        pairs.len() * N_RESAMPLED,
        sum(|findings| findings.null.n_dethroned),
        sum(|findings| findings.null.n_rejected),
    );
}

fn verdict(findings: &Findings) -> &'static str {
    match findings.verdict {
        Some(Verdict::Dethroned) => "dethroned",
        Some(Verdict::Rejected) => "rejected",
        Some(Verdict::Undecided) => "undecided",
        None => "open",
    }
}

/// All figures, and the gain on each document.
pub(crate) fn json(options: &Options, corpora: &[Corpus], pairs: &[Pair]) -> Value {
    let pairs: Vec<Value> = pairs
        .iter()
        .map(|Pair { corpus, family, challenger, findings }| {
            let Moments { mean, spread, skew, excess_kurtosis } = findings.moments;
            json!({
                "corpus": corpora[*corpus].name,
                "family": family,
                "challenger": challenger,
                "reference": findings.reference,
                "mean": mean,
                "spread": spread,
                "skew": skew,
                "excess_kurtosis": excess_kurtosis,
                "within_documents": findings.within_documents,
                "correlation": findings.correlation,
                "margin": findings.margin,
                "verdict": verdict(findings),
                "n_documents": findings.n_documents,
                "n_batches_won": findings.n_batches_won,
                "null": {
                    "n_dethroned": findings.null.n_dethroned,
                    "n_rejected": findings.null.n_rejected,
                },
                "gains": findings.gains,
            })
        })
        .collect();
    json!({
        "seed": options.seed,
        "steps": options.steps,
        "epsilon": EPSILON,
        "n_batches": N_BATCHES,
        "n_resampled": N_RESAMPLED,
        "rules": DuelRules::default(),
        "pairs": pairs,
    })
}
