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
