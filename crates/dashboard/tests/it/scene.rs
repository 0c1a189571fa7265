//! Validators with signed records of a competition with duels, and what a dashboard makes of them.

use chain::{Chain, MemoryChain, Metagraph, Neuron};
use dashboard::{
    Judges, Limits, Place,
    ask::Ask,
    index::{Index, Series},
    page::{Answer, Site},
    reader::{Reader, Rules, Stop},
};
use keys::Keypair;
use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, Loss, NetUid, Record, Seed, Uid,
    competition::{LossKind, Packing, Rule},
    duel::{DuelRules, Reign},
    record::{Card, DocumentDigest, Finding, Model, Round, Setting},
    weights::MovingAverage,
};
use records::{Folder, Signed};
use serde_json::Value;
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// The subnet of all records.
pub(crate) const NETUID: NetUid = NetUid(1);

/// Documents of a round.
pub(crate) const N_DOCUMENTS: u64 = 25;
/// What the text of each round allows, in nats per token.
pub(crate) const OPTIMUM: f64 = 1.5;

/// A model by what it is worth: by how much its losses are lower, a fraction of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Player {
    pub(crate) uid: u16,
    pub(crate) quality: f64,
}

pub(crate) fn player(uid: u16, quality: f64) -> Player {
    Player { uid, quality }
}

