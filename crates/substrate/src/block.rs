//! Blocks as Substrate has them: signed calls, and headers that bind them and the state.

use crate::{
    SignedCall,
    wire::{
        header::{self, Digest, Header},
        primitives::H256,
    },
};
use chain::{
    CallError, CallId, EpochSummary, Error, Genesis, Head, Ledger,
    hash::blake2_256,
    ledger::{Event, GenesisError, Started},
};
use protocol::BlockHash;
use std::ops::Deref;

/// A block, and what became of everything in it.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Number and hash.
    pub head: Head,
    /// What the hash is made of.
    pub header: Header,
    /// Calls that stand in the block, in the order of application, with their effects.
    pub applied: Vec<Applied>,
    /// Calls that could not enter it, and why: [`CallError::leaves_no_trace`].
    pub left_out: Vec<(CallId, CallError)>,
    /// Time-locked weights that were revealed at the start of the block.
    pub revealed: Vec<Event>,
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

/// Bytes that are no state of the ledger.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot does not read as a state")]
pub struct SnapshotError(#[from] postcard::Error);

/// A ledger that takes signed calls only, and whose blocks are hashed by their headers.
#[derive(Clone, Debug)]
pub struct SealedLedger(Ledger);

impl Deref for SealedLedger {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.0
    }
}

impl SealedLedger {
    /// The state before the first block.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        let unsealed = Self(Ledger::new(genesis)?);
        let hash = BlockHash(unsealed.genesis_header().hash());
        Ok(Self(unsealed.0.with_hashes(vec![hash])))
    }

    /// The header of the block before the first, in the state of which the ledger must be.
    pub fn genesis_header(&self) -> Header {
        Header {
            parent_hash: H256::default(),
            number: 0,
            state_root: self.state_root(),
            extrinsics_root: header::extrinsics_root(&[]),
            digest: Digest::default(),
        }
    }

    /// Whether the call fits a block, is its signer's, and is for this chain and the next block.
    ///
    /// And whether the signer is anybody, so that strangers cannot fill the queue at no cost.
    pub fn check_signed(&self, signed: &SignedCall) -> Result<(), CallError> {
        if !signed.fits() {
            return Err(CallError::ExhaustsResources);
        }
        if !self.knows(signed.signer) {
            return Err(CallError::UnknownSigner);
        }
        let birth = self.block_hash(signed.era.birth(self.now())).ok_or(CallError::BadSignature)?;
        if !signed.is_authentic(self.genesis_hash(), birth) {
            return Err(CallError::BadSignature);
        }
        Ok(())
    }

    /// Checks and applies one call of the block being built.
    ///
    /// A call that is not its signer's, not for this chain, or not next in turn leaves no trace.
    /// Any other uses up its nonce, and changes the rest of the state wholly or not at all.
    fn apply(&mut self, signed: &SignedCall) -> Result<Event, CallError> {
        self.check_signed(signed)?;
        self.0.apply(signed.signer, signed.nonce, signed.call.clone().try_into())
    }

    /// Makes the next block of `calls`, in an order that does not depend on theirs.
    ///
    /// Signers take turns in the order of a hash of their key with the parent's hash, so that no
    /// key is always first; the calls of one signer in the order of their nonces.
    pub fn produce_block(&mut self, calls: Vec<SignedCall>) -> Result<Produced, Error> {
        let named = |call: SignedCall| {
            let bytes = call.to_bytes();
            (CallId(blake2_256(&bytes)), bytes, call)
        };
        let mut calls: Vec<(CallId, Vec<u8>, SignedCall)> = calls.into_iter().map(named).collect();
        calls.sort_by_cached_key(|(id, _, call)| (self.turn(call.signer), call.nonce, *id));
        let Started { revealed, epochs } = self.0.start_block()?;
        let (mut applied, mut left_out) = (Vec::with_capacity(calls.len()), Vec::new());
        for (id, bytes, call) in calls {
            match self.apply(&call) {
                Err(error) if error.leaves_no_trace() => left_out.push((id, error)),
                result => applied.push(Applied { id, bytes, result }),
            }
        }
        let header = self.seal(&applied);
        Ok(Produced { head: self.head(), header, applied, left_out, revealed, epochs })
    }

    /// Ends the block: its header binds parent, number, calls and state.
    fn seal(&mut self, applied: &[Applied]) -> Header {
        let bodies: Vec<&[u8]> = applied.iter().map(|call| call.bytes.as_slice()).collect();
        let header = Header {
            parent_hash: self.head().hash.into(),
            // Blocks are seconds apart: 32 bits last for centuries.
            number: self.now().0 as u32,
            state_root: self.state_root(),
            extrinsics_root: header::extrinsics_root(&bodies),
            digest: Digest::default(),
        };
        self.0.end_block(BlockHash(header.hash()));
        header
    }

    fn state_root(&self) -> H256 {
        H256(blake2_256(&self.state_bytes()))
    }

    /// The whole state, field by field in the order of declaration; equal states have equal bytes.
    ///
    /// What the state root hashes, and what a node keeps to start quickly.
    pub(crate) fn state_bytes(&self) -> Vec<u8> {
        // Numbers, lists and ordered maps always serialize.
        postcard::to_allocvec(&self.0).unwrap_or_default()
    }

    /// The state that `bytes` hold, at the end of the chain with `hashes`.
    pub(crate) fn from_state_bytes(
        bytes: &[u8],
        hashes: Vec<BlockHash>,
    ) -> Result<Self, SnapshotError> {
        let ledger: Ledger = postcard::from_bytes(bytes)?;
        Ok(Self(ledger.with_hashes(hashes)))
    }
}

#[cfg(test)]
mod tests;
