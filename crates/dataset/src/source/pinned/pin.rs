//! Making the pins of a file: what an organiser does once.

use super::TRIED_MAX;
use crate::{Error, RangeRead, table};
use protocol::{Digest, competition::PinnedFile};
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are hashed at once.
const PIECE_BYTES: usize = 4 << 20;
/// Most bytes that are read in the hope that they hold a footer: FineWeb's have four megabytes.
const GUESS_BYTES_MAX: u64 = 8 << 20;

/// Makes the pins of files, each by as few reads as can be.
///
/// Any number of threads may use it. Of a file whose digest its place names, the footer is read,
/// and a row group as a draw would read it: two reads, once a file like it has been seen.
pub struct Pinner<'a> {
    files: &'a dyn RangeRead,
    column: Option<&'a str>,
    /// Bytes that the footer of the next file is expected to have at most: a little more than that
    /// of the one before.
    guess_bytes: AtomicU64,
}

impl<'a> Pinner<'a> {
    /// Pins files of a place; without a `column`, the text is looked for where it mostly is.
    pub fn new(files: &'a dyn RangeRead, column: Option<&'a str>) -> Self {
        Self { files, column, guess_bytes: AtomicU64::new(table::FOOTER_GUESS_BYTES) }
    }

    /// Gives what a competition pins of a file, once a row group of it could be read.
    ///
    /// All of the file is read where its place names no digest; `progress` is told the bytes done
    /// then. See [`pin_footer`] for what is refused; so is a file that seems to have no text.
    pub fn pin(&self, path: &str, progress: &dyn Fn(u64)) -> Result<PinnedFile, Error> {
        let sha256 = self.files.sha256(path)?;
        let guess_bytes = self.guess_bytes.load(Ordering::Relaxed);
        let footer = table::read_footer_of(self.files, path, guess_bytes)?;
        // Files of a dataset are alike, and none of them is just like another.
        let likely = (footer.len() as u64).saturating_mul(5) / 4;
        let likely = likely.clamp(table::FOOTER_GUESS_BYTES, GUESS_BYTES_MAX);
        self.guess_bytes.store(likely, Ordering::Relaxed);
        let whole = sha256.unwrap_or(Digest([0; 32]));
        let (pinned, table) = described(self.files, (path, &footer), self.column, whole)?;
        // First, so that an hour is not spent on a file that is refused then.
        table.expect_text(self.files, (0..pinned.n_groups()).take(TRIED_MAX))?;
        match sha256 {
            Some(_) => Ok(pinned),
            None => hashed(self.files, pinned, progress),
        }
    }
}

/// Reads a whole file and gives what a competition pins of it.
///
/// `progress` is told the bytes done. See [`pin_footer`] for what is refused.
pub fn pin_file(
    files: &dyn RangeRead,
    path: &str,
    column: Option<&str>,
    progress: &dyn Fn(u64),
) -> Result<PinnedFile, Error> {
    // First, so that an hour is not spent on a file that is refused then.
    let pinned = pin_footer(files, path, column, Digest([0; 32]))?;
    hashed(files, pinned, progress)
}

/// The same pins with the digest of the whole file, which is read for it.
fn hashed(
    files: &dyn RangeRead,
    pinned: PinnedFile,
    progress: &dyn Fn(u64),
) -> Result<PinnedFile, Error> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    while done < pinned.size_bytes {
        let left = usize::try_from(pinned.size_bytes - done).unwrap_or(usize::MAX);
        let piece = &mut piece[..left.min(PIECE_BYTES)];
        files.read_at(&pinned.path, done, piece)?;
        hasher.update(&*piece);
        done += piece.len() as u64;
        progress(done);
    }
    Ok(PinnedFile { sha256: Digest(hasher.finalize().into()), ..pinned })
}

/// Reads the footer of a file and gives what a competition pins, with a digest of the whole file
/// that is known already, as hubs list them.
///
/// A file whose row groups have different numbers of rows, but for a shorter last one, is refused;
/// empty ones do not count. A file without rows is [`Error::NoRows`].
pub fn pin_footer(
    files: &dyn RangeRead,
    path: &str,
    column: Option<&str>,
    sha256: Digest,
) -> Result<PinnedFile, Error> {
    let footer = table::read_footer(files, path)?;
    described(files, (path, &footer), column, sha256).map(|(pinned, _)| pinned)
}

/// What a competition pins of a file with this footer, and what the footer says.
fn described(
    files: &dyn RangeRead,
    (path, footer): (&str, &[u8]),
    column: Option<&str>,
    sha256: Digest,
) -> Result<(PinnedFile, table::Table), Error> {
    let size_bytes = files.size_bytes(path)?;
    let table = table::Table::new(path, size_bytes, footer, column)?;
    if table.rows_of_groups().next().is_none() {
        return Err(Error::NoRows { name: path.to_owned() });
    }
    let rows: Vec<u64> = table.rows_of_groups().collect();
    let pinned = PinnedFile {
        path: path.to_owned(),
        size_bytes,
        n_rows: rows.iter().sum(),
        rows_per_group: rows.first().copied().unwrap_or(0),
        sha256,
        footer_bytes: footer.len() as u64,
        footer_sha256: Digest::of(footer),
    };
    let groups = 0..pinned.n_groups();
    let is_regular = rows.iter().copied().eq(groups.map(|group| pinned.rows_of_group(group)));
    if !is_regular {
        let detail = "its row groups are not of one number of rows, which pins need: write it \
                      anew in one go, as by pyarrow's `pq.write_table(table, path, \
                      row_group_size=1000)`"
            .to_owned();
        return Err(Error::NotParquet { name: path.to_owned(), detail });
    }
    Ok((pinned, table))
}
