//! Buffers of numbers that start on a cache line.
#![allow(unsafe_code)]

use crate::error::Error;
use std::ops::{Deref, DerefMut};

/// Numbers of one cache line.
const LINE: usize = 16;
/// Buffers from this many bytes on ask for huge pages.
const HUGE_BYTES_MIN: usize = 4 << 20;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A fixed number of `f32`, aligned to 64 bytes.
#[derive(Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// `n` zeros, and up to fifteen more that fill the last line.
    pub(crate) fn zeros(n: usize) -> Result<Self, Error> {
        let n_lines = n.div_ceil(LINE);
        let out_of_memory = |_| Error::OutOfMemory {
            n_bytes: (n_lines as u64).saturating_mul(size_of::<Line>() as u64),
        };
        let mut lines = Vec::new();
        lines.try_reserve_exact(n_lines).map_err(out_of_memory)?;
        advise_huge_pages(&mut lines);
        lines.resize(n_lines, Line([0.0; LINE]));
        Ok(Self { lines })
    }

    /// Makes room for `n` numbers; what was in the buffer is lost when it grows.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), Error> {
        if self.len() < n {
            self.lines = Vec::new();
            *self = Self::zeros(n)?;
        }
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a `Line` is sixteen `f32` without padding, and the lines are contiguous.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let n = self.lines.len() * LINE;
        // SAFETY: as in `deref`; the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), n) }
    }
}

/// Fewer page faults and address translations for large buffers; a refusal changes nothing.
fn advise_huge_pages(lines: &mut Vec<Line>) {
    let n_bytes = lines.capacity() * size_of::<Line>();
    if n_bytes < HUGE_BYTES_MIN {
        return;
    }
    const PAGE: usize = 4096;
    let start = lines.as_mut_ptr().cast::<u8>();
    let offset = start.align_offset(PAGE);
    let whole_pages = n_bytes.saturating_sub(offset) / PAGE * PAGE;
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies inside the allocation and the advice does not change its content.
    unsafe {
        libc::madvise(start.add(offset).cast(), whole_pages, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, whole_pages);
}
