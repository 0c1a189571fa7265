//! One round of a reign: who duels, on how many documents, and who holds the crown after it.

use super::{
    Champion, Fight, Predecessor, Reign,
    throne::{Seat, crowned, enthrone, reference},
};
use crate::{
    AccountId, Block, Digest, Loss, Seniority, Uid, Verdict,
    competition::ScoringRules,
    duel::{self, Attempts, Budget, Document, Duel, DuelRules, Pairing, Terms},
    loss,
    score::{Merit, absent},
    weights::softmax,
    wins::win_rate,
};
use std::collections::BTreeMap;

/// Looks of the first part of a round that is measured; each next part doubles all before it.
const N_LOOKS_FIRST: usize = 3;
/// A closed duel begins anew only once epsilon is below this share of that of its terms.
const EPSILON_FALL: f64 = 0.9;

/// A model that may hold the crown or challenge for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Slot of its miner; no two entrants share one.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of that key, whose budget its duels are paid from.
    pub coldkey: AccountId,
    /// Place of its commitment, whether it was seen without a break or not: somebody who can make
    /// a model absent for a moment must not choose its place in the line.
    pub seniority: Seniority,
    /// Tensor root; no two entrants share one (see [`crate::owner`]).
    pub root: Digest,
}

/// A model that takes no part for a cause that its owner can bring about and undo (see
/// [`crate::ReasonCode::is_of_owner`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of that key, whose budget pays for it.
    pub coldkey: AccountId,
    /// Tensor root, where it is known.
    pub root: Option<Digest>,
}

/// A round with what has been measured of it so far.
#[derive(Clone, Copy, Debug)]
pub struct Bout<'a> {
    /// Block that seeds the round.
    pub block: Block,
    /// Digest of the competition's rules.
    pub rules: Digest,
    /// Slot that the chain paid most at the seed.
    pub paid: Option<Uid>,
    /// Blocks that the chain may take to pay for what a round found.
    pub settling_blocks: u64,
    /// Who takes part, in any order.
    pub entrants: &'a [Entrant],
    /// Who hides, in order of uid.
    pub hidden: &'a [Hidden],
    /// Keys of the models that our own trouble kept from an outcome: nothing moves for them.
    pub skipped: &'a [AccountId],
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

/// Why a round is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Losses are missing.
    Losses(Wanted),
    /// Our own trouble keeps this key from being measured, which holds the crown: its throne is
    /// not empty for that, and the round has to be given up.
    Champion(AccountId),
}

impl From<Wanted> for Missing {
    fn from(wanted: Wanted) -> Self {
        Self::Losses(wanted)
    }
}

/// The duels of one round as far as its losses have led them, so that asking again with more of
/// them costs only what is new.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// By the challenger's root.
    duels: BTreeMap<Digest, Advanced>,
}

/// A duel with the documents of this round that it has taken in.
#[derive(Clone, Debug)]
struct Advanced {
    duel: Duel,
    n_used: usize,
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
    /// The attempts that hiding cost, by uid of whoever hides.
    pub hidden: BTreeMap<Uid, Attempts>,
    /// Documents of the round, from the first on, that decided anything, by uid of every entrant;
    /// however many were measured.
    pub n_used: BTreeMap<Uid, usize>,
    /// Verdicts on the entrants, in order of uid.
    pub verdicts: Vec<Verdict>,
}

impl<'a> Bout<'a> {
    /// The entrants in order of seniority.
    fn ranked(&self) -> Vec<Entrant> {
        let mut ranked = self.entrants.to_vec();
        ranked.sort_by_key(|entrant| (entrant.seniority, entrant.uid));
        ranked
    }

    /// What is known of a model: its losses on the first documents.
    fn known(&self, root: Digest) -> &'a [Loss] {
        let losses = self.losses.get(&root).copied().unwrap_or_default();
        &losses[..losses.len().min(self.documents.len())]
    }

    /// The losses of a model on the first documents, so many.
    pub(super) fn first(&self, root: Digest, n_documents: usize) -> Result<&'a [Loss], Wanted> {
        self.known(root).get(..n_documents).ok_or(Wanted { root, n_documents })
    }

    /// Mean cross-entropy of a model on the fewest documents of a crown, or all of a shorter round.
    fn mean(&self, rules: &DuelRules, root: Digest) -> Result<Loss, Wanted> {
        Ok(loss::mean(self.first(root, self.n_first(rules))?))
    }

    fn n_first(&self, rules: &DuelRules) -> usize {
        usize::try_from(rules.n_documents_min).unwrap_or(usize::MAX).min(self.documents.len())
    }

    /// Documents to measure next where `n_known` did not decide: so few first that a far worse
    /// model costs little, then twice as many each time.
    fn n_next(&self, rules: &DuelRules, n_known: usize) -> usize {
        let per_look = usize::try_from(rules.n_documents_per_look).unwrap_or(usize::MAX);
        let mut n_documents = per_look.max(1).saturating_mul(N_LOOKS_FIRST);
        while n_documents <= n_known {
            n_documents = n_documents.saturating_mul(2);
        }
        n_documents.min(self.documents.len())
    }

    /// Lets a duel take in the documents of the round until it is decided or there are no more.
    fn fight(&self, advanced: &mut Advanced) -> Result<(), Wanted> {
        let Advanced { duel, n_used } = advanced;
        let Pairing { champion, challenger } = duel.terms().pairing;
        let (own, others) = (self.known(champion), self.known(challenger));
        let pairs = self.documents.iter().zip(own.iter().zip(others));
        for (id, (champion, challenger)) in pairs.skip(*n_used) {
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
        if duel.verdict().is_some() || *n_used == self.documents.len() {
            return Ok(());
        }
        let n_documents = self.n_next(duel.rules(), *n_used);
        let root = if own.len() < n_documents { champion } else { challenger };
        Err(Wanted { root, n_documents })
    }
}

