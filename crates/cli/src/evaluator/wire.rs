//! What a validator and its evaluators say to each other: a line of JSON for each message.
//!
//! Both are the same program, so nothing here has to be stable.

use anyhow::ensure;
use dataset::Batch;
use protocol::{Competition, Outcome, Reason};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    io::{BufRead, Read as _},
};
use validator::Inspected;

/// Most bytes of a message of an evaluator: losses of a hundred thousand batches.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// What an evaluator shall do with the model it was started for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request<'a> {
    /// [`validator::Evaluate::inspect_ahead`].
    InspectAhead {
        /// The rules.
        competition: Cow<'a, Competition>,
    },
    /// [`validator::Evaluate::inspect`].
    Inspect {
        /// The rules.
        competition: Cow<'a, Competition>,
    },
    /// [`validator::Evaluate::evaluate`].
    Evaluate {
        /// The rules.
        competition: Cow<'a, Competition>,
        /// The text.
        batches: Cow<'a, [Batch]>,
        /// Threads to use.
        n_threads: usize,
    },
    /// Try everything that must be impossible.
    SelfTest,
}

/// Something that an evaluator must not be able to do, tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// Whether the system refused it.
    pub refused: bool,
    /// What the system said.
    pub answer: String,
}

/// What an evaluator says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// First of all: it has given up what it could.
    Ready {
        /// What it could not give up, and why.
        missing: Vec<String>,
    },
    /// So many batches are done.
    Progress {
        /// Their number.
        n_batches: usize,
    },
    /// The answer to [`Request::InspectAhead`].
    InspectedAhead(Result<(), Reason>),
    /// The answer to [`Request::Inspect`].
    Inspected(Result<Inspected, Reason>),
    /// The answer to [`Request::Evaluate`].
    Evaluated(Outcome),
    /// The answer to [`Request::SelfTest`].
    SelfTested(Vec<Attempt>),
    /// Trouble of our own.
    Failed {
        /// What went wrong.
        error: String,
    },
}

/// The next message; `None` at the end of all.
pub fn read(from: &mut impl BufRead) -> anyhow::Result<Option<Message>> {
    let mut line = Vec::new();
    from.take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.ends_with(b"\n"), "a message of {} bytes has no end", line.len());
    Ok(Some(serde_json::from_slice(&line)?))
}
