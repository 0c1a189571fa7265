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

use crate::terminal::is_stopping;
use anyhow::Context as _;
use serde::Serialize;
use std::{net::SocketAddr, thread, time::Duration};

/// How long a service may take to end; those who started it wait a little longer.
const END_WITHIN: Duration = Duration::from_secs(8);
/// How often it is looked whether it is to end.
const TICK: Duration = Duration::from_millis(100);

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

/// Has this process end some seconds after a signal has told it to, whatever it waits for then: a
/// chain that does not answer is asked again for a minute, and nobody waits so long for an end.
///
/// What the journal does not know has not happened, so that such an end costs nothing.
pub fn end_in_time() -> anyhow::Result<()> {
    let watch = || {
        while !is_stopping() {
            thread::sleep(TICK);
        }
        thread::sleep(END_WITHIN);
        tracing::info!("stopped while it waited for an answer; it goes on from here");
        std::process::exit(0);
    };
    thread::Builder::new().name("end".to_owned()).spawn(watch).context("cannot start a thread")?;
    Ok(())
}
