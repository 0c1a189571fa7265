//! Who holds the crown, and which duels are open: what is known from round to round.
//!
//! All of it follows from the records of a validator, one after the other, so that nothing has to
//! be kept beside them and whoever reads them knows the same. How a round goes on from there is in
//! `reign/round.rs`, and who is heard in it in `reign/turns.rs`.

mod believed;
mod round;
mod turns;

pub use round::{Bout, Decided, Entrant, Progress, Wanted};

use super::{Attempts, Budget, Duel, DuelRules, Evidence, Terms, Verdict, check_stored};
use crate::{
    AccountId, Block, Digest, Loss, Record, Uid,
    record::{Finding, Judged},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whoever holds the crown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Champion {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Tensor root of its model.
    pub root: Digest,
    /// Mean cross-entropy, in nats per token, in the round in which it took the crown; finite, and
    /// at least 1e-6.
    pub reference: Loss,
    /// Block that seeded that round.
    pub since: Block,
}

/// Whoever held the crown before the champion, which took it by a duel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// Key of its miner.
    pub hotkey: AccountId,
    /// Tensor root of its model.
    pub root: Digest,
}

/// A duel as it stands after a round, without the set of its documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fight {
    /// Tensor root of the model that wants the crown.
    pub challenger: Digest,
    /// What was frozen when it began.
    pub terms: Terms,
    /// Block that seeded the round in which it began.
    pub began: Block,
    /// First block at which it counts no more.
    pub until: Block,
    /// Which of the duels of the challenger's coldkey in its window it is.
    pub attempts: Attempts,
    /// What its documents have come to.
    pub evidence: Evidence,
    /// How it is decided; absent while it is open.
    pub verdict: Option<Verdict>,
}

/// A fight with the documents that its evidence is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    fight: Fight,
    /// Empty once it is decided: it takes in no more.
    documents: BTreeSet<Digest>,
}

/// What is known of crown and duels before a round; follows from the records alone.
///
/// Without records nobody holds the crown. Records of other rules than `duel` leave nobody on the
/// throne either. It may be written down, so that not all records have to be read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reign {
    champion: Option<Champion>,
    predecessor: Option<Predecessor>,
    /// Duels against the champion, by the challenger's root.
    fights: BTreeMap<Digest, Kept>,
    budget: Budget,
}

impl Kept {
    /// Whether these rules could have come to it.
    fn fits(&self, rules: &DuelRules) -> bool {
        let Fight { terms, evidence, .. } = &self.fight;
        check_stored(rules, terms, evidence, self.documents.len()).is_ok()
    }

    /// The duel that it is; `None` if these rules could not have come to it.
    fn duel(&self, rules: DuelRules) -> Option<Duel> {
        let (evidence, documents) = (self.fight.evidence.clone(), self.documents.clone());
        Duel::resume(rules, self.fight.terms, evidence, documents).ok()
    }
}

impl Reign {
    /// Takes in the next record of a validator and competition, which is true: see
    /// [`crate::record::verify_duels`].
    pub fn follow(&mut self, record: &Record) {
        for Judged { model, fight, .. } in &record.models {
            if let (Some(fight), Some(coldkey)) = (fight, model.coldkey)
                && fight.began == record.round.block
            {
                self.budget.note(coldkey, fight.attempts);
            }
        }
        let champion = record.crown.map(|crown| crown.champion);
        let reign = |champion: Champion| (champion.root, champion.since);
        if champion.map(reign) == self.champion.map(reign) {
            record.models.iter().for_each(|judged| self.keep(judged, record));
            self.fights.retain(|_, kept| record.round.block < kept.fight.until);
        } else {
            // Evidence is about two models, and one of them has gone.
            self.fights.clear();
        }
        self.champion = champion;
        self.predecessor = record.crown.and_then(|crown| crown.predecessor);
    }

    /// Keeps the fight of a model as a record leaves it.
    fn keep(&mut self, judged: &Judged, record: &Record) {
        let Some(fight) = &judged.fight else { return };
        let mut documents = BTreeSet::new();
        if fight.verdict.is_none() {
            let before = self.fights.remove(&fight.challenger);
            if let Some(kept) = before.filter(|kept| kept.fight.began == fight.began) {
                documents = kept.documents;
            }
            let n_used = match &judged.model.finding {
                Finding::Evaluated(losses) => losses.len(),
                Finding::Disqualified(_) => 0,
            };
            documents.extend(record.round.documents.iter().take(n_used).map(|d| d.sha256));
        }
        self.fights.insert(fight.challenger, Kept { fight: fight.clone(), documents });
    }

    /// Whoever holds the crown; `None` before the first round with a model.
    pub fn champion(&self) -> Option<&Champion> {
        self.champion.as_ref()
    }

    /// Whoever the champion took it from.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// The duels against the champion that count, open and decided, in order of the challenger's
    /// root.
    pub fn fights(&self) -> impl Iterator<Item = &Fight> {
        self.fights.values().map(|kept| &kept.fight)
    }

    /// Whether the model of this root has an open duel with the champion, which wants documents.
    pub fn wants(&self, root: &Digest) -> bool {
        self.fights.get(root).is_some_and(|kept| kept.fight.verdict.is_none())
    }
}
