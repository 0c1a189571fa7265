//! A small network: a chain in memory, a hub in a temporary folder, models whose loss is written
//! in their config.

mod formulas;

use chain::{
    Call, CallStatus, Chain, Head, HyperparameterChange, Keypair, MemoryChain,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
pub(crate) use formulas::Formula;
use formulas::Written;
use hub::{Hub, StoreHub};
use journal::Journal;
use protocol::{
    BlockHash, Commitment, Competition, NetUid, ReasonCode, Repo, Seed, Uid,
    competition::{LossKind, Packing, Rule},
    content,
    duel::DuelRules,
};
use records::Folder;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use validator::{
    Config, Contest, Engine, Event, FetchedModels, Models, Ports, RoundSummary, Validator,
};

pub(crate) const NETUID: NetUid = NetUid(1);
/// What records call the chain.
pub(crate) const GENESIS: BlockHash = BlockHash([7; 32]);

/// Blocks of set-up; the first round is seeded by block 20.
pub(crate) const N_SET_UP: u64 = 10;

/// A folder in memory where the system has such: what is tried here needs no disk to be slow.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(crate) struct Network {
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) hub: Arc<dyn Hub>,
    pub(crate) evaluate: Arc<Written>,
    pub(crate) competition: Competition,
    pub(crate) folder: TempDir,
    validators: Vec<String>,
}

pub(crate) fn hotkey(name: &str) -> Keypair {
    Keypair::from_seed(Seed::of_number(1).derive(name))
}

fn coldkey(name: &str) -> Keypair {
    hotkey(&format!("coldkey of {name}"))
}

impl Network {
    /// A network on which `val` has all the stake and `miners` are registered.
    pub(crate) fn new(miners: &[&str]) -> Self {
        Self::with_validators(&["val"], miners)
    }

