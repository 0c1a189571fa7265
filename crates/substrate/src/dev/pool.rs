//! Calls that wait for a block.

use crate::{SealedLedger, SignedCall};
use chain::hash::blake2_256;
use chain::{CallError, CallId};
use protocol::{AccountId, Block};
use std::collections::{BTreeMap, HashMap};

/// Most calls that wait.
pub const POOL_CALLS_MAX: usize = 8_192;

/// Most calls of one signer that wait.
pub const POOL_CALLS_PER_SIGNER_MAX: u32 = 256;

/// Most bytes of calls that wait.
pub const POOL_BYTES_MAX: usize = 64 << 20;

/// Most calls in a block.
pub const BLOCK_CALLS_MAX: usize = 1_024;

/// Most bytes of calls in a block: in hexadecimal digits they must fit an answer that clients take.
pub const BLOCK_BYTES_MAX: usize = 3 << 20;

/// A call that waits.
struct Waiting {
    id: CallId,
    call: SignedCall,
    n_bytes: usize,
    /// Place in the order of arrival.
    arrival: u64,
    /// First block that cannot take it any more.
    death: Option<Block>,
}

/// Calls that wait for a block, each signer's by nonce.
#[derive(Default)]
pub(super) struct Pool {
    waiting: BTreeMap<(AccountId, u32), Waiting>,
    ids: HashMap<CallId, (AccountId, u32)>,
    n_bytes: usize,
    arrivals: u64,
}

/// Why a call does not get in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Turned {
    /// It waits already.
    #[error("Transaction Already Imported")]
    Known,
    /// Another call of the signer has the nonce.
    #[error("Priority is too low: another transaction of the sender has this nonce")]
    Taken,
    /// No room, for anybody or for this signer.
    #[error("Immediately Dropped: the pool is full")]
    Full,
    /// The nonce is further ahead than calls of one signer may wait.
    #[error(
        "Immediately Dropped: the nonce is {ahead} ahead of the account's next, and at most {} \
         calls of one account wait",
        POOL_CALLS_PER_SIGNER_MAX
    )]
    Far {
        /// How far.
        ahead: u32,
    },
    /// The nonce was used.
    #[error("Transaction is outdated")]
    Stale,
    /// The signer is nobody, or the call is not its own, not for this chain, not for this time, or
    /// too large; in the words of Substrate, which clients know.
    #[error("{}", match .0 {
        CallError::ExhaustsResources => "Transaction would exhaust the block limits",
        CallError::UnknownSigner => "Inability to pay some fees (e.g. account balance too low)",
        _ => "Transaction has a bad signature",
    })]
    Refused(CallError),
}

impl Pool {
    /// Takes a call in, unless it could never enter a block.
    pub(super) fn admit(
        &mut self,
        call: SignedCall,
        ledger: &SealedLedger,
    ) -> Result<CallId, Turned> {
        let bytes = call.to_bytes();
        let id = CallId(blake2_256(&bytes));
        if self.ids.contains_key(&id) {
            return Err(Turned::Known);
        }
        let next = ledger.nonce(call.signer);
        if call.nonce < next {
            return Err(Turned::Stale);
        }
        let ahead = call.nonce - next;
        if ahead >= POOL_CALLS_PER_SIGNER_MAX {
            return Err(Turned::Far { ahead });
        }
        let n_bytes = bytes.len();
        let is_full = self.n_bytes + n_bytes > POOL_BYTES_MAX;
        if is_full || self.waiting.len() >= POOL_CALLS_MAX {
            return Err(Turned::Full);
        }
        let place = (call.signer, call.nonce);
        if self.waiting.contains_key(&place) {
            return Err(Turned::Taken);
        }
        // Last, because it costs the most.
        ledger.check_signed(&call).map_err(Turned::Refused)?;
        let death = call.era.death(Block(ledger.head().block.0 + 1));
        self.arrivals += 1;
        self.ids.insert(id, place);
        self.n_bytes += n_bytes;
        let arrival = self.arrivals;
        self.waiting.insert(place, Waiting { id, call, n_bytes, arrival, death });
        Ok(id)
    }

    /// Calls for the next block: those whose turn it is, the first to arrive first.
    pub(super) fn ready(&self, ledger: &SealedLedger) -> Vec<SignedCall> {
        let mut in_turn: Vec<(u64, &Waiting)> = Vec::new();
        let mut last: Option<(AccountId, u32, u64)> = None;
        for (&(signer, nonce), waiting) in &self.waiting {
            let (turn, earliest) = match last {
                Some((same, before, arrival)) if same == signer => {
                    (before.saturating_add(1), arrival)
                }
                _ => (ledger.nonce(signer), 0),
            };
            if nonce == turn {
                // A call goes no earlier than those of its signer before it.
                let arrival = waiting.arrival.max(earliest);
                in_turn.push((arrival, waiting));
                last = Some((signer, nonce, arrival));
            }
        }
        in_turn.sort_by_key(|(arrival, waiting)| (*arrival, waiting.call.nonce));
        let mut n_bytes = 0;
        let fits = |(_, waiting): &(u64, &Waiting)| {
            n_bytes += waiting.n_bytes;
            n_bytes <= BLOCK_BYTES_MAX
        };
        let calls = in_turn.into_iter().take(BLOCK_CALLS_MAX).take_while(fits);
        calls.map(|(_, waiting)| waiting.call.clone()).collect()
    }

    /// Drops what a new block took or made impossible; gives the names of the latter.
    pub(super) fn settle(&mut self, ledger: &SealedLedger, left_out: &[CallId]) -> Vec<CallId> {
        let next = Block(ledger.head().block.0 + 1);
        let mut gone = Vec::new();
        self.waiting.retain(|(signer, nonce), waiting| {
            let is_used = *nonce < ledger.nonce(*signer);
            let is_dead = waiting.death.is_some_and(|death| death <= next);
            let stays = !is_used && !is_dead && !left_out.contains(&waiting.id);
            if !stays {
                gone.push((waiting.id, waiting.n_bytes));
            }
            stays
        });
        for (id, n_bytes) in &gone {
            self.ids.remove(id);
            self.n_bytes -= n_bytes;
        }
        gone.into_iter().map(|(id, _)| id).collect()
    }

    /// Next nonces of all signers whose calls wait, past those that wait in a row.
    pub(super) fn nonces(&self, ledger: &SealedLedger) -> HashMap<AccountId, u32> {
        let mut nonces = HashMap::new();
        for &(signer, nonce) in self.waiting.keys() {
            let next = nonces.entry(signer).or_insert_with(|| ledger.nonce(signer));
            if nonce == *next {
                *next = nonce.saturating_add(1);
            }
        }
        nonces
    }

    /// Bytes of calls that wait: of as many as fit a block.
    pub(super) fn pending(&self) -> Vec<Vec<u8>> {
        let mut n_bytes = 0;
        let fits = |waiting: &&Waiting| {
            n_bytes += waiting.n_bytes;
            n_bytes <= BLOCK_BYTES_MAX
        };
        let waiting = self.waiting.values().take(BLOCK_CALLS_MAX).take_while(fits);
        waiting.map(|waiting| waiting.call.to_bytes()).collect()
    }
}

#[cfg(test)]
mod tests;
