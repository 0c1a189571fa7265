//! Parquet as pyarrow writes it, and every kind of broken file.

use super::*;
use crate::remote::{Counting, Directory};
use proptest::prelude::*;
use std::{path::PathBuf, sync::LazyLock};

mod hadoop;

const SMALL: &str = "small.parquet";

fn folder() -> PathBuf {
    PathBuf::from("../../testdata/fineweb")
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(folder().join(SMALL)).unwrap());

/// A file in memory.
struct Memory(Vec<u8>);

impl RangeRead for Memory {
    fn size_bytes(&self, _: &str) -> Result<u64, Error> {
        Ok(self.0.len() as u64)
    }
    fn sha256(&self, _: &str) -> Result<Option<Digest>, Error> {
        Ok(None)
    }
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let part =
            usize::try_from(offset).ok().and_then(|at| self.0.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or_else(|| bad(path, "outside"))?);
        Ok(())
    }
}

fn open(files: &dyn RangeRead, column: Option<&str>) -> Result<Table, Error> {
    let footer = read_footer(files, SMALL)?;
    Table::new(SMALL, files.size_bytes(SMALL)?, &footer, column)
}

/// All that a reader of a whole file asks of it.
fn read_all(bytes: &[u8]) -> Result<usize, Error> {
    let memory = Memory(bytes.to_vec());
    let table = open(&memory, None)?;
    let groups = 0..table.rows_of_groups().count() as u64;
    groups.map(|group| Ok(table.texts(&memory, group)?.len())).sum()
}

#[test]
fn a_file_of_pyarrow_gives_the_rows_that_pyarrow_reads() {
    let files = Counting::new(Directory::new(&folder()));
    let table = open(&files, None).unwrap();
    assert_eq!(table.column(), "text");
    assert_eq!(table.rows_of_groups().collect::<Vec<_>>(), [9; 40]);
    let listed = std::fs::read_to_string(folder().join("small.jsonl")).unwrap();
    let mut expected = listed.lines().map(|line| serde_json::from_str::<Row>(line).unwrap());
    for group in 0..40 {
        for text in table.texts(&files, group).unwrap() {
            let row = expected.next().unwrap();
            let digest = text.as_deref().map(|text| Digest::of(text.as_bytes()).hex());
            assert_eq!(digest, Some(row.sha256));
        }
    }
    assert!(expected.next().is_none());
    // The footer, and one read per row group.
    assert_eq!(files.n_reads(), 41);
}

#[test]
fn a_footer_takes_one_read_or_two_and_is_the_same() {
    let files = Counting::new(Directory::new(&folder()));
    let whole = std::fs::read(folder().join(SMALL)).unwrap();
    let footer = read_footer(&files, SMALL).unwrap();
    let n_bytes = footer.len() as u64;
    assert_eq!((files.n_reads(), files.n_bytes()), (1, FOOTER_GUESS_BYTES));
    assert!(whole.ends_with(&footer));
    for (guess_bytes, n_reads) in
        [(0, 2), (8, 2), (n_bytes - 1, 2), (n_bytes, 1), (n_bytes + 1, 1), (u64::MAX, 1)]
    {
        let before = files.n_reads();
        assert_eq!(read_footer_of(&files, SMALL, guess_bytes).unwrap(), footer, "{guess_bytes}");
        assert_eq!(files.n_reads() - before, n_reads, "{guess_bytes}");
    }
}

#[derive(serde::Deserialize)]
struct Row {
    sha256: String,
}

#[test]
fn rows_without_text_columns_of_other_types_and_several_encodings_are_told_apart() {
    let files = Directory::new(&folder());
    let odd = |column| {
        let footer = read_footer(&files, "odd.parquet").unwrap();
        let size_bytes = files.size_bytes("odd.parquet").unwrap();
        Table::new("odd.parquet", size_bytes, &footer, Some(column))
    };
    for column in ["content", "plain", "zstd", "delta"] {
        let table = odd(column).unwrap();
        let texts = table.texts(&files, 0).unwrap();
        assert_eq!(texts[..3], [Some("one".to_owned()), None, Some(String::new())], "{column}");
        assert_eq!(texts[3].as_deref(), Some("four, with \u{1f642} and \u{4e2d}\u{6587}"));
        assert_eq!(table.texts(&files, 1).unwrap(), [Some("last".to_owned())]);
        assert!(matches!(table.texts(&files, 2), Err(Error::NotParquet { .. })));
    }
    assert!(odd("required").unwrap().texts(&files, 0).unwrap().iter().all(Option::is_some));
    for (column, detail) in [
        ("text", "no column `text`"),
        ("number", "not one text per row"),
        ("list.list.element", "not one text per row"),
    ] {
        let error = odd(column).err().unwrap().to_string();
        assert!(error.contains(detail), "{error}");
    }
    let error = odd("latin").unwrap().texts(&files, 0).unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}

#[test]
fn what_is_no_parquet_file_is_refused_by_name() {
    let tail = |length: u32| [&[0; 20], &length.to_le_bytes()[..], MAGIC].concat();
    for bytes in [
        vec![],
        b"PAR1".to_vec(),
        b"not a parquet file at all".to_vec(),
        tail(0),
        tail(10),
        tail(1_000),
        tail(u32::MAX),
    ] {
        let error = read_all(&bytes).unwrap_err();
        assert!(matches!(&error, Error::NotParquet { name, .. } if name == SMALL), "{error}");
    }
}

