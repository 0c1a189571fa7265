//! The number of the chain's consensus: 32 bits before and 32 bits after the binary point.

/// A signed fixed-point number with 32 fraction bits (I32F32).
///
/// Products round down and quotients toward zero, everything saturates, and a division by zero
/// gives zero: bit for bit what the chain computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fixed(i64);

const FRACTION_BITS: u32 = 32;
const U16_MAX: i64 = u16::MAX as i64;

impl Fixed {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const ONE: Self = Self(1 << FRACTION_BITS);

    pub(crate) const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    #[cfg(test)]
    pub(crate) const fn bits(self) -> i64 {
        self.0
    }

    /// The whole number `value`.
    pub(crate) fn whole(value: u16) -> Self {
        Self(i64::from(value) << FRACTION_BITS)
    }

    /// `value / 65535`.
    pub(crate) fn proportion(value: u16) -> Self {
        Self::whole(value).div(Self::whole(u16::MAX))
    }

    /// `numerator / denominator`, rounded down; zero when the denominator is zero.
    pub(crate) fn ratio(numerator: u64, denominator: u64) -> Self {
        let wide = (u128::from(numerator) << FRACTION_BITS).checked_div(u128::from(denominator));
        Self(i64::try_from(wide.unwrap_or(0)).unwrap_or(i64::MAX))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn times(self, other: Self) -> Self {
        // Most factors are ratios below 1: their product needs no wider number.
        if let (Ok(a), Ok(b)) = (u32::try_from(self.0), u32::try_from(other.0)) {
            return Self(((u64::from(a) * u64::from(b)) >> FRACTION_BITS).cast_signed());
        }
        saturate((i128::from(self.0) * i128::from(other.0)) >> FRACTION_BITS)
    }

    pub(crate) fn div(self, other: Self) -> Self {
        // Nearly every division here is of ratios below 1 or of whole numbers (which lose their
        // empty fractions first). Then 64 bits hold the shifted numerator, and the division is
        // several times faster than one of 128 bits.
        let is_whole = (self.0 | other.0).trailing_zeros() >= FRACTION_BITS;
        let shift = if is_whole { FRACTION_BITS } else { 0 };
        let parts = (u32::try_from(self.0 >> shift), u64::try_from(other.0 >> shift));
        if let (Ok(numerator), Ok(denominator)) = parts {
            let quotient = (u64::from(numerator) << FRACTION_BITS).checked_div(denominator);
            return Self(i64::try_from(quotient.unwrap_or(0)).unwrap_or(i64::MAX));
        }
        let numerator = i128::from(self.0) << FRACTION_BITS;
        saturate(numerator.checked_div(i128::from(other.0)).unwrap_or(0))
    }

    /// `floor(x * 65535)`, at least zero and at most 65,535.
    pub(crate) fn to_u16(self) -> u16 {
        let scaled = self.times_u16_max() >> FRACTION_BITS;
        u16::try_from(scaled.max(0)).unwrap_or(u16::MAX)
    }

    /// The nearest whole number, halves up, at least zero and at most 65,535.
    fn round_to_u16(self) -> u16 {
        let rounded = (i128::from(self.0) + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        u16::try_from(rounded.max(0)).unwrap_or(u16::MAX)
    }

    /// `floor(x * rao)`.
    pub(crate) fn of_rao(self, rao: u64) -> u64 {
        let ratio = u128::from(self.0.max(0).unsigned_abs());
        u64::try_from((ratio * u128::from(rao)) >> FRACTION_BITS).unwrap_or(u64::MAX)
    }

    fn times_u16_max(self) -> i64 {
        self.0.saturating_mul(U16_MAX)
    }
}

fn saturate(wide: i128) -> Fixed {
    let clamped = wide.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Fixed(i64::try_from(clamped).unwrap_or_default())
}

/// Saturating sum.
pub(crate) fn sum<'a>(values: impl IntoIterator<Item = &'a Fixed>) -> Fixed {
    values.into_iter().fold(Fixed::ZERO, |sum, value| sum.plus(*value))
}

/// Divides every value by `total`; leaves all as they are when it is zero.
pub(crate) fn divide_all(values: &mut [Fixed], total: Fixed) {
    if total != Fixed::ZERO {
        values.iter_mut().for_each(|value| *value = value.div(total));
    }
}

/// Makes the values sum to one (up to rounding down); leaves a zero sum as it is.
pub(crate) fn normalize(values: &mut [Fixed]) {
    let total = sum(&*values);
    divide_all(values, total);
}

/// Scales so that the largest becomes 65,535, rounding halves up; all zeros stay zeros.
///
/// Above 32,768 the chain multiplies by the quotient instead of dividing the product, which
/// would not fit: so does this.
pub(crate) fn max_upscale_to_u16(values: &[Fixed]) -> Vec<u16> {
    let largest = values.iter().copied().max().unwrap_or_default();
    let u16_max = Fixed::whole(u16::MAX);
    let upscale = |value: &Fixed| {
        if largest > Fixed::whole(32_768) {
            value.times(u16_max.div(largest)).round_to_u16()
        } else {
            Fixed(value.times_u16_max()).div(largest).round_to_u16()
        }
    };
    if largest <= Fixed::ZERO {
        return vec![0; values.len()];
    }
    values.iter().map(upscale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_and_wide_paths_agree_and_division_by_zero_is_zero() {
        let small = [0, 1, 2, 3, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1];
        let large = [3 << 32, 77 << 32, 65_535 << 32, i64::MAX, i64::MIN, -1, -(3 << 32)];
        let samples = small.into_iter().chain(large).collect::<Vec<i64>>();
        for &a in &samples {
            for &b in &samples {
                let (wide_a, wide_b) = (i128::from(a), i128::from(b));
                let quotient = (wide_a << FRACTION_BITS).checked_div(wide_b).unwrap_or_default();
                assert_eq!(Fixed(a).div(Fixed(b)), saturate(quotient), "{a} / {b}");
                let product = (wide_a * wide_b) >> FRACTION_BITS;
                assert_eq!(Fixed(a).times(Fixed(b)), saturate(product), "{a} * {b}");
            }
        }
    }

    #[test]
    fn products_round_down_and_quotients_toward_zero() {
        assert_eq!(Fixed(-1).times(Fixed(1)), Fixed(-1));
        assert_eq!(Fixed(-1).div(Fixed::whole(2)), Fixed(0));
        assert_eq!(Fixed::proportion(32_767).bits(), 2_147_450_879);
    }

    #[test]
    fn upscaling_keeps_ratios_and_rounds_halves_up() {
        let whole = |values: &[u16]| values.iter().map(|v| Fixed::whole(*v)).collect::<Vec<_>>();
        assert_eq!(max_upscale_to_u16(&whole(&[1, 2, 4])), [16_384, 32_768, 65_535]);
        assert_eq!(max_upscale_to_u16(&whole(&[65_535, 655])), [65_535, 655]);
        assert_eq!(max_upscale_to_u16(&whole(&[0, 0])), [0, 0]);
        assert_eq!(max_upscale_to_u16(&[]), Vec::<u16>::new());
    }
}
