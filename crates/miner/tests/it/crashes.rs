//! A miner that dies at every single step trains on where it was and commits to nothing twice.
//!
//! Whatever it keeps is in its journal and its folder, and everything else that it does goes
//! through the chain, the hub and its training. So a process that dies before or after each of
//! those calls has died in every way that matters.

use crate::{
    network::{Falling, NETUID, Network},
    tapped::{HubTap, TappedHub},
};
use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair, Metagraph,
    Rewards, Signed, StoredCommitment, Voter,
};
use miner::{Miner, StepReport, Strategy, Train};
use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a killed process leaves.
struct Killed;

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
            panic::resume_unwind(Box::new(Killed));
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

type Commitments = Arc<Mutex<Vec<(CallId, Vec<u8>)>>>;

/// Something behind a fuse.
struct Fused<T> {
    inner: T,
    fuse: Arc<Fuse>,
    /// Commitments that were handed over, once for each signed call.
    commitments: Commitments,
}

impl Chain for Fused<Arc<dyn Chain>> {
    fn head(&self) -> Result<Head, Error> {
        self.inner.head()
    }
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.inner.block_hash(block)
    }
    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.inner.metagraph(netuid)
    }
    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.fuse.around(|| self.inner.commitments(netuid, at))
    }
    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.fuse.around(|| self.inner.rewards(netuid, at))
    }
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.fuse.around(|| self.inner.voters(netuid, at))
    }
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.inner.balance(coldkey)
    }
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.inner.weights(netuid, uid)
    }
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.inner.hiding(netuid)
    }
    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.inner.demands(netuid)
    }
    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        let Call::SetCommitment { data, .. } = call.clone() else { panic!("{call:?}") };
        let signed = self.fuse.around(|| self.inner.sign(call, signer, last))?;
        let mut commitments = self.commitments.lock().unwrap();
        if commitments.last().is_none_or(|(id, _)| *id != signed.id) {
            commitments.push((signed.id, data));
        }
        Ok(signed)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.fuse.around(|| self.inner.send(signed))
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.fuse.around(|| self.inner.resume(signed))
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.fuse.around(|| self.inner.status(id))
    }
}

/// A fuse on the way to a hub.
struct HubFuse(Arc<Fuse>);

impl HubTap for HubFuse {
    fn around<T>(&self, request: impl FnOnce() -> Result<T, hub::Error>) -> Result<T, hub::Error> {
        self.0.around(request)
    }
}

impl Train for Fused<Falling> {
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<bool> {
        self.fuse.around(|| self.inner.rebase(dir))
    }
    fn step(&mut self) -> anyhow::Result<StepReport> {
        self.fuse.around(|| self.inner.step())
    }
    fn held_out_loss(&mut self) -> anyhow::Result<f64> {
        self.fuse.around(|| self.inner.held_out_loss())
    }
    fn loss_of(&mut self, dir: &Path) -> anyhow::Result<Option<f64>> {
        self.fuse.around(|| self.inner.loss_of(dir))
    }
    fn save(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.fuse.around(|| self.inner.save(dir))
    }
    fn checkpoint(&mut self, dir: &Path, n_steps: u64) -> anyhow::Result<()> {
        self.fuse.around(|| self.inner.checkpoint(dir, n_steps))
    }
    fn resume(&mut self, dir: &Path) -> anyhow::Result<Option<u64>> {
        self.inner.resume(dir)
    }
}

/// What a run came to.
#[derive(Debug, PartialEq)]
struct Run {
    /// Calls that commit, in order.
    committed: Vec<(CallId, Vec<u8>)>,
    /// The commitments that stand on the chain, with their blocks.
    on_chain: Vec<StoredCommitment>,
    /// The model that was published last.
    last: String,
    n_steps: u64,
}

/// A rebaser beside a champion, for some blocks, killed at one of its calls.
struct Story {
    network: Network,
    fuse: Arc<Fuse>,
    commitments: Commitments,
}

const N_BLOCKS: u64 = 9;
const REBASE: Strategy = Strategy::Rebase { patience_blocks: 2 };

impl Story {
    fn new(dies_at: usize) -> Self {
        let network = Network::new(&["ada", "ray"], 3);
        let mut ada = network.miner("ada", Strategy::Pretrain, None);
        network.run(&mut ada, 8);
        network.crown(1);
        let fuse = Fuse { dies_at: AtomicUsize::new(dies_at), ..Fuse::default() };
        Self { network, fuse: Arc::new(fuse), commitments: Arc::default() }
    }

    fn fused<T>(&self, inner: T) -> Fused<T> {
        let (fuse, commitments) = (Arc::clone(&self.fuse), Arc::clone(&self.commitments));
        Fused { inner, fuse, commitments }
    }

    fn open(&self) -> Miner {
        let mut publisher = self.network.publisher("ray", None);
        publisher.chain = Arc::new(self.fused(publisher.chain));
        let tap = HubFuse(Arc::clone(&self.fuse));
        publisher.hub = Arc::new(TappedHub { inner: publisher.hub, tap });
        let train = self.fused(Falling { loss: 3.0, n_steps: 0 });
        self.network.open("ray", REBASE, publisher, Box::new(train)).unwrap()
    }

    /// Tells the story to its end, and how often the miner died.
    fn tell(&self) -> (Run, usize) {
        let mut n_deaths = 0;
        let mut miner = None;
        for _ in 0..N_BLOCKS {
            let head = self.network.chain.produce_block().unwrap();
            loop {
                let acted = panic::catch_unwind(AssertUnwindSafe(|| {
                    let mut living = miner.take().unwrap_or_else(|| self.open());
                    living.on_block(head, &|_| {}).unwrap();
                    living
                }));
                match acted {
                    Ok(living) => break miner = Some(living),
                    Err(death) if death.is::<Killed>() => n_deaths += 1,
                    Err(panic) => panic::resume_unwind(panic),
                }
            }
        }
        let n_steps = miner.unwrap().state().n_steps;
        let head = self.network.chain.produce_block().unwrap();
        let last = self.network.home("ray").join("published/model.safetensors");
        let run = Run {
            committed: self.commitments.lock().unwrap().clone(),
            on_chain: self.network.chain.commitments(NETUID, head.block).unwrap(),
            last: std::fs::read_to_string(last).unwrap(),
            n_steps,
        };
        (run, n_deaths)
    }
}

#[test]
fn a_miner_that_dies_at_any_step_trains_on_and_commits_to_nothing_twice() {
    let story = Story::new(0);
    let (whole, _) = story.tell();
    assert!(whole.committed.len() > 2 && whole.n_steps == 2 * N_BLOCKS, "{whole:?}");
    let n_calls = story.fuse.n_calls.load(Ordering::SeqCst);
    assert!(n_calls > 80, "{n_calls}");
    for dies_at in 1..=n_calls {
        let (run, n_deaths) = Story::new(dies_at).tell();
        assert_eq!((n_deaths, &run), (1, &whole), "killed at call {dies_at}");
    }
}

#[test]
fn a_checkpoint_that_is_gone_is_said_and_not_trained_again() {
    let network = Network::new(&["ada"], 1);
    let open = || {
        let train = Box::new(Falling { loss: 3.0, n_steps: 0 });
        network.open("ada", Strategy::Pretrain, network.publisher("ada", None), train)
    };
    let mut ada = open().unwrap();
    network.run(&mut ada, 6);
    drop(ada);
    std::fs::remove_dir_all(network.home("ada").join("checkpoint")).unwrap();
    let error = open().err().unwrap();
    assert!(format!("{error:#}").contains("12 steps of training"), "{error:#}");
}
