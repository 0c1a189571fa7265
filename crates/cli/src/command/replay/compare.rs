//! Two validators' records beside each other: losses of one model on one sequence that differ.

use super::report::{DIFFERS, NOT_CHECKED};
use crate::{failure::one_line, input};
use protocol::{AccountId, Digest, Loss, Record, record::Finding};
use records::{Signed, signed::SIGNED_BYTES_MAX};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::ExitCode};

/// Most losses that differ of which each is told.
const N_FAULTS_MAX: usize = 10_000;

/// What comes of comparing two records.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The two records.
    records: [Statement; 2],
    /// Losses that both have.
    n_compared: usize,
    /// How many of them differ.
    n_faults: usize,
    /// Those that differ, the first [`N_FAULTS_MAX`].
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
        let not_compared = incomparable(a, b);
        let Differing { n_compared, n_faults, faults } = match not_compared {
            None => Differing::of(a, b),
            Some(_) => Differing::default(),
        };
        let place = |record: &Record| {
            let round = &record.round;
            let chain = (round.genesis, round.netuid);
            (round.validator, chain, round.competition.clone(), round.number)
        };
        let is_equivocation = place(a) == place(b) && records[0].digest != records[1].digest;
        let nothing = "no model was measured in both on the same sequence".to_owned();
        let not_compared = not_compared.or_else(|| (n_compared == 0).then_some(nothing));
        Self { records, n_compared, n_faults, faults, is_equivocation, not_compared }
    }

    /// 1 where something differs or is not signed, 3 where nothing could be compared.
    pub fn exit_code(&self) -> ExitCode {
        let is_forged = self.records.iter().any(|record| !record.is_genuine);
        if is_forged || self.is_equivocation || self.n_faults > 0 {
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
            writeln!(text, "{letter}  {}", one_line(record))?;
            writeln!(text, "   record {number} by {validator}, {digest}")?;
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
            writeln!(text, "not compared: {}", one_line(why))?;
        }
        let (n, n_faults) = (self.n_compared, self.n_faults);
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

/// What two records have in common.
#[derive(Default)]
struct Differing {
    n_compared: usize,
    n_faults: usize,
    faults: Vec<Fault>,
}

impl Differing {
    /// How many losses both have of one model on one sequence, and those that differ.
    fn of(a: &Record, b: &Record) -> Self {
        let mut found = Self::default();
        // Equal digests are equal sequences in equal batches. Other text has sequences in common
        // only where each is a document by itself, as duels have it.
        let is_same_text = a.round.batches == b.round.batches;
        let is_by_document = a.crown.is_some() && b.crown.is_some();
        let places = match (is_same_text, is_by_document) {
            (true, _) => None,
            (false, true) => Some(places(b)),
            (false, false) => return found,
        };
        let others: BTreeMap<Digest, &[Loss]> = losses(b).collect();
        for (root, known) in losses(a) {
            let Some(others) = others.get(&root) else { continue };
            for (place, loss) in known.iter().enumerate() {
                let document = a.round.documents.get(place).map(|document| document.sha256);
                let at = match &places {
                    None => Some(place),
                    Some(places) => document.and_then(|document| places.get(&document).copied()),
                };
                let Some(other) = at.and_then(|at| others.get(at)) else { continue };
                found.n_compared += 1;
                if loss.value().to_bits() != other.value().to_bits() {
                    let name = || match document.filter(|_| places.is_some()) {
                        Some(document) => document.to_string(),
                        None => format!("batch {place}"),
                    };
                    let losses = [*loss, *other];
                    found.fault(|| Fault { root, sequence: name(), losses });
                }
            }
        }
        found
    }

    /// Counts a loss that differs, and keeps it if it is one of the first.
    fn fault(&mut self, fault: impl FnOnce() -> Fault) {
        self.n_faults += 1;
        if self.faults.len() < N_FAULTS_MAX {
            self.faults.push(fault());
        }
    }
}

/// Where each document of a record is.
fn places(record: &Record) -> BTreeMap<Digest, usize> {
    let documents = record.round.documents.iter().enumerate();
    documents.map(|(place, document)| (document.sha256, place)).collect()
}

/// Losses by model, in order of place.
fn losses(record: &Record) -> impl Iterator<Item = (Digest, &[Loss])> {
    record.models.iter().filter_map(|judged| match &judged.model.finding {
        Finding::Evaluated(losses) => Some((judged.model.tensor_root?, losses.as_slice())),
        Finding::Disqualified(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::losses::tests::{losses, record};
    use super::*;

    #[test]
    fn a_record_with_as_many_losses_as_any_is_compared_and_not_every_fault_is_kept() {
        const N: usize = N_FAULTS_MAX + 7;
        let of = |value: f64| {
            let mut record = record(vec![losses(N, value)]);
            record.models[0].model.tensor_root = Some(Digest([4; 32]));
            record
        };
        let (a, b) = (of(1.0), of(2.0));
        let found = Differing::of(&a, &b);
        assert_eq!((found.n_compared, found.n_faults, found.faults.len()), (N, N, N_FAULTS_MAX));
        assert_eq!(Differing::of(&a, &a).n_faults, 0);
    }

    #[test]
    fn losses_on_other_text_are_compared_by_document() {
        let document = |number: u8| protocol::record::DocumentDigest {
            id: number.to_string(),
            sha256: Digest([number; 32]),
            n_bytes: 400,
            n_tokens: 100,
        };
        let of = |documents: [u8; 2]| {
            let mut record = record(vec![losses(2, 1.0)]);
            record.models[0].model.tensor_root = Some(Digest([4; 32]));
            record.round.documents = documents.map(document).to_vec().into();
            record.round.batches = Digest([documents[0]; 32]);
            record
        };
        let (mut a, mut b) = (of([1, 2]), of([2, 3]));
        assert_eq!(Differing::of(&a, &b).n_compared, 0, "batches of other rules are no documents");
        let champion = protocol::duel::Champion {
            uid: protocol::Uid(0),
            hotkey: AccountId([0; 32]),
            coldkey: AccountId([0; 32]),
            root: Digest([4; 32]),
            reference: Loss::new(1.0).unwrap(),
            since: protocol::Block(1),
            aged_from: protocol::Block(1),
            rules: Digest([0; 32]),
        };
        let (predecessor, paid, settling_blocks) = (None, None, 0);
        let crown = protocol::record::Crown { champion, predecessor, paid, settling_blocks };
        (a.crown, b.crown) = (Some(crown), Some(crown));
        assert_eq!(Differing::of(&a, &b).n_compared, 1);
        let Finding::Evaluated(losses) = &mut b.models[0].model.finding else { panic!() };
        losses[0] = Loss::new(2.0).unwrap();
        let found = Differing::of(&a, &b);
        assert_eq!(found.n_faults, 1);
        assert_eq!(found.faults[0].sequence, Digest([2; 32]).to_string());
    }

    /// A record of one measured model, signed by a validator of its own or by somebody else.
    fn signed(by: u64, value: f64, change: impl FnOnce(&mut Record)) -> Signed {
        let key = |number| keys::Keypair::from_seed(protocol::Seed::of_number(number));
        let mut record = record(vec![losses(2, value)]);
        record.models[0].model.tensor_root = Some(Digest([4; 32]));
        record.round.validator = key(by).public();
        change(&mut record);
        Signed::sign(record, &key(by))
    }

    fn compared(a: &Signed, b: &Signed) -> Comparison {
        let statements = [Statement::new(Path::new("a"), a), Statement::new(Path::new("b"), b)];
        Comparison::new(statements, [&a.record, &b.record])
    }

    #[test]
    fn what_comes_of_two_records_is_told_by_code_text_and_json() {
        let code = |comparison: &Comparison| format!("{:?}", comparison.exit_code());
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        let (honest, same) = (signed(1, 1.0, |_| {}), signed(2, 1.0, |_| {}));
        let equal = compared(&honest, &same);
        assert_eq!(code(&equal), is(0));
        let text = equal.for_people().unwrap();
        assert!(text.ends_with("2 losses that both have, 0 differ\n"), "{text}");
        let json = serde_json::to_value(&equal).unwrap();
        assert!(json.get("not_compared").is_none() && json["is_equivocation"] == false, "{json}");

        let last_bit = f64::from_bits(1.0_f64.to_bits() + 1);
        let faulty = compared(&honest, &signed(2, last_bit, |_| {}));
        assert_eq!(code(&faulty), is(DIFFERS));
        let text = faulty.for_people().unwrap();
        for part in ["on batch 0: A has 1, B has 1.0000000000000002", "2 differ", "agon replay"] {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        let other = compared(&honest, &signed(2, 1.0, |record| record.models.clear()));
        assert_eq!(code(&other), is(NOT_CHECKED));
        assert!(
            other.for_people().unwrap().contains("not compared: no model was measured in both")
        );
        let engine = signed(2, 2.0, |record| record.round.engine = "a\n0 differ\u{1b}".to_owned());
        let engine = compared(&honest, &engine);
        assert_eq!((code(&engine), engine.n_compared), (is(NOT_CHECKED), 0));
        let text = engine.for_people().unwrap();
        assert!(!text.lines().any(|line| line.starts_with("0 differ")), "{text}");
        let rules = compared(&honest, &signed(2, 2.0, |r| r.round.tokenizer = Digest([5; 32])));
        assert_eq!((code(&rules), rules.n_faults), (is(NOT_CHECKED), 0));
    }

    #[test]
    fn attack_two_records_of_one_number_are_told_though_they_have_no_loss_in_common() {
        let first = signed(1, 1.0, |_| {});
        let second = signed(1, 1.0, |record| record.models.clear());
        let found = compared(&first, &second);
        assert!(found.is_equivocation && found.n_compared == 0);
        assert_eq!(format!("{:?}", found.exit_code()), format!("{:?}", ExitCode::from(DIFFERS)));
        assert!(found.for_people().unwrap().contains("signed two records of one number"));
        assert!(!compared(&first, &first).is_equivocation, "one record twice is none");
        type Change = fn(&mut Record);
        let others: [(&str, Change); 4] = [
            ("number", |record| record.round.number = 2),
            ("competition", |record| record.round.competition = "nano".to_owned()),
            ("subnet", |record| record.round.netuid = protocol::NetUid(8)),
            ("chain", |record| record.round.genesis = protocol::BlockHash([7; 32])),
        ];
        for (what, change) in others {
            let other = signed(1, 1.0, change);
            assert!(!compared(&first, &other).is_equivocation, "of another {what}");
        }
    }

    #[test]
    fn attack_a_record_that_its_validator_has_not_signed_is_no_evidence() {
        let honest = signed(1, 1.0, |_| {});
        let framed =
            signed(2, 1.0, |record| record.round.validator = honest.record.round.validator);
        let found = compared(&honest, &framed);
        assert_eq!(format!("{:?}", found.exit_code()), format!("{:?}", ExitCode::from(DIFFERS)));
        let text = found.for_people().unwrap();
        assert_eq!(text.matches("NO SIGNATURE OF ITS VALIDATOR").count(), 1, "{text}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["records"][0]["is_genuine"], true);
        assert_eq!(json["records"][1]["is_genuine"], false);
    }

    #[test]
    fn files_that_are_no_records_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let json = signed(1, 1.0, |_| {}).to_json();
        let good = write("good.json", &json);
        assert!(Comparison::of_files([&good, &good]).is_ok());
        let cases: [(&str, Vec<u8>); 4] = [
            ("empty.json", Vec::new()),
            ("cut.json", json[..json.len() - 1].to_vec()),
            ("spaced.json", [&json[..], b"\n"].concat()),
            ("binary.json", vec![0xff; 100]),
        ];
        for (name, bytes) in cases {
            let bad = write(name, &bytes);
            for files in [[&good, &bad], [&bad, &good]] {
                let error = Comparison::of_files(files.map(|path| path.as_path())).unwrap_err();
                assert!(format!("{error:#}").contains(name), "{error:#}");
            }
        }
    }
}
