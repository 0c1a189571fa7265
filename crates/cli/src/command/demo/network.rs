//! Sets a network up: text, tokenizer, competition, chain, hub, keys, services.

use super::{
    attackers::{Broken, Copycat},
    cast::Role,
    recipes,
};
use crate::{
    args::DemoArgs,
    evaluator::ProcessEvaluate,
    failure::HintExt as _,
    plug::{self, TrainerTrain},
};
use anyhow::Context as _;
use chain::{
    Call, CallStatus, Chain, ClientConfig, DevNode, SubstrateChain, dev,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use dataset::{
    Source, Tokenizer,
    pack::TrainingStream,
    source::{FilesSource, GeneratedSource},
};
use hub::{
    ClientOptions, DevHub, HubClient,
    dev::{Front, Limits, Role::Write, User},
};
use miner::{Check, Miner, Publisher};
use protocol::{
    Block, BlockHash, Competition, NetUid, Seed, Uid,
    competition::{DatasetRules, TokenizerRules},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use trainer::Trainer;
use validator::{Contest, Ports, Validator};

/// The only subnet of a demo.
pub const NETUID: NetUid = NetUid(1);

/// Blocks in which everybody registers and stakes; the network runs from the next one.
pub const N_SET_UP_BLOCKS: u64 = 10;

/// Block that seeds the first round: by then models have learnt to say more than one word.
pub const FIRST_SEED: u64 = 40;

/// Sequences that each miner holds back from training to measure itself on.
const N_HELD_OUT: usize = 48;

/// A network that is ready to run.
pub struct Network {
    /// The chain that everybody shares, each over a connection of its own.
    pub node: DevNode,
    /// The hub that everybody shares, each over HTTP; held, so that it is there.
    _hub: ModelsHub,
    /// The contest with its text.
    pub contest: Contest,
    /// Everybody, in the order of [`Role::all`].
    pub actors: Vec<Actor>,
    /// Slot of each role.
    pub uids: BTreeMap<Role, Uid>,
    /// Files of the run.
    pub home: PathBuf,
}

/// One participant at work.
pub struct Actor {
    /// Who it is.
    pub role: Role,
    /// What it runs.
    pub service: Service,
}

/// The service of a participant.
pub enum Service {
    /// Measures and sets weights.
    Validator(Box<Validator>),
    /// Trains and publishes.
    Miner(Box<Miner>),
    /// Copies.
    Copycat(Box<Copycat>),
    /// Breaks rules.
    Broken(Box<Broken>),
}

impl Network {
    /// Builds the network of `args` in its home folder, which must be there and empty.
    pub fn set_up(args: &DemoArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        let seed = Seed::of_number(args.seed);
        let contest = contest(args)?;
        let node = node(args, &contest.competition)?;
        let uids = register(&node, seed)?;
        let hub = ModelsHub::start(args)?;
        let build = Build { seed, contest: &contest, node: &node, hub: &hub, stop, args };
        let actors = Role::all()
            .into_iter()
            .map(|role| Ok(Actor { role, service: build.service(role)? }))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { node, _hub: hub, contest, actors, uids, home: args.home.clone() })
    }
}

/// The competition `tiny` on the chosen text, its tokenizer trained and pinned, its file written.
fn contest(args: &DemoArgs) -> anyhow::Result<Contest> {
    let mut competition = Competition::builtin("tiny")?;
    competition.from_block = FIRST_SEED;
    let source: Arc<dyn Source> = match &args.corpus {
        Some(path) => {
            let source = FilesSource::open(path).hint(
                "the corpus is UTF-8 text: a file, or a folder of .txt, .md and .jsonl files",
            )?;
            // Whole, so that the rules hold wherever they are read.
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            competition.dataset = DatasetRules::Files {
                path: path.display().to_string(),
                sha256: Some(source.digest()),
            };
            Arc::new(source)
        }
        None => {
            competition.dataset = DatasetRules::Generated { world: args.seed };
            Arc::new(GeneratedSource::new(args.seed))
        }
    };
    let vocabulary = competition.text.vocabulary();
    let tokenizer = Tokenizer::train(&*source, vocabulary).context("cannot train the tokenizer")?;
    tokenizer.save(&args.home.join("tokenizer.json"))?;
    competition.text.tokenizer =
        TokenizerRules::Trained { vocabulary, sha256: Some(tokenizer.digest()) };
    let path = args.home.join("competition.toml");
    fs::write(&path, toml::to_string(&competition)?)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let contest = Contest { competition, source, tokenizer: Arc::new(tokenizer) };
    // Better now than at the first round: the same documents are there whatever the seed.
    contest
        .draw(Block(0), BlockHash([0; 32]))
        .hint("a competition needs more text; a megabyte is plenty")?;
    Ok(contest)
}

/// A chain on a fast clock whose tempo ends eight blocks after each round begins.
fn genesis(args: &DemoArgs, competition: &Competition) -> Genesis {
    let seed = Seed::of_number(args.seed);
    let owner = Role::Validator(1).coldkey(seed).public();
    let fund = |role: Role| (role.coldkey(seed).public(), (role.stake_tao() + 100) * RAO_PER_TAO);
    let hyperparameters = Hyperparameters {
        tempo: (competition.evaluation.blocks_per_round - 1) as u16,
        max_validators: Role::VALIDATORS.len() as u16,
        // A slot for everybody within a few blocks, not one a day.
        max_registrations_per_block: 1,
        target_registrations: Role::MINERS.len() as u16 + 3,
        weights_rate_limit: 2,
        commitment_rate_limit: 2,
        ..Hyperparameters::default()
    };
    Genesis {
        seed: args.seed,
        accounts: Role::all().into_iter().map(fund).collect(),
        subnets: vec![SubnetGenesis { owner, hyperparameters }],
        ..Genesis::default()
    }
}

/// A node on a port of its own that makes a block when it is told to.
fn node(args: &DemoArgs, competition: &Competition) -> anyhow::Result<DevNode> {
    let config = dev::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        database: Some(args.home.join("chain.db")),
        genesis: genesis(args, competition),
        block_time: None,
    };
    DevNode::start(&config).context("cannot start the chain")
}

