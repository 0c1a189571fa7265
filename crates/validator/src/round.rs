//! A round as a function of what is known: its conclusion, or the one thing that is missing for it.
//!
//! Nothing here asks the world. Whoever drives a round has the missing thing brought, notes it in
//! the [`Turn`] or in the journal, and asks again; so a round that was killed goes on where it was,
//! and a replay or a simulation is the same function over other knowledge. It reads like
//! section 2.3 of the paper.

use crate::{
    book::{Book, Entry},
    ports::{Contest, Drawn, Sight},
    state::{ContestState, Found},
    turn::{SoFar, Told, Turn},
    unheard::Bytes,
};
use chain::Head;
use protocol::{
    AccountId, Digest, Outcome, Reason, ReasonCode, Uid,
    loss::of_sequences,
    owner::{Claim, duplicates},
    pool::{self, Entrant},
    unigram::no_better_than_guessing,
};
use std::collections::BTreeSet;

/// Rounds in a row that are given up because the model of one miner with weight cannot be had.
///
/// Without a limit, a miner with weight could keep it for ever by making its next model hard to
/// have for us; after it the model counts as absent.
const N_SPARED_MAX: u64 = 3;

/// Models that are asked for bytes to tell whether the hub gives any.
const N_WITNESSES_MAX: usize = 3;

/// A hub that did not give what was asked for, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It said no.
    Refused(String),
    /// It said nothing, or something else.
    Unanswered(String),
    /// The trouble is our own.
    Own(String),
}

/// What kept a model from being had or measured in this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// Trouble.
    Trouble(Refusal),
    /// It breaks a rule as far as its headers tell.
    Hopeless(Reason),
    /// It has to wait for a later round, and why.
    Postponed(String),
}

/// The one thing that is missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Need {
    /// What stands on the chain.
    Book,
    /// A look at each of these repos.
    Looks(Vec<Entry>),
    /// Whether the hub answers.
    IsUp,
    /// Whether the hub gives true bytes of this model.
    Delivery(Entry),
    /// The text of the round.
    Text,
    /// What a model is: fetched and inspected.
    Model(Entry),
    /// The losses of a model on the first sequences of the text.
    Losses {
        /// Whose.
        entry: Entry,
        /// How many sequences.
        n_sequences: usize,
    },
}

/// Why a round does not conclude.
#[derive(Debug)]
pub(crate) enum Pause {
    /// Something is missing.
    Need(Box<Need>),
    /// Our own trouble concerns a model that has weight: without it somebody else would be crowned
    /// for trouble that is ours.
    GiveUp {
        /// Whose model, where the round counts against the limit.
        spared: Option<AccountId>,
        /// Why.
        error: String,
    },
}

impl From<Need> for Pause {
    fn from(need: Need) -> Self {
        Self::Need(Box::new(need))
    }
}

/// A model of the pool with what came of it; no outcome where our own trouble prevented one.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) entry: Entry,
    /// Root of the files, where they were listed.
    pub(crate) file_root: Option<Digest>,
    pub(crate) tensor_root: Option<Digest>,
    pub(crate) outcome: Result<Outcome, Skipped>,
}

impl Measured {
    /// Whether it takes part in the decision.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self.outcome, Ok(Outcome::Evaluated(_)))
    }
}

/// Why a model has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// Trouble of ours.
    Trouble(String),
    /// It has to wait for its turn.
    Postponed(String),
    /// Trouble of ours with the model that holds the crown, which the chain may have given away.
    Champion(String),
    /// It does not count yet: two thirds of the stake do not have its bytes.
    Unheard(Bytes),
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trouble(why) | Self::Postponed(why) | Self::Champion(why) => f.write_str(why),
            Self::Unheard(bytes) => bytes.fmt(f),
        }
    }
}

/// All that a round depends on.
pub(crate) struct Known<'a> {
    pub(crate) contest: &'a Contest,
    pub(crate) state: &'a ContestState,
    pub(crate) seed: Head,
    pub(crate) turn: &'a Turn,
}

