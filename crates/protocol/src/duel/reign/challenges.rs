//! The challenges of a round: planned once, and heard as far as losses are known.

use super::{
    Champion, Fight, Kept, Predecessor, Reign,
    round::{Bout, Decided, Entrant, Hidden, Missing, Wanted},
    throne::{Seat, crowned},
    turns::{Ranks, Turn},
};
use crate::{
    AccountId, Block, Digest, Uid,
    competition::ScoringRules,
    duel::{Budget, Duel, DuelRules, Evidence, Pairing, Terms, Verdict},
};
use std::collections::{BTreeMap, BTreeSet};

/// How far the duels of one round have come while it is measured, so that no document is taken in
/// twice; empty at its start, and of no other round.
///
/// Nothing follows from it: without it the round is decided alike.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    challenges: Option<Challenges>,
    /// The duels that go on in the round, by the challenger's root.
    going: BTreeMap<Digest, Going>,
}

/// A duel that goes on in a round.
#[derive(Clone, Debug)]
pub(super) struct Going {
    /// As the round found it.
    before: Fight,
    pub(super) duel: Duel,
    /// Documents of the round that it has taken in, from the first on.
    pub(super) n_used: usize,
}

/// Who challenges the champion, as it follows from all but losses.
#[derive(Clone, Debug)]
struct Challenges {
    asked: Asked,
    rules: DuelRules,
    champion: Champion,
    /// All challengers, seniors first.
    challengers: Vec<Challenger>,
    /// Of them, from the first on, those whose duels want no more documents of the round.
    n_heard: usize,
    /// Whether the last of those takes the crown.
    is_over: bool,
    /// The round before any of them is heard.
    undecided: Decided,
}

/// All that a round is asked with but documents and losses.
#[derive(Clone, Debug)]
struct Asked {
    scoring: ScoringRules,
    block: Block,
    rules: Digest,
    paid: Option<Uid>,
    settling_blocks: u64,
    entrants: Vec<Entrant>,
    hidden: Vec<Hidden>,
    skipped: Vec<AccountId>,
    n_documents: usize,
}

/// A challenger and its duel.
#[derive(Clone, Debug)]
struct Challenger {
    entrant: Entrant,
    /// Whether its duel is one that the reign knows.
    is_known: bool,
    /// The duel that begins in this round.
    begun: Option<Kept>,
    /// Documents of the round that its duel may take in; none where it is decided, or waits.
    n_most: usize,
}

/// What came of the challenges of a round once nothing is missing.
pub(super) struct Heard<'a> {
    challenges: &'a Challenges,
    going: &'a BTreeMap<Digest, Going>,
}

impl Asked {
    fn of(scoring: &ScoringRules, bout: &Bout) -> Self {
        Self {
            scoring: scoring.clone(),
            block: bout.block,
            rules: bout.rules,
            paid: bout.paid,
            settling_blocks: bout.settling_blocks,
            entrants: bout.entrants.to_vec(),
            hidden: bout.hidden.to_vec(),
            skipped: bout.skipped.to_vec(),
            n_documents: bout.documents.len(),
        }
    }

    fn is_of(&self, scoring: &ScoringRules, bout: &Bout) -> bool {
        // Taken apart, so that no field is forgotten.
        let Self {
            scoring: own,
            block,
            rules,
            paid,
            settling_blocks,
            entrants,
            hidden,
            skipped,
            n_documents,
        } = self;
        own == scoring
            && (*block, *rules, *paid) == (bout.block, bout.rules, bout.paid)
            && *settling_blocks == bout.settling_blocks
            && *entrants == bout.entrants
            && *hidden == bout.hidden
            && *skipped == bout.skipped
            && *n_documents == bout.documents.len()
    }
}

impl Challenger {
    /// Its duel as the round found it, or as it begins.
    fn kept<'a>(&'a self, reign: &'a Reign) -> Option<&'a Kept> {
        match &self.begun {
            Some(begun) => Some(begun),
            None => reign.fights.get(&self.entrant.root).filter(|_| self.is_known),
        }
    }
}

