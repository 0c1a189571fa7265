//! How fast this machine measures, against what competitions ask for between two rounds.

use crate::plug::{self, Exam};
use anyhow::Context as _;
use protocol::{Competition, Seed, seed::uniform_below};
use std::time::{Duration, Instant};
use trainer::{ModelConfig, Recipe, Trainer};

/// For how long it is measured, at least.
const AT_LEAST: Duration = Duration::from_secs(2);
/// Sequences of a piece, for each thread.
const PER_THREAD: usize = 2;
/// Documents of a duel of the usual mix of challengers: see `docs/benchmarks.md`.
const N_DOCUMENTS_USUAL: f64 = 37.6;
/// The model that is measured: large enough for large products, small enough to be made at once.
const MODEL: ModelConfig = ModelConfig {
    vocabulary: 8_192,
    context: 256,
    hidden: 512,
    intermediate: 1_368,
    n_layers: 4,
    n_heads: 8,
    n_kv_heads: 8,
    rope_theta: 10_000.0,
    rms_norm_eps: 1e-5,
    tied: true,
};

/// Parameters times tokens that this machine measures in a second with so many threads.
///
/// A model is made for it, of numbers that mean nothing, in a folder that is gone afterwards.
pub fn of_this_machine(n_threads: usize) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir().context("cannot make a folder for a model to measure")?;
    let dir = folder.path().join("model");
    let seed = Seed::of_number(0);
    Trainer::new(MODEL, Recipe::default(), seed)?.save_model(&dir)?;
    let competition = rules()?;
    let inspected = match plug::check(&dir, &competition)? {
        Ok(inspected) => inspected,
        Err(reason) => anyhow::bail!("a model of our own breaks a rule: {reason}"),
    };
    let mut random = seed.derive("tokens").stream();
    let mut sequence = || -> Vec<u32> {
        let token = |_| uniform_below(&mut random, MODEL.vocabulary as u64) as u32;
        (0..MODEL.context).map(token).collect()
    };
    let sequences: Vec<Vec<u32>> = (0..PER_THREAD * n_threads).map(|_| sequence()).collect();
    let exam = Exam {
        competition: &competition,
        tensor_root: inspected.tensor_root,
        sequences: &sequences,
        n_threads,
        memory_limit: None,
    };
    let n_tokens = (sequences.len() * (MODEL.context - 1)) as f64;
    let (begun, mut n_pieces) = (Instant::now(), 0.0);
    while begun.elapsed() < AT_LEAST {
        match plug::losses(&dir, &exam, &mut |_| Ok(()))? {
            Ok(()) => n_pieces += 1.0,
            Err(reason) => anyhow::bail!("a model of our own breaks a rule: {reason}"),
        }
    }
    Ok(n_pieces * n_tokens * inspected.card.n_parameters as f64 / begun.elapsed().as_secs_f64())
}

/// Rules that the model keeps.
fn rules() -> anyhow::Result<Competition> {
    let mut rules = Competition::builtin("tiny")?;
    rules.model.n_parameters_max =
        MODEL.n_parameters().context("the model has too many parameters")?;
    rules.model.size_bytes_max = 1 << 30;
    rules.model.memory_bytes_max = None;
    rules.text.sequence_length = MODEL.context;
    rules.text.tokenizer = protocol::competition::TokenizerRules::Trained {
        vocabulary: MODEL.vocabulary,
        sha256: None,
    };
    Ok(rules)
}

/// What a competition asks for in a round at most: parameters times tokens, for the models that are
/// kept and one that is new, each as large as the rules allow; with rule `duel` as if no duel were
/// decided before the last document.
pub fn asked(rules: &Competition) -> f64 {
    let evaluation = &rules.evaluation;
    let n_models = evaluation.n_models_kept as f64 + 1.0;
    let n_sequences = (evaluation.n_batches * evaluation.sequences_per_batch) as f64;
    let n_tokens = rules.text.sequence_length.saturating_sub(1) as f64;
    n_models * n_sequences * n_tokens * rules.model.n_parameters_max as f64
}

/// With rule `duel`: the documents that duels of the usual mix of challengers take on average, and
/// the most that a round has.
pub fn usual_documents(rules: &Competition) -> Option<(f64, usize)> {
    let most = rules.evaluation.n_batches;
    rules.scoring.duel_rules().map(|_| (N_DOCUMENTS_USUAL.min(most as f64), most))
}

/// The share of its time that a machine of this speed spends on measuring for these competitions.
pub fn load<'a>(
    speed: f64,
    block_seconds: f64,
    competitions: impl IntoIterator<Item = &'a Competition>,
) -> f64 {
    let of = |rules: &Competition| {
        let seconds = rules.evaluation.blocks_per_round as f64 * block_seconds;
        asked(rules) / speed / seconds
    };
    competitions.into_iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_models_times_tokens_times_parameters() {
        let tiny = Competition::builtin("tiny").unwrap();
        let (evaluation, model) = (&tiny.evaluation, &tiny.model);
        let n_models = evaluation.n_models_kept + 1;
        let n_tokens =
            evaluation.n_batches * evaluation.sequences_per_batch * (tiny.text.sequence_length - 1);
        let expected = n_models as f64 * n_tokens as f64 * model.n_parameters_max as f64;
        assert!((asked(&tiny) / expected - 1.0).abs() < 1e-12);
        let seconds = evaluation.blocks_per_round as f64 * 12.0;
        let both = load(expected / seconds, 12.0, [&tiny, &tiny]);
        assert!((both - 2.0).abs() < 1e-9, "two fill the time twice: {both}");
        assert_eq!(usual_documents(&tiny), Some((37.6, 100)));
        assert_eq!(usual_documents(&Competition::builtin("7b").unwrap()), None);
    }

    #[test]
    fn a_machine_has_a_speed() {
        let speed = of_this_machine(1).unwrap();
        assert!(speed > 1e7 && speed.is_finite(), "{speed}");
    }
}
