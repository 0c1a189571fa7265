//! Strategies that enter what is not theirs, or one thing many times.

use super::{Hands, Listed, Strategy, View, honest::Workshop};
use crate::model::ModelId;

/// Loss of junk, in nats per token: above what guessing loses.
const JUNK: f64 = 8.0;

/// The champion, where it is somebody else and can be had.
fn prey(view: &View<'_>, hands: &Hands<'_>) -> Option<Listed> {
    view.champion.filter(|champion| champion.is_public && !hands.is_own(champion))
}

/// Commits to the champion's files.
#[derive(Debug)]
pub(super) struct Copy;

impl Strategy for Copy {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        let Some(champion) = prey(view, hands) else { return };
        for slot in 0..hands.n_slots() {
            if hands.standing_file(slot) != Some(champion.file) {
                hands.commit(slot, champion.file);
            }
        }
    }
}

/// Commits to what others upload, in their block.
#[derive(Debug)]
pub(super) struct Intercept;

impl Strategy for Intercept {
    fn act(&mut self, _: &View<'_>, hands: &mut Hands<'_>) {
        let newest = hands.newest_of_others();
        let slots: Vec<usize> =
            (0..hands.n_slots()).filter(|slot| hands.can_commit(*slot)).collect();
        for (slot, file) in slots.into_iter().zip(newest) {
            hands.commit(slot, file);
        }
    }
}

/// Commits to copies of the champion with noise in them.
#[derive(Debug, Default)]
pub(super) struct Noise {
    /// Which champion each slot has a copy of.
    copied: Vec<Option<ModelId>>,
}

impl Strategy for Noise {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        let Some(champion) = prey(view, hands) else { return };
        self.copied.resize(hands.n_slots(), None);
        for (slot, copied) in self.copied.iter_mut().enumerate() {
            if *copied != Some(champion.model) && hands.can_commit(slot) {
                let copy = hands.noised(champion.model);
                hands.publish(slot, copy);
                *copied = Some(champion.model);
            }
        }
    }
}

/// Commits to the champion's tensors in other files.
#[derive(Debug, Default)]
pub(super) struct Repack {
    copied: Vec<Option<ModelId>>,
}

impl Strategy for Repack {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        let Some(champion) = prey(view, hands) else { return };
        self.copied.resize(hands.n_slots(), None);
        for (slot, copied) in self.copied.iter_mut().enumerate() {
            if *copied != Some(champion.model)
                && hands.can_commit(slot)
                && let Some(file) = hands.repacked(champion.model)
            {
                hands.commit(slot, file);
                *copied = Some(champion.model);
            }
        }
    }
}

/// Commits to junk and noise as often as it may.
#[derive(Debug, Default)]
pub(super) struct Spam {
    n_sent: u64,
}

impl Strategy for Spam {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        for slot in 0..hands.n_slots() {
            if !hands.can_commit(slot) {
                continue;
            }
            self.n_sent += 1;
            let model = match prey(view, hands) {
                Some(champion) if self.n_sent.is_multiple_of(2) => hands.noised(champion.model),
                _ => hands.junk(JUNK),
            };
            hands.publish(slot, model);
        }
    }
}

/// Enters its best model under every key, with noise.
#[derive(Debug, Default)]
pub(super) struct Sybil(Workshop);

impl Strategy for Sybil {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        let Some(model) = self.0.winner(view, hands) else { return };
        for slot in 0..hands.n_slots() {
            let copy = if slot == 0 { model } else { hands.noised(model) };
            hands.publish(slot, copy);
        }
    }
}

/// Publishes the way from the champion to its best model, a rung under each key.
#[derive(Debug, Default)]
pub(super) struct Ladder(Workshop);

impl Strategy for Ladder {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        let Some(best) = self.0.winner(view, hands) else { return };
        let end = hands.merit(best);
        let start = view.champion.map_or(end, |champion| view.needed(champion.merit));
        let n_slots = hands.n_slots();
        for slot in 0..n_slots {
            // The best stands under the first key, by which it is told whether it was entered.
            let left = slot as f64 / n_slots as f64;
            let rung =
                if slot == 0 { best } else { hands.checkpoint(best, end + (start - end) * left) };
            hands.publish(slot, rung);
        }
    }
}
