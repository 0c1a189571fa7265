//! Honest play: train, and publish what got better.

use super::{Hands, Strategy, View};
use crate::model::ModelId;

/// The models that a player has trained.
#[derive(Debug, Default)]
pub(super) struct Workshop {
    /// The best of them.
    pub(super) best: Option<ModelId>,
}

impl Workshop {
    /// Trains on from its own best model.
    pub(super) fn train_own(&mut self, hands: &mut Hands<'_>) {
        self.train(self.best, hands);
    }

    /// Trains on from the champion, or from its own best where that is better.
    pub(super) fn train_best(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        let champion = view.champion.filter(|champion| champion.is_public);
        let is_behind = |merit: f64| self.best.is_none_or(|best| merit < hands.merit(best));
        let champion = champion.filter(|champion| is_behind(champion.merit));
        self.train(champion.map(|champion| champion.model).or(self.best), hands);
    }

    fn train(&mut self, from: Option<ModelId>, hands: &mut Hands<'_>) {
        let Some(model) = hands.train(from) else { return };
        if self.best.is_none_or(|best| hands.merit(model) < hands.merit(best)) {
            self.best = Some(model);
        }
    }

    /// Its best model, if that would take the crown, and is better than what it has entered.
    pub(super) fn winner(&self, view: &View<'_>, hands: &Hands<'_>) -> Option<ModelId> {
        let best = self.best?;
        let champion = view.champion.map_or(f64::INFINITY, |champion| champion.merit);
        let entered = hands.standing_model(0).map_or(f64::INFINITY, |model| hands.merit(model));
        let is_winner = hands.merit(best) < view.needed(champion.min(entered));
        is_winner.then_some(best)
    }
}

/// Trains a line of its own.
#[derive(Debug, Default)]
pub(super) struct Scratch(Workshop);

impl Strategy for Scratch {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_own(hands);
        if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        }
    }
}

/// Trains on from the best that is published.
#[derive(Debug, Default)]
pub(super) struct Rebase(Workshop);

impl Strategy for Rebase {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        }
    }
}

/// Does nothing.
#[derive(Debug)]
pub(super) struct Idle;

impl Strategy for Idle {
    fn act(&mut self, _: &View<'_>, _: &mut Hands<'_>) {}
}
