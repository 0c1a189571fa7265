//! Whoever takes part: a model over its rounds, a miner, and a validator with its records.

use super::{
    Page, Site, Trouble, belief, competition::no_model, missing, overview::name, overview::shares,
    root_cell,
};
use crate::{
    ask::Ask,
    chart::{Losses, Setting},
    figures::{decimals, perplexity, tao, with_interval},
    index::{Index, Row, Standing},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{AccountId, Digest};

/// Most rounds of a page.
const ROUNDS_MAX: u64 = 1_000;
/// Most records of a validator in a competition that its page lists.
const RECORDS_MAX: u64 = 256;

impl Site {
    /// The page of a model by its tensor root.
    pub(super) fn model(&self, index: &Index, ask: &Ask, root: &str) -> Result<Page, Trouble> {
        let Ok(root) = format!("sha256:{root}").parse::<Digest>() else {
            return missing("a model is named by the 64 hexadecimal digits of its tensor root");
        };
        let standings = index.of_root(root, ask.until(), ROUNDS_MAX)?;
        let Some(newest) = standings.first() else { return no_model() };
        let said = format!(
            "uid {} committed to it at block {}; {} results are known.",
            newest.holder.uid,
            newest.commit_block,
            standings.len()
        );
        let mut page = Page::new(name(&newest.holder), said);
        let repo = self.repo_cell(newest.holder.repo.as_deref(), newest.revision.as_deref());
        let loss = newest.holder.loss;
        page.show(html! {
            dl class="facts" {
                dt { "Repo" }
                dd { @if let Some(href) = &repo.href { a href=(href) { (repo.shown) } } }
                dt { "Revision" } dd { code { (newest.revision.as_deref().unwrap_or("–")) } }
                dt { "Tensor root" } dd { code { (root.to_string()) } }
                dt { "Loss, nats per token" } dd { (with_interval(loss, newest.holder.error)) }
                dt { "Perplexity" } dd { (decimals(loss.map(perplexity), 3)) }
                dt { "Verdict" }
                dd { (newest.reason.as_deref().unwrap_or(&newest.merit)) }
            }
            (over_time(&standings, "Loss of the model over its rounds"))
        });
        page.table(self.outcomes(ask, &standings));
        Ok(page)
    }

    /// The page of a miner by its hotkey.
    pub(super) fn miner(&self, index: &Index, ask: &Ask, hotkey: &str) -> Result<Page, Trouble> {
        let Ok(hotkey) = hotkey.parse::<AccountId>() else {
            return missing("a miner is named by the address of its hotkey");
        };
        let standings = index.of_miner(hotkey, ask.until(), ROUNDS_MAX)?;
        let said = format!("{} results of its models are known.", standings.len());
        let mut page = Page::new(format!("Miner {hotkey}"), said);
        page.show(self.slot(index, ask, hotkey)?);
        page.show(over_time(&standings, "Loss of its models"));
        page.table(self.outcomes(ask, &standings));
        Ok(page)
    }

    /// The page of a validator by its hotkey.
    pub(super) fn validator(
        &self,
        index: &Index,
        ask: &Ask,
        hotkey: &str,
    ) -> Result<Page, Trouble> {
        let Ok(hotkey) = hotkey.parse::<AccountId>() else {
            return missing("a validator is named by the address of its hotkey");
        };
        let mut heads = index.heads()?;
        heads.retain(|head| head.validator == hotkey);
        let said = format!("It has records of {} competitions.", heads.len());
        let mut page = Page::new(format!("Validator {hotkey}"), said);
        page.show(self.slot(index, ask, hotkey)?);
        let mut rows = Vec::new();
        for head in &heads {
            page.show(html! {
                h2 { (head.competition) }
                p {
                    (head.n_records) " records that are signed by it and follow each other, up to "
                    "block " (self.block(head.block)) ", read from " (head.source) "."
                }
                @if let Some((number, flaw)) = &head.flaw {
                    p class="notice bad" {
                        "Record " (number) " is false, and nothing after it is believed: " (flaw)
                    }
                }
            });
            let whose = (hotkey, head.competition.as_str());
            rows.extend(index.records(whose, ask.until(), (RECORDS_MAX, 0))?);
        }
        page.table(self.records_table(ask, &rows));
        Ok(page)
    }

    /// Records in a table.
    pub(super) fn records_table(&self, ask: &Ask, rows: &[Row]) -> Table {
        let columns = vec![
            column("competition", "Competition", ""),
            column("number", "Record", ""),
            column("block", "Seed", "block"),
            column("models", "Models", ""),
            column("champion", "Champion", ""),
            column("root", "Its tensor root", ""),
            column("loss", "Its loss", "nats/token"),
            column("check", "Check", ""),
        ];
        let mut table = Table::new("records", "Records, newest first", columns);
        for row in rows {
            let champion = row.champion.as_ref();
            let loss = champion.and_then(|champion| champion.loss);
            let (said, class) = belief(row.state, row.is_derived);
            let (number, validator) = (row.number.to_string(), row.validator.to_string());
            // The page of a round is told by one validator: this one.
            let block = ask.block().map_or(String::new(), |block| format!("&block={block}"));
            let competition = &row.competition;
            let page = format!("/c/{competition}/round/{number}?validator={validator}{block}");
            table.rows.push(vec![
                Cell::text(row.competition.clone()),
                Cell::count(row.number).to(page),
                self.block_cell(row.block),
                Cell::count(row.n_models),
                Cell::text(champion.map_or("nobody".to_owned(), name)),
                root_cell(ask, champion.and_then(|champion| champion.root)),
                Cell::number(loss, decimals(loss, 4)),
                Cell::text(said).class(class),
            ]);
        }
        table
    }

    /// How models came out of rounds.
    fn outcomes(&self, ask: &Ask, standings: &[Standing]) -> Table {
        let columns = vec![
            column("competition", "Competition", ""),
            column("number", "Record", ""),
            column("block", "Seed", "block"),
            column("repo", "Model", ""),
            column("root", "Tensor root", ""),
            column("loss", "Loss", "nats/token"),
            column("documents", "Measured on", "documents"),
            column("weight", "Weight", "share"),
            column("verdict", "Verdict", ""),
        ];
        let mut table = Table::new("outcomes", "Results, newest first", columns);
        table.empty = "no result is known";
        for standing in standings {
            let holder = &standing.holder;
            let number = standing.number.to_string();
            let verdict = standing.reason.as_ref().unwrap_or(&standing.merit);
            let class = if standing.reason.is_some() { "bad" } else { "" };
            table.rows.push(vec![
                Cell::text(standing.competition.clone()).to(ask.to(&["c", &standing.competition])),
                Cell::count(standing.number).to(ask.to(&[
                    "c",
                    &standing.competition,
                    "round",
                    &number,
                ])),
                self.block_cell(standing.block),
                self.repo_cell(holder.repo.as_deref(), standing.revision.as_deref()),
                root_cell(ask, holder.root),
                Cell::number(holder.loss, with_interval(holder.loss, holder.error)),
                Cell::count(standing.n),
                shares(standing.weight),
                Cell::text(verdict.clone()).class(class),
            ]);
        }
        table
    }

    /// What the chain says of a hotkey.
    fn slot(&self, index: &Index, ask: &Ask, hotkey: AccountId) -> Result<Markup, Trouble> {
        let metagraph = index.metagraph(ask.until())?;
        let found = metagraph.as_ref().and_then(|metagraph| {
            let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey)?;
            Some((neuron, metagraph.block))
        });
        let of_65535 = |value: u16| crate::figures::percent(f64::from(value) / 65_535.0);
        Ok(html! {
            @match found {
                Some((neuron, block)) => {
                    dl class="facts" {
                        dt { "Slot" } dd { "uid " (neuron.uid.0) }
                        dt { "Coldkey" } dd { code { (neuron.coldkey.to_string()) } }
                        dt { "Stake, TAO" } dd { (tao(neuron.stake_rao)) }
                        dt { "Incentive" } dd { (of_65535(neuron.incentive)) }
                        dt { "Dividends" } dd { (of_65535(neuron.dividends)) }
                        dt { "Validator trust" } dd { (of_65535(neuron.validator_trust)) }
                        dt { "Paid by the last epoch, TAO" } dd { (tao(neuron.emission_rao)) }
                        dt { "Set weights at block" } dd { (self.block(neuron.last_update)) }
                        dt { "Registered at block" }
                        dd { (self.block(neuron.block_at_registration)) }
                    }
                    p class="from" { "From the chain, at block " (self.block(block)) "." }
                }
                None => { p class="empty" { "The subnet has no slot with this key." } }
            }
        })
    }
}

/// Losses over blocks.
fn over_time(standings: &[Standing], title: &str) -> Markup {
    let point = |standing: &Standing| standing.holder.loss.map(|loss| (standing.block.0, loss));
    let models = standings.iter().filter_map(point).collect();
    let losses = Losses { models, ..Losses::default() };
    html! { figure { (losses.svg(title, Setting::Page)) } }
}
