//! What can go wrong with text.

use crate::Split;
use protocol::Digest;
use std::{io, path::PathBuf};

/// Trouble with documents, tokenizers or batches.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An index is not below the number of documents of the split.
    #[error("`{corpus}` has {n_documents} documents in its {split} split, so none at {index}")]
    NoDocument {
        /// Description of the source.
        corpus: String,
        /// The split asked for.
        split: Split,
        /// The index asked for.
        index: u64,
        /// How many there are.
        n_documents: u64,
    },

    /// A file or directory cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A directory holds no file that is read as text.
    #[error("`{}` holds no text files", path.display())]
    NoTextFiles {
        /// The directory.
        path: PathBuf,
    },

    /// A text file is not UTF-8.
    #[error("`{}` is not UTF-8 text: the byte at offset {offset} is wrong", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// First wrong byte.
        offset: usize,
    },

    /// The name of a text file, or of a folder that it is in, is not UTF-8.
    #[error("the name `{}` is not UTF-8", path.display())]
    NameNotUtf8 {
        /// The file.
        path: PathBuf,
    },

    /// A line of a JSONL file is not an object with a text.
    #[error("line {line} of `{}` is not a JSON object with a field `text`: {detail}", path.display())]
    NotJsonl {
        /// The file.
        path: PathBuf,
        /// Number of the line, from one.
        line: usize,
        /// What the parser says.
        detail: String,
    },

    /// A file is not parquet, or not as we read it.
    #[error("`{name}` cannot be read as parquet: {detail}")]
    NotParquet {
        /// The file.
        name: String,
        /// What is wrong.
        detail: String,
    },

    /// A file of parquet has no rows, so that nothing can be drawn from it.
    #[error("`{name}` has no rows")]
    NoRows {
        /// The file.
        name: String,
    },

    /// A text file is in an encoding of two bytes a letter.
    #[error("`{}` is UTF-16 text", path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
    },

    /// A file is not the one that is pinned.
    #[error("`{name}` is not the file that is pinned: {detail}")]
    NotPinned {
        /// The file.
        name: String,
        /// What differs.
        detail: String,
    },

    /// A place that holds files did not answer as it should.
    #[error("`{place}` cannot be read: {detail}")]
    Unreachable {
        /// The place, such as an address.
        place: String,
        /// What happened.
        detail: String,
        /// Whether the same call may succeed later.
        is_transient: bool,
    },

    /// A mirror lacks what is asked for.
    #[error("the mirror `{}` has not {what}", path.display())]
    NotMirrored {
        /// The folder of the mirror.
        path: PathBuf,
        /// What it lacks.
        what: String,
    },

    /// The rules of a dataset cannot be drawn by.
    #[error("text cannot be drawn from `{repo}`: {detail}")]
    NotDrawable {
        /// The repo.
        repo: String,
        /// What is missing.
        detail: String,
    },

    /// No row has this name.
    #[error("`{0}` names no row of the dataset")]
    NoRow(String),

    /// No ready-made definition has this name.
    #[error("no dataset is called `{name}`; there are: {known}")]
    NoDefinition {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },

    /// The files are too large or too many to hold.
    #[error("`{}` has more than {limit}", path.display())]
    TooMuchText {
        /// The corpus.
        path: PathBuf,
        /// The limit, with its unit.
        limit: String,
    },

    /// The files give too few different documents to train and to measure on.
    #[error(
        "`{}` gives only {n_train} documents to train on and {n_evaluation} to measure on",
        path.display()
    )]
    TooLittleText {
        /// The corpus.
        path: PathBuf,
        /// Documents of the training split.
        n_train: usize,
        /// Documents of the evaluation split.
        n_evaluation: usize,
    },

    /// A source ran out of documents before the batches were full.
    #[error("`{corpus}` has only {n_tokens} tokens in its {split} split, {needed} are needed")]
    SourceTooSmall {
        /// Description of the source.
        corpus: String,
        /// The split that was drawn from.
        split: Split,
        /// Tokens of all documents of the split.
        n_tokens: usize,
        /// Tokens that the batches take.
        needed: usize,
    },

    /// A source ran out of documents, of which each sequence takes one of its own.
    #[error(
        "`{corpus}` has only {n_documents} documents of two tokens or more in its {split} split, \
         {needed} are needed"
    )]
    TooFewDocuments {
        /// Description of the source.
        corpus: String,
        /// The split that was drawn from.
        split: Split,
        /// Documents of the split that have two tokens or more.
        n_documents: usize,
        /// Sequences that the batches take.
        needed: usize,
    },

    /// A number in the rules is out of range.
    #[error("{what} is {found}, it must be {expected}")]
    OutOfRange {
        /// The name of the number.
        what: &'static str,
        /// Its value.
        found: usize,
        /// What is allowed.
        expected: &'static str,
    },

    /// A tokenizer cannot be trained, read or used.
    #[error("tokenizer `{name}` cannot be used: {detail}")]
    Tokenizer {
        /// Its file or origin.
        name: String,
        /// What is wrong.
        detail: String,
    },

    /// Content is not what was pinned.
    #[error("`{name}` has the digest {found}, but {expected} is pinned")]
    DigestMismatch {
        /// What was read.
        name: String,
        /// The digest that is pinned.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },

    /// A saved position does not exist in the stream.
    #[error("the stream of training text has no position {0}")]
    NoPosition(String),
}

impl Error {
    /// What makes an error of a file that cannot be written.
    pub(crate) fn written(path: &std::path::Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action: "write", path: path.clone(), source }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        use io::ErrorKind::{Interrupted, ResourceBusy, TimedOut, WouldBlock};
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), Interrupted | ResourceBusy | TimedOut | WouldBlock)
            }
            Self::Unreachable { is_transient, .. } => *is_transient,
            _ => false,
        }
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoTextFiles { .. } => {
                "files are read that end in .txt, .md, .jsonl, .ndjson, .json-lines or .parquet, \
                 and all but the last also packed, with .gz or .zst behind"
            }
            Self::NoRows { .. } => "leave it out",
            Self::Utf16 { .. } => "convert it with `iconv -f UTF-16 -t UTF-8`",
            Self::NotUtf8 { .. } => "convert it with `iconv -f LATIN1 -t UTF-8`, or leave it out",
            Self::NameNotUtf8 { .. } => {
                "rename it: documents are in the order of names, the same on every machine"
            }
            Self::NotJsonl { .. } => "each line must look like {\"text\": \"…\"}",
            Self::TooMuchText { .. } => "take a part of it; a few megabytes are plenty for a demo",
            Self::TooLittleText { .. } => "give at least 30 kilobytes of different text",
            Self::SourceTooSmall { .. } => "give more text, or take fewer or shorter sequences",
            Self::TooFewDocuments { .. } => "give more text, or take fewer sequences in a round",
            Self::DigestMismatch { .. } => "restore the original content, or set up a new network",
            Self::NotPinned { .. } => "the file has changed, or the competition pins another one",
            Self::Unreachable { .. } => {
                "set HF_ENDPOINT to a hub that has it, or AGON_MIRROR to a mirror of it"
            }
            Self::NotMirrored { .. } => "complete it with `agon data mirror`",
            Self::NoDefinition { .. } => "the path of a file or a folder works as well",
            _ => return None,
        })
    }
}
