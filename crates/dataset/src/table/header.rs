//! Sizes that the pages of a chunk claim, before anything is allocated for them.
//!
//! The footer is pinned and says how large a chunk is once decompressed; the pages are not, and a
//! page that claims two gigabytes would be given them. So their headers (Thrift's compact form) are
//! walked through first.

use parquet::file::metadata::ColumnChunkMetaData;

/// Structs and lists inside each other; a page header has three levels.
const DEPTH_MAX: usize = 8;

/// Refuses a chunk whose pages claim more than its footer allows, or lie outside it.
pub(super) fn check(chunk: &[u8], column: &ColumnChunkMetaData) -> Result<(), String> {
    check_pages(chunk, u64::try_from(column.uncompressed_size()).unwrap_or(0))
}

fn check_pages(chunk: &[u8], decoded_bytes_max: u64) -> Result<(), String> {
    let mut rest = chunk;
    let mut decoded_bytes = 0_u64;
    while !rest.is_empty() {
        let mut bytes = Bytes { rest };
        let (decoded, stored) =
            page_sizes(&mut bytes).ok_or("a page has a header that cannot be read")?;
        decoded_bytes = decoded_bytes.saturating_add(decoded);
        if decoded_bytes > decoded_bytes_max {
            return Err(format!("its pages have more than the {decoded_bytes_max} bytes stated"));
        }
        rest = bytes.rest.get(stored..).ok_or("a page ends outside its row group")?;
    }
    Ok(())
}

/// Decompressed and stored size of the page whose header begins here.
fn page_sizes(bytes: &mut Bytes) -> Option<(u64, usize)> {
    let (mut decoded, mut stored, mut id) = (None, None, 0);
    while let Some(kind) = bytes.field(&mut id)? {
        match (id, kind) {
            (2, I32) => decoded = u64::try_from(bytes.integer()?).ok(),
            (3, I32) => stored = usize::try_from(bytes.integer()?).ok(),
            _ => bytes.skip(kind, 0)?,
        }
    }
    Some((decoded?, stored?))
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// What is left to read; every method is `None` where it ends too early.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_bytes(&mut self, n: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(n).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A signed number in zigzag form.
    fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        i64::try_from(number >> 1).ok().map(|half| if number & 1 == 0 { half } else { !half })
    }

    /// Kind of the next field, whose number replaces `id`; `Some(None)` at the end of the struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.integer()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(Some(head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.skip_bytes(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let n = self.varint()?;
                self.skip_bytes(n)
            }
            LIST | SET => {
                let head = self.byte()?;
                let n = match head >> 4 {
                    15 => self.varint()?,
                    n => u64::from(n),
                };
                let of = head & 0x0f;
                // Every element takes a byte at least, so this loop is as long as the input.
                (0..n).try_for_each(|_| match of {
                    TRUE | FALSE => self.skip_bytes(1),
                    of => self.skip(of, depth + 1),
                })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}
