//! Whoever takes part: a model over its rounds, a miner, and a validator with its records.

use super::{
    Page, ROWS_MAX, Site, Trouble, belief,
    card::{card, gradients},
    competition::no_model,
    is_of_all_rows, missing,
    overview::{miner_link, name, shares},
    root_cell, round_of,
};
use crate::{
    ask::Ask,
    chart,
    duels::in_words,
    figures::{
        bits, bits_per_byte, decimals, grouped, of_65535, percent, perplexity, plural, tao,
        with_interval,
    },
    index::{Head, Index, Row, Series, Standing, Stretch, Wanted},
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{AccountId, Digest, record::Judged};

/// Most rounds of a page in each competition.
const ROUNDS_MAX: u64 = 256;
/// Most records of a validator in a competition that its page lists.
const RECORDS_MAX: u64 = 256;

/// Results in one competition, by the records of one validator.
pub(super) struct Results {
    validator: AccountId,
    competition: String,
    /// Newest first, and some.
    standings: Vec<Standing>,
}

impl Results {
    /// The records that tell them.
    pub(super) fn series(&self) -> Series<'_> {
        Series { validator: self.validator, competition: &self.competition }
    }
}

impl Site {
    /// Results of a model or a miner in each competition, by the validator that the address
    /// names, or by the one with the most stake that has any.
    fn results(&self, index: &Index, ask: &Ask, wanted: Wanted) -> Result<Vec<Results>, Trouble> {
        let mut all: Vec<Results> = Vec::new();
        for (validator, competition) in index.judges_of(wanted)? {
            let is_told = all.last().is_some_and(|last| last.competition == competition);
            if is_told || ask.validator().is_some_and(|named| named != validator) {
                continue;
            }
            let series = Series { validator, competition: &competition };
            let standings = index.history(series, wanted, ask.until(), ROUNDS_MAX)?;
            if !standings.is_empty() {
                all.push(Results { validator, competition, standings });
            }
        }
        Ok(all)
    }

    /// The page of a model by its tensor root.
    pub(super) fn model(&self, index: &Index, ask: &Ask, root: &str) -> Result<Page, Trouble> {
        let Ok(root) = format!("sha256:{root}").parse::<Digest>() else {
            return missing("a model is named by the 64 hexadecimal digits of its tensor root");
        };
        let all = self.results(index, ask, Wanted::Root(root))?;
        let Some((first, newest)) =
            all.first().and_then(|first| Some((first, first.standings.first()?)))
        else {
            return no_model();
        };
        let row = index.record(first.series(), newest.number)?;
        let row = row.map_or_else(no_model, Ok)?;
        let record = index.whole(row.id)?;
        let judged = record.models.iter().find(|judged| {
            judged.model.tensor_root == Some(root) && judged.model.uid.0 == newest.holder.uid
        });
        let said = format!(
            "uid {} committed to it at block {}; the last {} rounds with it are shown.",
            newest.holder.uid,
            newest.commit_block,
            all.iter().map(|results| results.standings.len()).sum::<usize>()
        );
        let mut page = Page::new(name(&newest.holder), said);
        page.from = Some(self.origin(ask, &row));
        page.show(self.measured(ask, root, newest));
        if let Some(judged) = judged {
            page.show(self.declared(judged));
        }
        let told = judged.and_then(|judged| judged.model.card.as_ref());
        page.table(card(told));
        page.show(gradients(told));
        page.show(self.allowed(&row, newest));
        for results in &all {
            let title = format!("Loss of the model in {}", results.competition);
            page.show(over_time(&results.standings, &title));
        }
        page.table(self.kin(index, ask, first, root)?);
        page.table(self.outcomes(ask, &all));
        Ok(page)
    }

