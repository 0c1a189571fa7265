//! The network: slots, stake, weights and pay, as the chain has them.

use super::{Page, Site, Trouble, key_cell, overview::shares};
use crate::{
    ask::Ask,
    chart,
    figures::{of_65535, short, tao},
    index::Index,
    table::{Cell, Table, column},
};
use chain::{Metagraph, Neuron};
use maud::{Markup, html};
use protocol::Uid;

/// Most validators and miners of the map of weights.
const MAP_MAX: (usize, usize) = (64, 256);

impl Site {
    /// The page of the network.
    pub(super) fn network(&self, index: &Index, ask: &Ask) -> Result<Page, Trouble> {
        let mut page = Page::new("The network", "Slots, stake, weights and pay.");
        let Some(metagraph) = index.metagraph(ask.until())? else {
            page.show(html! {
                p class="empty" {
                    "The chain has not been read yet, or this block was before this dashboard first "
                    "read it: a chain tells its state of now, and what was seen then is kept."
                }
            });
            page.table(neurons_table());
            self.epochs(&mut page, index, ask)?;
            return Ok(page);
        };
        page.from = Some(html! { "From the chain, at block " (self.block(metagraph.block)) "." });
        page.show(self.epoch(&metagraph));
        let mut table = neurons_table();
        table.rows = metagraph.neurons.iter().map(|neuron| self.neuron(ask, neuron)).collect();
        page.table(table);
        self.epochs(&mut page, index, ask)?;
        page.show(weights(&metagraph));
        page.show(bonds(&metagraph));
        Ok(page)
    }

    fn epoch(&self, metagraph: &Metagraph) -> Markup {
        let neurons = &metagraph.neurons;
        let stake: u64 = neurons.iter().fold(0, |sum, neuron| neuron.stake_rao.saturating_add(sum));
        let paid: u64 =
            neurons.iter().fold(0, |sum, neuron| neuron.emission_rao.saturating_add(sum));
        let judges = neurons.iter().filter(|neuron| neuron.validator_permit).count();
        html! {
            dl class="facts" {
                dt { "Subnet" } dd { (metagraph.netuid.0) }
                dt { "Slots" } dd { (neurons.len()) ", " (judges) " with a permit to judge" }
                dt { "Stake, TAO" } dd { (tao(stake)) }
                dt { "Last epoch at block" } dd { (self.block(metagraph.last_epoch)) }
                dt { "Blocks from epoch to epoch" } dd { (metagraph.tempo) }
                dt { "Paid by it, TAO" } dd { (tao(paid)) }
            }
        }
    }

    fn neuron(&self, ask: &Ask, neuron: &Neuron) -> Vec<Cell> {
        let kind = if neuron.validator_permit { "validator" } else { "miner" };
        let coldkey = neuron.coldkey.to_string();
        let state = if neuron.active { ("active", "good") } else { ("stale", "fair") };
        vec![
            Cell::count(neuron.uid.0.into()),
            key_cell(ask, kind, neuron.hotkey),
            Cell::text(coldkey.clone()).shown(short(&coldkey)),
            Cell::text(kind),
            Cell::count(neuron.stake_rao).shown(tao(neuron.stake_rao)),
            shares(of_65535(neuron.consensus)),
            shares(of_65535(neuron.incentive)),
            shares(of_65535(neuron.dividends)),
            shares(of_65535(neuron.validator_trust)),
            Cell::count(neuron.emission_rao).shown(tao(neuron.emission_rao)),
            self.block_cell(neuron.last_update),
            self.block_cell(neuron.block_at_registration),
            Cell::text(state.0).class(state.1),
        ]
    }
}

fn neurons_table() -> Table {
    let columns = vec![
        column("uid", "uid", ""),
        column("hotkey", "Hotkey", ""),
        column("coldkey", "Coldkey", ""),
        column("role", "Role", ""),
        column("stake_rao", "Stake", "TAO, rao in data"),
        column("consensus", "Consensus", "share"),
        column("incentive", "Incentive", "share"),
        column("dividends", "Dividends", "share"),
        column("validator_trust", "Validator trust", "share"),
        column("emission_rao", "Paid by the last epoch", "TAO, rao in data"),
        column("last_update", "Set weights", "block"),
        column("registered", "Registered", "block"),
        column("state", "State", ""),
    ];
    Table::new("neurons", "Slots of the subnet", columns)
}

/// Who weighs whom, as a map.
fn weights(metagraph: &Metagraph) -> Markup {
    html! {
        h2 { "Weights" }
        (map(metagraph, "Weights of validators, a column for each slot", |neuron| &neuron.weights))
        p class="from" {
            "A row for each validator, a column for each slot; the darker, the more weight. "
            "Weights that are hidden until a later epoch are not in it."
        }
    }
}

/// Who has bonds to whom, as a map.
fn bonds(metagraph: &Metagraph) -> Markup {
    html! {
        h2 { "Bonds" }
        (map(metagraph, "Bonds of validators, a column for each slot", |neuron| &neuron.bonds))
        p class="from" {
            "By bonds validators earn from the miners that they weighed early; the darker, "
            "the more."
        }
    }
}

/// A row for each validator that has any, a column for each slot.
fn map(metagraph: &Metagraph, title: &str, pick: fn(&Neuron) -> &Vec<(Uid, u16)>) -> Markup {
    let holders = metagraph.neurons.iter().filter(|neuron| !pick(neuron).is_empty());
    let n_columns = metagraph.neurons.len().min(MAP_MAX.1);
    let rows: Vec<(String, Vec<f64>)> = holders
        .take(MAP_MAX.0)
        .map(|neuron| {
            let mut row = vec![0.0; n_columns];
            for (uid, value) in pick(neuron) {
                if let Some(cell) = row.get_mut(usize::from(uid.0)) {
                    *cell = of_65535(*value);
                }
            }
            (format!("uid {}", neuron.uid), row)
        })
        .collect();
    let columns = chart::Columns { name: "uid", first: 0 };
    html! {
        @if rows.is_empty() {
            p class="empty" { "No validator has any that can be read." }
        } @else {
            div class="table" tabindex="0" role="region" aria-label=(title) {
                (chart::heat_map(title, columns, chart::Shades::Map, &rows))
            }
        }
    }
}
