//! Parquet files: a footer that is checked, and one column of one row group at a time.
//!
//! The decoder is a stranger's code on what may be a stranger's bytes: sizes are bounded before it
//! sees them, and a panic of it is an error like any other.

mod chunk;
mod footer;
mod header;
mod unpack;

#[cfg(test)]
mod tests;

use crate::{Error, RangeRead};
use parquet::{
    basic::{Compression, Type},
    errors::ParquetError,
    file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader},
};
use protocol::{Digest, text::shown};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes that end a parquet file: the length of its footer and the magic word.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
/// Largest footer that is read, with the tail; FineWeb's have four megabytes.
pub const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Bytes at the end of a file that are read at once, in the hope that they hold its footer.
pub const FOOTER_GUESS_BYTES: u64 = 64 << 10;
/// Most bytes of one column in one row group, as they lie in the file.
pub const CHUNK_BYTES_MAX: u64 = 128 << 20;
/// Most bytes of one column in one row group once decompressed.
pub const DECODED_BYTES_MAX: u64 = 512 << 20;
/// Most rows of a row group.
pub const GROUP_ROWS_MAX: u64 = 1 << 20;
/// Most row groups of a file.
pub const GROUPS_MAX: usize = 1 << 20;
/// Columns in which text is looked for when none is named.
pub const TEXT_COLUMNS: [&str; 2] = ["text", "content"];

/// What helps where the decoder does not unpack something.
const REWRITE: &str = "write it with zstd, as by pyarrow's `pq.write_table(table, path, \
                       compression=\"zstd\")`";

/// What the footer of a parquet file says about the column that holds the text.
pub struct Table {
    path: String,
    size_bytes: u64,
    column: String,
    groups: Vec<Group>,
}

/// The text column in one row group.
struct Group {
    n_rows: u64,
    column: ColumnChunkMetaData,
    extent: Extent,
    /// Bytes at the end of the extent that the footer does not count.
    slack_bytes: u64,
}

/// Size and digest of a footer, as competitions pin them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterPin {
    /// Bytes, with the tail.
    pub size_bytes: u64,
    /// Digest of those bytes.
    pub sha256: Digest,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub size_bytes: u64,
}

/// Reads the footer of a file, with the tail, whatever its digest is: by one read where it has at
/// most [`FOOTER_GUESS_BYTES`], and else by two.
pub fn read_footer(files: &dyn RangeRead, path: &str) -> Result<Vec<u8>, Error> {
    read_footer_of(files, path, FOOTER_GUESS_BYTES)
}

/// The same by one read where the footer has at most `guess_bytes`.
///
/// Over a network each read is a request, of which hubs allow so many in a window of time: a few
/// bytes too many are cheaper than asking first how many there are.
pub fn read_footer_of(
    files: &dyn RangeRead,
    path: &str,
    guess_bytes: u64,
) -> Result<Vec<u8>, Error> {
    let size_bytes = files.size_bytes(path)?;
    if size_bytes < TAIL_BYTES {
        return Err(bad(path, "it is too short"));
    }
    let at_once = guess_bytes.clamp(TAIL_BYTES, FOOTER_BYTES_MAX).min(size_bytes);
    let mut end = vec![0; usize_of(at_once)];
    files.read_at(path, size_bytes - at_once, &mut end)?;
    let (_, tail) = end
        .split_last_chunk::<{ TAIL_BYTES as usize }>()
        .ok_or_else(|| bad(path, "it is too short"))?;
    let footer_bytes = footer_bytes(path, tail)?;
    let at = size_bytes
        .checked_sub(footer_bytes)
        .ok_or_else(|| bad(path, "its footer is longer than the file"))?;
    match footer_bytes.checked_sub(at_once) {
        // What stands before the footer is data.
        None => Ok(end.split_off(usize_of(at_once - footer_bytes))),
        Some(n_missing) => {
            let mut footer = vec![0; usize_of(n_missing)];
            if n_missing > 0 {
                files.read_at(path, at, &mut footer)?;
            }
            footer.append(&mut end);
            Ok(footer)
        }
    }
}

