//! Strategies that play with when something is known, and to whom.

use super::{Hands, Strategy, View, honest::Workshop};
use crate::hub::Shown;
use protocol::Block;

/// Rounds that bytes come late.
const ROUNDS_LATE: u64 = 2;

/// Whether the player wears the crown.
fn reigns(view: &View<'_>, hands: &Hands<'_>) -> bool {
    view.champion.is_some_and(|champion| hands.is_own(&champion))
}

/// Publishes only when it is challenged.
#[derive(Debug, Default)]
pub(super) struct Hoard(Workshop);

impl Strategy for Hoard {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if reigns(view, hands) {
            return;
        }
        if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        }
    }
}

/// Publishes only when it is challenged, and no more than it takes; more than that once what it has
/// published was judged, and did not take the crown.
#[derive(Debug, Default)]
pub(super) struct Snipe(Workshop);

impl Strategy for Snipe {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if reigns(view, hands) || !hands.can_commit(0) {
            return;
        }
        let Some(best) = self.0.winner(view, hands) else { return };
        let champion = view.champion.map_or(f64::INFINITY, |champion| champion.merit);
        let entered = hands.standing_model(0).map_or(f64::INFINITY, |model| hands.merit(model));
        let since = hands.standing_since(0);
        let is_judged = since.is_none_or(|since| view.block >= verdict(view, since));
        if !is_judged && entered <= view.needed(champion) {
            // What it has entered is enough, and a commitment of now would be judged later.
            return;
        }
        let enough = view.needed(if is_judged { champion.min(entered) } else { champion });
        let is_all = enough.is_infinite() || hands.merit(best) >= enough;
        let model = if is_all { best } else { hands.checkpoint(best, enough) };
        hands.publish(0, model);
    }
}

/// Block by which there is a verdict on a commitment of this block, if no other is before it.
fn verdict(view: &View<'_>, since: Block) -> Block {
    let rules = &view.competition.evaluation;
    let in_a_round = rules.n_batches.saturating_mul(rules.sequences_per_batch).max(1) as u64;
    let duels = view.competition.scoring.duel_rules();
    let n_rounds = duels.map_or(1, |duel| u64::from(duel.n_documents_max).div_ceil(in_a_round));
    // The round that has begun by then knows nothing of it.
    let blocks = rules.blocks_per_round.saturating_mul(n_rounds.saturating_add(1));
    Block(since.0.saturating_add(rules.commitment_age_min).saturating_add(blocks))
}

/// Commits to what it has again and again.
#[derive(Debug, Default)]
pub(super) struct Recommit(Workshop);

impl Strategy for Recommit {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        } else if !reigns(view, hands)
            && let Some(file) = hands.standing_file(0)
        {
            hands.commit(0, file);
        }
    }
}

/// Commits before the bytes can be had.
#[derive(Debug, Default)]
pub(super) struct Late(Workshop);

impl Strategy for Late {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if let Some(model) = self.0.winner(view, hands) {
            let blocks = ROUNDS_LATE * view.competition.evaluation.blocks_per_round;
            hands.enter(0, model, Shown::From(Block(view.block.0 + blocks)));
        }
    }
}

/// Shows its bytes to every other validator.
#[derive(Debug, Default)]
pub(super) struct Withhold(Workshop);

impl Strategy for Withhold {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if let Some(model) = self.0.winner(view, hands) {
            let every_other = (0..view.n_validators.min(64)).step_by(2);
            let half = every_other.fold(0_u64, |bits, i| bits | (1_u64 << i));
            hands.enter(0, model, Shown::Only(half));
        }
    }
}

/// Hides its bytes while it wears the crown.
#[derive(Debug, Default)]
pub(super) struct Gate(Workshop);

impl Strategy for Gate {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if let Some(file) = hands.standing_file(0) {
            let shown = if reigns(view, hands) { Shown::Nobody } else { Shown::Everybody };
            hands.show(file, shown);
        }
        if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        }
    }
}

/// Withdraws its commitment once it wears the crown.
#[derive(Debug, Default)]
pub(super) struct Desert(Workshop);

impl Strategy for Desert {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if reigns(view, hands) {
            hands.desert(0);
        } else if let Some(model) = self.0.winner(view, hands) {
            hands.publish(0, model);
        }
    }
}