impl Reign {
    /// Decides a round by rules `duel`, or says what is missing for it.
    ///
    /// Pure: the same knowledge gives the same answer, and losses that are not wanted change
    /// nothing. So a round is decided by asking again with every answer until nothing is missing.
    pub fn round(&self, rules: &ScoringRules, bout: &Bout) -> Result<Decided, Missing> {
        self.round_on(rules, bout, &mut Memo::default())
    }

    /// The same with what asking before has led to: `memo` is of this reign and round, and every
    /// loss that was known then is known now.
    pub fn round_on(
        &self,
        rules: &ScoringRules,
        bout: &Bout,
        memo: &mut Memo,
    ) -> Result<Decided, Missing> {
        let ranked = bout.ranked();
        let ranked = ranked.as_slice();
        let seat = self.seat(bout, ranked)?;
        let mut decided = Decided {
            champion: None,
            predecessor: None,
            fights: BTreeMap::new(),
            hidden: BTreeMap::new(),
            n_used: ranked.iter().map(|entrant| (entrant.uid, 0)).collect(),
            verdicts: Vec::new(),
        };
        let mut budget = self.budget.clone();
        self.charge_hidden(rules, bout, (&mut budget, &mut decided));
        let aged_from = self.aged_from.unwrap_or(bout.block);
        match seat {
            Seat::Held(champion) => {
                decided.predecessor = self.predecessor;
                if champion.rules == bout.rules {
                    let at_stake = (champion, &mut decided);
                    self.challenges(rules, bout, (ranked, at_stake), (&mut budget, memo))?;
                } else {
                    confirm(rules, bout, champion, &mut decided)?;
                }
            }
            Seat::Paid(entrant) => {
                let n_documents = bout.documents.len();
                let mean = loss::mean(bout.first(entrant.root, n_documents)?);
                decided.n_used.insert(entrant.uid, n_documents);
                decided.champion = Some(Champion { aged_from, ..crowned(&entrant, mean, bout) });
            }
            Seat::Empty => {
                let heir = enthrone(rules, bout, ranked)?;
                let n_documents = bout.documents.len();
                decided.n_used.values_mut().for_each(|n_used| *n_used = n_documents);
                decided.champion = heir.map(|heir| Champion { aged_from, ..heir });
            }
        }
        decided.verdicts = verdicts_on(rules, ranked, &decided);
        Ok(decided)
    }

    /// Whether a round finds the throne empty, so that the line fills it on all of its documents.
    pub fn is_vacant(&self, bout: &Bout) -> bool {
        matches!(self.seat(bout, &bout.ranked()), Ok(Seat::Empty))
    }

    /// Lets whoever hides pay for it, as if it had begun a duel: who looks at the text first and
    /// shows itself on good documents alone tries again and again.
    fn charge_hidden(
        &self,
        rules: &ScoringRules,
        bout: &Bout,
        (budget, decided): (&mut Budget, &mut Decided),
    ) {
        let duel_rules = rules.duel_rules().unwrap_or_default();
        // Its throne is what a champion pays with.
        let is_champion = |hidden: &Hidden| {
            let is_it = |champion: Champion| {
                hidden.hotkey == champion.hotkey || hidden.root == Some(champion.root)
            };
            self.champion.is_some_and(is_it)
        };
        for hidden in bout.hidden.iter().filter(|hidden| !is_champion(hidden)) {
            let attempts = budget.spend(&duel_rules, hidden.coldkey, bout.block);
            decided.hidden.insert(hidden.uid, attempts);
        }
    }

