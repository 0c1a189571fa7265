//! One competition: the loss of its network over time, the leaderboard, crowns and rules.

use super::{
    Answer, Narration, Page, ROWS_MAX, SVG, Site, Trouble, belief,
    crown::former_before,
    is_of_all_rows, key_cell, missing,
    overview::{Champion, lead, name},
};
use crate::{
    ask::Ask,
    chart::{Losses, Mark, Setting},
    feed,
    figures::{decimals, grouped, percent, perplexity, plural, with_interval},
    index::{Crown, Index, Other, Row, Stretch},
    table::{Cell, ROWS_PER_PAGE, Table, column},
};
use maud::{Markup, html};
use protocol::{
    Block, Competition,
    competition::{Epsilon, LossKind, Rule},
    math,
    text::shown,
};

/// Most rounds of a chart.
const ROUNDS_MAX: u64 = 600;
/// Letters of a name that stands on a chart.
const LABEL_LETTERS_MAX: usize = 24;
/// Most faint points of a chart.
const POINTS_MAX: usize = 1_500;
/// Most losses that the faint points are taken from: of rounds of 256 models, some sixty.
const LOSSES_MAX: u64 = 16_000;
/// Most bytes of a record that is read for a chart.
const RECORD_BYTES_MAX: usize = 4 << 20;
/// Most crowns of a page.
const CROWNS_MAX: u64 = 256;
/// Rounds of a page of the list: those of one page of its table.
const LIST_MAX: u64 = ROWS_PER_PAGE as u64;

impl Site {
    /// The page of a competition.
    pub(super) fn competition(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Page, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let row = &narration.row;
        let champion = self.champion(index, &narration)?;
        let said = champion.as_ref().map_or_else(
            || "Nobody holds the crown.".to_owned(),
            |champion| {
                let loss = decimals(champion.holder.loss.map(perplexity), 3);
                let of_round = champion.of_round();
                format!("{} is champion, with a perplexity of {loss}{of_round}.", champion.name())
            },
        );
        let mut page = Page::new(competition, said);
        page.picture = Some(ask.to(&["c", competition, "chart.svg"]));
        page.from = Some(self.origin(ask, row));
        let crowns = index.crowns(row.series(), row.block, CROWNS_MAX)?;
        page.show(self.standing_of_now(index, ask, &narration, champion.as_ref())?);
        let losses = self.losses(index, ask, &narration, &crowns)?;
        page.show(html! {
            figure {
                (losses.svg(&format!("Loss of the network of {competition}"), Setting::Page))
                figcaption {
                    "The champion's loss in each round; dots are all models, rings are changes of "
                    "the crown, the dashed line is what a challenger must get under, and the finely "
                    "dashed one, where records tell it, the optimum: what a model that knew the "
                    "distribution of the text would lose. "
                    a href=(ask.to(&["c", competition, "chart.svg"])) { "As a picture" } " · "
                    a href=(ask.to(&["c", competition, "rounds"])) { "all rounds" } " · "
                    a href=(ask.to(&["c", competition, "compare"])) { "compare two models" }
                }
            }
        });
        page.table(self.board(index, ask, row, &index.standings(row)?)?);
        page.table(self.crowns_table(index, ask, &crowns)?);
        page.table(self.judges(ask, &index.others(competition, row.block)?));
        page.show(self.rules_in_words(&narration));
        page.table(self.versions(competition));
        Ok(page)
    }

    fn standing_of_now(
        &self,
        index: &Index,
        ask: &Ask,
        narration: &Narration,
        champion: Option<&Champion>,
    ) -> Result<Markup, Trouble> {
        let (agreeing, all) = self.agreement(index, narration)?;
        let next = self.next_round(narration, ask);
        Ok(html! {
            dl class="facts" {
                @if let Some(champion) = champion {
                    dt { "Champion" }
                    dd { (champion.name()) ", uid " (champion.holder.uid) }
                    @if let Some(since) = champion.since {
                        dt { "Since block" }
                        dd { (self.block(since)) }
                    }
                    dt { "Loss, nats per token" }
                    dd {
                        (with_interval(champion.holder.loss, champion.holder.error))
                        (champion.of_round())
                    }
                    dt { "Bits per byte" }
                    dd { (decimals(champion.bits_per_byte, 4)) (champion.of_round()) }
                    dt { "Lead" }
                    dd { (lead(champion)) }
                }
                dt { "Validators who crown the same" }
                dd { (agreeing) " of " (all) }
                @if let Some(next) = next {
                    dt { "Next round at block" }
                    dd { (self.block(next)) }
                }
            }
        })
    }

