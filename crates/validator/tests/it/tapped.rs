//! A chain of which each request goes through a tap: a test says what becomes of it.

use chain::{
    Call, CallId, CallStatus, Chain, Error, Head, HidingRules, Keypair, Metagraph, Rewards, Signed,
    StoredCommitment,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use std::sync::Arc;

/// What a test does to the requests to a chain.
pub(crate) trait Tap: Send + Sync {
    /// Comes before each request; with an error it never gets there.
    fn before(&self, request: &'static str) -> Result<(), Error>;

    /// Whether a call that is sent gets lost on its way, without a word.
    fn loses_calls(&self) -> bool {
        false
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
    fn sign(&self, call: Call, signer: &Keypair) -> Result<Signed, Error> {
        self.tap.before("sign")?;
        self.inner.sign(call, signer)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.tap.before("send")?;
        if self.tap.loses_calls() { Ok(()) } else { self.inner.send(signed) }
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.tap.before("resume")?;
        if self.tap.loses_calls() { Ok(()) } else { self.inner.resume(signed) }
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.tap.before("status")?;
        self.inner.status(id)
    }
}
