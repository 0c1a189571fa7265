//! `agon score`: from losses to wins, win rates and weights.

mod record;

use crate::{args::ScoreArgs, failure::HintExt as _, input, terminal::print_json};
use protocol::{
    Block, Digest, Entry, Error, Loss, Reason, Seniority, Uid, Verdict,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    loss::mean,
    owner::{Claim, duplicates},
    record::Card,
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
    models: Vec<Scored<Reason>>,
}

/// A verdict, why the model was refused, and what else is known of it.
#[derive(Serialize)]
struct Scored<R> {
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<R>,
    /// What its losses come to, where it is known how long the text is.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_byte: Option<f64>,
    /// What it is, as its record says.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<Card>,
}

/// Which kind of file it is: a record has a format, and a signed one has a record.
#[derive(Deserialize)]
struct Kind {
    format: Option<serde::de::IgnoredAny>,
    record: Option<serde::de::IgnoredAny>,
}

/// Scores the models of a file, or derives the verdicts of a record again.
pub fn run(args: &ScoreArgs) -> anyhow::Result<ExitCode> {
    let bytes = input::read(&args.file, SIZE_BYTES_MAX)?;
    let file = input::name(&args.file);
    let Kind { format, record } = input::parse_json(&bytes, &file, "score")?;
    if record.is_some() {
        return record::run_signed(&bytes, &file, args.competition.as_deref());
    }
    if format.is_some() {
        return record::run(&bytes, &file, args.competition.as_deref());
    }
    if args.competition.is_some() {
        return Err(anyhow::anyhow!("{file} is no record, so it brings its own rules"))
            .hint("leave `--competition` out");
    }
    score(&input::parse_json(&bytes, &file, "score")?, &file)
}

/// Scores the models of a round and prints them in the order of the file.
///
/// The round has as many batches as each list of losses, empty ones aside; a model with an empty
/// list, or with an infinite loss in it, is scored as if it were absent, and so is one that a
/// validator would refuse: a copy of a senior model, or one that does no better than guessing. A
/// file knows no block hashes, so among models of one block the lower uid is the senior.
fn score(round: &Round, file: &str) -> anyhow::Result<ExitCode> {
    if round.rule == Rule::Duel {
        return Err(anyhow::anyhow!(
            "{file}: the rule `duel` decides by duels that go on from round to round, which the \
             losses of one round do not tell"
        ))
        .hint("give the record of a validator's first round, or another `rule`");
    }
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
    let n_batches = round.n_batches(file)?;
    let refused = round.refused();
    let entry = |model: &Model| model.entry(refused.get(&model.uid));
    let entries: Vec<Entry> = round.models.iter().map(entry).collect();
    let champion = protocol::champion(&rules, round.block, n_batches, &entries);
    let scored = |verdict: Verdict| {
        let refused = refused.get(&verdict.uid).cloned();
        Scored { verdict, refused, bits_per_byte: None, card: None }
    };
    let models = protocol::score(&rules, round.block, n_batches, &entries);
    print_json(&Scores { champion, models: models.into_iter().map(scored).collect() })?;
    Ok(ExitCode::SUCCESS)
}

impl Round {
    fn rules(&self) -> ScoringRules {
        let Self { rule, loss, epsilon, temperature, .. } = *self;
        // Scores are of one round: nothing is averaged.
        ScoringRules { rule, loss, epsilon, temperature, alpha: 0.0, duel: None }
    }

    /// Batches of the round; a model that lacks some of them is a slip of whoever wrote the file.
    fn n_batches(&self, file: &str) -> anyhow::Result<usize> {
        let mut measured = self.models.iter().filter(|model| !model.cross_entropy.is_empty());
        let Some(first) = measured.next() else {
            anyhow::ensure!(
                self.models.is_empty(),
                "{file}: no model has a loss in its `cross_entropy`"
            );
            return Ok(0);
        };
        let n_batches = first.cross_entropy.len();
        let Some(other) = measured.find(|model| model.cross_entropy.len() != n_batches) else {
            return Ok(n_batches);
        };
        let n_other = other.cross_entropy.len();
        Err(anyhow::anyhow!(
            "{file}: uid {} has {n_batches} losses in `cross_entropy`, uid {} has {n_other}: \
             a round has one of each model for every batch",
            first.uid,
            other.uid
        ))
        .hint("write `null` for a loss that is missing, or `[]` for a model that is absent")
    }

