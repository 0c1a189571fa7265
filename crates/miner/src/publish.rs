//! The one door to the network: check, publish on the hub, commit on the chain.
//!
//! Whoever watches the hub can commit to the same files before the commitment is in a block: this
//! order is for networks whose hub no stranger watches, as that of the demo.

use crate::{
    Event,
    state::{Entry, Outgoing, Stage, State},
};
use anyhow::Context as _;
use chain::{Call, CallError, CallStatus, Chain, Head, Keypair, Signed, StoredCommitment};
use hub::Hub;
use journal::{Journal, Past};
use protocol::{
    AccountId, Block, Commitment, Competition, NetUid, Reason, Repo, Revision,
    competition::Published as Counted, publication::replaceable_from,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a validator would say of the model in a directory: a reason to refuse it, or `None`.
pub type Check = Arc<dyn Fn(&Path) -> anyhow::Result<Option<Reason>> + Send + Sync>;

/// A model that is on the hub and whose commitment is on its way to the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Where the model is.
    pub repo: Repo,
    /// Which one it is.
    pub revision: Revision,
    /// Perplexity that its miner measured, where it did.
    pub perplexity: Option<f64>,
}

/// Who publishes for which competition, and where.
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
    /// Publishes the model in `dir` on the hub; gives what to commit to, or the hub's trouble.
    ///
    /// The hash is taken from what the hub lists, which is what validators will see.
    pub fn upload(&self, dir: &Path) -> anyhow::Result<Result<Commitment, String>> {
        let Self { hub, repo, keypair, competition, .. } = self;
        let revision = match hub.publish(repo, dir) {
            Ok(revision) => revision,
            Err(error) => return told(error, format!("cannot publish `{repo}`")),
        };
        let what = || format!("cannot list `{repo}@{revision}`, which was published");
        let files = match hub.list(repo, &revision) {
            Ok(Some(files)) => files,
            Ok(None) => return Ok(Err(format!("{}: it is not there", what()))),
            Err(error) => return told(error, what()),
        };
        let root = hub::intake::file_root(&files);
        Ok(Ok(Commitment::bound(repo, &revision, &root, &keypair.public(), competition.id)))
    }

    /// The commitment of this miner; one that was made in an earlier slot of the key counts for
    /// nothing any more.
    fn own(&self, at: Block) -> Result<Option<StoredCommitment>, chain::Error> {
        let hotkey: AccountId = self.keypair.public();
        let is_own = |stored: &StoredCommitment| {
            stored.hotkey == hotkey && stored.block >= stored.registered
        };
        Ok(self.chain.commitments(self.netuid, at)?.into_iter().find(is_own))
    }

    /// Block of its commitment to the competition, if one stands.
    fn standing_since(&self, at: Block) -> Result<Option<Block>, chain::Error> {
        let is_ours = |stored: &StoredCommitment| {
            let commitment = Commitment::parse(&stored.data);
            commitment.is_ok_and(|commitment| commitment.competition == self.competition.id)
        };
        Ok(self.own(at)?.filter(is_ours).map(|stored| stored.block))
    }

    /// Whether the commitment of this miner on the chain is `text`.
    fn has_committed(&self, text: &str, at: Block) -> Result<bool, chain::Error> {
        Ok(self.own(at)?.is_some_and(|stored| stored.data == text.as_bytes()))
    }
}

/// The hub's own trouble, in words, which the next block may see ended; an `Err` where it is ours.
pub(crate) fn told<T>(error: hub::Error, what: String) -> anyhow::Result<Result<T, String>> {
    if error.is_ours() {
        return Err(error).context(what);
    }
    Ok(Err(format!("{what}: {:#}", anyhow::Error::from(error))))
}

/// Models on their way out, one at a time, and what a miner remembers.
///
/// Each step is on disk before the next one is made, so that a miner that was killed goes on
/// where it was: nothing is published without a check, and nothing is committed to twice.
pub struct Outbox {
    /// Who publishes, and where.
    pub publisher: Publisher,
    /// Folder of this miner, in which the folders of models are.
    pub home: PathBuf,
    past: Past<State>,
    patience: Patience,
    /// Block until which the commitment that stands is not replaced, where that is known.
    held_until: Option<Block>,
}

