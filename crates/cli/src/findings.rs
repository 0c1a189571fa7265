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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_what_a_hub_says_cannot_pass_for_a_finding_of_ours() {
        let mut found = Findings::default();
        found.add("hub", State::Bad, "no\nok    chain         all is well\r\u{1b}[1A\u{202e}");
        found.add("chain", State::Note, "slow");
        let text = found.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("BAD   hub           no ok    chain"), "{text}");
        assert_eq!(lines[1], "note  chain         slow");
        assert!(text.chars().all(|c| c == '\n' || protocol::text::is_plain(c)), "{text:?}");
    }

    #[test]
    fn one_bad_finding_is_enough_and_programs_read_states_in_lower_case() {
        let mut found = Findings::default();
        assert!(!found.is_bad() && found.text().is_empty());
        found.add("keys", State::Ok, "here");
        found.add("chain", State::Note, "slow");
        assert!(!found.is_bad());
        found.add("hub", State::Bad, "away");
        found.add("disk", State::Ok, "large");
        assert!(found.is_bad());
        let json = serde_json::to_value(&found).unwrap();
        let states: Vec<&serde_json::Value> =
            json["findings"].as_array().unwrap().iter().map(|f| &f["state"]).collect();
        assert_eq!(states, ["ok", "note", "bad", "ok"]);
        assert_eq!(json["findings"][2]["what"], "hub");
    }
}