/// Bytes of the footer with the tail, as the tail says.
fn footer_bytes(path: &str, tail: &[u8]) -> Result<u64, Error> {
    let (length, magic) = tail.split_first_chunk::<4>().ok_or_else(|| bad(path, "no tail"))?;
    if magic != MAGIC {
        return Err(bad(path, "it does not end like a parquet file"));
    }
    let footer_bytes = u64::from(u32::from_le_bytes(*length)) + TAIL_BYTES;
    if footer_bytes > FOOTER_BYTES_MAX {
        return Err(bad(path, &format!("its footer has more than {FOOTER_BYTES_MAX} bytes")));
    }
    Ok(footer_bytes)
}

impl Table {
    /// Reads what a footer, with the tail, says of a file of `size_bytes`.
    ///
    /// Without a `column`, the text is looked for in the [`TEXT_COLUMNS`].
    pub fn new(
        path: &str,
        size_bytes: u64,
        footer: &[u8],
        column: Option<&str>,
    ) -> Result<Self, Error> {
        let (body, tail) = footer
            .split_last_chunk::<{ TAIL_BYTES as usize }>()
            .ok_or_else(|| bad(path, "its footer is too short"))?;
        if footer_bytes(path, tail)? != footer.len() as u64 || footer.len() as u64 > size_bytes {
            return Err(bad(path, "its footer has another length than it says"));
        }
        let metadata = guarded(path, || ParquetMetaDataReader::decode_metadata(body))?;
        let leaves = metadata.file_metadata().schema_descr().columns();
        let position = |name: &str| leaves.iter().position(|leaf| leaf.path().string() == name);
        let wanted: &[&str] = column.as_ref().map_or(&TEXT_COLUMNS[..], std::slice::from_ref);
        let Some((index, name)) = wanted.iter().find_map(|name| Some((position(name)?, *name)))
        else {
            let known: Vec<String> = leaves.iter().map(|leaf| leaf.path().string()).collect();
            let (wanted, known) = (wanted.join("` or `"), shortened(&known.join(", ")));
            return Err(bad(path, &format!("it has no column `{wanted}`, only {known}")));
        };
        let leaf = &leaves[index];
        if leaf.physical_type() != Type::BYTE_ARRAY || leaf.max_rep_level() != 0 {
            return Err(bad(path, &format!("its column `{name}` is not one text per row")));
        }
        if metadata.num_row_groups() > GROUPS_MAX {
            return Err(bad(path, &format!("it has more than {GROUPS_MAX} row groups")));
        }
        let data_ends = size_bytes - footer.len() as u64;
        let slack_bytes = footer::slack_bytes(metadata.file_metadata().created_by());
        // An empty row group, as writers leave one that are closed without a row, holds nothing.
        let groups = metadata.row_groups().iter().filter(|group| group.num_rows() != 0);
        let groups = groups.map(|group| {
            let n_rows = u64::try_from(group.num_rows()).ok().filter(|n| *n <= GROUP_ROWS_MAX);
            let column = group.columns().get(index).cloned();
            let (Some(n_rows), Some(column)) = (n_rows, column) else {
                return Err(bad(path, "a row group has no columns, or too many rows"));
            };
            let column = guarded(path, || footer::mended(column))?;
            check_codec(path, &column)?;
            let extent = check_chunk(path, data_ends, &column)?;
            let slack_bytes = slack_bytes.min(data_ends - extent.offset - extent.size_bytes);
            let size_bytes = extent.size_bytes + slack_bytes;
            let column = guarded(path, || footer::with_size(column, size_bytes))?;
            let extent = Extent { size_bytes, ..extent };
            Ok(Group { n_rows, column, extent, slack_bytes })
        });
        let groups = groups.collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), size_bytes, column: name.to_owned(), groups })
    }

    /// Name of the column that holds the text.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Size of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Rows of each row group.
    pub fn rows_of_groups(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().map(|group| group.n_rows)
    }

    /// Where the text of a row group lies in the file.
    pub fn extent(&self, group: u64) -> Result<Extent, Error> {
        Ok(self.group(group)?.extent)
    }

    /// The texts of a row group; `None` where a row has none.
    pub fn texts(&self, files: &dyn RangeRead, group: u64) -> Result<Vec<Option<String>>, Error> {
        let Extent { offset, size_bytes } = self.extent(group)?;
        let found = self.group(group)?;
        let mut bytes = vec![0; usize_of(size_bytes)];
        files.read_at(&self.path, offset, &mut bytes)?;
        let n_rows = usize_of(found.n_rows);
        let codec = found.column.compression();
        let has_frames = codec == Compression::LZ4 && header::has_frames(&bytes, codec);
        let values = guarded(&self.path, || {
            header::check(&bytes, &found.column, found.n_rows, found.slack_bytes)
                .map_err(ParquetError::General)?;
            chunk::read(&found.column, bytes, offset, n_rows)
        });
        let values = values.map_err(|error| if has_frames { self.frames() } else { error })?;
        if values.len() != n_rows {
            let detail = format!("row group {group} has {} rows, not {n_rows}", values.len());
            return Err(bad(&self.path, &detail));
        }
        // A dictionary may give one long text to all rows.
        let lengths = values.iter().flatten().map(|value| value.len() as u64);
        if lengths.sum::<u64>() > DECODED_BYTES_MAX {
            let detail = format!("row group {group} has more than {DECODED_BYTES_MAX} bytes");
            return Err(bad(&self.path, &detail));
        }
        let text = |value: Option<parquet::data_type::ByteArray>| match value {
            None => Ok(None),
            Some(value) => match std::str::from_utf8(value.data()) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(bad(&self.path, &format!("row group {group} is not UTF-8"))),
            },
        };
        values.into_iter().map(text).collect()
    }

    /// Reads row groups until one has a text; fails if none of them has.
    pub fn expect_text(
        &self,
        files: &dyn RangeRead,
        groups: impl IntoIterator<Item = u64>,
    ) -> Result<(), Error> {
        for group in groups {
            let texts = self.texts(files, group)?;
            if texts.iter().flatten().any(|text| !text.trim().is_empty()) {
                return Ok(());
            }
        }
        let column = &self.column;
        Err(bad(&self.path, &format!("no row that was looked at has a text in `{column}`")))
    }

    /// What is wrong with a large page of Hadoop's LZ4.
    fn frames(&self) -> Error {
        bad(
            &self.path,
            &format!("a page is in several frames, as Hadoop packs with LZ4; {REWRITE}"),
        )
    }

    fn group(&self, group: u64) -> Result<&Group, Error> {
        let found = usize::try_from(group).ok().and_then(|group| self.groups.get(group));
        found.ok_or_else(|| self.no_group(group))
    }

    fn no_group(&self, group: u64) -> Error {
        bad(&self.path, &format!("it has no row group {group}"))
    }
}

