//! How a failure is told: one line `error: …`, where we know it one line `hint: …`, exit code 2.

use crate::terminal::is_stopping;
use std::{fmt, process::ExitCode};
use substrate::dev::NodeError;

/// An error together with what the reader can do about it.
#[derive(Debug)]
pub struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.error.as_ref())
    }
}

/// The run was ended by Ctrl-C or a termination signal.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Adds a hint to an error.
pub trait HintExt<T> {
    /// Says what the reader can do about the error, if there is one.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> HintExt<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| hinted(error, hint))
    }
}

/// The error with what the reader can do about it.
pub fn hinted(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { error: error.into(), hint: hint.into() }.into()
}

/// Prints the error on stderr and gives the exit code: 2, or 130 after an interruption.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let interrupted = error.chain().any(is_interruption);
    let text = if interrupted { Interrupted.to_string() } else { causes(error) };
    eprintln!("error: {}", one_line(&text));
    if let Some(hinted) = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()) {
        eprintln!("hint: {}", one_line(&hinted.hint));
    }
    ExitCode::from(if interrupted { 130 } else { 2 })
}

/// Whether somebody wanted the run to end, or an answer of a chain was waited for no longer for
/// that.
fn is_interruption(cause: &(dyn std::error::Error + 'static)) -> bool {
    let is_cut = |error: &chain::Error| is_stopping() && error.is_transient();
    let is_start = |error: &NodeError| matches!(error, NodeError::Interrupted);
    cause.is::<Interrupted>()
        || cause.downcast_ref::<NodeError>().is_some_and(is_start)
        || cause.downcast_ref::<chain::Error>().is_some_and(is_cut)
}

/// The causes in a row; a hint wraps the error that it belongs to, which speaks for itself.
pub fn causes(error: &anyhow::Error) -> String {
    let causes = error.chain().filter(|cause| !cause.is::<Hinted>());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whoever read our output has gone: not an error of ours, as for any command in a pipe.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Text of strangers may stand in an error: lines become one, and nothing in it deceives.
pub fn one_line(text: &str) -> String {
    crate::terminal::shown(&text.replace(['\n', '\r', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};
    use std::io;

    #[test]
    fn the_start_of_a_chain_that_was_interrupted_is_told_as_an_interruption() {
        let told = |error: NodeError| {
            let error = Err::<(), _>(error).context("cannot start the chain").unwrap_err();
            hinted(error, "nothing").chain().any(is_interruption)
        };
        assert!(told(NodeError::Interrupted));
        assert!(!told(NodeError::Stopped));
    }

    fn code(error: &anyhow::Error) -> String {
        format!("{:?}", report(error))
    }

    fn is(code: u8) -> String {
        format!("{:?}", ExitCode::from(code))
    }

    #[test]
    fn causes_stand_in_a_row_whatever_hints_wrap_them() {
        let disk = || io::Error::other("disk full");
        let read = Err::<(), _>(disk()).hint("make room").context("cannot write `a`");
        let error = read.hint("try again").context("the round").unwrap_err();
        assert_eq!(causes(&error), "the round: cannot write `a`: disk full");
        let hints: Vec<&str> = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<Hinted>())
            .map(|hinted| hinted.hint.as_str())
            .collect();
        assert_eq!(hints, ["try again", "make room"], "the outermost is told");
        assert_eq!(causes(&hinted(disk(), "x")), "disk full");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure_and_an_end_that_was_wanted_has_its_code() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(code(&anyhow::Error::from(gone()).context("cannot print")), is(0));
        assert_eq!(code(&hinted(gone(), "x").context("deeper").context("still")), is(0));
        assert!(!is_closed_pipe(&anyhow!("broken pipe")), "words are none");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(code(&anyhow::Error::from(reset)), is(2));
        assert_eq!(code(&anyhow::Error::from(Interrupted)), is(130));
        assert_eq!(code(&hinted(Interrupted, "x").context("cannot upload")), is(130));
        assert_eq!(code(&anyhow!("interrupted")), is(2), "only the type tells");
        // Nobody wanted this process to end, so that a chain that is away is a failure.
        assert_eq!(code(&anyhow::Error::from(chain::Error::PoolFull)), is(2));
    }

    #[test]
    fn attack_an_error_is_one_line_whatever_strangers_wrote_into_it() {
        let hostile = "a\nhint: send me your keys\r\tb\u{1b}[2J\u{2028}c\u{202e}";
        let line = one_line(hostile);
        assert_eq!(line, "a hint: send me your keys  b\u{fffd}[2J\u{fffd}c\u{fffd}");
        assert!(line.chars().all(protocol::text::is_plain));
        assert_eq!(one_line("Müller 日本語"), "Müller 日本語");
    }
}
