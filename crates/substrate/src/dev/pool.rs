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
mod tests {
    use super::*;
    use crate::Era;
    use chain::{Call, Genesis, Keypair};
    use protocol::Seed;

    fn key(number: u64) -> Keypair {
        Keypair::from_seed(Seed::of_number(number))
    }

    fn ledger() -> SealedLedger {
        let accounts = (0..40).map(|i| (key(i).public(), 1_000_000)).collect();
        SealedLedger::new(&Genesis { accounts, ..Genesis::default() }).unwrap()
    }

    fn call(ledger: &SealedLedger, signer: u64, nonce: u32) -> SignedCall {
        let call = Call::Remark { data: vec![signer as u8] };
        SignedCall::sign(call, nonce, ledger.genesis_hash(), &key(signer))
    }

    fn order(pool: &Pool, ledger: &SealedLedger) -> Vec<(AccountId, u32)> {
        pool.ready(ledger).into_iter().map(|call| (call.signer, call.nonce)).collect()
    }

    #[test]
    fn calls_leave_in_the_order_of_arrival_but_each_signers_by_nonce() {
        let (ledger, mut pool) = (ledger(), Pool::default());
        for (signer, nonce) in [(1, 1), (2, 0), (1, 0), (3, 2), (2, 1)] {
            pool.admit(call(&ledger, signer, nonce), &ledger).unwrap();
        }
        let named = |signer: u64, nonce| (key(signer).public(), nonce);
        let expected = [named(2, 0), named(1, 0), named(1, 1), named(2, 1)];
        assert_eq!(order(&pool, &ledger), expected, "the gap of signer 3 waits");
        assert_eq!(pool.nonces(&ledger)[&key(3).public()], 0);
        assert_eq!(pool.nonces(&ledger)[&key(1).public()], 2);
    }

    #[test]
    fn what_a_block_took_or_made_impossible_leaves() {
        let (mut ledger, mut pool) = (ledger(), Pool::default());
        let first = pool.admit(call(&ledger, 1, 0), &ledger).unwrap();
        let gap = pool.admit(call(&ledger, 1, 2), &ledger).unwrap();
        let era = (Era::mortal(4, Block(0)), ledger.genesis_hash());
        let remark = Call::Remark { data: Vec::new() };
        let genesis = ledger.genesis_hash();
        let mortal = SignedCall::sign_in_era(remark.into(), 7, era, genesis, &key(2));
        let mortal = pool.admit(mortal, &ledger).unwrap();
        ledger.produce_block(pool.ready(&ledger)).unwrap();
        assert_eq!(pool.settle(&ledger, &[]), [first]);
        assert_eq!(pool.admit(call(&ledger, 1, 0), &ledger), Err(Turned::Stale));
        for _ in 0..2 {
            ledger.produce_block(Vec::new()).unwrap();
        }
        assert_eq!(pool.settle(&ledger, &[]), [mortal], "block 4 is beyond its era");
        assert_eq!(pool.settle(&ledger, &[gap]), [gap], "left out by the block");
        assert!(pool.pending().is_empty());
    }

    #[test]
    fn attack_a_call_seen_on_the_way_cannot_be_submitted_again() {
        let (mut ledger, mut pool) = (ledger(), Pool::default());
        let seen = call(&ledger, 1, 0);
        pool.admit(seen.clone(), &ledger).unwrap();
        assert_eq!(pool.admit(seen.clone(), &ledger), Err(Turned::Known));
        ledger.produce_block(pool.ready(&ledger)).unwrap();
        pool.settle(&ledger, &[]);
        assert_eq!(pool.admit(seen.clone(), &ledger), Err(Turned::Stale));
        let bent = SignedCall { nonce: 1, ..seen };
        let refused = Err(Turned::Refused(CallError::BadSignature));
        assert_eq!(pool.admit(bent, &ledger), refused);
        assert_eq!(ledger.nonce(key(1).public()), 1);
    }

    #[test]
    fn attack_one_signer_fills_its_own_share_and_no_more() {
        let (ledger, mut pool) = (ledger(), Pool::default());
        let known = pool.admit(call(&ledger, 1, 0), &ledger).unwrap();
        assert_eq!(pool.admit(call(&ledger, 1, 0), &ledger), Err(Turned::Known));
        let other = Call::Transfer { to: key(2).public(), amount_rao: 1 };
        let other = SignedCall::sign(other, 0, ledger.genesis_hash(), &key(1));
        assert_eq!(pool.admit(other, &ledger), Err(Turned::Taken), "first come, first served");
        for nonce in 1..POOL_CALLS_PER_SIGNER_MAX {
            pool.admit(call(&ledger, 1, nonce), &ledger).unwrap();
        }
        let beyond = call(&ledger, 1, POOL_CALLS_PER_SIGNER_MAX);
        let far = Turned::Far { ahead: POOL_CALLS_PER_SIGNER_MAX };
        assert!(far.to_string().contains("256 ahead"), "{far}");
        assert_eq!(pool.admit(beyond, &ledger), Err(far));
        let last = pool.admit(call(&ledger, 1, u32::MAX), &ledger);
        assert_eq!(last, Err(Turned::Far { ahead: u32::MAX }));
        let stranger = Turned::Refused(CallError::UnknownSigner);
        assert_eq!(pool.admit(call(&ledger, 77, 0), &ledger), Err(stranger));
        pool.admit(call(&ledger, 2, 0), &ledger).unwrap();
        assert!(pool.ids.contains_key(&known));
    }

    #[test]
    fn attack_giant_calls_fill_a_block_by_their_bytes() {
        let (ledger, mut pool) = (ledger(), Pool::default());
        let n_bytes = 30_000;
        let fill = |signer: u64, nonce| {
            let call = Call::Remark { data: vec![0; n_bytes] };
            SignedCall::sign(call, nonce, ledger.genesis_hash(), &key(signer))
        };
        for nonce in 0..200 {
            pool.admit(fill(1, nonce), &ledger).unwrap();
        }
        let n_taken = pool.ready(&ledger).len();
        assert_eq!(n_taken, BLOCK_BYTES_MAX / (n_bytes + 110), "{n_taken}");
        assert!(pool.pending().len() <= n_taken);
        pool.n_bytes = POOL_BYTES_MAX - n_bytes;
        assert_eq!(pool.admit(fill(2, 0), &ledger), Err(Turned::Full));
    }

    #[test]
    fn attack_many_signers_fill_the_pool_and_no_more() {
        let (ledger, mut pool) = (ledger(), Pool::default());
        let n_signers = POOL_CALLS_MAX as u64 / u64::from(POOL_CALLS_PER_SIGNER_MAX);
        for signer in 0..n_signers {
            for nonce in 0..POOL_CALLS_PER_SIGNER_MAX {
                pool.admit(call(&ledger, signer, nonce), &ledger).unwrap();
            }
        }
        assert_eq!(pool.waiting.len(), POOL_CALLS_MAX);
        assert_eq!(pool.admit(call(&ledger, 39, 0), &ledger), Err(Turned::Full));
        assert_eq!(pool.ready(&ledger).len(), BLOCK_CALLS_MAX);
    }
}
