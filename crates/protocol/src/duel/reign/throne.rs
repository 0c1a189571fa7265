//! Who sits on the throne when a round begins, and who fills an empty one.

use super::{
    Champion, Reign,
    round::{Bout, Entrant, Missing, Wanted},
};
use crate::{
    Block, Digest, Loss,
    competition::ScoringRules,
    duel::{Document, DuelRules, Evidence, REFERENCE_MIN, Verdict, evidence::Gain},
    loss,
};

/// Evidence of an open duel with which its challenger goes first in the line: a crown by luck is
/// that unlikely, one in so many.
const E_CROWN_FIRST: f64 = 100.0;

/// Who sits on the throne when a round begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seat {
    /// The champion.
    Held(Champion),
    /// Whoever the chain pays most, in the place of whoever was known here.
    Paid(Entrant),
    /// Nobody.
    Empty,
}

impl Reign {
    /// Who sits on the throne when a round begins.
    ///
    /// The chain's champion is taken where none was ever known here, and where another one was
    /// known here for so long that the chain would pay it by now, had the others found the same.
    /// What keeps the champion from being measured here matters then to nobody.
    pub(super) fn seat(&self, bout: &Bout, ranked: &[Entrant]) -> Result<Seat, Missing> {
        let paid = bout.paid.and_then(|uid| ranked.iter().find(|entrant| entrant.uid == uid));
        let Some(champion) = self.champion else {
            let paid = paid.filter(|_| self.aged_from.is_none());
            return Ok(paid.map_or(Seat::Empty, |entrant| Seat::Paid(*entrant)));
        };
        if let Some(entrant) = paid.filter(|&paid| self.yields(bout, (&champion, paid))) {
            return Ok(Seat::Paid(*entrant));
        }
        if bout.skipped.contains(&champion.hotkey) {
            return Err(Missing::Champion(champion.hotkey));
        }
        let holds =
            |entrant: &&Entrant| entrant.root == champion.root && entrant.hotkey == champion.hotkey;
        // It may have taken another slot since.
        let held = ranked.iter().find(holds);
        let seat = |entrant: &Entrant| Seat::Held(Champion { uid: entrant.uid, ..champion });
        Ok(held.map_or(Seat::Empty, seat))
    }

    /// The line for a throne that the champion left: seniors first, but before them whoever has
    /// most evidence in an open duel against it, if that is strong.
    ///
    /// By leaving, a champion voids all evidence against it. So that no owner has something of it,
    /// the models of its other slots stand in no line in this round, unless nobody else is there;
    /// what the champion itself commits to instead does.
    pub(super) fn line(&self, bout: &Bout, ranked: &[Entrant]) -> Vec<Entrant> {
        let Some(champion) = self.champion else { return ranked.to_vec() };
        let may_inherit = |entrant: &&Entrant| {
            entrant.coldkey != champion.coldkey || entrant.hotkey == champion.hotkey
        };
        let mut line: Vec<Entrant> = ranked.iter().filter(may_inherit).copied().collect();
        if line.is_empty() {
            return ranked.to_vec();
        }
        let evidence = |entrant: &Entrant| {
            let fight = self.fights.get(&entrant.root).map(|kept| &kept.fight)?;
            let counts = fight.verdict.is_none() && fight.counts(champion.root, bout.block);
            counts.then(|| fight.evidence.e_crown())
        };
        let mut first: Option<(usize, f64)> = None;
        for (place, entrant) in line.iter().enumerate() {
            let e_crown = evidence(entrant).unwrap_or(0.0);
            if e_crown >= E_CROWN_FIRST && first.is_none_or(|(_, most)| e_crown > most) {
                first = Some((place, e_crown));
            }
        }
        if let Some((place, _)) = first {
            let foremost = line.remove(place);
            line.insert(0, foremost);
        }
        line
    }