    /// Whom a validator would refuse, and why.
    fn refused(&self) -> BTreeMap<Uid, Reason> {
        let claim = |model: &Model| {
            Some(Claim { uid: model.uid, seniority: model.seniority(), root: model.root? })
        };
        let claims: Vec<Claim> = self.models.iter().filter_map(claim).collect();
        let mut refused = duplicates(&claims);
        for model in &self.models {
            // A model without a finite loss everywhere is absent, whatever its mean.
            let mean = Some(mean(&model.cross_entropy)).filter(|mean| mean.is_finite());
            let reason = mean
                .zip(self.unigram)
                .and_then(|(mean, unigram)| no_better_than_guessing(mean, unigram));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::causes;
    use protocol::ReasonCode;
    use serde_json::{Value, json};

    /// A round of these models: slot, block, losses and the byte of a root.
    fn round(models: &[(u16, u64, Value, Option<u8>)]) -> Value {
        let model = |(uid, block, losses, root): &(u16, u64, Value, Option<u8>)| {
            let root = root.map(|byte| Digest([byte; 32]));
            json!({"uid": uid, "block": block, "cross_entropy": losses, "root": root})
        };
        json!({
            "rule": "succession", "loss": "cross-entropy",
            "epsilon": {"kind": "fixed", "value": 0.005}, "temperature": 0.01,
            "block": 1_000, "models": models.iter().map(model).collect::<Vec<_>>(),
        })
    }

    fn parsed(value: &Value) -> Round {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn error(value: &Value) -> String {
        causes(&score(&parsed(value), "`r.json`").unwrap_err())
    }

    #[test]
    fn whoever_a_validator_would_refuse_is_and_for_the_first_reason() {
        let mut value = round(&[
            (4, 10, json!([5.0, 5.0]), Some(7)),
            (1, 20, json!([5.0, 5.0]), Some(7)),
            (2, 20, json!([6.0, 7.0]), Some(8)),
            (3, 30, json!([6.0, null]), None),
            (0, 30, json!([]), Some(7)),
        ]);
        value["unigram"] = json!(6.0);
        let refused = parsed(&value).refused();
        let codes: Vec<(u16, ReasonCode)> =
            refused.iter().map(|(uid, reason)| (uid.0, reason.code)).collect();
        // A model that lacks a loss is absent and no guesser; a copy is one though it was not
        // measured.
        let expected = [
            (0, ReasonCode::Duplicate),
            (1, ReasonCode::Duplicate),
            (2, ReasonCode::DegenerateOutput),
        ];
        assert_eq!(codes, expected);
        let Round { models, .. } = parsed(&value);
        assert!(models[1].entry(refused.get(&Uid(1))).losses.is_empty(), "refused is absent");
        assert_eq!(models[0].entry(None).losses.len(), 2);
        // Without the bar nobody guesses; what two committed to in one block is nobody's.
        value["unigram"] = Value::Null;
        value["models"][1]["block"] = json!(10);
        let refused = parsed(&value).refused();
        assert_eq!(refused.keys().map(|uid| uid.0).collect::<Vec<_>>(), [0, 1, 4]);
    }

    #[test]
    fn slips_in_a_file_are_named_in_its_own_words() {
        let good = round(&[(1, 1, json!([1.0]), None), (2, 2, json!([2.0]), None)]);
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 8] = [
            (|v| v["temperature"] = json!(0.0), "`temperature`"),
            (|v| v["temperature"] = json!(0.3), "`temperature`"),
            (|v| v["epsilon"]["value"] = json!(1.0), "`epsilon.value`"),
            (|v| v["rule"] = json!("duel"), "the rule `duel` decides by duels"),
            (|v| v["models"][1]["uid"] = json!(1), "`uid` 1 stands in `models` twice"),
            (|v| v["models"][1]["cross_entropy"] = json!([1, 2]), "uid 1 has 1 losses"),
            (
                |v| {
                    v["models"][0]["cross_entropy"] = json!([]);
                    v["models"][1]["cross_entropy"] = json!([]);
                },
                "no model has a loss in its `cross_entropy`",
            ),
            (
                |v| {
                    let model = |n: u16| json!({"uid": n, "block": 1, "cross_entropy": [1.0]});
                    v["models"] = (0..4_097).map(model).collect();
                },
                "4097 models, more than the 4096 slots",
            ),
        ];
        for (change, part) in cases {
            let mut value = good.clone();
            change(&mut value);
            let told = error(&value);
            assert!(told.contains(part) && told.starts_with("`r.json`: "), "no `{part}`: {told}");
            assert!(!told.contains("scoring."), "a file has no such table: {told}");
        }
        assert_eq!(parsed(&round(&[])).n_batches("f").unwrap(), 0, "a round without models is one");
    }

    #[test]
    fn what_is_no_round_is_not_taken_for_one() {
        let good = round(&[(1, 1, json!([1.0]), None)]);
        type Change = fn(&mut Value);
        let cases: [Change; 9] = [
            |v| v["models"][0]["cross_entropy"] = json!([-0.1]),
            |v| v["models"][0]["cross_entropy"] = json!(["1.0"]),
            |v| v["models"][0]["cross_entropy"] = json!(1.0),
            |v| v["models"][0]["uid"] = json!(65_536),
            |v| v["models"][0]["uid"] = json!(-1),
            |v| v["models"][0]["root"] = json!("sha256:00"),
            |v| v["models"][0]["perplexity"] = json!(2.0),
            |v| v["rules"] = json!({}),
            |v| v["rule"] = json!("Wins"),
        ];
        for (number, change) in cases.into_iter().enumerate() {
            let mut value = good.clone();
            change(&mut value);
            assert!(serde_json::from_value::<Round>(value).is_err(), "case {number}");
        }
        assert!(serde_json::from_value::<Round>(good).is_ok());
        let kind = |value: Value| serde_json::from_value::<Kind>(value).unwrap();
        assert!(kind(json!({"format": 5})).format.is_some());
        assert!(kind(json!({"record": {}, "signature": ""})).record.is_some());
        let own = kind(json!({"rule": "mean"}));
        assert!(own.format.is_none() && own.record.is_none());
    }
}
