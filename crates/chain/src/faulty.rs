//! Seeded failures around any chain: what a bad connection does to those who rely on it.

use crate::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair, Metagraph,
    Rewards, Signed, StoredCommitment, Voter,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Seed, Uid, seed::uniform_below};
use rand_chacha::ChaCha20Rng;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most blocks that a late call is held back.
const LATE_BLOCKS_MAX: u64 = 3;

/// How often something goes wrong, each in thousandths of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The request never arrives: an error, and nothing happened.
    pub lost_requests: u16,
    /// The answer gets lost: an error, although it happened.
    pub lost_replies: u16,
    /// A call arrives twice.
    pub duplicates: u16,
    /// A call arrives up to three blocks later.
    pub late: u16,
}

/// A chain behind a connection that fails at random; the same seed fails in the same places.
pub struct FaultyChain<C> {
    inner: C,
    rates: Rates,
    state: Mutex<State>,
}

struct State {
    random: ChaCha20Rng,
    held: Vec<Held>,
}

/// A call on its way.
struct Held {
    arrives: Block,
    signed: Signed,
}

impl<C: Chain> FaultyChain<C> {
    /// Puts a bad connection in front of `inner`.
    pub fn new(inner: C, seed: Seed, rates: Rates) -> Self {
        let random = seed.derive("faulty chain").stream();
        let state = State { random, held: Vec::new() };
        Self { inner, rates, state: Mutex::new(state) }
    }

    /// The chain behind the connection.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happens(&self, rate: u16) -> bool {
        // Drawn even at a rate of zero: the other rates then fail in the same places.
        uniform_below(&mut self.state().random, 1_000) < u64::from(rate)
    }

    /// Sends a request over the connection.
    fn ask<T>(
        &self,
        request: &'static str,
        answer: impl FnOnce(&C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.deliver()?;
        let (lost, reply_lost) =
            (self.happens(self.rates.lost_requests), self.happens(self.rates.lost_replies));
        if lost {
            return Err(Error::Unavailable { request });
        }
        let answer = answer(&self.inner);
        if reply_lost { Err(Error::Unavailable { request }) } else { answer }
    }

    /// Lets late calls arrive whose block has come.
    fn deliver(&self) -> Result<(), Error> {
        let head = self.inner.head()?.block;
        let mut state = self.state();
        let (due, held): (Vec<Held>, _) =
            std::mem::take(&mut state.held).into_iter().partition(|h| h.arrives <= head);
        state.held = held;
        for held in due {
            // A late call that is not taken is lost without a word, as on any network.
            let _ = self.inner.send(&held.signed);
        }
        Ok(())
    }

    /// Keeps a call back.
    fn hold(&self, signed: &Signed, head: Block) {
        let mut state = self.state();
        let wait = 1 + uniform_below(&mut state.random, LATE_BLOCKS_MAX);
        let arrives = Block(head.0.saturating_add(wait));
        state.held.push(Held { arrives, signed: signed.clone() });
    }

    fn deliver_one(
        &self,
        signed: &Signed,
        send: impl Fn(&C) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (late, twice) = (self.happens(self.rates.late), self.happens(self.rates.duplicates));
        self.deliver()?;
        if self.happens(self.rates.lost_requests) {
            return Err(Error::Unavailable { request: "submit" });
        }
        // What may have arrived counts as queued.
        let is_reply_lost = self.happens(self.rates.lost_replies);
        let sent = if late {
            self.hold(signed, self.inner.head()?.block);
            Ok(())
        } else if twice {
            send(&self.inner).and_then(|()| send(&self.inner))
        } else {
            send(&self.inner)
        };
        if is_reply_lost { Ok(()) } else { sent }
    }
}