    /// What the last round says of a model.
    fn measured(&self, ask: &Ask, root: Digest, newest: &Standing) -> Markup {
        let repo = self.repo_cell(newest.holder.repo.as_deref(), newest.revision.as_deref());
        let loss = newest.holder.loss;
        let per_byte = bits_per_byte(loss, newest.bits_of_nat);
        html! {
            dl class="facts" {
                dt { "Competition" }
                dd {
                    a href=(ask.to(&["c", &newest.competition])) { (newest.competition) }
                }
                dt { "Repo" }
                dd {
                    @if let Some(href) = &repo.href { a href=(href) { (repo.shown) } }
                    @else { "–" }
                }
                dt { "Revision" } dd { code { (newest.revision.as_deref().unwrap_or("–")) } }
                dt { "Tensor root" } dd { code { (root.to_string()) } }
                dt { "Miner" } dd { (miner_link(ask, &newest.holder)) }
                dt { "Loss, nats per token" } dd { (with_interval(loss, newest.holder.error)) }
                dt { "Perplexity" } dd { (decimals(loss.map(perplexity), 3)) }
                dt { "Bits per token" } dd { (decimals(loss.map(bits), 3)) }
                dt { "Bits per byte" } dd { (decimals(per_byte, 4)) }
                dt { "Measured on" } dd { (newest.n) " documents or batches" }
                dt { "Wins" } dd { (newest.wins) " (" (percent(newest.win_rate)) ")" }
                dt { "Weight in the round" } dd { (percent(newest.weight)) }
                dt { "Moving average of its miner" } dd { (percent(newest.average)) }
                dt { "Verdict" }
                dd { (newest.reason.as_deref().unwrap_or(&newest.merit)) }
            }
        }
    }

    /// What the last record has of a model besides.
    fn declared(&self, judged: &Judged) -> Markup {
        let model = &judged.model;
        html! {
            h2 { "In its last record" }
            dl class="facts" {
                dt { "Committed" } dd { "block " (self.block(model.commit_block)) }
                @if let Some(since) = model.since {
                    dt { "Published without a break since" } dd { "block " (self.block(since)) }
                }
                @if let Some(coldkey) = model.coldkey {
                    dt { "Coldkey of its miner" } dd { code { (coldkey.to_string()) } }
                }
                @if let Some(root) = model.file_root {
                    dt { "Root of its files" } dd { code { (root.to_string()) } }
                }
                @if let Some(fight) = &judged.fight {
                    dt { "Its duel" } dd { (in_words(fight.verdict)) }
                    dt { "Documents of the duel" } dd { (fight.evidence.n_documents()) }
                    dt { "Mean gain over the champion" } dd { (percent(fight.evidence.mean())) }
                    dt { "Attempts of its coldkey" } dd { (fight.attempts.n) }
                }
            }
        }
    }

    /// What the rules allow a model to be, and what no record has of one.
    fn allowed(&self, row: &Row, newest: &Standing) -> Markup {
        let repo = self.repo_cell(newest.holder.repo.as_deref(), newest.revision.as_deref());
        html! {
            @if let Some(rules) = self.rules_of(row) {
                h2 { "What its competition allows" }
                dl class="facts" {
                    dt { "Parameters" }
                    dd {
                        (grouped(rules.model.n_parameters_min)) " to "
                        (grouped(rules.model.n_parameters_max))
                    }
                    dt { "Size of all files" }
                    dd { "at most " (grouped(rules.model.size_bytes_max)) " bytes" }
                    dt { "Architectures" } dd { (rules.model.architectures.join(", ")) }
                }
            }
            p {
                "A record has hashes, losses and verdicts of a model, and what it is. It has "
                "neither the model's bytes nor a sample of what it writes: look into its repo"
                @if let Some(href) = &repo.href { ", " a href=(href) { (repo.shown) } }
                "."
            }
        }
    }

