//! Two validators' records beside each other: losses of one model on one sequence that differ.

use super::report::{DIFFERS, NOT_CHECKED};
use crate::input;
use protocol::{AccountId, Digest, Loss, Record, record::Finding};
use records::{Signed, signed::SIGNED_BYTES_MAX};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::ExitCode};

/// What comes of comparing two records.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The two records.
    records: [Statement; 2],
    /// Losses that both have.
    n_compared: usize,
    /// Those that differ.
    faults: Vec<Fault>,
    /// Whether one validator has signed two records of one number.
    is_equivocation: bool,
    /// Why nothing could be compared, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_compared: Option<String>,
}

/// A record that somebody has signed.
#[derive(Debug, Serialize)]
struct Statement {
    record: String,
    validator: AccountId,
    number: u64,
    digest: Digest,
    signature: String,
    /// Whether the signature is one of the validator.
    is_genuine: bool,
}

/// One loss on which the two differ: at least one of them did not measure by the rules.
#[derive(Debug, PartialEq, Serialize)]
struct Fault {
    /// Tensor root of the model.
    root: Digest,
    /// The sequence: digest of its document, or number of the batch that both draw.
    sequence: String,
    losses: [Loss; 2],
}

impl Comparison {
    /// The records in two files beside each other.
    pub fn of_files(files: [&Path; 2]) -> anyhow::Result<Self> {
        let read = |path: &Path| {
            let bytes = input::read(path, SIGNED_BYTES_MAX as u64)?;
            let signed = Signed::from_json(&bytes);
            signed.map_err(|error| anyhow::anyhow!("{}: {error}", input::name(path)))
        };
        let [a, b] = [read(files[0])?, read(files[1])?];
        let statements = [Statement::new(files[0], &a), Statement::new(files[1], &b)];
        Ok(Self::new(statements, [&a.record, &b.record]))
    }

    fn new(records: [Statement; 2], [a, b]: [&Record; 2]) -> Self {
        let (mut faults, mut n_compared) = (Vec::new(), 0);
        let not_compared = incomparable(a, b);
        if not_compared.is_none() {
            (n_compared, faults) = differing(a, b);
        }
        let place = |record: &Record| {
            let round = &record.round;
            (round.validator, round.genesis, round.competition.clone(), round.number)
        };
        let is_equivocation = place(a) == place(b) && records[0].digest != records[1].digest;
        let nothing = "no model was measured in both on the same sequence".to_owned();
        let not_compared = not_compared.or_else(|| (n_compared == 0).then_some(nothing));
        Self { records, n_compared, faults, is_equivocation, not_compared }
    }

    /// 1 where something differs or is not signed, 3 where nothing could be compared.
    pub fn exit_code(&self) -> ExitCode {
        let is_forged = self.records.iter().any(|record| !record.is_genuine);
        if is_forged || self.is_equivocation || !self.faults.is_empty() {
            ExitCode::from(DIFFERS)
        } else if self.not_compared.is_some() {
            ExitCode::from(NOT_CHECKED)
        } else {
            ExitCode::SUCCESS
        }
    }

    /// All of it as text.
    pub fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (letter, statement) in ["A", "B"].into_iter().zip(&self.records) {
            let Statement { record, validator, number, digest, signature, is_genuine } = statement;
            writeln!(text, "{letter}  {record}\n   record {number} by {validator}, {digest}")?;
            let word = if *is_genuine { "signature" } else { "NO SIGNATURE OF ITS VALIDATOR" };
            writeln!(text, "   {word} {signature}")?;
        }
        for Fault { root, sequence, losses: [a, b] } in &self.faults {
            writeln!(text, "DIFFERS  model {root} on {sequence}: A has {a}, B has {b}")?;
        }
        if self.is_equivocation {
            writeln!(text, "DIFFERS  one validator has signed two records of one number")?;
        }
        if let Some(why) = &self.not_compared {
            writeln!(text, "not compared: {why}")?;
        }
        let (n, n_faults) = (self.n_compared, self.faults.len());
        writeln!(text, "{n} losses that both have, {n_faults} differ")?;
        if n_faults > 0 {
            writeln!(
                text,
                "at least one of the two did not measure by the rules; `agon replay` of each \
                 tells which"
            )?;
        }
        Ok(text)
    }
}

impl Statement {
    fn new(path: &Path, signed: &Signed) -> Self {
        let round = &signed.record.round;
        Self {
            record: path.display().to_string(),
            validator: round.validator,
            number: round.number,
            digest: signed.digest(),
            signature: signed.signature.to_string(),
            is_genuine: signed.is_genuine(),
        }
    }
}

/// Why losses of two records say nothing about each other, if so.
fn incomparable(a: &Record, b: &Record) -> Option<String> {
    let (a, b) = (&a.round, &b.round);
    if a.engine != b.engine {
        return Some(format!("one was measured by `{}`, the other by `{}`", a.engine, b.engine));
    }
    if a.tokenizer != b.tokenizer || a.competition_digest != b.competition_digest {
        return Some("they follow other rules, or another tokenizer".to_owned());
    }
    None
}

/// How many losses both have of one model on one sequence, and those that differ.
fn differing(a: &Record, b: &Record) -> (usize, Vec<Fault>) {
    // Equal digests are equal sequences in equal batches. Other text has sequences in common only
    // where each is a document by itself, as duels have it.
    let is_same_text = a.round.batches == b.round.batches;
    let is_by_document = a.crown.is_some() && b.crown.is_some();
    if !is_same_text && !is_by_document {
        return (0, Vec::new());
    }
    let name = if is_same_text { by_place } else { by_document };
    let (known, others) = (losses(a, name), losses(b, name));
    let (mut n_compared, mut faults) = (0, Vec::new());
    for ((root, sequence), loss) in known {
        let Some(other) = others.get(&(root, sequence.clone())) else { continue };
        n_compared += 1;
        if loss.value().to_bits() != other.value().to_bits() {
            faults.push(Fault { root, sequence, losses: [loss, *other] });
        }
    }
    (n_compared, faults)
}

/// How a sequence of a record is called, by its place there.
type Name = fn(&Record, usize) -> Option<String>;

/// Where both have the same text, a place is enough.
fn by_place(_: &Record, place: usize) -> Option<String> {
    Some(format!("batch {place}"))
}

fn by_document(record: &Record, place: usize) -> Option<String> {
    record.round.documents.get(place).map(|document| document.sha256.to_string())
}

/// Losses by model and sequence.
fn losses(record: &Record, name: Name) -> BTreeMap<(Digest, String), Loss> {
    let mut known = BTreeMap::new();
    for model in record.models.iter().map(|judged| &judged.model) {
        let (Finding::Evaluated(losses), Some(root)) = (&model.finding, model.tensor_root) else {
            continue;
        };
        for (place, loss) in losses.iter().enumerate() {
            known.extend(name(record, place).map(|name| ((root, name), *loss)));
        }
    }
    known
}
