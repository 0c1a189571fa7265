//! A small network: a chain in memory, a hub in a temporary folder, models whose loss is written
//! in their config.

use chain::{
    Call, Chain, Head, Keypair, MemoryChain,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use dataset::{Batch, Document, Source, Split, Tokenizer, source::GeneratedSource};
use hub::{Hub, StoreHub};
use protocol::{
    Commitment, Competition, Digest, Loss, NetUid, Outcome, Reason, ReasonCode, Repo, Seed, Uid,
    content,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;
use validator::{Config, Contest, Evaluate, Event, Inspected, Ports, RoundSummary, Validator};

pub(crate) const NETUID: NetUid = NetUid(1);

/// Blocks of set-up; the first round is seeded by block 20.
pub(crate) const N_SET_UP: u64 = 10;

/// Training a tokenizer takes a moment; all tests share one.
static TEXT: LazyLock<(Arc<dyn Source>, Arc<Tokenizer>)> = LazyLock::new(|| {
    let source = GeneratedSource::new(1);
    let tokenizer = Tokenizer::train(&source, 300).unwrap();
    (Arc::new(source), Arc::new(tokenizer))
});

/// The usual text, as long as its source answers.
#[derive(Default)]
pub(crate) struct Wavering {
    pub(crate) is_gone: AtomicBool,
}

impl Source for Wavering {
    fn describe(&self) -> String {
        TEXT.0.describe()
    }
    fn digest(&self) -> Digest {
        TEXT.0.digest()
    }
    fn n_documents(&self, split: Split) -> u64 {
        TEXT.0.n_documents(split)
    }
    fn document(&self, split: Split, index: u64) -> Result<Document, dataset::Error> {
        if self.is_gone.load(Ordering::Relaxed) {
            let (place, detail) = ("a hub".to_owned(), "no answer".to_owned());
            return Err(dataset::Error::Unreachable { place, detail, is_transient: true });
        }
        TEXT.0.document(split, index)
    }
}

/// Measures models by what their config says.
#[derive(Default)]
pub(crate) struct Written {
    /// Models (by their name) on which the evaluator itself fails, and how often it still will.
    pub(crate) faults: Mutex<BTreeMap<String, usize>>,
    /// How often each model was inspected.
    pub(crate) n_inspected: Mutex<BTreeMap<String, usize>>,
    /// How often each model was measured.
    pub(crate) n_evaluated: Mutex<BTreeMap<String, usize>>,
}

#[derive(serde::Deserialize)]
struct Fake {
    name: String,
    /// `null` is a loss that is not a number.
    loss: Option<f64>,
}

fn read(dir: &Path) -> Fake {
    serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap()
}

impl Evaluate for Written {
    fn inspect_ahead(&self, dir: &Path, _: &Competition) -> anyhow::Result<Result<(), Reason>> {
        let hopeless = || Reason::new(ReasonCode::ArchitectureRefused, "hopeless");
        Ok(if read(dir).name.contains("hopeless") { Err(hopeless()) } else { Ok(()) })
    }

    fn inspect(&self, dir: &Path, _: &Competition) -> anyhow::Result<Result<Inspected, Reason>> {
        let model = read(dir);
        *self.n_inspected.lock().unwrap().entry(model.name.clone()).or_default() += 1;
        if model.name.contains("broken") {
            return Ok(Err(Reason::new(ReasonCode::ConfigRefused, "broken")));
        }
        Ok(Ok(Inspected { n_parameters: 1, tensor_root: Digest::of(model.name.as_bytes()) }))
    }

    fn evaluate(
        &self,
        dir: &Path,
        _: &Competition,
        batches: &[Batch],
        progress: &(dyn Fn(usize) + Sync),
    ) -> anyhow::Result<Outcome> {
        let model = read(dir);
        if let Some(left) = self.faults.lock().unwrap().get_mut(&model.name)
            && *left > 0
        {
            *left -= 1;
            anyhow::bail!("out of memory");
        }
        let Some(loss) = model.loss else {
            return Ok(Outcome::Disqualified(Reason::new(ReasonCode::NonFiniteLoss, "NaN")));
        };
        progress(batches.len());
        *self.n_evaluated.lock().unwrap().entry(model.name).or_default() += 1;
        // Text differs in difficulty, the same for every model.
        let difficulty = |batch: &Batch| f64::from(batch.sequences[0][0]) * 1e-4;
        let losses = batches.iter().map(|batch| Loss::new(loss + difficulty(batch)).unwrap());
        Ok(Outcome::Evaluated(losses.collect()))
    }
}

pub(crate) struct Network {
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) hub: Arc<dyn Hub>,
    pub(crate) evaluate: Arc<Written>,
    pub(crate) competition: Competition,
    pub(crate) folder: TempDir,
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
        let names: Vec<&str> = std::iter::once("val").chain(miners.iter().copied()).collect();
        let mut competition = Competition::builtin("tiny").unwrap();
        competition.from_block = N_SET_UP + 1;
        competition.evaluation.n_batches = 8;
        competition.evaluation.sequences_per_batch = 1;
        let hyperparameters = Hyperparameters {
            tempo: 9,
            max_validators: 1,
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
        while chain.head().unwrap().block.0 < N_SET_UP {
            chain.produce_block().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let hub: Arc<dyn Hub> = Arc::new(StoreHub::open(&folder.path().join("hub")).unwrap());
        Self { chain, hub, evaluate: Arc::default(), competition, folder }
    }

    pub(crate) fn validator(&self) -> Validator {
        self.validator_with(self.ports(), &self.folder.path().join("val"))
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            hub: Arc::clone(&self.hub),
            evaluate: Arc::clone(&self.evaluate) as Arc<dyn Evaluate>,
        }
    }

    pub(crate) fn validator_with(&self, ports: Ports, home: &Path) -> Validator {
        self.validator_on(Arc::clone(&TEXT.0), ports, home)
    }

    /// A validator whose text comes from elsewhere.
    pub(crate) fn validator_on(
        &self,
        source: Arc<dyn Source>,
        ports: Ports,
        home: &Path,
    ) -> Validator {
        let tokenizer = Arc::clone(&TEXT.1);
        let contest = Contest { competition: self.competition.clone(), source, tokenizer };
        let config = Config { netuid: NETUID, home: home.to_owned(), version_key: 0 };
        Validator::open(config, ports, vec![contest], hotkey("val")).unwrap()
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
        let repo: Repo = format!("{miner}/model").parse().unwrap();
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
