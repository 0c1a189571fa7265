//! Tokens as an array in NumPy's file format, version 1.0: written as they come.

use super::export::Part;
use std::path::PathBuf;

/// Bytes before the numbers: a multiple of 64, and room for any number of rows.
const HEADER_BYTES: usize = 128;
/// Magic string and version of the format.
const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// Rows of tokens on their way into a file.
///
/// Tokens of two bytes where the vocabulary allows it, else four, little-endian. What does not fill
/// a row at the end is left out.
pub struct Writer {
    part: Part,
    width: usize,
    row_length: usize,
    /// Tokens behind the last whole row.
    rest: Vec<u32>,
    n_tokens: u64,
    n_rows: u64,
}

impl Writer {
    /// An array of rows of `row_length` tokens below `vocabulary`.
    pub fn new(mut part: Part, vocabulary: usize, row_length: usize) -> anyhow::Result<Self> {
        // Written again once the number of rows is known.
        part.write(&[0; HEADER_BYTES])?;
        let width = if vocabulary <= 1 << 16 { 2 } else { 4 };
        Ok(Self { part, width, row_length, rest: Vec::new(), n_tokens: 0, n_rows: 0 })
    }

    /// The next tokens of the stream.
    pub fn push(&mut self, tokens: &[u32]) -> anyhow::Result<()> {
        self.n_tokens += tokens.len() as u64;
        self.rest.extend_from_slice(tokens);
        let n_whole = self.rest.len() - self.rest.len() % self.row_length;
        let mut bytes = Vec::with_capacity(n_whole * self.width);
        for token in self.rest.drain(..n_whole) {
            bytes.extend_from_slice(&token.to_le_bytes()[..self.width]);
        }
        self.n_rows += (n_whole / self.row_length) as u64;
        self.part.write(&bytes)
    }

    /// Tokens of the stream, and whole rows of them.
    pub fn counts(&self) -> (u64, u64) {
        (self.n_tokens, self.n_rows)
    }

    /// Writes the header, and gives the file its name.
    pub fn finish(mut self) -> anyhow::Result<PathBuf> {
        let header = self.header();
        self.part.write_at_start(&header)?;
        self.part.finish()
    }

    fn header(&self) -> Vec<u8> {
        let (width, n_rows, row_length) = (self.width, self.n_rows, self.row_length);
        let fields = format!(
            "{{'descr': '<u{width}', 'fortran_order': False, 'shape': ({n_rows}, {row_length}), }}"
        );
        let n_fields = HEADER_BYTES - MAGIC.len() - 2;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&(n_fields as u16).to_le_bytes());
        header.extend_from_slice(format!("{fields:<width$}\n", width = n_fields - 1).as_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};

    /// The array of tokens that came in pieces of these lengths, and how many tokens and rows.
    fn written(pieces: &[Vec<u32>], vocabulary: usize, row_length: usize) -> (Vec<u8>, (u64, u64)) {
        let dir = tempfile::tempdir().unwrap();
        let part = Part::create(dir.path().join("tokens.npy")).unwrap();
        let mut writer = Writer::new(part, vocabulary, row_length).unwrap();
        for piece in pieces {
            writer.push(piece).unwrap();
        }
        let counts = writer.counts();
        (std::fs::read(writer.finish().unwrap()).unwrap(), counts)
    }

    /// Type, number of rows and row length that a header says, read as NumPy's format has it.
    fn header(bytes: &[u8]) -> (String, String) {
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let n_bytes = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert!((10 + n_bytes).is_multiple_of(64), "numbers begin at a multiple of 64");
        let text = std::str::from_utf8(&bytes[10..10 + n_bytes]).unwrap();
        assert!(text.ends_with('\n') && !text.trim_end().contains('\n'), "{text:?}");
        let between = |from: &str, to: &str| -> String {
            let rest = text.split_once(from).unwrap().1;
            rest.split_once(to).unwrap().0.to_owned()
        };
        assert!(text.contains("'fortran_order': False"), "{text}");
        (between("'descr': '", "'"), between("'shape': (", ")"))
    }

    #[test]
    fn an_array_holds_the_whole_rows_of_the_stream_however_it_comes() {
        let mut stream = Seed::of_number(5).stream();
        let mut below = |n: u64| uniform_below(&mut stream, n);
        for round in 0..16 {
            let vocabulary = [257, 1 << 16, (1 << 16) + 1, 1 << 20][below(4) as usize];
            let row_length = 2 + below(9) as usize;
            let pieces: Vec<Vec<u32>> = (0..below(12))
                .map(|_| (0..below(30)).map(|_| below(vocabulary as u64) as u32).collect())
                .collect();
            let all = pieces.concat();
            let n_rows = all.len() / row_length;
            let (bytes, counts) = written(&pieces, vocabulary, row_length);
            assert_eq!(counts, (all.len() as u64, n_rows as u64), "seed 5, {round}");
            let width = if vocabulary <= 1 << 16 { 2 } else { 4 };
            let expected = (format!("<u{width}"), format!("{n_rows}, {row_length}"));
            assert_eq!(header(&bytes), expected, "seed 5, {round}");
            let numbers: Vec<u32> = bytes[HEADER_BYTES..]
                .chunks_exact(width)
                .map(|bytes| bytes.iter().rev().fold(0_u32, |n, byte| (n << 8) | u32::from(*byte)))
                .collect();
            assert_eq!(bytes.len(), HEADER_BYTES + n_rows * row_length * width);
            assert_eq!(numbers, all[..n_rows * row_length], "seed 5, {round}");
        }
    }

    #[test]
    fn an_array_that_is_not_finished_leaves_nothing_and_a_finished_one_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.npy");
        std::fs::write(&path, "before").unwrap();
        let start = || Writer::new(Part::create(path.clone()).unwrap(), 300, 2).unwrap();
        let mut dropped = start();
        dropped.push(&[1, 2, 3]).unwrap();
        drop(dropped);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no part stays");
        let mut whole = start();
        whole.push(&[256, 2, 3]).unwrap();
        assert_eq!(whole.finish().unwrap(), path);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[HEADER_BYTES..], [0, 1, 2, 0]);
        let nowhere =
            Part::create(dir.path().join("no/such/folder/x.npy")).map(|_| ()).unwrap_err();
        assert!(format!("{nowhere:#}").contains("cannot write to"), "{nowhere:#}");
    }
}
