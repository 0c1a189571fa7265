//! Bonds: what a validator's past agreement with consensus earns it, in two generations of rules.

use super::{
    fixed::{self, Fixed},
    input::{Era, Input, LiquidAlpha},
    rows::{self, Row},
};

/// Dividends and the bonds to store.
pub(crate) struct Bonds {
    /// Share of each validator, sum one (or zero).
    pub(crate) dividends: Vec<Fixed>,
    /// Moving average of the bonds, in the scale of the generation.
    pub(crate) stored: Vec<Row>,
}

/// What the bonds of this epoch grow from.
pub(crate) struct Votes<'a> {
    pub(crate) active_stake: &'a [Fixed],
    pub(crate) weights: &'a [Row],
    pub(crate) clipped: &'a [Row],
    pub(crate) consensus: &'a [Fixed],
    pub(crate) incentive: &'a [Fixed],
}

/// Bonds and dividends under Yuma3 or Yuma2, as the subnet has it.
pub(crate) fn bonds(input: &Input, votes: &Votes<'_>) -> Bonds {
    let earning = earning_weights(input, votes);
    let old = live_bonds(input);
    if input.yuma3 { yuma3(input, votes, &earning, old) } else { yuma2(input, votes, earning, old) }
}

/// Bonds as a purse per miner: columns sum to one and stake enters as they grow.
fn yuma2(input: &Input, votes: &Votes<'_>, earning: Vec<Row>, mut old: Vec<Row>) -> Bonds {
    rows::normalize_columns(&mut old);
    let mut grown = earning;
    rows::update(&mut grown, |i, _, weight| weight.times(votes.active_stake[i]));
    rows::normalize_columns(&mut grown);
    let mut stored = moving_average(&grown, &old, alpha(input));
    rows::normalize_columns(&mut stored);
    let mut dividends = rows::by_row(&stored, votes.incentive);
    fixed::normalize(&mut dividends);
    rows::upscale_columns(&mut stored);
    Bonds { dividends, stored }
}

/// Bonds as a fraction per pair, independent of stake, which enters when dividends are paid.
fn yuma3(input: &Input, votes: &Votes<'_>, earning: &[Row], mut old: Vec<Row>) -> Bonds {
    let u16_max = Fixed::whole(u16::MAX);
    rows::update(&mut old, |_, _, bond| bond.div(u16_max));
    let is_liquid = votes.consensus.iter().any(|value| *value != Fixed::ZERO);
    let stored = match input.liquid_alpha.filter(|_| is_liquid) {
        Some(liquid) => liquid_average(earning, &old, votes.consensus, Sigmoid::new(liquid)),
        None => moving_average(earning, &old, alpha(input)),
    };
    let mut shares = stored.clone();
    rows::normalize_columns(&mut shares);
    let mut dividends = rows::by_row(&shares, votes.incentive);
    for (dividend, stake) in dividends.iter_mut().zip(votes.active_stake) {
        *dividend = dividend.times(*stake);
    }
    fixed::normalize(&mut dividends);
    Bonds { dividends, stored }
}

/// Weights that make bonds: clipped ones, or between those and the raw ones by `bonds_penalty`.
fn earning_weights(input: &Input, votes: &Votes<'_>) -> Vec<Row> {
    match input.bonds_penalty {
        0 => votes.weights.to_vec(),
        u16::MAX => votes.clipped.to_vec(),
        penalty => {
            let penalty = Fixed::proportion(penalty);
            let n = input.n;
            let between = |(raw, clipped): (&Row, &Row)| {
                let pairs = rows::dense(raw, n).into_iter().zip(rows::dense(clipped, n));
                rows::sparse(pairs.map(|(w, c)| w.plus(penalty.times(c.minus(w)))))
            };
            votes.weights.iter().zip(votes.clipped).map(between).collect()
        }
    }
}

/// Stored bonds without those of slots that changed hands.
fn live_bonds(input: &Input) -> Vec<Row> {
    let mut bonds = rows::whole(&input.bonds_before_u16);
    let last_epoch = match input.last_epoch {
        0 => input.block.saturating_sub(u64::from(input.tempo)),
        block => block.saturating_add(1),
    };
    rows::retain(&mut bonds, |i, j| {
        let since = match input.era() {
            Era::Y2024 => input.last_update[i],
            Era::Latest => last_epoch,
        };
        since > input.block_at_registration[j]
    });
    bonds
}

