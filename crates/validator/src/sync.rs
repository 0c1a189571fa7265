//! Discovery of models: from what stands on the chain to files that passed every check at rest.

use crate::{
    Contest, Validator,
    state::{Admission, Verdict},
};
use anyhow::Context as _;
use chain::{Head, StoredCommitment};
use hub::intake::{Found, Intake};
use protocol::{
    AccountId, Block, Commitment, Competition, Reason, Uid,
    owner::{Claim, duplicates},
    weights::Miner,
    wins::Seniority,
};

/// Largest models of which bytes may be fetched for a round.
const MODELS_PER_ROUND: u64 = 4;
/// Bytes that may be fetched for a round, however small models are.
const FETCHED_BYTES_MIN: u64 = 16 << 30;

/// A model that was committed to in time for a round.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Who committed, and when.
    pub(crate) stored: StoredCommitment,
    /// To what.
    pub(crate) commitment: Commitment,
    /// The admitted model, or the rule it breaks.
    pub(crate) admission: Result<Admission, Reason>,
    /// Why the model is not the committer's, where it is somebody else's or nobody's.
    pub(crate) duplicate: Option<Reason>,
}

/// A candidate whose files could not be had by our own fault.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) uid: Uid,
    pub(crate) hotkey: AccountId,
    pub(crate) error: anyhow::Error,
}

impl Candidate {
    /// Its place among the models of the competition.
    pub(crate) fn seniority(&self) -> Seniority {
        Seniority::new(self.stored.block, self.stored.block_hash, self.stored.hotkey)
    }

    /// What it claims; nothing where it has no model.
    fn claim(&self) -> Option<Claim> {
        let root = self.admission.as_ref().ok()?.tensor_root;
        Some(Claim { uid: self.stored.uid, seniority: self.seniority(), root })
    }
}

/// A commitment that a round has to hear of.
#[derive(Clone, Debug)]
struct Entry {
    stored: StoredCommitment,
    commitment: Commitment,
}

impl Entry {
    fn seniority(&self) -> Seniority {
        Seniority::new(self.stored.block, self.stored.block_hash, self.stored.hotkey)
    }

    /// As it stands on the chain.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stored.data).into_owned()
    }
}

/// What became of the commitments of a round.
#[derive(Default)]
struct Heard {
    candidates: Vec<Candidate>,
    missed: Vec<Missed>,
}

impl Heard {
    fn judged(&mut self, entry: Entry, admission: Result<Admission, Reason>) {
        let Entry { stored, commitment } = entry;
        self.candidates.push(Candidate { stored, commitment, admission, duplicate: None });
    }

    fn missed(&mut self, entry: &Entry, error: anyhow::Error) {
        let StoredCommitment { uid, hotkey, .. } = entry.stored;
        self.missed.push(Missed { uid, hotkey, error });
    }
}

/// Finds the candidates whose model is not theirs.
///
/// Asked of all that stand on the chain, not of the pool: a copy must not count because the
/// original was not measured in this round.
fn disown(candidates: &mut [Candidate]) {
    let claims: Vec<Claim> = candidates.iter().filter_map(Candidate::claim).collect();
    let mut reasons = duplicates(&claims);
    for candidate in candidates {
        candidate.duplicate = reasons.remove(&candidate.stored.uid);
    }
}

impl Validator {
    /// The models committed to at least `commitment_age_min` blocks before `seed`, in order of uid,
    /// and those that our own trouble kept us from getting.
    ///
    /// All of it is read from the state after one block, so a re-commitment can pair neither new
    /// content with an old block nor the other way round, and late validators see the same.
    /// Commitments for other competitions, and texts that are no commitment, are none of this
    /// contest's business.
    ///
    /// What is known costs nothing. Of the others config, index and headers are judged first; then
    /// the models of whoever has weight are fetched, and after them the oldest commitments, as many
    /// as this round has bytes for. The rest is heard in the next.
    pub(crate) fn sync(
        &mut self,
        contest: &Contest,
        seed: Head,
    ) -> anyhow::Result<(Vec<Candidate>, Vec<Missed>)> {
        let (intake, mut heard) = (self.intake()?, Heard::default());
        let mut queue = Vec::new();
        for entry in self.entries(contest, seed)? {
            if let Some(known) = self.known(contest, &entry) {
                heard.judged(entry, known);
                continue;
            }
            match self.look(contest, &intake, &entry) {
                Ok(Ok(found)) => queue.push((entry, found)),
                Ok(Err(reason)) => heard.judged(entry, Err(reason)),
                Err(error) => heard.missed(&entry, error),
            }
        }
        queue.sort_by_key(|(entry, _)| (!self.must_be_had(contest, entry), entry.seniority()));
        let mut left = self.fetched_bytes_max(&contest.competition);
        for (entry, found) in queue {
            let n_bytes = if found.is_here() { 0 } else { found.size_bytes() };
            if n_bytes > left && !self.must_be_had(contest, &entry) {
                let postponed = anyhow::anyhow!(
                    "a model of {n_bytes} bytes has to wait: {left} are left to fetch in this round"
                );
                heard.missed(&entry, postponed);
                continue;
            }
            left = left.saturating_sub(n_bytes);
            match self.admit(contest, &intake, &entry, found) {
                Ok(admission) => heard.judged(entry, admission),
                Err(error) => heard.missed(&entry, error),
            }
        }
        let Heard { mut candidates, missed } = heard;
        candidates.sort_by_key(|candidate| candidate.stored.uid);
        disown(&mut candidates);
        Ok((candidates, missed))
    }

