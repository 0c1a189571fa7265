//! Discovery of models: from what stands on the chain to files that passed every check at rest.

use crate::{
    Contest, Validator,
    state::{Admission, Verdict},
};
use anyhow::Context as _;
use chain::{Head, StoredCommitment};
use hub::intake::Intake;
use protocol::{
    AccountId, Block, Commitment, Reason, Uid,
    owner::{Claim, duplicates},
    wins::Seniority,
};

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
    pub(crate) fn sync(
        &mut self,
        contest: &Contest,
        seed: Head,
    ) -> anyhow::Result<(Vec<Candidate>, Vec<Missed>)> {
        let age_min = contest.competition.evaluation.commitment_age_min;
        let at = Block(seed.block.0.saturating_sub(age_min));
        let stored = self
            .ports
            .chain
            .commitments(self.config.netuid, at)
            .context("cannot read the commitments")?;
        let (mut candidates, mut missed) = (Vec::new(), Vec::new());
        for stored in stored {
            let Ok(commitment) = Commitment::parse(&stored.data) else { continue };
            if commitment.competition != contest.competition.id {
                continue;
            }
            match self.admit(contest, &stored, &commitment) {
                Ok(admission) => {
                    let duplicate = None;
                    candidates.push(Candidate { stored, commitment, admission, duplicate });
                }
                Err(error) => {
                    missed.push(Missed { uid: stored.uid, hotkey: stored.hotkey, error });
                }
            }
        }
        disown(&mut candidates);
        Ok((candidates, missed))
    }

    /// Intake and inspection of one commitment; the answer is remembered with its text and block.
    fn admit(
        &mut self,
        contest: &Contest,
        stored: &StoredCommitment,
        commitment: &Commitment,
    ) -> anyhow::Result<Result<Admission, Reason>> {
        let competition = &contest.competition;
        let text = String::from_utf8_lossy(&stored.data).into_owned();
        let key = stored.hotkey.to_string();
        let verdicts = &self.state.contest_mut(&competition.name).verdicts;
        if let Some(known) = verdicts.get(&key)
            && known.commitment == text
            && known.block == stored.block
            && known.outcome.as_ref().map_or(true, |admission| admission.dir.exists())
        {
            return Ok(known.outcome.clone());
        }
        let intake =
            Intake::open(&self.config.home.join("models"))?.with_reserve(self.disk_reserve_bytes);
        // Known models stay, whatever comes in or is refused, in this contest or in another.
        self.state.admissions().for_each(|admission| intake.keep(&admission.file_root));
        let hub = &*self.ports.hub;
        let outcome = match intake.admit(hub, competition, stored.hotkey, commitment)? {
            Err(reason) => Err(reason),
            Ok(admitted) => match self.ports.evaluate.inspect(&admitted.dir, competition)? {
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
            },
        };
        let verdict = Verdict { commitment: text, block: stored.block, outcome: outcome.clone() };
        self.state.contest_mut(&competition.name).verdicts.insert(key, verdict);
        Ok(outcome)
    }
}
