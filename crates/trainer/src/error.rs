//! What can go wrong in training.

use std::path::{Path, PathBuf};

/// Why a trainer cannot be made, cannot go on, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shape of the model contradicts itself or exceeds a limit.
    #[error("model config: {0}")]
    Config(String),
    /// A number of the recipe is out of its range.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A batch cannot be trained on or measured.
    #[error("batch: {0}")]
    Batch(String),
    /// The loss or its gradient is no longer a finite number; the parameters are as before.
    #[error("training diverged at step {step}: loss {loss}, gradient norm {gradient_norm}")]
    Diverged {
        /// Number of the step that could not be made, from 1.
        step: u64,
        /// Mean loss of its batch.
        loss: f64,
        /// Global norm of its gradient.
        gradient_norm: f64,
    },
    /// The caller said stop.
    #[error("stopped")]
    Stopped,
    /// A file is not what it should be: cut, changed, of another kind, or of another model.
    #[error("`{}`: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A place to write to is taken.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// Such as `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The threads of the trainer cannot be started.
    #[error("cannot start {n_threads} threads")]
    Threads {
        /// How many were wanted.
        n_threads: usize,
        /// Why.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// Automatic differentiation failed, which is a defect of this crate.
    #[error("automatic differentiation failed")]
    Autograd(#[from] candle_core::Error),
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Threads { .. })
    }

    /// Turns an error of the file system into one that names what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// What kept the engine from reading a file.
    pub(crate) fn of_engine(error: engine::Error, path: &Path) -> Self {
        match error {
            engine::Error::Read { path, source } => Self::Io { action: "read", path, source },
            other => Self::malformed(path, other),
        }
    }

    /// A file that is not what it should be.
    pub(crate) fn malformed(path: &Path, reason: impl std::fmt::Display) -> Self {
        // The reason may quote a stranger: cut it and keep it on one line.
        let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let reason = reason.to_string().chars().take(300).map(printable).collect();
        Self::Malformed { path: path.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_cut_and_kept_on_one_line() {
        let reason = format!("a\nb\u{1b}[31m{}", "x".repeat(1_000));
        let error = Error::malformed(Path::new("model/config.json"), reason).to_string();
        assert!(error.starts_with("`model/config.json`: a\u{fffd}b\u{fffd}[31m"), "{error}");
        assert!(!error.contains(char::is_control), "{error}");
        assert_eq!(error.chars().count(), "`model/config.json`: ".len() + 300);
    }

    #[test]
    fn only_what_may_be_otherwise_later_is_worth_waiting_for() {
        let path = Path::new("model");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(Error::io("write", path)(full).is_transient());
        for lasting in [
            Error::malformed(path, "cut"),
            Error::Exists { path: path.to_owned() },
            Error::Batch("no sequences".to_owned()),
            Error::Diverged { step: 1, loss: f64::NAN, gradient_norm: 0.0 },
            Error::Stopped,
        ] {
            assert!(!lasting.is_transient(), "{lasting}");
        }
    }
}
