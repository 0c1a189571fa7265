//! Brings what a round is missing and notes it: some looks at once, all else one thing at a time.

use crate::{
    Config,
    book::{Book, Entry, Subnet},
    entry,
    event::{Cause, Event, Progress, Stage},
    memory::Memory,
    ours,
    ports::{Admission, Ask, Contest, Had, Ports, Sequence, Terms, Trouble},
    round::{Hindrance, Need},
    state::{ContestState, Found, Verdict},
    turn::Turn,
};
use anyhow::Context as _;
use chain::Head;
use journal::Losses;
use protocol::{
    AccountId, Digest, Reason, ReasonCode, SequenceLoss, Uid, content::TENSOR_ROOT_VERSION,
};
use std::collections::btree_map::Entry as Slot;

/// Largest models of which bytes may be fetched for a round.
const MODELS_PER_ROUND: u64 = 4;
/// Bytes that may be fetched for a round, however small models are.
const FETCHED_BYTES_MIN: u64 = 16 << 30;
/// Models not known yet that a round tries to have, those with weight aside: each costs some
/// requests, whatever comes of it.
const N_NEW_MAX: usize = 64;
/// Repos that are looked at in one step, which ends with the first trouble, too: between two steps
/// it is asked which round is due, and others hear that work goes on.
const LOOKS_MAX: usize = 32;

/// What brings things to one round.
pub(crate) struct Supply<'a> {
    pub(crate) config: Config,
    pub(crate) ports: &'a Ports,
    pub(crate) memory: &'a Memory,
    pub(crate) contest: &'a Contest,
    /// Who judges.
    pub(crate) validator: AccountId,
    /// Room that models which are kept leave for others.
    pub(crate) room_bytes: u64,
    pub(crate) seed: Head,
}

