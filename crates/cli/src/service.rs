//! What the services share: where their parts come from, the newest block, and what they tell.

mod exposition;
pub mod heads;
pub mod health;
pub mod metrics;
pub mod miner;
pub mod pulse;
pub mod rules;
pub mod serve;
pub mod setup;
pub mod story;
pub mod validator;
pub mod watch;

use serde::Serialize;
use std::net::SocketAddr;

/// What `--json` prints when a service is at work.
#[derive(Serialize)]
pub struct Ready {
    /// Which service.
    pub ready: &'static str,
    /// Its key.
    pub hotkey: protocol::AccountId,
    /// Subnet that it serves.
    pub netuid: protocol::NetUid,
    /// Where it answers, if it does.
    pub listen: Option<SocketAddr>,
}
