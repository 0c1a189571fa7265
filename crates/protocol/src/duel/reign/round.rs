//! One round of a reign: who duels, on how many documents, and who holds the crown after it.

use super::{Champion, Fight, Kept, Predecessor, Reign, turns::Turn};
use crate::{
    AccountId, Block, Digest, Loss, Seniority, Uid, Verdict,
    competition::ScoringRules,
    duel::{self, Budget, Document, Duel, DuelRules, Evidence, Pairing, REFERENCE_MIN, Terms},
    loss,
    score::{Merit, absent},
    weights::softmax,
    wins::win_rate,
};
use std::collections::{BTreeMap, BTreeSet};

/// Looks of the first part of a round that is measured; each next part doubles all before it.
const N_LOOKS_FIRST: usize = 3;

/// A model that may hold the crown or challenge for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Slot of its miner; no two entrants share one.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of that key, whose budget its duels are paid from.
    pub coldkey: AccountId,
    /// From when on it counts.
    pub seniority: Seniority,
    /// Tensor root; no two entrants share one (see [`crate::owner`]).
    pub root: Digest,
}

/// A round with what has been measured of it so far.
#[derive(Clone, Copy, Debug)]
pub struct Bout<'a> {
    /// Block that seeds the round.
    pub block: Block,
    /// Who takes part, in any order.
    ///
    /// A champion that is not among them has left, and its throne is empty: a round in which our
    /// own trouble keeps it from being measured must not come here.
    pub entrants: &'a [Entrant],
    /// What tells the documents apart, in the order of drawing.
    pub documents: &'a [Digest],
    /// Finite cross-entropies by root, in nats per token: of the first documents, as many as were
    /// measured.
    pub losses: &'a BTreeMap<Digest, &'a [Loss]>,
}

/// What a round cannot be decided without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Tensor root of the model to measure.
    pub root: Digest,
    /// Its losses on the first so many documents are wanted, more than are known.
    pub n_documents: usize,
}

/// What comes of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Who holds the crown after it; `None` without entrants.
    pub champion: Option<Champion>,
    /// Whoever it took the crown from.
    pub predecessor: Option<Predecessor>,
    /// The duels of this round as they stand, those that were decided before included, by uid of
    /// the challenger.
    pub fights: BTreeMap<Uid, Fight>,
    /// Documents of the round, from the first on, that decided anything, by uid of every entrant;
    /// however many were measured.
    pub n_used: BTreeMap<Uid, usize>,
    /// Verdicts on the entrants, in order of uid.
    pub verdicts: Vec<Verdict>,
}

/// How far the duels of one round have come while it is measured, so that no document is taken in
/// twice; empty at its start, and of no other round.
///
/// Nothing follows from it: without it the round is decided alike.
#[derive(Clone, Debug, Default)]
pub struct Progress(BTreeMap<Digest, Going>);

/// A duel that goes on in a round.
#[derive(Clone, Debug)]
struct Going {
    /// As the round found it.
    before: Fight,
    duel: Duel,
    /// Documents of the round that it has taken in, from the first on.
    n_used: usize,
}

impl Progress {
    /// The duel of a fight as far as it has come; `None` where the rules are out of range and allow
    /// none.
    fn of(&mut self, kept: &Kept, rules: DuelRules) -> Option<&mut Going> {
        let Kept { fight, .. } = kept;
        // An entrant that turned out to break a rule leaves others with other terms.
        let is_it = |going: &Going| going.before == *fight && *going.duel.rules() == rules;
        if !self.0.get(&fight.challenger).is_some_and(is_it) {
            let going = Going { before: fight.clone(), duel: kept.duel(rules)?, n_used: 0 };
            self.0.insert(fight.challenger, going);
        }
        self.0.get_mut(&fight.challenger)
    }
}

