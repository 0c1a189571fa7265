//! Blocks: the order of calls, and the hashes that bind them.

use super::{EpochSummary, Event, Ledger};
use crate::{
    CallError, CallId, Error, Head, SignedCall,
    extrinsic::blake2_256,
    wire::{
        header::{self, Digest, Header},
        primitives::H256,
    },
};
use protocol::{Block, BlockHash};

/// A block, and what became of everything in it.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Number and hash.
    pub head: Head,
    /// What the hash is made of.
    pub header: Header,
    /// Calls that stand in the block, in the order of application, with their effects.
    pub applied: Vec<Applied>,
    /// Calls that could not enter it, and why.
    ///
    /// [`CallError::BadSignature`], [`CallError::BadNonce`] or [`CallError::ExhaustsResources`].
    pub left_out: Vec<(CallId, CallError)>,
    /// Epochs that ran at the start of the block.
    pub epochs: Vec<EpochSummary>,
}

/// A call in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Name of the call.
    pub id: CallId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it did, or why it was refused.
    pub result: Result<Event, CallError>,
}

impl Ledger {
    /// Hash of the state before the first block; signatures name it.
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
    pub(crate) fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// The header of the block before the first, in the state of which the ledger must be.
    pub(crate) fn genesis_header(&self) -> Header {
        self.header(header::extrinsics_root(&[]))
    }

    /// Makes the next block of `calls`, in an order that does not depend on theirs.
    ///
    /// Signers take turns in the order of a hash of their key with the parent's hash, so that no
    /// key is always first; the calls of one signer in the order of their nonces.
    pub fn produce_block(&mut self, mut calls: Vec<SignedCall>) -> Result<Produced, Error> {
        let parent = self.head.hash;
        let turn = |call: &SignedCall| {
            let hash = blake2_256(&[parent.0, call.signer.0].concat());
            (hash, call.nonce, call.id())
        };
        calls.sort_by_cached_key(turn);
        let epochs = self.start_block()?;
        let (mut applied, mut left_out) = (Vec::with_capacity(calls.len()), Vec::new());
        for call in &calls {
            let (bytes, result) = (call.to_bytes(), self.apply(call));
            let id = CallId(blake2_256(&bytes));
            match result {
                Err(error) if error.leaves_no_trace() => left_out.push((id, error)),
                result => applied.push(Applied { id, bytes, result }),
            }
        }
        let header = self.seal(&applied);
        Ok(Produced { head: self.head, header, applied, left_out, epochs })
    }

    /// Ends the block: its header binds parent, number, calls and state.
    fn seal(&mut self, applied: &[Applied]) -> Header {
        let bodies: Vec<&[u8]> = applied.iter().map(|call| call.bytes.as_slice()).collect();
        let block = self.now();
        let parent = self.head.hash;
        self.head.block = block;
        let header =
            Header { parent_hash: parent.into(), ..self.header(header::extrinsics_root(&bodies)) };
        self.head.hash = BlockHash(header.hash());
        self.hashes.push(self.head.hash);
        header
    }

    /// The header of the newest block, whose number is set but whose hash is not.
    pub(super) fn header(&self, extrinsics_root: H256) -> Header {
        Header {
            parent_hash: H256::default(),
            // Blocks are seconds apart: 32 bits last for centuries.
            number: self.head.block.0 as u32,
            state_root: H256(blake2_256(&self.state_bytes())),
            extrinsics_root,
            digest: Digest::default(),
        }
    }
}