impl Reign {
    /// Hears everybody who challenges the champion in a round; `None` where nobody does, because
    /// nobody is champion by its rules before it.
    pub(super) fn heard<'a>(
        &self,
        progress: &'a mut Progress,
        rules: &ScoringRules,
        bout: &Bout,
    ) -> Result<Option<Heard<'a>>, Missing> {
        let Progress { challenges, going } = progress;
        // An entrant that turned out to break a rule leaves others with other terms.
        if !challenges.as_ref().is_some_and(|known| known.asked.is_of(rules, bout)) {
            *challenges = self.challenges(rules, bout)?;
        }
        let Some(challenges) = challenges else { return Ok(None) };
        challenges.hear(self, bout, going)?;
        Ok(Some(Heard { challenges, going }))
    }

    fn challenges(
        &self,
        scoring: &ScoringRules,
        bout: &Bout,
    ) -> Result<Option<Challenges>, Missing> {
        let ranked = bout.ranked();
        let champion = match self.seat(bout, &ranked)? {
            Seat::Held(champion) if champion.rules == bout.rules => champion,
            Seat::Held(_) | Seat::Paid(_) | Seat::Empty => return Ok(None),
        };
        let (mut undecided, mut budget) = self.undecided(scoring, bout);
        undecided.champion = Some(champion);
        undecided.predecessor = self.predecessor;
        let ranks = Ranks { champion: &champion, ranked: &ranked };
        let turns = self.turns(scoring, bout, ranks, &budget);
        // At most one begins of each coldkey: what one costs changes no other.
        let challenger = |Turn { challenger, kept, n_most }: Turn| {
            let mut begin = || {
                let pair = (&champion, challenger);
                let fight = begun_by(scoring, bout.block, pair, &mut budget);
                Kept { fight, documents: BTreeSet::new() }
            };
            let begun = (kept.is_none() && n_most > 0).then(&mut begin);
            Challenger { entrant: *challenger, is_known: kept.is_some(), begun, n_most }
        };
        Ok(Some(Challenges {
            challengers: turns.into_iter().map(challenger).collect(),
            asked: Asked::of(scoring, bout),
            rules: scoring.duel_rules().unwrap_or_default(),
            champion,
            n_heard: 0,
            is_over: false,
            undecided,
        }))
    }
}

impl Challenges {
    /// Lets everybody whose turn it is challenge the champion, in order of seniority, until one
    /// takes the crown: the documents that made a champion must not judge its rivals.
    fn hear(
        &mut self,
        reign: &Reign,
        bout: &Bout,
        going: &mut BTreeMap<Digest, Going>,
    ) -> Result<(), Wanted> {
        while !self.is_over
            && let Some(challenger) = self.challengers.get(self.n_heard)
        {
            if let Some(going) = goes_on(going, challenger, reign, self.rules) {
                bout.fight(going, challenger.n_most)?;
                if going.duel.verdict() == Some(Verdict::Dethroned) {
                    // What gains over it will be fractions of.
                    bout.mean(&self.rules, challenger.entrant.root)?;
                    self.is_over = true;
                }
            }
            self.n_heard += 1;
        }
        Ok(())
    }
}

impl Heard<'_> {
    /// What the challenges come to.
    pub(super) fn decided(&self, reign: &Reign, bout: &Bout) -> Result<Decided, Wanted> {
        let Challenges { challengers, champion, rules, .. } = self.challenges;
        let mut decided = self.challenges.undecided.clone();
        let mut n_longest = 0;
        for challenger in challengers.iter().take(self.challenges.n_heard) {
            let Challenger { entrant, n_most, .. } = challenger;
            let Some(kept) = challenger.kept(reign) else { continue };
            // Of the key that stands for the model now.
            let fight = Fight { hotkey: entrant.hotkey, ..kept.fight.clone() };
            if *n_most == 0 {
                // It was decided before, or waits.
                decided.fights.insert(entrant.uid, fight);
                continue;
            }
            let Some(Going { duel, n_used, .. }) = self.going.get(&entrant.root) else { continue };
            n_longest = n_longest.max(*n_used);
            decided.n_used.insert(entrant.uid, *n_used);
            let (evidence, verdict) = (duel.evidence().clone(), duel.verdict());
            decided.fights.insert(entrant.uid, Fight { evidence, verdict, ..fight });
            if verdict == Some(Verdict::Dethroned) {
                let reference = bout.mean(rules, entrant.root)?;
                decided.champion = Some(crowned(entrant, reference, bout));
                let Champion { hotkey, root, .. } = *champion;
                decided.predecessor = Some(Predecessor { hotkey, root });
                let n_used = decided.n_used.entry(entrant.uid).or_default();
                *n_used = bout.n_first(rules).max(*n_used);
            }
        }
        decided.n_used.insert(champion.uid, n_longest);
        Ok(decided)
    }
}

/// The duel of a challenger as far as it has come in the round; `None` where it takes in nothing,
/// or the rules are out of range and allow none.
fn goes_on<'a>(
    all: &'a mut BTreeMap<Digest, Going>,
    challenger: &Challenger,
    reign: &Reign,
    rules: DuelRules,
) -> Option<&'a mut Going> {
    let kept = challenger.kept(reign).filter(|_| challenger.n_most > 0)?;
    let root = kept.fight.challenger;
    // Where others came or went, it may take in less than it has.
    let is_it = |going: &Going| {
        let is_same = going.before == kept.fight && *going.duel.rules() == rules;
        is_same && going.n_used <= challenger.n_most
    };
    if !all.get(&root).is_some_and(is_it) {
        all.remove(&root);
        let going = Going { before: kept.fight.clone(), duel: kept.duel(rules)?, n_used: 0 };
        all.insert(root, going);
    }
    all.get_mut(&root)
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
        epsilon: rules.epsilon.at(block, champion.aged_from),
        alpha: attempts.alpha(&duel_rules),
        n_documents_max: duel_rules.n_documents_max,
    };
    Fight {
        challenger: challenger.root,
        hotkey: challenger.hotkey,
        terms,
        began: block,
        until: Block(block.0.saturating_add(duel_rules.window_blocks)),
        attempts,
        evidence: Evidence::none(duel_rules.n_bets),
        verdict: None,
    }
}