    /// A network on which these validators have equal stakes and `miners` are registered.
    pub(crate) fn with_validators(validators: &[&str], miners: &[&str]) -> Self {
        let names: Vec<&str> = validators.iter().chain(miners).copied().collect();
        let mut competition = Competition::builtin("tiny").unwrap();
        competition.from_block = N_SET_UP + 1;
        let Competition { text, evaluation, scoring, .. } = &mut competition;
        text.packing = Packing::Packed;
        (evaluation.n_batches, evaluation.sequences_per_batch) = (8, 1);
        (scoring.rule, scoring.loss, scoring.duel) = (Rule::Succession, LossKind::Perplexity, None);
        let hyperparameters = Hyperparameters {
            tempo: 10,
            max_validators: validators.len() as u16,
            target_registrations: 100,
            max_registrations_per_block: 100,
            weights_rate_limit: 2,
            commitment_rate_limit: 1,
            ..Hyperparameters::default()
        };
        let genesis = Genesis {
            seed: 1,
            accounts: names
                .iter()
                .map(|name| (coldkey(name).public(), 2_000 * RAO_PER_TAO))
                .collect(),
            subnets: vec![SubnetGenesis { owner: coldkey("owner").public(), hyperparameters }],
            ..Genesis::default()
        };
        let chain = Arc::new(MemoryChain::new(&genesis).unwrap());
        for name in &names {
            let name = *name;
            let hotkey = hotkey(name).public();
            chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &coldkey(name)).unwrap();
            if validators.contains(&name) {
                let call =
                    Call::AddStake { hotkey, netuid: NETUID, amount_rao: 1_000 * RAO_PER_TAO };
                chain.submit(call, &coldkey(name)).unwrap();
            }
            chain.produce_block().unwrap();
        }
        while chain.head().unwrap().block.0 < N_SET_UP {
            chain.produce_block().unwrap();
        }
        let folder = folder();
        let hub: Arc<dyn Hub> = Arc::new(StoreHub::open(&folder.path().join("hub")).unwrap());
        let validators = validators.iter().map(|name| (*name).to_owned()).collect();
        Self { chain, hub, evaluate: Arc::default(), competition, folder, validators }
    }

    /// The same network by rule `duel`, with so many documents to a round.
    pub(crate) fn with_duels(mut self, duel: DuelRules, n_documents: usize) -> Self {
        let Competition { text, evaluation, scoring, .. } = &mut self.competition;
        text.packing = Packing::PerDocument;
        (evaluation.n_batches, evaluation.sequences_per_batch) = (n_documents, 1);
        (scoring.rule, scoring.loss) = (Rule::Duel, LossKind::CrossEntropy);
        scoring.duel = Some(duel);
        self.competition.check().unwrap();
        self
    }

    /// Lets the owner of the subnet say whether weights are hidden, in a block of its own.
    pub(crate) fn hide_weights(&self, is_hiding: bool) {
        self.change(HyperparameterChange::CommitReveal(is_hiding));
    }

    /// Lets the owner of the subnet change a rule of it, in a block of its own.
    pub(crate) fn change(&self, change: HyperparameterChange) {
        let call = Call::SetHyperparameter { netuid: NETUID, change };
        let call = self.chain.submit(call, &coldkey("owner")).unwrap();
        let block = self.chain.produce_block().unwrap().block;
        assert_eq!(self.chain.status(call).unwrap(), CallStatus::Applied(block));
    }

    pub(crate) fn validator(&self) -> Validator {
        self.validator_with(self.ports(&self.home()), &self.home())
    }

    /// All validators of the network, each in a folder of its own.
    pub(crate) fn validators(&self) -> Vec<Validator> {
        let open = |name: &String| {
            let home = self.folder.path().join(name);
            let key = hotkey(name);
            self.open(Arc::default(), self.ports(&home), (&home, key), None).unwrap()
        };
        self.validators.iter().map(open).collect()
    }

    /// All validators of the network, each in a folder of its own, with a hub for each.
    pub(crate) fn validators_on(&self, hubs: &[Arc<dyn Hub>]) -> Vec<Validator> {
        let open = |(name, hub): (&String, &Arc<dyn Hub>)| {
            let home = self.folder.path().join(name);
            let models = self.models(Arc::clone(hub), &home);
            let key = hotkey(name);
            self.open(Arc::default(), self.ports_with(models, &home), (&home, key), None).unwrap()
        };
        self.validators.iter().zip(hubs).map(open).collect()
    }

    /// Models of a hub in the folder of a validator.
    pub(crate) fn models(&self, hub: Arc<dyn Hub>, home: &Path) -> FetchedModels {
        let engine = Arc::clone(&self.evaluate) as Arc<dyn Engine>;
        FetchedModels::new(hub, engine, home.join("models"))
    }

    pub(crate) fn ports(&self, home: &Path) -> Ports {
        self.ports_with(self.models(Arc::clone(&self.hub), home), home)
    }

    pub(crate) fn ports_with(&self, models: FetchedModels, home: &Path) -> Ports {
        let models = Arc::new(models);
        Ports {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            models: Arc::clone(&models) as Arc<dyn Models>,
            evaluate: models,
            publish: Arc::new(Folder::new(home.join("records"))),
        }
    }

    pub(crate) fn validator_with(&self, ports: Ports, home: &Path) -> Validator {
        self.validator_on(Arc::default(), ports, home)
    }

    /// A validator whose text comes from elsewhere.
    pub(crate) fn validator_on(&self, text: Arc<Formula>, ports: Ports, home: &Path) -> Validator {
        self.try_open(text, ports, home, None).unwrap()
    }

    pub(crate) fn try_open(
        &self,
        text: Arc<Formula>,
        ports: Ports,
        home: &Path,
        fetched_bytes_max: Option<u64>,
    ) -> anyhow::Result<Validator> {
        self.open(text, ports, (home, hotkey("val")), fetched_bytes_max)
    }

    fn open(
        &self,
        text: Arc<Formula>,
        ports: Ports,
        (home, key): (&Path, Keypair),
        fetched_bytes_max: Option<u64>,
    ) -> anyhow::Result<Validator> {
        let contest = Contest::new(self.competition.clone(), text);
        let config = Config { fetched_bytes_max, ..Config::new(NETUID, GENESIS) };
        let journal = Journal::open(home)?;
        Validator::open(config, ports, vec![contest], key, journal)
    }

    /// The folder of the validator that has no other.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("val")
    }

    /// Bytes of the record of a round, without the signature.
    pub(crate) fn record(&self, round: &RoundSummary) -> Vec<u8> {
        let folder = Folder::new(self.home().join("records"));
        let signed = folder.read(&round.competition, round.round).unwrap().unwrap();
        assert!(signed.is_genuine());
        signed.record.to_json()
    }

    pub(crate) fn uid(&self, name: &str) -> Uid {
        let hotkey = hotkey(name).public();
        let metagraph = self.chain.metagraph(NETUID).unwrap();
        metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey).unwrap().uid
    }

    /// Writes a model of known loss into a folder of its own.
    pub(crate) fn model(&self, name: &str, loss: Option<f64>) -> PathBuf {
        let dir = self.folder.path().join("models").join(name);
        fs::create_dir_all(&dir).unwrap();
        let config = serde_json::json!({ "name": name, "loss": loss });
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        fs::write(dir.join("model.safetensors"), name).unwrap();
        dir
    }

    /// Publishes a model under the name of its miner and gives the commitment to it.
    pub(crate) fn publish(&self, miner: &str, dir: &Path) -> Commitment {
        self.publish_in(miner, &format!("{miner}/model"), dir)
    }

    pub(crate) fn publish_in(&self, miner: &str, repo: &str, dir: &Path) -> Commitment {
        let repo: Repo = repo.parse().unwrap();
        let revision = self.hub.publish(&repo, dir).unwrap();
        let files = self.hub.list(&repo, &revision).unwrap().unwrap();
        let root = hub::intake::file_root(&files);
        let competition = self.competition.id;
        let secure_hash = content::bound_hash(&root, &hotkey(miner).public(), competition);
        Commitment { repo, revision, secure_hash, competition }
    }

    pub(crate) fn commit(&self, miner: &str, commitment: &Commitment) {
        let data = commitment.to_text().unwrap().into_bytes();
        self.chain.submit(Call::SetCommitment { netuid: NETUID, data }, &hotkey(miner)).unwrap();
    }

    /// Publishes and commits to a model of known loss.
    pub(crate) fn enter(&self, miner: &str, model: &str, loss: f64) {
        let dir = self.model(model, Some(loss));
        let commitment = self.publish(miner, &dir);
        self.commit(miner, &commitment);
    }

    /// Makes blocks up to `block` and lets the validator act on each.
    pub(crate) fn run_to(&self, validator: &mut Validator, block: u64) -> Heard {
        let events = Mutex::new(Vec::new());
        while self.chain.head().unwrap().block.0 < block {
            let head: Head = self.chain.produce_block().unwrap();
            validator.on_block(head, &|event| events.lock().unwrap().push(event)).unwrap();
        }
        Heard(events.into_inner().unwrap())
    }

    /// Lets all validators act on the newest block.
    pub(crate) fn act(&self, validators: &mut [Validator]) -> Vec<Heard> {
        let head = self.chain.head().unwrap();
        let act = |validator: &mut Validator| {
            let events = Mutex::new(Vec::new());
            validator.on_block(head, &|event| events.lock().unwrap().push(event)).unwrap();
            Heard(events.into_inner().unwrap())
        };
        validators.iter_mut().map(act).collect()
    }

    /// Makes blocks up to `block` and lets all validators act on each.
    pub(crate) fn run_all(&self, validators: &mut [Validator], block: u64) -> Vec<Heard> {
        let mut heard: Vec<Heard> = validators.iter().map(|_| Heard(Vec::new())).collect();
        while self.chain.head().unwrap().block.0 < block {
            self.chain.produce_block().unwrap();
            for (heard, more) in heard.iter_mut().zip(self.act(validators)) {
                heard.0.extend(more.0);
            }
        }
        heard
    }

    /// Lets a miner's slot go to another key, which commits to nothing.
    pub(crate) fn lose_slot(&self, miner: &str) {
        let new_hotkey = hotkey(&format!("successor of {miner}")).public();
        let hotkey = hotkey(miner).public();
        let call = Call::SwapHotkey { hotkey, new_hotkey, netuid: Some(NETUID) };
        self.apply(call, &coldkey(miner));
    }

    /// Registers a miner that has no slot.
    pub(crate) fn register(&self, miner: &str) {
        let call = Call::BurnedRegister { netuid: NETUID, hotkey: hotkey(miner).public() };
        self.apply(call, &coldkey(miner));
    }

    /// Registers a miner whose coldkey is that of another one.
    pub(crate) fn register_under(&self, miner: &str, owner: &str) {
        let call = Call::BurnedRegister { netuid: NETUID, hotkey: hotkey(miner).public() };
        self.apply(call, &coldkey(owner));
    }

    fn apply(&self, call: Call, key: &Keypair) {
        let call = self.chain.submit(call, key).unwrap();
        self.chain.produce_block().unwrap();
        let fate = self.chain.status(call).unwrap();
        assert!(matches!(fate, CallStatus::Applied(_)), "{fate:?}");
    }

    /// What a miner was given by all epochs so far, in epochs.
    pub(crate) fn earned(&self, miner: &str) -> f64 {
        let uid = usize::from(self.uid(miner).0);
        let epochs = self.chain.epochs(NETUID);
        epochs.iter().map(|epoch| f64::from(epoch.slots[uid].incentive) / 65_535.0).sum()
    }

    /// Share of the last epoch's incentive, from 0 to 1.
    pub(crate) fn incentive(&self, miner: &str) -> f64 {
        let metagraph = self.chain.metagraph(NETUID).unwrap();
        f64::from(metagraph.neurons[usize::from(self.uid(miner).0)].incentive) / 65_535.0
    }
}

/// What a validator told while it ran.
pub(crate) struct Heard(pub(crate) Vec<Event>);

impl Heard {
    pub(crate) fn rounds(&self) -> Vec<&RoundSummary> {
        fn round(event: &Event) -> Option<&RoundSummary> {
            match event {
                Event::RoundEnded(summary) => Some(summary),
                _ => None,
            }
        }
        self.0.iter().filter_map(round).collect()
    }

    pub(crate) fn n_suspended(&self) -> usize {
        self.0.iter().filter(|event| matches!(event, Event::RoundSuspended(_))).count()
    }

    pub(crate) fn reason_of(&self, uid: Uid) -> Option<ReasonCode> {
        let reason = |event: &Event| match event {
            Event::Disqualified { uid: of, reason } if *of == uid => Some(reason.code),
            _ => None,
        };
        self.0.iter().find_map(reason)
    }
}
