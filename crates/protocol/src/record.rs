//! The record of a round: everything from which its verdict can be derived again.
//!
//! A record is canonical JSON: fields in the order of their declaration, models in order of uid, no
//! spaces, numbers in the shortest form that reads back to the same bits. It holds no time and
//! nothing about the machine, so equal inputs give equal bytes and one [`Digest`].

use crate::{
    AccountId, Block, BlockHash, Competition, Digest, Error, Loss, Outcome, ReasonCode, Repo,
    Revision, Uid, Verdict, champion,
    digest::canonical_json,
    owner::{Claim, duplicates},
    score,
    weights::{Average, Miner, MovingAverage},
    wins::{Entry, Seniority},
};
use serde::{Deserialize, Serialize};

/// Version of this format.
pub const RECORD_FORMAT: u32 = 3;

/// Most bytes of a record that anybody reads; 256 models on 10,000 batches take about 50 MiB.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a validator publishes about one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_FORMAT`].
    pub format: u32,
    /// Who judged what, when, and on which text.
    pub round: Round,
    /// Every model that was judged, in order of uid. Models that our own trouble kept from being
    /// measured are not here.
    pub models: Vec<Judged>,
    /// The moving averages after this round, in order of uid; also of miners not in it.
    pub averages: Vec<Average>,
    /// Holder of the crown after this round; absent if nobody took part.
    pub champion: Option<Uid>,
}

/// Who judged what, when, and on which text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Name of the competition.
    pub competition: String,
    /// [`Competition::digest`] of its rules.
    pub competition_digest: Digest,
    /// Number of the round in this validator's records of the competition.
    pub number: u64,
    /// Digest of this validator's record before this one, in the same competition.
    pub previous: Option<Digest>,
    /// Block whose hash seeds the round; ages are counted from here.
    pub block: Block,
    /// Its hash.
    pub block_hash: BlockHash,
    /// Who judged.
    pub validator: AccountId,
    /// Digest of the `tokenizer.json`.
    pub tokenizer: Digest,
    /// Digest that pins the dataset.
    pub dataset: Digest,
    /// The documents that were drawn, in the order of drawing.
    pub documents: Vec<DocumentDigest>,
    /// Digest of the batches of tokens that the documents became.
    pub batches: Digest,
}

/// One document that was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentDigest {
    /// Where it came from; enough to find it again.
    pub id: String,
    /// Digest of the text.
    pub sha256: Digest,
}

/// One model of a round and what came of measuring it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Block that included the commitment.
    pub commit_block: Block,
    /// Hash of that block; with the hotkey it gives the tie-break.
    pub commit_block_hash: BlockHash,
    /// Seed of the first round from which on the validator saw the model published without a
    /// break; absent where it never saw it absent. It counts as committed to then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Block>,
    /// Committed repo; absent where the commitment could not be read.
    pub repo: Option<Repo>,
    /// Committed revision; absent where the commitment could not be read.
    pub revision: Option<Revision>,
    /// [`crate::content::file_root`] of what was fetched; absent where nothing was.
    pub file_root: Option<Digest>,
    /// [`crate::content::tensor_root`] of what was measured; absent where it was not read.
    pub tensor_root: Option<Digest>,
    /// Cross-entropy per batch, or the rule that was broken.
    pub finding: Finding,
}

/// What came of measuring a model, without the sentence that explains it.
///
/// Which of several faults a sentence names may depend on the processor; the bytes of a record must
/// not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Cross-entropy in nats per predicted token (equation 1), one per batch.
    Evaluated(Vec<Loss>),
    /// The model broke this rule.
    Disqualified(ReasonCode),
}

impl From<&Outcome> for Finding {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Evaluated(losses) => Self::Evaluated(losses.clone()),
            Outcome::Disqualified(reason) => Self::Disqualified(reason.code),
        }
    }
}

/// A model with the verdict of the round on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The model.
    pub model: Model,
    /// What the rules make of its losses.
    pub verdict: Verdict,
}

