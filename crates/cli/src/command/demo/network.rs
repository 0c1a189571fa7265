//! Sets a network up: text, tokenizer, competition, chain, hub, keys, services.

use super::{
    attackers::{Broken, Copycat},
    calendar::{Calendar, N_SET_UP_BLOCKS, REVEAL_EPOCHS},
    cast::Role,
    own::{self, Own},
    pages::Beside,
    plan::Plan,
    recipes, rules,
};
use crate::{
    args::DemoArgs,
    command::{node, replay::home::AtWork},
    contest::Contest,
    evaluator::ProcessEvaluate,
    plug::{self, TrainerTrain},
};
use anyhow::Context as _;
use chain::{
    Call, CallStatus, Chain,
    ledger::{EpochSummary, Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use dataset::pack::TrainingStream;
use hugging_face::Folder;
use hugging_face::{
    ClientOptions, DevHub, HubClient,
    dev::{Front, Limits, Role::Write, User},
};
use journal::Journal;
use miner::{Check, Miner, Outbox, Publisher};
use protocol::{Competition, NetUid, Seed, Uid};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use substrate::{
    ClientConfig, DevNode, Signatures, SubstrateChain,
    dev::{self, States},
};
use trainer::Trainer;
use validator::{FetchedModels, Ports, RoundSummary, Validator};

/// The only subnet of a demo.
pub const NETUID: NetUid = NetUid(1);

/// Sequences that each miner holds back from training to measure itself on.
const N_HELD_OUT: usize = 48;

/// A network that is ready to run.
pub struct Network {
    /// The chain that everybody shares, each over a connection of its own.
    pub node: DevNode,
    /// The hub that everybody shares, each over HTTP.
    hub: ModelsHub,
    /// The contest with its text.
    pub contest: Contest,
    /// When its rounds are.
    pub calendar: Calendar,
    /// Everybody, in the order of [`Role::cast`].
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
    /// Publishes the user's model.
    Own(Box<Own>),
}

/// What is left of a network that has ended.
pub struct Ended {
    /// The contest with its text.
    pub contest: Contest,
    /// Slot of each role.
    pub uids: BTreeMap<Role, Uid>,
    /// Rounds as each validator saw them, in order of block.
    pub rounds: Vec<(Role, RoundSummary)>,
    /// Epochs of Yuma Consensus: who earned what.
    pub epochs: Vec<EpochSummary>,
    /// Files of the run.
    pub home: PathBuf,
}

impl Network {
    /// Builds the network of `args` in its home folder, which must be there and empty, or hold a
    /// run of the same that `goes_on`.
    pub fn set_up(
        args: &DemoArgs,
        plan: Plan,
        stop: &Arc<AtomicBool>,
        goes_on: bool,
    ) -> anyhow::Result<Self> {
        let seed = Seed::of_number(args.seed);
        let Plan { contest, calendar } = plan;
        rules::keep(&args.home, &contest)?;
        if let Some(model) = args.miner.as_ref().filter(|_| !goes_on) {
            take(model, &own_model(args))
                .with_context(|| format!("cannot take the model in `{}`", model.display()))?;
        }
        let roles = Role::cast(args.miner.as_deref());
        let node = node(args, &contest.competition, &roles)?;
        if !goes_on {
            register(&node, &roles, seed)?;
        }
        let uids = slots(&node, &roles, seed)?;
        let hub = ModelsHub::start(args, &roles)?;
        let build = Build { seed, contest: &contest, calendar, node: &node, hub: &hub, stop, args };
        let actors = roles
            .into_iter()
            .map(|role| Ok(Actor { role, service: build.service(role)? }))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { node, hub, contest, calendar, actors, uids, home: args.home.clone() })
    }

    /// Everybody, in the order of registration.
    pub fn roles(&self) -> Vec<Role> {
        self.actors.iter().map(|actor| actor.role).collect()
    }

    fn validators(&self) -> impl Iterator<Item = (Role, &Validator)> {
        self.actors.iter().filter_map(|actor| match &actor.service {
            Service::Validator(validator) => Some((actor.role, &**validator)),
            _ => None,
        })
    }

    /// What the last round of the first validator came to.
    pub fn last_round(&self) -> anyhow::Result<Option<RoundSummary>> {
        let first = self.validators().next();
        Ok(first.map(|(_, first)| first.rounds(1)).transpose()?.and_then(|mut last| last.pop()))
    }

    /// What pages about it stand beside.
    pub fn beside(&self) -> anyhow::Result<Beside> {
        let chain = Arc::new(connect(&self.node)?);
        let rules = self.contest.competition.clone();
        Ok(Beside { chain, hub: self.hub.server.url(), rules })
    }

    /// Where its chain and its hub answer.
    pub fn at_work(&self) -> AtWork {
        let (chain, hub) = (self.node.url(), self.hub.server.url());
        AtWork { chain, genesis: self.node.genesis_hash(), hub }
    }

    /// Ends everybody's work; chain and hub answer as long as this is there.
    pub fn end(&mut self, args: &DemoArgs) -> anyhow::Result<Ended> {
        let mut rounds = Vec::new();
        for (role, validator) in self.validators() {
            let of_it = validator.rounds(usize::try_from(args.rounds)?)?;
            rounds.extend(of_it.into_iter().map(|summary| (role, summary)));
        }
        rounds.sort_by_key(|(role, summary)| (summary.seed.block, *role));
        let genesis = genesis(args, &self.contest.competition, &self.roles());
        self.actors.clear();
        // The node remembers no more than it has made since its own start.
        let mut replay = dev::Replay::new(database(args), genesis)?;
        let epochs = replay.advance().context("cannot read the chain of this run")?.epochs;
        let (contest, uids, home) = (self.contest.clone(), self.uids.clone(), self.home.clone());
        Ok(Ended { contest, uids, rounds, epochs, home })
    }
}

/// Copies the files of a model, and not what else lies in its folder.
fn take(model: &Path, copy: &Path) -> anyhow::Result<()> {
    let folder = Folder::of_model(model)?;
    for file in folder.list(&|_, _| true)? {
        let to = copy.join(&file.path);
        fs::create_dir_all(to.parent().unwrap_or(copy))?;
        fs::copy(folder.path_of(&file.path), to)?;
    }
    Ok(())
}

/// Where the user's model lies during the demo.
fn own_model(args: &DemoArgs) -> PathBuf {
    args.home.join(Role::Own.name()).join(own::MODEL)
}

/// A chain on a fast clock whose epochs end where rounds begin, and that hides weights for one.
fn genesis(args: &DemoArgs, competition: &Competition, roles: &[Role]) -> Genesis {
    let seed = Seed::of_number(args.seed);
    let owner = Role::Validator(1).coldkey(seed).public();
    let fund = |role: &Role| (role.coldkey(seed).public(), (role.stake_tao() + 100) * RAO_PER_TAO);
    let hyperparameters = Hyperparameters {
        tempo: competition.evaluation.blocks_per_round as u16,
        commit_reveal: true,
        reveal_period: REVEAL_EPOCHS,
        max_validators: Role::VALIDATORS.len() as u16,
        // A slot for everybody within a few blocks, not one a day.
        max_registrations_per_block: 1,
        target_registrations: roles.len() as u16,
        weights_rate_limit: 2,
        commitment_rate_limit: 2,
        ..Hyperparameters::default()
    };
    Genesis {
        seed: args.seed,
        accounts: roles.iter().map(fund).collect(),
        subnets: vec![SubnetGenesis { owner, hyperparameters }],
        ..Genesis::default()
    }
}

fn database(args: &DemoArgs) -> PathBuf {
    args.home.join("chain.db")
}

/// A node on a port of its own that makes a block when it is told to, and has all states.
fn node(args: &DemoArgs, competition: &Competition, roles: &[Role]) -> anyhow::Result<DevNode> {
    let config = dev::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        database: Some(database(args)),
        genesis: genesis(args, competition, roles),
        block_time: None,
    };
    // A replay asks for states as old as the youngest commitments of a round.
    node::open(&config, States::All)?.context("cannot start the chain")
}

