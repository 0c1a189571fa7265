//! Pages as writers on Hadoop pack them under the name LZ4: frames, each with its two lengths in
//! front, the larger pages in several.

use super::*;
use crate::{Lot, PinnedSource, Source, Split, source::pinned::pin_file};
use parquet::{
    basic::{Compression, Encoding},
    column::{
        page::{CompressedPage, Page, PageWriter as _},
        writer::ColumnCloseResult,
    },
    file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    schema::parser::parse_message_type,
};
use protocol::{
    Seed,
    competition::{DatasetConfig, DrawRules, HubDataset},
};
use std::sync::Arc;

const FILE: &str = "hadoop.parquet";

/// Bytes, packed in frames of so many of them.
fn frames(bytes: &[u8], frame_bytes: usize) -> Vec<u8> {
    let mut packed = Vec::new();
    for frame in bytes.chunks(frame_bytes) {
        let block = lz4_flex::block::compress(frame);
        for length in [frame.len(), block.len()] {
            packed.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
        packed.extend(block);
    }
    packed
}

/// A file with a row group for each list of texts, of one page, in frames of so many bytes.
fn written(groups: &[Vec<String>], frame_bytes: usize) -> Vec<u8> {
    let schema = parse_message_type("message rows { required binary text (UTF8); }").unwrap();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).unwrap();
    let column = file.schema_descr().column(0);
    for texts in groups {
        let plain = texts.iter().flat_map(|text| {
            let length = u32::try_from(text.len()).unwrap().to_le_bytes();
            [&length[..], text.as_bytes()].concat()
        });
        let plain: Vec<u8> = plain.collect();
        let page = Page::DataPage {
            buf: frames(&plain, frame_bytes).into(),
            num_values: u32::try_from(texts.len()).unwrap(),
            encoding: Encoding::PLAIN,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let written = pages.write_page(CompressedPage::new(page, plain.len())).unwrap();
        let metadata = ColumnChunkMetaData::builder(Arc::clone(&column))
            .set_compression(Compression::LZ4)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
            .set_num_values(texts.len() as i64)
            .set_total_compressed_size(written.compressed_size as i64)
            .set_total_uncompressed_size(written.uncompressed_size as i64)
            .set_data_page_offset(0)
            .build()
            .unwrap();
        let close = ColumnCloseResult {
            bytes_written: written.bytes_written,
            rows_written: texts.len() as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        let mut group = file.next_row_group().unwrap();
        group.append_column(&bytes::Bytes::from(sink.into_inner().unwrap()), close).unwrap();
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

/// Row groups of texts of which some pack well and some do not.
fn groups() -> Vec<Vec<String>> {
    let text = |group: u64, row: u64| {
        let digest = Digest::of(format!("{group} {row}").as_bytes()).hex();
        format!("row {row} of {group}: {digest} {}", "and again ".repeat(row as usize % 7))
    };
    (0..21).map(|group| (0..40).map(|row| text(group, row)).collect()).collect()
}

/// A folder with the row groups in frames of so many bytes, and its pinned rows.
fn pinned(frame_bytes: usize) -> (tempfile::TempDir, Table, PinnedSource) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), written(&groups(), frame_bytes)).unwrap();
    let files = Directory::new(dir.path());
    let footer = read_footer(&files, FILE).unwrap();
    let table = Table::new(FILE, files.size_bytes(FILE).unwrap(), &footer, None).unwrap();
    assert_eq!(table.groups[0].column.compression(), Compression::LZ4);
    let pin = pin_file(&files, FILE, None, &|_| {}).unwrap();
    let configs = vec![DatasetConfig { name: "all".to_owned(), weight: 1, files: vec![pin] }];
    let dataset = HubDataset {
        repo: "acme/hadoop".to_owned(),
        text_column: "text".to_owned(),
        revision: Some("0".repeat(40).parse().unwrap()),
        draw: DrawRules { text_bytes_min: 1, rounds_apart: 2, ..DrawRules::default() },
        configs,
    };
    let source = PinnedSource::new(dataset, Box::new(files), None).unwrap();
    (dir, table, source)
}

#[test]
fn pages_in_a_frame_of_hadoop_are_pinned_and_drawn_from() {
    let (dir, table, source) = pinned(1 << 18);
    let groups = groups();
    for (number, group) in groups.iter().enumerate() {
        let texts = table.texts(&Directory::new(dir.path()), number as u64).unwrap();
        assert_eq!(texts.into_iter().flatten().collect::<Vec<_>>(), *group);
    }
    source.try_each_file(&|_| ()).unwrap();
    let lot = Lot { seed: Seed::of_number(1), turn: 0 };
    let drawn: Vec<_> = source.draw(Split::Evaluation, lot).map(Result::unwrap).collect();
    assert!(!drawn.is_empty());
    assert!(drawn.iter().all(|row| groups.iter().flatten().any(|text| *text == row.text)));
}

#[test]
fn pages_in_several_frames_are_told_when_they_are_pinned_and_give_no_text() {
    // Many frames; and two, of which the second is the least.
    for frame_bytes in [512, 4_000] {
        let (dir, table, source) = pinned(frame_bytes);
        for error in [
            table.texts(&Directory::new(dir.path()), 0).unwrap_err(),
            source.try_each_file(&|_| ()).unwrap_err(),
        ] {
            let error = error.to_string();
            let told = "a page is in several frames, as Hadoop packs with LZ4; write it with zstd";
            assert!(error.contains(told), "{error}");
        }
    }
}
