//! Who holds the crown: duels in order of seniority.

use super::{Pairing, Verdict};
use crate::{Digest, Seniority, Uid, weights::softmax};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A model that may hold the crown or challenge for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entrant {
    /// Slot of its miner.
    pub uid: Uid,
    /// From when on it counts.
    pub seniority: Seniority,
    /// Tensor root: models of one root are one model.
    pub root: Digest,
}

/// The crown as it passes from model to model, each brought forward after its seniors.
///
/// It may be stored anywhere and continued: a prefix and the rest give the same as the whole.
/// Whoever does not take the crown changes nothing for anybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    holders: Vec<Entrant>,
    roots: BTreeSet<Digest>,
    open: Vec<Pairing>,
}

impl Fold {
    /// The fold of entrants in whatever order they are given; `decided` says how a duel ended, or
    /// `None` while it is open.
    pub fn of(entrants: &[Entrant], mut decided: impl FnMut(&Pairing) -> Option<Verdict>) -> Self {
        let mut ranked = entrants.to_vec();
        ranked.sort_by_key(|entrant| (entrant.seniority, entrant.uid));
        let mut fold = Self::default();
        for entrant in ranked {
            fold.challenge(entrant, &mut decided);
        }
        fold
    }

    /// Lets an entrant challenge that is junior to all before it.
    ///
    /// The first takes the crown. A model that was here before, under whatever key, challenges
    /// nobody. `decided` is asked once for every other; while that duel is open the champion stays.
    pub fn challenge(
        &mut self,
        entrant: Entrant,
        decided: impl FnOnce(&Pairing) -> Option<Verdict>,
    ) {
        if !self.roots.insert(entrant.root) {
            return;
        }
        let Some(holder) = self.holders.last() else {
            self.holders.push(entrant);
            return;
        };
        let pairing = Pairing { champion: holder.root, challenger: entrant.root };
        match decided(&pairing) {
            Some(Verdict::Dethroned) => self.holders.push(entrant),
            Some(Verdict::Rejected | Verdict::Undecided) => {}
            None => self.open.push(pairing),
        }
    }

    /// Whoever holds the crown now; `None` without entrants.
    pub fn champion(&self) -> Option<&Entrant> {
        self.holders.last()
    }

    /// Everybody who has held it, first to last.
    pub fn holders(&self) -> &[Entrant] {
        &self.holders
    }

    /// The duels that are still to be fought, in order of the challengers' seniority; those against
    /// somebody who has lost the crown since are not worth it.
    pub fn open(&self) -> impl Iterator<Item = &Pairing> {
        let champion = self.champion().map(|champion| champion.root);
        self.open.iter().filter(move |pairing| Some(pairing.champion) == champion)
    }

    /// Weights by equation 6 between the champion and whoever it took the crown from, with win
    /// rates of 1 and 0; a lone one has all, and everybody else none.
    pub fn weights(&self, temperature: f64) -> BTreeMap<Uid, f64> {
        let last = &self.holders[self.holders.len().saturating_sub(2)..];
        // The champion has won the only comparison of the two, the other has lost it.
        let win_rates: &[f64] = if last.len() == 2 { &[0.0, 1.0] } else { &[1.0] };
        let weights = softmax(win_rates, temperature);
        last.iter().map(|entrant| entrant.uid).zip(weights).collect()
    }
}
