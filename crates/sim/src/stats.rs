//! Means over seeds, with how far they can be trusted.

/// Quantiles of Student's t for 95 % on both sides, by degrees of freedom from 1.
const T_95: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// A mean with half the width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Mean over seeds.
    pub mean: f64,
    /// Half of the width of the interval; zero of one seed, which tells nothing of it.
    pub half_width: f64,
    /// Seeds.
    pub n: usize,
}

impl Interval {
    /// The mean of independent numbers, one of each seed.
    pub fn of(numbers: &[f64]) -> Self {
        let n = numbers.len();
        if n == 0 {
            return Self { mean: 0.0, half_width: 0.0, n };
        }
        let mean = numbers.iter().sum::<f64>() / n as f64;
        if n == 1 {
            return Self { mean, half_width: 0.0, n };
        }
        let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
        let deviation = (squares / (n - 1) as f64).sqrt();
        let half_width = quantile(n - 1) * deviation / (n as f64).sqrt();
        Self { mean, half_width, n }
    }

    /// Whether the whole interval is above a number.
    pub fn is_above(&self, bound: f64) -> bool {
        self.mean - self.half_width > bound
    }
}

/// The quantile for so many degrees of freedom; beyond the table within 1 % of it.
fn quantile(n: usize) -> f64 {
    let listed = n.checked_sub(1).and_then(|place| T_95.get(place));
    listed.copied().unwrap_or(1.96 + 2.7 / n as f64)
}

#[cfg(test)]
mod tests;
