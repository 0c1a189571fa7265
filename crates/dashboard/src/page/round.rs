//! One round: its record in full; and two models beside each other.

use super::{
    Page, Site, Trouble, belief, competition::no_model, crown::replayed, lengths::lengths,
    losses::map, overview::name,
};
use crate::{
    ask::Ask,
    chart,
    duels::{losses_of, measured},
    figures::{
        Estimate, bits_per_byte, decimals, grouped, lower_by, percent, perplexity, short, values,
        with_interval,
    },
    index::{Index, Row, Standing},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{
    Digest, Loss, Record,
    record::{DocumentDigest, Round},
};

/// Most documents that are listed.
const DOCUMENTS_MAX: usize = 2_000;

impl Site {
    /// The page of a round.
    pub(super) fn round(
        &self,
        index: &Index,
        ask: &Ask,
        (competition, number): (&str, &str),
    ) -> Result<Page, Trouble> {
        let row = self.numbered(index, ask, (competition, number))?;
        let record = index.whole(row.id)?;
        let standings = index.standings(&row)?;
        let said = format!(
            "{} models on {} documents, seeded by block {}.",
            row.n_models, row.n_documents, row.block
        );
        let mut page = Page::new(format!("Round {} of {competition}", row.number), said);
        page.from = Some(self.origin(ask, &row));
        let after = index.record(row.series(), row.number.saturating_add(1))?;
        let is_last = after.is_none_or(|after| after.block > ask.until());
        page.show(self.facts(ask, &row, &record.round, is_last));
        if index.crown(row.id)?.is_some() {
            let why = ask.to(&["c", competition, "crown", &row.number.to_string()]);
            page.show(html! { p { a href=(why) { "The crown changed in this round: why" } } });
        }
        page.table(self.board(index, ask, &row, &standings)?);
        page.show(map(ask, &record, &standings));
        page.table(self.judges(ask, &index.others(competition, row.block)?));
        page.table(drawn(&record.round));
        page.show(replayed(&row));
        Ok(page)
    }

    fn facts(&self, ask: &Ask, row: &Row, round: &Round, is_last: bool) -> Markup {
        let (said, class) = belief(row.state, row.is_derived);
        let beside = |number: u64| ask.to(&["c", &row.competition, "round", &number.to_string()]);
        html! {
            nav class="pages" aria-label="Rounds before and after" {
                @if row.number > 1 { a href=(beside(row.number - 1)) { "← round before" } }
                @if !is_last {
                    a href=(beside(row.number.saturating_add(1))) { "round after →" }
                }
            }
            dl class="facts" {
                dt { "Check" } dd class=(class) { (said) }
                dt { "Seed" }
                dd { "block " (self.block(row.block)) " " code { (round.block_hash.to_string()) } }
                dt { "Record" } dd { code { (row.digest.to_string()) } }
                dt { "Record before" }
                dd {
                    code {
                        (round.previous.map_or("none: it is the first".to_owned(), |d| d.to_string()))
                    }
                }
                dt { "Rules" } dd { code { (row.rules.to_string()) } }
                dt { "Tokenizer" } dd { code { (round.tokenizer.to_string()) } }
                dt { "Dataset" } dd { code { (round.dataset.to_string()) } }
                dt { "Batches" } dd { code { (round.batches.to_string()) } }
                dt { "Text of all documents" } dd { (length(round)) }
                dt { "Optimum" } dd { (optimum(row)) }
                dt { "Measured by" } dd { (round.engine) }
            }
        }
    }

    /// Two models on the same documents.
    pub(super) fn compare(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Page, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let standings = index.standings(&narration.row)?;
        let mut page = Page::new(
            format!("Two models of {competition}"),
            "Losses of two models on the same documents, from the last round that measured both.",
        );
        page.show(choice(ask, &standings));
        let root = |name: &str| ask.get(name).map(|hex| format!("sha256:{hex}").parse::<Digest>());
        let (a, b) = match (root("a"), root("b")) {
            (Some(Ok(a)), Some(Ok(b))) => (a, b),
            (None, _) | (_, None) => return Ok(page),
            _ => return no_model(),
        };
        let Some(row) = index.common(narration.row.series(), ask.until(), (a, b))? else {
            page.show(html! {
                p class="empty" { "No round that is believed has measured both of them." }
            });
            return Ok(page);
        };
        let record = index.whole(row.id)?;
        page.from = Some(self.origin(ask, &row));
        beside(&mut page, &record, self.is_per_document(&row), (a, b));
        Ok(page)
    }
}

/// Bytes and tokens of the text of a round, as far as its record tells them.
fn length(round: &Round) -> String {
    // A stranger's counts may be more than one number holds.
    let count = |of: fn(&DocumentDigest) -> u64| {
        round.documents.iter().fold(0, |sum: u64, document| sum.saturating_add(of(document)))
    };
    let (n_bytes, n_tokens) = (count(|document| document.n_bytes), count(|it| it.n_tokens));
    if n_bytes == 0 {
        return "–".to_owned();
    }
    format!("{} bytes, {} tokens", grouped(n_bytes), grouped(n_tokens))
}

/// What a model that knew the distribution of the text would have got, where that is known.
fn optimum(row: &Row) -> String {
    let Some(nats) = row.optimum else { return "–".to_owned() };
    format!(
        "{} nats per token · perplexity {} · {} bits per byte",
        decimals(Some(nats), 4),
        decimals(Some(perplexity(nats)), 3),
        decimals(bits_per_byte(Some(nats), row.bits_of_nat), 4),
    )
}

/// A number of a document; 0 stands for one that its record does not tell.
fn told(number: u64) -> Cell {
    if number == 0 { Cell::number(None, "–") } else { Cell::count(number) }
}

/// The documents of a round.
fn drawn(round: &Round) -> Table {
    let columns = vec![
        column("place", "Place", ""),
        column("id", "Document", ""),
        column("bytes", "Bytes", ""),
        column("tokens", "Tokens", ""),
        column("sha256", "Digest of its text", ""),
    ];
    let n_all = round.documents.len();
    let caption = match n_all > DOCUMENTS_MAX {
        true => format!("The first {DOCUMENTS_MAX} of {n_all} documents that were drawn"),
        false => "Documents that were drawn".to_owned(),
    };
    let mut table = Table::new("documents", caption, columns);
    for (at, document) in round.documents.iter().take(DOCUMENTS_MAX).enumerate() {
        let digest = document.sha256.to_string();
        table.rows.push(vec![
            Cell::count(at as u64 + 1),
            Cell::text(document.id.clone()),
            told(document.n_bytes),
            told(document.n_tokens),
            Cell::text(digest.clone()).shown(short(&digest)),
        ]);
    }
    table
}

/// A form to choose two models.
fn choice(ask: &Ask, standings: &[Standing]) -> Markup {
    // Of a model that this round did not measure, a round before may have losses.
    let sound = standings.iter().filter(|standing| standing.reason.is_none());
    let options: Vec<(String, String)> = sound
        .filter_map(|standing| Some((standing.holder.root?.hex(), name(&standing.holder))))
        .collect();
    html! {
        form class="choice" method="get" action=(ask.own()) {
            @for (key, value) in ask.others(&["a", "b", "page", "q"]) {
                input type="hidden" name=(key) value=(value);
            }
            @for which in ["a", "b"] {
                label {
                    (which) " "
                    select name=(which) {
                        @for (hex, shown) in &options {
                            option value=(hex) selected[ask.get(which) == Some(hex.as_str())] {
                                (shown)
                            }
                        }
                    }
                }
            }
            button { "Compare" }
        }
    }
}

/// What a loss of a record is of: the id of a document, or a batch by its place.
pub(super) fn part_name(round: &Round, is_per_document: bool, at: usize) -> String {
    let document = round.documents.get(at).filter(|_| is_per_document);
    document.map_or_else(|| format!("batch {}", at + 1), |document| document.id.clone())
}

/// Losses of two models of a record, document by document.
fn beside(page: &mut Page, record: &Record, is_per_document: bool, (a, b): (Digest, Digest)) {
    let (first, second) = (losses_of(record, a), losses_of(record, b));
    let of = |root: Digest| {
        let repo = measured(record, root).and_then(|model| model.repo.as_ref());
        repo.map_or_else(|| short(&root.hex()), ToString::to_string)
    };
    let (name_a, name_b) = (of(a), of(b));
    let pairs = || first.iter().zip(second).enumerate();
    let label = |at: usize| part_name(&record.round, is_per_document, at);
    let bars: Vec<(String, f64)> =
        pairs().map(|(at, (a, b))| (label(at), a.value() - b.value())).collect();
    let said = Estimate::of_gains(first, second).map_or_else(
        || "They share no documents.".to_owned(),
        |gain| format!("On {} documents or batches, {name_b} is {}.", gain.n, lower_by(&gain)),
    );
    page.show(html! {
        p { (said) }
        figure {
            (chart::bars("Difference on each document", "nats per token", &bars))
            figcaption { "Above zero, " (name_b) " is better than " (name_a) "." }
        }
    });
    let documents: &[DocumentDigest] = if is_per_document { &record.round.documents } else { &[] };
    page.table(lengths(documents, (first, second)));
    page.table(positions(first, second));
    let columns = vec![
        column("document", "Document or batch", ""),
        column("a", "Loss of a", "nats/token"),
        column("b", "Loss of b", "nats/token"),
        column("difference", "a − b", "nats/token"),
    ];
    let mut table = Table::new("differences", format!("{name_a} and {name_b}"), columns);
    for (at, (a, b)) in pairs() {
        let (a, b) = (a.value(), b.value());
        table.rows.push(vec![
            Cell::text(label(at)),
            Cell::number(Some(a), decimals(Some(a), 4)),
            Cell::number(Some(b), decimals(Some(b), 4)),
            Cell::number(Some(a - b), decimals(Some(a - b), 4)),
        ]);
    }
    page.table(table);
}

/// Parts of a round that are compared.
const PARTS: usize = 10;

/// Differences of two models by the place in which documents were drawn: whether one is better
/// throughout, or by a few.
fn positions(first: &[Loss], second: &[Loss]) -> Table {
    let columns = vec![
        column("from", "From place", ""),
        column("to", "To place", ""),
        column("difference", "Mean of a − b", "nats/token"),
        column("better", "b is better on", "share"),
    ];
    let mut table = Table::new("positions", "By place in the round", columns);
    table.empty = "they share no documents";
    let pairs = values(first).into_iter().zip(values(second));
    let gains: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
    let n_each = gains.len().div_ceil(PARTS).max(1);
    for (at, part) in gains.chunks(n_each).enumerate() {
        let better = part.iter().filter(|gain| **gain > 0.0).count() as f64 / part.len() as f64;
        let mean = Estimate::of(part);
        let begin = at * n_each;
        let shown = with_interval(mean.map(|mean| mean.mean), mean.map(|mean| mean.error));
        table.rows.push(vec![
            Cell::count(begin as u64 + 1),
            Cell::count((begin + part.len()) as u64),
            Cell::number(mean.map(|mean| mean.mean), shown),
            Cell::number(Some(better), percent(better)),
        ]);
    }
    table
}