/// The outcomes of all models of the round, in order of uid, or what is missing.
///
/// With rule `duel`, as far as their models were measured: how far that is to be, their duels tell
/// ([`crate::duels::fight`]).
pub(crate) fn round(known: &Known<'_>) -> Result<Told, Pause> {
    // 2.3: which models there are.
    let book = known.turn.book.as_ref().ok_or(Need::Book)?;
    let (rules, seed) = (&known.contest.competition.evaluation, known.seed.block);
    let entrant = |entry: &Entry| {
        let entrant = entry.entrant(known.state, rules, seed);
        Entrant { is_wanted: entrant.is_wanted || known.is_in_duel(entry), ..entrant }
    };
    let entrants: Vec<Entrant> = book.entries.iter().map(entrant).collect();
    let pool = pool::pool(rules, book.moment, &entrants);
    let mut measured = Vec::with_capacity(pool.len());

    // 2.3.1 and 2.3.2: fresh text, the same for everybody, and the losses of every model on it. Of
    // nobody, too: a round in which nobody is left has a record like any other.
    known.measure_all(book, &pool, &mut measured)?;

    // Where nobody who is paid can be measured, the crown goes to whoever came close before it
    // goes to a newcomer that nobody else stood up to.
    let mut awaited: BTreeSet<Uid> = pool::paid(rules, &entrants).into_iter().collect();
    let is_alone = if known.duels().is_some() {
        // A champion that keeps its crown is enough; one that does not own its model is none.
        disown(known, &mut measured);
        known.is_vacant(book, &measured)
    } else {
        !awaited.is_empty() && !has_any(&measured, &awaited)
    };
    if is_alone {
        let reserve = known.reserve(book);
        known.measure_all(book, &reserve, &mut measured)?;
        known.bar(&mut measured);
        awaited.extend(reserve);
        if !has_any(&measured, &awaited) {
            let all = book.entries.iter().map(|entry| entry.stored.uid).collect();
            known.measure_all(book, &all, &mut measured)?;
            known.bar(&mut measured);
        }
    }
    if is_alone || known.duels().is_none() {
        disown(known, &mut measured);
    }
    measured.sort_by_key(|model| model.entry.stored.uid);
    Ok(Told { models: measured, is_vacant: is_alone, parties: None, is_fought: false })
}

/// Whether one of the models has losses and is of these slots.
fn has_any(measured: &[Measured], uids: &BTreeSet<Uid>) -> bool {
    measured.iter().any(|model| uids.contains(&model.entry.stored.uid) && model.is_sound())
}

