//! What a validator and its evaluators say to each other: a line of JSON for each message.
//!
//! Both are the same program, so nothing here has to be stable.

use anyhow::ensure;
use protocol::{Competition, Digest, Reason, SequenceLoss};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    io::{BufRead, Read as _},
};
use validator::Inspected;

/// Most bytes of a message of an evaluator: losses of tens of thousands of sequences.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// What an evaluator shall do with the model it was started for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request<'a> {
    /// [`validator::Engine::inspect_ahead`].
    InspectAhead {
        /// The rules.
        competition: Cow<'a, Competition>,
    },
    /// [`validator::Engine::inspect`].
    Inspect {
        /// The rules.
        competition: Cow<'a, Competition>,
    },
    /// [`validator::Engine::losses`].
    Losses {
        /// The rules.
        competition: Cow<'a, Competition>,
        /// Tensor root that the model was admitted with.
        tensor_root: Digest,
        /// The text.
        sequences: Vec<Cow<'a, [u32]>>,
        /// Threads to use.
        n_threads: usize,
        /// Most bytes of memory to take, where the validator has less than the rules allow.
        memory_limit: Option<u64>,
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
    /// The losses of the next sequences.
    Losses(Vec<SequenceLoss>),
    /// The answer to [`Request::InspectAhead`].
    InspectedAhead(Result<(), Reason>),
    /// The answer to [`Request::Inspect`].
    Inspected(Result<Inspected, Reason>),
    /// The end of the answer to [`Request::Losses`].
    Evaluated(Result<(), Reason>),
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