    /// Whether somebody is champion for so long that the chain would pay it most by now, had all
    /// found the same.
    pub fn is_settled(&self, now: Block, settling_blocks: u64) -> bool {
        self.champion.is_some_and(|champion| now.since(champion.since) > settling_blocks)
    }

    /// Whether the champion leaves its throne to whom the chain pays.
    fn yields(&self, bout: &Bout, (champion, paid): (&Champion, &Entrant)) -> bool {
        // A champion that commits to something else is paid for what it was.
        let is_other = paid.root != champion.root && paid.hotkey != champion.hotkey;
        // Whoever lost a duel against it does not win by pay.
        let was_dethroned = self.predecessor.is_some_and(|former| former.root == paid.root);
        let duel = self.fights.get(&paid.root).map(|kept| &kept.fight);
        let is_rejected = duel.is_some_and(|fight| {
            fight.verdict == Some(Verdict::Rejected) && fight.counts(champion.root, bout.block)
        });
        let has_lost = was_dethroned || is_rejected;
        is_other && !has_lost && self.is_settled(bout.block, bout.settling_blocks)
    }
}

/// Fills an empty throne by the line: the first holds it, and a later one takes it if it is better
/// by more than the epsilon of a young champion, and by more than luck. Nobody duels, and all
/// entrants are measured, those that stand in no line, too.
pub(super) fn enthrone(
    rules: &ScoringRules,
    bout: &Bout,
    ranked: &[Entrant],
    line: &[Entrant],
) -> Result<Option<Champion>, Wanted> {
    let duel_rules = rules.duel_rules().unwrap_or_default();
    let epsilon = rules.epsilon.at(bout.block, bout.block);
    for entrant in ranked {
        bout.first(entrant.root, bout.documents.len())?;
    }
    let mut holder: Option<Holder> = None;
    for entrant in line {
        let losses = bout.first(entrant.root, bout.documents.len())?;
        let takes =
            |senior: &Holder| is_better(&duel_rules, epsilon, bout.documents, (senior, losses));
        if holder.as_ref().is_none_or(takes) {
            holder = Some(Holder { entrant, losses, mean: loss::mean(losses) });
        }
    }
    Ok(holder.map(|heir| crowned(heir.entrant, heir.mean, bout)))
}

/// Whoever holds an empty throne as far as the line was heard.
struct Holder<'a> {
    entrant: &'a Entrant,
    losses: &'a [Loss],
    /// Of the losses.
    mean: Loss,
}

/// Whether a junior is better than its senior by more than epsilon, and by more than documents may
/// differ by luck.
fn is_better(
    rules: &DuelRules,
    epsilon: f64,
    documents: &[Digest],
    (senior, junior): (&Holder, &[Loss]),
) -> bool {
    let reference = reference(senior.mean).value();
    let mut gains = Evidence::none(0);
    for (id, (senior, junior)) in documents.iter().zip(senior.losses.iter().zip(junior)) {
        let document = Document { id: *id, champion: *senior, challenger: *junior };
        match Gain::of(&document, reference, rules.clip) {
            Ok(gain) => gains.sum_up(gain),
            // Losses that are not finite never come here.
            Err(_) => return false,
        }
    }
    gains.mean() > epsilon.max(rules.margin_per_spread * gains.spread())
}

/// Whoever takes the crown in a round; its reign is as old as that.
pub(super) fn crowned(entrant: &Entrant, mean: Loss, bout: &Bout) -> Champion {
    let Entrant { uid, hotkey, coldkey, root, .. } = *entrant;
    let (since, aged_from, rules) = (bout.block, bout.block, bout.rules);
    Champion { uid, hotkey, coldkey, root, reference: reference(mean), since, aged_from, rules }
}

/// What gains are fractions of, for a mean loss: it must be neither zero nor infinite.
pub(super) fn reference(mean: Loss) -> Loss {
    Loss::new(mean.value().clamp(REFERENCE_MIN, f64::MAX)).unwrap_or(mean)
}
