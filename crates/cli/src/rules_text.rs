//! The rules of a competition in words.

use indicatif::{HumanBytes, HumanCount};
use protocol::{
    Competition,
    competition::{
        DatasetRules, Epsilon, HealthLimits, LossKind, Packing, Rule, ScoringRules, TextRules,
        TokenizerRules,
    },
};

/// Numbers of parameters as the field writes them, such as `6.7B`; exact up to three digits.
pub fn parameters(n: u64) -> String {
    let scales = [(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")];
    // What is rounded to a thousand of one unit is one of the next.
    let rounded_up = |unit: u64| unit - unit / 200_000;
    let Some((unit, letter)) = scales.into_iter().find(|(unit, _)| n >= rounded_up(*unit)) else {
        return n.to_string();
    };
    let digits = format!("{:.2}", n as f64 / unit as f64);
    format!("{}{letter}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// The advantage of the earlier model.
pub fn epsilon(epsilon: Epsilon) -> String {
    let percent = |share: f64| format!("{:.4}", 100.0 * share);
    let percent =
        |share: f64| format!("{} %", percent(share).trim_end_matches('0').trim_end_matches('.'));
    match epsilon {
        Epsilon::Fixed { value } => percent(value),
        Epsilon::Linear { start, end, blocks } => format!(
            "from {} to {} as the earlier model ages by {} blocks",
            percent(start),
            percent(end),
            HumanCount(blocks)
        ),
    }
}

/// What the text of rounds is drawn from.
pub fn dataset(rules: &DatasetRules) -> String {
    match rules {
        DatasetRules::Generated { world } => format!("generated, world {world}"),
        DatasetRules::Files { path, .. } => format!("files in {path}"),
        DatasetRules::Hub(dataset) => dataset.repo.clone(),
    }
}

/// What nobody can draw text without, if the rules lack it.
pub fn unpinned(competition: &Competition) -> Option<&'static str> {
    let text = match &competition.dataset {
        DatasetRules::Hub(dataset) => dataset.pinned().is_none(),
        _ => false,
    };
    let tokenizer = matches!(competition.text.tokenizer, TokenizerRules::Hub { sha256: None, .. });
    match (text, tokenizer) {
        (true, true) => Some("text and tokenizer not pinned"),
        (true, false) => Some("text not pinned"),
        (false, true) => Some("tokenizer not pinned"),
        (false, false) => None,
    }
}

/// All rules, a line each: what it is about, and what is so.
pub fn lines(competition: &Competition) -> Vec<(&'static str, String)> {
    let Competition { model, text, evaluation, scoring, .. } = competition;
    let n_sequences = evaluation.n_batches * evaluation.sequences_per_batch;
    let packing = match text.packing {
        Packing::Packed => "packed: one stream of all documents, cut into pieces",
        Packing::PerDocument => "one document per sequence",
    };
    vec![
        ("name", format!("{}, number {} in commitments", competition.name, competition.id)),
        ("digest", competition.digest().to_string()),
        ("from block", HumanCount(competition.from_block).to_string()),
        (
            "until block",
            competition
                .until_block
                .map_or("no end".to_owned(), |block| HumanCount(block).to_string()),
        ),
        ("reward share", competition.reward_share.to_string()),
        ("architectures", model.architectures.join(", ")),
        (
            "parameters",
            format!(
                "{} to {}",
                HumanCount(model.n_parameters_min),
                HumanCount(model.n_parameters_max)
            ),
        ),
        ("size", format!("at most {}", HumanBytes(model.size_bytes_max))),
        (
            "work",
            format!(
                "at most {} multiply-adds a sequence, {} for each of the most parameters and token",
                HumanCount(competition.work_max()),
                model.work_multiple
            ),
        ),
        ("memory", format!("at most {} to be measured", HumanBytes(model.memory_max()))),
        ("health", model.health.as_ref().map_or("no limits".to_owned(), health)),
        ("tokenizer", tokenizer(text)),
        (
            "sequences",
            format!("of {} tokens: the least context length of a model", text.sequence_length),
        ),
        ("packing", packing.to_owned()),
        ("text", dataset(&competition.dataset)),
        (
            "round",
            format!(
                "every {} blocks: {} batches of {}, {} tokens",
                HumanCount(evaluation.blocks_per_round),
                evaluation.n_batches,
                plural(evaluation.sequences_per_batch, "sequence"),
                HumanCount((n_sequences * text.sequence_length) as u64)
            ),
        ),
        (
            "commitments",
            format!(
                "count when older than the round by {} or more",
                plural(evaluation.commitment_age_min as usize, "block")
            ),
        ),
        ("scoring", scoring_rules(scoring)),
        ("epsilon", epsilon(scoring.epsilon)),
    ]
}

/// A number with its noun.
pub fn plural(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", HumanCount(n as u64))
}

fn health(limits: &HealthLimits) -> String {
    format!(
        "parameter norms within {} decades, peaks up to {}, rows up to {} times the median",
        limits.decades_max, limits.peak_max, limits.row_ratio_max
    )
}

fn tokenizer(rules: &TextRules) -> String {
    let from = match &rules.tokenizer {
        TokenizerRules::Trained { .. } => "BPE trained on the text".to_owned(),
        TokenizerRules::Hub { repo, .. } => format!("that of {repo}"),
        TokenizerRules::File { path, .. } => format!("in the file {path}"),
    };
    format!("{from}, vocabulary {}", HumanCount(rules.vocabulary() as u64))
}

fn scoring_rules(rules: &ScoringRules) -> String {
    let rule = match rules.rule {
        Rule::Wins => "wins",
        Rule::Mean => "mean",
        Rule::Succession => "succession",
        Rule::Duel => "duel",
    };
    let loss = match rules.loss {
        LossKind::Perplexity => "perplexity",
        LossKind::CrossEntropy => "cross-entropy",
    };
    let duels = rules.duel_rules().map_or_else(String::new, |duel| {
        format!(
            ", a crown by luck at most once in {:.0} windows of {} blocks, {} documents at most",
            1.0 / duel.alpha,
            HumanCount(duel.window_blocks),
            HumanCount(duel.n_documents_max.into())
        )
    });
    let (temperature, alpha) = (rules.temperature, rules.alpha);
    format!("rule {rule} on {loss}, temperature {temperature}, alpha {alpha}{duels}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Parameters;
    use protocol::{Seed, seed::uniform_below, text::is_plain};
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_written_as_the_field_writes_them() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (10_000, "10k"),
            (2_000_000, "2M"),
            (186_500_000, "186.5M"),
            (6_700_000_000, "6.7B"),
        ] {
            assert_eq!(parameters(n), text);
        }
        assert_eq!(epsilon(Epsilon::Fixed { value: 0.005 }), "0.5 %");
        assert_eq!(epsilon(Epsilon::Fixed { value: 0.0 }), "0 %");
        assert_eq!(
            epsilon(Epsilon::Linear { start: 0.01, end: 0.0001, blocks: 50_400 }),
            "from 1 % to 0.01 % as the earlier model ages by 50,400 blocks"
        );
        assert_eq!((plural(1, "round"), plural(0, "round")), ("1 round".into(), "0 rounds".into()));
    }

    #[test]
    fn a_number_of_parameters_is_short_and_means_about_the_same_when_it_is_read() {
        let mut random = Seed::of_number(1).stream();
        let random = (0..300).map(|bits| uniform_below(&mut random, 1 << (10 + bits % 30)));
        let ends = [1_000_u64, 1_000_000, 1_000_000_000, 1_000_000_000_000].into_iter();
        let ends = ends.flat_map(|end| [end - end / 100_000, end - end / 1_000_000, end - 1, end]);
        for n in random.chain(ends).filter(|n| *n > 0) {
            let text = parameters(n);
            let digits = text.split(['.', 'k', 'M', 'B']).next().unwrap();
            assert!(digits.len() <= 3 || n >= 999_995_000_000, "{n} is {text}");
            let Parameters(read) = text.parse().unwrap();
            assert!(read.abs_diff(n) * 100 <= n, "{n} is {text}, which is {read}");
        }
        for (n, text) in [
            (999_994, "999.99k"),
            (999_995, "1M"),
            (999_994_999, "999.99M"),
            (999_995_000, "1B"),
            (999_999_999, "1B"),
            (1_000, "1k"),
        ] {
            assert_eq!(parameters(n), text);
        }
    }

    #[test]
    fn all_rules_are_told_in_lines_of_their_own_and_what_is_not_pinned_too() {
        for name in Competition::builtin_names() {
            let rules = Competition::builtin(name).unwrap();
            let lines = lines(&rules);
            let labels: BTreeSet<&str> = lines.iter().map(|(label, _)| *label).collect();
            assert_eq!(labels.len(), lines.len(), "{name}: a label twice");
            for (label, text) in &lines {
                assert!(
                    !text.is_empty() && text.chars().all(is_plain),
                    "{name}, {label}: {text:?}"
                );
            }
        }
        let tiny = Competition::builtin("tiny").unwrap();
        let seven = Competition::builtin("7b").unwrap();
        let mixed = |dataset: &Competition, tokenizer: &Competition| {
            let mut rules = dataset.clone();
            rules.text.tokenizer = tokenizer.text.tokenizer.clone();
            unpinned(&rules)
        };
        assert_eq!(mixed(&tiny, &tiny), None);
        assert_eq!(mixed(&tiny, &seven), Some("tokenizer not pinned"));
        assert_eq!(mixed(&seven, &tiny), Some("text not pinned"));
        assert_eq!(mixed(&seven, &seven), Some("text and tokenizer not pinned"));
    }
}