pub(crate) fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A number from −1 to 1 that follows from two.
fn noise(a: u64, b: u64) -> f64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    (word >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

impl Player {
    pub(crate) fn root(&self) -> Digest {
        Digest::of(format!("model {}", self.uid).as_bytes())
    }

    fn hotkey(&self) -> AccountId {
        AccountId([u8::try_from(self.uid).unwrap(); 32])
    }

    fn loss(&self, document: u64) -> Loss {
        let usual = (3.0 + 0.2 * noise(1, document)) * (1.0 - self.quality);
        let value = usual + 0.006 * noise(2 + u64::from(self.uid), document);
        Loss::new((value * 1e4).round() / 1e4).unwrap()
    }

    fn model(&self, documents: std::ops::Range<u64>) -> Model {
        Model {
            uid: Uid(self.uid),
            hotkey: self.hotkey(),
            coldkey: Some(AccountId([100 + u8::try_from(self.uid).unwrap(); 32])),
            commit_block: Block(self.uid.into()),
            commit_block_hash: BlockHash([3; 32]),
            since: None,
            repo: Some(format!("miner{}/model", self.uid).parse().unwrap()),
            revision: Some("a".repeat(40).parse().unwrap()),
            file_root: None,
            tensor_root: Some(self.root()),
            card: None,
            finding: Finding::Evaluated(documents.map(|document| self.loss(document)).collect()),
        }
    }

    /// What it is; two tensors of the third model have sick gradients.
    pub(crate) fn card(&self, architecture: &str) -> Card {
        let n_sick = u64::from(self.uid == 3);
        Card {
            architecture: architecture.to_owned(),
            n_parameters: 1_000_000 + u64::from(self.uid),
            size_bytes: 4_000_000,
            vocabulary: 512,
            context: 128,
            n_vanishing: 2 * n_sick,
            n_exploding: n_sick,
        }
    }
}

/// Rules with few bets, which decide within some 25 documents.
pub(crate) fn rules() -> Competition {
    let toml = include_str!("../../../../testdata/scoring/competition.toml");
    let mut competition = Competition::from_toml(toml).unwrap();
    competition.text.packing = Packing::PerDocument;
    competition.evaluation.sequences_per_batch = 1;
    competition.evaluation.n_batches = 25;
    competition.scoring.rule = Rule::Duel;
    competition.scoring.loss = LossKind::CrossEntropy;
    competition.scoring.temperature = 0.2;
    competition.scoring.duel = Some(DuelRules {
        alpha: 1e-4,
        n_bets: 4,
        n_documents_pilot: 5,
        n_documents_min: 25,
        n_documents_max: 200,
        ..DuelRules::default()
    });
    competition.check().unwrap();
    competition
}

/// Rules by which the lowest mean loss takes the crown, if it is lower by epsilon.
pub(crate) fn rules_of_succession() -> Competition {
    let mut competition = rules();
    competition.scoring.rule = Rule::Succession;
    competition.scoring.duel = None;
    competition.check().unwrap();
    competition
}

/// A validator that judges and publishes.
pub(crate) struct Judge {
    pub(crate) key: Keypair,
    pub(crate) folder: Folder,
    /// What it writes where it may write anything.
    pub(crate) text: String,
    /// What it calls the architecture of models.
    pub(crate) architecture: String,
    /// Whether its records tell neither how long documents are, nor what a text allows, nor what
    /// models are, as those of a simulation do.
    pub(crate) is_terse: bool,
    /// By which rules it judges.
    pub(crate) rules: Competition,
    /// The chain that its blocks are of; without one they have made-up hashes.
    pub(crate) chain: Option<Arc<MemoryChain>>,
    /// Block ten before that of its first round.
    pub(crate) begins: u64,
    reign: Reign,
    average: MovingAverage,
    last: Option<Record>,
    dir: TempDir,
}

impl Judge {
    pub(crate) fn new(number: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().to_owned());
        let (reign, average) = (Reign::default(), MovingAverage::default());
        let [text, architecture] = ["a test", "llama"].map(str::to_owned);
        let (key, chain, rules, begins) = (key(number), None, rules(), 1_000);
        Self {
            key,
            folder,
            text,
            architecture,
            is_terse: false,
            rules,
            chain,
            begins,
            reign,
            average,
            last: None,
            dir,
        }
    }

    /// Judges the next round, and publishes its record.
    pub(crate) fn judge(&mut self, players: &[Player]) -> Record {
        let number = self.last.as_ref().map_or(0, |last| last.round.number) + 1;
        let documents = number * 1_000..number * 1_000 + N_DOCUMENTS;
        let block = Block(self.begins + 10 * number);
        let text = &self.text;
        let told = u64::from(!self.is_terse);
        let document = |n: u64| DocumentDigest {
            id: format!("{text} {n}"),
            sha256: Digest::of(&n.to_be_bytes()),
            n_bytes: told * (100 + n % 100),
            n_tokens: told * (25 + n % 25),
        };
        let round = Round {
            competition: self.rules.name.clone(),
            competition_digest: self.rules.digest(),
            number,
            previous: self.last.as_ref().map(Record::digest),
            block,
            block_hash: self.hash(block, BlockHash([1; 32])),
            validator: self.key.public(),
            genesis: self.hash(Block(0), BlockHash([2; 32])),
            netuid: NETUID,
            engine: text.clone(),
            tokenizer: Digest::of(b"tokenizer"),
            dataset: Digest::of(b"dataset"),
            documents: documents.clone().map(document).collect(),
            optimum: (!self.is_terse).then(|| Loss::new(OPTIMUM).unwrap()),
            batches: Digest::of(&number.to_be_bytes()),
        };
        let model = |player: &Player| Model {
            card: (!self.is_terse).then(|| player.card(&self.architecture)),
            ..player.model(documents.clone())
        };
        let models = players.iter().map(model).collect();
        let (rules, average, before) = (&self.rules, &mut self.average, &self.reign);
        let settling_blocks = self.chain.as_deref().map_or(0, settling_blocks);
        let setting = Setting { before, paid: None, settling_blocks, skipped: Vec::new() };
        let record = match rules.scoring.rule {
            Rule::Duel => Record::of_duels(round, rules, models, setting, average).unwrap(),
            _ => Record::new(round, rules, models, average),
        };
        self.reign.follow(&record);
        self.folder.write(&Signed::sign(record.clone(), &self.key)).unwrap();
        self.last.insert(record).clone()
    }

    /// What its chain has at a block.
    fn hash(&self, block: Block, usual: BlockHash) -> BlockHash {
        let of = |chain: &Arc<MemoryChain>| chain.block_hash(block).unwrap().unwrap();
        self.chain.as_ref().map_or(usual, of)
    }

    /// What tells its records from others.
    pub(crate) fn series(&self) -> Series<'_> {
        Series { validator: self.key.public(), competition: &self.rules.name }
    }

    /// The file of a record.
    pub(crate) fn path(&self, number: u64) -> std::path::PathBuf {
        self.folder.path(&self.rules.name, number)
    }

    pub(crate) fn place(&self) -> Place {
        let source = Box::new(Folder::new(self.dir.path().to_owned()));
        Place { name: self.dir.path().display().to_string(), source }
    }

    /// Four rounds: the crown changes hands in the second, and a third model comes in the last.
    pub(crate) fn of_four_rounds(number: u64) -> Self {
        let mut judge = Self::new(number);
        judge.judge_four();
        judge
    }

    pub(crate) fn judge_four(&mut self) {
        let (old, new) = (player(1, 0.0), player(2, 0.1));
        self.judge(&[old]);
        self.judge(&[old, new]);
        self.judge(&[old, new]);
        self.judge(&[old, new, player(3, 0.05)]);
    }
}

/// Blocks that a chain may take to pay for what a round found.
fn settling_blocks(chain: &MemoryChain) -> u64 {
    let rewards = chain.rewards(NETUID, chain.head().unwrap().block).unwrap();
    rewards.tempo * (rewards.hidden_epochs + 2) + rewards.weights_rate_limit
}

