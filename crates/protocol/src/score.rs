//! From losses to the weights of one round: the front door of the rules.

use crate::{
    Block, Uid,
    competition::{Epsilon, Rule, ScoringRules},
    weights::softmax,
    wins::{Entry, Row, count_wins, is_win, win_rate},
};
use serde::{Deserialize, Serialize};

/// What a round says of one model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Slot of its miner.
    pub uid: Uid,
    /// Whether it took part: every batch has a finite loss.
    pub present: bool,
    /// Comparisons won (equation 4): per batch and pair for `wins`, per pair for `mean`.
    pub wins: u64,
    /// Share of its comparisons that it won (equation 5); zero when not present.
    pub win_rate: f64,
    /// Share of the weight of this round (equation 6); zero when not present.
    pub weight: f64,
}

/// Wins, win rates and weights of a round seen from block `now`, in the order of `entries`.
///
/// Entries that lack a finite loss for one of the `n_batches` batches behave exactly as if they
/// were absent. With nobody present all weights are zero. The order of entries and batches does
/// not matter to the last bit.
pub fn score(
    rules: &ScoringRules,
    now: Block,
    n_batches: usize,
    entries: &[Entry],
) -> Vec<Verdict> {
    let absent = |entry: &Entry| Verdict {
        uid: entry.uid,
        present: false,
        wins: 0,
        win_rate: 0.0,
        weight: 0.0,
    };
    let mut verdicts: Vec<Verdict> = entries.iter().map(absent).collect();
    let (mut places, mut rows) = (Vec::new(), Vec::new());
    for (place, entry) in entries.iter().enumerate() {
        if let Some(row) = Row::new(rules.rule, n_batches, entry) {
            places.push(place);
            rows.push(row);
        }
    }
    let (wins, win_rates) = compare(rules, now, &rows);
    let weights = softmax(&win_rates, rules.temperature);
    for (i, place) in places.into_iter().enumerate() {
        let verdict = &mut verdicts[place];
        verdict.present = true;
        (verdict.wins, verdict.win_rate, verdict.weight) = (wins[i], win_rates[i], weights[i]);
    }
    verdicts
}

/// Wins and win rates of the rows, in their order.
fn compare(rules: &ScoringRules, now: Block, rows: &[Row]) -> (Vec<u64>, Vec<f64>) {
    let mut ranked: Vec<usize> = (0..rows.len()).collect();
    ranked.sort_by_key(|i| rows[*i].rank());
    if rules.rule == Rule::Mean {
        ranked = competitive(rows, &ranked, rules.epsilon, now);
    }
    let compared: Vec<&Row> = ranked.iter().map(|i| &rows[*i]).collect();
    let n_comparisons = compared.first().map_or(0, |row| row.losses.len());
    let (mut wins, mut win_rates) = (vec![0; rows.len()], vec![0.0; rows.len()]);
    for (i, won) in ranked.iter().zip(count_wins(&compared, rules.epsilon, now)) {
        wins[*i] = won;
        win_rates[*i] = win_rate(won, compared.len(), n_comparisons);
    }
    (wins, win_rates)
}

/// The rows, in order of rank, that could still win once epsilon has decayed (reference, release
/// 4.5.3): later copies of a model no longer give it wins.
///
/// A row is kept if it beats every row of an earlier block by more than the settled epsilon, and
/// every row of its own block as such. Deviation: the reference asks for the settled epsilon within
/// a block, too, so that near ties drop each other and may leave nobody; here the better one, or at
/// an exact tie the senior, is kept.
fn competitive(rows: &[Row], ranked: &[usize], epsilon: Epsilon, now: Block) -> Vec<usize> {
    let settled = Epsilon::Fixed { value: epsilon.settled() };
    let side = |i: usize| rows[i].sides().next();
    let survives = |i: &usize| {
        let Some(own) = side(*i) else { return false };
        ranked.iter().filter(|j| *j != i).filter_map(|j| side(*j)).all(|other| {
            other.seniority.block > own.seniority.block || is_win(own, other, settled, now)
        })
    };
    ranked.iter().copied().filter(survives).collect()
}

#[cfg(test)]
mod tests;
