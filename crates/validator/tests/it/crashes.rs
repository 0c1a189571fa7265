//! A validator that dies at every single step goes on where it was.
//!
//! Whatever it keeps is in its journal, and everything else that it does goes through a port. So a
//! process that dies before or after each call of a port has died in every way that matters.

use crate::network::{NETUID, Network, hotkey};
use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair, MemoryChain,
    Metagraph, Rewards, Signed, StoredCommitment, Voter,
};
use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, NetUid, Reason, SequenceLoss, Uid,
    duel::DuelRules,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use validator::{
    Admission, Ask, Committed, Evaluate, Event, Had, Models, Ports, Publish, Sight, Terms, Trouble,
};

/// Burns down with each call, and then kills.
#[derive(Default)]
struct Fuse {
    n_calls: AtomicUsize,
    /// The call that kills, from 1; nothing dies at 0.
    dies_at: AtomicUsize,
}

impl Fuse {
    fn burn(&self) {
        let n_calls = self.n_calls.fetch_add(1, Ordering::SeqCst) + 1;
        if n_calls == self.dies_at.load(Ordering::SeqCst) {
            panic::panic_any(Killed);
        }
    }

    /// A call: it may die before anything happened, and before anybody hears of it.
    fn around<T>(&self, call: impl FnOnce() -> T) -> T {
        self.burn();
        let answer = call();
        self.burn();
        answer
    }
}

/// What a killed process leaves.
struct Killed;

/// Ports behind a fuse.
struct Fused {
    ports: Ports,
    /// The chain itself.
    memory: Arc<MemoryChain>,
    fuse: Arc<Fuse>,
    /// Weights that were signed: who is weighed.
    signed: Mutex<BTreeMap<CallId, Vec<u16>>>,
    /// Weights that were handed over: when, and who is weighed.
    weights: Mutex<BTreeMap<CallId, (Block, Vec<u16>)>>,
    /// Records that were published: number and digest.
    records: Mutex<BTreeSet<(u64, Digest)>>,
}

impl Fused {
    /// Who is weighed by a call that hides it.
    fn opened(&self, call: &Call) -> Vec<u16> {
        let weights = self.memory.ledger().opened(call).unwrap_or_else(|| panic!("{call:?}"));
        weights.uids
    }

    fn hand_over(&self, signed: &Signed) {
        let block = self.ports.chain.head().unwrap().block;
        let uids = self.signed.lock().unwrap()[&signed.id].clone();
        self.weights.lock().unwrap().entry(signed.id).or_insert((block, uids));
    }
}

impl Chain for Fused {
    fn head(&self) -> Result<Head, Error> {
        self.ports.chain.head()
    }
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.fuse.around(|| self.ports.chain.block_hash(block))
    }
    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.fuse.around(|| self.ports.chain.metagraph(netuid))
    }
    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.fuse.around(|| self.ports.chain.commitments(netuid, at))
    }
    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.fuse.around(|| self.ports.chain.rewards(netuid, at))
    }
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.fuse.around(|| self.ports.chain.voters(netuid, at))
    }
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.ports.chain.balance(coldkey)
    }
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.fuse.around(|| self.ports.chain.weights(netuid, uid))
    }
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.fuse.around(|| self.ports.chain.hiding(netuid))
    }
    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.fuse.around(|| self.ports.chain.demands(netuid))
    }
    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        let uids = self.opened(&call);
        let signed = self.fuse.around(|| self.ports.chain.sign(call, signer, last))?;
        self.signed.lock().unwrap().insert(signed.id, uids);
        Ok(signed)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.fuse.around(|| {
            self.hand_over(signed);
            self.ports.chain.send(signed)
        })
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.fuse.around(|| {
            self.hand_over(signed);
            self.ports.chain.resume(signed)
        })
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.fuse.around(|| self.ports.chain.status(id))
    }
}

impl Models for Fused {
    fn look(&self, competition: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        self.fuse.around(|| self.ports.models.look(competition, committed))
    }
    fn is_up(&self) -> bool {
        self.fuse.around(|| self.ports.models.is_up())
    }
    fn delivers(&self, committed: &Committed, admission: &Admission) -> bool {
        self.fuse.around(|| self.ports.models.delivers(committed, admission))
    }
    fn have(
        &self,
        competition: &Competition,
        committed: &Committed,
        terms: Terms<'_>,
    ) -> Result<Had, Trouble> {
        self.fuse.around(|| self.ports.models.have(competition, committed, terms))
    }
    fn keep(&self, file_roots: &[Digest], room_bytes: u64) -> anyhow::Result<()> {
        self.fuse.around(|| self.ports.models.keep(file_roots, room_bytes))
    }
    fn retain(&self, file_roots: &BTreeSet<Digest>) -> anyhow::Result<()> {
        self.fuse.around(|| self.ports.models.retain(file_roots))
    }
}

impl Evaluate for Fused {
    fn engine(&self) -> &str {
        self.ports.evaluate.engine()
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        // Between two losses, too.
        let mut learn = |losses: &[SequenceLoss]| self.fuse.around(|| learn(losses));
        self.fuse.burn();
        self.ports.evaluate.losses(ask, &mut learn)
    }
}