    /// The commitments that count in the round that `seed` seeds.
    fn entries(&self, contest: &Contest, seed: Head) -> anyhow::Result<Vec<Entry>> {
        let age_min = contest.competition.evaluation.commitment_age_min;
        let at = Block(seed.block.0.saturating_sub(age_min));
        let stored = self.ports.chain.commitments(self.config.netuid, at);
        let entries = stored.context("cannot read the commitments")?.into_iter();
        let entry = |stored: StoredCommitment| {
            let commitment = Commitment::parse(&stored.data).ok()?;
            let is_ours = commitment.competition == contest.competition.id;
            is_ours.then_some(Entry { stored, commitment })
        };
        Ok(entries.filter_map(entry).collect())
    }

    fn intake(&self) -> anyhow::Result<Intake> {
        let folder = self.config.home.join("models");
        let intake = Intake::open(&folder)?.with_reserve(self.disk_reserve_bytes);
        // Known models stay, whatever comes in or is refused, in this contest or in another.
        self.state.admissions().for_each(|admission| intake.keep(&admission.file_root));
        Ok(intake)
    }

    /// Bytes of new models that are fetched for a round.
    fn fetched_bytes_max(&self, competition: &Competition) -> u64 {
        let usual = competition.model.size_bytes_max.saturating_mul(MODELS_PER_ROUND);
        self.fetched_bytes_max.unwrap_or(usual.max(FETCHED_BYTES_MIN))
    }

    /// The verdict on this text of this block, if it was given and its model is still here.
    fn known(&self, contest: &Contest, entry: &Entry) -> Option<Result<Admission, Reason>> {
        let outcome = &self.verdict(contest, entry)?.outcome;
        let is_here = outcome.as_ref().map_or(true, |admission| admission.dir.exists());
        is_here.then(|| outcome.clone())
    }

    fn verdict(&self, contest: &Contest, entry: &Entry) -> Option<&Verdict> {
        let state = self.state.contest(&contest.competition.name)?;
        let verdict = state.verdicts.get(&entry.stored.hotkey.to_string())?;
        let is_it = verdict.commitment == entry.text() && verdict.block == entry.stored.block;
        is_it.then_some(verdict)
    }

    /// Whether a model is fetched whatever it costs: one that was let in already, or whose miner
    /// has weight. Of those there are few, and without them a round is worth nothing.
    fn must_be_had(&self, contest: &Contest, entry: &Entry) -> bool {
        let StoredCommitment { uid, hotkey, .. } = entry.stored;
        let state = self.state.contest(&contest.competition.name);
        state.is_some_and(|state| state.has_weight(&Miner { uid, hotkey }))
            || self.verdict(contest, entry).is_some()
    }

    /// All that can be told of a model before its parameters are fetched.
    ///
    /// What the listed files tell is remembered. What only headers tell is not: nothing proves them
    /// but the whole files.
    fn look(
        &mut self,
        contest: &Contest,
        intake: &Intake,
        entry: &Entry,
    ) -> anyhow::Result<Result<Found, Reason>> {
        let (competition, hub) = (&contest.competition, &*self.ports.hub);
        let hotkey = entry.stored.hotkey;
        let found = match intake.find(hub, competition, hotkey, &entry.commitment)? {
            Ok(found) => found,
            Err(reason) => {
                self.remember(contest, entry, Err(reason.clone()));
                return Ok(Err(reason));
            }
        };
        let Some(preview) = intake.preview(hub, &found)? else { return Ok(Ok(found)) };
        let ahead = self.ports.evaluate.inspect_ahead(preview.dir(), competition)?;
        Ok(ahead.map(|()| found))
    }

    /// Fetches and inspects a model; the answer is remembered with its text and block.
    fn admit(
        &mut self,
        contest: &Contest,
        intake: &Intake,
        entry: &Entry,
        found: Found,
    ) -> anyhow::Result<Result<Admission, Reason>> {
        let competition = &contest.competition;
        let admitted = intake.fetch(&*self.ports.hub, found)?;
        let outcome = match self.ports.evaluate.inspect(&admitted.dir, competition)? {
            Ok(inspected) => Ok(Admission {
                dir: admitted.dir,
                file_root: admitted.file_root,
                tensor_root: inspected.tensor_root,
                n_parameters: inspected.n_parameters,
            }),
            Err(reason) => {
                intake.refuse(competition, &admitted, &reason)?;
                Err(reason)
            }
        };
        if let Ok(admission) = &outcome {
            // It is known from now on, whatever comes in after it.
            intake.keep(&admission.file_root);
        }
        self.remember(contest, entry, outcome.clone());
        Ok(outcome)
    }

    fn remember(&mut self, contest: &Contest, entry: &Entry, outcome: Result<Admission, Reason>) {
        let (commitment, block) = (entry.text(), entry.stored.block);
        let verdict = Verdict { commitment, block, outcome };
        let state = self.state.contest_mut(&contest.competition.name);
        state.verdicts.insert(entry.stored.hotkey.to_string(), verdict);
    }
}
