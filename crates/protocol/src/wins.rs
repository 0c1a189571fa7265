//! Pairwise wins between models: equations 3 to 5 of the paper.
//!
//! Deviation: equation 3 gives an exact tie to nobody; here exactly one model of a pair wins each
//! batch, and ties go to the senior. Seniority is a total order, so wins over all pairs and batches
//! always sum to m n (n - 1) / 2.

use crate::{
    AccountId, Block, BlockHash, Digest, Loss, Uid,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    loss,
};
use serde::{Deserialize, Serialize};

/// Who came first: the block of the commitment, then a number that nobody can choose.
///
/// The smaller is the senior. The tie-break hashes the block that included the commitment, whose
/// hash was unknown when the commitment was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seniority {
    /// Block that included the commitment.
    pub block: Block,
    /// Orders commitments of one block.
    pub tie_break: Digest,
}

impl Seniority {
    /// Seniority of the commitment of `hotkey` in the block with this number and hash.
    pub fn new(block: Block, block_hash: BlockHash, hotkey: AccountId) -> Self {
        let tie_break = Digest::of_fields("agon seniority", &[&block_hash.0, &hotkey.0]);
        Self { block, tie_break }
    }

    /// The same, where it does not count from its own block but from a later one.
    pub fn since(self, block: Option<Block>) -> Self {
        Self { block: block.map_or(self.block, |block| block.max(self.block)), ..self }
    }
}

/// One model of a round with what was measured of it: a loss per batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Slot of its miner; no two entries of a round share one.
    pub uid: Uid,
    /// When it was committed to.
    pub seniority: Seniority,
    /// The cross-entropy of each batch in nats per predicted token (equation 1), in the order of
    /// the batches.
    pub losses: Vec<Loss>,
}

impl LossKind {
    /// What is compared of a model with this cross-entropy.
    pub fn compared(self, cross_entropy: Loss) -> Loss {
        match self {
            Self::Perplexity => loss::perplexity(cross_entropy),
            Self::CrossEntropy => cross_entropy,
        }
    }
}

/// One of the two sides of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Slot of the miner; decides only between sides of equal seniority.
    pub uid: Uid,
    /// When the model was committed to.
    pub seniority: Seniority,
    /// The loss that is compared.
    pub loss: Loss,
}

/// Whether `model` beats `other` (equation 3), seen from block `now`; exactly one of the two does.
///
/// The junior wins if its loss is below the senior's by more than epsilon; within one block nobody
/// is protected and the junior wins if its loss is below the senior's. Otherwise the senior wins.
pub fn is_win(model: Side, other: Side, epsilon: Epsilon, now: Block) -> bool {
    let undercuts = |junior: Side, senior: Side| {
        let is_protected = senior.seniority.block < junior.seniority.block;
        let margin = if is_protected { epsilon.at(now, senior.seniority.block) } else { 0.0 };
        junior.loss.value() < (1.0 - margin) * senior.loss.value()
    };
    if (model.seniority, model.uid) > (other.seniority, other.uid) {
        undercuts(model, other)
    } else {
        !undercuts(other, model)
    }
}

/// A present entry with the losses that the rules compare: one per batch, or one for all.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) losses: Vec<Loss>,
}

impl<'a> Row<'a> {
    /// The row of `entry`; `None` unless there is a finite loss for each of the `n_batches` batches
    /// of the round, both as measured and as compared.
    pub(crate) fn new(rules: &ScoringRules, n_batches: usize, entry: &'a Entry) -> Option<Self> {
        if n_batches == 0 || entry.losses.len() != n_batches {
            return None;
        }
        let compared = |loss: &Loss| rules.loss.compared(*loss);
        let per_batch: Vec<Loss> = entry.losses.iter().map(compared).collect();
        let is_finite = |losses: &[Loss]| losses.iter().all(|loss| loss.is_finite());
        if !is_finite(&per_batch) || !is_finite(&entry.losses) {
            return None;
        }
        let losses = match rules.rule {
            Rule::Wins => per_batch,
            Rule::Mean => vec![loss::mean(&per_batch)],
            // The perplexity of all tokens where batches are equal, not a mean of perplexities, in
            // which one hard batch outweighs the others.
            Rule::Succession | Rule::Duel => vec![compared(&loss::mean(&entry.losses))],
        };
        // A sum of finite losses may overflow.
        is_finite(&losses).then_some(Self { entry, losses })
    }

    /// What `is_win` compares of each batch.
    pub(crate) fn sides(&self) -> impl Iterator<Item = Side> {
        let Entry { uid, seniority, .. } = *self.entry;
        self.losses.iter().map(move |loss| Side { uid, seniority, loss: *loss })
    }
}

/// Wins of each row over all others and batches (equation 4); `rows` in order of rank, each with
/// the same number of losses.
///
/// The threshold below which a junior wins belongs to the senior alone, so it is computed once per
/// senior and batch; what is left is a branchless comparison of a row of numbers with a number.
pub(crate) fn count_wins(rows: &[&Row], epsilon: Epsilon, now: Block) -> Vec<u64> {
    let n = rows.len();
    let blocks: Vec<Block> = rows.iter().map(|row| row.entry.seniority.block).collect();
    let margins: Vec<f64> = blocks.iter().map(|block| 1.0 - epsilon.at(now, *block)).collect();
    // Rows of one block are neighbours; `ends[i]` is where the block of row i ends.
    let ends: Vec<usize> = blocks.iter().map(|b| blocks.partition_point(|c| c <= b)).collect();
    let mut wins = vec![0u64; n];
    let mut batch = Vec::with_capacity(n);
    for k in 0..rows.first().map_or(0, |row| row.losses.len()) {
        batch.clear();
        batch.extend(rows.iter().map(|row| row.losses[k].value()));
        for senior in 0..n {
            let (loss, end) = (batch[senior], ends[senior]);
            let (own_block, later) = (senior + 1..end, end..n);
            let lost = count_below(loss, &batch[own_block.clone()], &mut wins[own_block])
                + count_below(margins[senior] * loss, &batch[later.clone()], &mut wins[later]);
            wins[senior] += (n - 1 - senior) as u64 - lost;
        }
    }
    wins
}

/// Adds one to `wins` where a loss is below `threshold`, and counts those places.
fn count_below(threshold: f64, losses: &[f64], wins: &mut [u64]) -> u64 {
    let mut n: u64 = 0;
    for (loss, wins) in losses.iter().zip(wins) {
        let is_below = u64::from(*loss < threshold);
        // Cannot overflow; an overflow check here would keep the loop from being vectorized.
        *wins = wins.wrapping_add(is_below);
        n = n.wrapping_add(is_below);
    }
    n
}

/// Share of its comparisons that a model has won (equation 5); 1 for a lone model.
pub(crate) fn win_rate(wins: u64, n_models: usize, n_batches: usize) -> f64 {
    if n_models <= 1 { 1.0 } else { wins as f64 / ((n_models - 1) as f64 * n_batches as f64) }
}

#[cfg(test)]
mod tests;
