//! A duel told again from the records that it was fought in: its evidence document by document.

use crate::index::{Error, Index, Row};
use protocol::{
    Block, Digest, Loss, Record,
    duel::{Document, Duel, DuelRules, Fight, Report, Verdict},
    record::{Finding, Model},
};
use records::signed::SIGNED_BYTES_MAX;

/// Most bytes of records that are unpacked for one page.
pub const UNPACKED_BYTES_MAX: usize = SIGNED_BYTES_MAX;

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
    /// Block of the first round that is not in it, where all of them are more than is unpacked.
    pub cut: Option<Block>,
}

impl Told {
    /// Whether the records come to the evidence that the last of them states.
    pub fn is_same(&self) -> bool {
        self.report.n_documents == self.fight.evidence.n_documents()
            && self.report.mean.to_bits() == self.fight.evidence.mean().to_bits()
            && self.report.verdict == self.fight.verdict
    }
}

/// The model of a root in a record, if it was measured.
pub fn measured(record: &Record, root: Digest) -> Option<&Model> {
    let is_it = |model: &&Model| {
        model.tensor_root == Some(root) && matches!(model.finding, Finding::Evaluated(_))
    };
    record.models.iter().map(|judged| &judged.model).find(is_it)
}

/// Losses of the model of a root in a record, as far as they counted.
pub fn losses_of(record: &Record, root: Digest) -> &[Loss] {
    measured(record, root).map(|model| model.finding.losses()).unwrap_or_default()
}

/// The duel of a challenger as it stood after a record; `None` where there was none, or where the
/// records do not tell all of it. Of records, `n_bytes_max` are unpacked.
pub fn told(
    index: &Index,
    row: &Row,
    challenger: Digest,
    rules: DuelRules,
    n_bytes_max: usize,
) -> Result<Option<Told>, Error> {
    let mut n_bytes_left = n_bytes_max;
    let Some(last) = index.whole_within(row.id, &mut n_bytes_left)? else { return Ok(None) };
    let found = last
        .models
        .iter()
        .find_map(|judged| judged.fight.as_ref().filter(|fight| fight.challenger == challenger));
    let Some(fight) = found.cloned() else { return Ok(None) };
    let Ok(mut duel) = Duel::begin(rules, fight.terms) else { return Ok(None) };
    let (mut steps, mut cut) = (Vec::new(), None);
    let parts = index.between(row.series(), fight.began, row.block)?;
    for part in &parts {
        let read;
        let record = if part.id == row.id {
            &last
        } else if let Some(earlier) = index.whole_within(part.id, &mut n_bytes_left)? {
            read = earlier;
            &read
        } else {
            cut = Some(part.block);
            break;
        };
        if !go_on(&mut duel, &mut steps, record, &fight) {
            return Ok(None);
        }
    }
    if parts.last().is_none_or(|part| part.id != row.id) {
        // There are more rounds than the index tells at once.
        cut = cut.or(Some(row.block));
    }
    let report = Report::of(&duel);
    Ok(Some(Told { fight, rules, steps, report, cut }))
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