impl Known<'_> {
    /// Measures those of the models that were not measured yet, one after the other: a disk that
    /// has room for one model besides those with weight is enough.
    fn measure_all(
        &self,
        book: &Book,
        uids: &BTreeSet<Uid>,
        measured: &mut Vec<Measured>,
    ) -> Result<(), Pause> {
        let is_done = |uid: Uid| measured.iter().any(|model| model.entry.stored.uid == uid);
        let is_left =
            |entry: &&Entry| uids.contains(&entry.stored.uid) && !is_done(entry.stored.uid);
        let mut left: Vec<&Entry> = book.entries.iter().filter(is_left).collect();
        // All looks first: what is published now shall not depend on how long measuring takes.
        let is_unseen = |entry: &&Entry| {
            !self.turn.sights.contains_key(&entry.stored.hotkey) && !self.waits(entry)
        };
        let all = left.iter().copied().chain(book.waiting());
        let unseen: Vec<Entry> = all.filter(is_unseen).cloned().collect();
        if !unseen.is_empty() {
            return Err(Need::Looks(unseen).into());
        }
        // Those with weight first: without them the round is worth nothing. Then the oldest, so
        // that a copy comes after its original. Those whose headers spoke against them come last,
        // so that they keep nobody waiting.
        left.sort_by_cached_key(|entry| {
            let verdict = entry.verdict(self.state, &self.contest.rules);
            let is_hopeless = verdict.is_some_and(|v| matches!(v.found, Found::Hopeless(_)));
            let has_weight = self.state.has_weight(&entry.miner());
            let seniority = entry.seniority(self.state, self.seed.block);
            (is_hopeless, !has_weight, seniority, entry.stored.uid)
        });
        let text = self.turn.text.as_ref().ok_or(Need::Text)?;
        for entry in left {
            let model = self.measure(entry, measured, text)?;
            measured.push(model);
        }
        Ok(())
    }

    /// The entries of those who came close in the last round.
    fn reserve(&self, book: &Book) -> BTreeSet<Uid> {
        let came_close = |entry: &&Entry| self.state.reserve.contains(&entry.stored.hotkey);
        book.entries.iter().filter(came_close).map(|entry| entry.stored.uid).collect()
    }

    /// Whether our own trouble came up so often that this commitment waits, unless it has weight.
    pub(crate) fn waits(&self, entry: &Entry) -> bool {
        let skips = entry.skips(self.state);
        skips.is_some_and(|skips| self.state.n_rounds + 1 < skips.again)
            && !self.state.has_weight(&entry.miner())
    }

    /// What comes of one model, or what is missing to tell.
    fn measure(&self, entry: &Entry, before: &[Measured], text: &Drawn) -> Result<Measured, Pause> {
        let model = |roots: (Option<Digest>, Option<Digest>), outcome| {
            let (file_root, tensor_root) = roots;
            Measured { entry: entry.clone(), file_root, tensor_root, outcome }
        };
        let disqualified = |reason: &Reason| Ok(Outcome::Disqualified(reason.clone()));
        if self.waits(entry) {
            let error = "it could not be measured again and again, and waits".to_owned();
            return Ok(model((None, None), Err(Skipped::Postponed(error))));
        }
        let file_root = match self.turn.sights.get(&entry.stored.hotkey) {
            None => return Err(Need::Looks(vec![entry.clone()]).into()),
            Some(Ok(Sight::Absent(reason) | Sight::Refused(reason))) => {
                return Ok(model((None, None), disqualified(reason)));
            }
            Some(Err(refusal)) => return Ok(model((None, None), self.unseen(entry, refusal)?)),
            Some(Ok(Sight::Published { file_root, .. })) => Some(*file_root),
        };
        if let Some(hindrance) = self.turn.hindered.get(&entry.stored.hotkey) {
            return Ok(model((file_root, None), self.hindered(entry, hindrance)?));
        }
        let verdict = entry.verdict(self.state, &self.contest.rules);
        let admission = match verdict.map(|verdict| &verdict.found) {
            Some(Found::Admitted(admission)) => admission,
            Some(Found::Refused(reason)) => {
                return Ok(model((file_root, None), disqualified(reason)));
            }
            None | Some(Found::Hopeless(_)) => return Err(Need::Model(entry.clone()).into()),
        };
        let roots = (file_root, Some(admission.tensor_root));
        if self.duels().is_some() {
            // Who is measured on what, the duels tell once it is known whose each model is.
            return Ok(model(roots, Ok(self.so_far(&admission.tensor_root))));
        }
        // A copy of what came before it is not measured: it counts for nobody (see `disown`).
        let is_copy = before.iter().any(|model| model.tensor_root == roots.1);
        if is_copy {
            let detail = "the same model as one that was committed to before";
            return Ok(model(roots, disqualified(&Reason::new(ReasonCode::Duplicate, detail))));
        }
        match self.turn.measured.get(&admission.tensor_root) {
            None => {
                let n_sequences = text.n_sequences();
                Err(Need::Losses { entry: entry.clone(), n_sequences }.into())
            }
            Some(Err(reason)) => Ok(model(roots, disqualified(reason))),
            Some(Ok(losses)) => Ok(model(roots, Ok(judge(losses, text)))),
        }
    }

    /// What comes of a model that the hub did not list.
    fn unseen(&self, entry: &Entry, refusal: &Refusal) -> Result<Result<Outcome, Skipped>, Pause> {
        let error = match refusal {
            Refusal::Own(error) => return self.own(entry, error),
            Refusal::Refused(error) | Refusal::Unanswered(error) => error,
        };
        if self.hub_lists()? {
            return Ok(Ok(not_published(error)));
        }
        self.outage(entry, error)
    }

    /// What comes of a model that could not be had or measured.
    fn hindered(
        &self,
        entry: &Entry,
        hindrance: &Hindrance,
    ) -> Result<Result<Outcome, Skipped>, Pause> {
        match hindrance {
            Hindrance::Hopeless(reason) => Ok(Ok(Outcome::Disqualified(reason.clone()))),
            Hindrance::Postponed(why) => Ok(Err(Skipped::Postponed(why.clone()))),
            Hindrance::Trouble(Refusal::Own(error)) => self.own(entry, error),
            // The hub listed it just now, and says no to its bytes.
            Hindrance::Trouble(Refusal::Refused(error)) if self.hub_lists()? => {
                Ok(Ok(not_published(error)))
            }
            Hindrance::Trouble(Refusal::Refused(error)) => self.outage(entry, error),
            Hindrance::Trouble(Refusal::Unanswered(error)) => match self.hub_delivers(entry)? {
                Some(true) => Ok(Ok(not_published(error))),
                Some(false) => self.outage(entry, error),
                None => self.own(entry, error),
            },
        }
    }

    /// Whether the hub lists what others published.
    pub(crate) fn hub_lists(&self) -> Result<bool, Pause> {
        let is_listed = |sight| matches!(sight, &Ok(Sight::Published { .. }));
        if self.turn.sights.values().any(is_listed) {
            return Ok(true);
        }
        Ok(self.turn.is_up.ok_or(Need::IsUp)?)
    }

    /// Whether the hub gives the true bytes of others; nothing where there is nobody to ask for.
    pub(crate) fn hub_delivers(&self, entry: &Entry) -> Result<Option<bool>, Pause> {
        let Some(book) = &self.turn.book else { return Ok(None) };
        let is_other = |other: &&Entry| {
            let hotkey = &other.stored.hotkey;
            *hotkey != entry.stored.hotkey
                && matches!(self.turn.sights.get(hotkey), Some(Ok(Sight::Published { .. })))
                && !self.turn.hindered.contains_key(hotkey)
        };
        let others: Vec<&Entry> = book.entries.iter().filter(is_other).collect();
        let found = |other: &Entry| {
            other.verdict(self.state, &self.contest.rules).map(|verdict| &verdict.found)
        };
        let is_witness = |other: &&&Entry| matches!(found(other), Some(Found::Admitted(_)));
        let witnesses: Vec<&&Entry> = others.iter().filter(is_witness).collect();
        // Whoever was not had yet may become a witness.
        if witnesses.is_empty()
            && let Some(other) = others.iter().find(|other| found(other).is_none())
        {
            return Err(Need::Model((*other).clone()).into());
        }
        let mut answer = None;
        for witness in witnesses.into_iter().take(N_WITNESSES_MAX) {
            match self.turn.deliveries.get(&witness.stored.hotkey) {
                None => return Err(Need::Delivery((*witness).clone()).into()),
                Some(true) => return Ok(Some(true)),
                Some(false) => answer = Some(false),
            }
        }
        Ok(answer)
    }

    /// The hub is out: nobody loses anything, however long it lasts.
    fn outage(&self, entry: &Entry, error: &str) -> Result<Result<Outcome, Skipped>, Pause> {
        if self.state.has_weight(&entry.miner()) {
            let error = format!("the hub is out: {error}");
            return Err(Pause::GiveUp { spared: None, error });
        }
        Ok(Err(Skipped::Postponed(error.to_owned())))
    }

    /// Trouble of ours: a model with weight gives the round up, for a few rounds in a row.
    fn own(&self, entry: &Entry, error: &str) -> Result<Result<Outcome, Skipped>, Pause> {
        let (hotkey, uid) = (entry.stored.hotkey, entry.stored.uid);
        // Nobody's trouble but its own empties a throne, however long it lasts.
        if self.is_champion(entry) {
            if self.may_yield(entry) {
                // If whom the chain pays can be had, it sits there, or else the round is given up:
                // the duels tell.
                return Ok(Err(Skipped::Champion(error.to_owned())));
            }
            let error = format!("the model of uid {uid}, which holds the crown: {error}");
            return Err(Pause::GiveUp { spared: None, error });
        }
        let n_spared = self.state.spared.get(&hotkey).copied().unwrap_or(0);
        if self.state.has_weight(&entry.miner()) && n_spared < N_SPARED_MAX {
            let error = format!("the model of uid {uid}, which has weight, cannot be had: {error}");
            return Err(Pause::GiveUp { spared: Some(hotkey), error });
        }
        Ok(Err(Skipped::Trouble(error.to_owned())))
    }
}

