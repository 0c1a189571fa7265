//! The range of every value of a competition.

mod dataset;

use super::{
    ARITHMETIC, Competition, Epsilon, EvaluationRules, HealthLimits, LossKind, ModelLimits,
    Packing, Published, Rule, ScoringRules, TextRules, TokenizerRules,
};
use crate::{Error, Repo};
use std::{fmt::Display, ops::RangeInclusive};

const NAME_LETTERS_MAX: usize = 32;
const SEQUENCE_LENGTH: RangeInclusive<usize> = 2..=1_048_576;
/// All 256 bytes and the end-of-text token at least.
const TRAINED_VOCABULARY: RangeInclusive<usize> = 257..=1_048_576;
const HUB_VOCABULARY: RangeInclusive<usize> = 2..=1_048_576;
/// The initial verification looks at two batches; with more than this, a record of 256 models has
/// more bytes than anybody reads.
const N_BATCHES: RangeInclusive<usize> = 2..=10_000;
const SEQUENCES_PER_BATCH: RangeInclusive<usize> = 1..=100_000;
const N_MODELS_KEPT: RangeInclusive<usize> = 1..=65_535;
const BLOCKS: RangeInclusive<u64> = 1..=1_000_000_000;
const WORK_MULTIPLE: RangeInclusive<u64> = 1..=1_000_000;
const TEMPERATURE: RangeInclusive<f64> = 1e-4..=1e4;
/// With more, the model that lost the crown would keep 0.7 % of the weight and above.
const SUCCESSION_TEMPERATURE: RangeInclusive<f64> = 1e-4..=0.2;

impl Competition {
    /// Names the first value that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        header(self)?;
        model(&self.model)?;
        text(&self.text)?;
        dataset::dataset(&self.dataset)?;
        evaluation(&self.evaluation)?;
        self.scoring.check()?;
        duels(self)
    }
}

impl ScoringRules {
    /// Names the first value that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        scoring(self)
    }
}

fn ensure(
    holds: bool,
    field: &'static str,
    value: impl Display,
    expected: &'static str,
) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::RuleOutOfRange { field, value: value.to_string(), expected })
    }
}

/// Whether a competition may have this name.
pub fn is_name(name: &str) -> bool {
    let is_letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.bytes().all(is_letter)
}

fn header(competition: &Competition) -> Result<(), Error> {
    let Competition { name, reward_share, .. } = competition;
    ensure(is_name(name), "name", name, "1 to 32 of a-z, 0-9 and `-`")?;
    let until = competition.until_block.unwrap_or(u64::MAX);
    ensure(until > competition.from_block, "until_block", until, "above `from_block`")?;
    ensure(0.0 < *reward_share && *reward_share <= 1.0, "reward_share", reward_share, "in (0, 1]")
}

fn model(model: &ModelLimits) -> Result<(), Error> {
    let ModelLimits { n_parameters_min, n_parameters_max, size_bytes_max, architectures, .. } =
        model;
    let ModelLimits { work_multiple, memory_bytes_max, health, .. } = model;
    health.iter().try_for_each(self::health)?;
    ensure(*n_parameters_min >= 1, "model.n_parameters_min", n_parameters_min, "at least 1")?;
    ensure(
        n_parameters_max >= n_parameters_min,
        "model.n_parameters_max",
        n_parameters_max,
        "at least n_parameters_min",
    )?;
    ensure(*size_bytes_max >= 1, "model.size_bytes_max", size_bytes_max, "at least 1")?;
    let expected = "1 to 1,000,000 times every parameter of the largest model once per token";
    ensure(WORK_MULTIPLE.contains(work_multiple), "model.work_multiple", work_multiple, expected)?;
    let memory = memory_bytes_max.unwrap_or(1);
    ensure(memory >= 1, "model.memory_bytes_max", memory, "at least 1")?;
    let field = "model.architectures";
    ensure(!architectures.is_empty(), field, "[]", "at least one `model_type`")?;
    for (i, architecture) in architectures.iter().enumerate() {
        let is_letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let is_name = (1..=64).contains(&architecture.len()) && architecture.bytes().all(is_letter);
        ensure(is_name, field, architecture, "names of a-z, 0-9 and `_`, such as `llama`")?;
        ensure(!architectures[..i].contains(architecture), field, architecture, "each name once")?;
    }
    Ok(())
}

fn health(limits: &HealthLimits) -> Result<(), Error> {
    let HealthLimits { subnormal_share_max: share, gain_min, gain_max, probe_steps, .. } = *limits;
    ensure((0.0..=1.0).contains(&share), "model.health.subnormal_share_max", share, "from 0 to 1")?;
    let is_ordered = gain_min > 0.0 && gain_max >= gain_min && gain_max.is_finite();
    ensure(is_ordered, "model.health.gain_max", gain_max, "at least gain_min, which is positive")?;
    let steps = "1 to 1,000 steps";
    ensure((1..=1000).contains(&probe_steps), "model.health.probe_steps", probe_steps, steps)?;
    for (field, value) in [
        ("model.health.decades_max", limits.decades_max),
        ("model.health.peak_max", limits.peak_max),
        ("model.health.row_ratio_max", limits.row_ratio_max),
        ("model.health.probe_lr", limits.probe_lr),
        ("model.health.probe_increase_max", limits.probe_increase_max),
        ("model.health.probe_decades_max", limits.probe_decades_max),
    ] {
        ensure(value > 0.0 && value.is_finite(), field, value, "positive")?;
    }
    Ok(())
}

