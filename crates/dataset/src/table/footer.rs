//! Footers of older writers, which say less or other things than today's.
//!
//! Each is read as pyarrow reads it, and bounded like any other.

use super::DECODED_BYTES_MAX;
use parquet::{errors::Result, file::metadata::ColumnChunkMetaData};

/// Bytes behind a chunk that may belong to it where its writer forgot some: the header of the page
/// with the dictionary, which has fewer.
const SLACK_BYTES: u64 = 100;
/// The first version of parquet-mr that forgets nothing.
const COUNTED_SINCE: [u64; 3] = [1, 2, 9];

/// The same chunk with what a reader expects of it.
pub(super) fn mended(column: ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    let (dictionary, data) = (column.dictionary_page_offset(), column.data_page_offset());
    // Zero says that there is none, and none begins behind the data.
    let dictionary = dictionary.filter(|at| *at > 0 && *at < data);
    let size = column.uncompressed_size();
    // Zero says that nobody counted: the bound of all files holds.
    let unknown = i64::try_from(DECODED_BYTES_MAX).unwrap_or(i64::MAX);
    let size = if size == 0 { unknown } else { size };
    column
        .into_builder()
        .set_dictionary_page_offset(dictionary)
        .set_total_uncompressed_size(size)
        .build()
}

/// The same chunk with another size in the file.
pub(super) fn with_size(
    column: ColumnChunkMetaData,
    size_bytes: u64,
) -> Result<ColumnChunkMetaData> {
    let size = i64::try_from(size_bytes).unwrap_or(i64::MAX);
    column.into_builder().set_total_compressed_size(size).build()
}

/// Bytes that chunks of this writer may have behind their stated end.
pub(super) fn slack_bytes(created_by: Option<&str>) -> u64 {
    let Some(rest) = created_by.and_then(|writer| writer.strip_prefix("parquet-mr")) else {
        return 0;
    };
    let version = rest.trim_start().strip_prefix("version ").unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse());
    let version = [(); 3].map(|()| numbers.next().and_then(Result::ok).unwrap_or(0));
    if version < COUNTED_SINCE { SLACK_BYTES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_of_one_writer_have_bytes_behind_their_chunks() {
        for (writer, bytes) in [
            (None, 0),
            (Some("parquet-cpp-arrow version 1.0.0"), 0),
            (Some("parquet-mr version 1.2.9"), 0),
            (Some("parquet-mr version 1.10.1 (build a89df8f9932b6ef6633d06069e50c9b7970bebd1)"), 0),
            (Some("parquet-mr version 1.2.8-SNAPSHOT"), SLACK_BYTES),
            (Some("parquet-mr version 1.2"), SLACK_BYTES),
            (Some("parquet-mr"), SLACK_BYTES),
        ] {
            assert_eq!(slack_bytes(writer), bytes, "{writer:?}");
        }
    }
}
