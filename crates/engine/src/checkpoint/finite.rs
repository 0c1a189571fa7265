//! Whether the numbers of a tensor are finite.

use super::Dtype;
use crate::error::{Stop, refuse};
use protocol::ReasonCode::NonFiniteParameters;

/// Refuses a NaN or infinity among the bytes of a tensor that start at byte `at`.
pub(crate) fn check_finite(name: &str, dtype: Dtype, at: u64, bytes: &[u8]) -> Result<(), Stop> {
    // All exponent bits set is NaN or infinity.
    let wide = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & 0x7f80_0000 == 0x7f80_0000;
    let narrow = |mask: u16| move |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & mask == mask;
    let found = match dtype {
        Dtype::F32 => find(bytes.as_chunks().0, wide),
        Dtype::F16 => find(bytes.as_chunks().0, narrow(0x7c00)),
        Dtype::Bf16 => find(bytes.as_chunks().0, narrow(0x7f80)),
    };
    match found {
        None => Ok(()),
        Some(index) => {
            let index = at / dtype.n_bytes() + index as u64;
            let detail = format!("`{name}` has a NaN or infinite number at element {index}");
            refuse(NonFiniteParameters, detail)
        }
    }
}

/// Looks at whole blocks first: that loop has no early exit and runs in vectors.
fn find<const N: usize>(numbers: &[[u8; N]], is_bad: impl Fn(&[u8; N]) -> bool) -> Option<usize> {
    for (index, block) in numbers.chunks(1024).enumerate() {
        if block.iter().fold(false, |any, number| any | is_bad(number)) {
            return block.iter().position(&is_bad).map(|place| index * 1024 + place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn found(dtype: Dtype, bytes: &[u8]) -> Option<String> {
        match check_finite("t", dtype, 8, bytes) {
            Err(Stop::Model(reason)) => Some(reason.detail),
            _ => None,
        }
    }

    #[test]
    fn attack_nan_and_infinity_are_found_wherever_they_stand() {
        for place in [0, 1, 1023, 1024, 2999] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
                let mut numbers = vec![f32::MIN_POSITIVE / 2.0; 3000];
                numbers[place] = bad;
                let wide: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                let half: Vec<u8> =
                    numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect();
                let brain: Vec<u8> =
                    numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect();
                assert!(found(Dtype::F32, &wide).unwrap().ends_with(&format!(" {}", place + 2)));
                assert!(found(Dtype::F16, &half).unwrap().ends_with(&format!(" {}", place + 4)));
                assert!(found(Dtype::Bf16, &brain).unwrap().ends_with(&format!(" {}", place + 4)));
            }
        }
    }

    #[test]
    fn the_largest_and_smallest_numbers_are_finite() {
        let bytes = [f32::MAX, f32::MIN, 1e-45, -0.0].map(f32::to_le_bytes).concat();
        assert_eq!(found(Dtype::F32, &bytes), None);
        let bytes = [f16::MAX, f16::MIN].map(f16::to_le_bytes).concat();
        assert_eq!(found(Dtype::F16, &bytes), None);
        let bytes = [bf16::MAX, bf16::MIN].map(bf16::to_le_bytes).concat();
        assert_eq!(found(Dtype::Bf16, &bytes), None);
    }
}
