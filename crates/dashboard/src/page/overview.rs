//! The first page: every competition, who is champion, since when, and how sure that is.

use super::{Page, Site, Trouble, belief, key_cell};
use crate::{
    ask::Ask,
    figures::{
        Estimate, bits, bits_per_byte, decimals, lasting, percent, perplexity, plural, short, tao,
        with_interval,
    },
    index::{Crown, Holder, Index, Standing, State},
    page::Narration,
    table::{Cell, Table, column},
};
use chain::{Metagraph, Neuron};
use maud::{Markup, html};
use protocol::Block;

/// What may be said of a champion.
pub(super) struct Champion {
    /// With the last loss that is known of its model.
    pub(super) holder: Holder,
    /// Bits per byte of text that its loss comes to.
    pub(super) bits_per_byte: Option<f64>,
    /// The round that the loss is from, where this one measured nothing.
    pub(super) measured_in: Option<u64>,
    /// Block of the round in which it took the crown.
    pub(super) since: Option<Block>,
    /// The best of the others, and by how much its loss is higher, on the same documents.
    pub(super) second: Option<(Standing, Option<Estimate>)>,
}

impl Champion {
    /// Its name.
    pub(super) fn name(&self) -> String {
        name(&self.holder)
    }

    /// What is to be added to its numbers where they are of a round before.
    pub(super) fn of_round(&self) -> String {
        self.measured_in.map_or(String::new(), |number| format!(", from round {number}"))
    }
}

/// The name of a model: the repo, or the slot where it has none.
pub(crate) fn name(holder: &Holder) -> String {
    holder.repo.clone().unwrap_or_else(|| format!("uid {}", holder.uid))
}

/// The best model besides the champion.
fn second<'a>(standings: &'a [Standing], champion: &Holder) -> Option<&'a Standing> {
    let rivals = standings.iter().filter(|standing| {
        standing.holder.loss.is_some()
            && (standing.holder.uid, standing.holder.root) != (champion.uid, champion.root)
    });
    let loss = |standing: &&Standing| standing.holder.loss.unwrap_or(f64::INFINITY);
    rivals.min_by(|a, b| loss(a).total_cmp(&loss(b)))
}

impl Site {
    /// What may be said of the champion of a competition.
    pub(super) fn champion(
        &self,
        index: &Index,
        narration: &Narration,
    ) -> Result<Option<Champion>, Trouble> {
        let row = &narration.row;
        let Some(mut holder) = row.champion.clone() else { return Ok(None) };
        let crowns = index.crowns(row.series(), row.block, 1)?;
        // A round in which there is nothing to decide measures nobody.
        let earlier = match holder.root {
            Some(root) if holder.loss.is_none() => {
                index.last_measured(row.series(), root, row.block)?
            }
            _ => None,
        };
        let told = earlier.as_ref().unwrap_or(row);
        if let Some(known) = &told.champion {
            (holder.loss, holder.error) = (known.loss, known.error);
        }
        let standings = index.standings(told)?;
        let second = second(&standings, &holder).map(|second| (second.clone(), told.gap));
        let bits_per_byte = bits_per_byte(holder.loss, told.bits_of_nat);
        let measured_in = earlier.as_ref().map(|earlier| earlier.number);
        // Where it took the crown in a round that is not believed, nobody can tell since when.
        let is_its =
            |crown: &&Crown| (crown.to.hotkey, crown.to.root) == (holder.hotkey, holder.root);
        let since = crowns.first().filter(is_its).map(|crown| crown.row.block);
        Ok(Some(Champion { holder, bits_per_byte, measured_in, since, second }))
    }

    /// Block of the next round of a competition, where its rules are known.
    pub(super) fn next_round(&self, narration: &Narration, ask: &Ask) -> Option<Block> {
        let every = self.rules_of(&narration.row)?.evaluation.blocks_per_round.max(1);
        let now = ask.block().or(self.clock.head()).unwrap_or(narration.row.block);
        let now = now.0.max(narration.row.block.0);
        Some(Block((now / every).saturating_add(1).saturating_mul(every)))
    }

