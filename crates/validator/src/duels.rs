//! Rule `duel` in a round: whose models fight for the crown, and on how many documents each of them
//! has to be measured.

use crate::{
    book::Entry,
    ports::Drawn,
    round::{Known, Measured, Need, Pause, judge, of_batches},
    state::Found,
};
use protocol::{
    Digest, Loss, Outcome,
    duel::{Bout, DuelRules, Entrant, Wanted},
};
use std::collections::BTreeMap;

impl Known<'_> {
    /// The rules of duels, with rule `duel` alone.
    pub(crate) fn duels(&self) -> Option<DuelRules> {
        self.contest.competition.scoring.duel_rules()
    }

    /// Whether a commitment holds the crown, held it before, or has an open duel for it: these are
    /// measured whatever the chain pays.
    pub(crate) fn is_in_duel(&self, entry: &Entry) -> bool {
        if self.duels().is_none() {
            return false;
        }
        let (reign, hotkey) = (&self.state.reign, entry.stored.hotkey);
        let is_holder = reign.champion().is_some_and(|champion| champion.hotkey == hotkey)
            || reign.predecessor().is_some_and(|predecessor| predecessor.hotkey == hotkey);
        let is_open = |found: &Found| match found {
            Found::Admitted(admission) => reign.wants(&admission.tensor_root),
            Found::Refused(_) | Found::Hopeless(_) => false,
        };
        // By whichever rules: a duel goes on over a change of them.
        is_holder || entry.last_verdict(self.state).is_some_and(|verdict| is_open(&verdict.found))
    }

    /// Whether nobody of these models holds the crown from before: a champion holds it with its own
    /// model alone.
    pub(crate) fn is_vacant(&self, measured: &[Measured]) -> bool {
        let Some(champion) = self.state.reign.champion() else { return true };
        !measured.iter().any(|model| {
            let is_it = model.entry.stored.hotkey == champion.hotkey
                && model.tensor_root == Some(champion.root);
            is_it && model.is_sound()
        })
    }

    /// What is known of a model that passed every check at rest: its losses on the documents that
    /// it was measured on, which may be none, or the rule that it breaks.
    pub(crate) fn so_far(&self, rules: &DuelRules, root: &Digest, text: &Drawn) -> Outcome {
        match self.turn.measured.get(root) {
            None => Outcome::Evaluated(Vec::new()),
            Some(Err(reason)) => Outcome::Disqualified(reason.clone()),
            // On a few documents luck alone may be worse than guessing.
            Some(Ok(losses)) if losses.len() < rules.n_documents_min as usize => {
                Outcome::Evaluated(of_batches(losses, text))
            }
            Some(Ok(losses)) => judge(losses, text),
        }
    }

    /// Lets the sound models fight as far as they were measured; the losses that are missing for
    /// the end of the round, if some are.
    pub(crate) fn fight(&self, measured: &[Measured]) -> Result<(), Pause> {
        let text = self.turn.text.as_ref().ok_or(Need::Text)?;
        let mut entrants = Vec::new();
        let mut losses: BTreeMap<Digest, &[Loss]> = BTreeMap::new();
        for model in measured {
            let (Some(root), Ok(Outcome::Evaluated(known))) = (model.tensor_root, &model.outcome)
            else {
                continue;
            };
            let stored = &model.entry.stored;
            entrants.push(Entrant {
                uid: stored.uid,
                hotkey: stored.hotkey,
                coldkey: stored.coldkey,
                seniority: model.entry.seniority(self.state, self.seed.block),
                root,
            });
            losses.insert(root, known);
        }
        // One document is one sequence: more could never be measured.
        let n_sequences: usize = text.batches.iter().map(Vec::len).sum();
        let documents: Vec<Digest> =
            text.documents.iter().take(n_sequences).map(|document| document.sha256).collect();
        let bout = Bout {
            block: self.seed.block,
            entrants: &entrants,
            documents: &documents,
            losses: &losses,
        };
        let rules = &self.contest.competition.scoring;
        let mut progress = self.turn.duels.borrow_mut();
        match self.state.reign.round_from(&mut progress, rules, &bout) {
            Ok(_) => Ok(()),
            Err(Wanted { root, n_documents }) => {
                let n_known = losses.get(&root).map_or(0, |known| known.len());
                let is_it = |model: &&Measured| model.tensor_root == Some(root) && model.is_sound();
                match measured.iter().find(is_it) {
                    Some(model) if (n_known + 1..=documents.len()).contains(&n_documents) => {
                        let entry = model.entry.clone();
                        Err(Need::Losses { entry, n_sequences: n_documents }.into())
                    }
                    _ => {
                        let error = format!(
                            "the duels want {n_documents} documents and the text of the round has \
                             {}",
                            documents.len()
                        );
                        Err(Pause::GiveUp { spared: None, error })
                    }
                }
            }
        }
    }
}