    /// What the chart of a competition shows.
    fn losses(
        &self,
        index: &Index,
        ask: &Ask,
        narration: &Narration,
        crowns: &[Crown],
    ) -> Result<Losses, Trouble> {
        let (series, until) = (narration.row.series(), narration.row.block);
        let plain = |points: Vec<(Block, f64)>| -> Vec<(u64, f64)> {
            points.into_iter().map(|(block, loss)| (block.0, loss)).collect()
        };
        let champion = plain(index.champion_losses(series, until, ROUNDS_MAX)?);
        let models = thinned(plain(index.model_losses(series, until, LOSSES_MAX)?));
        let mark = |crown: &Crown| {
            let number = crown.row.number.to_string();
            crown.to.loss.map(|loss| Mark {
                block: crown.row.block.0,
                loss,
                name: shown(&name(&crown.to), LABEL_LETTERS_MAX),
                href: ask.to(&["c", &crown.row.competition, "crown", &number]),
            })
        };
        // The newest come first in the list, and time goes to the right.
        let marks = crowns.iter().rev().filter_map(mark).collect();
        let threshold = match (self.rules_of(&narration.row), crowns.first()) {
            (Some(rules), Some(crown)) => {
                let older = older(index, &narration.row, crown)?;
                let mut known = champion.clone();
                // Up to the next round: by then it has decayed further.
                let next = self.next_round(narration, ask).zip(known.last().copied());
                known.extend(next.map(|(next, (_, loss))| (next.0, loss)));
                threshold(rules, older, &known, crown.row.block)
            }
            _ => Vec::new(),
        };
        let optimum = self.optimum(index, narration)?;
        Ok(Losses { champion, models, threshold, optimum, crowns: marks })
    }

    /// The optimum of rounds by their blocks, if any of them tells it.
    fn optimum(
        &self,
        index: &Index,
        narration: &Narration,
    ) -> Result<Vec<(u64, Option<f64>)>, Trouble> {
        let told = index.optima(narration.row.series(), narration.row.block, ROUNDS_MAX)?;
        if told.iter().all(|(_, optimum)| optimum.is_none()) {
            return Ok(Vec::new());
        }
        Ok(told.into_iter().map(|(block, optimum)| (block.0, optimum)).collect())
    }

    /// The chart as a file.
    pub(super) fn chart_file(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Answer, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let crowns = index.crowns(narration.row.series(), narration.row.block, CROWNS_MAX)?;
        let losses = self.losses(index, ask, &narration, &crowns)?;
        let title = format!("Loss of the network of {competition}");
        Ok(Answer::of(SVG, losses.svg(&title, Setting::Alone).into_string()))
    }

    /// Champion and loss as a badge.
    pub(super) fn badge(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Answer, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let said = match self.champion(index, &narration)? {
            Some(champion) => {
                let loss = decimals(champion.holder.loss.map(perplexity), 2);
                format!("{} · {loss}", champion.name())
            }
            None => "no champion".to_owned(),
        };
        Ok(Answer::of(SVG, feed::badge(competition, &said).into_string()))
    }

    fn crowns_table(&self, index: &Index, ask: &Ask, crowns: &[Crown]) -> Result<Table, Trouble> {
        let columns = vec![
            column("number", "Record", ""),
            column("block", "Block", "block"),
            column("to", "To", ""),
            column("loss", "Loss", "nats/token"),
            column("from", "From", ""),
            column("former_loss", "Its last loss before", "nats/token"),
        ];
        let mut table = Table::new("crowns", "Changes of the crown", columns);
        table.empty = "nobody has taken the crown yet";
        for crown in crowns {
            let number = crown.row.number.to_string();
            let why = ask.to(&["c", &crown.row.competition, "crown", &number]);
            let former = crown.from.as_ref();
            let former_loss = match former.and_then(|former| former.loss) {
                Some(loss) => Some(loss),
                None => former_before(index, crown)?.and_then(|(former, _)| former.loss),
            };
            table.rows.push(vec![
                Cell::count(crown.row.number).to(why.clone()),
                self.block_cell(crown.row.block),
                Cell::text(name(&crown.to)).to(why),
                Cell::number(crown.to.loss, with_interval(crown.to.loss, crown.to.error)),
                Cell::text(former.map_or("nobody".to_owned(), name)),
                Cell::number(former_loss, decimals(former_loss, 4)),
            ]);
        }
        Ok(table)
    }

