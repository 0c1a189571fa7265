//! Why the crown changed where means or batches decide: what had to be passed, and by which text it
//! was.

use super::{Page, Site, crown::BARS_MAX, round::part_name};
use crate::{
    chart,
    duels::measured,
    figures::{Estimate, decimals, lower_by, percent, perplexity, short, values},
    index::{Crown, Row},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{
    Competition, Loss, Record,
    competition::{LossKind, Rule},
    record::Model,
};

impl Site {
    /// Tells of a crown that no duel decided.
    pub(super) fn tell_means(&self, page: &mut Page, row: &Row, crown: &Crown, record: &Record) {
        let former = crown.from.as_ref().and_then(|from| from.root);
        let Some((former, new)) = former.zip(crown.to.root) else {
            page.show(html! {
                p class="empty" { "Nobody was measured beside it: there is nothing to compare." }
            });
            return;
        };
        let both = measured(record, former).zip(measured(record, new));
        let both = both.filter(|(former, _)| !former.finding.losses().is_empty());
        let Some((former, new)) = both else {
            page.show(html! {
                h2 { "An empty throne" }
                p {
                    "The former champion was not measured in this round: it broke a rule, or its "
                    "miner had withdrawn it or published another in its place. So nobody was there "
                    "to be beaten, and whoever was first in line took the crown."
                }
            });
            return;
        };
        let (before, after) = (former.finding.losses(), new.finding.losses());
        let is_per_document = self.is_per_document(row);
        let what = if is_per_document { "document" } else { "batch" };
        let name = |at: usize| part_name(&record.round, is_per_document, at);
        let pairs = before.iter().zip(after).enumerate();
        let bars: Vec<(String, f64)> = pairs
            .take(BARS_MAX)
            .map(|(at, (before, after))| (name(at), before.value() - after.value()))
            .collect();
        page.show(html! {
            h2 { "What had to be passed" }
            @match self.rules_of(row) {
                Some(rules) => { (bar(rules, record, former, new)) }
                None => {
                    p class="empty" { "Its rules are not known to this dashboard." }
                }
            }
            h2 { "One by one" }
            p { (compared(Estimate::of_gains(before, after), what)) }
            figure {
                (chart::bars("Gain on each of them", "nats per token", &bars))
                figcaption { "By how much the new champion's loss is lower on each " (what) "." }
            }
            (self.text_of(row))
        });
        page.table(parts(record, is_per_document, (before, after)));
    }
}

fn compared(gain: Option<Estimate>, what: &str) -> String {
    gain.map_or_else(
        || format!("They share no {what}."),
        |gain| {
            let parts = if what == "batch" { "batches" } else { "documents" };
            format!("The mean over {} {parts} is {}.", gain.n, lower_by(&gain))
        },
    )
}

/// What the new champion had to get under to beat the former one, and what it got.
fn bar(rules: &Competition, record: &Record, former: &Model, new: &Model) -> Markup {
    let scoring = &rules.scoring;
    let (older, own) = (former.seniority(), new.seniority());
    if own < older {
        return html! {
            p {
                "It was committed to before the former champion, which had to be better than it "
                "by epsilon to keep the crown, and was not."
            }
        };
    }
    let is_protected = older.block < own.block;
    let now = record.round.block;
    let epsilon = if is_protected { scoring.epsilon.at(now, older.block) } else { 0.0 };
    let of = |nats: f64| match scoring.loss {
        LossKind::Perplexity => perplexity(nats),
        LossKind::CrossEntropy => nats,
    };
    let unit = match scoring.loss {
        LossKind::Perplexity => "perplexity",
        LossKind::CrossEntropy => "nats per token",
    };
    let (before, after) = (values(former.finding.losses()), values(new.finding.losses()));
    let left = 1.0 - epsilon;
    let n_better = before.iter().zip(&after).filter(|(b, a)| of(**a) < left * of(**b)).count();
    let mean = |losses: &[f64]| match scoring.rule {
        Rule::Mean => {
            let each: Vec<f64> = losses.iter().map(|nats| of(*nats)).collect();
            Estimate::of(&each).map(|mean| mean.mean)
        }
        Rule::Wins | Rule::Succession | Rule::Duel => {
            Estimate::of(losses).map(|mean| of(mean.mean))
        }
    };
    let had = mean(&before);
    html! {
        dl class="facts" {
            dt { "Epsilon at the age of the former champion" } dd { (percent(epsilon)) }
            @if scoring.rule == Rule::Wins {
                dt { "Batches on which it had to be better by that" }
                dd { "more than half of " (before.len()) }
                dt { "On which it was" } dd { (n_better) }
            } @else {
                dt { "The former champion's loss" }
                dd { (decimals(had, 4)) " " (unit) }
                dt { "To get under" }
                dd { (decimals(had.map(|had| left * had), 4)) " " (unit) }
                dt { "The new champion's loss" }
                dd { (decimals(mean(&after), 4)) " " (unit) }
            }
        }
        p class="from" {
            "Whoever takes the crown has to beat everybody who wore it before as well."
        }
    }
}

/// Losses of both, one by one.
fn parts(record: &Record, is_per_document: bool, (before, after): (&[Loss], &[Loss])) -> Table {
    let columns = vec![
        column("place", "Place", ""),
        column("id", "Document or batch", ""),
        column("former", "Former champion", "nats/token"),
        column("new", "New champion", "nats/token"),
        column("gain", "Gain", "nats/token"),
        column("sha256", "Digest", ""),
    ];
    let mut table = Table::new("parts", "What decided, one by one", columns);
    let number = |value: f64| Cell::number(Some(value), decimals(Some(value), 4));
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        let (before, after) = (before.value(), after.value());
        let document = record.round.documents.get(at).filter(|_| is_per_document);
        let digest = document.map_or("–".to_owned(), |document| document.sha256.to_string());
        table.rows.push(vec![
            Cell::count(at as u64 + 1),
            Cell::text(part_name(&record.round, is_per_document, at)),
            number(before),
            number(after),
            number(before - after),
            Cell::text(digest.clone()).shown(short(&digest)),
        ]);
    }
    table
}
