//! Signed records as files: of one validator, in order, and named by one digest on the chain.
//!
//! A [`Signed`] record is one file, at the [`path`] of its competition and number. A [`Folder`] has
//! them on disk. An [`Index`] names the newest of each competition and, as each names the one
//! before it, all of them; its root is what a validator commits to ([`RootCommitment`]).
//! [`Records`] reads them again from any [`Source`], and believes it nothing.

pub mod folder;
pub mod index;
pub mod links;
pub mod root;
pub mod signed;
pub mod source;

pub use folder::Folder;
pub use index::{Head, Index};
pub use links::{Broken, Links};
pub use root::{RootCommitment, Statement};
pub use signed::Signed;
pub use source::{Records, Source};

use protocol::record::RECORD_FORMAT;
use std::{io, path::PathBuf};

/// Where the index lies in a repo of records.
pub const INDEX_PATH: &str = "index.json";
/// The folder of all records in a repo.
pub const RECORDS_FOLDER: &str = "records";
/// Records of one folder.
pub const N_PER_FOLDER: u64 = 256;
/// Letters of what is no name that are shown.
const NAME_SHOWN_MAX: usize = 64;

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or whatever else holds the files, fails: our own trouble.
    #[error("cannot {task} `{name}`")]
    Io {
        /// What was to be done.
        task: &'static str,
        /// Which file.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The bytes are no signed record.
    #[error("not a signed record in canonical form")]
    NotSigned,
    /// The record in it cannot be read.
    #[error(transparent)]
    Record(#[from] protocol::Error),
    /// The bytes are no index.
    #[error("not an index of records: {0}")]
    NotAnIndex(String),
    /// No competition has this name.
    #[error("`{0}` is no name of a competition: expected 1 to 32 of a-z, 0-9 and `-`")]
    Name(String),
    /// A file has more bytes than anybody reads of its kind.
    #[error("`{name}` has more than the {size_bytes_max} bytes that are read of it")]
    TooLarge {
        /// Which file.
        name: String,
        /// The limit.
        size_bytes_max: usize,
    },
    /// A record does not belong where it lies.
    #[error("`{name}` holds record {number} of `{competition}`")]
    Misplaced {
        /// Which file.
        name: String,
        /// Competition of the record.
        competition: String,
        /// Number of the record.
        number: u64,
    },
    /// Another record has this number already.
    #[error(
        "`{}` is there and holds another record: a validator publishes one for each number; move \
         the folder away if it is of another journal",
        .0.display()
    )]
    Taken(PathBuf),
    /// A record that the index counts is not there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// The records do not fit together.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Error {
    /// Whether a record is of an earlier format: nobody reads those any more.
    pub fn is_of_earlier_format(&self) -> bool {
        let Self::Record(protocol::Error::RecordFormat { format }) = self else { return false };
        *format < RECORD_FORMAT
    }
}

/// Where record `number` of a competition lies in a repo: `records/tiny/000000/000001.json`.
pub fn path(competition: &str, number: u64) -> String {
    format!("{RECORDS_FOLDER}/{}", path_below(competition, number))
}

/// The same below [`RECORDS_FOLDER`].
fn path_below(competition: &str, number: u64) -> String {
    format!("{competition}/{:06}/{number:06}.json", number / N_PER_FOLDER)
}

/// Whether a competition may have this name, which is then one of a folder, too.
fn check_name(name: &str) -> Result<(), Error> {
    if protocol::competition::is_name(name) {
        return Ok(());
    }
    Err(Error::Name(protocol::text::shown(name, NAME_SHOWN_MAX)))
}

#[cfg(test)]
mod tests;