fn not_published(error: &str) -> Outcome {
    Outcome::Disqualified(Reason::new(ReasonCode::NotPublished, error))
}

/// The loss of each batch, or the bar that the model does not pass.
fn judge(losses: &SoFar, text: &Drawn) -> Outcome {
    match no_better_than_guessing(of_sequences(&losses.of_sequences), text.guessing) {
        Some(reason) => Outcome::Disqualified(reason),
        None => Outcome::Evaluated(losses.of_batches.clone()),
    }
}

/// Finds the models that are not their committers'.
fn disown(known: &Known<'_>, measured: &mut [Measured]) {
    let seed = known.seed.block;
    let claim = |model: &Measured| {
        let seniority = model.entry.seniority(known.state, seed);
        // Of a model that could not be had the listing tells at least exact copies.
        let root = model.tensor_root.or(model.file_root)?;
        Some(Claim { uid: model.entry.stored.uid, seniority, root })
    };
    let by_tensors: Vec<Claim> =
        measured.iter().filter(|model| model.tensor_root.is_some()).filter_map(claim).collect();
    let by_files: Vec<Claim> = measured
        .iter()
        .filter_map(|model| Some(Claim { root: model.file_root?, ..claim(model)? }))
        .collect();
    let mut reasons = duplicates(&by_files);
    reasons.extend(duplicates(&by_tensors));
    for model in measured {
        let Some(reason) = reasons.remove(&model.entry.stored.uid) else { continue };
        match &model.outcome {
            Err(_) => {}
            Ok(Outcome::Disqualified(own)) if own.code != ReasonCode::Duplicate => {}
            Ok(_) => model.outcome = Ok(Outcome::Disqualified(reason)),
        }
    }
}
