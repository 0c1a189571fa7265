//! Figures that are shown: means with their errors, and numbers as people read them.

use chain::ledger::RAO_PER_TAO;
use protocol::{Loss, math};
use std::f64::consts::{LN_2, LN_10};

/// Standard errors on either side of a mean that 95 % of means lie within.
const Z: f64 = 1.96;

/// A mean over documents or batches, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 of fewer than two values, which tell none.
    pub error: f64,
    /// Of how many values.
    pub n: usize,
}

impl Estimate {
    /// Of values in order; `None` without any, and where one is not finite or they are too large
    /// for a sum of their squares.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let error = if n < 2 { 0.0 } else { (squares / (n as f64 - 1.0) / n as f64).sqrt() };
        (mean.is_finite() && error.is_finite()).then_some(Self { mean, error, n })
    }

    /// Of losses; `None` where [`Estimate::of`] has none.
    pub fn of_losses(losses: &[Loss]) -> Option<Self> {
        Self::of(&values(losses))
    }

    /// Of how much the second losses are lower than the first on the same documents, as far as both
    /// were measured.
    pub fn of_gains(first: &[Loss], second: &[Loss]) -> Option<Self> {
        let gain = |(first, second): (&Loss, &Loss)| first.value() - second.value();
        Self::of(&first.iter().zip(second).map(gain).collect::<Vec<_>>())
    }

    /// Lower and upper bound of the 95 % interval of the mean.
    pub fn interval(&self) -> (f64, f64) {
        (self.mean - Z * self.error, self.mean + Z * self.error)
    }
}

/// The numbers of losses.
pub fn values(losses: &[Loss]) -> Vec<f64> {
    losses.iter().map(|loss| loss.value()).collect()
}

/// Perplexity of a cross-entropy in nats.
pub fn perplexity(nats: f64) -> f64 {
    math::exp(nats)
}

/// Bits of a number of nats.
pub fn bits(nats: f64) -> f64 {
    nats / LN_2
}

/// Bits per byte of text of a number of nats per token, by what one of them comes to.
pub fn bits_per_byte(nats: Option<f64>, of_nat: Option<f64>) -> Option<f64> {
    nats.zip(of_nat).map(|(nats, of_nat)| nats * of_nat).filter(|bits| bits.is_finite())
}

/// Decimal logarithm of what is positive; of the smallest number that counts otherwise.
pub fn log10(value: f64) -> f64 {
    math::ln(value.max(1e-300)) / LN_10
}

/// Evidence by its decimal logarithm, as odds of two digits.
pub fn odds(log10: f64) -> String {
    const MOST: f64 = 15.0;
    if log10.is_nan() || log10 >= MOST {
        return "10^15 to 1 and more".to_owned();
    }
    let value = math::exp(LN_10 * log10);
    if value < 10.0 {
        return format!("{} to 1", fixed(value, 1));
    }
    // Both are small enough for their integers.
    let unit = 10_u64.pow((log10 as u32).saturating_sub(1));
    let digits = (value / unit as f64).round() as u64;
    format!("{} to 1", grouped(digits * unit))
}

/// A number with so many decimals, or a dash.
pub fn decimals(value: Option<f64>, n: usize) -> String {
    value.filter(|value| value.is_finite()).map_or("–".to_owned(), |value| fixed(value, n))
}

/// A number with so many decimals; what rounds to nothing has no sign.
pub fn fixed(value: f64, n: usize) -> String {
    let text = format!("{value:.n$}");
    let is_nothing = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    text.strip_prefix('-').filter(|_| is_nothing).map_or_else(|| text.clone(), str::to_owned)
}

/// What is lower by a gain, or higher by a loss, in nats per token with its 95 % interval: as many
/// decimals as the interval is worth, 4 at least.
pub fn lower_by(gain: &Estimate) -> String {
    let (low, high) = gain.interval();
    let half = (high - low) / 2.0;
    let is_enough = |n: &usize| half >= 10.0 * math::exp(-LN_10 * *n as f64);
    // Without an interval nobody knows what it is worth.
    let n = (4..8).find(is_enough).unwrap_or(if half > 0.0 { 8 } else { 4 });
    let of = |value: f64| fixed(value, n);
    if gain.mean < 0.0 {
        let (mean, low, high) = (of(-gain.mean), of(-high), of(-low));
        return format!("higher by {mean} nats per token ({low} to {high})");
    }
    format!("lower by {} nats per token ({} to {})", of(gain.mean), of(low), of(high))
}

