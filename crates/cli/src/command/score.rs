//! `agon score`: from losses to wins, win rates and weights.

use crate::{args::ScoreArgs, input, terminal::print_json};
use protocol::{
    Block, Digest, Entry, Error, Loss, Seniority, Uid, Verdict,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    yuma::MAX_NEURONS,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, process::ExitCode};

/// 256 models on 10,000 batches, written with 20 digits each.
const SIZE_BYTES_MAX: u64 = 64 << 20;

/// What the file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    rule: Rule,
    loss: LossKind,
    epsilon: Epsilon,
    temperature: f64,
    /// Block from which the ages of models are counted.
    block: Block,
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    uid: Uid,
    /// Block of the commitment.
    block: Block,
    /// Nats per predicted token, one per batch.
    cross_entropy: Vec<Loss>,
}

#[derive(Serialize)]
struct Scores {
    models: Vec<Verdict>,
}

/// Scores the models of a file and prints them in the order of the file.
///
/// The round has as many batches as the longest list of losses; a model with a shorter list, or
/// with an infinite loss in it, is scored as if it were absent. A file knows no block hashes, so
/// among models of one block the lower uid is the senior.
pub fn run(args: &ScoreArgs) -> anyhow::Result<ExitCode> {
    let round: Round = input::read_json(&args.file, SIZE_BYTES_MAX, "score")?;
    let file = input::name(&args.file);
    let rules = round.rules();
    rules.check().map_err(|error| anyhow::anyhow!("{file}: {}", in_terms_of_the_file(error)))?;
    let n_models = round.models.len();
    if n_models > MAX_NEURONS {
        anyhow::bail!("{file}: {n_models} models, more than the {MAX_NEURONS} slots of a subnet");
    }
    let mut uids = BTreeSet::new();
    if let Some(twice) = round.models.iter().find(|model| !uids.insert(model.uid)) {
        anyhow::bail!("{file}: `uid` {} stands in `models` twice", twice.uid);
    }
    let n_batches = round.models.iter().map(|model| model.cross_entropy.len()).max();
    if n_batches == Some(0) {
        anyhow::bail!("{file}: no model has a loss in its `cross_entropy`");
    }
    let entries: Vec<Entry> = round.models.iter().map(|model| model.entry(round.loss)).collect();
    let models = protocol::score(&rules, round.block, n_batches.unwrap_or(0), &entries);
    print_json(&Scores { models })?;
    Ok(ExitCode::SUCCESS)
}

impl Round {
    fn rules(&self) -> ScoringRules {
        let Self { rule, loss, epsilon, temperature, .. } = *self;
        // Scores are of one round: nothing is averaged.
        ScoringRules { rule, loss, epsilon, temperature, alpha: 0.0 }
    }
}

impl Model {
    fn entry(&self, kind: LossKind) -> Entry {
        // With equal tie-breaks the uid decides.
        let seniority = Seniority { block: self.block, tie_break: Digest([0; 32]) };
        Entry::new(self.uid, seniority, kind, &self.cross_entropy)
    }
}

/// The rules of a competition stand under `scoring` there, and at the top of the file here.
fn in_terms_of_the_file(error: Error) -> Error {
    match error {
        Error::RuleOutOfRange { field, value, expected } => {
            let field = field.strip_prefix("scoring.").unwrap_or(field);
            Error::RuleOutOfRange { field, value, expected }
        }
        error => error,
    }
}
