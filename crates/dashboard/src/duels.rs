//! A duel told again from the records that it was fought in: its evidence document by document.

use crate::index::{Error, Index, Row};
use protocol::{
    Block, Digest, Loss, Record,
    duel::{Document, Duel, DuelRules, Fight, Report, Verdict},
    record::{Finding, Judged},
};

/// What one document did to the evidence of a duel.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Digest of the document.
    pub document: Digest,
    /// Where the document is found in its dataset.
    pub id: String,
    /// Block of the round in which it was measured.
    pub block: Block,
    /// By how much the challenger's loss is lower, in nats per token.
    pub gain: f64,
    /// Evidence for a new crown after it.
    pub e_crown: f64,
    /// Evidence against one.
    pub e_reject: f64,
}

/// A duel told again.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What the last record of it says.
    pub fight: Fight,
    /// The rules that it was decided by.
    pub rules: DuelRules,
    /// All documents, in order.
    pub steps: Vec<Step>,
    /// What they come to.
    pub report: Report,
}

impl Told {
    /// Whether the records come to the evidence that the last of them states.
    pub fn is_same(&self) -> bool {
        self.report.n_documents == self.fight.evidence.n_documents()
            && self.report.mean.to_bits() == self.fight.evidence.mean().to_bits()
            && self.report.verdict == self.fight.verdict
    }
}

/// Losses of the model of a root in a record, as far as they counted.
pub fn losses_of(record: &Record, root: Digest) -> &[Loss] {
    let of = |judged: &&Judged| {
        judged.model.tensor_root == Some(root)
            && matches!(judged.model.finding, Finding::Evaluated(_))
    };
    match record.models.iter().find(of).map(|judged| &judged.model.finding) {
        Some(Finding::Evaluated(losses)) => losses,
        _ => &[],
    }
}

/// The duel of a challenger as it stood after a record; `None` where there was none, or where the
/// records do not tell all of it.
pub fn told(
    index: &Index,
    row: &Row,
    challenger: Digest,
    rules: DuelRules,
) -> Result<Option<Told>, Error> {
    let last = index.whole(row.id)?;
    let found = last
        .models
        .iter()
        .find_map(|judged| judged.fight.as_ref().filter(|fight| fight.challenger == challenger));
    let Some(fight) = found.cloned() else { return Ok(None) };
    let Ok(mut duel) = Duel::begin(rules, fight.terms) else { return Ok(None) };
    let mut steps = Vec::new();
    let whose = (row.validator, row.competition.as_str());
    for part in index.between(whose, fight.began, row.block)? {
        let record = if part.id == row.id { last.clone() } else { index.whole(part.id)? };
        if !go_on(&mut duel, &mut steps, &record, &fight) {
            return Ok(None);
        }
    }
    let report = Report::of(&duel);
    Ok(Some(Told { fight, rules, steps, report }))
}

/// Takes in what a record has of a duel; false where a loss is no number.
fn go_on(duel: &mut Duel, steps: &mut Vec<Step>, record: &Record, fight: &Fight) -> bool {
    let champion = losses_of(record, fight.terms.pairing.champion);
    let challenger = losses_of(record, fight.challenger);
    for ((drawn, champion), challenger) in
        record.round.documents.iter().zip(champion).zip(challenger)
    {
        if duel.verdict().is_some() {
            return true;
        }
        let document = Document { id: drawn.sha256, champion: *champion, challenger: *challenger };
        let n_before = duel.evidence().n_documents();
        if duel.look(&[document]).is_err() {
            return false;
        }
        if duel.evidence().n_documents() == n_before {
            continue;
        }
        steps.push(Step {
            document: drawn.sha256,
            id: drawn.id.clone(),
            block: record.round.block,
            gain: champion.value() - challenger.value(),
            e_crown: duel.evidence().e_crown(),
            e_reject: duel.evidence().e_reject(),
        });
    }
    true
}

/// A verdict in words.
pub fn in_words(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Dethroned) => "dethroned the champion",
        Some(Verdict::Rejected) => "rejected: not better by epsilon",
        Some(Verdict::Undecided) => "undecided: the champion stays",
        None => "open",
    }
}
