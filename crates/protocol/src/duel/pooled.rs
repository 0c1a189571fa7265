//! The evidence of several validators as one: what is independent multiplies.

use super::{Duel, DuelError, board::log_mean_exp};
use crate::math;
use std::collections::BTreeSet;

/// What several duels of one pair have come to together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooled {
    /// Documents of all.
    pub n_documents: u64,
    /// Natural logarithm of the evidence for a crown.
    pub log_e_crown: f64,
    /// Natural logarithm of the evidence for a rejection.
    pub log_e_reject: f64,
}

/// The evidence of duels of one pair on different documents, as of one duel on all of them.
///
/// Bet by bet the wealth is multiplied, so that five validators with forty documents each have what
/// two hundred documents give. It does not matter to the last bit who comes first. True only if the
/// documents of all were drawn independently, and if nobody is left out for what his evidence says:
/// an error where rules, pair, reference or epsilon differ, or a document is in two of them.
pub fn pool(duels: &[&Duel]) -> Result<Pooled, DuelError> {
    let mut documents = BTreeSet::new();
    for duel in duels {
        let is_same = duels.first().is_none_or(|first| is_of_one_kind(first, duel));
        if !is_same {
            return Err(DuelError::Evidence { what: "the duels have other rules or terms" });
        }
        for document in &duel.documents {
            if !documents.insert(*document) {
                return Err(DuelError::Shared { document: *document });
            }
        }
    }
    let n_bets = duels.first().map_or(0, |duel| duel.rules.n_bets);
    let pooled = |wealth_of: fn(&Duel) -> &[f64]| {
        let bet = |k: usize| {
            let wealth: Vec<f64> = duels.iter().map(|duel| wealth_of(duel)[k]).collect();
            log_product(&wealth)
        };
        if n_bets == 0 { 0.0 } else { log_mean_exp((0..n_bets).map(bet)) }
    };
    Ok(Pooled {
        n_documents: documents.len() as u64,
        log_e_crown: pooled(|duel| duel.evidence.crown.as_slice()),
        log_e_reject: pooled(|duel| duel.evidence.reject.as_slice()),
    })
}

fn is_of_one_kind(a: &Duel, b: &Duel) -> bool {
    let (one, other) = (a.terms, b.terms);
    a.rules == b.rules
        && one.pairing == other.pairing
        && one.reference == other.reference
        && one.epsilon == other.epsilon
}

/// Natural logarithm of the product of independent e-values, which is that of an e-value.
///
/// Summed in ascending order, so that the order of `e_values` does not matter to the last bit. What
/// is no e-value (negative, infinite, NaN) says nothing, and counts as 1; zero gives −infinity.
pub fn log_product(e_values: &[f64]) -> f64 {
    let mut ascending: Vec<f64> =
        e_values.iter().copied().filter(|e| e.is_finite() && *e >= 0.0).collect();
    ascending.sort_unstable_by(f64::total_cmp);
    ascending.iter().map(|e_value| math::ln(*e_value)).sum()
}
