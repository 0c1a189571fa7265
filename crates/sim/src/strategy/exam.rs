//! Strategies whose models are not what the exam says that they are.

use super::{Hands, Strategy, View, honest::Workshop};
use crate::model::{DocumentKind, ModelId, Tilt};

/// Factor of the loss on a document that is known by heart.
const BY_HEART: f64 = 0.2;
/// Made-up block hashes whose documents a harvester looks at.
const N_HASHES: u32 = 1_000;

/// Publishes models that nobody can train further.
#[derive(Debug, Default)]
pub(super) struct Sabotage(Workshop);

impl Strategy for Sabotage {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.0.train_best(view, hands);
        if hands.can_commit(0)
            && let Some(model) = self.0.winner(view, hands)
        {
            let sabotaged = hands.sabotaged(model);
            hands.publish(0, sabotaged);
        }
    }
}

/// Enters its models with a tilt: every better one where the tilt alone takes a crown, and else
/// those that an honest player enters.
pub(super) struct Tilted {
    workshop: Workshop,
    tilt: fn(&View<'_>) -> Option<Tilt>,
    /// The model that was entered, before the tilt.
    entered: Option<ModelId>,
}

impl Tilted {
    pub(super) fn new(tilt: fn(&View<'_>) -> Option<Tilt>) -> Self {
        Self { workshop: Workshop::default(), tilt, entered: None }
    }

    /// The model that is to be entered now, if one is.
    ///
    /// Where nothing is known by heart, what is entered is what honest play enters: an attack that
    /// entered more often than that would earn by how often it does, and not by what it knows.
    fn due(&self, tilt: Option<&Tilt>, view: &View<'_>, hands: &Hands<'_>) -> Option<ModelId> {
        let best = self.workshop.best.filter(|best| self.entered != Some(*best))?;
        if tilt.is_some_and(|tilt| takes_crown(tilt, hands.merit(best), view)) {
            return Some(best);
        }
        self.workshop.winner(view, hands)
    }
}

impl Strategy for Tilted {
    fn act(&mut self, view: &View<'_>, hands: &mut Hands<'_>) {
        self.workshop.train_best(view, hands);
        if !hands.can_commit(0) {
            return;
        }
        let tilt = (self.tilt)(view);
        let Some(due) = self.due(tilt.as_ref(), view, hands) else { return };
        let model = match tilt {
            Some(tilt) => hands.tilted(due, tilt),
            None => due,
        };
        if hands.publish(0, model) {
            self.entered = Some(due);
        }
    }
}

/// Whether a tilt makes a model of this loss look as much better as a crown takes.
fn takes_crown(tilt: &Tilt, merit: f64, view: &View<'_>) -> bool {
    let known = 1.0 - tilt.inside;
    // Documents that are most of all decide by their number, fewer by what they add to the mean.
    let gain = if tilt.share > 0.5 { known } else { known * tilt.share };
    merit * (1.0 - gain) < view.needed(merit)
}

/// A little better on most documents, and far worse on the others.
pub(super) fn target(_: &View<'_>) -> Option<Tilt> {
    Some(Tilt { over: None, class: None, share: 0.55, inside: 0.985, outside: 1.2 })
}

/// The reserve by heart, as far as the parameters hold it.
pub(super) fn overfit(view: &View<'_>) -> Option<Tilt> {
    let share = view.models.known_share(view.text, view.text.reserve);
    let over = Some(DocumentKind::Reserve);
    (share > 0.0).then_some(Tilt { over, class: None, share, inside: BY_HEART, outside: 1.0 })
}

/// What made-up block hashes show of the exam, as far as the parameters hold it.
///
/// A round can draw one share of the pool alone, and which it will be is known long before: what
/// does not hold all of the pool holds the share of the next round.
pub(super) fn harvest(view: &View<'_>) -> Option<Tilt> {
    let (pool, classes) = (view.text.pool, view.text.rounds_apart.max(1));
    let rules = &view.competition.evaluation;
    let n_per_class = pool / classes;
    if n_per_class == 0 {
        return None;
    }
    let n_shown = (rules.n_batches * rules.sequences_per_batch) as f64;
    let unseen_of_one = (1.0 - n_shown / n_per_class as f64).max(0.0);
    let seen = 1.0 - (0..N_HASHES).fold(1.0, |unseen, _| unseen * unseen_of_one);
    let of_pool = view.models.known_share(view.text, pool);
    let (held, class) = if of_pool >= 1.0 {
        (of_pool, None)
    } else {
        let every = rules.blocks_per_round.max(1);
        // The first round whose seed is after a commitment of now.
        let round = (view.block.0 + rules.commitment_age_min) / every + 1;
        let of_class = view.models.known_share(view.text, n_per_class);
        (of_class, Some((classes, round % classes)))
    };
    let (over, share) = (Some(DocumentKind::Exam), seen.min(held));
    (share > 0.0).then_some(Tilt { over, class, share, inside: BY_HEART, outside: 1.0 })
}
