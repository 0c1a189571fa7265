//! A second Yuma, written from the formulas in another style: dense matrices, plain integers over
//! 2^32, columns before rows, the median by its definition. Slow, and equal to the bit.

use crate::yuma::{Era, Input, Output};

const ONE: i128 = 1 << 32;

fn mul(a: i128, b: i128) -> i128 {
    (a * b).div_euclid(ONE)
}

fn div(a: i128, b: i128) -> i128 {
    if b == 0 { 0 } else { a * ONE / b }
}

fn share(values: &[i128]) -> Vec<i128> {
    let sum: i128 = values.iter().sum();
    values.iter().map(|v| if sum == 0 { *v } else { div(*v, sum) }).collect()
}

type Matrix = Vec<Vec<i128>>;

fn matrix(n: usize, cell: impl Fn(usize, usize) -> i128) -> Matrix {
    (0..n).map(|i| (0..n).map(|j| cell(i, j)).collect()).collect()
}

fn from_cells(cells: &[Vec<(u16, u16)>]) -> Matrix {
    matrix(cells.len(), |i, j| {
        let cell = cells[i].iter().find(|(to, _)| usize::from(*to) == j);
        cell.map_or(0, |(_, value)| i128::from(*value) * ONE)
    })
}

fn columns_divided(m: &Matrix, by: impl Fn(&[i128]) -> i128) -> Matrix {
    let n = m.len();
    let totals: Vec<i128> =
        (0..n).map(|j| by(&m.iter().map(|row| row[j]).collect::<Vec<_>>())).collect();
    matrix(n, |i, j| if totals[j] == 0 { m[i][j] } else { div(m[i][j], totals[j]) })
}

fn column_shares(m: &Matrix) -> Matrix {
    columns_divided(m, |column| column.iter().sum())
}

fn to_u16(value: i128) -> u16 {
    u16::try_from((value * 65_535 / ONE).clamp(0, 65_535)).unwrap()
}

fn all_u16(values: &[i128]) -> Vec<u16> {
    values.iter().map(|v| to_u16(*v)).collect()
}

/// The largest opinion that at least `kappa` of the stake reaches; with nobody's consent needed,
/// the largest at all, and if even everybody is too few, the smallest.
fn median(stake: &[i128], column: &[i128], kappa: i128) -> i128 {
    let voters: Vec<(i128, i128)> =
        stake.iter().copied().zip(column.iter().copied()).filter(|(s, _)| *s > 0).collect();
    let consents = |w: i128| voters.iter().filter(|(_, v)| *v >= w).map(|(s, _)| s).sum::<i128>();
    let opinions = || voters.iter().map(|(_, v)| *v);
    let carried = opinions().filter(|w| consents(*w) >= kappa).max();
    carried.or_else(|| opinions().min()).unwrap_or(0)
}

/// One epoch, without liquid alpha.
pub(super) fn epoch(input: &Input) -> Output {
    let n = input.n;
    let latest =
        input.era.unwrap_or(if input.yuma3 { Era::Latest } else { Era::Y2024 }) == Era::Latest;
    let permit = &input.validator_permit_before;
    let owner = input.owner_uid.map(usize::from);

    let counted: Vec<i128> = (0..n)
        .map(|i| {
            let counts = input.stake_rao[i] >= input.stake_threshold_rao || owner == Some(i);
            if counts { i128::from(input.stake_rao[i]) } else { 0 }
        })
        .collect();
    let stake = share(&counted);
    let active: Vec<bool> = (0..n)
        .map(|i| input.last_update[i].saturating_add(input.activity_cutoff) >= input.block)
        .collect();
    let heard: Vec<i128> =
        (0..n).map(|i| if active[i] && permit[i] { stake[i] } else { 0 }).collect();
    let say = share(&heard);

    let new_permit = permits(input, latest, &stake);

    let w = weights(input);
    let kappa = div(i128::from(input.kappa), 65_535);
    let voting = share(&say);
    let columns = matrix(n, |j, i| w[i][j]);
    let consensus: Vec<i128> = columns.iter().map(|c| median(&voting, c, kappa)).collect();
    let clipped = matrix(n, |i, j| w[i][j].min(consensus[j]));
    let weighed = |m: &Matrix| -> Vec<i128> {
        (0..n).map(|j| (0..n).map(|i| mul(say[i], m[i][j])).sum()).collect()
    };
    let (before, after) = (weighed(&w), weighed(&clipped));
    let incentive = share(&after);

    let (dividends, bonds) = bonds(input, latest, &say, (&w, &clipped), &incentive);
    let both: Vec<i128> = incentive.iter().zip(&dividends).map(|(i, d)| i + d).collect();
    let total: i128 = both.iter().sum();
    let of_total = |values: &[i128]| values.iter().map(|v| div(*v, total)).collect::<Vec<_>>();
    let (mut validator, mut combined) = (of_total(&dividends), of_total(&both));
    if total == 0 {
        let fallback = if say.iter().sum::<i128>() == 0 { &stake } else { &say };
        (validator, combined) = (fallback.clone(), fallback.clone());
    }
    let rao = |shares: &[i128]| -> Vec<u64> {
        let emission = i128::from(input.emission_rao());
        shares.iter().map(|s| u64::try_from(s * emission / ONE).unwrap()).collect()
    };
    let top = combined.iter().copied().max().unwrap_or(0);
    let pruning = |s: &i128| if top == 0 { 0 } else { (div(s * 65_535, top) + ONE / 2) / ONE };
    Output {
        incentive: all_u16(&incentive),
        dividends: all_u16(&dividends),
        consensus: all_u16(&consensus),
        trust: (0..n).map(|j| to_u16(div(after[j], before[j]))).collect(),
        rank: all_u16(&incentive),
        validator_trust: clipped.iter().map(|row| to_u16(row.iter().sum())).collect(),
        emission: rao(&combined),
        pruning_scores: combined.iter().map(|s| u16::try_from(pruning(s)).unwrap()).collect(),
        bonds: stored(input, &new_permit, &bonds),
        server_emission: rao(&of_total(&incentive)),
        validator_emission: rao(&validator),
        stake_weight: all_u16(&stake),
        validator_permit: new_permit,
        active,
    }
}

