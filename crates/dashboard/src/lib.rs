//! Pages about a network: who is champion, since when, how sure that is, and why.
//!
//! No validator is believed: signed records are read from wherever they lie, and signature, link
//! and verdict of each are checked here ([`reader`]). What they come to is kept in an [`index`],
//! which can be deleted and is made anew. From it [`page`] makes pages that are whole without a
//! script, and [`server`] serves them.

pub mod api;
pub mod ask;
pub mod chart;
pub mod clock;
pub mod duels;
pub mod feed;
pub mod figures;
pub mod index;
pub mod limits;
pub mod page;
pub mod reader;
pub mod server;
pub mod table;

pub use limits::{Judges, Limits};
pub use reader::Place;
pub use server::{Dashboard, serve};

use chain::Chain;
use protocol::{Competition, NetUid};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// What a dashboard is told.
pub struct Config {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Folder of its index, made if it is not there.
    pub home: PathBuf,
    /// Address of the hub of the models, to which repos lead.
    pub hub: String,
    /// Address by which readers reach the pages, where something stands in front of them.
    pub public_url: Option<String>,
    /// Rules by which verdicts are derived again.
    pub rules: Vec<Competition>,
    /// The chain with the subnet; without it records of any chain are taken.
    pub chain: Option<(Arc<dyn Chain>, NetUid)>,
    /// Where signed records lie.
    pub places: Vec<Place>,
    /// What is taken of validators.
    pub limits: Limits,
    /// Time between two looks at chain and places.
    pub pause: Duration,
}

/// Why a dashboard cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no thread or socket.
    #[error("the system gives no thread or socket")]
    System(#[source] io::Error),
}
