//! Parameters packed for products.

use super::{memory::Buffer, simd::LANES};
use crate::{checkpoint::Dtype, error::Error};
use half::{bf16, f16};
use std::ops::Range;

/// A parameter matrix `[n_out, n_in]` in panels of sixteen outputs: `[n_out / 16][n_in][16]`.
///
/// Outputs beyond the last are zero.
pub(crate) struct Panels {
    pub(crate) n_in: usize,
    pub(crate) n_panels: usize,
    numbers: Numbers,
}

/// Parameters as published: BF16 is widened block by block while it is used.
enum Numbers {
    Single(Buffer),
    Brain(Vec<u16>),
}

impl Panels {
    /// Zeros; stored as BF16 if `is_brain`.
    pub(crate) fn zeros(n_in: usize, n_out: usize, is_brain: bool) -> Result<Self, Error> {
        let n_panels = n_out.div_ceil(LANES);
        let n = n_panels * n_in * LANES;
        let numbers = if is_brain {
            let mut bits = Vec::new();
            let n_bytes = 2 * n as u64;
            bits.try_reserve_exact(n).map_err(|_| Error::OutOfMemory { n_bytes })?;
            bits.resize(n, 0);
            Numbers::Brain(bits)
        } else {
            Numbers::Single(Buffer::zeros(n)?)
        };
        Ok(Self { n_in, n_panels, numbers })
    }

    /// Writes the parameters of one output, `n_in` numbers in little-endian bytes.
    pub(crate) fn set_output(&mut self, output: usize, bytes: &[u8], dtype: Dtype) {
        let start = output / LANES * self.n_in * LANES + output % LANES;
        match (&mut self.numbers, dtype) {
            (Numbers::Brain(bits), Dtype::Bf16) => {
                let places = bits[start..].iter_mut().step_by(LANES);
                for (place, pair) in places.zip(bytes.as_chunks().0).take(self.n_in) {
                    *place = u16::from_le_bytes(*pair);
                }
            }
            (Numbers::Brain(_), _) => unreachable!("only BF16 parameters are stored as BF16"),
            (Numbers::Single(numbers), _) => {
                let places = numbers[start..].iter_mut().step_by(LANES);
                widen(bytes, dtype, places.take(self.n_in));
            }
        }
    }

    /// Writes the parameters of one input, in little-endian bytes, to the outputs named.
    pub(crate) fn set_input(
        &mut self,
        input: usize,
        outputs: impl Iterator<Item = usize>,
        bytes: &[u8],
        dtype: Dtype,
    ) {
        let n_in = self.n_in;
        let places = outputs.map(|output| (output / LANES * n_in + input) * LANES + output % LANES);
        match (&mut self.numbers, dtype) {
            (Numbers::Brain(bits), Dtype::Bf16) => {
                places.zip(bytes.as_chunks().0).for_each(|(place, pair)| {
                    bits[place] = u16::from_le_bytes(*pair);
                });
            }
            (Numbers::Brain(_), _) => unreachable!("only BF16 parameters are stored as BF16"),
            (Numbers::Single(numbers), _) => {
                let n_bytes = dtype.n_bytes() as usize;
                places.zip(bytes.chunks_exact(n_bytes)).for_each(|(place, bytes)| {
                    widen(bytes, dtype, numbers[place..].iter_mut().take(1));
                });
            }
        }
    }

    /// Copies the parameters of one output, widened.
    pub(crate) fn output(&self, output: usize, to: &mut [f32]) {
        let start = output / LANES * self.n_in * LANES + output % LANES;
        let to = to.iter_mut().take(self.n_in);
        match &self.numbers {
            Numbers::Single(numbers) => {
                to.zip(numbers[start..].iter().step_by(LANES)).for_each(|(to, n)| *to = *n);
            }
            Numbers::Brain(bits) => to
                .zip(bits[start..].iter().step_by(LANES))
                .for_each(|(to, bits)| *to = bf16::from_bits(*bits).to_f32()),
        }
    }

    /// The numbers of a panel for a range of inputs, widened into `scratch` if need be.
    #[inline(always)]
    pub(super) fn block<'a>(
        &'a self,
        panel: usize,
        depth: Range<usize>,
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        let start = panel * self.n_in;
        let range = (start + depth.start) * LANES..(start + depth.end) * LANES;
        match &self.numbers {
            Numbers::Single(numbers) => &numbers[range],
            Numbers::Brain(bits) => {
                let bits = &bits[range];
                let wide = &mut scratch[..bits.len()];
                for (wide, &bits) in wide.iter_mut().zip(bits) {
                    *wide = f32::from_bits(u32::from(bits) << 16);
                }
                wide
            }
        }
    }
}

impl Panels {
    /// The bytes of a panel for a range of inputs, as they lie in memory.
    pub(super) fn bytes(&self, panel: usize, depth: &Range<usize>) -> Range<*const u8> {
        let start = panel * self.n_in;
        let range = (start + depth.start) * LANES..(start + depth.end) * LANES;
        let (from, to) = match &self.numbers {
            Numbers::Single(numbers) => {
                let range = numbers[range].as_ptr_range();
                (range.start.cast(), range.end.cast())
            }
            Numbers::Brain(bits) => {
                let range = bits[range].as_ptr_range();
                (range.start.cast(), range.end.cast())
            }
        };
        from..to
    }
}

/// Widens little-endian numbers exactly.
pub(crate) fn widen<'a>(bytes: &[u8], dtype: Dtype, to: impl Iterator<Item = &'a mut f32>) {
    match dtype {
        Dtype::F32 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = f32::from_le_bytes(*b));
        }
        Dtype::F16 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = f16::from_le_bytes(*b).to_f32());
        }
        Dtype::Bf16 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = bf16::from_le_bytes(*b).to_f32());
        }
    }
}
