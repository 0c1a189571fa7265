//! Decoding one column of one row group from its bytes.

use parquet::{
    basic::Encoding,
    column::{
        page::{Page, PageMetadata, PageReader},
        reader::ColumnReaderImpl,
    },
    data_type::{ByteArray, ByteArrayType},
    errors::{ParquetError, Result},
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use std::{io::Cursor, sync::Arc};

/// Most bits of an index into a dictionary.
const INDEX_BITS_MAX: u8 = 32;

/// Values of the column, at most `n_rows`; `None` where a row has none.
///
/// `bytes` are those of the chunk, which begins at `offset` of the file.
pub(super) fn read(
    column: &ColumnChunkMetaData,
    bytes: Vec<u8>,
    offset: u64,
    n_rows: usize,
) -> Result<Vec<Option<ByteArray>>> {
    let window = Arc::new(Window { bytes: bytes.into(), offset });
    let pages = SerializedPageReader::new(window, column, n_rows, None)?;
    let descriptor = column.column_descr_ptr();
    let is_nullable = descriptor.max_def_level() > 0;
    let pages = Sound { pages, is_nullable };
    let present = descriptor.max_def_level();
    let mut reader = ColumnReaderImpl::<ByteArrayType>::new(descriptor, Box::new(pages));
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut n_read = 0;
    while n_read < n_rows {
        let levels = is_nullable.then_some(&mut levels);
        let (n, _, _) = reader.read_records(n_rows - n_read, levels, None, &mut values)?;
        if n == 0 {
            break;
        }
        n_read += n;
    }
    if !is_nullable {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| (level == present).then(|| values.next())?).collect())
}

/// Pages whose indices into a dictionary can be such: the decoder takes any width for one, and
/// gives texts for it.
struct Sound<P> {
    pages: P,
    is_nullable: bool,
}

impl<P> Sound<P> {
    fn check(&self, page: &Page) -> Result<()> {
        let (bytes, encoding, levels) = match page {
            Page::DataPage { buf, encoding, def_level_encoding, .. } => {
                // In front of the values are the levels, with their length, where there are any.
                let has_length = self.is_nullable && *def_level_encoding == Encoding::RLE;
                let length = buf.first_chunk::<4>().map(|length| u32::from_le_bytes(*length));
                let levels = if has_length {
                    u64::from(length.ok_or_else(outside)?).saturating_add(4)
                } else {
                    0
                };
                (buf, *encoding, levels)
            }
            Page::DataPageV2 {
                buf, encoding, def_levels_byte_len, rep_levels_byte_len, ..
            } => {
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                (buf, *encoding, levels)
            }
            Page::DictionaryPage { .. } => return Ok(()),
        };
        let is_indexed = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        let width = usize::try_from(levels).ok().and_then(|at| bytes.get(at)).copied();
        match width {
            Some(width) if is_indexed && width > INDEX_BITS_MAX => Err(ParquetError::General(
                format!("a page has indices of {width} bits into its dictionary"),
            )),
            _ => Ok(()),
        }
    }
}

impl<P: PageReader> Iterator for Sound<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Sound<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

/// A part of a file; nothing else of it can be read.
struct Window {
    bytes: bytes::Bytes,
    offset: u64,
}

impl Window {
    fn part(&self, start: u64) -> Result<bytes::Bytes> {
        let at = start.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..)).ok_or_else(outside)
    }
}

fn outside() -> ParquetError {
    ParquetError::EOF("a page lies outside its row group".to_owned())
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}

impl ChunkReader for Window {
    type T = Cursor<bytes::Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(Cursor::new(self.part(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        let part = self.part(start)?;
        if length > part.len() {
            return Err(outside());
        }
        Ok(part.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Nothing {
        fn page(bytes: &[u8], is_second: bool) -> Page {
            let buf = bytes::Bytes::copy_from_slice(bytes);
            let (num_values, encoding, statistics) = (1, Encoding::RLE_DICTIONARY, None);
            if is_second {
                let (num_nulls, num_rows, is_compressed) = (0, 1, false);
                let (def_levels_byte_len, rep_levels_byte_len) = (2, 0);
                return Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed,
                    statistics,
                };
            }
            let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            }
        }
    }

    #[test]
    fn attack_indices_of_more_bits_than_a_number_has_are_refused() {
        let check = |is_nullable, page: Page| Sound { pages: Nothing, is_nullable }.check(&page);
        for width in [0, 1, 32, 33, 254, 255] {
            let is_good = width <= INDEX_BITS_MAX;
            assert_eq!(check(false, Nothing::page(&[width, 0], false)).is_ok(), is_good);
            let with_levels = [2, 0, 0, 0, 2, 1, width, 0];
            assert_eq!(check(true, Nothing::page(&with_levels, false)).is_ok(), is_good);
            assert_eq!(check(true, Nothing::page(&[2, 1, width, 0], true)).is_ok(), is_good);
        }
        // What ends before its values is left to the decoder.
        assert!(check(true, Nothing::page(&[255, 255, 255, 255, 2], false)).is_ok());
        assert!(check(true, Nothing::page(&[2], false)).is_err());
    }
}
