//! Decoding one column of one row group from its bytes.

use parquet::{
    column::reader::ColumnReaderImpl,
    data_type::{ByteArray, ByteArrayType},
    errors::{ParquetError, Result},
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use std::{io::Cursor, sync::Arc};

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