#[test]
fn attack_a_page_that_claims_gigabytes_is_refused_before_they_are_given() {
    let table = open(&Memory(BYTES.clone()), None).unwrap();
    let at = usize::try_from(table.extent(0).unwrap().offset).unwrap();
    // Field 1, the type, then field 2, the decompressed size: two bytes each, then a varint.
    let head = &BYTES[at..at + 3];
    assert_eq!((head[0], head[2]), (0x15, 0x15));
    let mut bomb = BYTES.clone();
    // The size of this page takes two bytes; a larger one of two bytes will do.
    assert!(bomb[at + 3] & 0x80 != 0 && bomb[at + 4] & 0x80 == 0);
    (bomb[at + 3], bomb[at + 4]) = (0xfe, 0x7f);
    let error = table.texts(&Memory(bomb), 0).unwrap_err().to_string();
    assert!(error.contains("bytes stated"), "{error}");
}

/// A column of a file with each way of packing.
fn packed(file: &str, column: &str) -> (Vec<u8>, Result<Table, Error>) {
    let bytes = std::fs::read(folder().join(file)).unwrap();
    let memory = Memory(bytes.clone());
    let footer = read_footer(&memory, file).unwrap();
    (bytes, Table::new(file, memory.0.len() as u64, &footer, Some(column)))
}

const CODECS: [&str; 6] = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"];

#[test]
fn every_way_of_packing_gives_the_same_rows() {
    let same = "much of the same ".repeat(200);
    let four = "four, with \u{1f642} and \u{4e2d}\u{6587}";
    let first = [Some("one"), None, Some(""), Some(four), Some(same.as_str())];
    for file in ["codecs.parquet", "codecs-2.parquet"] {
        for column in CODECS {
            let (bytes, table) = packed(file, column);
            let (memory, table) = (Memory(bytes), table.unwrap());
            let texts = table.texts(&memory, 0).unwrap();
            let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            assert_eq!(texts, first, "{file} {column}");
            assert_eq!(table.texts(&memory, 1).unwrap(), [Some("last".to_owned())]);
        }
    }
}

#[test]
fn attack_a_page_of_other_bytes_than_its_checksum_says_is_no_text() {
    for file in ["codecs.parquet", "codecs-2.parquet"] {
        for column in CODECS {
            let (bytes, table) = packed(file, column);
            let table = table.unwrap();
            let Extent { offset, size_bytes } = table.extent(0).unwrap();
            // The last byte of the last page, which no header is.
            let mut damaged = bytes;
            damaged[usize::try_from(offset + size_bytes).unwrap() - 1] ^= 1;
            assert!(table.texts(&Memory(damaged), 0).is_err(), "{file} {column}");
        }
    }
}

/// `small.parquet` with another footer.
fn with_footer(
    writer: &str,
    mut change: impl FnMut(ColumnChunkMetaData) -> ColumnChunkMetaData,
) -> Vec<u8> {
    use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataWriter};
    let footer = read_footer(&Memory(BYTES.clone()), SMALL).unwrap();
    let metadata =
        ParquetMetaDataReader::decode_metadata(&footer[..footer.len() - TAIL_BYTES as usize])
            .unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let mut builder = group.clone().into_builder();
        let columns = builder.take_columns().into_iter().map(&mut change).collect();
        builder.set_column_metadata(columns).build().unwrap()
    });
    let groups = groups.collect();
    let of = metadata.file_metadata();
    let writer = Some(writer.to_owned());
    let file =
        FileMetaData::new(of.version(), of.num_rows(), writer, None, of.schema_descr_ptr(), None);
    let mut changed = BYTES[..BYTES.len() - footer.len()].to_vec();
    let mut written = Vec::new();
    ParquetMetaDataWriter::new(&mut written, &ParquetMetaData::new(file, groups)).finish().unwrap();
    changed.extend(written);
    changed
}

#[test]
fn footers_of_older_writers_are_read_as_others_read_them() {
    let all = read_all(&BYTES).unwrap();
    let unknown_size = |column: ColumnChunkMetaData| {
        column.into_builder().set_total_uncompressed_size(0).build().unwrap()
    };
    assert_eq!(read_all(&with_footer("DuckDB", unknown_size)).unwrap(), all);
    let no_dictionary = |column: ColumnChunkMetaData| {
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let builder = column.into_builder().set_data_page_offset(first);
        builder.set_dictionary_page_offset(Some(0)).build().unwrap()
    };
    assert_eq!(read_all(&with_footer("parquet-mr version 1.8.0", no_dictionary)).unwrap(), all);
    // Twenty bytes of a header are not counted, which one writer forgets and no other may.
    let cut = |column: ColumnChunkMetaData| {
        let size = column.compressed_size() - 20;
        column.into_builder().set_total_compressed_size(size).build().unwrap()
    };
    assert_eq!(read_all(&with_footer("parquet-mr version 1.2.8", cut)).unwrap(), all);
    let error = read_all(&with_footer("parquet-mr version 1.2.9", cut)).unwrap_err().to_string();
    assert!(error.contains("a page "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_broken_file_is_an_error_or_other_text_and_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        in_footer in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = BYTES.clone();
        let first = if in_footer { bytes.len() - 20_000 } else { 0 };
        for (at, value) in changes {
            let at = first + at.index(bytes.len() - first);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.remove(cut.index(bytes.len()));
        }
        let _ = read_all(&bytes);
    }
}