/// Why a record is not what the rules give.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// Written in a format that is not known here.
    #[error("the record has format {0}, not {RECORD_FORMAT}")]
    Format(u32),
    /// Judged by other rules.
    #[error("the record follows rules {recorded}, not {given}")]
    Rules {
        /// Digest of the rules that the record names.
        recorded: Digest,
        /// Digest of the rules that it was compared with.
        given: Digest,
    },
    /// Another competition than the rules are of.
    #[error("the record is of competition `{recorded}`, the rules are those of `{given}`")]
    Competition {
        /// Name in the record.
        recorded: String,
        /// Name in the rules.
        given: String,
    },
    /// No round of the competition starts at this block.
    #[error("no round starts at block {0}")]
    Block(Block),
    /// The models are not in ascending order of uid, each once.
    #[error("uid `{0}` is out of order")]
    Order(Uid),
    /// The commitment was too young, or later than the seed.
    #[error("the commitment of uid `{0}` is too young for the round")]
    Age(Uid),
    /// The losses do not give this verdict.
    #[error("uid `{}` was given {}, its losses give {}", .recorded.uid, told(.recorded), told(.derived))]
    Verdict {
        /// What the record says.
        recorded: Box<Verdict>,
        /// What the losses give.
        derived: Box<Verdict>,
    },
    /// A model has more or fewer losses than the round has batches.
    #[error("uid `{0}` does not have a loss for each batch")]
    Batches(Uid),
    /// A model has losses, but no root that tells whose it is.
    #[error("the model of uid `{0}` was measured, but has no tensor root")]
    Root(Uid),
    /// The same model counts for two commitments.
    #[error("uid `{0}` is judged with the model of somebody who committed to it before")]
    Duplicate(Uid),
    /// The losses give another champion.
    #[error("the record crowns {}, its losses {}", crowned(.recorded), crowned(.derived))]
    Champion {
        /// What the record says.
        recorded: Option<Uid>,
        /// What the losses give.
        derived: Option<Uid>,
    },
    /// The record does not continue the one before it.
    #[error("the record does not continue the record before it: its {0} differs")]
    Previous(&'static str),
}

/// A verdict in the words of a record.
fn told(verdict: &Verdict) -> String {
    String::from_utf8_lossy(&canonical_json(verdict)).into_owned()
}

fn crowned(uid: &Option<Uid>) -> String {
    uid.map_or("nobody".to_owned(), |uid| format!("uid `{uid}`"))
}

impl Model {
    /// Where it stands among the models of a competition.
    pub fn seniority(&self) -> Seniority {
        Seniority::new(self.commit_block, self.commit_block_hash, self.hotkey).since(self.since)
    }

    fn miner(&self) -> Miner {
        Miner { uid: self.uid, hotkey: self.hotkey }
    }

    fn claim(&self) -> Option<Claim> {
        let seniority = self.seniority();
        self.tensor_root.map(|root| Claim { uid: self.uid, seniority, root })
    }
}

impl Record {
    /// Judges the models of a round by the rules; `average` takes in the weights.
    ///
    /// No two models share a uid; their order does not matter.
    pub fn new(
        round: Round,
        competition: &Competition,
        mut models: Vec<Model>,
        average: &mut MovingAverage,
    ) -> Self {
        models.sort_by_key(|model| model.uid);
        let (verdicts, champion) = judge(competition, round.block, &models);
        let weights = models.iter().zip(&verdicts);
        let weights: Vec<_> = weights.map(|(model, v)| (model.miner(), v.weight)).collect();
        average.update(competition.scoring.alpha, &weights);
        let models = models.into_iter().zip(verdicts);
        Self {
            format: RECORD_FORMAT,
            round,
            models: models.map(|(model, verdict)| Judged { model, verdict }).collect(),
            averages: average.iter().collect(),
            champion,
        }
    }

    /// The record as canonical JSON: what is published, signed and hashed.
    pub fn to_json(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// Digest of [`Record::to_json`].
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Reads a record; refuses whatever is not spelt as [`Record::to_json`] spells it.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let refuse = |message: String| Error::RecordUnreadable { message };
        if json.len() > RECORD_BYTES_MAX {
            return Err(Error::RecordTooLarge { size_bytes: json.len() });
        }
        let record: Self = serde_json::from_slice(json).map_err(|e| refuse(e.to_string()))?;
        if record.to_json() != json {
            return Err(refuse("the JSON is not in canonical form".to_owned()));
        }
        Ok(record)
    }
}