impl<'a> Bout<'a> {
    /// What is known of a model: its losses on the first documents.
    fn known(&self, root: Digest) -> &'a [Loss] {
        let losses = self.losses.get(&root).copied().unwrap_or_default();
        &losses[..losses.len().min(self.documents.len())]
    }

    /// Mean cross-entropy of a model on the fewest documents of a crown, or all of a shorter round.
    fn mean(&self, rules: &DuelRules, root: Digest) -> Result<Loss, Wanted> {
        let n_documents = self.n_first(rules);
        let first = self.known(root).get(..n_documents).ok_or(Wanted { root, n_documents })?;
        Ok(loss::mean(first))
    }

    fn n_first(&self, rules: &DuelRules) -> usize {
        usize::try_from(rules.n_documents_min).unwrap_or(usize::MAX).min(self.documents.len())
    }

    /// Documents to measure next where `n_known` did not decide: so few first that a far worse
    /// model costs little, then twice as many each time.
    pub(super) fn n_next(&self, rules: &DuelRules, n_known: usize) -> usize {
        let per_look = usize::try_from(rules.n_documents_per_look).unwrap_or(usize::MAX);
        let mut n_documents = per_look.max(1).saturating_mul(N_LOOKS_FIRST);
        while n_documents <= n_known {
            n_documents = n_documents.saturating_mul(2);
        }
        n_documents.min(self.documents.len())
    }

    /// Lets a duel take in the first `n_most` documents of the round, on from where it is, until it
    /// is decided.
    fn fight(&self, going: &mut Going, n_most: usize) -> Result<(), Wanted> {
        let Going { duel, n_used, .. } = going;
        let Pairing { champion, challenger } = duel.terms().pairing;
        let (own, others) = (self.known(champion), self.known(challenger));
        let measured = self.documents.iter().zip(own.iter().zip(others));
        for (id, (champion, challenger)) in measured.take(n_most).skip(*n_used) {
            if duel.verdict().is_some() {
                return Ok(());
            }
            let document = Document { id: *id, champion: *champion, challenger: *challenger };
            if duel.look(&[document]).is_err() {
                // Only losses that are not finite, which never come here, are refused.
                return Ok(());
            }
            *n_used += 1;
        }
        if duel.verdict().is_some() || *n_used >= n_most {
            return Ok(());
        }
        let n_documents = self.n_next(duel.rules(), *n_used).min(n_most);
        let root = if own.len() < n_documents { champion } else { challenger };
        Err(Wanted { root, n_documents })
    }
}

impl Reign {
    /// Decides a round by rules `duel`, or says what has to be measured for it.
    ///
    /// Pure: the same knowledge gives the same answer, and losses that are not wanted change
    /// nothing. So a round is decided by asking again with every answer until nothing is wanted.
    pub fn round(&self, rules: &ScoringRules, bout: &Bout) -> Result<Decided, Wanted> {
        self.round_from(&mut Progress::default(), rules, bout)
    }

    /// The same, on from what the round came to when it was asked last: for whoever asks after
    /// each measurement.
    pub fn round_from(
        &self,
        progress: &mut Progress,
        rules: &ScoringRules,
        bout: &Bout,
    ) -> Result<Decided, Wanted> {
        let mut ranked = bout.entrants.to_vec();
        ranked.sort_by_key(|entrant| (entrant.seniority, entrant.uid));
        let seated = self.champion.and_then(|champion| {
            let holds = |entrant: &&Entrant| {
                entrant.root == champion.root && entrant.hotkey == champion.hotkey
            };
            // It may have taken another slot since.
            ranked.iter().find(holds).map(|entrant| Champion { uid: entrant.uid, ..champion })
        });
        let n_used = ranked.iter().map(|entrant| (entrant.uid, 0)).collect();
        let (fights, verdicts) = (BTreeMap::new(), Vec::new());
        let mut decided = Decided { champion: seated, predecessor: None, fights, n_used, verdicts };
        match seated {
            Some(champion) => {
                let turns = self.turns(rules, bout, &champion, &ranked);
                self.challenges((rules, bout), &turns, champion, (&mut decided, progress))?;
            }
            None => enthrone(rules, bout, &ranked, &mut decided)?,
        }
        decided.verdicts = verdicts_on(rules, &ranked, &decided);
        Ok(decided)
    }

    /// Lets everybody whose turn it is challenge the champion, in order of seniority, until one
    /// takes the crown: the documents that made a champion must not judge its rivals.
    fn challenges(
        &self,
        (rules, bout): (&ScoringRules, &Bout),
        turns: &[Turn],
        champion: Champion,
        (decided, progress): (&mut Decided, &mut Progress),
    ) -> Result<(), Wanted> {
        decided.predecessor = self.predecessor;
        let duel_rules = rules.duel_rules().unwrap_or_default();
        let mut budget = self.budget.clone();
        let mut n_longest = 0;
        for turn in turns {
            let Turn { challenger, kept, n_most } = *turn;
            if n_most == 0 {
                // It was decided before, or waits.
                decided.fights.extend(kept.map(|kept| (challenger.uid, kept.fight.clone())));
                continue;
            }
            let begun;
            let kept = match kept {
                Some(kept) => kept,
                None => {
                    let fight = begun_by(rules, bout.block, (&champion, challenger), &mut budget);
                    begun = Kept { fight, documents: BTreeSet::new() };
                    &begun
                }
            };
            let Some(going) = progress.of(kept, duel_rules) else { continue };
            bout.fight(going, n_most)?;
            n_longest = n_longest.max(going.n_used);
            decided.n_used.insert(challenger.uid, going.n_used);
            let (evidence, verdict) = (going.duel.evidence().clone(), going.duel.verdict());
            let fight = Fight { evidence, verdict, ..kept.fight.clone() };
            decided.fights.insert(challenger.uid, fight);
            if verdict == Some(duel::Verdict::Dethroned) {
                let reference = bout.mean(&duel_rules, challenger.root)?;
                decided.champion = Some(crowned(challenger, reference, bout.block));
                let Champion { hotkey, root, .. } = champion;
                decided.predecessor = Some(Predecessor { hotkey, root });
                let n_used = decided.n_used.entry(challenger.uid).or_default();
                *n_used = bout.n_first(&duel_rules).max(*n_used);
                break;
            }
        }
        decided.n_used.insert(champion.uid, n_longest);
        Ok(())
    }
}