    /// The overview of all competitions.
    pub(super) fn overview(&self, index: &Index, ask: &Ask) -> Result<Page, Trouble> {
        let heads = index.heads()?;
        let names = self.told(index, ask, &heads)?;
        let mut n_chains = 0;
        for head in heads.iter().filter(|head| names.contains(&head.competition.as_str())) {
            let last = index.latest(head.series(), ask.until())?;
            n_chains += usize::from(last.is_some());
        }
        let mut page = Page::new(
            "Who is champion",
            format!(
                "{}, judged by {} of signed records.",
                plural(names.len() as u64, "competition"),
                plural(n_chains as u64, "chain")
            ),
        );
        if names.is_empty() && !self.known(&heads).is_empty() {
            page.show(html! { p class="empty" { "No record is believed, up to this block." } });
        } else if names.is_empty() {
            page.show(html! {
                p class="empty" {
                    "No validator has published a record yet. As soon as one of the places that are "
                    "read has an index with records, it is shown here."
                }
            });
        }
        let mut table = competitions_table();
        let (mut cards, mut published) = (Vec::new(), Vec::new());
        for competition in names {
            let Some(narration) = self.narration(index, ask, competition)? else { continue };
            let champion = self.champion(index, &narration)?;
            cards.push(self.card(ask, &narration, champion.as_ref()));
            published.push((competition, self.agreement(index, &narration)?.1));
            table.rows.push(self.competition_row(index, ask, &narration, champion.as_ref())?);
        }
        page.show(self.state(ask, &published));
        page.show(html! { div class="cards" { @for card in &cards { (card) } } });
        page.table(table);
        if let Some(metagraph) = index.metagraph(ask.until())? {
            page.show(self.money(ask, &metagraph));
        }
        Ok(page)
    }

    /// The network in one line: where the chain is, and how many validators published a record of
    /// the last round of each competition.
    fn state(&self, ask: &Ask, published: &[(&str, usize)]) -> Markup {
        let head = self.clock.head().filter(|_| ask.block().is_none());
        let ago = head.and_then(|head| self.clock.seconds_since(head)).map(lasting);
        html! {
            p {
                @if let Some((head, ago)) = head.zip(ago) {
                    "The chain is at block " (self.block(head)) ", " (ago) " ago. "
                }
                @for (competition, n) in published {
                    (plural(*n as u64, "validator")) " published a record of the last round of "
                    (competition) ". "
                }
            }
        }
    }

    fn card(&self, ask: &Ask, narration: &Narration, champion: Option<&Champion>) -> Markup {
        let competition = narration.row.competition.as_str();
        html! {
            section class="card" {
                h2 { a href=(ask.to(&["c", competition])) { (competition) } }
                @if let Some(champion) = champion {
                    p class="champion" { (champion.name()) }
                    p {
                        strong { (decimals(champion.holder.loss.map(perplexity), 3)) }
                        " perplexity · "
                        (with_interval(champion.holder.loss, champion.holder.error))
                        " nats per token" (champion.of_round())
                    }
                    p { (decimals(champion.bits_per_byte, 4)) " bits per byte" }
                    @if let Some(since) = champion.since {
                        p { "champion since block " (self.block(since)) }
                    }
                    (lead(champion))
                } @else {
                    p class="empty" { "Nobody holds the crown: no model took part yet." }
                }
                p class="from" { (self.origin(ask, &narration.row)) }
            }
        }
    }

    fn competition_row(
        &self,
        index: &Index,
        ask: &Ask,
        narration: &Narration,
        champion: Option<&Champion>,
    ) -> Result<Vec<Cell>, Trouble> {
        let row = &narration.row;
        let loss = champion.and_then(|champion| champion.holder.loss);
        let per_byte = champion.and_then(|champion| champion.bits_per_byte);
        let gap = champion.and_then(|champion| champion.second.as_ref()?.1);
        let of_round = champion.map_or(String::new(), Champion::of_round);
        let (agreeing, all) = self.agreement(index, narration)?;
        let next = self.next_round(narration, ask).map(|block| block.0);
        let since = champion.and_then(|champion| champion.since).map(|block| block.0);
        let validator = key_cell(ask, "validator", row.validator);
        let count = |number: Option<u64>| number.map_or(Cell::number(None, "–"), Cell::count);
        Ok(vec![
            Cell::text(row.competition.clone()).to(ask.to(&["c", &row.competition])),
            Cell::text(champion.map_or("–".to_owned(), Champion::name)),
            count(since),
            Cell::number(loss, decimals(loss, 4) + &of_round),
            Cell::number(loss.map(perplexity), decimals(loss.map(perplexity), 3)),
            Cell::number(loss.map(bits), decimals(loss.map(bits), 3)),
            Cell::number(per_byte, decimals(per_byte, 4)),
            Cell::number(gap.map(|gap| gap.mean), interval(gap)),
            Cell::text(format!("{agreeing} of {all}")),
            count(next),
            validator,
            Cell::text(belief(row.state, row.is_derived).0)
                .class(belief(row.state, row.is_derived).1),
        ])
    }