/// Share of the new in the moving average: one minus `bonds_moving_average`.
fn alpha(input: &Input) -> Fixed {
    Fixed::ONE.minus(Fixed::ratio(input.bonds_moving_average, 1_000_000))
}

/// `alpha * new + (1 - alpha) * old`, each product rounded down; zeros are dropped.
fn moving_average(new: &[Row], old: &[Row], alpha: Fixed) -> Vec<Row> {
    let rest = Fixed::ONE.minus(alpha);
    let n = new.len();
    let average = |(new, old): (&Row, &Row)| {
        let mut sum = vec![Fixed::ZERO; n];
        for (factor, row) in [(alpha, new), (rest, old)] {
            for (j, value) in row {
                let cell = &mut sum[usize::from(*j)];
                *cell = cell.plus(factor.times(*value));
            }
        }
        rows::sparse(sum)
    };
    new.iter().zip(old).map(average).collect()
}

/// The moving average with a rate of its own for every cell that has a weight.
fn liquid_average(new: &[Row], old: &[Row], consensus: &[Fixed], sigmoid: Sigmoid) -> Vec<Row> {
    let n = new.len();
    let average = |(new, old): (&Row, &Row)| {
        let old = rows::dense(old, n);
        let cell = |(j, weight): &(u16, Fixed)| {
            let column = usize::from(*j);
            let bond = old[column];
            let alpha = sigmoid.alpha(consensus[column], *weight, bond);
            let kept = Fixed::ONE.minus(alpha).times(bond);
            let value = kept.plus(alpha.times(*weight).max(Fixed::ZERO)).min(Fixed::ONE);
            (value > Fixed::ZERO).then_some((*j, value))
        };
        new.iter().filter_map(cell).collect()
    };
    new.iter().zip(old).map(average).collect()
}

/// The rate of liquid alpha, between its bounds.
#[derive(Clone, Copy)]
struct Sigmoid {
    low: Fixed,
    high: Fixed,
    /// Minus the slope.
    fall: Fixed,
}

impl Sigmoid {
    fn new(liquid: LiquidAlpha) -> Self {
        let steepness = Fixed::from_bits(i64::from(liquid.steepness) << 32);
        Self {
            low: Fixed::proportion(liquid.low),
            high: Fixed::proportion(liquid.high),
            fall: steepness.div(Fixed::from_bits(-100 << 32)),
        }
    }

    /// High where a validator buys against consensus or sells what it no longer weighs.
    fn alpha(self, consensus: Fixed, weight: Fixed, bond: Fixed) -> Fixed {
        let moved = if weight >= bond { weight.minus(consensus) } else { bond.minus(weight) };
        let moved = moved.clamp(Fixed::ZERO, Fixed::ONE);
        let half = Fixed::from_bits(1 << 31);
        let power = exp(self.fall.times(moved.minus(half)));
        let sigmoid = Fixed::ONE.div(Fixed::ONE.plus(power));
        let alpha = self.low.plus(sigmoid.times(self.high.minus(self.low)));
        alpha.clamp(self.low, self.high)
    }
}

/// `e^x` for x cut to ±20, by the power series that the chain's fixed-point library sums.
///
/// Thirty-one terms in I32F32, each product rounded down; for negative x the reciprocal. Within
/// 1e-6 of the true value for |x| up to 5, the range that the default steepness can reach.
fn exp(x: Fixed) -> Fixed {
    /// e cut to the 23 fraction bits in which the library stores it.
    const E: Fixed = Fixed::from_bits(22_802_600 << 9);
    let limit = Fixed::whole(20);
    let x = x.clamp(Fixed::ZERO.minus(limit), limit);
    if x == Fixed::ONE {
        return E;
    }
    let size = x.max(Fixed::ZERO.minus(x));
    let mut power = Fixed::ONE.plus(size);
    let mut term = size;
    for i in 2..32 {
        term = term.times(size).div(Fixed::whole(i));
        power = power.plus(term);
    }
    if x < Fixed::ZERO { Fixed::ONE.div(power) } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_a_millionth_where_it_is_used() {
        for hundredths in -500..=500_i64 {
            let x = Fixed::from_bits((hundredths << 32) / 100);
            let exact = (x.bits() as f64 / 4_294_967_296.0).exp();
            let ours = exp(x).bits() as f64 / 4_294_967_296.0;
            assert!((ours - exact).abs() <= 1e-6 * exact.max(1.0), "{hundredths}: {ours} {exact}");
        }
    }
}
