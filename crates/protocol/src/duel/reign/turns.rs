//! Whose turn it is in a round, so that no crowd of challengers keeps a validator from the others.
//!
//! Where few challenge, everybody is heard on all documents. A crowd costs what
//! [`N_WHOLE_MAX`] challengers cost, and a first part of the documents for each of the others,
//! once. All of it follows from what was known before the round: whether a duel takes in a document
//! must not depend on what the document says of others.

use super::{Bout, Champion, Entrant, Kept, Reign};
use crate::{
    Block,
    competition::ScoringRules,
    duel::{DuelRules, Pairing},
};
use std::collections::BTreeSet;

/// Challengers that may take in all documents of a round.
const N_WHOLE_MAX: usize = 16;

/// A challenger as a round finds it.
pub(super) struct Turn<'a> {
    pub(super) challenger: &'a Entrant,
    /// Its duel that is known; a new one begins where none is.
    pub(super) kept: Option<&'a Kept>,
    /// Documents of the round that its duel may take in; none where it is decided, or waits.
    pub(super) n_most: usize,
}

impl Turn<'_> {
    fn is_decided(&self) -> bool {
        self.kept.is_some_and(|kept| kept.fight.verdict.is_some())
    }

    /// How promising it is: open duels by their mean gain, new ones after them.
    fn gain(&self) -> f64 {
        self.kept.map_or(f64::NEG_INFINITY, |kept| kept.fight.evidence.mean())
    }
}

impl Reign {
    /// All challengers of a round in the order of `ranked`, seniors first.
    ///
    /// Of each coldkey one model that is not decided is heard, so that more slots of one owner take
    /// no time of others. The most promising duels take in all documents; what is new beyond them a
    /// first part, by which it is known how promising it is; others wait. Rules that are out of
    /// range give nobody a turn.
    pub(super) fn turns<'a>(
        &'a self,
        rules: &ScoringRules,
        bout: &Bout,
        champion: &Champion,
        ranked: &'a [Entrant],
    ) -> Vec<Turn<'a>> {
        let rules = rules.duel_rules().unwrap_or_default();
        let mut turns: Vec<Turn> = Vec::new();
        for challenger in ranked.iter().filter(|entrant| entrant.uid != champion.uid) {
            let kept = self.kept(&rules, bout.block, (champion, challenger));
            turns.push(Turn { challenger, kept, n_most: 0 });
        }
        if rules.check_values().is_err() {
            return turns;
        }
        let mut open: Vec<&mut Turn> = turns.iter_mut().filter(|turn| !turn.is_decided()).collect();
        // Stable, so that of equals the senior comes first.
        open.sort_by(|a, b| b.gain().total_cmp(&a.gain()));
        let mut owners = BTreeSet::new();
        open.retain(|turn| owners.insert(turn.challenger.coldkey));
        for (place, turn) in open.into_iter().enumerate() {
            turn.n_most = match turn.kept {
                _ if place < N_WHOLE_MAX => bout.documents.len(),
                None => bout.n_next(&rules, 0),
                Some(_) => 0,
            };
        }
        turns
    }

    /// The duel of a challenger that counts: against this champion, in its time, and if it is open
    /// one that the rules could have come to.
    ///
    /// Rules may have changed so that they could not have: then it ends, and the challenger begins
    /// anew.
    fn kept(
        &self,
        rules: &DuelRules,
        block: Block,
        (champion, challenger): (&Champion, &Entrant),
    ) -> Option<&Kept> {
        let pairing = Pairing { champion: champion.root, challenger: challenger.root };
        let kept = self.fights.get(&challenger.root)?;
        let counts = kept.fight.terms.pairing == pairing && block < kept.fight.until;
        (counts && (kept.fight.verdict.is_some() || kept.fits(rules))).then_some(kept)
    }
}
