//! The dashboard of a demo, in its own process.

use super::{cast::Role, network::NETUID};
use crate::{args::DemoArgs, failure::HintExt as _};
use anyhow::Context as _;
use chain::Chain;
use dashboard::{Config, Dashboard, Limits, Place};
use protocol::Competition;
use records::{Folder, RECORDS_FOLDER};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// Folder of the index in the home of a demo.
const FOLDER: &str = "dashboard";
/// Time between two looks at chain and records: rounds of a demo are seconds apart.
const PAUSE: Duration = Duration::from_millis(500);

/// What to do where an address is taken.
const ANOTHER: &str = "another --dashboard may be free";

/// What pages about a run stand beside.
pub struct Beside {
    /// The chain of the run.
    pub chain: Arc<dyn Chain>,
    /// Address of its hub.
    pub hub: String,
    /// Its rules.
    pub rules: Competition,
}

/// Refuses an address on which pages could not be served.
pub fn expect_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address)
        .map(drop)
        .with_context(|| format!("cannot serve pages on {address}"))
        .hint(ANOTHER)
}

/// Serves pages of what the validators of a run have published, until what is returned is dropped.
pub fn serve(args: &DemoArgs, beside: Beside) -> anyhow::Result<Dashboard> {
    let place = |role: Role| {
        let folder = args.home.join(role.name()).join(RECORDS_FOLDER);
        Place { name: role.name().to_owned(), source: Box::new(Folder::new(folder)) }
    };
    let config = Config {
        listen: args.dashboard,
        home: args.home.join(FOLDER),
        hub: beside.hub,
        public_url: None,
        rules: vec![beside.rules],
        chain: Some((beside.chain, NETUID)),
        places: Role::VALIDATORS.into_iter().map(place).collect(),
        limits: Limits::default(),
        pause: PAUSE,
    };
    dashboard::serve(config).hint(ANOTHER)
}