    /// What all validators say of a round.
    pub(super) fn judges(&self, ask: &Ask, others: &[Other]) -> Table {
        let columns = vec![
            column("validator", "Validator", ""),
            column("stake_rao", "Stake", "TAO, rao in data"),
            column("number", "Record", ""),
            column("champion", "Champion", ""),
            column("loss", "Its loss", "nats/token"),
            column("check", "Check", ""),
        ];
        let mut table = Table::new("judges", "Who measured this round", columns);
        for Other { row, stake_rao } in others {
            let (validator, number) = (row.validator.to_string(), row.number.to_string());
            let champion = row.champion.as_ref();
            let loss = champion.and_then(|champion| champion.loss);
            let (said, class) = belief(row.state, row.is_derived);
            let file = format!("{number}.json");
            table.rows.push(vec![
                key_cell(ask, "validator", row.validator),
                Cell::count(*stake_rao).shown(crate::figures::tao(*stake_rao)),
                Cell::count(row.number)
                    .to(format!("/record/{validator}/{}/{file}", row.competition)),
                Cell::text(champion.map_or("nobody".to_owned(), name)),
                Cell::number(loss, decimals(loss, 4)),
                Cell::text(said).class(class),
            ]);
        }
        table
    }

    fn rules_in_words(&self, narration: &Narration) -> Markup {
        let Some(rules) = self.rules_of(&narration.row) else {
            return html! {
                h2 { "Rules" }
                p class="empty" {
                    "The rules with digest " code { (narration.row.rules.to_string()) }
                    " are not known to this dashboard: name their file to it, and verdicts are "
                    "derived again."
                }
            };
        };
        html! {
            h2 { "Rules" }
            p { (in_words(rules)) }
            p class="from" { "Digest of these rules: " code { (rules.digest().to_string()) } }
        }
    }

    fn versions(&self, competition: &str) -> Table {
        let columns = vec![
            column("from_block", "From", "block"),
            column("rule", "Rule", ""),
            column("digest", "Digest", ""),
        ];
        let mut table = Table::new("rules", "Versions of the rules that are known here", columns);
        for rules in self.rules.versions(competition) {
            table.rows.push(vec![
                Cell::count(rules.from_block),
                Cell::text(rule_name(rules.scoring.rule)),
                Cell::text(rules.digest().to_string()),
            ]);
        }
        table
    }

    /// The list of all rounds, newest first.
    pub(super) fn rounds(
        &self,
        index: &Index,
        ask: &Ask,
        competition: &str,
    ) -> Result<Page, Trouble> {
        let narration = self.narrated(index, ask, competition)?;
        let is_whole = is_of_all_rows(ask);
        let skip = (ask.page() - 1).saturating_mul(LIST_MAX);
        let stretch = match is_whole {
            true => Stretch { skip: 0, n_max: ROWS_MAX },
            false => Stretch { skip, n_max: LIST_MAX },
        };
        let rows = index.records(narration.row.series(), ask.until(), stretch)?;
        let last = narration.row.number;
        let mut said = format!("{}.", plural(last, "record"));
        if last > ROWS_MAX {
            let most = grouped(ROWS_MAX);
            said += &format!(" The newest {most} are sorted, filtered, and in CSV and JSON.");
        }
        let mut page = Page::new(format!("Rounds of {competition}"), said);
        page.from = Some(self.origin(ask, &narration.row));
        let has_more = !is_whole && rows.len() as u64 == LIST_MAX;
        page.table(self.records_table(ask, &rows));
        page.show(html! {
            nav class="pages" aria-label="Earlier and later rounds" {
                @if !is_whole && ask.page() > 1 {
                    a href=(ask.with("page", &(ask.page() - 1).to_string())) { "← later" }
                }
                @if has_more {
                    a href=(ask.with("page", &(ask.page() + 1).to_string())) { "earlier →" }
                }
            }
        });
        Ok(page)
    }
}

