//! What can go wrong with a journal; all of it is our own trouble.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open.
    #[error(
        "another process uses `{}`; two with one journal would contradict each other",
        .0.display()
    )]
    InUse(PathBuf),
    /// It was written by a later version of this program.
    #[error("`{}` has format {found}, this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: u32,
        /// Highest known format.
        known: u32,
    },
    /// It was written by an earlier version of this program, and can only be read here.
    #[error(
        "`{}` has format {found} of an earlier version: start its service once, which brings it to {known}",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: u32,
        /// Format that it is brought to.
        known: u32,
    },
    /// The file is not as it was written.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// An entry could not be written, so that what is known is ahead of what is on disk.
    #[error("`{}` could not be written before; start again from what is in it", .0.display())]
    Ahead(PathBuf),
    /// What stands in it is not what this program writes, though the file is as it was written.
    #[error(
        "`{}` is of another version of this program: {what} cannot be understood ({detail}); go on \
         with that version, or begin in another folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What of it.
        what: String,
        /// Why it cannot be understood.
        detail: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite cannot do what was asked.
    #[error("cannot use the journal `{}`", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }

    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => {
                Self::Damaged { path: path.clone(), detail: source.to_string() }
            }
            _ => Self::Sqlite { path: path.clone(), source },
        }
    }
}