    /// The page of a miner by its hotkey.
    pub(super) fn miner(&self, index: &Index, ask: &Ask, hotkey: &str) -> Result<Page, Trouble> {
        let Ok(hotkey) = hotkey.parse::<AccountId>() else {
            return missing("a miner is named by the address of its hotkey");
        };
        let all = self.results(index, ask, Wanted::Miner(hotkey))?;
        let n_results: usize = all.iter().map(|results| results.standings.len()).sum();
        let said = format!("The last {n_results} results of its models are shown.");
        let mut page = Page::new(format!("Miner {hotkey}"), said);
        page.show(self.slot(index, ask, hotkey)?);
        for results in &all {
            let title = format!("Loss of its models in {}", results.competition);
            page.show(over_time(&results.standings, &title));
        }
        if all.is_empty() {
            page.show(html! { p class="empty" { "No record has measured a model of this key." } });
        }
        self.pay(&mut page, index, ask, hotkey)?;
        page.table(self.outcomes(ask, &all));
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
        let mut page = Page::new(format!("Validator {hotkey}"), "");
        let (mut n_told, mut lists) = (0, Vec::new());
        page.show(self.slot(index, ask, hotkey)?);
        let (mut records, mut agreement) = (self.records_table(ask, &[]), agreement_table());
        for head in &heads {
            let series = head.series();
            let n_max = if is_of_all_rows(ask) { ROWS_MAX } else { RECORDS_MAX };
            let rows = index.records(series, ask.until(), Stretch { skip: 0, n_max })?;
            page.show(self.chain_of(ask, head, &rows));
            n_told += usize::from(!rows.is_empty());
            // What is false has no block that could be believed, so that it is told of now alone.
            if ask.block().is_none() {
                let flaws = index.flaws(series)?;
                records.rows.extend(flaws.into_iter().map(|flaw| false_record(head, flaw)));
            }
            records.rows.extend(self.records_table(ask, &rows).rows);
            let found = index.agreements(series, ask.until(), RECORDS_MAX)?;
            let told = rows.iter().filter_map(|row| Some((row, *found.get(&row.number)?)));
            agreement.rows.extend(told.map(|(row, counts)| self.agreed(row, counts)));
            lists.push(rows);
        }
        // A commitment takes the place of the one before it, so that it is told of now alone.
        if let Some(root) = index.root_of(hotkey)?.filter(|_| ask.block().is_none()) {
            page.show(self.committed(&root, &lists));
        }
        page.lead = format!("It has records of {}.", plural(n_told as u64, "competition"));
        self.pay(&mut page, index, ask, hotkey)?;
        page.table(agreement);
        page.table(records);
        Ok(page)
    }

    /// How far the records of a validator in a competition go, at the block that is asked for.
    fn chain_of(&self, ask: &Ask, head: &Head, rows: &[Row]) -> Markup {
        html! {
            h2 { (head.competition) }
            @match rows.first() {
                Some(newest) => {
                    p {
                        (plural(newest.number, "record")) " signed by it, each after the one "
                        "before, up to block " (self.block(newest.block)) ", read from "
                        (head.source) "."
                    }
                    @if newest.number > RECORDS_MAX {
                        p class="from" {
                            "The newest " (RECORDS_MAX) " are listed; sorted, filtered, in CSV and "
                            "in JSON the newest " (grouped(ROWS_MAX)) " are. Agreement is told of "
                            "the newest " (RECORDS_MAX) "."
                        }
                    }
                }
                None => { p class="empty" { "No record of it is believed, up to this block." } }
            }
            @if let Some((number, flaw)) = head.flaw.as_ref().filter(|_| ask.block().is_none()) {
                p class="notice bad" {
                    "Record " (number) " is false, and nothing after it is believed: " (flaw)
                }
            }
        }
    }

