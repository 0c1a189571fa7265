//! One round of a reign: on how many documents models are measured, and who holds the crown after
//! it. Who duels is in `reign/challenges.rs`.

use super::{
    Champion, Fight, Predecessor, Reign,
    challenges::{Going, Progress},
    throne::{Seat, crowned, enthrone, reference},
};
use crate::{
    AccountId, Block, Digest, Loss, Seniority, Uid, Verdict,
    competition::ScoringRules,
    duel::{Attempts, Budget, Document, DuelRules, Pairing},
    loss,
    score::{Merit, absent},
    weights::softmax,
    wins::win_rate,
};
use std::collections::BTreeMap;

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
    /// Slot that the chain paid most at the seed, for what it has committed to.
    pub paid: Option<Uid>,
    /// Blocks after which the chain pays a new champion more than the one before it
    /// ([`crate::pool::overtaking_blocks`]).
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
    /// The attempts that hiding cost, by uid of whoever did not hide in the round before.
    pub hidden: BTreeMap<Uid, Attempts>,
    /// Documents of the round, from the first on, that decided anything, by uid of every entrant;
    /// however many were measured.
    pub n_used: BTreeMap<Uid, usize>,
    /// Verdicts on the entrants, in order of uid.
    pub verdicts: Vec<Verdict>,
}

impl<'a> Bout<'a> {
    /// The entrants in order of seniority.
    pub(super) fn ranked(&self) -> Vec<Entrant> {
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
    pub(super) fn mean(&self, rules: &DuelRules, root: Digest) -> Result<Loss, Wanted> {
        Ok(loss::mean(self.first(root, self.n_first(rules))?))
    }

    pub(super) fn n_first(&self, rules: &DuelRules) -> usize {
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
    pub(super) fn fight(&self, going: &mut Going, n_most: usize) -> Result<(), Wanted> {
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
    /// Decides a round by rules `duel`, or says what is missing for it.
    ///
    /// Pure: the same knowledge gives the same answer, and losses that are not wanted change
    /// nothing. So a round is decided by asking again with every answer until nothing is missing.
    pub fn round(&self, rules: &ScoringRules, bout: &Bout) -> Result<Decided, Missing> {
        self.round_from(&mut Progress::default(), rules, bout)
    }

    /// The same, on from what the round came to when it was asked last: for whoever asks after
    /// each measurement.
    pub fn round_from(
        &self,
        progress: &mut Progress,
        rules: &ScoringRules,
        bout: &Bout,
    ) -> Result<Decided, Missing> {
        let mut decided = match self.heard(progress, rules, bout)? {
            Some(challenges) => challenges.decided(self, bout)?,
            None => self.unchallenged(rules, bout)?,
        };
        decided.verdicts = verdicts_on(rules, &bout.ranked(), &decided);
        Ok(decided)
    }

    /// What a round cannot be decided without, if there is something: an `Ok` where
    /// [`Reign::round_from`] gives one, which costs more.
    pub fn missing(
        &self,
        progress: &mut Progress,
        rules: &ScoringRules,
        bout: &Bout,
    ) -> Result<(), Missing> {
        match self.heard(progress, rules, bout)? {
            Some(_) => Ok(()),
            None => self.unchallenged(rules, bout).map(drop),
        }
    }

    /// Decides a round in which nobody challenges: whoever sits down on the throne was not there
    /// before, or the rules have changed.
    fn unchallenged(&self, rules: &ScoringRules, bout: &Bout) -> Result<Decided, Missing> {
        let ranked = bout.ranked();
        let ranked = ranked.as_slice();
        let (mut decided, _) = self.undecided(rules, bout);
        let aged_from = self.aged_from.unwrap_or(bout.block);
        let n_documents = bout.documents.len();
        match self.seat(bout, ranked)? {
            Seat::Held(champion) => {
                decided.predecessor = self.predecessor;
                confirm(rules, bout, champion, &mut decided)?;
            }
            Seat::Paid(entrant) => {
                let mean = loss::mean(bout.first(entrant.root, n_documents)?);
                decided.n_used.insert(entrant.uid, n_documents);
                decided.champion = Some(Champion { aged_from, ..crowned(&entrant, mean, bout) });
            }
            Seat::Empty => {
                let heir = enthrone(rules, bout, ranked, &self.line(bout, ranked))?;
                decided.n_used.values_mut().for_each(|n_used| *n_used = n_documents);
                decided.champion = heir.map(|heir| Champion { aged_from, ..heir });
            }
        }
        Ok(decided)
    }

    /// A round before anything of it is decided but what hiding costs, and the budget after that.
    pub(super) fn undecided(&self, rules: &ScoringRules, bout: &Bout) -> (Decided, Budget) {
        let mut decided = Decided {
            champion: None,
            predecessor: None,
            fights: BTreeMap::new(),
            hidden: BTreeMap::new(),
            n_used: bout.entrants.iter().map(|entrant| (entrant.uid, 0)).collect(),
            verdicts: Vec::new(),
        };
        let mut budget = self.budget.clone();
        self.charge_hidden(rules, bout, (&mut budget, &mut decided));
        (decided, budget)
    }

    /// Whether a round finds the throne empty, so that the line fills it on all of its documents.
    pub fn is_vacant(&self, bout: &Bout) -> bool {
        matches!(self.seat(bout, &bout.ranked()), Ok(Seat::Empty))
    }

    /// Lets whoever begins to hide pay for it, as if it had begun a duel: who looks at the text
    /// first and shows itself on good documents alone tries again and again.
    ///
    /// Whoever goes on to hide pays nothing more: it takes in no documents of the round in which it
    /// comes back ([`Reign::turns`]), so that it did not choose any.
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
        let pays = |hidden: &&Hidden| !is_champion(hidden) && !self.hidden.contains(&hidden.hotkey);
        for hidden in bout.hidden.iter().filter(pays) {
            let attempts = budget.spend(&duel_rules, hidden.coldkey, bout.block);
            decided.hidden.insert(hidden.uid, attempts);
        }
    }
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
