//! `agon score`: from losses to wins, win rates and weights.

use crate::{args::ScoreArgs, input, terminal::print_json};
use protocol::{
    Block, Digest, Entry, Error, Loss, Reason, Seniority, Uid, Verdict,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    loss::mean,
    owner::{Claim, duplicates},
    unigram::no_better_than_guessing,
    yuma::MAX_NEURONS,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

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
    /// Loss of the table of the text's token frequencies, in nats per token: whoever is not below
    /// it is refused. Without it nobody is.
    unigram: Option<Loss>,
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
    /// Root of the tensors: of equal ones the senior alone counts.
    root: Option<Digest>,
}

#[derive(Serialize)]
struct Scores {
    champion: Option<Uid>,
    models: Vec<Scored>,
}

#[derive(Serialize)]
struct Scored {
    #[serde(flatten)]
    verdict: Verdict,
    /// Why the model is absent although it has its losses.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Reason>,
}

/// Scores the models of a file and prints them in the order of the file.
///
/// The round has as many batches as the longest list of losses; a model with a shorter list, or
/// with an infinite loss in it, is scored as if it were absent, and so is one that a validator
/// would refuse: a copy of a senior model, or one that does no better than guessing. A file knows
/// no block hashes, so among models of one block the lower uid is the senior.
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
    let refused = round.refused();
    let entry = |model: &Model| model.entry(refused.get(&model.uid));
    let entries: Vec<Entry> = round.models.iter().map(entry).collect();
    let n_batches = n_batches.unwrap_or(0);
    let champion = protocol::champion(&rules, round.block, n_batches, &entries);
    let scored = |verdict: Verdict| Scored { verdict, refused: refused.get(&verdict.uid).cloned() };
    let models = protocol::score(&rules, round.block, n_batches, &entries);
    print_json(&Scores { champion, models: models.into_iter().map(scored).collect() })?;
    Ok(ExitCode::SUCCESS)
}

impl Round {
    fn rules(&self) -> ScoringRules {
        let Self { rule, loss, epsilon, temperature, .. } = *self;
        // Scores are of one round: nothing is averaged.
        ScoringRules { rule, loss, epsilon, temperature, alpha: 0.0 }
    }

    /// Whom a validator would refuse, and why.
    fn refused(&self) -> BTreeMap<Uid, Reason> {
        let claim = |model: &Model| {
            Some(Claim { uid: model.uid, seniority: model.seniority(), root: model.root? })
        };
        let claims: Vec<Claim> = self.models.iter().filter_map(claim).collect();
        let mut refused = duplicates(&claims);
        for model in &self.models {
            let reason = self
                .unigram
                .and_then(|guessing| no_better_than_guessing(mean(&model.cross_entropy), guessing));
            if let Some(reason) = reason {
                refused.entry(model.uid).or_insert(reason);
            }
        }
        refused
    }
}

impl Model {
    fn seniority(&self) -> Seniority {
        // With equal tie-breaks the uid decides.
        Seniority { block: self.block, tie_break: Digest([0; 32]) }
    }

    fn entry(&self, refused: Option<&Reason>) -> Entry {
        let losses = if refused.is_some() { Vec::new() } else { self.cross_entropy.clone() };
        Entry { uid: self.uid, seniority: self.seniority(), losses }
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