/// When a hub in trouble is asked again: after one block, then after two, and so on up to eight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    n_troubles: u32,
    again: Block,
}

impl Patience {
    /// Whether the hub may be asked at a block.
    pub(crate) fn is_over(&self, now: Block) -> bool {
        now >= self.again
    }

    /// Notes that the hub did not do what was asked.
    pub(crate) fn fail(&mut self, now: Block) {
        let wait = 1 << self.n_troubles.min(3);
        (self.n_troubles, self.again) =
            (self.n_troubles.saturating_add(1), Block(now.0.saturating_add(wait)));
    }
}

impl Outbox {
    /// Goes on with what was on its way when the journal was last written.
    pub fn open(publisher: Publisher, home: PathBuf, journal: Journal) -> anyhow::Result<Self> {
        fs::create_dir_all(&home).with_context(|| format!("cannot create `{}`", home.display()))?;
        let (past, patience) = (Past::open(journal)?, Patience::default());
        Ok(Self { publisher, home, past, patience, held_until: None })
    }

    /// What this miner remembers.
    pub fn state(&self) -> &State {
        self.past.state()
    }

    /// Notes what happened.
    pub fn learn(&mut self, entry: &Entry, block: Block) -> anyhow::Result<()> {
        Ok(self.past.learn(entry, block)?)
    }

    /// Takes the model in a folder of the miner's home; it replaces one that the chain has not been
    /// told of yet.
    ///
    /// # Errors
    ///
    /// [`State::is_committing`]: two commitments on their way would cost the age of the first.
    pub fn offer(&mut self, folder: &str, block: Block) -> anyhow::Result<()> {
        let folder = folder.to_owned();
        self.take(&Entry::Offered { block, folder, measured: None, commitment: None }, block)
    }

    pub(crate) fn take(&mut self, offered: &Entry, block: Block) -> anyhow::Result<()> {
        anyhow::ensure!(!self.state().is_committing(), "a commitment is still on its way");
        self.learn(offered, block)
    }

    /// The same for a model that is on the hub already, with what to commit to.
    pub fn commit_to(
        &mut self,
        folder: &str,
        commitment: &Commitment,
        block: Block,
    ) -> anyhow::Result<()> {
        let (folder, commitment) = (folder.to_owned(), Some(commitment.to_text()?));
        self.take(&Entry::Offered { block, folder, measured: None, commitment }, block)
    }

    /// Brings the model on its way as far as it gets at this block.
    ///
    /// Trouble with the hub or the chain is told, and the same step is tried at a later block.
    ///
    /// # Errors
    ///
    /// Our own trouble: the disk, the check, the journal, a key that the hub is not told.
    pub fn advance(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        while let Some(outgoing) = self.state().outgoing.clone() {
            let entry = match &outgoing.stage {
                Stage::Saved => self.upload(&outgoing, head, watch)?,
                Stage::Uploaded { commitment } => {
                    self.commit(commitment, &outgoing, head, watch)?
                }
                Stage::Committing { commitment, signed } => {
                    self.settle(commitment, signed, head, watch)
                }
            };
            let Some(entry) = entry else { return Ok(()) };
            self.learn(&entry, head.block)?;
            // Another commitment may stand from now on.
            self.held_until = None;
        }
        Ok(())
    }