/// Derives wins, weights and champion again from the losses in `record`.
///
/// Whether the losses are true only a new evaluation can tell.
pub fn verify(record: &Record, competition: &Competition) -> Result<(), Mismatch> {
    if record.format != RECORD_FORMAT {
        return Err(Mismatch::Format(record.format));
    }
    let (recorded, given) = (record.round.competition_digest, competition.digest());
    if recorded != given {
        return Err(Mismatch::Rules { recorded, given });
    }
    if record.round.competition != competition.name {
        let (recorded, given) = (record.round.competition.clone(), competition.name.clone());
        return Err(Mismatch::Competition { recorded, given });
    }
    let block = record.round.block;
    let every = competition.evaluation.blocks_per_round;
    if !competition.runs_at(block) || !block.0.is_multiple_of(every) {
        return Err(Mismatch::Block(block));
    }
    let models: Vec<Model> = record.models.iter().map(|judged| judged.model.clone()).collect();
    if let Some(pair) = models.windows(2).find(|pair| pair[0].uid >= pair[1].uid) {
        return Err(Mismatch::Order(pair[1].uid));
    }
    let age_min = competition.evaluation.commitment_age_min;
    if let Some(young) = models.iter().find(|model| block.since(model.commit_block) < age_min) {
        return Err(Mismatch::Age(young.uid));
    }
    if let Some(unseen) = models.iter().find(|model| model.since > Some(block)) {
        return Err(Mismatch::Age(unseen.uid));
    }
    check_measured(&models, competition.evaluation.n_batches)?;
    let (verdicts, champion) = judge(competition, block, &models);
    for (judged, derived) in record.models.iter().zip(verdicts) {
        if judged.verdict != derived {
            let recorded = Box::new(judged.verdict);
            return Err(Mismatch::Verdict { recorded, derived: Box::new(derived) });
        }
    }
    if record.champion != champion {
        return Err(Mismatch::Champion { recorded: record.champion, derived: champion });
    }
    Ok(())
}

/// Whether `record` continues `previous`, the record of the same validator and competition before
/// it: names its digest, comes later, and has its averages updated by the weights of this round.
///
/// Without a `previous`, whether it is a first record.
pub fn verify_chain(
    record: &Record,
    previous: Option<&Record>,
    competition: &Competition,
) -> Result<(), Mismatch> {
    let ensure = |holds: bool, what| if holds { Ok(()) } else { Err(Mismatch::Previous(what)) };
    let round = &record.round;
    ensure(round.previous == previous.map(Record::digest), "digest")?;
    if previous.is_none() {
        ensure(round.number == 1, "number")?;
    }
    let mut average = MovingAverage::default();
    if let Some(Record { round: before, averages, .. }) = previous {
        ensure(round.validator == before.validator, "validator")?;
        ensure(round.competition == before.competition, "competition")?;
        ensure(Some(round.number) == before.number.checked_add(1), "number")?;
        ensure(round.block > before.block, "block")?;
        average = averages.clone().try_into().map_err(|_| Mismatch::Previous("average"))?;
    }
    let weights: Vec<_> =
        record.models.iter().map(|j| (j.model.miner(), j.verdict.weight)).collect();
    average.update(competition.scoring.alpha, &weights);
    ensure(average.iter().eq(record.averages.iter().copied()), "average")
}

/// Whether each model with losses has one for each batch, and is its committer's alone as far as
/// the record tells (see [`crate::owner`]): an owner who was left out can only be found on chain.
fn check_measured(models: &[Model], n_batches: usize) -> Result<(), Mismatch> {
    let claims: Vec<Claim> = models.iter().filter_map(Model::claim).collect();
    let duplicates = duplicates(&claims);
    for model in models {
        let Finding::Evaluated(losses) = &model.finding else { continue };
        if losses.len() != n_batches {
            return Err(Mismatch::Batches(model.uid));
        }
        if model.tensor_root.is_none() {
            return Err(Mismatch::Root(model.uid));
        }
        if duplicates.contains_key(&model.uid) {
            return Err(Mismatch::Duplicate(model.uid));
        }
    }
    Ok(())
}

/// Verdicts in the order of `models`, and the champion.
fn judge(competition: &Competition, block: Block, models: &[Model]) -> (Vec<Verdict>, Option<Uid>) {
    let rules = &competition.scoring;
    let entry = |model: &Model| {
        let losses = match &model.finding {
            Finding::Evaluated(losses) => losses.clone(),
            Finding::Disqualified(_) => Vec::new(),
        };
        Entry { uid: model.uid, seniority: model.seniority(), losses }
    };
    let entries: Vec<Entry> = models.iter().map(entry).collect();
    let n_batches = competition.evaluation.n_batches;
    let verdicts = score(rules, block, n_batches, &entries);
    (verdicts, champion(rules, block, n_batches, &entries))
}

#[cfg(test)]
mod tests;
