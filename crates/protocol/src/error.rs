//! What can go wrong with inputs of our own side; strangers' inputs give a [`crate::Reason`].

use crate::{
    Repo,
    commitment::COMMITMENT_BYTES_MAX,
    record::{RECORD_BYTES_MAX, RECORD_FORMAT},
};

/// A rule file, a commitment to be written or a record cannot be used; waiting does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a competition in TOML.
    #[error("line {line} of the competition: {message}")]
    CompetitionUnreadable {
        /// Where, from 1; 0 when unknown.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A value of a competition is out of range.
    #[error("`{field}` is `{value}`: expected {expected}")]
    RuleOutOfRange {
        /// Path of the field, such as `scoring.alpha`.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// No competition that comes with the program has this name.
    #[error("no competition is called `{name}`{}; there are: {known}", did_you_mean(.nearest))]
    CompetitionUnknown {
        /// The name.
        name: String,
        /// The known name that is spelt most alike, if one is.
        nearest: Option<&'static str>,
        /// All known names.
        known: String,
    },
    /// The reference reads this name as an absent value.
    #[error("repo `{repo}` cannot be committed to: `None` stands for an absent name")]
    CommitmentName {
        /// Where the model is.
        repo: Repo,
    },
    /// The chain does not store so long a text.
    #[error(
        "the commitment to repo `{repo}` is {size_bytes} bytes, more than {COMMITMENT_BYTES_MAX}: \
         choose a shorter name"
    )]
    CommitmentTooLong {
        /// Where the model is.
        repo: Repo,
        /// Length of the text.
        size_bytes: usize,
    },
    /// The record has more bytes than anybody reads.
    #[error("the record is {size_bytes} bytes, more than {RECORD_BYTES_MAX}")]
    RecordTooLarge {
        /// Length.
        size_bytes: usize,
    },
    /// The bytes are a record of another format.
    #[error("not a record: it has format {format}, not {RECORD_FORMAT}")]
    RecordFormat {
        /// Which.
        format: u32,
    },
    /// The bytes are not a record in canonical JSON.
    #[error("not a record: {message}")]
    RecordUnreadable {
        /// What the parser says.
        message: String,
    },
}

fn did_you_mean(nearest: &Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}
