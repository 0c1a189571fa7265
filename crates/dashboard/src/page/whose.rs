//! By whose records a page is told.

use super::{Site, Trouble, belief, missing, round_of};
use crate::{
    ask::Ask,
    figures::short,
    index::{Head, Index, Row},
};
use maud::{Markup, html};
use protocol::{Competition, competition::Packing};

/// The validator by whose records a competition is told, and the last of them that counts.
#[derive(Clone, Debug)]
pub struct Narration {
    /// How far its records are known.
    pub head: Head,
    /// The newest at the block that is asked for.
    pub row: Row,
}

/// Whoever a competition is told by, of those that are known, and the last record of it that
/// counts.
fn narrated_by<'a>(
    index: &Index,
    ask: &Ask,
    competition: &str,
    heads: &'a [Head],
) -> Result<Option<(&'a Head, Row)>, Trouble> {
    let wanted = ask.validator();
    for head in heads.iter().filter(|head| head.competition == competition) {
        if wanted.is_some_and(|wanted| wanted != head.validator) {
            continue;
        }
        if let Some(row) = index.latest(head.series(), ask.until())? {
            return Ok(Some((head, row)));
        }
    }
    Ok(None)
}

impl Site {
    /// By whose records a competition is told: those of the validator that the address names, or of
    /// the one with the most stake; `None` while nobody has any.
    pub fn narration(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Option<Narration>, Trouble> {
        let heads = index.heads()?;
        let told = narrated_by(index, ask, competition, &heads)?;
        Ok(told.map(|(head, row)| Narration { head: head.clone(), row }))
    }

    /// Of the competitions that are known here, those that a page can be made of: with a believed
    /// record, up to the block and by the validator that are asked for.
    pub(super) fn told<'a>(
        &self,
        index: &Index,
        ask: &Ask,
        heads: &'a [Head],
    ) -> Result<Vec<&'a str>, Trouble> {
        let mut told = Vec::new();
        for name in self.known(heads) {
            if narrated_by(index, ask, name, heads)?.is_some() {
                told.push(name);
            }
        }
        Ok(told)
    }

    /// Names of competitions, each once, whose rules are known here: anybody can make up others,
    /// and they are told of on the pages of their validators alone.
    pub(crate) fn known<'a>(&self, heads: &'a [Head]) -> Vec<&'a str> {
        let names = heads.iter().map(|head| head.competition.as_str());
        let mut names: Vec<&str> =
            names.filter(|name| !self.rules.versions(name).is_empty()).collect();
        names.dedup();
        names
    }

    /// The same where a page needs it.
    pub(super) fn narrated(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Narration, Trouble> {
        match self.narration(index, ask, competition)? {
            Some(narration) => Ok(narration),
            None => missing(
                "no validator has published a record of this competition that can be believed, up \
                 to the block that is asked for",
            ),
        }
    }

    /// A record of the competition by its number, by the same validator that pages are told by.
    pub(super) fn numbered(
        &self,
        index: &Index,
        ask: &Ask,
        (competition, number): (&str, &str),
    ) -> Result<Row, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let Ok(number) = number.parse::<u64>() else { return missing("a round has a number") };
        match index.record(narration.row.series(), number)? {
            Some(row) if row.block > ask.until() => missing(format!(
                "record {number} is of block {}: at block {} it was not there yet",
                row.block,
                ask.until()
            )),
            Some(row) => Ok(row),
            None => missing("this validator has no record of this number"),
        }
    }

    /// The rules of a record, if they are known here.
    pub(super) fn rules_of(&self, row: &Row) -> Option<&Competition> {
        self.rules.of(row.rules)
    }

    /// Whether each loss of a record is that of one document, as far as its rules are known.
    pub(super) fn is_per_document(&self, row: &Row) -> bool {
        self.rules_of(row).is_some_and(|rules| {
            rules.text.packing == Packing::PerDocument && rules.evaluation.sequences_per_batch == 1
        })
    }

    /// Where the numbers of a page come from.
    pub(super) fn origin(&self, ask: &Ask, row: &Row) -> Markup {
        let validator = row.validator.to_string();
        let (said, class) = belief(row.state, row.is_derived);
        let page = round_of(ask, row.series(), row.number);
        html! {
            "From record "
            a href=(page) { (row.number) }
            " of validator "
            a href=(ask.to(&["validator", &validator])) { (short(&validator)) }
            ", seeded by block " (self.block(row.block)) ": "
            span class=(class) { (said) } "."
            @if !row.is_paid_checked { " Whom the chain paid: not checked." }
        }
    }
}
