//! What a replay came to: how each step of each record ended, and the exit code.

use crate::failure::one_line;
use protocol::{AccountId, Digest};
use serde::Serialize;
use std::{fmt, process::ExitCode};

/// Exit code where nothing differs, and something that was asked for could not be checked.
pub const NOT_CHECKED: u8 = 3;
/// Exit code where something differs.
pub const DIFFERS: u8 = 1;
/// Most letters of a value that people are shown.
const VALUE_LETTERS_MAX: usize = 160;

/// What of a record is derived again, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The file is a signed record, of the place where it lies.
    Record,
    /// It is signed by the validator that it names.
    Signature,
    /// It names the record before it, and the index names it.
    Link,
    /// The rules of its digest.
    Rules,
    /// Hash of the block that seeds the round, and of the chain's first.
    Seed,
    /// With rule `duel`, whom the chain paid most.
    Paid,
    /// Which models there were, and what the chain says of each.
    Models,
    /// Dataset and documents that the seed draws, how long these are, and their optimum.
    Rows,
    /// Tokenizer, and the sequences of tokens.
    Sequences,
    /// Files, tensors and card of a model, or the rule that it breaks.
    Model,
    /// Losses of a model.
    Losses,
    /// Evidence of the duels.
    Evidence,
    /// Verdicts and crown.
    Decision,
    /// Moving averages.
    Weights,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// What was derived again equals what the record says, to the bit.
    Equal {
        /// What it is.
        what: String,
    },
    /// It does not.
    Differs {
        /// Which field of the record, or which file.
        at: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// It could not be derived again.
    NotChecked {
        /// Why, and what helps.
        why: String,
    },
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was derived again.
    pub part: Part,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Step {
    /// What was derived again equals.
    pub fn equal(part: Part, what: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::Equal { what: what.into() } }
    }

    /// What was derived again differs.
    pub fn differs(
        part: Part,
        at: impl Into<String>,
        (expected, found): (impl fmt::Display, impl fmt::Display),
    ) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self { part, outcome: Outcome::Differs { at: at.into(), expected, found } }
    }

    /// It could not be derived again.
    pub fn not_checked(part: Part, why: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::NotChecked { why: why.into() } }
    }

    /// Whether what was derived again differs.
    pub fn is_other(&self) -> bool {
        matches!(self.outcome, Outcome::Differs { .. })
    }

    /// What was found, or that nothing was found that differs.
    pub fn or_equal(found: Option<Self>, part: Part, what: impl Into<String>) -> Self {
        found.unwrap_or_else(|| Self::equal(part, what))
    }

    /// A line for people; names of files and what strangers wrote add none.
    fn line(&self) -> String {
        let short = |value: &str| protocol::text::shown(value, VALUE_LETTERS_MAX);
        let (word, text) = match &self.outcome {
            Outcome::Equal { what } => ("equal", what.clone()),
            Outcome::Differs { at, expected, found } => {
                ("DIFFERS", format!("{at}: expected {}, found {}", short(expected), short(found)))
            }
            Outcome::NotChecked { why } => ("not checked", why.clone()),
        };
        let part = self.part;
        format!("  {word:<11}  {part:<9}  {}\n", one_line(&text))
    }
}

/// One record, derived again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The file, or its address.
    pub record: String,
    /// Competition, where it could be read.
    pub competition: Option<String>,
    /// Number of the record, where it is known.
    pub number: Option<u64>,
    /// Who judged.
    pub validator: Option<AccountId>,
    /// Digest of the record.
    pub digest: Option<Digest>,
    /// Number that the choice of a leaf came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_seed: Option<u64>,
    /// What was derived again.
    pub steps: Vec<Step>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Steps that equal.
    pub n_equal: usize,
    /// Steps that differ.
    pub n_differ: usize,
    /// Steps that could not be checked.
    pub n_not_checked: usize,
    /// The records, in order.
    pub records: Vec<Replayed>,
}

impl Report {
    /// What the records came to.
    pub fn of(records: Vec<Replayed>) -> Self {
        let steps = || records.iter().flat_map(|record| &record.steps);
        let count =
            |is_one: fn(&Outcome) -> bool| steps().filter(|step| is_one(&step.outcome)).count();
        Self {
            n_equal: count(|outcome| matches!(outcome, Outcome::Equal { .. })),
            n_differ: count(|outcome| matches!(outcome, Outcome::Differs { .. })),
            n_not_checked: count(|outcome| matches!(outcome, Outcome::NotChecked { .. })),
            records,
        }
    }

    /// 0, 1 if something differs, else 3 if something could not be checked.
    pub fn exit_code(&self) -> ExitCode {
        match (self.n_differ, self.n_not_checked) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(NOT_CHECKED),
            _ => ExitCode::from(DIFFERS),
        }
    }

    /// All of it as text.
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        for record in &self.records {
            text += &record.for_people();
            text.push('\n');
        }
        text += &format!(
            "{}: {} equal, {} differ, {} not checked\n",
            crate::rules_text::plural(self.records.len(), "record"),
            self.n_equal,
            self.n_differ,
            self.n_not_checked
        );
        text
    }
}