/// A share as per cent.
pub fn percent(share: f64) -> String {
    format!("{} %", decimals(Some(100.0 * share), 2))
}

/// A mean with half of its 95 % interval.
pub fn with_interval(mean: Option<f64>, error: Option<f64>) -> String {
    match (mean, error) {
        (Some(mean), Some(error)) if error > 0.0 => {
            format!("{} ± {}", fixed(mean, 4), fixed(Z * error, 4))
        }
        _ => decimals(mean, 4),
    }
}

/// A share as the chain has it, in parts of 65,535.
pub fn of_65535(parts: u16) -> f64 {
    f64::from(parts) / 65_535.0
}

/// Rao as TAO.
pub fn tao(rao: u64) -> String {
    format!("{}.{:03}", grouped(rao / RAO_PER_TAO), rao % RAO_PER_TAO / 1_000_000)
}

/// A whole number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// About so long, in the largest unit of which there is one.
pub fn lasting(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fitting = units.into_iter().find(|(size, _)| seconds >= *size);
    let (size, unit) = fitting.unwrap_or((1, "s"));
    format!("{} {unit}", grouped(seconds / size))
}

/// So many of something: `1 round`, `2,000 rounds`.
pub fn plural(number: u64, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {what}{end}", grouped(number))
}

/// The beginning and the end of a long name.
pub fn short(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= 14 {
        return name.to_owned();
    }
    let (begin, end) = (&letters[..6], &letters[letters.len() - 4..]);
    format!("{}…{}", begin.iter().collect::<String>(), end.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_the_error_of_its_values() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((estimate.mean, estimate.n), (2.0, 3));
        assert!((estimate.error - (1.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[1.0, f64::INFINITY]), None);
        assert_eq!(Estimate::of(&[4.0]).unwrap().error, 0.0);
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(decimals(Some(1.23456), 2), "1.23");
        assert_eq!(decimals(None, 2), "–");
        assert_eq!([tao(1_234_567_890), tao(u64::MAX)], ["1.234", "18,446,744,073.709"]);
        assert_eq!(
            [fixed(-0.000_04, 4), fixed(-0.1, 1), fixed(-10.0, 0)],
            ["0.0000", "-0.1", "-10"]
        );
        assert_eq!([0, 999, 1_000, 2_000_000].map(grouped), ["0", "999", "1,000", "2,000,000"]);
        assert_eq!([59, 3_599, 7_200, 864_000].map(lasting), ["59 s", "59 min", "2 h", "10 d"]);
        assert_eq!(
            [1, 0, 2_000].map(|n| plural(n, "round")),
            ["1 round", "0 rounds", "2,000 rounds"]
        );
        assert_eq!(short("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"), "5Grwva…utQY");
        assert_eq!(with_interval(Some(2.0), Some(0.1)), "2.0000 ± 0.1960");
    }

    #[test]
    fn evidence_is_told_as_odds() {
        let told = [8.732, 3.301_03, 4.0, 0.0, -2.0, 15.5].map(odds);
        let most = "10^15 to 1 and more";
        assert_eq!(told[..3], ["540,000,000 to 1", "2,000 to 1", "10,000 to 1"]);
        assert_eq!(told[3..], ["1.0 to 1", "0.0 to 1", most]);
    }

    #[test]
    fn a_gain_that_is_none_is_said_to_be_higher_with_the_decimals_that_it_is_worth() {
        let gain = |mean, error| lower_by(&Estimate { mean, error, n: 9 });
        assert_eq!(gain(0.5, 0.1), "lower by 0.5000 nats per token (0.3040 to 0.6960)");
        let higher = "higher by 0.000041 nats per token (0.000021 to 0.000061)";
        assert_eq!(gain(-0.000_041, 0.000_01), higher);
        assert_eq!(gain(0.0, 0.0), "lower by 0.0000 nats per token (0.0000 to 0.0000)");
    }
}
