//! The verdicts of a validator's record, derived again from the losses in it.

use super::Scored;
use crate::{competition_file, failure::HintExt as _, terminal::print_json};
use protocol::{
    Competition, Digest, ReasonCode, Record, Uid,
    duel::Reign,
    record::{Finding, Judged, Mismatch, verify, verify_chain, verify_duels},
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
    models: Vec<Scored<ReasonCode>>,
}

impl From<Judged> for Scored<ReasonCode> {
    fn from(Judged { model, verdict, .. }: Judged) -> Self {
        let refused = match model.finding {
            Finding::Evaluated(_) => None,
            Finding::Disqualified(code) => Some(code),
        };
        Self { verdict, refused }
    }
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
    print_json(&Scores {
        competition: record.round.competition.clone(),
        record: record.digest(),
        champion: record.champion,
        models: record.models.into_iter().map(Scored::from).collect(),
    })?;
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