/// A hub on a port of its own, with a user for each miner.
struct ModelsHub {
    server: DevHub,
    users: BTreeMap<Role, User>,
}

impl ModelsHub {
    fn start(args: &DemoArgs) -> anyhow::Result<Self> {
        let user = |role: Role| {
            let (name, token) = (role.name().to_owned(), hub::dev::new_token()?);
            Ok((role, User { name, token, role: Write, organisations: Vec::new() }))
        };
        let users: BTreeMap<Role, User> =
            Role::MINERS.into_iter().map(user).collect::<anyhow::Result<_>>()?;
        let config = hub::dev::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            folder: args.home.join("hub"),
            users: users.values().cloned().collect(),
            limits: Limits::default(),
            front: Front::default(),
        };
        let server = DevHub::start(&config).context("cannot start the hub")?;
        Ok(Self { server, users })
    }

    /// A client of its own; miners have tokens, for everybody else what is published is enough.
    fn client(&self, role: Role) -> anyhow::Result<HubClient> {
        let token = self.users.get(&role).map(|user| user.token.clone());
        let options = ClientOptions { token, ..ClientOptions::new(&self.server.url()) };
        Ok(HubClient::new(&options)?)
    }
}

/// A connection to the node, which may take its time between two blocks.
fn connect(node: &DevNode) -> anyhow::Result<SubstrateChain> {
    let config = ClientConfig { stall_limit: None, ..ClientConfig::new(node.url()) };
    SubstrateChain::connect(config).context("cannot reach the chain")
}

