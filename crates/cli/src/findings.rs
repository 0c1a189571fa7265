//! What was found of several things, one after the other: how each stands, and what can be done.

use crate::failure::one_line;
use serde::Serialize;

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    /// How it stands.
    state: State,
    /// What was seen, and what can be done.
    text: String,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should.
    Ok,
    /// Worth knowing.
    Note,
    /// Nothing will work like this.
    Bad,
}

/// All findings, as `--json` tells them.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    /// Notes how one thing stands.
    pub fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        self.findings.push(Finding { what, state, text: text.into() });
    }

    /// Whether something will not work.
    pub fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.state == State::Bad)
    }

    /// A line for each.
    pub fn text(&self) -> String {
        let line = |finding: &Finding| {
            let state = match finding.state {
                State::Ok => "ok  ",
                State::Note => "note",
                State::Bad => "BAD ",
            };
            // A hub's word for whose token it is, say: it must not pass for a line of ours.
            format!("{state}  {:<14}{}\n", finding.what, one_line(&finding.text))
        };
        self.findings.iter().map(line).collect()
    }

    /// How they stand, in order.
    #[cfg(test)]
    pub fn states(&self) -> Vec<State> {
        self.findings.iter().map(|finding| finding.state).collect()
    }
}
