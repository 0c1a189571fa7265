//! Losses of a round: of the best models as a map, and of all of them as a table.

use super::{Page, Site, Trouble, overview::name, round::part_name};
use crate::{
    ask::Ask,
    chart,
    duels::losses_of,
    figures::{decimals, grouped, plural, short, values},
    index::{Index, Standing},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{Record, record::Judged};

/// Most models and batches of a map of losses.
const MAP_MAX: (usize, usize) = (40, 100);
/// Most losses of the table, of all models together.
const LOSSES_MAX: usize = 100_000;

impl Site {
    /// The losses of all models of a round, one by one.
    pub(super) fn losses_of_round(
        &self,
        index: &Index,
        ask: &Ask,
        (competition, number): (&str, &str),
    ) -> Result<Page, Trouble> {
        let row = self.numbered(index, ask, (competition, number))?;
        let record = index.whole(row.id)?;
        let n_all: usize = record.models.iter().map(|judged| of(judged).len()).sum();
        let cut = match n_all > LOSSES_MAX {
            true => format!("; the first {} are here", grouped(LOSSES_MAX as u64)),
            false => String::new(),
        };
        let losses =
            if n_all == 1 { "1 loss" } else { &format!("{} losses", grouped(n_all as u64)) };
        let said = format!("{losses} of {}{cut}.", plural(row.n_models, "model"));
        let mut page = Page::new(format!("Losses of round {} of {competition}", row.number), said);
        page.from = Some(self.origin(ask, &row));
        let is_per_document = self.is_per_document(&row);
        let columns = vec![
            column("uid", "uid", ""),
            column("repo", "Model", ""),
            column("place", "Place", ""),
            column("id", "Document or batch", ""),
            column("loss", "Loss", "nats/token"),
        ];
        let mut table = Table::new("losses", "Losses, model by model", columns);
        table.empty = "nothing had to be measured in this round";
        let all = record.models.iter().flat_map(|judged| {
            let losses = of(judged).iter().enumerate();
            losses.map(move |(at, loss)| (&judged.model, at, loss.value()))
        });
        for (model, at, loss) in all.take(LOSSES_MAX) {
            let repo = model.repo.as_ref();
            table.rows.push(vec![
                Cell::count(model.uid.0.into()),
                Cell::text(repo.map_or("–".to_owned(), ToString::to_string)),
                Cell::count(at as u64 + 1),
                Cell::text(part_name(&record.round, is_per_document, at)),
                Cell::number(Some(loss), decimals(Some(loss), 4)),
            ]);
        }
        page.table(table);
        Ok(page)
    }
}

fn of(judged: &Judged) -> &[protocol::Loss] {
    judged.model.finding.losses()
}

/// Losses of the best models as a map.
pub(super) fn map(ask: &Ask, record: &Record, standings: &[Standing]) -> Markup {
    let mut best: Vec<&Standing> = standings.iter().filter(|s| s.holder.loss.is_some()).collect();
    let loss = |standing: &&Standing| standing.holder.loss.unwrap_or(f64::INFINITY);
    best.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    let rows: Vec<(String, Vec<f64>)> = best
        .iter()
        .take(MAP_MAX.0)
        .filter_map(|standing| {
            let losses = values(losses_of(record, standing.holder.root?));
            let cut: Vec<f64> = losses.into_iter().take(MAP_MAX.1).collect();
            Some((short(&name(&standing.holder)), cut))
        })
        .collect();
    let round = &record.round;
    let number = round.number.to_string();
    let all = |end: &str| ask.to(&["c", &round.competition, "round", &number, end]);
    html! {
        h2 { "Losses" }
        @if rows.is_empty() {
            p class="empty" { "Nothing had to be decided, so no model was measured in this round." }
        } @else {
            div class="table" tabindex="0" role="region" aria-label="Map of losses" {
                (chart::heat_map(
                    "Losses of models by batch; darker is worse",
                    chart::Columns { name: "place", first: 1 },
                    chart::Shades::Column,
                    &rows,
                ))
            }
            p class="from" {
                "A row for each of the " (rows.len()) " best models, a column for each of the "
                "first " (MAP_MAX.1) " batches; the darker, the higher the loss among them; a "
                "dashed frame was not measured. What does not fit scrolls sideways. All losses: "
                a href=(all("losses")) { "table" } " · "
                a href=(all("losses.csv")) { "CSV" } " · "
                a href=(all("losses.json")) { "JSON" }
            }
        }
    }
}