    /// How far others agree with a record.
    fn agreed(&self, row: &Row, [others, losses, champion]: [u64; 3]) -> Vec<Cell> {
        let class = if champion < others { "number bad" } else { "number" };
        vec![
            Cell::text(row.competition.clone()),
            Cell::count(row.number),
            self.block_cell(row.block),
            Cell::count(others),
            Cell::count(losses),
            Cell::count(champion).class(class),
        ]
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
            // The page of a round is told by one validator: this one.
            let page = round_of(ask, row.series(), row.number);
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
    fn outcomes(&self, ask: &Ask, all: &[Results]) -> Table {
        let columns = vec![
            column("competition", "Competition", ""),
            column("number", "Record", ""),
            column("block", "Seed", "block"),
            column("repo", "Model", ""),
            column("root", "Tensor root", ""),
            column("loss", "Loss", "nats/token"),
            column("bits_per_byte", "Bits per byte", "bits/byte"),
            column("documents", "Measured on", "documents"),
            column("weight", "Weight", "share"),
            column("verdict", "Verdict", ""),
        ];
        let mut table = Table::new("outcomes", "Results, newest first", columns);
        table.empty = "no result is known";
        let standings = all.iter().flat_map(|results| {
            results.standings.iter().map(move |standing| (results.series(), standing))
        });
        for (series, standing) in standings {
            let holder = &standing.holder;
            let verdict = standing.reason.as_ref().unwrap_or(&standing.merit);
            let class = if standing.reason.is_some() { "bad" } else { "" };
            let per_byte = bits_per_byte(holder.loss, standing.bits_of_nat);
            table.rows.push(vec![
                Cell::text(standing.competition.clone()).to(ask.to(&["c", &standing.competition])),
                Cell::count(standing.number).to(round_of(ask, series, standing.number)),
                self.block_cell(standing.block),
                self.repo_cell(holder.repo.as_deref(), standing.revision.as_deref()),
                root_cell(ask, holder.root),
                Cell::number(holder.loss, with_interval(holder.loss, holder.error)),
                Cell::number(per_byte, decimals(per_byte, 4)),
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
        Ok(html! {
            @match found {
                Some((neuron, block)) => {
                    dl class="facts" {
                        dt { "Slot" } dd { "uid " (neuron.uid.0) }
                        dt { "Coldkey" } dd { code { (neuron.coldkey.to_string()) } }
                        dt { "Stake, TAO" } dd { (tao(neuron.stake_rao)) }
                        dt { "Incentive" } dd { (percent(of_65535(neuron.incentive))) }
                        dt { "Dividends" } dd { (percent(of_65535(neuron.dividends))) }
                        dt { "Validator trust" } dd { (percent(of_65535(neuron.validator_trust))) }
                        dt { "Paid by the last epoch, TAO" } dd { (tao(neuron.emission_rao)) }
                        dt { "Set weights at block" } dd { (self.block(neuron.last_update)) }
                        @if neuron.validator_permit {
                            dt { "Age of its weights" }
                            dd { (self.age(block.since(neuron.last_update))) }
                        }
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

fn agreement_table() -> Table {
    let columns = vec![
        column("competition", "Competition", ""),
        column("number", "Record", ""),
        column("block", "Seed", "block"),
        column("others", "Others with a record", ""),
        column("same_losses", "Of them, the same losses", "to the bit"),
        column("same_champion", "Of them, the same champion", ""),
    ];
    let mut table = Table::new("agreement", "Agreement with other validators", columns);
    table.empty = "no other validator has a record of these rounds";
    table
}

/// A record that is false, as a row among those that are not.
fn false_record(head: &Head, (number, flaw, source): (u64, String, String)) -> Vec<Cell> {
    let unknown = || Cell::number(None, "–");
    vec![
        Cell::text(head.competition.clone()),
        Cell::count(number),
        unknown(),
        unknown(),
        Cell::text("–"),
        Cell::text("–"),
        unknown(),
        Cell::text(format!("false, in {source}: {flaw}")).class("bad"),
    ]
}

/// Losses over blocks.
fn over_time(standings: &[Standing], title: &str) -> Markup {
    let point = |standing: &Standing| standing.holder.loss.map(|loss| (standing.block.0, loss));
    let points: Vec<(u64, f64)> = standings.iter().rev().filter_map(point).collect();
    html! {
        h2 { (title) }
        figure { (chart::over_blocks(title, "loss, nats per token", &points)) }
    }
}