/// Offset and size of a column chunk, the page with its dictionary included.
fn extent_of(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    // As the decoder has it, once `footer::mended` has seen it.
    let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    Some((u64::try_from(first).ok()?, u64::try_from(column.compressed_size()).ok()?))
}

/// Refuses what nobody unpacks here, and says how to write it otherwise.
fn check_codec(path: &str, column: &ColumnChunkMetaData) -> Result<(), Error> {
    let codec = column.compression();
    if unpack::is_known(codec) {
        return Ok(());
    }
    let name = shortened(&format!("{codec:?}"));
    Err(bad(path, &format!("it is packed with {name}; {REWRITE}")))
}

/// Where a chunk lies, which is inside the file.
fn check_chunk(path: &str, data_ends: u64, column: &ColumnChunkMetaData) -> Result<Extent, Error> {
    let extent = extent_of(column).filter(|(offset, size_bytes)| {
        offset.checked_add(*size_bytes).is_some_and(|end| end <= data_ends)
    });
    let Some((offset, size_bytes)) = extent else {
        return Err(bad(path, "a row group lies outside the file"));
    };
    let decoded = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
    if size_bytes > CHUNK_BYTES_MAX || decoded > DECODED_BYTES_MAX {
        let detail = format!(
            "its text has {size_bytes} bytes in one row group, {decoded} decompressed; allowed \
             are {CHUNK_BYTES_MAX} and {DECODED_BYTES_MAX}"
        );
        return Err(bad(path, &detail));
    }
    Ok(Extent { offset, size_bytes })
}

/// Runs the decoder; what goes wrong in it is trouble with the file.
fn guarded<T>(path: &str, decode: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => Err(bad(path, &shortened(&error.to_string()))),
        Err(_) => Err(bad(path, "its bytes make the decoder fail")),
    }
}

fn bad(path: &str, detail: &str) -> Error {
    Error::NotParquet { name: path.to_owned(), detail: detail.to_owned() }
}

/// A text of strangers, short enough for an error.
fn shortened(text: &str) -> String {
    shown(text, 300)
}

/// Sizes are bounded before, far below what memory can address.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
