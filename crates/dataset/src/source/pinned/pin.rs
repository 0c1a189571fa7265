//! Making the pins of a file: what an organiser does once.

use crate::{Error, RangeRead, table};
use protocol::{Digest, competition::PinnedFile};
use sha2::{Digest as _, Sha256};

/// Bytes that are hashed at once.
const PIECE_BYTES: usize = 4 << 20;

/// Gives what a competition pins of a file, reading its footer alone where the place names the
/// digest of the whole, and else all of it.
///
/// `progress` is told the bytes done, where all are read. See [`pin_footer`] for what is refused.
pub fn pin(
    files: &dyn RangeRead,
    path: &str,
    column: Option<&str>,
    progress: &dyn Fn(u64),
) -> Result<PinnedFile, Error> {
    match files.sha256(path)? {
        Some(sha256) => pin_footer(files, path, column, sha256),
        None => pin_file(files, path, column, progress),
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
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    while done < pinned.size_bytes {
        let left = usize::try_from(pinned.size_bytes - done).unwrap_or(usize::MAX);
        let piece = &mut piece[..left.min(PIECE_BYTES)];
        files.read_at(path, done, piece)?;
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
    let size_bytes = files.size_bytes(path)?;
    let footer = table::read_footer(files, path)?;
    let table = table::Table::new(path, size_bytes, &footer, column)?;
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
        footer_sha256: Digest::of(&footer),
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
    Ok(pinned)
}
