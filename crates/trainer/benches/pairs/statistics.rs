//! What is said of the gains of a pair. All sums are in the order of the numbers.

/// The first four moments of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// Standard deviation, with n - 1 below.
    pub(crate) spread: f64,
    /// Third central moment over the deviation's cube; zero where left and right are alike.
    pub(crate) skew: f64,
    /// Fourth central moment over the variance's square, less the 3 of normal numbers.
    pub(crate) excess_kurtosis: f64,
}

impl Moments {
    /// Of two numbers or more; skew and kurtosis are NaN where all are equal.
    pub(crate) fn of(numbers: &[f64]) -> Self {
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let sum = |power| numbers.iter().map(|number| (number - mean).powi(power)).sum::<f64>();
        let (squares, cubes, fourths) = (sum(2), sum(3), sum(4));
        let variance = squares / n;
        Self {
            mean,
            spread: (squares / (n - 1.0)).sqrt(),
            skew: cubes / n / (variance * variance.sqrt()),
            excess_kurtosis: fourths / n / (variance * variance) - 3.0,
        }
    }
}

/// Pearson's correlation of as many numbers as others.
pub(crate) fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let centred = |numbers: &[f64]| -> Vec<f64> {
        let mean = mean(numbers);
        numbers.iter().map(|number| number - mean).collect()
    };
    let (left, right) = (centred(left), centred(right));
    let product =
        |left: &[f64], right: &[f64]| -> f64 { left.iter().zip(right).map(|(x, y)| x * y).sum() };
    product(&left, &right) / (product(&left, &left) * product(&right, &right)).sqrt()
}

/// The intraclass correlation of groups, ICC(1): which part of the variance is that between groups.
///
/// By the one-way analysis of variance for groups of different sizes. NaN with fewer than two
/// groups, or where no group has two numbers.
pub(crate) fn within_groups(groups: &[&[f64]]) -> f64 {
    let n_groups = groups.len() as f64;
    let size = |group: &&[f64]| group.len() as f64;
    let mean = |group: &&[f64]| group.iter().sum::<f64>() / group.len() as f64;
    let n: f64 = groups.iter().map(size).sum();
    let mean_of_all = groups.iter().flat_map(|group| group.iter()).sum::<f64>() / n;
    let between = groups.iter().map(|group| size(group) * (mean(group) - mean_of_all).powi(2));
    let between = between.sum::<f64>() / (n_groups - 1.0);
    let within = groups.iter().map(|group| {
        let mean = mean(group);
        group.iter().map(|number| (number - mean).powi(2)).sum::<f64>()
    });
    let within = within.sum::<f64>() / (n - n_groups);
    let squares: f64 = groups.iter().map(|group| size(group) * size(group)).sum();
    let mean_size = (n - squares / n) / (n_groups - 1.0);
    (between - within) / (between + (mean_size - 1.0) * within)
}