    /// Lets everybody but the champion challenge it, in order of seniority, until one takes the
    /// crown: the documents that made a champion must not judge its rivals.
    fn challenges(
        &self,
        rules: &ScoringRules,
        bout: &Bout,
        (ranked, (champion, decided)): (&[Entrant], (Champion, &mut Decided)),
        (budget, memo): (&mut Budget, &mut Memo),
    ) -> Result<(), Wanted> {
        decided.champion = Some(champion);
        let duel_rules = rules.duel_rules().unwrap_or_default();
        let mut n_longest = 0;
        for challenger in ranked.iter().filter(|entrant| entrant.uid != champion.uid) {
            let pair = (&champion, challenger);
            let taken_up = self.taken_up((rules, bout.block), pair, (&mut *budget, &mut *memo));
            let Some((mut fight, advanced)) = taken_up else { continue };
            if let Some(mut advanced) = advanced {
                let fought = bout.fight(&mut advanced);
                let Advanced { duel, n_used } = &advanced;
                (fight.evidence, fight.verdict) = (duel.evidence().clone(), duel.verdict());
                n_longest = n_longest.max(*n_used);
                decided.n_used.insert(challenger.uid, *n_used);
                memo.duels.insert(challenger.root, advanced);
                fought?;
            }
            let is_dethroned = fight.verdict == Some(duel::Verdict::Dethroned);
            decided.fights.insert(challenger.uid, fight);
            if is_dethroned {
                let reference = bout.mean(&duel_rules, challenger.root)?;
                decided.champion = Some(crowned(challenger, reference, bout));
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

    /// The fight of a challenger as the round finds it, with its duel if that is open: the one that
    /// is kept, or a new one; `None` where the rules are out of range and allow none.
    fn taken_up(
        &self,
        (rules, block): (&ScoringRules, Block),
        (champion, challenger): (&Champion, &Entrant),
        (budget, memo): (&mut Budget, &mut Memo),
    ) -> Option<(Fight, Option<Advanced>)> {
        let duel_rules = rules.duel_rules().unwrap_or_default();
        let pairing = Pairing { champion: champion.root, challenger: challenger.root };
        let epsilon = rules.epsilon.at(block, champion.aged_from);
        let mut led = |terms: &Terms| {
            let advanced = memo.duels.remove(&challenger.root);
            advanced.filter(|advanced| advanced.duel.terms() == terms)
        };
        let counts = |fight: &Fight| fight.terms.pairing == pairing && block < fight.until;
        if let Some(kept) = self.fights.get(&challenger.root).filter(|kept| counts(&kept.fight)) {
            let fight = Fight { hotkey: challenger.hotkey, ..kept.fight.clone() };
            if fight.verdict.is_some() && !is_outlived(&fight, epsilon) {
                return Some((fight, None));
            }
            if fight.verdict.is_none() {
                let taken_up =
                    led(&fight.terms).or_else(|| kept.duel(duel_rules).map(Advanced::of));
                if let Some(advanced) = taken_up {
                    return Some((fight, Some(advanced)));
                }
                // A stranger's record may tell of evidence that its rules do not lead to: then the
                // challenger begins anew.
            }
        }
        let attempts = budget.spend(&duel_rules, challenger.coldkey, block);
        let terms = Terms {
            pairing,
            reference: champion.reference,
            epsilon,
            alpha: attempts.alpha(&duel_rules),
            n_documents_max: duel_rules.n_documents_max,
        };
        let begin = || Duel::begin(duel_rules, terms).ok().map(Advanced::of);
        let advanced = led(&terms).or_else(begin)?;
        let fight = Fight {
            challenger: challenger.root,
            hotkey: challenger.hotkey,
            terms,
            began: block,
            until: Block(block.0.saturating_add(duel_rules.window_blocks)),
            attempts,
            evidence: advanced.duel.evidence().clone(),
            verdict: None,
        };
        Some((fight, Some(advanced)))
    }
}

impl Advanced {
    /// A duel of which this round has added nothing.
    fn of(duel: Duel) -> Self {
        Self { duel, n_used: 0 }
    }
}

/// Whether a closed duel asked for more than the champion may ask for by now, and its documents
/// speak for the challenger.
fn is_outlived(fight: &Fight, epsilon: f64) -> bool {
    fight.evidence.mean() > epsilon && fight.terms.epsilon * EPSILON_FALL > epsilon
}

/// Measures a champion by rules that have changed: gains are fractions of its loss by them.
fn confirm(
    rules: &ScoringRules,
    bout: &Bout,
    champion: Champion,
    decided: &mut Decided,
) -> Result<(), Wanted> {
    let duel_rules = rules.duel_rules().unwrap_or_default();
    let reference = reference(bout.mean(&duel_rules, champion.root)?);
    decided.champion = Some(Champion { reference, rules: bout.rules, ..champion });
    decided.n_used.insert(champion.uid, bout.n_first(&duel_rules));
    Ok(())
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
