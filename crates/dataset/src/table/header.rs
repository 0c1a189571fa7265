//! Sizes that the pages of a chunk claim, before anything is allocated for them.
//!
//! The footer is pinned and says how large a chunk is once decompressed; the pages are not, and a
//! page that claims two gigabytes would be given them. So their headers (Thrift's compact form) are
//! walked through first.

use super::unpack;
use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};

/// Structs and lists inside each other; a page header has three levels.
const DEPTH_MAX: usize = 8;

/// Refuses a chunk whose pages claim more than its footer allows, unpack to more than they claim,
/// or lie outside it. The last `slack_bytes` need be no page once there are `n_rows` values.
pub(super) fn check(
    chunk: &[u8],
    column: &ColumnChunkMetaData,
    n_rows: u64,
    slack_bytes: u64,
) -> Result<(), String> {
    let decoded_bytes_max = u64::try_from(column.uncompressed_size()).unwrap_or(0);
    let mut rest = chunk;
    let (mut decoded_bytes, mut n_values) = (0_u64, 0_u64);
    while !rest.is_empty() {
        let (page, body, behind) = match next_page(rest) {
            Ok(found) => found,
            Err(_) if n_values >= n_rows && rest.len() as u64 <= slack_bytes => break,
            Err(detail) => return Err(detail.to_owned()),
        };
        decoded_bytes = decoded_bytes.saturating_add(page.decoded);
        if decoded_bytes > decoded_bytes_max {
            return Err(format!("its pages have more than the {decoded_bytes_max} bytes stated"));
        }
        // Levels that stand before what is packed are counted as they are.
        let packed = usize::try_from(page.levels).ok().and_then(|levels| body.get(levels..));
        let packed = packed.ok_or("the levels of a page end outside of it")?;
        let max =
            page.decoded.checked_sub(page.levels).ok_or("a page has more levels than bytes")?;
        if !unpack::fits(column.compression(), packed, max) {
            return Err(format!("a page unpacks to more than the {} bytes stated", page.decoded));
        }
        n_values = n_values.saturating_add(page.n_values);
        rest = behind;
    }
    Ok(())
}

/// Whether a page of the chunk is in several of Hadoop's frames.
pub(super) fn has_frames(chunk: &[u8], codec: Compression) -> bool {
    let mut rest = chunk;
    while let Ok((page, body, behind)) = next_page(rest) {
        let packed = usize::try_from(page.levels).ok().and_then(|levels| body.get(levels..));
        if packed.is_some_and(|packed| unpack::is_in_frames(codec, packed)) {
            return true;
        }
        rest = behind;
    }
    false
}

/// The page that begins here, its body, and what is behind it.
fn next_page(rest: &[u8]) -> Result<(Page, &[u8], &[u8]), &'static str> {
    let mut bytes = Bytes { rest };
    let page = page(&mut bytes).ok_or("a page has a header that cannot be read")?;
    let body = bytes.rest.split_at_checked(page.stored);
    let (body, behind) = body.ok_or("a page ends outside its row group")?;
    Ok((page, body, behind))
}

/// What the header of a page says.
#[derive(Default)]
struct Page {
    /// Bytes once unpacked.
    decoded: u64,
    /// Bytes in the file.
    stored: usize,
    /// Values, absent ones included; none in a page with a dictionary.
    n_values: u64,
    /// Bytes of levels that stand before what is packed, as in the second version of pages.
    levels: u64,
}

/// The page whose header begins here.
fn page(bytes: &mut Bytes) -> Option<Page> {
    let (mut decoded, mut stored, mut id) = (None, None, 0);
    let mut page = Page::default();
    while let Some(kind) = bytes.field(&mut id)? {
        match (id, kind) {
            (2, I32) => decoded = u64::try_from(bytes.integer()?).ok(),
            (3, I32) => stored = usize::try_from(bytes.integer()?).ok(),
            (DATA_PAGE, STRUCT) => page.n_values = data_page(bytes)?.0,
            (DATA_PAGE_V2, STRUCT) => (page.n_values, page.levels) = data_page(bytes)?,
            _ => bytes.skip(kind, 0)?,
        }
    }
    (page.decoded, page.stored) = (decoded?, stored?);
    Some(page)
}

/// Values, and bytes of the levels of both kinds, by the part of a header that is there for data
/// alone; in the first version of pages the fields of those numbers are none.
fn data_page(bytes: &mut Bytes) -> Option<(u64, u64)> {
    let (mut n_values, mut levels, mut id) = (0, 0_u64, 0);
    while let Some(kind) = bytes.field(&mut id)? {
        match (id, kind) {
            (1, I32) => n_values = u64::try_from(bytes.integer()?).ok()?,
            (5 | 6, I32) => {
                levels = levels.saturating_add(u64::try_from(bytes.integer()?).ok()?);
            }
            _ => bytes.skip(kind, 0)?,
        }
    }
    Some((n_values, levels))
}

/// Numbers of the fields with what is there for data alone.
const DATA_PAGE: i64 = 5;
const DATA_PAGE_V2: i64 = 8;

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
