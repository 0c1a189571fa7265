//! The verdicts of a validator's record, derived again from the losses in it.

use super::Scored;
use crate::{competition_file, failure::HintExt as _, terminal::print_json};
use protocol::{
    Competition, Digest, Loss, ReasonCode, Record, Uid,
    duel::Reign,
    loss::mean,
    record::{Finding, Judged, Mismatch, Round, verify, verify_chain, verify_duels},
};
use records::Signed;
use serde::Serialize;
use std::process::ExitCode;

/// What is printed of a record whose losses give the verdicts in it.
#[derive(Serialize)]
struct Scores {
    competition: String,
    /// Digest of the record.
    record: Digest,
    champion: Option<Uid>,
    /// Loss of a model that knew the true distribution of the text, where the record tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    optimum: Option<Loss>,
    /// The same in bits per byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    optimum_bits_per_byte: Option<f64>,
    models: Vec<Scored<ReasonCode>>,
}

impl Scores {
    fn of(record: Record) -> Self {
        let digest = record.digest();
        let Record { round, models, champion, .. } = record;
        Self {
            competition: round.competition.clone(),
            record: digest,
            champion,
            optimum: round.optimum,
            optimum_bits_per_byte: round.optimum.and_then(|loss| bits_per_byte(&round, loss)),
            models: models.into_iter().map(|judged| scored(&round, judged)).collect(),
        }
    }
}

/// What a loss comes to in a round; the numbers that it follows from may be anything.
fn bits_per_byte(round: &Round, loss: Loss) -> Option<f64> {
    round.bits_per_byte(loss.value()).filter(|bits| bits.is_finite())
}

/// A model as it is printed.
fn scored(round: &Round, judged: Judged) -> Scored<ReasonCode> {
    let Judged { model, verdict, .. } = judged;
    let refused = match &model.finding {
        Finding::Evaluated(_) => None,
        Finding::Disqualified(code) => Some(*code),
    };
    let bits_per_byte = bits_per_byte(round, mean(model.finding.losses()));
    Scored { verdict, refused, bits_per_byte, card: model.card }
}

/// Derives the verdicts of the record in `bytes` again and prints them; exit code 1 where the
/// record says something else than its losses give.
pub fn run(bytes: &[u8], file: &str, competition: Option<&str>) -> anyhow::Result<ExitCode> {
    let record = Record::from_json(bytes).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    judge(record, file, competition)
}

/// The same of a signed record; exit code 1 also where the validator that it names has not signed
/// it.
pub fn run_signed(bytes: &[u8], file: &str, competition: Option<&str>) -> anyhow::Result<ExitCode> {
    let signed = Signed::from_json(bytes).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    if !signed.is_genuine() {
        eprintln!("{file} is not signed by {}, which it names", signed.record.round.validator);
        return Ok(ExitCode::from(1));
    }
    judge(signed.record, file, competition)
}

fn judge(record: Record, file: &str, competition: Option<&str>) -> anyhow::Result<ExitCode> {
    let rules = rules(&record, file, competition)?;
    let verified = match record.round.previous {
        // A first record continues nothing, so that its averages and its number follow, too.
        None => verify_duels(&record, &rules, &Reign::default())
            .and_then(|()| verify_chain(&record, None, &rules)),
        Some(_) => verify(&record, &rules),
    };
    match verified {
        Ok(()) => {}
        Err(past @ Mismatch::Past) => {
            return Err(anyhow::anyhow!("{file} is no first record: {past}"))
                .hint("`agon replay` reads all records of a validator");
        }
        Err(mismatch) => {
            eprintln!("{file} is not what its losses give: {mismatch}");
            return Ok(ExitCode::from(1));
        }
    }
    print_json(&Scores::of(record))?;
    Ok(ExitCode::SUCCESS)
}

/// The rules that a record was made by: those given, else those that come with the program.
fn rules(record: &Record, file: &str, given: Option<&str>) -> anyhow::Result<Competition> {
    let (name, digest) = (&record.round.competition, record.round.competition_digest);
    let rules = match given {
        Some(given) => Some(competition_file::rules(given)?),
        None => Competition::builtin(name).ok(),
    };
    if let Some(rules) = rules.filter(|rules| rules.digest() == digest) {
        return Ok(rules);
    }
    let hint = "name the competition file of that network with --competition; that of a demo is \
                `competition.toml` in its home folder";
    let text = match given {
        Some(given) => {
            format!("{file} follows other rules than `{given}`: those of digest {digest}")
        }
        None => format!(
            "{file} follows rules of digest {digest}, which no competition `{name}` that comes \
             with the program has"
        ),
    };
    Err(anyhow::anyhow!(text)).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn frozen() -> Record {
        let bytes = include_bytes!("../../../../../testdata/scoring/record.json");
        Record::from_json(bytes.trim_ascii_end()).unwrap()
    }

    fn printed(record: Record) -> Value {
        serde_json::to_value(Scores::of(record)).unwrap()
    }

    #[test]
    fn bits_per_byte_the_optimum_and_cards_are_printed_of_a_record() {
        let scores = printed(frozen());
        // A token for each four bytes.
        let is_of = |found: &Value, loss: f64| {
            let expected = loss / 4.0 / std::f64::consts::LN_2;
            found.as_f64().is_some_and(|bits| (bits - expected).abs() < 1e-12)
        };
        assert_eq!(scores["optimum"], 1.9);
        assert!(is_of(&scores["optimum_bits_per_byte"], 1.9), "{scores}");
        for (place, loss) in [(0, 2.25), (1, 2.05)] {
            let model = &scores["models"][place];
            assert!(is_of(&model["bits_per_byte"], loss), "{model}");
            assert_eq!(model["card"]["n_parameters"], 1_000);
        }
        let refused = &scores["models"][2];
        assert_eq!(refused["refused"], "hash-mismatch");
        assert!(refused.get("bits_per_byte").is_none() && refused.get("card").is_none());
    }

    #[test]
    fn attack_lengths_that_no_number_holds_are_no_bits_per_byte() {
        let mut record = frozen();
        record.round.optimum = Some(Loss::new(f64::MAX).unwrap());
        record.round.documents[0].n_tokens = u64::MAX;
        let scores = printed(record);
        assert!(scores.get("optimum_bits_per_byte").is_none(), "{scores}");
        let mut record = frozen();
        record.round.documents[0].n_bytes = 0;
        assert!(printed(record)["models"][0].get("bits_per_byte").is_none());
    }
}
