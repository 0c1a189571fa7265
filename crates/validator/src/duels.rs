//! Rule `duel` in a round: whose models fight for the crown, and on how many documents each of them
//! has to be measured.

use crate::{
    book::{Book, Entry},
    ports::{Contest, Drawn},
    round::{self, Known, Measured, Need, Pause},
    state::Found,
    turn::{Told, Turn},
};
use protocol::{
    AccountId, Block, Digest, Loss, Outcome,
    duel::{Bout, DuelRules, Entrant, Hidden, Missing, Progress, Reign, Wanted},
    loss::of_sequences,
    pool,
    record::Skipped,
    unigram::no_better_than_guessing,
};
use std::collections::BTreeMap;

/// The duels of a round that have begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The reign before the round.
    reign: Reign,
    /// How far its duels have come on from there.
    progress: Progress,
    /// The documents that a model can be measured on, in order.
    documents: Vec<Digest>,
}

impl Begun {
    fn new(reign: Reign, text: &Drawn) -> Self {
        // One document is one sequence: more could never be measured.
        let documents = text.documents.iter().take(text.n_sequences());
        let documents = documents.map(|document| document.sha256).collect();
        Self { reign, progress: Progress::default(), documents }
    }
}

/// The models of a round by the part that they have in its duels.
#[derive(Debug)]
pub(crate) struct Parties {
    entrants: Vec<Entrant>,
    /// In order of uid.
    hidden: Vec<Hidden>,
    skipped: Vec<AccountId>,
}

impl Parties {
    fn of(measured: &[Measured], reign: &Reign) -> Self {
        let (mut entrants, mut hidden) = (Vec::new(), Vec::new());
        for Measured { entry, tensor_root, outcome, .. } in measured {
            let (uid, hotkey, coldkey) =
                (entry.stored.uid, entry.stored.hotkey, entry.stored.coldkey);
            match (outcome, *tensor_root) {
                (Ok(Outcome::Evaluated(_)), Some(root)) => {
                    let seniority = entry.committed_at();
                    entrants.push(Entrant { uid, hotkey, coldkey, seniority, root });
                }
                (Ok(Outcome::Disqualified(reason)), root) if reason.code.is_of_owner() => {
                    hidden.push(Hidden { uid, hotkey, coldkey, root });
                }
                _ => {}
            }
        }
        hidden.sort_by_key(|hidden| hidden.uid);
        let skipped = skipped(reign, measured).into_iter().map(|skipped| skipped.hotkey).collect();
        Self { entrants, hidden, skipped }
    }

    fn bout<'a>(
        &'a self,
        contest: &Contest,
        seed: Block,
        book: &Book,
        shown: Shown<'a>,
    ) -> Bout<'a> {
        Bout {
            block: seed,
            rules: contest.rules,
            paid: book.paid,
            settling_blocks: settling_blocks(contest, book),
            entrants: &self.entrants,
            hidden: &self.hidden,
            skipped: &self.skipped,
            documents: shown.documents,
            losses: shown.losses,
        }
    }
}

/// What was measured for duels so far.
#[derive(Clone, Copy)]
struct Shown<'a> {
    /// The documents of the round, in order.
    documents: &'a [Digest],
    /// By tensor root, on the first of them.
    losses: &'a BTreeMap<Digest, &'a [Loss]>,
}

/// Blocks after which the chain pays a new champion more than the one before it.
fn settling_blocks(contest: &Contest, book: &Book) -> u64 {
    pool::overtaking_blocks(&contest.competition, book.moment.settling_blocks)
}

