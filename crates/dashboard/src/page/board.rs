//! The leaderboard: how the models of a round came out of it.

use super::{
    Site, Trouble, key_cell,
    kin::{Nearest, Relative},
    overview::shares,
    root_cell,
};
use crate::{
    ask::Ask,
    figures::{bits_per_byte, decimals, grouped, percent, perplexity, with_interval},
    index::{Index, Known, Row, Standing},
    table::{Cell, Table, column},
};
use protocol::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Most rounds that are looked through for losses of models that a round did not measure.
const ROUNDS_MAX: u64 = 64;
/// Models with the lowest losses whose nearest relatives are told, besides the champion. Of 256
/// models there are 32,640 pairs, each of hundreds of losses: what a copy earns, it earns at the
/// top, and each model's own page has all of its relatives.
const RELATED_MAX: usize = 10;

impl Site {
    /// Models of a round; those that it did not measure with the last loss that is known of them.
    pub(super) fn board(
        &self,
        index: &Index,
        ask: &Ask,
        row: &Row,
        standings: &[Standing],
    ) -> Result<Table, Trouble> {
        let mut table = empty();
        let known = known(index, row, standings)?;
        let of = |standing: &Standing| standing.holder.root.and_then(|root| known.get(&root));
        let measured: Vec<Measured<'_>> =
            standings.iter().map(|standing| Measured::of(row, standing, of(standing))).collect();
        let nearest = self.nearest(index, row, &related(row, &measured))?;
        for measured in &measured {
            table.rows.push(self.board_row(ask, row, measured, &nearest));
        }
        Ok(table)
    }

    fn board_row(
        &self,
        ask: &Ask,
        row: &Row,
        measured: &Measured<'_>,
        nearest: &Nearest,
    ) -> Vec<Cell> {
        let Measured { standing, loss, error, bits_per_byte, n, number } = *measured;
        let holder = &standing.holder;
        let of_round = number.filter(|number| *number != row.number);
        let of_round = of_round.map_or(String::new(), |number| format!(", round {number}"));
        let verdict = standing.reason.clone().unwrap_or_else(|| standing.merit.clone());
        let class = if standing.reason.is_some() { "bad" } else { "" };
        let age = row.block.since(standing.commit_block);
        let build = standing.build.as_ref();
        let n_parameters = build.map(|build| build.n_parameters);
        let architecture = build.map_or("–", |build| build.architecture.as_str());
        let relative = holder.root.and_then(|root| nearest.get(&root));
        let none = || Cell::number(None, "–");
        vec![
            Cell::count(holder.uid.into()),
            self.repo_cell(holder.repo.as_deref(), standing.revision.as_deref()),
            key_cell(ask, "miner", holder.hotkey),
            root_cell(ask, holder.root),
            self.block_cell(standing.commit_block),
            Cell::count(age).shown(self.age(age)),
            Cell::number(loss, with_interval(loss, error) + &of_round),
            Cell::number(loss.map(perplexity), decimals(loss.map(perplexity), 3)),
            Cell::number(bits_per_byte, decimals(bits_per_byte, 4)),
            Cell::count(n),
            number.map_or_else(none, Cell::count),
            Cell::count(standing.wins),
            Cell::number(Some(standing.win_rate), percent(standing.win_rate)),
            shares(standing.weight),
            shares(standing.average),
            n_parameters.map_or_else(none, |number| Cell::count(number).shown(grouped(number))),
            Cell::text(architecture),
            relative.map_or_else(|| Cell::text("–"), |relative: &Relative| relative.cell(ask)),
            Cell::text(verdict).class(class),
        ]
    }
}

/// A model of a round with its loss in it, or with the last that is known.
#[derive(Clone, Copy)]
struct Measured<'a> {
    standing: &'a Standing,
    loss: Option<f64>,
    error: Option<f64>,
    bits_per_byte: Option<f64>,
    n: u64,
    /// The record that has the loss.
    number: Option<u64>,
}

impl<'a> Measured<'a> {
    fn of(row: &Row, standing: &'a Standing, earlier: Option<&Known>) -> Self {
        let holder = &standing.holder;
        if let Some(known) = earlier.filter(|_| holder.loss.is_none()) {
            let loss = Some(known.loss.mean);
            return Self {
                standing,
                loss,
                error: Some(known.loss.error),
                bits_per_byte: bits_per_byte(loss, known.bits_of_nat),
                n: known.loss.n as u64,
                number: Some(known.number),
            };
        }
        Self {
            standing,
            loss: holder.loss,
            error: holder.error,
            bits_per_byte: bits_per_byte(holder.loss, standing.bits_of_nat),
            n: standing.n,
            number: holder.loss.map(|_| row.number),
        }
    }
}

/// Roots of the models whose nearest relatives are told: of the champion, and of those with the
/// lowest losses.
fn related(row: &Row, measured: &[Measured<'_>]) -> BTreeSet<Digest> {
    let loss_of = |measured: &Measured<'_>| Some((measured.loss?, measured.standing.holder.root?));
    let mut best: Vec<(f64, Digest)> = measured.iter().filter_map(loss_of).collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let champion = row.champion.as_ref().and_then(|champion| champion.root);
    let roots = best.into_iter().take(RELATED_MAX).map(|(_, root)| root);
    roots.chain(champion).collect()
}

/// What rounds before say of models that this one did not measure.
fn known(
    index: &Index,
    row: &Row,
    standings: &[Standing],
) -> Result<BTreeMap<Digest, Known>, Trouble> {
    let missing = standings
        .iter()
        .filter(|standing| standing.holder.loss.is_none() && standing.reason.is_none());
    let roots: BTreeSet<Digest> = missing.filter_map(|standing| standing.holder.root).collect();
    if roots.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(index.known_losses(row.series(), row.block, &roots, ROUNDS_MAX)?)
}

fn empty() -> Table {
    let columns = vec![
        column("uid", "uid", ""),
        column("repo", "Model", ""),
        column("miner", "Miner", ""),
        column("root", "Tensor root", ""),
        column("commit_block", "Committed", "block"),
        column("age", "Age", "blocks"),
        column("loss", "Loss", "nats/token"),
        column("perplexity", "Perplexity", ""),
        column("bits_per_byte", "Bits per byte", "bits/byte"),
        column("documents", "Measured on", "documents"),
        column("measured_in", "Measured in", "record"),
        column("wins", "Wins", ""),
        column("win_rate", "Win rate", "share"),
        column("weight", "Weight", "share"),
        column("average", "Moving average", "share"),
        column("parameters", "Parameters", ""),
        column("architecture", "Architecture", ""),
        column("lineage", "Lineage", ""),
        column("verdict", "Verdict", ""),
    ];
    let mut table = Table::new("board", "Leaderboard of the round", columns);
    table.empty = "no model took part in this round";
    table
}