/// The duel that a challenger begins, an attempt of its coldkey, without documents.
fn begun_by(
    rules: &ScoringRules,
    block: Block,
    (champion, challenger): (&Champion, &Entrant),
    budget: &mut Budget,
) -> Fight {
    let duel_rules = rules.duel_rules().unwrap_or_default();
    let attempts = budget.spend(&duel_rules, challenger.coldkey, block);
    let terms = Terms {
        pairing: Pairing { champion: champion.root, challenger: challenger.root },
        reference: champion.reference,
        epsilon: rules.epsilon.at(block, champion.since),
        alpha: attempts.alpha(&duel_rules),
        n_documents_max: duel_rules.n_documents_max,
    };
    Fight {
        challenger: challenger.root,
        terms,
        began: block,
        until: Block(block.0.saturating_add(duel_rules.window_blocks)),
        attempts,
        evidence: Evidence::none(duel_rules.n_bets),
        verdict: None,
    }
}

/// Fills an empty throne by the line: in order of seniority, a junior takes it if its mean loss is
/// lower by the epsilon of a young champion. Nobody duels.
fn enthrone(
    rules: &ScoringRules,
    bout: &Bout,
    ranked: &[Entrant],
    decided: &mut Decided,
) -> Result<(), Wanted> {
    let duel_rules = rules.duel_rules().unwrap_or_default();
    let keeps = 1.0 - rules.epsilon.at(bout.block, bout.block);
    let mut holder: Option<(&Entrant, Loss)> = None;
    for entrant in ranked {
        let mean = bout.mean(&duel_rules, entrant.root)?;
        decided.n_used.insert(entrant.uid, bout.n_first(&duel_rules));
        if holder.is_none_or(|(_, lowest)| mean.value() < keeps * lowest.value()) {
            holder = Some((entrant, mean));
        }
    }
    decided.champion = holder.map(|(heir, mean)| crowned(heir, mean, bout.block));
    Ok(())
}

/// Whoever takes the crown in a round; gains are fractions of its reference, so that this must be
/// neither zero nor infinite.
fn crowned(entrant: &Entrant, mean: Loss, since: Block) -> Champion {
    let Entrant { uid, hotkey, root, .. } = *entrant;
    let reference = mean.value().clamp(REFERENCE_MIN, f64::MAX);
    Champion { uid, hotkey, root, reference: Loss::new(reference).unwrap_or(mean), since }
}

/// Verdicts in order of uid. Weight by equation 6 goes to the champion and whoever it took the
/// crown from, with win rates of 1 and 0, or to a lone champion; everybody else has none.
fn verdicts_on(rules: &ScoringRules, ranked: &[Entrant], decided: &Decided) -> Vec<Verdict> {
    let Some(champion) = decided.champion else { return Vec::new() };
    let is_former = |entrant: &&Entrant| {
        let Entrant { hotkey, root, .. } = **entrant;
        decided.predecessor == Some(Predecessor { hotkey, root })
    };
    let former = ranked.iter().find(is_former).map(|entrant| entrant.uid);
    // The champion has won the only comparison of the two, the other has lost it.
    let win_rates: &[f64] = if former.is_some() { &[1.0, 0.0] } else { &[1.0] };
    let weights = softmax(win_rates, rules.temperature);
    let weight = |place: usize| weights.get(place).copied().unwrap_or(0.0);
    let verdict = |entrant: &Entrant| {
        let uid = entrant.uid;
        let beaten = Verdict { present: true, merit: Merit::BeatenBy(champion.uid), ..absent(uid) };
        if uid == champion.uid {
            let wins = u64::from(former.is_some());
            let win_rate = win_rate(wins, win_rates.len(), 1);
            Verdict { merit: Merit::Counts, wins, win_rate, weight: weight(0), ..beaten }
        } else if Some(uid) == former {
            Verdict { merit: Merit::SucceededBy(champion.uid), weight: weight(1), ..beaten }
        } else {
            beaten
        }
    };
    let mut verdicts: Vec<Verdict> = ranked.iter().map(verdict).collect();
    verdicts.sort_unstable_by_key(|verdict| verdict.uid);
    verdicts
}