/// Registers everybody by real calls, one a block, and stakes for the validators.
fn register(node: &DevNode, seed: Seed) -> anyhow::Result<BTreeMap<Role, Uid>> {
    let chain = connect(node)?;
    for role in Role::all() {
        let (hotkey, coldkey) = (role.hotkey(seed).public(), role.coldkey(seed));
        let mut calls =
            vec![chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &coldkey)?];
        if role.stake_tao() > 0 {
            let amount_rao = role.stake_tao() * RAO_PER_TAO;
            calls.push(
                chain.submit(Call::AddStake { hotkey, netuid: NETUID, amount_rao }, &coldkey)?,
            );
        }
        node.produce_block()?;
        for call in calls {
            let fate = chain.status(call)?;
            let is_done = matches!(fate, CallStatus::Applied(_));
            anyhow::ensure!(is_done, "{} cannot be set up: {fate:?}", role.name());
        }
    }
    while node.head().block.0 < N_SET_UP_BLOCKS {
        node.produce_block()?;
    }
    let metagraph = chain.metagraph(NETUID)?;
    Role::all()
        .into_iter()
        .map(|role| {
            let hotkey = role.hotkey(seed).public();
            let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
            let neuron = neuron.with_context(|| format!("{} is not registered", role.name()))?;
            Ok((role, neuron.uid))
        })
        .collect()
}

/// What every service of a network is built from.
struct Build<'a> {
    seed: Seed,
    contest: &'a Contest,
    node: &'a DevNode,
    hub: &'a ModelsHub,
    stop: &'a Arc<AtomicBool>,
    args: &'a DemoArgs,
}

impl Build<'_> {
    fn service(&self, role: Role) -> anyhow::Result<Service> {
        let home = self.home(role);
        let seed = self.seed.derive(role.name());
        Ok(match role {
            Role::Validator(_) => Service::Validator(Box::new(self.validator(role)?)),
            Role::Honest(_) | Role::Rebaser => Service::Miner(Box::new(self.miner(role)?)),
            Role::Copycat => {
                Service::Copycat(Box::new(Copycat::new(self.publisher(role, true)?, home, seed)))
            }
            Role::Broken => {
                Service::Broken(Box::new(Broken::new(self.publisher(role, false)?, home, seed)))
            }
        })
    }

    fn home(&self, role: Role) -> PathBuf {
        self.args.home.join(role.name())
    }

    fn validator(&self, role: Role) -> anyhow::Result<Validator> {
        let config = validator::Config { netuid: NETUID, home: self.home(role), version_key: 0 };
        let evaluate = ProcessEvaluate::new(1, Arc::clone(self.stop))?;
        let ports = Ports {
            chain: Arc::new(connect(self.node)?),
            hub: Arc::new(self.hub.client(role)?),
            evaluate: Arc::new(evaluate),
        };
        Validator::open(config, ports, vec![self.contest.clone()], role.hotkey(self.seed))
    }

    fn miner(&self, role: Role) -> anyhow::Result<Miner> {
        let seed = self.seed.derive(role.name());
        let (competition, source) = (&self.contest.competition, &self.contest.source);
        let length = competition.text.sequence_length;
        let stream = |purpose: &str| {
            let (source, tokenizer) = (Arc::clone(source), Arc::clone(&self.contest.tokenizer));
            TrainingStream::new(source, tokenizer, seed.derive(purpose), length)
        };
        let held_out = stream("held out")?.next_batch(N_HELD_OUT)?;
        let (config, recipe, plan) = recipes::of(role, competition, self.args.rounds);
        let trainer = Trainer::new(config, recipe.clone(), seed)?;
        let train = TrainerTrain::new(
            trainer,
            recipe,
            stream("training")?,
            held_out,
            Arc::clone(self.stop),
        );
        Ok(Miner::new(plan, self.publisher(role, true)?, Box::new(train), self.home(role)))
    }

    fn publisher(&self, role: Role, checks: bool) -> anyhow::Result<Publisher> {
        let competition = self.contest.competition.clone();
        let check: Check = {
            let competition = competition.clone();
            Arc::new(move |dir: &Path| Ok(plug::check(dir, &competition)?.err()))
        };
        Ok(Publisher {
            chain: Arc::new(connect(self.node)?),
            hub: Arc::new(self.hub.client(role)?),
            keypair: role.hotkey(self.seed),
            netuid: NETUID,
            competition,
            repo: format!("{}/tiny", role.name()).parse()?,
            check: checks.then_some(check),
        })
    }
}
