//! Parquet files with the sizes, row groups and footers of real ones, of which only the bytes exist
//! that somebody reads.

/// Bytes that a row's text has: with a token for each byte as many tokens as a web page has words
/// and parts of words.
const TEXT_BYTES: usize = 600;

/// Kinds of values in Thrift's compact form.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// What a file is like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) column: &'static str,
    pub(crate) size_bytes: u64,
    pub(crate) n_groups: u64,
    pub(crate) rows_per_group: u64,
    /// Bytes of the footer that each row group takes beside its numbers: the least and the greatest
    /// values of all columns, which stand at the one that is there.
    pub(crate) statistics_bytes: usize,
}

/// A file of equal row groups.
pub(crate) struct File {
    pub(crate) shape: Shape,
    pub(crate) footer: Vec<u8>,
    /// The text of a row group.
    chunk: Vec<u8>,
    /// Bytes from one row group to the next.
    stride: u64,
}

impl File {
    pub(crate) fn new(shape: Shape) -> Self {
        let chunk = chunk(shape.rows_per_group);
        // More than the footer has, which is as long whatever it says.
        let kept_bytes = shape.n_groups * (shape.statistics_bytes as u64 + 200) + 1_000;
        let stride = (shape.size_bytes - kept_bytes) / shape.n_groups;
        assert!(stride > chunk.len() as u64, "the row groups do not fit");
        let footer = footer(&shape, chunk.len() as u64, stride);
        Self { shape, footer, chunk, stride }
    }

    /// The bytes from `first` to `last`, both included.
    pub(crate) fn read(&self, first: u64, last: u64) -> Vec<u8> {
        let mut bytes = vec![0; (last - first + 1) as usize];
        let mut put = |at: u64, part: &[u8]| {
            let (from, to) = (at.max(first), (at + part.len() as u64).min(last + 1));
            if from < to {
                let part = &part[(from - at) as usize..(to - at) as usize];
                bytes[(from - first) as usize..(to - first) as usize].copy_from_slice(part);
            }
        };
        put(0, b"PAR1");
        let groups = first.saturating_sub(4) / self.stride..=last / self.stride;
        for group in groups.take_while(|group| *group < self.shape.n_groups) {
            put(4 + group * self.stride, &self.chunk);
        }
        put(self.shape.size_bytes - self.footer.len() as u64, &self.footer);
        bytes
    }
}

/// One page of plain texts, as it lies in the file.
fn chunk(n_rows: u64) -> Vec<u8> {
    let mut values = Vec::new();
    for row in 0..n_rows {
        let mut text = format!("Page {row} tells ");
        for word in 0.. {
            text += &format!("of number {} ", (row * 7_919 + word * 104_729) % 9_973);
            if text.len() >= TEXT_BYTES {
                break;
            }
        }
        text.truncate(TEXT_BYTES);
        values.extend((text.len() as u32).to_le_bytes());
        values.extend(text.as_bytes());
    }
    let n_bytes = values.len() as u64;
    let data = Struct::default().int(1, I32, n_rows).int(2, I32, 0).int(3, I32, 3).int(4, I32, 3);
    let header = Struct::default().int(1, I32, 0).int(2, I32, n_bytes).int(3, I32, n_bytes);
    let mut chunk = header.inner(5, data).end();
    chunk.extend(values);
    chunk
}

/// The footer, with the tail.
fn footer(shape: &Shape, chunk_bytes: u64, stride: u64) -> Vec<u8> {
    let Shape { column, n_groups, rows_per_group, statistics_bytes, .. } = *shape;
    let root = Struct::default().bytes(4, b"schema").int(5, I32, 1);
    // A required column of byte arrays that are UTF-8.
    let leaf = Struct::default().int(1, I32, 6).int(3, I32, 0).bytes(4, column.as_bytes());
    let schema = vec![root.end(), leaf.int(6, I32, 0).end()];
    let groups = (0..n_groups).map(|group| {
        let at = 4 + group * stride;
        let bound = vec![b'a'; statistics_bytes / 2];
        let statistics = Struct::default().bytes(5, &bound).bytes(6, &bound);
        let metadata = Struct::default()
            .int(1, I32, 6)
            .list(2, I32, &[zigzag(0)])
            .list(3, BINARY, &[[varint(column.len() as u64), column.into()].concat()])
            .int(4, I32, 0)
            .int(5, I64, rows_per_group)
            .int(6, I64, chunk_bytes)
            .int(7, I64, chunk_bytes)
            .int(9, I64, at)
            .inner(12, statistics);
        let chunk = Struct::default().int(2, I64, at).inner(3, metadata).end();
        let group = Struct::default().list(1, STRUCT, &[chunk]);
        group.int(2, I64, chunk_bytes).int(3, I64, rows_per_group).end()
    });
    let groups: Vec<Vec<u8>> = groups.collect();
    let mut footer = Struct::default()
        .int(1, I32, 2)
        .list(2, STRUCT, &schema)
        .int(3, I64, n_groups * rows_per_group)
        .list(4, STRUCT, &groups)
        .bytes(6, b"parquet-cpp-arrow version 16.1.0")
        .end();
    footer.extend((footer.len() as u32).to_le_bytes());
    footer.extend(b"PAR1");
    footer
}

/// A struct that is being written in Thrift's compact form.
#[derive(Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push(((id - self.last) << 4) | kind);
        self.last = id;
    }

    fn int(mut self, id: u8, kind: u8, value: u64) -> Self {
        self.field(id, kind);
        self.bytes.extend(zigzag(value));
        self
    }

    fn bytes(mut self, id: u8, value: &[u8]) -> Self {
        self.field(id, BINARY);
        self.bytes.extend(varint(value.len() as u64));
        self.bytes.extend(value);
        self
    }

    fn inner(mut self, id: u8, inner: Self) -> Self {
        self.field(id, STRUCT);
        self.bytes.extend(inner.end());
        self
    }

    fn list(mut self, id: u8, kind: u8, items: &[Vec<u8>]) -> Self {
        self.field(id, LIST);
        match u8::try_from(items.len()) {
            Ok(n) if n < 15 => self.bytes.push((n << 4) | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.bytes.extend(varint(items.len() as u64));
            }
        }
        self.bytes.extend(items.concat());
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A number that is not negative, as signed ones are written.
fn zigzag(value: u64) -> Vec<u8> {
    varint(value << 1)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value as u8) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