/// Every so-many-th point, at most so many as a chart has: an odd step, so that with rounds of as
/// many models each it is not the same models that are left.
fn thinned(points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let step = points.len().div_ceil(POINTS_MAX) | 1;
    points.into_iter().step_by(step).collect()
}

/// Block from which on the champion's advantage decays, as the record has it where it is small
/// enough to be read for a page.
fn older(index: &Index, row: &Row, crown: &Crown) -> Result<Block, Trouble> {
    let mut n_bytes_left = RECORD_BYTES_MAX;
    let record = index.whole_within(row.id, &mut n_bytes_left)?;
    let aged_from = record.and_then(|record| {
        if let Some(crown) = &record.crown {
            return Some(crown.champion.aged_from);
        }
        let champion = record.champion?;
        let own = record.models.iter().find(|judged| judged.model.uid == champion)?;
        Some(own.model.seniority().block)
    });
    Ok(aged_from.unwrap_or(crown.row.block))
}

/// What a challenger must get under, in nats per token, in the rounds since a crown.
fn threshold(
    rules: &Competition,
    older: Block,
    champion: &[(u64, f64)],
    since: Block,
) -> Vec<(u64, f64)> {
    let under = |block: u64, loss: f64| {
        let left = 1.0 - rules.scoring.epsilon.at(Block(block), older);
        match rules.scoring.loss {
            LossKind::CrossEntropy => loss * left,
            LossKind::Perplexity => loss + math::ln(left.max(f64::MIN_POSITIVE)),
        }
    };
    let since = champion.iter().filter(|(block, _)| *block >= since.0);
    since.map(|(block, loss)| (*block, under(*block, *loss))).collect()
}

/// The name of a rule as its file has it.
fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Wins => "wins",
        Rule::Mean => "mean",
        Rule::Succession => "succession",
        Rule::Duel => "duel",
    }
}

/// So many blocks, after "every".
fn every(n_blocks: u64) -> String {
    if n_blocks == 1 { "block".to_owned() } else { plural(n_blocks, "block") }
}

/// Rules in a few sentences.
fn in_words(rules: &Competition) -> String {
    let scoring = &rules.scoring;
    let epsilon = match scoring.epsilon {
        Epsilon::Fixed { value } => percent(value),
        Epsilon::Linear { start, end, blocks } => {
            let within = plural(blocks, "block");
            format!("{}, which falls to {} within {within}", percent(start), percent(end))
        }
    };
    let decided = match scoring.rule {
        Rule::Wins => "Each pair of models is compared on each batch.",
        Rule::Mean => "Models that could still win are compared by their mean losses.",
        Rule::Succession => "A model takes the crown if its mean loss is lower by epsilon.",
        Rule::Duel => {
            "A model takes the crown once a duel, document by document, has proven with a stated \
             chance of error that it is better by epsilon."
        }
    };
    let chance = scoring.duel_rules().map_or(String::new(), |duel| {
        format!(
            " The chance that somebody takes it without being better is at most {}, and a duel \
             ends after {} documents.",
            duel.alpha, duel.n_documents_max
        )
    });
    format!(
        "Models have {} to {} parameters. A round begins every {}, on {} of fresh text. {decided} \
         Epsilon is {epsilon}.{chance}",
        grouped(rules.model.n_parameters_min),
        grouped(rules.model.n_parameters_max),
        every(rules.evaluation.blocks_per_round),
        match rules.evaluation.n_batches {
            1 => "1 batch".to_owned(),
            n => format!("{n} batches"),
        },
    )
}

/// What is said where a model of a competition is not there.
pub(super) fn no_model<T>() -> Result<T, Trouble> {
    missing("no record that is believed has this model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn faint_points_are_of_all_rounds_and_of_all_models() {
        let round = |block: u64| (0..256).map(move |model: u32| (block, f64::from(model)));
        let few: Vec<(u64, f64)> = round(1).collect();
        assert_eq!(thinned(few.clone()), few);
        let left = thinned((0..60).flat_map(round).collect());
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&left.len()), "{}", left.len());
        let blocks: BTreeSet<u64> = left.iter().map(|(block, _)| *block).collect();
        let models: BTreeSet<u64> = left.iter().map(|(_, loss)| loss.to_bits()).collect();
        assert_eq!((blocks.len(), models.len()), (60, 256));
    }
}
