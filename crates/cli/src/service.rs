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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::HintExt as _;
    use anyhow::Context as _;

    #[test]
    fn a_service_that_nobody_told_to_end_ends_with_its_error() {
        assert!(ended(Ok(())).is_ok());
        for error in [anyhow::anyhow!("full"), Interrupted.into(), hub::Error::Stopped.into()] {
            let told = error.to_string();
            assert_eq!(ended(Err(error)).unwrap_err().to_string(), told);
        }
        assert!(go_on(&AtomicBool::new(false)).is_ok());
        assert!(go_on(&AtomicBool::new(true)).unwrap_err().is::<Interrupted>());
    }

    #[test]
    fn an_interruption_is_known_behind_whatever_is_said_of_it() {
        let stopped = || Err::<(), _>(hub::Error::Stopped);
        for error in [
            Err::<(), _>(Interrupted).context("cannot wait").unwrap_err(),
            Err::<(), _>(Interrupted).hint("wait").context("cannot wait").unwrap_err(),
            stopped().context("cannot publish").hint("again").unwrap_err(),
        ] {
            assert!(is_interruption(&error), "{error:#}");
        }
        for error in [
            anyhow::anyhow!("interrupted"),
            anyhow::Error::from(hub::Error::Unavailable("stopped".to_owned()))
                .context("cannot wait"),
        ] {
            assert!(!is_interruption(&error), "{error:#}");
        }
    }
}