    fn upload(
        &mut self,
        outgoing: &Outgoing,
        head: Head,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<Option<Entry>> {
        if !self.patience.is_over(head.block) {
            return Ok(None);
        }
        match self.is_held(head.block) {
            Ok(false) => {}
            // Meanwhile a better one may take its place here, which costs nothing.
            Ok(true) => return Ok(None),
            Err(error) => return Ok(trouble("cannot read the commitments", error, watch)),
        }
        // Checked each time it is tried: what lies on a disk may have changed since.
        let dir = self.home.join(&outgoing.folder);
        if let Some(check) = &self.publisher.check
            && let Some(reason) = check(&dir).context("cannot check the model")?
        {
            watch(Event::Withheld(reason));
            return Ok(Some(Entry::Withheld));
        }
        Ok(match self.publisher.upload(&dir)? {
            Ok(commitment) => {
                self.patience = Patience::default();
                Some(Entry::Uploaded { commitment: commitment.to_text()? })
            }
            Err(trouble) => {
                self.patience.fail(head.block);
                watch(Event::HubTrouble(trouble));
                None
            }
        })
    }

    /// Whether the commitment that stands has to be left alone for now: where two thirds of the
    /// stake must have its bytes, whoever replaces it again and again never takes part.
    fn is_held(&mut self, now: Block) -> Result<bool, chain::Error> {
        let Publisher { competition, .. } = &self.publisher;
        if competition.evaluation.published == Counted::Own {
            return Ok(false);
        }
        let until = match self.held_until {
            Some(until) => until,
            None => {
                let stands = self.publisher.standing_since(now)?;
                stands.map_or(Block(0), |since| replaceable_from(competition, since))
            }
        };
        self.held_until = Some(until);
        Ok(now < until)
    }

    /// Hands a commitment to the chain, unless the chain has it.
    fn commit(
        &mut self,
        text: &str,
        outgoing: &Outgoing,
        head: Head,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<Option<Entry>> {
        // First of all: the same files under the same key are the same text, and a second
        // commitment to it would cost the age of the first.
        match self.publisher.has_committed(text, head.block) {
            Ok(false) => {}
            Ok(true) => return Ok(Some(Entry::Settled)),
            Err(error) => return Ok(trouble("cannot read the commitments", error, watch)),
        }
        let Publisher { netuid, chain, keypair, .. } = &self.publisher;
        let call = Call::SetCommitment { netuid: *netuid, data: text.as_bytes().to_vec() };
        let signed = match chain.sign(call, keypair, None) {
            Ok(signed) => signed,
            Err(error) => return Ok(trouble("cannot sign the commitment", error, watch)),
        };
        // Before it is sent: if we die now, the next process knows what it has to ask for.
        self.learn(&Entry::Signed(signed.clone()), head.block)?;
        if let Err(error) = self.publisher.chain.send(&signed) {
            self.learn(&Entry::Unsent, head.block)?;
            return Ok(trouble("cannot send the commitment", error, watch));
        }
        // Told once, however often the chain asks to wait.
        let perplexity = outgoing.measured.map(|measured| measured.perplexity);
        if outgoing.n_signed == 0
            && let Ok(Commitment { repo, revision, .. }) = Commitment::parse(text.as_bytes())
        {
            watch(Event::Published(Published { repo, revision, perplexity }));
        }
        // The block that could have it is yet to come.
        Ok(None)
    }

    /// What became of a commitment that was handed over; one that is lost is handed over again.
    fn settle(
        &self,
        text: &str,
        signed: &Signed,
        head: Head,
        watch: &dyn Fn(Event),
    ) -> Option<Entry> {
        match self.publisher.chain.follow(signed) {
            Ok(CallStatus::Pending) => None,
            Ok(CallStatus::Unknown) if head.block <= signed.last => None,
            Ok(CallStatus::Applied(_)) => Some(Entry::Settled),
            // A limit that ends by itself, however the runtime counts.
            Ok(
                CallStatus::Refused(
                    _,
                    CallError::CommitmentSetRateLimitExceeded | CallError::SpaceLimitExceeded,
                )
                | CallStatus::Expired
                | CallStatus::Displaced,
            ) => Some(Entry::Lost),
            Ok(CallStatus::Refused(_, error)) => {
                watch(Event::CommitmentRefused(error));
                Some(Entry::Settled)
            }
            // No block tells, but the chain's own state does; a second commitment would cost the
            // age of the first.
            Ok(CallStatus::Unreadable(_) | CallStatus::Unknown) => {
                match self.publisher.has_committed(text, head.block) {
                    Ok(true) => Some(Entry::Settled),
                    Ok(false) => Some(Entry::Lost),
                    Err(error) => trouble("cannot read the commitments", error, watch),
                }
            }
            Err(error) => trouble("cannot ask for the commitment", error, watch),
        }
    }
}

fn trouble(what: &str, error: chain::Error, watch: &dyn Fn(Event)) -> Option<Entry> {
    watch(Event::ChainTrouble(format!("{what}: {:#}", anyhow::Error::from(error))));
    None
}
