//! One product on its own, for benchmarks of the kernels and for whoever needs exact products.

use crate::{
    Error, InstructionSet,
    checkpoint::Dtype,
    kernel::{
        self,
        gemm::{Product, ROW_BLOCK, Rows, Scratch, Store},
        memory::Buffer,
        panels::Panels,
        simd::LANES,
    },
};

/// A matrix of parameters, packed for products.
pub struct Matrix {
    panels: Panels,
    n_out: usize,
}

impl Matrix {
    /// Packs rows of `n_in` numbers, one row per output.
    pub fn pack(numbers: &[f32], n_in: usize) -> Result<Self, Error> {
        let n_out = numbers.len() / n_in.max(1);
        let mut panels = Panels::zeros(n_in, n_out, false)?;
        for (output, row) in numbers.chunks_exact(n_in.max(1)).enumerate() {
            let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
            panels.set_output(output, &bytes, Dtype::F32);
        }
        Ok(Self { panels, n_out })
    }

    /// The product of each row of `rows`, of `n_in` numbers, with each output: row-major.
    ///
    /// Element (r, o) is, per block of 256 inputs, one chain of fused multiply-adds in ascending
    /// order from zero; the chains are added in ascending order.
    pub fn multiply(&self, rows: &[f32], set: InstructionSet) -> Result<Vec<f32>, Error> {
        let set = set.check()?;
        // An odd number of cache lines, so that rows spread over the cache's sets.
        let (n_in, stride) = (self.panels.n_in, (self.panels.n_panels | 1) * LANES);
        let mut scratch = Scratch::new(n_in)?;
        let mut out = Buffer::zeros(ROW_BLOCK * stride)?;
        let mut result = Vec::with_capacity(rows.len() / n_in.max(1) * self.n_out);
        for data in rows.chunks(ROW_BLOCK * n_in.max(1)) {
            let rows = Rows { data, stride: n_in, n_rows: data.len() / n_in.max(1) };
            let epilogue = Store { out: &mut out, stride, bias: None };
            let product = Product { rows, panels: &self.panels, scratch: &mut scratch, epilogue };
            kernel::run(set, product);
            for row in out.chunks_exact(stride).take(rows.n_rows) {
                result.extend_from_slice(&row[..self.n_out]);
            }
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, term by term.
    fn defined(row: &[f32], output: &[f32]) -> f32 {
        let chain = |(row, output): (&[f32], &[f32])| {
            row.iter().zip(output).fold(0.0_f32, |sum, (a, b)| a.mul_add(*b, sum))
        };
        let mut chains = row.chunks(256).zip(output.chunks(256)).map(chain);
        let first = chains.next().unwrap();
        chains.fold(first, |sum, chain| sum + chain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_product_has_the_bits_of_its_definition(
            n_in in 1_usize..600, n_out in 1_usize..70, n_rows in 1_usize..20, seed in any::<u32>(),
        ) {
            let number = |i: usize| {
                let bits = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
                (bits >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let parameters: Vec<f32> = (0..n_in * n_out).map(number).collect();
            let rows: Vec<f32> = (0..n_in * n_rows).map(|i| number(i + 7_000_003)).collect();
            let matrix = Matrix::pack(&parameters, n_in).unwrap();
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                let product = matrix.multiply(&rows, set).unwrap();
                let mut found = product.iter();
                for row in rows.chunks(n_in) {
                    for output in parameters.chunks(n_in) {
                        let found = found.next().unwrap().to_bits();
                        prop_assert_eq!(found, defined(row, output).to_bits());
                    }
                }
            }
        }
    }
}
