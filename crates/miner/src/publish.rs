//! The one door to the network: check, publish on the hub, commit on the chain.
//!
//! Whoever watches the hub can commit to the same files before the commitment is in a block: this
//! order is for networks whose hub no stranger watches, as that of the demo.

use anyhow::Context as _;
use chain::{Call, CallId, Chain, Keypair, StoredCommitment};
use hub::Hub;
use protocol::{AccountId, Commitment, Competition, NetUid, Reason, Repo, Revision};
use std::{path::Path, sync::Arc};

/// What a validator would say of the model in a directory: a reason to refuse it, or `None`.
pub type Check = Arc<dyn Fn(&Path) -> anyhow::Result<Option<Reason>> + Send + Sync>;

/// A model that is on the hub and whose commitment is on its way to the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Where the model is.
    pub repo: Repo,
    /// Which one it is.
    pub revision: Revision,
    /// The text that was submitted to the chain.
    pub commitment: String,
    /// The call that carries the commitment.
    pub call: CallId,
    /// Perplexity that its miner expects, where it measured one.
    pub perplexity: Option<f64>,
}

/// Publishes models of one hotkey into one repo for one competition.
pub struct Publisher {
    /// Where commitments go.
    pub chain: Arc<dyn Chain>,
    /// Where models go.
    pub hub: Arc<dyn Hub>,
    /// The hotkey that signs.
    pub keypair: Keypair,
    /// Subnet on which the hotkey is registered.
    pub netuid: NetUid,
    /// The competition that is committed to.
    pub competition: Competition,
    /// The repo of this miner.
    pub repo: Repo,
    /// Judges a model before it goes out; `None` lets everything pass, as a careless miner would.
    pub check: Option<Check>,
}

impl Publisher {
    /// Publishes the model in `dir` and commits to it, unless a validator would refuse it.
    pub fn publish(&self, dir: &Path) -> anyhow::Result<Result<Published, Reason>> {
        if let Some(check) = &self.check
            && let Some(reason) = check(dir).context("cannot check the model")?
        {
            return Ok(Err(reason));
        }
        let commitment = self.upload(dir)?;
        Ok(Ok(self.announce(commitment)?))
    }

    /// Publishes the model in `dir` on the hub; gives what to commit to.
    pub fn upload(&self, dir: &Path) -> anyhow::Result<Commitment> {
        let published = self.hub.publish(&self.repo, dir);
        let revision = published.with_context(|| format!("cannot publish `{}`", self.repo))?;
        commitment_to(&*self.hub, &self.repo, &revision, self.keypair.public(), &self.competition)
    }

    /// Submits a commitment to what is on the hub.
    pub fn announce(&self, commitment: Commitment) -> anyhow::Result<Published> {
        let text = commitment.to_text()?;
        let call = self.commit(&text)?;
        let Commitment { repo, revision, .. } = commitment;
        Ok(Published { repo, revision, commitment: text, call, perplexity: None })
    }

    /// Submits the text of a commitment; also used again when the chain asked to wait.
    pub fn commit(&self, text: &str) -> anyhow::Result<CallId> {
        let call = Call::SetCommitment { netuid: self.netuid, data: text.as_bytes().to_vec() };
        self.chain.submit(call, &self.keypair).context("cannot submit the commitment")
    }

    /// Whether the commitment of this miner is `text`.
    pub(crate) fn has_committed(&self, text: &str) -> anyhow::Result<bool> {
        let head = self.chain.head().context("cannot read the newest block")?.block;
        let stored = self.chain.commitments(self.netuid, head);
        let hotkey = self.keypair.public();
        let is_it =
            |stored: &StoredCommitment| stored.hotkey == hotkey && stored.data == text.as_bytes();
        Ok(stored.context("cannot read the commitments")?.iter().any(is_it))
    }
}

/// What `hotkey` commits to when it enters a revision into a competition.
///
/// The hash is taken from what the hub lists, which is what validators will see.
fn commitment_to(
    hub: &dyn Hub,
    repo: &Repo,
    revision: &Revision,
    hotkey: AccountId,
    competition: &Competition,
) -> anyhow::Result<Commitment> {
    let files = hub.list(repo, revision).with_context(|| format!("cannot list `{repo}`"))?;
    let files = files.with_context(|| format!("`{repo}@{revision}` is not on the hub"))?;
    let root = hub::intake::file_root(&files);
    Ok(Commitment::bound(repo, revision, &root, &hotkey, competition.id))
}
