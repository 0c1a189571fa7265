//! `agon node`: the embedded chain as a standing server.

mod spec;

pub use spec::read as read_spec;

use crate::{
    args::NodeArgs,
    command::hub::{Listening, StandingHub},
    failure::{HintExt as _, hinted},
    private,
    terminal::{self, PatientBar, print, print_json_line},
};
use anyhow::Context as _;
use chain::Genesis;
use hugging_face::dev::{Config, Front, Limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    fs,
    io::IsTerminal as _,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use substrate::{
    DevNode,
    dev::{self, NodeError, States},
};

/// Time between blocks where neither the command line nor the folder names one.
const USUAL_BLOCK_TIME: Duration = Duration::from_secs(12);

/// How often the node is looked at.
const TICK: Duration = Duration::from_millis(100);
/// The file of the chain in the home of the node.
const DATABASE: &str = "chain.db";

/// What `--json` prints when the node listens.
#[derive(Serialize)]
struct Ready {
    url: String,
    genesis: protocol::BlockHash,
    block: protocol::Block,
    block_time_ms: u128,
    database: String,
    /// The hub beside the chain.
    hub: Option<Listening>,
}

/// Runs the node until it is told to stop.
pub fn run(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let database = args.home.join(DATABASE);
    let genesis = genesis(args, &database)?;
    genesis.check().map_err(|error| told(error.into(), args))?;
    let block_time = match args.block_time {
        Some(block_time) => block_time,
        None => dev::stored_block_time(&database)
            .map_err(|error| told(error, args))?
            .unwrap_or(USUAL_BLOCK_TIME),
    };
    let is_new = !args.home.exists();
    private::make_home(&args.home, DATABASE)
        .hint("name a folder that can be written with --home")?;
    let config = dev::Config {
        listen: args.listen,
        genesis,
        database: Some(database.clone()),
        block_time: Some(block_time),
    };
    let states = if args.archive { States::All } else { States::Newest };
    let node = open(&config, states)?.map_err(|error| {
        if is_new {
            // Only a folder that is empty goes: there is nothing to say if it is not.
            let _ = fs::remove_dir(&args.home);
        }
        told(error, args)
    })?;
    let start = |listen| {
        let (folder, users) = (args.home.join("hub"), Vec::new());
        let (limits, front) = (Limits::default(), Front::default());
        StandingHub::start(Config { listen, folder, users, limits, front })
    };
    let mut hub = args.hub_listen.map(start).transpose()?;
    let ready = Ready {
        url: node.url(),
        genesis: node.genesis_hash(),
        block: node.head().block,
        block_time_ms: block_time.as_millis(),
        database: database.display().to_string(),
        hub: hub.as_ref().map(StandingHub::listening),
    };
    if args.json {
        print_json_line(&ready)?;
    } else {
        print(&opening(&ready, block_time))?;
    }
    watch(&node, hub.as_mut(), &stop, args.json)?;
    let head = node.head();
    drop(node);
    if !args.json {
        print(&format!(
            "stopped after block {}; all of it is in {}\n",
            head.block, ready.database
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a chain, with a bar for whoever waits for its blocks; a signal ends it.
pub fn open(config: &dev::Config, states: States) -> anyhow::Result<Result<DevNode, NodeError>> {
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let watch = |done: u64, all: u64| {
        bar.set(done, all, || "making blocks again".to_owned());
        !terminal::is_stopping()
    };
    let opened = DevNode::open(config, states, &watch);
    bar.finish();
    Ok(opened)
}

/// What the chain starts with: the spec's, what the database started with, or the usual accounts.
fn genesis(args: &NodeArgs, database: &Path) -> anyhow::Result<Genesis> {
    match &args.spec {
        Some(path) => spec::read(path),
        None => {
            let stored = dev::stored_genesis(database).map_err(|error| told(error, args))?;
            stored.map_or_else(spec::usual, Ok)
        }
    }
}

/// A failure of the node with what a person can do about it.
fn told(error: NodeError, args: &NodeArgs) -> anyhow::Error {
    let home = args.home.display();
    let hint = match &error {
        NodeError::Listen { .. } => "name another address with --listen".to_owned(),
        NodeError::InUse { .. } => {
            format!("stop the node that has `{home}`, or name another folder with --home")
        }
        NodeError::OtherGenesis { .. } => {
            format!(
                "name another folder with --home, leave out --spec to go on with the chain in \
                 `{home}`, or remove `{home}` to begin anew"
            )
        }
        NodeError::OtherRules { .. } | NodeError::Damaged { .. } => {
            format!("name another folder with --home to start a new chain, or remove `{home}`")
        }
        NodeError::Genesis(_) => "`agon node --help` shows what a spec holds".to_owned(),
        _ => return error.into(),
    };
    hinted(error, hint)
}

fn opening(ready: &Ready, block_time: Duration) -> String {
    let Ready { url, genesis, block, database, hub, .. } = ready;
    let hub = hub.as_ref().map(Listening::for_people).unwrap_or_default();
    format!(
        "{hub}agon node at {url}\n  genesis   {genesis}\n  block     {block}, then one every {block_time:?}\n  \
         state     {database}\nReach it with `agon chain info --network {url}`; Ctrl-C stops it.\n"
    )
}

/// Shows how far the chain is until somebody stops it, or it fails.
fn watch(
    node: &DevNode,
    mut hub: Option<&mut StandingHub>,
    stop: &AtomicBool,
    is_quiet: bool,
) -> anyhow::Result<()> {
    let bar = if is_quiet || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}")?);
    while !stop.load(Ordering::Relaxed) {
        node.check().context("the node broke down")?;
        if let Some(hub) = hub.as_deref_mut() {
            hub.tick();
        }
        let head = node.head();
        bar.set_message(format!("block {}  {}", head.block, head.hash));
        bar.tick();
        std::thread::sleep(TICK);
    }
    bar.finish_and_clear();
    Ok(())
}
