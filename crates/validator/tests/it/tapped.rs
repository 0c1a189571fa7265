//! A chain and a hub of which each request goes through a tap: a test says what becomes of it.

use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair, Metagraph,
    Rewards, Signed, StoredCommitment, Voter,
};
use hub::{FileEntry, Hub, Part};
use protocol::{AccountId, Block, BlockHash, NetUid, Repo, Revision, Uid};
use std::{fs, path::Path, sync::Arc};

/// What a test does to the requests to a chain.
pub(crate) trait Tap: Send + Sync {
    /// Comes before each request; with an error it never gets there.
    fn before(&self, request: &'static str) -> Result<(), Error>;

    /// Whether calls that are sent get lost on their way, without a word.
    fn loses_calls(&self) -> bool {
        false
    }

    /// Hears of a call that was signed.
    fn signed(&self, _call: &Call, _signed: &Signed) {}

    /// Whether this call gets lost on its way, without a word.
    fn loses(&self, _signed: &Signed) -> bool {
        self.loses_calls()
    }

    /// What is answered about the subnet.
    fn metagraph(&self, answer: Metagraph) -> Metagraph {
        answer
    }

    /// What is answered about what it pays.
    fn rewards(&self, answer: Rewards) -> Rewards {
        answer
    }

    /// What is answered about a row of weights.
    fn row(&self, answer: Vec<(Uid, u16)>) -> Vec<(Uid, u16)> {
        answer
    }
}

/// A chain behind a tap.
pub(crate) struct TappedChain<T> {
    pub(crate) inner: Arc<dyn Chain>,
    pub(crate) tap: Arc<T>,
}

impl<T: Tap> Chain for TappedChain<T> {
    fn head(&self) -> Result<Head, Error> {
        self.inner.head()
    }
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.tap.before("block hash")?;
        self.inner.block_hash(block)
    }
    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.tap.before("metagraph")?;
        Ok(self.tap.metagraph(self.inner.metagraph(netuid)?))
    }
    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.tap.before("commitments")?;
        self.inner.commitments(netuid, at)
    }
    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.tap.before("rewards")?;
        Ok(self.tap.rewards(self.inner.rewards(netuid, at)?))
    }
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.tap.before("voters")?;
        self.inner.voters(netuid, at)
    }
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.inner.balance(coldkey)
    }
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.tap.before("weights")?;
        Ok(self.tap.row(self.inner.weights(netuid, uid)?))
    }
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.tap.before("hiding")?;
        self.inner.hiding(netuid)
    }
    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.tap.before("demands")?;
        self.inner.demands(netuid)
    }
    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        self.tap.before("sign")?;
        let signed = self.inner.sign(call.clone(), signer, last)?;
        self.tap.signed(&call, &signed);
        Ok(signed)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.tap.before("send")?;
        if self.tap.loses(signed) { Ok(()) } else { self.inner.send(signed) }
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.tap.before("resume")?;
        if self.tap.loses(signed) { Ok(()) } else { self.inner.resume(signed) }
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.tap.before("status")?;
        self.inner.status(id)
    }
}

/// What a test does to the requests to a hub.
pub(crate) trait HubTap: Send + Sync {
    /// Comes before a repo is listed: with an error there is no list, and where it is not shown it
    /// is as if it were not there.
    fn shows(&self, _repo: &Repo) -> Result<bool, hub::Error> {
        Ok(true)
    }

    /// Comes before bytes of a file are given; with an error there are none.
    fn before_bytes(
        &self,
        _repo: &Repo,
        _revision: &Revision,
        _path: &str,
    ) -> Result<(), hub::Error> {
        Ok(())
    }

    /// Hears of bytes of a file that are given; whether others come than were sent.
    fn alters(&self, _repo: &Repo, _path: &str, _n_bytes: u64) -> bool {
        false
    }
}

/// A hub behind a tap.
pub(crate) struct TappedHub<T> {
    pub(crate) inner: Arc<dyn Hub>,
    pub(crate) tap: Arc<T>,
}

impl<T: HubTap> Hub for TappedHub<T> {
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, hub::Error> {
        self.inner.publish(repo, dir)
    }
    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, hub::Error> {
        self.inner.latest(repo)
    }
    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, hub::Error> {
        if self.tap.shows(repo)? { self.inner.list(repo, revision) } else { Ok(None) }
    }
    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), hub::Error> {
        self.tap.before_bytes(repo, revision, path)?;
        self.inner.fetch(repo, revision, path, to, size_bytes_max)?;
        let n_bytes = fs::metadata(to).unwrap().len();
        if self.tap.alters(repo, path, n_bytes) {
            let mut bytes = fs::read(to).unwrap();
            bytes[0] ^= 1;
            // What is there may be a link to the hub's own file.
            fs::remove_file(to).unwrap();
            fs::write(to, bytes).unwrap();
        }
        Ok(())
    }
    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, hub::Error> {
        self.tap.before_bytes(repo, revision, part.path)?;
        let mut bytes = self.inner.read_part(repo, revision, part)?;
        if self.tap.alters(repo, part.path, bytes.len() as u64)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        Ok(bytes)
    }
}