impl<C: Chain> Chain for FaultyChain<C> {
    fn head(&self) -> Result<Head, Error> {
        self.ask("head", |chain| chain.head())
    }

    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.ask("block hash", |chain| chain.block_hash(block))
    }

    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.ask("metagraph", |chain| chain.metagraph(netuid))
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.ask("commitments", |chain| chain.commitments(netuid, at))
    }

    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.ask("rewards", |chain| chain.rewards(netuid, at))
    }

    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.ask("voters", |chain| chain.voters(netuid, at))
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.ask("balance", |chain| chain.balance(coldkey))
    }

    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.ask("weights", |chain| chain.weights(netuid, uid))
    }

    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.ask("rules of a subnet", |chain| chain.hiding(netuid))
    }

    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.ask("rules of a subnet", |chain| chain.demands(netuid))
    }

    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        self.ask("nonce", |chain| chain.sign(call, signer, last))
    }

    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.deliver_one(signed, |chain| chain.send(signed))
    }

    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.deliver_one(signed, |chain| chain.resume(signed))
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.ask("status", |chain| {
            if self.state().held.iter().any(|held| held.signed.id == id) {
                return Ok(CallStatus::Pending);
            }
            chain.status(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Genesis, Hyperparameters, MemoryChain, SubnetGenesis};

    const NETUID: NetUid = NetUid(1);

    fn key(number: u64) -> Keypair {
        Keypair::from_seed(Seed::of_number(number))
    }

    fn chain(seed: u64, rates: Rates) -> FaultyChain<MemoryChain> {
        let hyperparameters =
            Hyperparameters { commitment_rate_limit: 5, ..Hyperparameters::default() };
        let genesis = Genesis {
            accounts: vec![(key(0).public(), 1_000_000_000_000)],
            subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
            ..Genesis::default()
        };
        let inner = MemoryChain::new(&genesis).unwrap();
        FaultyChain::new(inner, Seed::of_number(seed), rates)
    }

    fn register(chain: &MemoryChain) {
        let call = Call::BurnedRegister { netuid: NETUID, hotkey: key(1).public() };
        chain.submit(call, &key(0)).unwrap();
        chain.produce_block().unwrap();
    }

    fn commit(text: &str) -> Call {
        Call::SetCommitment { netuid: NETUID, data: text.into() }
    }

    #[test]
    fn requests_fail_as_often_as_asked_for_and_in_the_same_places_for_a_seed() {
        let rates = Rates { lost_requests: 200, lost_replies: 100, ..Rates::default() };
        let fails = |seed| {
            let chain = chain(seed, rates);
            (0..1_000).map(|_| chain.head().is_err()).collect::<Vec<_>>()
        };
        let n_failed = fails(1).into_iter().filter(|failed| *failed).count();
        assert!((220..340).contains(&n_failed), "{n_failed} of 1000, 280 expected");
        assert_eq!(fails(1), fails(1));
        assert_ne!(fails(1), fails(2));
    }

    #[test]
    fn a_lost_request_did_nothing_and_a_lost_reply_did_everything() {
        for (lost_requests, lost_replies, expected) in [(1_000, 0, 0), (0, 1_000, 1)] {
            let chain = chain(1, Rates { lost_requests, lost_replies, ..Rates::default() });
            register(chain.inner());
            let signed = chain.inner().sign(commit("x"), &key(1), None).unwrap();
            assert_eq!(chain.send(&signed).is_ok(), lost_replies > 0);
            let head = chain.inner().produce_block().unwrap();
            let commitments = chain.inner().commitments(NETUID, head.block).unwrap();
            assert_eq!(commitments.len(), expected);
        }
    }

    #[test]
    fn a_call_that_arrives_twice_is_one_call() {
        let chain = chain(1, Rates { duplicates: 1_000, ..Rates::default() });
        register(chain.inner());
        let id = chain.submit(commit("x"), &key(1)).unwrap();
        chain.inner().produce_block().unwrap();
        assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(Block(2)));
        assert_eq!(chain.inner().ledger().nonce(key(1).public()), 1);
    }

    #[test]
    fn a_late_call_is_pending_until_it_arrives_and_keeps_its_name() {
        let chain = chain(1, Rates { late: 1_000, ..Rates::default() });
        register(chain.inner());
        let id = chain.submit(commit("x"), &key(1)).unwrap();
        chain.inner().produce_block().unwrap();
        assert_eq!(chain.inner().ledger().nonce(key(1).public()), 0, "not there yet");
        let mut statuses = Vec::new();
        for _ in 0..=LATE_BLOCKS_MAX {
            statuses.push(chain.status(id).unwrap());
            chain.inner().produce_block().unwrap();
        }
        assert!(statuses.contains(&CallStatus::Pending));
        assert!(matches!(chain.status(id).unwrap(), CallStatus::Applied(block) if block.0 > 2));
    }
}