fn text(text: &TextRules) -> Result<(), Error> {
    let length = text.sequence_length;
    let expected = "2 to 1,048,576 tokens";
    ensure(SEQUENCE_LENGTH.contains(&length), "text.sequence_length", length, expected)?;
    let field = "text.tokenizer.vocabulary";
    match &text.tokenizer {
        TokenizerRules::Trained { vocabulary, .. } => {
            let expected = "257 to 1,048,576: every byte and the end of text";
            ensure(TRAINED_VOCABULARY.contains(vocabulary), field, vocabulary, expected)
        }
        TokenizerRules::Hub { repo, vocabulary, end_of_text, .. } => {
            hub_repo("text.tokenizer.repo", repo)?;
            ensure(HUB_VOCABULARY.contains(vocabulary), field, vocabulary, "2 to 1,048,576")?;
            let is_token = usize::try_from(*end_of_text).is_ok_and(|token| token < *vocabulary);
            ensure(is_token, "text.tokenizer.end_of_text", end_of_text, "below the vocabulary")
        }
        TokenizerRules::File { path, vocabulary, end_of_text, .. } => {
            ensure(!path.is_empty(), "text.tokenizer.path", path, "a `tokenizer.json`")?;
            ensure(HUB_VOCABULARY.contains(vocabulary), field, vocabulary, "2 to 1,048,576")?;
            let is_token = usize::try_from(*end_of_text).is_ok_and(|token| token < *vocabulary);
            ensure(is_token, "text.tokenizer.end_of_text", end_of_text, "below the vocabulary")
        }
    }
}

fn hub_repo(field: &'static str, repo: &str) -> Result<(), Error> {
    ensure(repo.parse::<Repo>().is_ok(), field, repo, "a repo `owner/name`")
}

fn evaluation(rules: &EvaluationRules) -> Result<(), Error> {
    let blocks = "1 to 1,000,000,000 blocks";
    let every = rules.blocks_per_round;
    ensure(BLOCKS.contains(&every), "evaluation.blocks_per_round", every, blocks)?;
    // A model as young as the seed could be made to fit it.
    let age = rules.commitment_age_min;
    ensure(BLOCKS.contains(&age), "evaluation.commitment_age_min", age, blocks)?;
    let n = rules.n_batches;
    ensure(N_BATCHES.contains(&n), "evaluation.n_batches", n, "2 to 10,000")?;
    let n = rules.sequences_per_batch;
    ensure(SEQUENCES_PER_BATCH.contains(&n), "evaluation.sequences_per_batch", n, "1 to 100,000")?;
    let n = rules.n_models_kept;
    ensure(N_MODELS_KEPT.contains(&n), "evaluation.n_models_kept", n, "1 to 65,535")?;
    let n = rules.arithmetic;
    ensure(n == ARITHMETIC, "evaluation.arithmetic", n, "1, the only one that is known here")
}

fn scoring(rules: &ScoringRules) -> Result<(), Error> {
    let fraction = 0.0..1.0;
    match rules.epsilon {
        Epsilon::Fixed { value } => {
            ensure(fraction.contains(&value), "scoring.epsilon.value", value, "in [0, 1)")?;
        }
        Epsilon::Linear { start, end, blocks } => {
            ensure(fraction.contains(&start), "scoring.epsilon.start", start, "in [0, 1)")?;
            let falls = (0.0..=start).contains(&end);
            ensure(falls, "scoring.epsilon.end", end, "at least 0 and at most `start`")?;
            let expected = "1 to 1,000,000,000 blocks";
            ensure(BLOCKS.contains(&blocks), "scoring.epsilon.blocks", blocks, expected)?;
        }
    }
    let ScoringRules { temperature, alpha, .. } = rules;
    let (range, expected) = match rules.rule {
        Rule::Wins | Rule::Mean => (TEMPERATURE, "1e-4 to 1e4"),
        Rule::Succession | Rule::Duel => (SUCCESSION_TEMPERATURE, "1e-4 to 0.2"),
    };
    ensure(range.contains(temperature), "scoring.temperature", temperature, expected)?;
    ensure(fraction.contains(alpha), "scoring.alpha", alpha, "in [0, 1)")?;
    let Some(duel) = rules.duel_rules() else {
        let expected = "no such table: it needs the rule `duel`";
        return ensure(rules.duel.is_none(), "scoring.duel", "a table", expected);
    };
    duel.check(rules.epsilon)?;
    let is_cross_entropy = rules.loss == LossKind::CrossEntropy;
    let expected = "`cross-entropy`: gains of duels are parts of it";
    ensure(is_cross_entropy, "scoring.loss", "perplexity", expected)
}

/// What duels ask of the text: a batch is one document, and a round holds whole looks of them.
fn duels(competition: &Competition) -> Result<(), Error> {
    let Competition { text, evaluation, scoring, .. } = competition;
    let Some(duel) = scoring.duel_rules() else {
        let expected = "`own`: others need the rule `duel`";
        let is_own = evaluation.published == Published::Own;
        return ensure(is_own, "evaluation.published", "two-thirds", expected);
    };
    let is_document = text.packing == Packing::PerDocument;
    let expected = "`per-document`: duels count documents";
    ensure(is_document, "text.packing", "packed", expected)?;
    let n = evaluation.sequences_per_batch;
    let expected = "1: with rule `duel` a batch is a document";
    ensure(n == 1, "evaluation.sequences_per_batch", n, expected)?;
    let n = evaluation.n_batches;
    let at = |n_documents: u32| usize::try_from(n_documents).unwrap_or(usize::MAX);
    let is_whole = n.is_multiple_of(at(duel.n_documents_per_look));
    let holds = n >= at(duel.n_documents_min) && is_whole;
    let expected = "whole looks of `scoring.duel.n_documents_per_look` documents, and no fewer \
                    than `scoring.duel.n_documents_min`";
    ensure(holds, "evaluation.n_batches", n, expected)
}
