//! Consensus: the stake-weighted median of what validators say about each miner.

use super::{
    fixed::{self, Fixed},
    rows::Row,
};

/// For each column the largest weight that at least `kappa` of the stake gives or exceeds.
///
/// A validator that does not mention a column weighs it zero. Rows without active stake have no
/// say. The chain searches with a pivot from the middle; a median does not depend on how it is
/// found, so this sorts.
pub(crate) fn consensus(active_stake: &[Fixed], weights: &[Row], kappa: Fixed) -> Vec<Fixed> {
    // Renormalised over those with a say, as the chain does: the rounding matters.
    let mut stake: Vec<Fixed> = active_stake.to_vec();
    fixed::normalize(&mut stake);
    let total = fixed::sum(&stake);
    let minority = total.minus(kappa);
    let has_say = |(_, stake): &(&Row, &Fixed)| **stake > Fixed::ZERO;
    let mut columns: Vec<Vec<(Fixed, Fixed)>> = vec![Vec::new(); weights.len()];
    for (row, stake) in weights.iter().zip(&stake).filter(has_say) {
        for (j, value) in row {
            columns[usize::from(*j)].push((*value, *stake));
        }
    }
    columns.iter_mut().map(|column| weighted_median(column, total, minority)).collect()
}

/// The first value, in ascending order, up to which more than `minority` of the stake has spoken.
///
/// `scores` are (value, stake); what is missing to `total` stands at zero.
fn weighted_median(scores: &mut [(Fixed, Fixed)], total: Fixed, minority: Fixed) -> Fixed {
    scores.sort_unstable_by_key(|(value, _)| *value);
    let silent = total.minus(fixed::sum(scores.iter().map(|(_, stake)| stake)));
    let mut passed = silent;
    if silent > Fixed::ZERO && (passed > minority || scores.is_empty()) {
        return Fixed::ZERO;
    }
    for (value, stake) in &*scores {
        passed = passed.plus(*stake);
        if passed > minority {
            return *value;
        }
    }
    // Only reached with a kappa of zero: nobody is needed, the highest opinion counts.
    scores.last().map_or(Fixed::ZERO, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(hundredths: i64) -> Fixed {
        Fixed::from_bits((hundredths << 32) / 100)
    }

    fn medians(stake: &[i64], scores: &[&[i64]], majority: i64) -> Vec<i64> {
        let n = scores.len().max(scores[0].len());
        let row = |row: &&[i64]| (0..).zip(row.iter().map(|v| fixed(*v))).collect::<Row>();
        let mut weights: Vec<Row> = scores.iter().map(row).collect();
        weights.resize(n, Row::new());
        let mut stake: Vec<Fixed> = stake.iter().map(|v| fixed(*v)).collect();
        stake.resize(n, Fixed::ZERO);
        let consensus = consensus(&stake, &weights, fixed(majority));
        let hundredths = |v: &Fixed| (v.bits() * 100 + (1 << 31)) >> 32;
        consensus[..scores[0].len()].iter().map(hundredths).collect()
    }

    #[test]
    fn medians_of_the_chains_own_tests() {
        let scores: [&[i64]; 4] = [&[0, 10, 0], &[0, 20, 40], &[0, 30, 10], &[0, 40, 50]];
        for (majority, expected) in [(24, [0, 30, 40]), (26, [0, 20, 40]), (76, [0, 20, 10])] {
            assert_eq!(medians(&[0, 75, 25, 0], &scores, majority), expected, "{majority}");
        }
        assert_eq!(medians(&[49, 51], &[&[50], &[100]], 51), [100]);
        assert_eq!(medians(&[51, 49], &[&[50], &[100]], 51), [50]);
        assert_eq!(medians(&[49, 1, 50], &[&[50], &[70], &[100]], 51), [70]);
    }
}
