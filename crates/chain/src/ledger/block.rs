//! Blocks: the order of calls, and the hashes that bind them.

use super::{EpochSummary, Ledger};
use crate::{
    CallError, CallId, Error, Head, SignedCall,
    payload::{self, blake2_256},
};
use protocol::{Block, BlockHash};

/// A block, and what became of everything in it.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Number and hash.
    pub head: Head,
    /// Fate of each call, in the order of application.
    ///
    /// A call refused with [`CallError::BadSignature`], [`CallError::BadNonce`] or
    /// [`CallError::ExhaustsResources`] is no part of the block.
    pub results: Vec<(CallId, Result<(), CallError>)>,
    /// Epochs that ran at the start of the block.
    pub epochs: Vec<EpochSummary>,
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

    /// Makes the next block of `calls`, in an order that does not depend on theirs.
    ///
    /// Signers take turns in the order of a hash of their key with the parent's hash, so that no
    /// key is always first; the calls of one signer in the order of their nonces.
    pub fn produce_block(&mut self, mut calls: Vec<SignedCall>) -> Result<Produced, Error> {
        let (genesis, parent) = (self.genesis_hash(), self.head.hash);
        let turn = |call: &SignedCall| {
            let hash = blake2_256(&[parent.0, call.signer.0].concat());
            (hash, call.nonce, call.id(genesis))
        };
        calls.sort_by_cached_key(turn);
        let epochs = self.start_block()?;
        let mut body = Vec::new();
        let mut results = Vec::with_capacity(calls.len());
        for call in &calls {
            let (id, result) = (call.id(genesis), self.apply(call));
            if !result.is_err_and(CallError::leaves_no_trace) {
                body.extend(id.0);
            }
            results.push((id, result));
        }
        let head = self.seal(blake2_256(&body));
        Ok(Produced { head, results, epochs })
    }

    /// Ends the block: hashes parent, number, calls (without their signatures, which could be
    /// made in many ways) and state.
    fn seal(&mut self, calls_root: [u8; 32]) -> Head {
        let block = self.now();
        let header = [&self.head.hash.0[..], &block.0.to_le_bytes(), &calls_root, &self.digest()];
        let hash = BlockHash(blake2_256(&header.concat()));
        self.hashes.push(hash);
        self.head = Head { block, hash };
        self.head
    }

    /// Hash of the whole state, field by field in a fixed order.
    fn digest(&self) -> [u8; 32] {
        let mut state = payload::Hasher::new("agon state");
        state.numbers([self.issued_rao, self.burned_rao, self.network_price_rao]);
        state.count(self.accounts.len());
        for (account, entry) in &self.accounts {
            state.bytes(&account.0).numbers([entry.balance_rao, entry.nonce]);
        }
        state.count(self.owners.len());
        for (hotkey, coldkey) in &self.owners {
            state.bytes(&hotkey.0).bytes(&coldkey.0);
        }
        state.count(self.stakes.len());
        for ((hotkey, coldkey), rao) in &self.stakes {
            state.bytes(&hotkey.0).bytes(&coldkey.0).numbers([*rao]);
        }
        state.count(self.subnets.len());
        for (netuid, subnet) in &self.subnets {
            state.numbers([netuid.0.into()]);
            subnet.absorb(&mut state);
        }
        state.finish()
    }
}