impl Replayed {
    fn for_people(&self) -> String {
        let name = one_line(&self.record);
        let mut text = match (&self.competition, self.number, self.validator) {
            (Some(competition), Some(number), Some(validator)) => {
                format!("record {number} of {competition} by {validator}, {name}\n")
            }
            _ => format!("{name}\n"),
        };
        if let Some(seed) = self.leaf_seed {
            text += &format!("  the leaf is chosen by --seed {seed}\n");
        }
        for step in &self.steps {
            text += &step.line();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(steps: Vec<Step>) -> Report {
        Report::of(vec![Replayed {
            record: "r.json".to_owned(),
            competition: None,
            number: None,
            validator: None,
            digest: None,
            leaf_seed: None,
            steps,
        }])
    }

    #[test]
    fn the_exit_code_tells_what_differs_before_what_could_not_be_checked() {
        let equal = Step::equal(Part::Signature, "it");
        let differs = Step::differs(Part::Losses, "a.b", (1, 2));
        let unknown = Step::not_checked(Part::Seed, "no chain given");
        let code = |steps: &[&Step]| {
            let steps = steps.iter().map(|step| (*step).clone()).collect();
            format!("{:?}", report(steps).exit_code())
        };
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(&[&equal]), is(0));
        assert_eq!(code(&[&equal, &unknown]), is(NOT_CHECKED));
        for part in [Part::Paid, Part::Models] {
            let unread = Step::not_checked(part, "the state is gone");
            assert_eq!(code(&[&equal, &unread]), is(NOT_CHECKED), "{part}");
        }
        assert_eq!(code(&[&unknown, &differs, &equal]), is(DIFFERS));
        let text = report(vec![differs]).for_people();
        assert!(text.contains("DIFFERS") && text.contains("a.b: expected 1, found 2"), "{text}");
    }

    #[test]
    fn programs_find_part_and_outcome_of_a_step() {
        let step = Step::not_checked(Part::Seed, "no chain");
        let json = serde_json::to_value(&step).unwrap();
        let expected =
            serde_json::json!({"part": "seed", "outcome": "not-checked", "why": "no chain"});
        assert_eq!(json, expected);
    }

    #[test]
    fn attack_neither_a_file_nor_a_record_adds_a_line_to_the_report() {
        let forged = "r.json\n  equal        signature  of 5F\r\u{1b}[2J\u{202e}".to_owned();
        let steps = vec![
            Step::equal(Part::Rules, forged.clone()),
            Step::differs(Part::Record, forged.clone(), (&forged, &forged)),
            Step::not_checked(Part::Seed, forged.clone()),
        ];
        let mut report = report(steps);
        report.records[0].record = forged.clone();
        for _ in 0..2 {
            let text = report.for_people();
            assert_eq!(text.lines().count(), 1 + 3 + 2, "{text}");
            assert!(
                text.lines().filter(|line| line.starts_with("  equal ")).count() == 1,
                "{text}"
            );
            assert!(text.chars().all(|c| c == '\n' || protocol::text::is_plain(c)), "{text:?}");
            report.records[0].competition = Some("tiny".to_owned());
            report.records[0].number = Some(7);
            report.records[0].validator = Some(AccountId([1; 32]));
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["records"][0]["record"], forged.as_str(), "programs get it as it is");
    }

    #[test]
    fn long_values_are_cut_for_people_and_whole_for_programs() {
        let value = "ä".repeat(10_000);
        let report = report(vec![Step::differs(Part::Losses, "at", (&value, &value))]);
        let longest = report.for_people().lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(2 * VALUE_LETTERS_MAX + 80), "{longest:?}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["records"][0]["steps"][0]["found"], value.as_str());
    }

    #[test]
    fn every_part_has_its_column_and_the_sums_are_those_of_the_steps() {
        let parts =
            [Part::Record, Part::Signature, Part::Link, Part::Rules, Part::Seed, Part::Paid];
        let more = [Part::Models, Part::Rows, Part::Sequences, Part::Model, Part::Losses];
        let last = [Part::Evidence, Part::Decision, Part::Weights];
        let parts: Vec<Part> = parts.into_iter().chain(more).chain(last).collect();
        let step = |(number, part): (usize, &Part)| match number % 3 {
            0 => Step::equal(*part, "x"),
            1 => Step::differs(*part, "at", (1, 2)),
            _ => Step::not_checked(*part, "y"),
        };
        let report = report(parts.iter().enumerate().map(step).collect());
        assert_eq!((report.n_equal, report.n_differ, report.n_not_checked), (5, 5, 4));
        let text = report.for_people();
        let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert_eq!(steps.len(), parts.len());
        for (line, part) in steps.iter().zip(&parts) {
            let (head, rest) = line.split_at(26);
            assert!(head.trim_end().ends_with(&part.to_string()), "{line}");
            assert!(!rest.starts_with(' '), "all texts begin in one column: {line}");
        }
        assert!(text.ends_with("1 record: 5 equal, 5 differ, 4 not checked\n"), "{text}");
    }
}
