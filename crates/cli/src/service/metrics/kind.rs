//! What trouble is with, and how an error tells.

use std::{fmt, io};
use validator::Cause;

/// What trouble is with, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The chain could not be asked, or did not take a call.
    Chain,
    /// The hub did not answer, or not as it should.
    Hub,
    /// Text could not be drawn.
    Text,
    /// The process that measures models failed.
    Evaluator,
    /// A disk is full, or failed.
    Disk,
    /// The journal cannot be written.
    Journal,
    /// A record could not be published.
    Publish,
}

impl ErrorKind {
    /// Those of a validator.
    pub const ALL: [Self; 7] = [
        Self::Chain,
        Self::Hub,
        Self::Text,
        Self::Evaluator,
        Self::Disk,
        Self::Journal,
        Self::Publish,
    ];
    /// Those of a miner that trains.
    pub const OF_MINER: [Self; 4] = [Self::Chain, Self::Hub, Self::Disk, Self::Journal];
    /// Those of a miner that watches.
    pub const OF_WATCHER: [Self; 6] =
        [Self::Chain, Self::Hub, Self::Text, Self::Evaluator, Self::Disk, Self::Journal];

    /// What an error is with, if that can be told: by a kind that it was given as context, or else
    /// by the first of its causes that tells.
    pub fn of(error: &anyhow::Error) -> Option<Self> {
        let given = error.downcast_ref::<Self>().copied();
        given.or_else(|| error.chain().find_map(Self::of_cause))
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if cause.is::<chain::Error>() {
            Some(Self::Chain)
        } else if cause.is::<hub::Error>() {
            Some(Self::Hub)
        } else if cause.is::<dataset::Error>() {
            Some(Self::Text)
        } else if cause.is::<journal::Error>() {
            Some(Self::Journal)
        } else if cause.is::<io::Error>() {
            Some(Self::Disk)
        } else {
            None
        }
    }

    /// As it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Hub => "hub",
            Self::Text => "text",
            Self::Evaluator => "evaluator",
            Self::Disk => "disk",
            Self::Journal => "journal",
            Self::Publish => "publish",
        }
    }
}

impl From<Cause> for ErrorKind {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Chain => Self::Chain,
            Cause::Hub => Self::Hub,
            Cause::Text => Self::Text,
            Cause::Evaluator => Self::Evaluator,
            Cause::Disk => Self::Disk,
            Cause::Journal => Self::Journal,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trouble with {}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::HintExt as _;
    use anyhow::Context as _;

    #[test]
    fn trouble_is_counted_by_what_it_is_with() {
        let error = chain::Error::Unavailable { request: "head" };
        let told = Err::<(), _>(error).context("cannot read the newest block").hint("wait");
        assert_eq!(ErrorKind::of(&told.unwrap_err()), Some(ErrorKind::Chain));
        let error: anyhow::Error = hub::Error::Stopped.into();
        assert_eq!(ErrorKind::of(&error.context("cannot submit")), Some(ErrorKind::Hub));
        let full = || -> anyhow::Error { io::Error::other("full").into() };
        assert_eq!(ErrorKind::of(&full()), Some(ErrorKind::Disk));
        let error = full().context(ErrorKind::Evaluator).context("cannot measure");
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Evaluator));
        let error: anyhow::Error = journal::Error::InUse("home".into()).into();
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Journal));
        assert_eq!(ErrorKind::of(&anyhow::anyhow!("another")), None);
    }
}
