//! The record of a round: everything from which its verdict can be derived again.
//!
//! A record is canonical JSON: fields in the order of their declaration, models in order of uid, no
//! spaces, numbers in the shortest form that reads back to the same bits. It holds no time and
//! nothing about the machine, so equal inputs give equal bytes and one [`Digest`].

mod duels;
mod parts;
mod shared;
mod verify;

pub use duels::{Setting, is_filled_by_line, verify_duels};
pub use parts::{Measured, ReadMeasured, measured_in};
pub use shared::Shared;
pub use verify::{Mismatch, verify, verify_chain, verify_link};

use crate::{
    AccountId, Block, BlockHash, Competition, Digest, Error, Loss, Merit, NetUid, Outcome,
    ReasonCode, Repo, Revision, Uid, Verdict, champion,
    competition::Rule,
    digest::canonical_json,
    duel::{Attempts, Champion, Fight, Predecessor},
    owner::Claim,
    score,
    text::shown,
    weights::{Average, Miner, MovingAverage},
    wins::{Entry, Seniority},
};
use serde::{Deserialize, Serialize};

/// Version of this format.
pub const RECORD_FORMAT: u32 = 5;

/// Most bytes of a record that anybody reads; 256 models on 10,000 batches take about 50 MiB.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most letters of what is wrong with a record that cannot be read.
const MESSAGE_LETTERS_MAX: usize = 300;

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
    pub models: Models,
    /// With rule `duel`, in order of uid, the models that our own trouble, or a postponement, kept
    /// from an outcome: nothing moves for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// The moving averages after this round, in order of uid; also of miners not in it.
    pub averages: Vec<Average>,
    /// Holder of the crown after this round; absent if nobody took part.
    pub champion: Option<Uid>,
    /// With rule `duel`, all that is known of the champion and its predecessor; absent if nobody
    /// took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crown: Option<Crown>,
}

/// The models of a record.
pub type Models = Shared<Judged>;

/// Whoever holds the crown after a round, and whoever held it before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crown {
    /// Whoever holds it.
    pub champion: Champion,
    /// Whoever the champion took it from; absent where it filled an empty throne.
    pub predecessor: Option<Predecessor>,
    /// Slot that the chain paid most at the seed, of those that committed to the competition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Uid>,
    /// Blocks that the chain may take to pay for what a round found.
    pub settling_blocks: u64,
}

/// A model that has no outcome in a round, through no fault of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
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
    /// Genesis of the chain that the blocks are of.
    pub genesis: BlockHash,
    /// The subnet that was judged on.
    pub netuid: NetUid,
    /// What measured, with its version; of no weight in any verdict.
    pub engine: String,
    /// Digest of the `tokenizer.json`.
    pub tokenizer: Digest,
    /// Digest that pins the dataset.
    pub dataset: Digest,
    /// The documents that were drawn, in the order of drawing.
    pub documents: Shared<DocumentDigest>,
    /// Loss of a model that knew the true distribution of these documents, in nats per token and
    /// to six places; absent where it is not known. Of no weight in any verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimum: Option<Loss>,
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
    /// Bytes of the text, as UTF-8.
    pub n_bytes: u64,
    /// Tokens of the whole text, with the one end of text that follows it; a sequence may hold
    /// fewer.
    pub n_tokens: u64,
}

impl Round {
    /// Bits per byte of text that a loss in nats per token comes to, which models with different
    /// tokenizers can be compared by; `None` where no document says how long it is.
    ///
    /// Documents are counted whole, as if the loss of what was measured were that of all their
    /// tokens.
    pub fn bits_per_byte(&self, loss: f64) -> Option<f64> {
        // A stranger's counts may be more than one number holds.
        let count = |of: fn(&DocumentDigest) -> u64| -> f64 {
            self.documents.iter().map(|document| of(document) as f64).sum()
        };
        let (n_tokens, n_bytes) = (count(|d| d.n_tokens), count(|d| d.n_bytes));
        (n_bytes > 0.0).then(|| loss * n_tokens / n_bytes / std::f64::consts::LN_2)
    }
}

/// What a model is, by its config and its parameters: for people, and of no weight in any verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name of its architecture.
    pub architecture: String,
    /// Number of parameters; tied tensors count once.
    pub n_parameters: u64,
    /// Bytes of its config and its parameters, as they are published.
    pub size_bytes: u64,
    /// Tokens that it knows.
    pub vocabulary: u64,
    /// Most tokens that it reads at once.
    pub context: u64,
    /// Tensors with gradients too small to change anything, by the rules for parameters that can be
    /// trained further: those of the competition, or else the usual ones.
    pub n_vanishing: u64,
    /// Tensors with gradients so large that they destroy the rest, by the same rules.
    pub n_exploding: u64,
}