/// A hub on a port of its own, with a user for each miner.
struct ModelsHub {
    server: DevHub,
    users: BTreeMap<Role, User>,
}

impl ModelsHub {
    fn start(args: &DemoArgs, roles: &[Role]) -> anyhow::Result<Self> {
        let user = |role: Role| {
            let (name, token) = (role.name().to_owned(), hugging_face::dev::new_token()?);
            Ok((role, User { name, token, role: Write, organisations: Vec::new() }))
        };
        let miners = roles.iter().copied().filter(|role| role.is_miner());
        let users: BTreeMap<Role, User> = miners.map(user).collect::<anyhow::Result<_>>()?;
        let config = hugging_face::dev::Config {
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

/// A connection to the node, which may take its time between two blocks; block hashes follow from
/// the bytes of calls, and a demo can be repeated.
fn connect(node: &DevNode) -> anyhow::Result<SubstrateChain> {
    let signatures = Signatures::Repeatable;
    let genesis = Some(node.genesis_hash());
    let config =
        ClientConfig { genesis, stall_limit: None, signatures, ..ClientConfig::new(node.url()) };
    SubstrateChain::connect(config).context("cannot reach the chain")
}

/// Registers everybody by real calls, one a block, and stakes for the validators.
fn register(node: &DevNode, roles: &[Role], seed: Seed) -> anyhow::Result<()> {
    let chain = connect(node)?;
    for role in roles.iter().copied() {
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
    Ok(())
}

/// The slot of everybody.
fn slots(node: &DevNode, roles: &[Role], seed: Seed) -> anyhow::Result<BTreeMap<Role, Uid>> {
    let metagraph = connect(node)?.metagraph(NETUID)?;
    roles
        .iter()
        .map(|role| {
            let hotkey = role.hotkey(seed).public();
            let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
            let neuron = neuron.with_context(|| format!("{} is not registered", role.name()))?;
            Ok((*role, neuron.uid))
        })
        .collect()
}

/// What every service of a network is built from.
struct Build<'a> {
    seed: Seed,
    contest: &'a Contest,
    calendar: Calendar,
    node: &'a DevNode,
    hub: &'a ModelsHub,
    stop: &'a Arc<AtomicBool>,
    args: &'a DemoArgs,
}

impl Build<'_> {
    fn service(&self, role: Role) -> anyhow::Result<Service> {
        let seed = self.seed.derive(role.name());
        Ok(match role {
            Role::Validator(_) => Service::Validator(Box::new(self.validator(role)?)),
            Role::Honest(_) | Role::Rebaser => Service::Miner(Box::new(self.miner(role)?)),
            Role::Copycat => Service::Copycat(Box::new(Copycat::new(self.outbox(role)?, seed))),
            Role::Broken => Service::Broken(Box::new(Broken::new(self.outbox(role)?, seed))),
            Role::Own => Service::Own(Box::new(Own::new(self.outbox(role)?))),
        })
    }

    fn home(&self, role: Role) -> PathBuf {
        self.args.home.join(role.name())
    }

    fn validator(&self, role: Role) -> anyhow::Result<Validator> {
        let home = self.home(role);
        let config = validator::Config::new(NETUID, self.node.genesis_hash());
        let evaluate = Arc::new(ProcessEvaluate::new(1, Arc::clone(self.stop))?);
        let hub = Arc::new(self.hub.client(role)?);
        let models = Arc::new(FetchedModels::new(hub, evaluate, home.join("models")));
        let ports = Ports {
            chain: Arc::new(connect(self.node)?),
            models: Arc::clone(&models) as Arc<dyn validator::Models>,
            evaluate: models,
            publish: Arc::new(records::Folder::new(home.join("records"))),
        };
        let contests = vec![self.contest.for_validator()];
        let journal = validator::legacy::open_journal(&home)?;
        Validator::open(config, ports, contests, role.hotkey(self.seed), journal)
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
        let (config, recipe, plan) = recipes::of(role, competition, &self.calendar)?;
        let trainer = Trainer::new(config, recipe.clone(), seed)?;
        let train = TrainerTrain::new(
            trainer,
            recipe,
            stream("training")?,
            held_out,
            Arc::clone(self.stop),
        );
        Miner::open(plan, self.outbox(role)?, Box::new(train))
    }

    fn outbox(&self, role: Role) -> anyhow::Result<Outbox> {
        let home = self.home(role);
        let journal = Journal::open(&home)?;
        Outbox::open(self.publisher(role)?, home, journal)
    }

    fn publisher(&self, role: Role) -> anyhow::Result<Publisher> {
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
            repo: format!("{}/{}", role.name(), competition.name).parse()?,
            competition,
            check: (role != Role::Broken).then_some(check),
        })
    }
}
