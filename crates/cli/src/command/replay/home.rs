//! What the home of a demo, a network or a validator holds that a replay can use, and who answers
//! from it.

use crate::command::node;
use anyhow::Context as _;
use hugging_face::{
    ClientOptions, DevHub, HubClient,
    dev::{Front, Limits, Role, User, new_token},
};
use protocol::BlockHash;
use std::{
    fs,
    path::{Path, PathBuf},
};
use substrate::{
    ClientConfig, DevNode, SubstrateChain,
    dev::{self, States},
};

/// Folder of fetched models in the home of a validator.
const MODELS: &str = "models";
/// File with the rules of a demo, or of a competition of a network.
const RULES: &str = "competition.toml";
/// Files of a chain: of a demo and of a node, and of a network.
const CHAINS: [&str; 2] = ["chain.db", "node/chain.db"];
/// Most entries of a home that are looked through.
const N_ENTRIES_MAX: usize = 1_000;

/// A home.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    at_work: Option<AtWork>,
}

/// Where the chain and the hub of a home answer already: nobody else can open their files.
#[derive(Clone, Debug)]
pub struct AtWork {
    /// Address of the chain.
    pub chain: String,
    /// Its genesis.
    pub genesis: BlockHash,
    /// Address of the hub.
    pub hub: String,
}

impl Home {
    /// The home in a folder, which must be there.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(path.is_dir(), "there is no folder `{}`", path.display());
        Ok(Self { path: path.to_owned(), at_work: None })
    }

    /// The same, whose chain and hub are at work.
    pub fn at_work(self, at_work: AtWork) -> Self {
        Self { at_work: Some(at_work), ..self }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rules of a demo, or of the competitions of a network.
    pub fn competitions(&self) -> anyhow::Result<Vec<PathBuf>> {
        let own = self.path.join(RULES);
        match own.is_file() {
            true => Ok(vec![own]),
            false => below(&self.path.join("competitions"), RULES),
        }
    }

    /// Folders in which validators keep models by the digest of their files.
    pub fn stores(&self) -> anyhow::Result<Vec<PathBuf>> {
        let own = self.path.join(MODELS);
        if own.is_dir() { Ok(vec![own]) } else { below(&self.path, MODELS) }
    }

    /// The hub of a demo or a network, at work already or again; `None` where there is none.
    pub fn hub(&self) -> anyhow::Result<Option<HomeHub>> {
        let folder = self.path.join("hub");
        if !folder.join("hub.db").is_file() {
            return Ok(None);
        }
        let place = || format!("cannot start the hub in `{}`", folder.display());
        if let Some(at_work) = &self.at_work {
            let client = HubClient::new(&ClientOptions::new(&at_work.hub)).with_context(place)?;
            return Ok(Some(HomeHub { client, server: None }));
        }
        let user = User {
            name: "replay".to_owned(),
            token: new_token().with_context(place)?,
            role: Role::Read,
            organisations: Vec::new(),
        };
        let config = hugging_face::dev::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            folder: folder.clone(),
            users: vec![user],
            limits: Limits::default(),
            front: Front::default(),
        };
        let server = DevHub::start(&config).with_context(place)?;
        let client = HubClient::new(&ClientOptions::new(&server.url())).with_context(place)?;
        Ok(Some(HomeHub { client, server: Some(server) }))
    }

    /// The chain of a demo, a node or a network, which answers for the state after any block and
    /// makes no more of them; `None` where there is none.
    pub fn chain(&self) -> anyhow::Result<Option<HomeChain>> {
        let databases = CHAINS.map(|path| self.path.join(path));
        let Some(database) = databases.into_iter().find(|path| path.is_file()) else {
            return Ok(None);
        };
        let place = || format!("cannot read the chain in `{}`", database.display());
        let connect = |url: &str, genesis| {
            let genesis = Some(genesis);
            let config = ClientConfig { genesis, stall_limit: None, ..ClientConfig::new(url) };
            SubstrateChain::connect(config).with_context(place)
        };
        if let Some(AtWork { chain, genesis, .. }) = &self.at_work {
            return Ok(Some(HomeChain { client: connect(chain, *genesis)?, node: None }));
        }
        let Some(genesis) = dev::stored_genesis(&database).with_context(place)? else {
            return Ok(None);
        };
        let config = dev::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            database: Some(database.clone()),
            genesis,
            block_time: None,
        };
        let node = node::open(&config, States::All)?.with_context(place)?;
        let client = connect(&node.url(), node.genesis_hash())?;
        Ok(Some(HomeChain { client, node: Some(node) }))
    }
}

/// What is called `name` in the folders of a folder, in order.
fn below(folder: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unread = || format!("cannot list `{}`", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(unread)?.take(N_ENTRIES_MAX) {
        let path = entry.with_context(unread)?.path().join(name);
        if path.exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The hub of a home.
pub struct HomeHub {
    /// A client of it.
    pub client: HubClient,
    /// It answers as long as this is there, or whoever has it at work.
    pub server: Option<DevHub>,
}

/// The chain of a home.
pub struct HomeChain {
    /// A client of it.
    pub client: SubstrateChain,
    /// It answers as long as this is there, or whoever has it at work.
    pub node: Option<DevNode>,
}