/// The models without an outcome, in the order in which they are given.
///
/// Where the key that holds the crown is among them with something else that it has committed to,
/// it counts as gone.
pub(crate) fn skipped(reign: &Reign, measured: &[Measured]) -> Vec<Skipped> {
    let holder = reign.champion().map(|champion| champion.hotkey);
    let of = |model: &Measured| {
        let (uid, hotkey) = (model.entry.stored.uid, model.entry.stored.hotkey);
        let counts = match &model.outcome {
            Ok(_) => false,
            Err(round::Skipped::Champion(_)) => true,
            Err(round::Skipped::Unheard(_)) => false,
            Err(_) => Some(hotkey) != holder,
        };
        counts.then_some(Skipped { uid, hotkey })
    };
    measured.iter().filter_map(of).collect()
}

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

    /// Whether this very commitment is to the model that holds the crown, as it was found by these
    /// rules or earlier ones.
    pub(crate) fn is_champion(&self, entry: &Entry) -> bool {
        let Some(champion) = self.state.reign.champion().filter(|_| self.duels().is_some()) else {
            return false;
        };
        let verdict = entry.last_verdict(self.state);
        let is_its = |found: &Found| match found {
            Found::Admitted(admission) => admission.tensor_root == champion.root,
            Found::Refused(_) | Found::Hopeless(_) => false,
        };
        champion.hotkey == entry.stored.hotkey
            && verdict.is_some_and(|verdict| is_its(&verdict.found))
    }

    /// Whether the chain pays another slot for so long that it may take the crown from this entry,
    /// which holds it.
    pub(crate) fn may_yield(&self, entry: &Entry) -> bool {
        let Some(book) = &self.turn.book else { return false };
        let is_other = book.paid.is_some_and(|uid| uid != entry.stored.uid);
        let settling_blocks = settling_blocks(self.contest, book);
        is_other && self.state.reign.is_settled(self.seed.block, settling_blocks)
    }

    /// Whether the throne is empty, so that the line of these models fills it.
    pub(crate) fn is_vacant(&self, book: &Book, measured: &[Measured]) -> bool {
        let reign = &self.state.reign;
        let parties = Parties::of(measured, reign);
        let shown = Shown { documents: &[], losses: &BTreeMap::new() };
        reign.is_vacant(&parties.bout(self.contest, self.seed.block, book, shown))
    }

    /// Keeps whoever does no better than guessing from an empty throne.
    ///
    /// There, and there alone, all are measured on all of the text: on a part of it luck may be
    /// worse than guessing, and each would be asked about another part.
    pub(crate) fn bar(&self, measured: &mut [Measured]) {
        let Some(text) = &self.turn.text else { return };
        let n_sequences = text.n_sequences();
        for model in measured.iter_mut().filter(|model| model.is_sound()) {
            let losses = model.tensor_root.and_then(|root| self.turn.measured.get(&root));
            if let Some(Ok(losses)) = losses
                && losses.of_sequences.len() >= n_sequences
                && let mean = of_sequences(&losses.of_sequences)
                && let Some(reason) = no_better_than_guessing(mean, text.guessing)
            {
                model.outcome = Ok(Outcome::Disqualified(reason));
            }
        }
    }

    /// What is known of a model that passed every check at rest: its losses on the documents that
    /// it was measured on, which may be none, or the rule that it breaks.
    pub(crate) fn so_far(&self, root: &Digest) -> Outcome {
        match self.turn.measured.get(root) {
            None => Outcome::Evaluated(Vec::new()),
            Some(Err(reason)) => Outcome::Disqualified(reason.clone()),
            Some(Ok(losses)) => Outcome::Evaluated(losses.of_batches.clone()),
        }
    }
}

/// Lets the sound models fight as far as they were measured; the losses that are missing for the
/// end of the round, if some are. With other rules nobody fights.
///
/// The turn keeps how far the duels have come, and the reign that they began with: as often as a
/// round asks for more losses, nothing is looked at twice, and nobody else waits for it.
pub(crate) fn fight(
    contest: &Contest,
    seed: Block,
    turn: &mut Turn,
    told: &mut Told,
    reign: impl FnOnce() -> Reign,
) -> Result<(), Pause> {
    let rules = &contest.competition.scoring;
    if rules.duel_rules().is_none() || told.is_fought {
        return Ok(());
    }
    let Turn { book, text, duels, .. } = turn;
    let (book, text) = (book.as_ref().ok_or(Need::Book)?, text.as_ref().ok_or(Need::Text)?);
    let Begun { reign, progress, documents } =
        duels.get_or_insert_with(|| Begun::new(reign(), text));
    let documents = documents.as_slice();
    let Told { models: measured, parties, is_fought, .. } = told;
    // Losses change nothing of who is who: where they do, the models are told anew.
    let parties = parties.get_or_insert_with(|| Parties::of(measured, reign));
    let mut losses: BTreeMap<Digest, &[Loss]> = BTreeMap::new();
    for model in measured.iter() {
        if let (Some(root), Ok(Outcome::Evaluated(known))) = (model.tensor_root, &model.outcome) {
            losses.insert(root, known);
        }
    }
    let bout = parties.bout(contest, seed, book, Shown { documents, losses: &losses });
    let Wanted { root, n_documents } = match reign.missing(progress, rules, &bout) {
        Ok(()) => {
            *is_fought = true;
            return Ok(());
        }
        Err(Missing::Losses(wanted)) => wanted,
        Err(Missing::Champion(hotkey)) => {
            let error = format!("the model of {hotkey}, which holds the crown, cannot be had");
            return Err(Pause::GiveUp { spared: None, error });
        }
    };
    let n_known = losses.get(&root).map_or(0, |known| known.len());
    let is_it = |model: &&Measured| model.tensor_root == Some(root) && model.is_sound();
    match measured.iter().find(is_it) {
        Some(model) if (n_known + 1..=documents.len()).contains(&n_documents) => {
            let entry = model.entry.clone();
            Err(Need::Losses { entry, n_sequences: n_documents }.into())
        }
        _ => {
            let error = format!(
                "the duels want {n_documents} documents and the text of the round has {}",
                documents.len()
            );
            Err(Pause::GiveUp { spared: None, error })
        }
    }
}
