//! How much a page becomes once it is unpacked, counted without keeping any of it.
//!
//! Some of the decoder's codecs are bounded by the size that a page states, others give whatever
//! comes out. Those are run here first, up to that size.

use parquet::basic::Compression;
use std::io::{self, Read};

/// Whether pages packed so can be read.
pub(super) fn is_known(codec: Compression) -> bool {
    !matches!(codec, Compression::LZO)
}

/// Whether a page gives at most `max` bytes. What cannot be unpacked does, too: the decoder says
/// better what is wrong with it.
pub(super) fn fits(codec: Compression, packed: &[u8], max: u64) -> bool {
    let n_bytes = match codec {
        Compression::GZIP(_) => count(flate2::read::MultiGzDecoder::new(packed), max),
        Compression::BROTLI(_) => count(brotli::Decompressor::new(packed, 4 << 10), max),
        // Of the three formats that go by this name, two are bounded.
        Compression::LZ4 => count(lz4_flex::frame::FrameDecoder::new(packed), max),
        _ => 0,
    };
    n_bytes <= max
}

/// Whether a page is in several of Hadoop's frames, of which the decoder reads no more than a few.
pub(super) fn is_in_frames(codec: Compression, packed: &[u8]) -> bool {
    let (mut rest, mut n_frames) = (packed, 0);
    while let Some((lengths, behind)) = rest.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *lengths;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(next) = behind.get(length..) else { return false };
        (rest, n_frames) = (next, n_frames + 1);
    }
    codec == Compression::LZ4 && rest.is_empty() && n_frames > 1
}

/// Bytes that come out before an error or the end, or one more than `max`.
fn count(unpacked: impl Read, max: u64) -> u64 {
    let mut counter = Counter(0);
    // An error ends the count, as it will end the decoder.
    let _ = io::copy(&mut unpacked.take(max.saturating_add(1)), &mut counter);
    counter.0
}

struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u64 = 50_000_000;

    /// So many zeros, packed.
    fn bombs() -> [(Compression, Vec<u8>); 3] {
        let zeros = vec![0; 1 << 20];
        let fill = |to: &mut dyn io::Write| {
            let mut left = N as usize;
            while left > 0 {
                let n = left.min(zeros.len());
                to.write_all(&zeros[..n]).unwrap();
                left -= n;
            }
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        fill(&mut gzip);
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4_096, 1, 22);
        fill(&mut brotli);
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        fill(&mut lz4);
        [
            (Compression::GZIP(Default::default()), gzip.finish().unwrap()),
            (Compression::BROTLI(Default::default()), brotli.into_inner()),
            (Compression::LZ4, lz4.finish().unwrap()),
        ]
    }

    #[test]
    fn attack_a_page_that_unpacks_to_more_than_it_states_is_not_unpacked() {
        for (codec, packed) in bombs() {
            assert!((packed.len() as u64) < N / 100, "{codec:?}");
            assert!(fits(codec, &packed, N), "{codec:?}");
            assert!(!fits(codec, &packed, N - 1), "{codec:?}");
            assert!(!fits(codec, &packed, 1_000), "{codec:?}");
            assert!(fits(codec, b"no such thing", 0), "{codec:?}");
        }
    }
}