    /// How many validators with a believed record of the same round crown the same model.
    pub(super) fn agreement(
        &self,
        index: &Index,
        narration: &Narration,
    ) -> Result<(usize, usize), Trouble> {
        let row = &narration.row;
        let others = index.others(&row.competition, row.block)?;
        let who =
            |holder: &Option<Holder>| holder.as_ref().map(|holder| (holder.hotkey, holder.root));
        let same = others.iter().filter(|other| {
            other.row.state == State::Believed && who(&other.row.champion) == who(&row.champion)
        });
        Ok((same.count(), others.len()))
    }

    /// What the subnet pays.
    fn money(&self, ask: &Ask, metagraph: &Metagraph) -> Markup {
        let paid = metagraph.neurons.iter().map(|neuron| u128::from(neuron.emission_rao));
        let per_epoch = paid.sum::<u128>();
        let is_paid = |neuron: &&Neuron| neuron.emission_rao > 0;
        let n_paid = metagraph.neurons.iter().filter(is_paid).count();
        let epoch_millis = u128::from(metagraph.tempo)
            .saturating_mul(u128::from(self.clock.millis_per_block()))
            .max(1);
        let per_day = per_epoch.saturating_mul(86_400_000) / epoch_millis;
        let rao = |amount: u128| tao(u64::try_from(amount).unwrap_or(u64::MAX));
        html! {
            h2 { "Money" }
            p {
                "The last epoch paid " strong { (rao(per_epoch)) " TAO" } " to "
                (n_paid) " of " (metagraph.neurons.len()) " slots, about " (rao(per_day))
                " TAO a day. "
                a href=(ask.to(&["network"])) { "Who gets what" } "."
            }
            p class="from" {
                "From the chain, at block " (self.block(metagraph.block)) "."
            }
        }
    }
}

fn competitions_table() -> Table {
    Table::new(
        "competitions",
        "All competitions",
        vec![
            column("competition", "Competition", ""),
            column("champion", "Champion", ""),
            column("since", "Since", "block"),
            column("loss", "Loss", "nats/token"),
            column("perplexity", "Perplexity", ""),
            column("bits", "Bits", "bits/token"),
            column("bits_per_byte", "Bits per byte", "bits/byte"),
            column("lead", "Lead over second", "nats/token"),
            column("agreement", "Validators agree", ""),
            column("next_round", "Next round", "block"),
            column("validator", "Told by", ""),
            column("check", "Check", ""),
        ],
    )
}

/// By how much the champion is better than the second, in words.
pub(super) fn lead(champion: &Champion) -> Markup {
    html! {
        @if let Some((second, gap)) = &champion.second {
            p {
                "ahead of " (name(&second.holder)) " by "
                @match gap {
                    Some(gap) => {
                        (interval(Some(*gap))) " nats per token on " (gap.n)
                        " documents that both were measured on" (champion.of_round())
                    }
                    None => { "an unknown amount: they share no documents" }
                }
            }
        } @else {
            p { "no other model was measured in this round" }
        }
    }
}

/// A mean with its 95 % interval.
fn interval(estimate: Option<Estimate>) -> String {
    estimate.map_or("–".to_owned(), |estimate| {
        let (low, high) = estimate.interval();
        format!("{:.4} ({low:.4} to {high:.4})", estimate.mean)
    })
}

/// A share of weight as a cell.
pub(super) fn shares(weight: f64) -> Cell {
    Cell::number(Some(weight), percent(weight))
}

/// The key of a miner, leading to its page.
pub(super) fn miner_link(ask: &Ask, holder: &Holder) -> Markup {
    let hotkey = holder.hotkey.to_string();
    html! { a href=(ask.to(&["miner", &hotkey])) { (short(&hotkey)) } }
}