fn permits(input: &Input, latest: bool, stake: &[i128]) -> Vec<bool> {
    let has = |i: usize| {
        let better = (0..input.n).filter(|j| (stake[*j], *j) > (stake[i], i)).count();
        let within = better < usize::from(input.max_allowed_validators);
        (within && (!latest || stake[i] > 0)) || input.owner_uid == Some(i as u16)
    };
    (0..input.n).map(has).collect()
}

fn weights(input: &Input) -> Matrix {
    let raw = from_cells(&input.weights_u16);
    let counted = matrix(input.n, |i, j| {
        let born = input.block_at_registration[j];
        let late = input.commit_blocks.as_ref().and_then(|c| c[i]).is_some_and(|c| c < born);
        let own = i == j && input.owner_uid != Some(i as u16);
        let permit = input.validator_permit_before[i];
        if !permit || own || input.last_update[i] <= born || late { 0 } else { raw[i][j] }
    });
    counted.iter().map(|row| share(row)).collect()
}

fn stored(input: &Input, new_permit: &[bool], bonds: &Matrix) -> Vec<Vec<(u16, u16)>> {
    let cells = |row: &[i128]| {
        (0..).zip(row).filter(|(_, b)| **b > 0).map(|(j, b)| (j, to_u16(*b))).collect()
    };
    let row = |i: usize| match (new_permit[i], input.validator_permit_before[i]) {
        (true, _) => cells(&bonds[i]),
        (false, true) => Vec::new(),
        (false, false) => input.bonds_before_u16[i].clone(),
    };
    (0..input.n).map(row).collect()
}

/// Dividends, and bonds before they are stored.
fn bonds(
    input: &Input,
    latest: bool,
    say: &[i128],
    (w, clipped): (&Matrix, &Matrix),
    incentive: &[i128],
) -> (Vec<i128>, Matrix) {
    let n = input.n;
    let penalty = div(i128::from(input.bonds_penalty), 65_535);
    let earning = matrix(n, |i, j| w[i][j] + mul(penalty, clipped[i][j] - w[i][j]));
    let stored = from_cells(&input.bonds_before_u16);
    let since = match input.last_epoch {
        0 => input.block.saturating_sub(input.tempo.into()),
        last => last + 1,
    };
    let old = matrix(n, |i, j| {
        let known = if latest { since } else { input.last_update[i] };
        if known <= input.block_at_registration[j] { 0 } else { stored[i][j] }
    });
    let keep = div(i128::from(input.bonds_moving_average), 1_000_000);
    let mix = |new: &Matrix, old: &Matrix| {
        matrix(n, |i, j| mul(ONE - keep, new[i][j]) + mul(keep, old[i][j]))
    };
    let earned = |m: &Matrix| -> Vec<i128> {
        m.iter().map(|row| row.iter().zip(incentive).map(|(b, i)| mul(*b, *i)).sum()).collect()
    };
    if input.yuma3 {
        let old = matrix(n, |i, j| div(old[i][j], 65_535 * ONE));
        let new = mix(&earning, &old);
        let shares = earned(&column_shares(&new));
        let dividends: Vec<i128> = shares.iter().zip(say).map(|(d, s)| mul(*d, *s)).collect();
        (share(&dividends), new)
    } else {
        let grown = matrix(n, |i, j| mul(earning[i][j], say[i]));
        let new = column_shares(&mix(&column_shares(&grown), &column_shares(&old)));
        let largest = |column: &[i128]| column.iter().copied().max().unwrap_or(0);
        (share(&earned(&new)), columns_divided(&new, largest))
    }
}
