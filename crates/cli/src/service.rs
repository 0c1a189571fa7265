//! What the services share: where their parts come from, the newest block, and what they tell.

mod exposition;
pub mod heads;
pub mod health;
pub mod metrics;
pub mod miner;
pub mod publication;
pub mod pulse;
pub mod rules;
pub mod serve;
pub mod setup;
pub mod story;
pub mod validator;
pub mod watch;

use crate::{
    failure::{Interrupted, causes},
    terminal::{is_stopping, shown},
};
use serde::Serialize;
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

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

/// Goes on only where nobody has told this service to end: for between two steps that may be long.
pub fn go_on(stop: &AtomicBool) -> anyhow::Result<()> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Interrupted.into()),
        false => Ok(()),
    }
}

/// How a service ends: with success where a signal asked for it, whatever it was at.
pub fn ended(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    match outcome {
        Err(error) if !is_stopping() => return Err(error),
        Err(error) if !is_interruption(&error) => {
            tracing::warn!("at the end: {}", shown(&causes(&error)));
        }
        Ok(()) | Err(_) => {}
    }
    tracing::info!("stopped; it goes on from here");
    Ok(ExitCode::SUCCESS)
}

fn is_interruption(error: &anyhow::Error) -> bool {
    let is_stop = |cause: &hub::Error| matches!(cause, hub::Error::Stopped);
    error.chain().any(|cause| {
        cause.is::<Interrupted>() || cause.downcast_ref::<hub::Error>().is_some_and(is_stop)
    })
}
