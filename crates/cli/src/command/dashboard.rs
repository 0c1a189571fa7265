//! `agon dashboard`: pages about a network, from the chain and from records that are checked.

use crate::{
    args::DashboardArgs,
    command::chain::connect,
    competition_file,
    failure::HintExt as _,
    hub_records::RepoRecords,
    hugging_face::client,
    terminal::{self, print, print_json_line},
};
use anyhow::Context as _;
use chain::Chain;
use dashboard::{Config, Limits, Place};
use protocol::{Competition, NetUid, Repo};
use records::{Folder, RECORDS_FOLDER, RootCommitment};
use serde::Serialize;
use std::{collections::BTreeSet, path::Path, process::ExitCode, sync::Arc, time::Duration};

/// Time between two looks at chain and records.
const PAUSE: Duration = Duration::from_secs(2);

/// What `--json` prints when the dashboard listens.
#[derive(Serialize)]
struct Listening {
    url: String,
    places: Vec<String>,
}

/// Serves pages until told to stop.
pub fn run(args: &DashboardArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let chain: Arc<dyn Chain> = Arc::new(connect(&args.endpoint)?);
    let netuid = NetUid(args.netuid);
    let places = places(args, &*chain, netuid)?;
    let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
    let hub = client(&args.address)?.endpoint().to_owned();
    let config = Config {
        listen: args.listen,
        home: args.home.clone(),
        hub,
        public_url: args.public_url.as_ref().map(|url| url.as_str().to_owned()),
        rules: rules(&args.competitions)?,
        chain: Some((chain, netuid)),
        places,
        limits: Limits::default(),
        pause: PAUSE,
    };
    let dashboard = dashboard::serve(config)
        .hint("another --listen or --home may be free; the home can be deleted")?;
    let listening = Listening { url: dashboard.url(), places: names };
    if args.endpoint.json {
        print_json_line(&listening)?;
    } else {
        let Listening { url, places } = &listening;
        print(&format!("agon dashboard at {url}\n  records   {}\n", places.join(", ")))?;
    }
    terminal::wait_for_stop(&stop);
    drop(dashboard);
    Ok(ExitCode::SUCCESS)
}

/// Rules that are named, and those that come with the program.
fn rules(named: &[String]) -> anyhow::Result<Vec<Competition>> {
    let builtin = Competition::builtin_names();
    let builtin = builtin.map(|name| Competition::builtin(name).map_err(anyhow::Error::from));
    let named = named.iter().map(|name| competition_file::rules(name));
    builtin.chain(named).collect()
}

/// Where records lie: where the options say, or where validators commit to.
fn places(args: &DashboardArgs, chain: &dyn Chain, netuid: NetUid) -> anyhow::Result<Vec<Place>> {
    let mut named = args.records.clone();
    if named.is_empty() {
        let head = chain.head()?;
        let commitments = chain.commitments(netuid, head.block)?;
        let roots = commitments.iter().filter_map(|stored| RootCommitment::parse(&stored.data));
        named.extend(roots.map(|root| root.repo.to_string()));
        // Several validators may name one repo.
        let mut seen = BTreeSet::new();
        named.retain(|name| seen.insert(name.clone()));
    }
    anyhow::ensure!(
        !named.is_empty(),
        "no validator of subnet {netuid} commits to records: name where they lie with --records"
    );
    named.iter().map(|name| place(args, name)).collect()
}

/// One place by its name.
fn place(args: &DashboardArgs, name: &str) -> anyhow::Result<Place> {
    let path = Path::new(name);
    let inner = path.join(RECORDS_FOLDER);
    let is_there = |folder: &&Path| folder.is_dir();
    let folder = [inner.as_path(), path].into_iter().find(is_there);
    // A whole path is no repo: a validator that is new makes the folder with its first record.
    if let Some(folder) = folder.or(path.is_absolute().then_some(path)) {
        let source = Box::new(Folder::new(folder.to_owned()));
        return Ok(Place { name: terminal::shown(name), source });
    }
    let repo: Repo = name
        .parse()
        .with_context(|| format!("`{}` is neither a folder nor a repo", terminal::shown(name)))?;
    let source = Box::new(RepoRecords::new(client(&args.address)?, repo));
    Ok(Place { name: name.to_owned(), source })
}