impl Supply<'_> {
    /// Brings one thing; an `Err` is trouble that concerns the whole round, which is tried again.
    pub(crate) fn bring(
        mut self,
        need: Need,
        turn: &mut Turn,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<()> {
        let told = turn.told.take();
        let stage = match &need {
            Need::Book => Stage::Book,
            Need::Looks(_) | Need::IsUp | Need::Delivery(_) => Stage::Look,
            Need::Text => Stage::Text,
            Need::Model(entry) => {
                let hotkey = entry.stored.hotkey;
                let is_it = |waiting: &Entry| waiting.stored.hotkey == hotkey;
                let waits = turn.book.as_ref().is_some_and(|book| book.waiting().any(is_it));
                self.have(entry, turn, watch)?;
                // Nothing else of the round depends on what takes no part in it.
                turn.told = told.filter(|_| waits);
                return Ok(());
            }
            Need::Losses { entry, n_sequences } => {
                self.losses(entry, *n_sequences, turn, watch)?;
                turn.tell_again(told, entry, *n_sequences);
                return Ok(());
            }
        };
        self.tell(Progress::Began(stage), watch);
        let brought = self.ask(need, turn, watch);
        self.tell(Progress::Ended(stage), watch);
        brought
    }

    /// Tells how far this round is.
    fn tell(&self, progress: Progress, watch: &dyn Fn(Event)) {
        watch(Event::progress(self.contest, progress));
    }

    /// Tells of trouble, unless its owner may have caused it or we are to end; our own is with
    /// `own`.
    fn tell_of(&self, trouble: &Trouble, own: Cause, watch: &dyn Fn(Event)) {
        let cause = match trouble {
            Trouble::Refused(_) | Trouble::Stopped(_) => return,
            Trouble::Unanswered(_) => Cause::Hub,
            Trouble::Own(error) if crate::is_ours(error) => Cause::Journal,
            Trouble::Own(_) => own,
        };
        self.tell(Progress::Failed(cause), watch);
    }

    /// Asks the world for one thing that is no model.
    fn ask(&self, need: Need, turn: &mut Turn, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let failed = |cause| self.tell(Progress::Failed(cause), watch);
        match need {
            Need::Book => {
                let subnet = Subnet { chain: &*self.ports.chain, netuid: self.config.netuid };
                let competition = &self.contest.competition;
                let book = Book::read(subnet, competition, self.seed, turn.before.as_ref());
                turn.book = Some(book.inspect_err(|_| failed(Cause::Chain))?);
                turn.before = None;
                // Before anything new is let in: what has weight must not make room for it.
                self.keep().inspect_err(|_| failed(Cause::Disk))?;
            }
            Need::Looks(entries) => {
                for entry in entries.iter().take(LOOKS_MAX) {
                    if !self.look(entry, turn, watch)? {
                        break;
                    }
                }
            }
            Need::IsUp => turn.is_up = Some(self.ports.models.is_up()),
            Need::Delivery(entry) => {
                let admission = self.admission(&entry);
                let delivers =
                    admission.is_some_and(|a| self.ports.models.delivers(&entry.committed, &a));
                turn.deliveries.insert(entry.stored.hotkey, delivers);
            }
            Need::Text => {
                let competition = &self.contest.competition;
                // The record has the true hash: anybody derives the same from it.
                let seeds = competition.evaluation.seeds;
                let hash = seeds.hash(self.seed.hash, self.validator);
                let text = self.contest.text.draw(competition, Head { hash, ..self.seed });
                let text = text.inspect_err(|_| failed(Cause::Text));
                let text = text.context("cannot draw evaluation text")?;
                // Drawn after the hub was asked what there is: whoever sees the text cannot change
                // which models it measures.
                let (n_models, n_batches) = (turn.sights.len(), text.batches.len());
                turn.text = Some(text);
                watch(Event::RoundStarted { n_models, n_batches });
            }
            Need::Model(_) | Need::Losses { .. } => {}
        }
        Ok(())
    }

    /// Looks at one repo; what is seen there is noted, and trouble if it counts. Whether there was
    /// none.
    fn look(&self, entry: &Entry, turn: &mut Turn, watch: &dyn Fn(Event)) -> anyhow::Result<bool> {
        let hotkey = entry.stored.hotkey;
        match self.ports.models.look(&self.contest.competition, &entry.committed) {
            Ok(sight) => {
                turn.sights.insert(hotkey, Ok(sight));
                Ok(true)
            }
            Err(trouble) => {
                self.tell_of(&trouble, Cause::Disk, watch);
                if let Some(refusal) = turn.counts(entry, trouble)? {
                    turn.sights.insert(hotkey, Err(refusal));
                }
                Ok(false)
            }
        }
    }

    fn state<T>(&self, read: impl FnOnce(&ContestState) -> T) -> T {
        self.memory.contest(&self.contest.competition.name, read)
    }

    /// What is known of a model at rest, if it is known to have passed every check.
    fn admission(&self, entry: &Entry) -> Option<Admission> {
        self.state(|state| match &entry.verdict(state, &self.contest.rules)?.found {
            Found::Admitted(admission) => Some(admission.clone()),
            Found::Refused(_) | Found::Hopeless(_) => None,
        })
    }

    /// Keeps the models of whoever has weight, in whatever competition.
    fn keep(&self) -> anyhow::Result<()> {
        let mut roots: Vec<(bool, Digest)> = Vec::new();
        let past = self.memory.lock();
        for contest in past.state().contests.values() {
            let champion = contest.champion.map(|holder| holder.hotkey);
            let weighed: Vec<_> = contest.average.iter().map(|average| average.hotkey).collect();
            for (hotkey, verdict) in &contest.verdicts {
                let is_champion = champion == Some(*hotkey);
                if let Found::Admitted(admission) = &verdict.found
                    && (is_champion || weighed.contains(hotkey))
                {
                    roots.push((!is_champion, admission.file_root));
                }
            }
        }
        drop(past);
        // Champions first: where not all have room, a round without the champion is given up.
        roots.sort_unstable();
        let roots: Vec<Digest> = roots.into_iter().map(|(_, root)| root).collect();
        self.ports.models.keep(&roots, self.room_bytes)
    }

    /// Has the verified bytes of a model here; what was found of it is remembered with its text,
    /// block and rules. `None` where it is not here: why is noted.
    ///
    /// Models with weight are had whatever they cost: of those there are few, and without them a
    /// round is worth nothing. Of the others a round tries so many, and fetches so many bytes.
    fn have(
        &mut self,
        entry: &Entry,
        turn: &mut Turn,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<Option<Admission>> {
        let (hotkey, known) = (entry.stored.hotkey, self.admission(entry));
        let must = known.is_some() || self.state(|state| state.has_weight(&entry.miner()));
        let is_new = !must && !turn.n_failed.contains_key(&hotkey);
        if is_new && turn.n_new >= N_NEW_MAX {
            let why = format!("{N_NEW_MAX} new models were tried in this round; it has to wait");
            turn.hindered.insert(hotkey, Hindrance::Postponed(why));
            return Ok(None);
        }
        let left = self.fetched_bytes_max().saturating_sub(turn.n_fetched);
        let bytes_max = if must { u64::MAX } else { left };
        let terms = Terms { known: known.as_ref(), bytes_max };
        let competition = &self.contest.competition;
        // Counted before it is tried: what fails costs requests, too. What is tried again was
        // counted then.
        turn.n_new += usize::from(is_new);
        self.tell(Progress::Began(Stage::Fetch), watch);
        let had = self.ports.models.have(competition, &entry.committed, terms);
        self.tell(Progress::Ended(Stage::Fetch), watch);
        if let Ok(Had::Here { n_fetched, .. } | Had::Refused { n_fetched, .. }) = &had {
            turn.n_fetched = turn.n_fetched.saturating_add(*n_fetched);
            self.tell(Progress::Fetched { n_bytes: *n_fetched }, watch);
        }
        match had {
            Ok(Had::Here { admission, .. }) => {
                // Noted after the bytes are here, and before anything is measured: a crash between
                // the two costs another look at them and no more.
                if known.as_ref() != Some(&admission) {
                    self.found(entry, Found::Admitted(admission.clone()))?;
                }
                return Ok(Some(admission));
            }
            Ok(Had::Refused { reason, .. }) => self.found(entry, Found::Refused(reason))?,
            Ok(Had::Hopeless(reason)) => {
                self.found(entry, Found::Hopeless(reason.clone()))?;
                turn.hindered.insert(hotkey, Hindrance::Hopeless(reason));
            }
            Ok(Had::Postponed { n_bytes }) => {
                let why = format!(
                    "a model of {n_bytes} bytes has to wait: {left} are left to fetch in this round"
                );
                turn.hindered.insert(hotkey, Hindrance::Postponed(why));
            }
            Err(trouble) => {
                self.tell_of(&trouble, Cause::Disk, watch);
                turn.hinder(entry, trouble)?;
            }
        }
        Ok(None)
    }

    /// Bytes of new models that are fetched for a round.
    fn fetched_bytes_max(&self) -> u64 {
        let usual = self.contest.competition.model.size_bytes_max.saturating_mul(MODELS_PER_ROUND);
        self.config.fetched_bytes_max.unwrap_or(usual.max(FETCHED_BYTES_MIN))
    }

    fn found(&mut self, entry: &Entry, found: Found) -> anyhow::Result<()> {
        let verdict = Verdict {
            commitment: entry.text(),
            block: entry.stored.block,
            rules: self.contest.rules,
            roots: TENSOR_ROOT_VERSION,
            found,
        };
        if self.state(|state| state.verdicts.get(&entry.stored.hotkey) == Some(&verdict)) {
            return Ok(());
        }
        let competition = self.contest.competition.name.clone();
        let hotkey = entry.stored.hotkey;
        let inspected = entry::Entry::Inspected { competition, hotkey, verdict };
        self.memory.learn(&inspected, self.seed.block)
    }

    /// Measures a model on those of the first sequences of the text that it was not measured on
    /// yet; each loss is kept as it comes.
    fn losses(
        &mut self,
        entry: &Entry,
        n_sequences: usize,
        turn: &mut Turn,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<()> {
        let Some(admission) = self.admission(entry) else { return Ok(()) };
        let root = admission.tensor_root;
        if let Slot::Vacant(kept) = turn.kept.entry(root) {
            kept.insert(self.kept(&admission)?);
        }
        if let Some(losses) = turn.further_losses(&root, n_sequences) {
            // An earlier version, which has measured it, did not find what a record has to say of
            // whatever has losses: it is inspected once more.
            if admission.card.is_some() || self.have(entry, turn, watch)?.is_some() {
                turn.learn(root, losses);
            }
            return Ok(());
        }
        // Its bytes are verified again right before they are read: what a disk has changed since
        // must not become a verdict.
        if self.have(entry, turn, watch)?.is_none() {
            return Ok(());
        }
        let mut kept = turn.kept.remove(&root).unwrap_or_default();
        let is_missing = |sequence: &&Sequence| !kept.contains_key(&sequence.digest);
        let n_wanted = turn.text.as_ref().map_or(0, |text| text.n_sequences()).min(n_sequences);
        let wanted = turn.sequences(turn.known(&root).len()..n_sequences);
        let missing: Vec<&Sequence> = wanted.filter(is_missing).collect();
        let n_tokens: usize = missing.iter().map(|sequence| sequence.tokens.len()).sum();
        let work = admission.n_parameters.saturating_mul(n_tokens as u64);
        let left = Left {
            uid: entry.stored.uid,
            admission: &admission,
            n_done: n_wanted.saturating_sub(missing.len()),
            sequences: &missing,
        };
        let mut learnt = Vec::with_capacity(missing.len());
        self.tell(Progress::Began(Stage::Measure), watch);
        let measured = self.measure(left, &mut learnt, watch);
        self.tell(Progress::Ended(Stage::Measure), watch);
        // All that the journal took, and nothing else: a round rests on what is on disk.
        kept.extend(learnt);
        turn.kept.insert(root, kept);
        turn.work = turn.work.saturating_add(work);
        match measured {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => {
                // The text of another round may hide it, and it would be a lottery to be measured.
                if reason.code == ReasonCode::NonFiniteLoss {
                    self.found(entry, Found::Refused(reason.clone()))?;
                }
                turn.measured.insert(root, Err(reason));
                return Ok(());
            }
            Err(trouble) => {
                self.tell_of(&trouble, Cause::Evaluator, watch);
                return turn.hinder(entry, trouble);
            }
        }
        match turn.further_losses(&root, n_sequences) {
            Some(losses) => {
                turn.learn(root, losses);
                Ok(())
            }
            None => {
                let error = anyhow::anyhow!("an evaluator gave fewer losses than it was asked for");
                self.tell(Progress::Failed(Cause::Evaluator), watch);
                turn.hinder(entry, Trouble::Own(error))
            }
        }
    }

    /// The losses of a model that are kept.
    fn kept(&self, of: &Admission) -> anyhow::Result<Losses> {
        self.memory.lock().journal().losses(self.measured(of)).map_err(ours)
    }

    fn measured(&self, of: &Admission) -> journal::Measured<'_> {
        journal::Measured { model: of.tensor_root, engine: self.ports.evaluate.engine() }
    }

    /// Has the evaluator measure what is missing; adds what the journal has taken of it to `kept`.
    fn measure(
        &mut self,
        left: Left<'_>,
        kept: &mut Vec<(Digest, SequenceLoss)>,
        watch: &(dyn Fn(Event) + Sync),
    ) -> Result<Result<(), Reason>, Trouble> {
        let (contest, competition) = (self.contest, &self.contest.competition);
        let per_batch = competition.evaluation.sequences_per_batch.max(1);
        let Left { uid, admission, mut n_done, sequences } = left;
        watch(Event::Evaluating { uid, n_batches_done: n_done / per_batch });
        let evaluate = &*self.ports.evaluate;
        let of = journal::Measured { model: admission.tensor_root, engine: evaluate.engine() };
        let seed = self.seed.block;
        let mut rest = sequences.iter();
        let mut learn = |losses: &[SequenceLoss]| {
            // The losses first: the other way round a sequence would be lost with each piece.
            let pairs = losses.iter().zip(rest.by_ref());
            let mut n_tokens = 0;
            let learnt: Vec<(Digest, SequenceLoss)> = pairs
                .map(|(loss, sequence)| {
                    n_tokens += sequence.tokens.len() as u64;
                    (sequence.digest, *loss)
                })
                .collect();
            anyhow::ensure!(learnt.len() == losses.len(), "an evaluator gave too many losses");
            self.memory.lock().journal_mut().learn(of, seed, &learnt).map_err(ours)?;
            n_done += learnt.len();
            kept.extend(learnt);
            watch(Event::Evaluating { uid, n_batches_done: n_done / per_batch });
            watch(Event::progress(contest, Progress::Measured { n_tokens }));
            Ok(())
        };
        evaluate.losses(Ask { competition, admission, sequences }, &mut learn)
    }
}

/// What is left to measure of the sequences that are wanted of a model.
#[derive(Clone, Copy)]
struct Left<'a> {
    /// Slot of its miner.
    uid: Uid,
    admission: &'a Admission,
    /// Of those that are wanted, how many were measured before.
    n_done: usize,
    /// The others, in order.
    sequences: &'a [&'a Sequence],
}
