//! Who holds the crown, and which duels are open: what is known from round to round.
//!
//! All of it follows from the records of a validator, one after the other, so that nothing has to
//! be kept beside them and whoever reads them knows the same. How a round goes on from there is in
//! `reign/round.rs`, and who is heard in it in `reign/challenges.rs` and `reign/turns.rs`.

mod believed;
mod challenges;
mod round;
mod throne;
mod turns;

pub use challenges::Progress;
pub use round::{Bout, Decided, Entrant, Hidden, Missing, Wanted};

use super::{
    Attempts, Budget, Duel, DuelRules, Evidence, N_DOCUMENTS_LIMIT, Terms, Verdict, check_stored,
};
use crate::{
    AccountId, Block, Digest, Loss, Record, Uid,
    record::{Finding, Judged, Skipped},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most closed duels that are kept: more than a subnet has slots, however often their models
/// change.
const N_CLOSED_MAX: usize = 1_024;

/// Whoever holds the crown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Champion {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of that key when it took the crown.
    pub coldkey: AccountId,
    /// Tensor root of its model.
    pub root: Digest,
    /// Mean cross-entropy, in nats per token, in the round in which it took the crown or the rules
    /// changed; finite, and at least 1e-6.
    pub reference: Loss,
    /// Block that seeded the round in which it took the crown.
    pub since: Block,
    /// Block that its epsilon ages from: `since` after a duel; whoever fills a throne that somebody
    /// left takes over the age.
    pub aged_from: Block,
    /// Digest of the competition's rules that its reference was measured by.
    pub rules: Digest,
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
    /// Key that it was measured under last.
    pub hotkey: AccountId,
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
    /// Block that the epsilon of the last champion ages from; absent while none was ever known.
    aged_from: Option<Block>,
    /// Duels against the champion, by the challenger's root.
    fights: BTreeMap<Digest, Kept>,
    /// Keys of the models that hid in the last round.
    hidden: BTreeSet<AccountId>,
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

impl Fight {
    /// Whether it counts at a block: against this champion, and in its time.
    fn counts(&self, champion: Digest, now: Block) -> bool {
        self.terms.pairing.champion == champion && now < self.until
    }
}

impl Reign {
    /// Whether the reign goes on in the next record: the same champion since the same block, by the
    /// same rules.
    pub fn goes_on(&self, record: &Record) -> bool {
        let reign = |champion: Champion| (champion.root, champion.since, champion.rules);
        record.crown.map(|crown| reign(crown.champion)) == self.champion.map(reign)
    }

    /// Takes in the next record of a validator and competition, which is true: see
    /// [`crate::record::verify_duels`].
    pub fn follow(&mut self, record: &Record) {
        self.note_attempts(record);
        let champion = record.crown.map(|crown| crown.champion);
        if self.goes_on(record) {
            record.models.iter().for_each(|judged| self.keep(judged, record));
            self.fights.retain(|_, kept| record.round.block < kept.fight.until);
            self.close_hidden(record);
            self.forget_closed();
        } else {
            // Evidence is about two models by the same rules, and one of them has gone.
            self.fights.clear();
        }
        let hides = |judged: &&Judged| match judged.model.finding {
            Finding::Evaluated(_) => false,
            Finding::Disqualified(code) => code.is_of_owner(),
        };
        let hidden = record.models.iter().filter(hides);
        self.hidden = hidden.map(|judged| judged.model.hotkey).collect();
        self.champion = champion;
        self.predecessor = record.crown.and_then(|crown| crown.predecessor);
        self.aged_from = match (champion, record.champion) {
            (Some(champion), _) => Some(champion.aged_from),
            // Other rules crown somebody without a reign.
            (None, Some(_)) => None,
            (None, None) => self.aged_from,
        };
    }

    /// Counts the duels that began in a round, and the models that hid in it.
    fn note_attempts(&mut self, record: &Record) {
        for Judged { model, fight, attempts, .. } in &record.models {
            let Some(coldkey) = model.coldkey else { continue };
            let began = fight.as_ref().filter(|fight| fight.began == record.round.block);
            for attempts in began.map(|fight| fight.attempts).into_iter().chain(*attempts) {
                self.budget.note(coldkey, attempts);
            }
        }
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
            let n_used = judged.model.finding.losses().len();
            // What a stranger says of a duel may be longer than any, and is not verified here.
            let n_most = fight.terms.n_documents_max.min(N_DOCUMENTS_LIMIT);
            let n_most = usize::try_from(n_most).unwrap_or(usize::MAX);
            for document in record.round.documents.iter().take(n_used) {
                if documents.len() < n_most {
                    documents.insert(document.sha256);
                }
            }
        }
        self.fights.insert(fight.challenger, Kept { fight: fight.clone(), documents });
    }

    /// Closes the open duels of models that took no part in a round and were not skipped: whoever
    /// could leave one for a bad round and go on in a good one would win any.
    fn close_hidden(&mut self, record: &Record) {
        let is_measured = |judged: &&Judged| matches!(judged.model.finding, Finding::Evaluated(_));
        let measured = record.models.iter().filter(is_measured);
        let present: BTreeSet<Digest> =
            measured.filter_map(|judged| judged.model.tensor_root).collect();
        let is_skipped = |hotkey: AccountId| {
            record.skipped.iter().any(|skipped: &Skipped| skipped.hotkey == hotkey)
        };
        for (root, Kept { fight, documents }) in &mut self.fights {
            if fight.verdict.is_none() && !present.contains(root) && !is_skipped(fight.hotkey) {
                fight.verdict = Some(Verdict::Undecided);
                documents.clear();
            }
        }
    }

    /// Forgets closed duels above the most that are kept, those that lapse first.
    fn forget_closed(&mut self) {
        let closed = self.fights.iter().filter(|(_, kept)| kept.fight.verdict.is_some());
        let mut closed: Vec<(Block, Digest)> =
            closed.map(|(root, kept)| (kept.fight.until, *root)).collect();
        let n_above = closed.len().saturating_sub(N_CLOSED_MAX);
        closed.sort_unstable();
        for (_, root) in closed.into_iter().take(n_above) {
            self.fights.remove(&root);
        }
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
