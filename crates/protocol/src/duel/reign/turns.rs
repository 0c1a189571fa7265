//! Whose turn it is in a round, so that no crowd of challengers keeps a validator from the others.
//!
//! Where few challenge, everybody is heard on all documents. A crowd costs what
//! [`N_WHOLE_MAX`] challengers cost, and a first part of the documents for each of the others,
//! once. Of those that are heard one half is the most promising, the other has waited longest: luck
//! on a first part keeps nobody away for ever. All of it follows from what was known before the
//! round: whether a duel takes in a document must not depend on what the document says of others.

use super::{Bout, Champion, Entrant, Fight, Kept, Reign};
use crate::{
    Block, Seniority, Uid,
    competition::ScoringRules,
    duel::{Budget, DuelRules},
};
use std::collections::BTreeSet;

/// Challengers that may take in all documents of a round.
const N_WHOLE_MAX: usize = 16;
/// How many of them are the most promising.
const N_PROMISING: usize = 8;
/// A duel with so many times the share of far worse documents that a crown allows is not promising.
const FAR_WORSE_FACTOR: f64 = 2.0;
/// A closed duel begins anew only once epsilon is below this share of that of its terms.
const EPSILON_FALL: f64 = 0.9;

/// A champion, and everybody in order of seniority.
#[derive(Clone, Copy)]
pub(super) struct Ranks<'c, 'a> {
    pub(super) champion: &'c Champion,
    pub(super) ranked: &'a [Entrant],
}

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

    /// How promising it is: open duels by their mean gain, after them new ones, and those that are
    /// far worse on more documents than a crown allows.
    fn gain(&self, rules: &DuelRules) -> f64 {
        let Some(Kept { fight, .. }) = self.kept else { return f64::NEG_INFINITY };
        let evidence = &fight.evidence;
        let is_known = evidence.n_documents() >= rules.n_documents_min;
        let far_worse_max = FAR_WORSE_FACTOR * rules.far_worse_share_max;
        if is_known && evidence.far_worse_share() >= far_worse_max {
            return f64::NEG_INFINITY;
        }
        evidence.mean()
    }

    /// Who has waited longest, in ascending order: of open duels those with the fewest documents,
    /// then new ones, which are heard on a first part in any case; of equals the senior.
    fn waited(&self) -> (bool, u32, Seniority, Uid) {
        let n_documents = self.kept.map_or(0, |kept| kept.fight.evidence.n_documents());
        let Entrant { seniority, uid, .. } = *self.challenger;
        (self.kept.is_none(), n_documents, seniority, uid)
    }
}

impl Reign {
    /// All challengers of a round in the order of their ranks, seniors first.
    ///
    /// Of each coldkey one model that is not decided is heard, so that more slots of one owner take
    /// no time of others; and no new one of a coldkey whose budget has no more attempts. Some duels
    /// take in all documents, the most promising and those that have waited longest; what is new
    /// beyond them a first part, by which it is known how promising it is; others wait. Whoever hid
    /// in the round before waits, too: the text of this one it may have looked at before it came
    /// back. Rules that are out of range give nobody a turn.
    pub(super) fn turns<'a>(
        &'a self,
        rules: &ScoringRules,
        bout: &Bout,
        ranks: Ranks<'_, 'a>,
        budget: &Budget,
    ) -> Vec<Turn<'a>> {
        let Ranks { champion, ranked } = ranks;
        let epsilon = rules.epsilon.at(bout.block, champion.aged_from);
        let rules = rules.duel_rules().unwrap_or_default();
        let mut turns: Vec<Turn> = Vec::new();
        for challenger in ranked.iter().filter(|entrant| entrant.uid != champion.uid) {
            let kept = self.kept(&rules, bout.block, (champion, challenger));
            let kept = kept.filter(|kept| !is_outlived(&kept.fight, epsilon));
            turns.push(Turn { challenger, kept, n_most: 0 });
        }
        if rules.check_values().is_err() {
            return turns;
        }
        let may_be_heard = |turn: &&mut Turn| {
            let Entrant { hotkey, coldkey, .. } = turn.challenger;
            let is_new = turn.kept.is_none();
            let has_none_left = is_new && budget.is_spent(&rules, coldkey, bout.block);
            !turn.is_decided() && !has_none_left && !self.hidden.contains(hotkey)
        };
        let mut open: Vec<&mut Turn> = turns.iter_mut().filter(may_be_heard).collect();
        // Stable, so that of equals the senior comes first.
        open.sort_by(|a, b| b.gain(&rules).total_cmp(&a.gain(&rules)));
        let mut owners = BTreeSet::new();
        open.retain(|turn| owners.insert(turn.challenger.coldkey));
        if let Some(rest) = open.get_mut(N_PROMISING..) {
            rest.sort_by_key(|turn| turn.waited());
        }
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
        let kept = self.fights.get(&challenger.root)?;
        let counts = kept.fight.counts(champion.root, block)
            && kept.fight.terms.pairing.challenger == challenger.root;
        (counts && (kept.fight.verdict.is_some() || kept.fits(rules))).then_some(kept)
    }
}

/// Whether a closed duel asked for more than the champion may ask for by now, and its documents
/// speak for the challenger.
fn is_outlived(fight: &Fight, epsilon: f64) -> bool {
    let asks_less = fight.terms.epsilon * EPSILON_FALL > epsilon;
    fight.verdict.is_some() && fight.evidence.mean() > epsilon && asks_less
}
