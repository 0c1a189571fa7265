//! The leaderboard: how the models of a round came out of it.

use super::{Site, Trouble, key_cell, overview::shares, root_cell};
use crate::{
    ask::Ask,
    figures::{Estimate, decimals, percent, perplexity, with_interval},
    index::{Index, Row, Standing},
    table::{Cell, Table, column},
};
use protocol::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Most rounds that are looked through for losses of models that a round did not measure.
const ROUNDS_MAX: u64 = 64;

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
        for standing in standings {
            let earlier = standing.holder.root.and_then(|root| known.get(&root));
            table.rows.push(self.board_row(ask, row, standing, earlier));
        }
        Ok(table)
    }

    fn board_row(
        &self,
        ask: &Ask,
        row: &Row,
        standing: &Standing,
        earlier: Option<&(u64, Estimate)>,
    ) -> Vec<Cell> {
        let holder = &standing.holder;
        let (mut loss, mut error, mut n) = (holder.loss, holder.error, standing.n);
        let mut measured_in = loss.map(|_| row.number);
        let mut of_round = String::new();
        if let Some((number, known)) = earlier.filter(|_| loss.is_none()) {
            (loss, error, n) = (Some(known.mean), Some(known.error), known.n as u64);
            measured_in = Some(*number);
            of_round = format!(", round {number}");
        }
        let verdict = standing.reason.clone().unwrap_or_else(|| standing.merit.clone());
        let class = if standing.reason.is_some() { "bad" } else { "" };
        let age = row.block.since(standing.commit_block);
        vec![
            Cell::count(holder.uid.into()),
            self.repo_cell(holder.repo.as_deref(), standing.revision.as_deref()),
            key_cell(ask, "miner", holder.hotkey),
            root_cell(ask, holder.root),
            self.block_cell(standing.commit_block),
            Cell::count(age).shown(self.age(age)),
            Cell::number(loss, with_interval(loss, error) + &of_round),
            Cell::number(loss.map(perplexity), decimals(loss.map(perplexity), 3)),
            Cell::count(n),
            measured_in.map_or(Cell::number(None, "–"), Cell::count),
            Cell::count(standing.wins),
            Cell::number(Some(standing.win_rate), percent(standing.win_rate)),
            shares(standing.weight),
            shares(standing.average),
            Cell::text(verdict).class(class),
        ]
    }
}

/// What rounds before say of models that this one did not measure.
fn known(
    index: &Index,
    row: &Row,
    standings: &[Standing],
) -> Result<BTreeMap<Digest, (u64, Estimate)>, Trouble> {
    let missing = standings
        .iter()
        .filter(|standing| standing.holder.loss.is_none() && standing.reason.is_none());
    let roots: BTreeSet<Digest> = missing.filter_map(|standing| standing.holder.root).collect();
    if roots.is_empty() {
        return Ok(BTreeMap::new());
    }
    let whose = (row.validator, row.competition.as_str());
    Ok(index.known_losses(whose, row.block, &roots, ROUNDS_MAX)?)
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
        column("documents", "Measured on", "documents"),
        column("measured_in", "Measured in", "record"),
        column("wins", "Wins", ""),
        column("win_rate", "Win rate", "share"),
        column("weight", "Weight", "share"),
        column("average", "Moving average", "share"),
        column("verdict", "Verdict", ""),
    ];
    let mut table = Table::new("board", "Leaderboard of the round", columns);
    table.empty = "no model took part in this round";
    table
}
