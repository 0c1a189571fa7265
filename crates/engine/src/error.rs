//! Our own trouble while measuring a model, as opposed to the model's.

use protocol::{Digest, Reason, ReasonCode};
use std::{fmt, io, path::PathBuf};

/// Something went wrong that the model's owner is not to blame for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of a model does not exist.
    #[error("`{}` is not a folder with a model", .0.display())]
    NotAFolder(PathBuf),
    /// A file of the model could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file became shorter or longer between two reads.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The files no longer hold the model that was admitted: they changed at rest.
    #[error("the files do not hold the model of tensor root {expected}")]
    OtherModel {
        /// The root that the caller knows.
        expected: Digest,
        /// The root of what the files hold, if they hold a model.
        found: Option<Digest>,
    },
    /// There is not enough memory for the parameters or the work buffers.
    #[error("out of memory: {n_bytes} more bytes are needed")]
    OutOfMemory {
        /// Size of the buffer that could not be had.
        n_bytes: u64,
    },
    /// The limit on memory is too low even for one sequence at a time.
    #[error("{needed} bytes of memory are needed, more than the limit of {limit}")]
    MemoryLimit {
        /// The limit.
        limit: u64,
        /// What would do.
        needed: u64,
    },
    /// A sequence is too short to predict anything.
    #[error("sequence {index} has {n_tokens} tokens: at least {n_tokens_min} are needed")]
    SequenceTooShort {
        /// Position in the input.
        index: usize,
        /// Its length.
        n_tokens: usize,
        /// The length that would do.
        n_tokens_min: usize,
    },
    /// The processor lacks the instruction set that was asked for.
    #[error("this processor has no {0}")]
    NoSuchInstructions(crate::InstructionSet),
    /// The GPU, or a library of CUDA, is missing or failed.
    #[cfg(feature = "cuda")]
    #[error("the GPU cannot be used: {0}")]
    Gpu(String),
    /// The caller's flag said stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Changed(_) | Self::OutOfMemory { .. })
    }
}

/// Why work on a model stopped: its fault or ours.
#[derive(Debug)]
pub(crate) enum Stop {
    Model(Reason),
    Us(Error),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Model(reason)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Us(error)
    }
}

/// Separates the model's fault from ours, as the public functions do.
pub(crate) fn judge<T>(result: Result<T, Stop>) -> Result<Result<T, Reason>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Model(reason)) => Ok(Err(reason)),
        Err(Stop::Us(error)) => Err(error),
    }
}

/// A refusal under the given rule.
pub(crate) fn refuse<T, E: From<Reason>>(
    code: ReasonCode,
    detail: impl fmt::Display,
) -> Result<T, E> {
    Err(Reason::new(code, detail).into())
}