impl Publish for Fused {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.fuse.around(|| {
            self.records.lock().unwrap().insert((number, Digest::of(bytes)));
            self.ports.publish.record(competition, number, bytes)
        })
    }
    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        self.fuse.around(|| self.ports.publish.lacks(competition, numbers))
    }
}

/// What came of a run.
struct Run {
    n_calls: usize,
    records: BTreeSet<(u64, Digest)>,
    weights: BTreeMap<CallId, (Block, Vec<u16>)>,
    n_sequences: usize,
    /// The row of the validator at the end.
    row: Vec<(Uid, u16)>,
}

/// Three miners, judged by the mean of their losses.
fn by_losses() -> Network {
    Network::new(&["ada", "ben", "eve"])
}

/// The same by duels: that of the better model takes three rounds.
fn by_duels() -> Network {
    let rules = DuelRules {
        n_documents_pilot: 4,
        n_documents_min: 5,
        n_documents_max: 100,
        ..DuelRules::default()
    };
    by_losses().with_duels(rules, 10)
}

/// Four rounds of a network, killed once at a call; zero is no call.
fn run(network: &Network, dies_at: usize) -> Run {
    network.hide_weights(true);
    let (home, fuse) = (network.home(), Arc::new(Fuse::default()));
    fuse.dies_at.store(dies_at, Ordering::SeqCst);
    let fused = Arc::new(Fused {
        ports: network.ports(&home),
        memory: Arc::clone(&network.chain),
        fuse: Arc::clone(&fuse),
        signed: Mutex::default(),
        weights: Mutex::default(),
        records: Mutex::default(),
    });
    let open = || {
        let ports = Ports {
            chain: fused.clone(),
            models: fused.clone(),
            evaluate: fused.clone(),
            publish: fused.clone(),
        };
        network.validator_with(ports, &home)
    };
    network.enter("ada", "first", 3.0);
    network.enter("eve", "broken", 1.0);
    let mut validator = Some(open());
    let opens = |event: Event| {
        let is_lost = matches!(event, Event::WeightsNotRevealed { .. });
        // Whatever it died after, it knows its own weights again.
        let is_strange = matches!(event, Event::AnotherValidator { .. });
        assert!(!is_lost && !is_strange, "{event:?}");
    };
    for block in 12..=59_u64 {
        if block == 24 {
            network.enter("ben", "better", 2.5);
        }
        let head = network.chain.produce_block().unwrap();
        loop {
            let living = validator.take().unwrap_or_else(open);
            let acted = panic::catch_unwind(AssertUnwindSafe(|| {
                living.on_block(head, &opens).unwrap();
                living
            }));
            match acted {
                Ok(living) => break validator = Some(living),
                Err(killed) if killed.is::<Killed>() => {}
                Err(other) => panic::resume_unwind(other),
            }
        }
    }
    let state = validator.as_ref().unwrap().contest("tiny").unwrap();
    assert_eq!(state.champion.unwrap().hotkey, hotkey("ben").public());
    let records = fused.records.lock().unwrap().clone();
    let weights = fused.weights.lock().unwrap().clone();
    let n_calls = fuse.n_calls.load(Ordering::SeqCst);
    let n_sequences = *network.evaluate.n_sequences.lock().unwrap();
    let row = network.chain.weights(NETUID, network.uid("val")).unwrap();
    Run { n_calls, records, weights, n_sequences, row }
}

#[test]
fn a_validator_that_dies_after_any_single_step_ends_with_the_same_records_and_weights() {
    dies_after_each_step(by_losses);
}

#[test]
fn duels_go_on_to_the_same_records_after_any_single_step_that_a_validator_dies_after() {
    dies_after_each_step(by_duels);
}

fn dies_after_each_step(network: fn() -> Network) {
    // What is thrown is no failure of the test.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Killed>() {
            hook(info);
        }
    }));
    let whole = run(&network(), 0);
    assert_eq!(whole.records.len(), 4, "a record for each number");
    assert!(whole.n_calls > 100);
    assert!(!whole.row.is_empty(), "the chain has opened weights");
    for dies_at in 1..=whole.n_calls {
        let killed = run(&network(), dies_at);
        // The same to the bit: what was on its way to the chain is sent again, and not made again.
        assert_eq!(killed.records, whole.records, "killed at call {dies_at}");
        assert_eq!(killed.weights, whole.weights, "killed at call {dies_at}");
        assert_eq!(killed.row, whole.row, "killed at call {dies_at}");
        // At most the sequence that was being measured is measured twice.
        let n_more = killed.n_sequences - whole.n_sequences;
        assert!(n_more <= 1, "killed at call {dies_at}: {n_more} sequences again");
    }
}

#[test]
fn two_processes_never_share_a_home() {
    let network = Network::new(&["ada"]);
    let validator = network.validator();
    let home = network.home();
    let second = network.try_open(Arc::default(), network.ports(&home), &home, None);
    let error = format!("{:#}", second.err().unwrap());
    assert!(error.contains("another process uses") && error.contains("val"), "{error}");
    drop(validator);
    network.validator();
}