/// One model of a round and what came of measuring it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Slot of its miner.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of that key, in the state that the commitment was read from; of every model where the
    /// rule is `duel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coldkey: Option<AccountId>,
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
    /// What it is; absent where its parameters were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
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
    /// Cross-entropy in nats per predicted token (equation 1), one per batch; with rule `duel`, of
    /// the first batches, as many as decided anything.
    Evaluated(Vec<Loss>),
    /// The model broke this rule.
    Disqualified(ReasonCode),
}

impl Finding {
    /// The losses; none of a model that broke a rule.
    pub fn losses(&self) -> &[Loss] {
        match self {
            Self::Evaluated(losses) => losses,
            Self::Disqualified(_) => &[],
        }
    }
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
    /// With rule `duel`, its duel with whoever held the crown before this round; absent where it
    /// fought none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fight: Option<Fight>,
    /// With rule `duel`, which attempt of its coldkey it cost that the model hid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
}

impl Model {
    /// Where it stands among the models of a competition.
    pub fn seniority(&self) -> Seniority {
        self.committed().since(self.since)
    }

    /// Where it stands among those who challenge: by its commitment alone.
    pub fn committed(&self) -> Seniority {
        Seniority::new(self.commit_block, self.commit_block_hash, self.hotkey)
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
    /// No two models share a uid; their order does not matter. A round of duels is judged by
    /// [`Record::of_duels`].
    pub fn new(
        round: Round,
        competition: &Competition,
        mut models: Vec<Model>,
        average: &mut MovingAverage,
    ) -> Self {
        models.sort_by_key(|model| model.uid);
        let (verdicts, champion) = judge(competition, round.block, &models);
        let judged = |(model, verdict)| Judged { model, verdict, fight: None, attempts: None };
        let models: Vec<Judged> = models.into_iter().zip(verdicts).map(judged).collect();
        let averages = averaged(competition, &models, average);
        let (skipped, crown, models) = (Vec::new(), None, models.into());
        Self { format: RECORD_FORMAT, round, models, skipped, averages, champion, crown }
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
        let record: Self = serde_json::from_slice(json).map_err(|error| {
            // A record of another format lacks fields: not that is what is wrong with it.
            let other = serde_json::from_slice::<Version>(json).ok();
            match other.filter(|version| version.format != RECORD_FORMAT) {
                Some(Version { format }) => Error::RecordFormat { format },
                // It may quote the file, which is a stranger's.
                None => refuse(shown(&error.to_string(), MESSAGE_LETTERS_MAX)),
            }
        })?;
        if record.to_json() != json {
            return Err(refuse("the JSON is not in canonical form".to_owned()));
        }
        Ok(record)
    }
}

/// What every format of records begins with.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The averages after a round; `average` takes in its weights.
pub fn averaged(
    competition: &Competition,
    models: &[Judged],
    average: &mut MovingAverage,
) -> Vec<Average> {
    let weight = |judged: &Judged| (judged.model.miner(), judged.verdict.weight);
    let weights: Vec<(Miner, f64)> = models.iter().map(weight).collect();
    average.update(competition.scoring.alpha, &weights);
    average.iter().collect()
}

/// Verdicts in the order of `models`, and the champion.
fn judge(competition: &Competition, block: Block, models: &[Model]) -> (Vec<Verdict>, Option<Uid>) {
    let rules = &competition.scoring;
    let entry = |model: &Model| {
        let losses = model.finding.losses().to_vec();
        Entry { uid: model.uid, seniority: model.seniority(), losses }
    };
    let entries: Vec<Entry> = models.iter().map(entry).collect();
    let n_batches = competition.evaluation.n_batches;
    let verdicts = score(rules, block, n_batches, &entries);
    let champion = match rules.rule {
        // Verdicts come from the same line: of whoever wore the crown, the last alone counts.
        Rule::Succession => {
            let counts = |verdict: &&Verdict| verdict.merit == Merit::Counts;
            verdicts.iter().find(counts).map(|verdict| verdict.uid)
        }
        Rule::Wins | Rule::Mean | Rule::Duel => champion(rules, block, n_batches, &entries),
    };
    (verdicts, champion)
}

#[cfg(test)]
mod tests;
