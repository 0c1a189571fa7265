//! A chain in memory, a hub on disk, and training that follows a formula.

use chain::{
    Call, Chain, Keypair, MemoryChain,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use hub::{Hub, StoreHub};
use journal::Journal;
use miner::{Check, Event, Miner, Outbox, Plan, Publisher, StepReport, Strategy, Train};
use protocol::{Commitment, Competition, NetUid, Seed, Uid};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

pub(crate) const NETUID: NetUid = NetUid(1);

/// Training that lowers the loss by a hundredth per step; a model is its loss, written down.
pub(crate) struct Falling {
    pub(crate) loss: f64,
    pub(crate) n_steps: u64,
}

impl Train for Falling {
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<bool> {
        let loss = self.loss_of(dir)?.unwrap();
        if loss > 1_000.0 {
            return Ok(false);
        }
        self.loss = loss;
        Ok(true)
    }

    fn step(&mut self) -> anyhow::Result<StepReport> {
        self.n_steps += 1;
        self.loss *= 0.99;
        Ok(StepReport { step: self.n_steps, loss: self.loss })
    }

    fn held_out_loss(&mut self) -> anyhow::Result<f64> {
        Ok(self.loss)
    }

    fn loss_of(&mut self, dir: &Path) -> anyhow::Result<Option<f64>> {
        Ok(fs::read_to_string(dir.join("model.safetensors"))?.parse().ok())
    }

    fn save(&mut self, dir: &Path) -> anyhow::Result<()> {
        fs::create_dir(dir)?;
        fs::write(dir.join("config.json"), "{}")?;
        Ok(fs::write(dir.join("model.safetensors"), self.loss.to_string())?)
    }

    fn checkpoint(&mut self, dir: &Path, n_steps: u64) -> anyhow::Result<()> {
        fs::create_dir_all(dir)?;
        let text = serde_json::to_vec(&(n_steps, self.n_steps, self.loss))?;
        Ok(disk::write(&dir.join("checkpoint"), &text)?)
    }

    fn resume(&mut self, dir: &Path) -> anyhow::Result<Option<u64>> {
        let Ok(text) = fs::read(dir.join("checkpoint")) else { return Ok(None) };
        let n_steps;
        (n_steps, self.n_steps, self.loss) = serde_json::from_slice(&text)?;
        Ok(Some(n_steps))
    }
}

pub(crate) struct Network {
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) hub: Arc<dyn Hub>,
    pub(crate) competition: Competition,
    /// Of the plans of its miners.
    pub(crate) improvement_own: f64,
    folder: TempDir,
}

pub(crate) fn hotkey(name: &str) -> Keypair {
    Keypair::from_seed(Seed::of_number(2).derive(name))
}

pub(crate) fn coldkey(name: &str) -> Keypair {
    hotkey(&format!("coldkey of {name}"))
}

impl Network {
    /// A validator `val` with all the stake, uid 0, and miners from uid 1 on.
    pub(crate) fn new(miners: &[&str], commitment_rate_limit: u64) -> Self {
        let names: Vec<&str> = std::iter::once("val").chain(miners.iter().copied()).collect();
        let hyperparameters = Hyperparameters {
            tempo: 9,
            max_validators: 1,
            target_registrations: 100,
            max_registrations_per_block: 100,
            weights_rate_limit: 1,
            commitment_rate_limit,
            ..Hyperparameters::default()
        };
        let genesis = Genesis {
            seed: 2,
            accounts: names
                .iter()
                .map(|name| (coldkey(name).public(), 2_000 * RAO_PER_TAO))
                .collect(),
            subnets: vec![SubnetGenesis { owner: coldkey("owner").public(), hyperparameters }],
            ..Genesis::default()
        };
        let chain = Arc::new(MemoryChain::new(&genesis).unwrap());
        for name in names {
            let hotkey = hotkey(name).public();
            chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &coldkey(name)).unwrap();
            if name == "val" {
                let call =
                    Call::AddStake { hotkey, netuid: NETUID, amount_rao: 1_000 * RAO_PER_TAO };
                chain.submit(call, &coldkey(name)).unwrap();
            }
            chain.produce_block().unwrap();
        }
        while chain.head().unwrap().block.0 < 10 {
            chain.produce_block().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let hub: Arc<dyn Hub> = Arc::new(StoreHub::open(&folder.path().join("hub")).unwrap());
        let competition = Competition::builtin("tiny").unwrap();
        Self { chain, hub, competition, improvement_own: 0.03, folder }
    }

    pub(crate) fn publisher(&self, name: &str, check: Option<Check>) -> Publisher {
        Publisher {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            hub: Arc::clone(&self.hub),
            keypair: hotkey(name),
            netuid: NETUID,
            competition: self.competition.clone(),
            repo: format!("{name}/model").parse().unwrap(),
            check,
        }
    }

    pub(crate) fn miner(&self, name: &str, strategy: Strategy, check: Option<Check>) -> Miner {
        let (train, journal) = (Falling { loss: 3.0, n_steps: 0 }, Journal::memory());
        self.begin(name, strategy, self.publisher(name, check), (Box::new(train), journal)).unwrap()
    }

    /// A miner that goes on in its folder.
    pub(crate) fn open(
        &self,
        name: &str,
        strategy: Strategy,
        publisher: Publisher,
        train: Box<dyn Train>,
    ) -> anyhow::Result<Miner> {
        self.begin(name, strategy, publisher, (train, Journal::open(&self.home(name))?))
    }

    fn begin(
        &self,
        name: &str,
        strategy: Strategy,
        publisher: Publisher,
        (train, journal): (Box<dyn Train>, Journal),
    ) -> anyhow::Result<Miner> {
        let plan = Plan {
            strategy,
            steps_per_block: 2,
            n_steps_unpublished: 0,
            n_steps: 200,
            blocks_per_measure: 2,
            improvement: 0.03,
            improvement_own: self.improvement_own,
        };
        Miner::open(plan, Outbox::open(publisher, self.home(name), journal)?, train)
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `n` blocks, lets the miner act on each, and gives what it told.
    pub(crate) fn run(&self, miner: &mut Miner, n: u64) -> Vec<Event> {
        let events = Mutex::new(Vec::new());
        for _ in 0..n {
            let head = self.chain.produce_block().unwrap();
            miner.on_block(head, &|event| events.lock().unwrap().push(event)).unwrap();
        }
        events.into_inner().unwrap()
    }

    /// Gives all weight to a slot and lets an epoch pass.
    pub(crate) fn crown(&self, uid: u16) {
        let call = Call::SetWeights {
            netuid: NETUID,
            uids: vec![Uid(uid)],
            weights: vec![1],
            version_key: 0,
        };
        self.chain.submit(call, &hotkey("val")).unwrap();
        for _ in 0..20 {
            self.chain.produce_block().unwrap();
        }
    }

    /// Commits to something, with the next block.
    pub(crate) fn commit(&self, name: &str, commitment: &Commitment) {
        let data = commitment.to_text().unwrap().into_bytes();
        self.chain.submit(Call::SetCommitment { netuid: NETUID, data }, &hotkey(name)).unwrap();
    }

    pub(crate) fn commitment(&self, uid: u16) -> Option<Commitment> {
        let at = self.chain.head().unwrap().block;
        let stored = self.chain.commitments(NETUID, at).unwrap();
        let stored = stored.into_iter().find(|stored| stored.uid == Uid(uid))?;
        Some(Commitment::parse(&stored.data).unwrap())
    }
}

pub(crate) fn published(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Published(_))).count()
}
