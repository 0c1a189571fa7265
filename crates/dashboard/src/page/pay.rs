//! What keys earn over time, as the chain tells it.

use super::{Page, Site, Trouble, overview::shares};
use crate::{
    ask::Ask,
    chart,
    figures::{of_65535, tao},
    index::Index,
    table::{Cell, Table, column},
};
use chain::ledger::RAO_PER_TAO;
use maud::html;
use protocol::AccountId;

/// Most epochs of a page.
const EPOCHS_MAX: u64 = 512;

impl Site {
    /// What epochs paid to a key.
    pub(super) fn pay(
        &self,
        page: &mut Page,
        index: &Index,
        ask: &Ask,
        hotkey: AccountId,
    ) -> Result<(), Trouble> {
        let columns = vec![
            column("epoch", "Epoch", "block"),
            column("rao", "Pay", "TAO, rao in data"),
            column("incentive", "Incentive", "share"),
            column("dividends", "Dividends", "share"),
        ];
        let mut table = Table::new("pay", "Pay by epoch, as far as epochs were seen", columns);
        table.empty = "no epoch that was seen has paid this key";
        let all = index.pay(hotkey, ask.until(), EPOCHS_MAX)?;
        let mut sum = 0_u64;
        let mut points = Vec::new();
        for pay in all.iter().rev() {
            sum = sum.saturating_add(pay.rao);
            points.push((pay.epoch.0, sum as f64 / RAO_PER_TAO as f64));
        }
        for pay in &all {
            table.rows.push(vec![
                self.block_cell(pay.epoch),
                Cell::count(pay.rao).shown(tao(pay.rao)),
                shares(of_65535(pay.incentive)),
                shares(of_65535(pay.dividends)),
            ]);
        }
        if !points.is_empty() {
            page.show(html! {
                h2 { "Earnings" }
                figure {
                    (chart::over_blocks("Earnings over time", "TAO in all", &points))
                    figcaption {
                        (tao(sum)) " TAO in " (all.len()) " epochs that were seen and paid it."
                    }
                }
            });
        }
        page.table(table);
        Ok(())
    }

    /// What epochs paid to miners and to validators.
    pub(super) fn epochs(&self, page: &mut Page, index: &Index, ask: &Ask) -> Result<(), Trouble> {
        let columns = vec![
            column("epoch", "Epoch", "block"),
            column("miners_rao", "To miners", "TAO, rao in data"),
            column("validators_rao", "To validators", "TAO, rao in data"),
            column("paid", "Keys that were paid", ""),
        ];
        let mut table = Table::new("epochs", "Epochs that were seen", columns);
        table.empty = "no epoch has been seen yet";
        for epoch in index.epochs(ask.until(), EPOCHS_MAX)? {
            table.rows.push(vec![
                self.block_cell(epoch.block),
                Cell::count(epoch.miners_rao).shown(tao(epoch.miners_rao)),
                Cell::count(epoch.validators_rao).shown(tao(epoch.validators_rao)),
                Cell::count(epoch.n_paid),
            ]);
        }
        page.table(table);
        Ok(())
    }
}
