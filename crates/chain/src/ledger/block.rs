//! Blocks: whose call goes first, and the hashes that bind them.
//!
//! How a block is hashed is up to whoever makes it: [`Ledger::end_block`] is told. Here is the
//! cheap way, for chains that live in one process: nothing is signed, and the state is not read.

use super::{EpochSummary, Event, Ledger, Started};
use crate::{Call, CallError, CallId, Error, Head, hash::blake2_256};
use protocol::{AccountId, Block, BlockHash};

/// A call whose signer is beyond doubt, with its place among the signer's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCall {
    /// Name of the call: the hash of the rest.
    pub id: CallId,
    /// Who calls.
    pub signer: AccountId,
    /// How many calls of the signer stand in blocks before this one.
    pub nonce: u32,
    /// What to do.
    pub call: Call,
}

/// A block of calls whose signers are beyond doubt, and what became of everything in it.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Number and hash.
    pub head: Head,
    /// Calls that stand in the block, in the order of application, with their effects.
    pub applied: Vec<(CallId, Result<Event, CallError>)>,
    /// Calls that could not enter it, and why: [`CallError::leaves_no_trace`].
    pub left_out: Vec<(CallId, CallError)>,
    /// Time-locked weights that were revealed at the start of the block.
    pub revealed: Vec<Event>,
    /// Epochs that ran at the start of the block.
    pub epochs: Vec<EpochSummary>,
}

impl OwnCall {
    /// The `nonce`-th call of `signer`.
    pub fn new(signer: AccountId, nonce: u32, call: Call) -> Self {
        let mut bytes = b"agon call".to_vec();
        bytes.extend(signer.0);
        bytes.extend(nonce.to_le_bytes());
        // Numbers, lists and variants always serialize.
        bytes.extend(postcard::to_allocvec(&call).unwrap_or_default());
        Self { id: CallId(blake2_256(&bytes)), signer, nonce, call }
    }
}

impl Ledger {
    /// Hash of the block before the first.
    pub fn genesis_hash(&self) -> BlockHash {
        self.hashes.first().copied().unwrap_or(self.head.hash)
    }

    /// The newest block.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Hash of a block up to the newest.
    pub fn block_hash(&self, block: Block) -> Option<BlockHash> {
        self.hashes.get(usize::try_from(block.0).ok()?).copied()
    }

    /// Hash of every block, in order.
    pub fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// The same state at the end of a chain whose blocks have these hashes, the genesis first.
    pub fn with_hashes(mut self, hashes: Vec<BlockHash>) -> Self {
        let last =
            hashes.last().map(|hash| Head { block: Block(hashes.len() as u64 - 1), hash: *hash });
        self.head = last.unwrap_or(Self::no_head());
        self.hashes = hashes;
        self
    }

    /// When the calls of `signer` come in the next block, compared with those of others.
    ///
    /// A hash of key and parent, so that no key is always first, and none can choose when it is.
    pub fn turn(&self, signer: AccountId) -> [u8; 32] {
        blake2_256(&[self.head.hash.0, signer.0].concat())
    }

    /// Ends the block that [`start_block`](Self::start_block) began, which has this hash.
    pub fn end_block(&mut self, hash: BlockHash) -> Head {
        self.head = Head { block: self.now(), hash };
        self.hashes.push(hash);
        self.head
    }

    /// Makes the next block of `calls`, in an order that does not depend on theirs.
    ///
    /// Signers take turns; the calls of one signer come in the order of their nonces. The hash of
    /// the block binds parent, number and calls, and by the parents the genesis with its seed.
    pub fn produce_block(&mut self, mut calls: Vec<OwnCall>) -> Result<Produced, Error> {
        calls.sort_by_cached_key(|call| (self.turn(call.signer), call.nonce, call.id));
        let Started { revealed, epochs } = self.start_block()?;
        let mut applied = Vec::with_capacity(calls.len());
        let mut left_out = Vec::new();
        for OwnCall { id, signer, nonce, call } in calls {
            match self.apply(signer, nonce, Ok(call)) {
                Err(error) if error.leaves_no_trace() => left_out.push((id, error)),
                result => applied.push((id, result)),
            }
        }
        let mut bytes = b"agon block".to_vec();
        bytes.extend(self.head.hash.0);
        bytes.extend(self.now().0.to_le_bytes());
        applied.iter().for_each(|(id, _)| bytes.extend(id.0));
        let head = self.end_block(BlockHash(blake2_256(&bytes)));
        Ok(Produced { head, applied, left_out, revealed, epochs })
    }
}
