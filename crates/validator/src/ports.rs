//! What a validator asks of the world, by content: no path, no tokenizer, no folder.

use chain::{Chain, Head};
use protocol::{
    AccountId, Commitment, Competition, Digest, Loss, Reason, SequenceLoss,
    loss::perplexity,
    record::{Card, DocumentDigest, Shared},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

/// What a validator works with.
#[derive(Clone)]
pub struct Ports {
    /// Where commitments are read and weights are set.
    pub chain: Arc<dyn Chain>,
    /// Where models come from.
    pub models: Arc<dyn Models>,
    /// What measures them.
    pub evaluate: Arc<dyn Evaluate>,
    /// Where records go.
    pub publish: Arc<dyn Publish>,
}

/// A competition with the text that it is measured on.
#[derive(Clone)]
pub struct Contest {
    pub(crate) competition: Competition,
    /// Its name, for all that is told of it.
    pub(crate) name: Arc<str>,
    /// Digest of the rules.
    pub(crate) rules: Digest,
    pub(crate) text: Arc<dyn Text>,
}

impl Contest {
    /// A competition with where its fresh text comes from.
    pub fn new(competition: Competition, text: Arc<dyn Text>) -> Self {
        let (name, rules) = (competition.name.as_str().into(), competition.digest());
        Self { name, rules, competition, text }
    }

    /// The rules.
    pub fn competition(&self) -> &Competition {
        &self.competition
    }
}

/// Why something could not be had; never a verdict by itself.
#[derive(Debug)]
pub enum Trouble {
    /// The hub refuses what belongs to this model, which its owner may have caused.
    Refused(anyhow::Error),
    /// What belongs to this model did not come, or not as listed. The hub may be out, or its owner
    /// may have caused it: others tell.
    Unanswered(anyhow::Error),
    /// Our disk, our memory, our evaluator.
    Own(anyhow::Error),
    /// We are to end: nothing follows from it.
    Stopped(anyhow::Error),
}

/// One sequence of the text of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Digest of its tokens: equal exactly when they are.
    pub digest: Digest,
    /// The tokens.
    pub tokens: Vec<u32>,
}

/// What a round measures on.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The documents in the order drawn; where each is a sequence of its own, in the same order.
    pub documents: Shared<DocumentDigest>,
    /// The batches of sequences, in order.
    pub batches: Vec<Vec<Sequence>>,
    /// Digest of the batches, as it stands in the record.
    pub digest: Digest,
    /// Loss of the table of the text's own token frequencies ([`protocol::unigram()`]).
    pub guessing: Loss,
    /// Loss of a model that knew the true distribution, where that is known, to six places.
    pub optimum: Option<Loss>,
}

impl Drawn {
    /// Number of sequences in all batches.
    pub fn n_sequences(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Perplexity of a model that knew the true distribution, where that is known.
    pub fn optimum_perplexity(&self) -> Option<f64> {
        self.optimum.map(|loss| perplexity(loss).value())
    }
}

/// Where the text of a competition comes from.
pub trait Text: Send + Sync {
    /// Digest of the tokenizer.
    fn tokenizer(&self) -> Digest;

    /// Digest that pins the dataset.
    fn dataset(&self) -> Digest;

    /// The text that follows from the hash of `seed`, the same for everybody. Where each validator
    /// draws its own, the hash is not that of the block (see
    /// [`Seeds`](protocol::competition::Seeds)).
    fn draw(&self, competition: &Competition, seed: Head) -> anyhow::Result<Arc<Drawn>>;
}

/// Who committed to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The committing key.
    pub hotkey: AccountId,
    /// What it committed to.
    pub commitment: Commitment,
}

/// What one look at a repo shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The committed files are listed for everybody.
    Published {
        /// Digest over names, sizes and bytes of the files.
        file_root: Digest,
        /// Bytes of the files.
        size_bytes: u64,
    },
    /// There is no such repo or revision.
    Absent(Reason),
    /// What is listed breaks a rule.
    Refused(Reason),
}

/// A model that passed every check at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Digest over names, sizes and bytes of the files: what the commitment is bound to.
    pub file_root: Digest,
    /// Digest over config and tensors, the same however the tensors are spread over files.
    pub tensor_root: Digest,
    /// Number of parameters; tied tensors count once.
    pub n_parameters: u64,
    /// What else it is; absent where no files were inspected, and in what earlier versions found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
}

/// How a model is to be had.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What is known of these very files already: they are not inspected again.
    pub known: Option<&'a Admission>,
    /// Most bytes that may be fetched for it.
    pub bytes_max: u64,
}

/// What came of having a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Had {
    /// Its verified bytes are here.
    Here {
        /// What it is.
        admission: Admission,
        /// Bytes that were fetched for it.
        n_fetched: u64,
    },
    /// It breaks a rule; its whole bytes show it.
    Refused {
        /// Which rule.
        reason: Reason,
        /// Bytes that were fetched to tell.
        n_fetched: u64,
    },
    /// It breaks a rule as far as its headers tell, which nothing proves but the whole bytes.
    Hopeless(Reason),
    /// More would have to be fetched than the terms allow.
    Postponed {
        /// Bytes that are missing.
        n_bytes: u64,
    },
}

/// Where models come from, by who committed to them.
pub trait Models: Send + Sync {
    /// Whether a model is published now; no parameter is read.
    fn look(&self, competition: &Competition, committed: &Committed) -> Result<Sight, Trouble>;

    /// Whether the hub answers at all.
    fn is_up(&self) -> bool;

    /// Whether the hub still gives the true bytes of a model that is here.
    fn delivers(&self, committed: &Committed, admission: &Admission) -> bool;

    /// Has the verified bytes of a model here, fetched if need be, and inspected.
    ///
    /// Headers are judged before any parameter is fetched. The model stays at least until another
    /// is asked for.
    fn have(
        &self,
        competition: &Competition,
        committed: &Committed,
        terms: Terms<'_>,
    ) -> Result<Had, Trouble>;

    /// Keeps models, the most important first, as far as there is room for them and `room_bytes`
    /// more; others may go from now on.
    fn keep(&self, file_roots: &[Digest], room_bytes: u64) -> anyhow::Result<()>;

    /// Lets go of all models but these.
    fn retain(&self, file_roots: &BTreeSet<Digest>) -> anyhow::Result<()>;
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The rules.
    pub competition: &'a Competition,
    /// The model, which is here.
    pub admission: &'a Admission,
    /// The sequences, in order.
    pub sequences: &'a [&'a Sequence],
}

/// Something that measures models.
pub trait Evaluate: Send + Sync {
    /// Names the definition of a loss's bits: equal names give equal losses.
    fn engine(&self) -> &str;

    /// The losses of the sequences, handed over in their order in as many pieces as it likes, or
    /// the rule that the model breaks; a loss that was handed over is finite.
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble>;
}

/// Where records go.
pub trait Publish: Send + Sync {
    /// Adds the signed record of a round ([`records::Signed`]); the same bytes again change
    /// nothing.
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()>;

    /// The parts of a range of numbers whose records are not there, in ascending order.
    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>>;
}
