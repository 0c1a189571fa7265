//! What services are built from: chain, keys, hub, text.

use super::{Ready, health::Health, metrics::Metrics, publication::Publication, serve::Server};
use crate::{
    args::{RunValidatorArgs, ServiceArgs},
    command::{
        chain::{check_development, connect},
        wallet::Keys,
    },
    competition_file,
    contest::Contest,
    evaluator::ProcessEvaluate,
    failure::HintExt as _,
    hugging_face, private,
    terminal::print_json_line,
};
use anyhow::Context as _;
use chain::{Chain as _, Keypair};
use protocol::NetUid;
use records::{Folder, RECORDS_FOLDER};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use substrate::SubstrateChain;
use validator::{Config, FetchedModels, Ports, Validator};

/// Folder of fetched models, in the home of a validator.
const MODELS: &str = "models";

/// Where a service lives: its chain and its key.
pub struct Place {
    /// The chain.
    pub chain: Arc<SubstrateChain>,
    /// The key that signs.
    pub hotkey: Keypair,
    /// The subnet.
    pub netuid: NetUid,
}

impl Place {
    /// Connects and opens the key. Nothing is signed.
    pub fn open(args: &ServiceArgs) -> anyhow::Result<Self> {
        let keys = Keys::new(&args.wallet);
        let chain = connect(&args.endpoint)?;
        if keys.are_for_development() {
            check_development(&args.wallet.wallet, chain.origin()?, false)?;
        }
        let hotkey = keys.hotkey()?;
        Ok(Self { chain: Arc::new(chain), hotkey, netuid: NetUid(args.netuid) })
    }

    /// Begins to answer where the options say so, as long as what this gives is there; and says
    /// that the service is at work.
    pub fn announce(
        &self,
        service: &'static str,
        args: &ServiceArgs,
        (metrics, health): (&Arc<Metrics>, &Arc<Health>),
    ) -> anyhow::Result<Option<Server>> {
        let start = |address| Server::start(address, Arc::clone(metrics), Arc::clone(health));
        let server = args.listen.map(start).transpose()?;
        if args.endpoint.json {
            let (hotkey, netuid) = (self.hotkey.public(), self.netuid);
            let listen = server.as_ref().map(Server::address);
            print_json_line(&Ready { ready: service, hotkey, netuid, listen })?;
        }
        Ok(server)
    }

    /// Time between two blocks of the chain.
    pub fn block_time(&self) -> anyhow::Result<Duration> {
        Ok(Duration::from_millis(self.chain.fit()?.block_ms))
    }

    /// Whether the hotkey has a slot, in words of an error if it has none.
    pub fn check_slot(&self) -> anyhow::Result<()> {
        let (netuid, hotkey) = (self.netuid, self.hotkey.public());
        let metagraph = self.chain.metagraph(netuid);
        let metagraph = metagraph.with_context(|| format!("cannot read subnet {netuid}"))?;
        if metagraph.neurons.iter().any(|neuron| neuron.hotkey == hotkey) {
            return Ok(());
        }
        Err(anyhow::anyhow!("{hotkey} has no slot on subnet {netuid}"))
            .hint("`agon chain register` buys a slot")
    }
}

/// Makes the home of a service, for nobody else to enter.
pub fn make_home(home: &Path) -> anyhow::Result<()> {
    private::make_home(home, journal::FILE).hint("name a folder that can be written with --home")
}

/// Threads that measure or train.
pub fn threads(args: &ServiceArgs) -> usize {
    args.threads.unwrap_or_else(engine::n_processors).max(1)
}

/// The competitions with their text; a file is read once, though several name it.
pub fn contests(args: &RunValidatorArgs, names: &[String]) -> anyhow::Result<Vec<Contest>> {
    let contest = |name: &String| {
        competition_file::contest(name, args.service.data.as_deref())
            .with_context(|| format!("competition `{name}`"))
    };
    names.iter().map(contest).collect()
}

/// What measures models on this machine.
pub fn evaluate(
    args: &RunValidatorArgs,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ProcessEvaluate> {
    let evaluate = ProcessEvaluate::new(threads(&args.service), Arc::clone(stop))?;
    Ok(match args.memory_limit {
        Some(limit) => evaluate.with_memory_limit(limit.as_u64()),
        None => evaluate,
    })
}

/// How a validator runs by the options.
pub fn config(args: &RunValidatorArgs, place: &Place) -> anyhow::Result<Config> {
    let genesis = place.chain.genesis_hash().context("cannot tell which chain this is")?;
    let root_blocks = match args.records.records_repo {
        Some(_) => args.records.records_root_blocks,
        None => 0,
    };
    Ok(Config {
        root_blocks,
        version_key: args.version_key,
        takes_over: args.take_over,
        ..Config::new(place.netuid, genesis)
    })
}

/// What publishes the records of a validator to a hub, where the options ask for it.
pub fn publication(args: &RunValidatorArgs, place: &Place) -> anyhow::Result<Option<Publication>> {
    let folder = Folder::new(args.service.home.join(RECORDS_FOLDER));
    Publication::open(args, place.hotkey.public(), folder)
}

/// The validator that the options describe, of these competitions, in its home.
pub fn validator(
    args: &RunValidatorArgs,
    config: Config,
    names: &[String],
    place: &Place,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Validator> {
    let home = &args.service.home;
    let contests = contests(args, names)?;
    let journal = validator::legacy::open_journal(home)?;
    let hub = Arc::new(hugging_face::client(&args.service.address)?);
    let models = FetchedModels::new(hub, Arc::new(evaluate(args, stop)?), home.join(MODELS));
    let models = Arc::new(models);
    let ports = Ports {
        chain: Arc::clone(&place.chain) as Arc<dyn chain::Chain>,
        models: Arc::clone(&models) as Arc<dyn validator::Models>,
        evaluate: models,
        publish: Arc::new(Folder::new(home.join(RECORDS_FOLDER))),
    };
    let contests = contests.iter().map(Contest::for_validator).collect();
    Validator::open(config, ports, contests, place.hotkey.clone(), journal)
}
