//! What `agon miner watch` says of each checkpoint, in a line.

use super::judge::{Comparison, Whose};
use crate::{
    command::miner::entrant::Submitted,
    terminal::{self, print_json_line},
};
use protocol::{Block, Digest, duel, text::shown};
use serde::Serialize;
use std::path::Path;

/// Most characters of a path that are shown.
const PATH_MAX: usize = 300;

/// A line.
#[derive(Serialize)]
pub struct Line {
    checkpoint: String,
    verdict: Verdict,
    /// What was measured last.
    perplexity: Option<f64>,
    champion: Option<f64>,
    /// That of the model that the hotkey has committed to, where that is not the champion.
    own: Option<f64>,
    /// Below which perplexity it would win.
    needed: Option<f64>,
    /// With rule `duel`, the duel that decided.
    duel: Option<duel::Report>,
    /// Blocks whose text it was last measured on.
    measured_on: Vec<Block>,
    /// Digest over its files, where they were read.
    file_root: Option<Digest>,
    detail: Option<String>,
    submitted: Option<Submitted>,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Verdict {
    /// A validator would refuse it.
    Refused,
    /// A checkpoint of the same files was judged before.
    Known,
    /// It would not win.
    Loses,
    /// It would win, and may not be submitted yet: it is judged again when it may.
    Waits,
    /// It would win, and is not submitted because nothing is.
    WouldWin,
    /// It would win, and is on its way.
    Wins,
    /// It is committed to and public.
    Submitted,
    /// It would no longer win, and nobody has committed to it.
    Withdrawn,
}

impl Verdict {
    /// All that can be said.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Known,
        Self::Loses,
        Self::Waits,
        Self::WouldWin,
        Self::Wins,
        Self::Submitted,
        Self::Withdrawn,
    ];

    /// As documents and labels name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Known => "known",
            Self::Loses => "loses",
            Self::Waits => "waits",
            Self::WouldWin => "would-win",
            Self::Wins => "wins",
            Self::Submitted => "submitted",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn for_people(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Known => "judged before",
            Self::Loses => "would not win",
            Self::Waits => "would win, but has to wait",
            Self::WouldWin => "would be submitted",
            Self::Wins => "would win, is submitted",
            Self::Submitted => "submitted",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl From<Verdict> for &'static str {
    fn from(verdict: Verdict) -> Self {
        verdict.name()
    }
}

impl Line {
    /// A line that says nothing but the verdict.
    pub fn new(checkpoint: &Path, verdict: Verdict) -> Self {
        let checkpoint = path_shown(checkpoint);
        Self {
            checkpoint,
            verdict,
            perplexity: None,
            champion: None,
            own: None,
            needed: None,
            duel: None,
            measured_on: Vec::new(),
            file_root: None,
            detail: None,
            submitted: None,
        }
    }

    /// With what was measured on the texts of blocks.
    pub fn measured(self, comparison: &Comparison, blocks: &[Block]) -> Self {
        let of = |whose| {
            let mut others = comparison.others.iter();
            others.find(|(other, _)| *other == whose).map(|(_, perplexity)| *perplexity)
        };
        Self {
            perplexity: Some(comparison.perplexity),
            champion: of(Whose::Champion),
            own: of(Whose::Own),
            needed: comparison.needed,
            duel: comparison.duel,
            measured_on: blocks.to_vec(),
            ..self
        }
    }

    /// With the digest over the files.
    pub fn of_files(self, root: Digest) -> Self {
        Self { file_root: Some(root), ..self }
    }

    /// With a reason.
    pub fn because(self, detail: &impl ToString) -> Self {
        Self { detail: Some(terminal::shown(&detail.to_string())), ..self }
    }

    /// With what became of it.
    pub fn submitted(self, submitted: Submitted) -> Self {
        Self { submitted: Some(submitted), ..self }
    }

    /// What is said in it.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Prints it on stdout, as a document or for people.
    pub fn print(&self, form: Form) -> anyhow::Result<()> {
        match form {
            Form::Json => print_json_line(self),
            Form::Text => terminal::print(&(self.for_people() + "\n")),
        }
    }

    fn for_people(&self) -> String {
        let mut text = format!("{}  {}", self.checkpoint, self.verdict.for_people());
        for (name, perplexity) in [
            ("perplexity", self.perplexity),
            ("champion", self.champion),
            ("own", self.own),
            ("needs less than", self.needed),
        ] {
            if let Some(perplexity) = perplexity {
                text += &format!("  {name} {perplexity:.4}");
            }
        }
        if let Some(duel) = &self.duel {
            let gain = duel.interval.around(duel.mean);
            text += &format!("  gain {gain} on {} documents", duel.n_documents);
        }
        if let Some(submitted) = &self.submitted {
            text += &format!(
                "  {} in block {}, measured from block {} on",
                submitted.url, submitted.block, submitted.measured_from_block
            );
        }
        if let Some(detail) = &self.detail {
            text += &format!("  ({detail})");
        }
        text
    }
}

/// A path in one line.
pub fn path_shown(path: &Path) -> String {
    shown(&path.display().to_string(), PATH_MAX)
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON document on a line.
    Json,
    /// A line for people.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_measured_and_what_it_would_need() {
        let comparison = Comparison {
            wins: false,
            perplexity: 10.5,
            needed: Some(9.95),
            others: vec![(Whose::Champion, 10.0)],
            duel: None,
        };
        let line = Line::new(Path::new("runs/a\nb"), Verdict::Loses);
        let line = line.measured(&comparison, &[Block(7)]).because(&"one\u{202e}");
        let text = line.for_people();
        assert_eq!(
            text,
            "runs/a\u{fffd}b  would not win  perplexity 10.5000  champion 10.0000  \
             needs less than 9.9500  (one\u{fffd})"
        );
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!((&json["verdict"], &json["champion"]), (&"loses".into(), &10.0.into()));
        assert_eq!(json["measured_on"], serde_json::json!([7]));

        let duel = duel::Report {
            n_documents: 125,
            mean: 0.0123,
            interval: duel::Interval { low: 0.0041, high: 0.0203 },
            mean_unclipped: 0.0123,
            spread: 0.01,
            is_concentrated: false,
            log10_e_crown: 4.0,
            log10_e_reject: -3.0,
            crown: duel::Strength::Decisive,
            reject: duel::Strength::Nothing,
            verdict: Some(duel::Verdict::Dethroned),
        };
        let line = Line::new(Path::new("runs/c"), Verdict::Wins);
        let line = line.measured(&Comparison { duel: Some(duel), ..comparison }, &[Block(9)]);
        let text = line.for_people();
        assert!(text.ends_with("  gain 1.2 % (0.4 to 2.0 %) on 125 documents"), "{text}");
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(json["duel"]["verdict"], "dethroned");
    }
}
