//! Why the crown changed: both models, the evidence, and what it takes to see for oneself.

use super::{
    Page, Site, Trouble, missing,
    overview::{miner_link, name},
};
use crate::{
    ask::Ask,
    chart,
    duels::{self, Told, UNPACKED_BYTES_MAX, in_words, losses_of},
    figures::{Estimate, decimals, log10, odds, percent, perplexity, short, with_interval},
    index::{Crown, Holder, Index, Row},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{Competition, Digest, Record, competition::DatasetRules};

/// Most documents that a chart has a bar for.
pub(super) const BARS_MAX: usize = 600;

impl Site {
    /// The page of a change of the crown.
    pub(super) fn crown(
        &self,
        index: &Index,
        ask: &Ask,
        (competition, number): (&str, &str),
    ) -> Result<Page, Trouble> {
        let row = self.numbered(index, ask, (competition, number))?;
        let Some(crown) = index.crown(row.id)? else {
            return missing("the crown did not change in this round");
        };
        let former = crown.from.as_ref().map_or("an empty throne".to_owned(), name);
        let said = format!("{} took it from {former} at block {}.", name(&crown.to), row.block);
        let mut page = Page::new(format!("Why the crown of {competition} changed"), said);
        page.from = Some(self.origin(ask, &row));
        // Read anew for each part: one record at a time is large enough.
        page.show(self.both(index, ask, &crown, &index.whole(row.id)?)?);
        match self.fought(index, &crown)? {
            Some(told) => self.tell_duel(&mut page, &row, &told),
            None => self.tell_means(&mut page, &row, &crown, &index.whole(row.id)?),
        }
        page.table(self.judges(ask, &index.others(competition, row.block)?));
        page.show(replayed(&row));
        Ok(page)
    }

    /// The duel by which a crown was taken, where the rules have duels and are known.
    fn fought(&self, index: &Index, crown: &Crown) -> Result<Option<Told>, Trouble> {
        let rules = self.rules_of(&crown.row).and_then(|rules| rules.scoring.duel_rules());
        let (Some(rules), Some(root)) = (rules, crown.to.root) else { return Ok(None) };
        Ok(duels::told(index, &crown.row, root, rules, UNPACKED_BYTES_MAX)?)
    }

    fn both(
        &self,
        index: &Index,
        ask: &Ask,
        crown: &Crown,
        record: &Record,
    ) -> Result<Markup, Trouble> {
        let (former, of) = match former_in(record, crown) {
            Some(former) => (Some(former), "on the documents of this round".to_owned()),
            None => match former_before(index, crown)? {
                Some((former, number)) => (Some(former), format!("in round {number}")),
                None => (crown.from.clone(), String::new()),
            },
        };
        Ok(html! {
            div class="cards" {
                (side(ask, "New champion", (Some(&crown.to), "on the documents of this round")))
                (side(ask, "Former champion", (former.as_ref(), of.as_str())))
            }
        })
    }

    fn tell_duel(&self, page: &mut Page, row: &Row, told: &Told) {
        let (fight, report) = (&told.fight, &told.report);
        let evidence = chart::Evidence {
            steps: told.steps.iter().map(|s| (log10(s.e_crown), log10(s.e_reject))).collect(),
            crown: log10(1.0 / fight.terms.alpha),
            reject: log10(1.0 / told.rules.beta),
            n_min: told.rules.n_documents_min,
        };
        page.show(html! {
            h2 { "The duel" }
            @if let Some(block) = told.cut {
                p class="notice bad" {
                    "Cut before the round of block " (self.block(block)) ": the records of this "
                    "duel are more than one page unpacks. What is below is of the rounds before it."
                }
            } @else if !told.is_same() {
                p class="notice bad" {
                    "The losses in these records do not come to the evidence that the last of them "
                    "states: do not believe it."
                }
            }
            dl class="facts" {
                dt { "Outcome" } dd { (in_words(report.verdict)) }
                dt { "Documents" } dd { (report.n_documents) }
                dt { "Mean gain" }
                dd {
                    (percent(report.mean)) " of the champion's loss, between "
                    (percent(report.interval.low)) " and " (percent(report.interval.high))
                    " with a chance of error of 1 %"
                }
                dt { "Epsilon, frozen at the start" } dd { (percent(fight.terms.epsilon)) }
                dt { "Margin, by the spread of this pair" }
                dd { (fight.evidence.margin().map_or("not known in the pilot".to_owned(), percent)) }
                dt { "Chance of a crown by luck" }
                dd { "at most " (fight.terms.alpha.to_string()) " (attempt " (fight.attempts.n) " of its coldkey)" }
                dt { "Evidence for a new crown" }
                dd {
                    "about " (odds(report.log10_e_crown)) "; " (odds(evidence.crown))
                    " is needed (10^" (decimals(Some(report.log10_e_crown), 2)) " of 10^"
                    (decimals(Some(evidence.crown), 2)) ")"
                }
            }
            figure {
                (evidence.svg("Evidence of the duel, document by document"))
                figcaption {
                    "Solid: evidence that the challenger is better by the margin; thin: that it is "
                    "not better by epsilon. Whichever reaches its line first decides, and there "
                    "is no crown before the upright line."
                }
            }
        });
        let gains = told.steps.iter().take(BARS_MAX);
        let bars: Vec<(String, f64)> = gains.map(|step| (step.id.clone(), step.gain)).collect();
        page.show(html! {
            h2 { "Document by document" }
            figure {
                (chart::bars("Gain on each document", "nats per token", &bars))
                figcaption { "By how much the new champion's loss is lower on each document." }
            }
            (self.text_of(row))
        });
        page.table(documents(told));
    }

    /// Where the text of a round is found.
    pub(super) fn text_of(&self, row: &Row) -> Markup {
        let dataset = match self.rules_of(row) {
            Some(Competition { dataset: DatasetRules::Hub(dataset), .. }) => Some(&dataset.repo),
            _ => None,
        };
        html! {
            @if let Some(repo) = dataset {
                p {
                    "The documents are rows of "
                    a href=(format!("{}/datasets/{repo}", self.hub)) { (repo) } "."
                }
            }
        }
    }
}

/// Whoever had the crown with its loss in the record that tells of the change, if it was measured.
fn former_in(record: &Record, crown: &Crown) -> Option<Holder> {
    let former = crown.from.as_ref()?;
    let of = Estimate::of_losses(losses_of(record, former.root?))?;
    Some(Holder { loss: Some(of.mean), error: Some(of.error), ..former.clone() })
}

/// The same with the last loss before that is known, and the number of its record.
pub(super) fn former_before(
    index: &Index,
    crown: &Crown,
) -> Result<Option<(Holder, u64)>, Trouble> {
    let Some((former, root)) = crown.from.as_ref().and_then(|from| Some((from, from.root?))) else {
        return Ok(None);
    };
    let found = index.last_measured(crown.row.series(), root, crown.row.block)?;
    let Some(row) = found else { return Ok(None) };
    let known = row.champion.as_ref();
    let (loss, error) = (known.and_then(|it| it.loss), known.and_then(|it| it.error));
    Ok(Some((Holder { loss, error, ..former.clone() }, row.number)))
}

/// One of two models, and what its loss is of.
fn side(ask: &Ask, title: &str, (holder, of): (Option<&Holder>, &str)) -> Markup {
    html! {
        section class="card" {
            h2 { (title) }
            @match holder {
                Some(holder) => {
                    p class="champion" { (name(holder)) }
                    p { "uid " (holder.uid) ", miner " (miner_link(ask, holder)) }
                    p {
                        (with_interval(holder.loss, holder.error)) " nats per token · perplexity "
                        (decimals(holder.loss.map(perplexity), 3)) " " (of)
                    }
                    @if let Some(root) = holder.root { p { (model_link(ask, root)) } }
                }
                None => { p class="empty" { "The throne was empty." } }
            }
        }
    }
}

fn model_link(ask: &Ask, root: Digest) -> Markup {
    let hex = root.hex();
    html! { a href=(ask.to(&["model", &hex])) { "model " (short(&hex)) } }
}

/// The documents of a duel, each with what it did.
fn documents(told: &Told) -> Table {
    let columns = vec![
        column("place", "Place", ""),
        column("id", "Document", ""),
        column("block", "Round of block", "block"),
        column("gain", "Gain", "nats/token"),
        column("log10_crown", "Evidence after it", "power of ten"),
        column("step", "Its part", "power of ten"),
        column("sha256", "Digest", ""),
    ];
    let mut table = Table::new("documents", "Which documents decided", columns);
    let mut before = 0.0;
    for (at, step) in told.steps.iter().enumerate() {
        let evidence = log10(step.e_crown);
        let part = evidence - before;
        before = evidence;
        let digest = step.document.to_string();
        table.rows.push(vec![
            Cell::count(at as u64 + 1),
            Cell::text(step.id.clone()),
            Cell::count(step.block.0),
            Cell::number(Some(step.gain), decimals(Some(step.gain), 4)),
            Cell::number(Some(evidence), decimals(Some(evidence), 3)),
            Cell::number(Some(part), decimals(Some(part), 3)),
            Cell::text(digest.clone()).shown(short(&digest)),
        ]);
    }
    table
}

/// How anybody sees for oneself.
pub(super) fn replayed(row: &Row) -> Markup {
    let file = format!("/record/{}/{}/{}.json", row.validator, row.competition, row.number);
    let name = format!("{}.json", row.number);
    html! {
        h2 { "See for yourself" }
        p {
            "The record as it was published: " a href=(file) download=(name) { (name) } ". "
            "With it, this measures the models again and derives the verdict:"
        }
        pre { code { "agon replay " (name) } }
    }
}
