//! From losses to the weights of one round: the front door of the rules.

use crate::{
    Block, Uid,
    champion::{Challenge, Line, ranked},
    competition::{Epsilon, Rule, ScoringRules},
    weights::softmax,
    wins::{Entry, Row, Side, count_wins, is_win, win_rate},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a round says of one model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Slot of its miner.
    pub uid: Uid,
    /// Whether it took part: every batch has a finite loss.
    pub present: bool,
    /// Whether it counts, or what stands in its way.
    pub merit: Merit,
    /// Comparisons won (equation 4): per batch and pair for `wins`, per pair of models that count
    /// for `mean`, per pair of models in the line for `succession`, and for `duel` that between the
    /// champion and the model that it took the crown from.
    pub wins: u64,
    /// Share of its comparisons that it won (equation 5); zero when it is not compared.
    pub win_rate: f64,
    /// Share of the weight of this round (equation 6); zero when not present.
    pub weight: f64,
}

/// Why a model counts, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merit {
    /// It is compared with every other model that counts.
    Counts,
    /// It is not better, by epsilon, than this model, which came before it; with `mean`, than this
    /// model of an earlier block or of its own.
    BeatenBy(Uid),
    /// It wore the crown until this model, which came later, was better by epsilon.
    SucceededBy(Uid),
    /// It lacks a finite loss for a batch: it is as if it did not exist.
    Absent,
}

/// Wins, win rates and weights of a round seen from block `now`, in the order of `entries`.
///
/// Entries that lack a finite loss for one of the `n_batches` batches behave exactly as if they
/// were absent. With nobody present all weights are zero. The order of entries and batches does
/// not matter to the last bit. With rule `duel` it is an estimate by mean losses alone: what counts
/// there are duels over many rounds, see [`crate::duel::Reign::round`].
pub fn score(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> Vec<Verdict> {
    let verdicts = match rules.rule {
        Rule::Wins | Rule::Mean => by_win_rate(rules, now, n_batches, entries),
        Rule::Succession | Rule::Duel => by_succession(rules, now, n_batches, entries),
    };
    let of = |entry: &Entry| verdicts.get(&entry.uid).copied().unwrap_or(absent(entry.uid));
    entries.iter().map(of).collect()
}

/// The verdict on a model that takes no part.
pub(crate) fn absent(uid: Uid) -> Verdict {
    let (merit, present) = (Merit::Absent, false);
    Verdict { uid, present, merit, wins: 0, win_rate: 0.0, weight: 0.0 }
}

/// Verdicts by the line of succession, or for `duel` by one without seconds.
///
/// Equations 3 to 5 are applied to the line, whose members each beat all before them, so that
/// the win rate of the champion is 1. Equation 6 is applied to its last two members alone. With all
/// of them, the step between two win rates would shrink with the length of the line, and whoever
/// publishes a ladder of models, each a little better than the one before, would earn with its
/// rungs and have the last rival of the champion earn.
fn by_succession(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> BTreeMap<Uid, Verdict> {
    let mut line = Line::new(rules, now, n_batches);
    let mut verdicts = BTreeMap::new();
    for entry in ranked(entries) {
        let merit = match line.challenge(entry) {
            Challenge::Absent => continue,
            Challenge::BeatenBy(uid) => Merit::BeatenBy(uid),
            Challenge::Crowned => Merit::Counts,
        };
        verdicts.insert(entry.uid, Verdict { present: true, merit, ..absent(entry.uid) });
    }
    let holders: Vec<Uid> = line.holders().collect();
    for (place, uid) in holders.iter().enumerate() {
        let Some(verdict) = verdicts.get_mut(uid) else { continue };
        verdict.wins = place as u64;
        verdict.win_rate = win_rate(verdict.wins, holders.len(), 1);
        if let Some(successor) = holders.get(place + 1) {
            verdict.merit = Merit::SucceededBy(*successor);
        }
    }
    let duel = &holders[holders.len().saturating_sub(2)..];
    // The champion has won the only comparison of the two, the other has lost it.
    let win_rates: &[f64] = if duel.len() == 2 { &[0.0, 1.0] } else { &[1.0] };
    for (uid, weight) in duel.iter().zip(softmax(win_rates, rules.temperature)) {
        if let Some(verdict) = verdicts.get_mut(uid) {
            verdict.weight = weight;
        }
    }
    verdicts
}

/// Verdicts by the paper's win rates, over all models or over the competitive ones.
fn by_win_rate(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> BTreeMap<Uid, Verdict> {
    let present = |entry| Row::new(rules, n_batches, entry);
    let rows: Vec<Row> = ranked(entries).into_iter().filter_map(present).collect();
    let merits = match rules.rule {
        Rule::Mean => competitive(&rows, rules.epsilon, now),
        Rule::Wins | Rule::Succession | Rule::Duel => vec![Merit::Counts; rows.len()],
    };
    let compared = rows.iter().zip(&merits).filter(|(_, merit)| **merit == Merit::Counts);
    let compared: Vec<&Row> = compared.map(|(row, _)| row).collect();
    let n_comparisons = compared.first().map_or(0, |row| row.losses.len());
    let mut verdicts: BTreeMap<Uid, Verdict> = BTreeMap::new();
    for (row, merit) in rows.iter().zip(merits) {
        let uid = row.entry.uid;
        verdicts.insert(uid, Verdict { present: true, merit, ..absent(uid) });
    }
    for (row, wins) in compared.iter().zip(count_wins(&compared, rules.epsilon, now)) {
        if let Some(verdict) = verdicts.get_mut(&row.entry.uid) {
            verdict.wins = wins;
            verdict.win_rate = win_rate(wins, compared.len(), n_comparisons);
        }
    }
    let win_rates: Vec<f64> = verdicts.values().map(|verdict| verdict.win_rate).collect();
    let weights = softmax(&win_rates, rules.temperature);
    verdicts.values_mut().zip(weights).for_each(|(verdict, weight)| verdict.weight = weight);
    verdicts
}

/// Which of the rows, in order of rank, could still win once epsilon has decayed (reference,
/// release 4.5.3): later copies of a model no longer give it wins.
///
/// A row counts if it beats every row of an earlier block by more than the settled epsilon, and
/// every row of its own block as such. Deviation: the reference asks for the settled epsilon within
/// a block, too, so that near ties drop each other and may leave nobody; here the better one, or at
/// an exact tie the senior, is kept.
fn competitive(rows: &[Row], epsilon: Epsilon, now: Block) -> Vec<Merit> {
    let settled = Epsilon::Fixed { value: epsilon.settled() };
    let sides: Vec<Side> = rows.iter().filter_map(|row| row.sides().next()).collect();
    let merit = |own: &Side| {
        let stands = |other: &&Side| {
            other.uid != own.uid
                && other.seniority.block <= own.seniority.block
                && !is_win(*own, **other, settled, now)
        };
        sides.iter().find(stands).map_or(Merit::Counts, |other| Merit::BeatenBy(other.uid))
    };
    sides.iter().map(merit).collect()
}

#[cfg(test)]
mod tests;