/// What a dashboard has in its home.
pub(crate) struct Home {
    dir: TempDir,
    site: Option<Site>,
    /// Rules that it knows.
    pub(crate) rules: Vec<Competition>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), site: None, rules: vec![rules()] }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Reads what judges have published, as far as `stop` lets it.
    pub(crate) fn read_until(&mut self, judges: &[&Judge], stop: Stop<'_>) {
        self.read_places(|reader| reader, places(judges), stop);
    }

    /// Reads what judges have published beside a chain, permitted or not.
    pub(crate) fn read_beside(&mut self, chain: &Arc<MemoryChain>, judges: &[&Judge]) {
        let limits = Limits { judges: Judges::Anybody, ..Limits::default() };
        self.read_within(limits, Some(chain), judges);
    }

    /// Reads what judges have published, within limits.
    pub(crate) fn read_within(
        &mut self,
        limits: Limits,
        chain: Option<&Arc<MemoryChain>>,
        judges: &[&Judge],
    ) {
        let change = |reader: Reader| match chain {
            Some(chain) => {
                let chain: Arc<dyn Chain> = Arc::<MemoryChain>::clone(chain);
                reader.beside(chain, NETUID).within(limits)
            }
            None => reader.within(limits),
        };
        self.read_places(change, places(judges), &|| false);
    }

    /// Reads places, as far as `stop` lets it.
    pub(crate) fn read_places(
        &mut self,
        change: impl FnOnce(Reader) -> Reader,
        places: Vec<Place>,
        stop: Stop<'_>,
    ) {
        let index = Index::open(self.path()).unwrap();
        let known = Arc::new(Rules::new(self.rules.clone()));
        let mut reader = change(Reader::new(index, Arc::clone(&known), places));
        reader.read(stop, &|_| {}).unwrap();
        let (clock, troubles) = (reader.clock(), reader.troubles());
        let hub = "https://hub.example".to_owned();
        let (public_url, kinships) = (None, Arc::default());
        self.site = Some(Site { rules: known, clock, troubles, hub, public_url, kinships });
    }

    pub(crate) fn read(&mut self, judges: &[&Judge]) {
        self.read_until(judges, &|| false);
    }

    /// Notes a subnet, as the chain would tell it.
    pub(crate) fn note(&self, metagraph: &Metagraph) {
        Index::open(self.path()).unwrap().note_metagraph(metagraph).unwrap();
    }

    pub(crate) fn index(&self) -> Index {
        Index::look(self.path()).unwrap()
    }

    pub(crate) fn answer(&self, address: &str) -> Answer {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let ask = Ask::read(path, query, "").unwrap();
        self.site.as_ref().unwrap().answer(&self.index(), &ask)
    }

    /// The page at an address, which has to be there.
    pub(crate) fn page(&self, address: &str) -> String {
        let answer = self.answer(address);
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{address}: {body}");
        body
    }

    /// Rows of a table of a page, by the address of its JSON.
    pub(crate) fn rows(&self, address: &str, table: &str) -> Vec<Value> {
        let page: Value = serde_json::from_str(&self.page(address)).unwrap();
        page["tables"][table]["rows"].as_array().unwrap().clone()
    }
}

/// A subnet at a block with a slot for each key, its stake in rao, and whether it may judge.
pub(crate) fn subnet(block: u64, slots: &[(AccountId, u64, bool)]) -> Metagraph {
    let neuron = |(uid, slot): (u16, &(AccountId, u64, bool))| Neuron {
        uid: Uid(uid),
        hotkey: slot.0,
        coldkey: AccountId([9; 32]),
        stake_rao: slot.1,
        validator_permit: slot.2,
        active: true,
        last_update: Block(block - 1),
        block_at_registration: Block(1),
        consensus: 65_535,
        incentive: 32_768,
        dividends: 0,
        validator_trust: 0,
        emission_rao: 2_500_000_000,
        weights: vec![(Uid(0), 65_535)],
        bonds: Vec::new(),
    };
    Metagraph {
        netuid: NETUID,
        block: Block(block),
        tempo: 360,
        weights_rate_limit: 100,
        last_epoch: Block(block - 1),
        neurons: (0..).zip(slots).map(neuron).collect(),
    }
}

/// Where judges publish.
fn places(judges: &[&Judge]) -> Vec<Place> {
    judges.iter().map(|judge| judge.place()).collect()
}

/// Addresses of all kinds of pages of the scene of [`Judge::of_four_rounds`].
pub(crate) fn addresses(judge: &Judge) -> Vec<String> {
    let [a, b] = [player(1, 0.0), player(2, 0.1)].map(|player| player.root().hex());
    let (miner, validator) = (AccountId([2; 32]), judge.key.public());
    vec![
        "/".to_owned(),
        "/c/tiny".to_owned(),
        "/c/tiny?block=1025&sort=-board.loss&q=miner".to_owned(),
        "/c/tiny/rounds".to_owned(),
        "/c/tiny/round/2".to_owned(),
        "/c/tiny/round/2/losses".to_owned(),
        "/c/tiny/crown/1".to_owned(),
        "/c/tiny/crown/2".to_owned(),
        "/c/tiny/compare".to_owned(),
        format!("/c/tiny/compare?a={a}&b={b}"),
        format!("/model/{b}"),
        format!("/miner/{miner}"),
        format!("/validator/{validator}"),
        "/network".to_owned(),
    ]
}
