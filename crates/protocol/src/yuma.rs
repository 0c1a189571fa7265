//! Yuma Consensus: from the weights of all validators to incentive, dividends and emission.
//!
//! One epoch, computed as the chain computes it: integers only, in I32F32, every product and
//! quotient rounded down, so the results agree with the chain to the last bit.
//! Section 2.3.4 of the paper relies on it: validators who stray from the consensus lose, so that
//! an honest majority of stake decides who earns.

mod bonds;
mod fixed;
mod input;
mod median;
mod output;
mod rows;

#[cfg(test)]
mod tests;

pub use input::{EMISSION_RAO_PER_BLOCK, Era, Error, Input, LiquidAlpha, MAX_NEURONS};
pub use output::Output;

use bonds::Votes;
use fixed::Fixed;
use rows::Row;

/// Runs one epoch.
///
/// Permits of `input` mask the weights; the new ones, in the output, count from the next epoch on.
pub fn epoch(input: &Input) -> Result<Output, Error> {
    input.check()?;
    let stake = stake(input);
    let permits = top_stakes(input, &stake);
    let active: Vec<bool> = input
        .last_update
        .iter()
        .map(|updated| updated.saturating_add(input.activity_cutoff) >= input.block)
        .collect();
    let active_stake = active_stake(input, &stake, &active);
    let weights = weights(input);

    let consensus = median::consensus(&active_stake, &weights, Fixed::proportion(input.kappa));
    let clipped = rows::clip(&weights, &consensus);
    let raw_ranks = rows::by_column(&weights, &active_stake);
    let ranks = rows::by_column(&clipped, &active_stake);
    let trust: Vec<Fixed> = ranks.iter().zip(&raw_ranks).map(|(r, raw)| r.div(*raw)).collect();
    let mut incentive = ranks;
    fixed::normalize(&mut incentive);

    let votes = Votes {
        active_stake: &active_stake,
        weights: &weights,
        clipped: &clipped,
        consensus: &consensus,
        incentive: &incentive,
    };
    let bonds = bonds::bonds(input, &votes);
    let shares = Shares::new(&incentive, &bonds.dividends, &active_stake, &stake);
    Ok(Output {
        incentive: to_u16(&incentive),
        dividends: to_u16(&bonds.dividends),
        consensus: to_u16(&consensus),
        trust: to_u16(&trust),
        rank: to_u16(&incentive),
        validator_trust: to_u16(&rows::sums(&clipped)),
        emission: to_rao(&shares.combined, input.emission_rao()),
        pruning_scores: fixed::max_upscale_to_u16(&shares.combined),
        bonds: stored_bonds(input, &permits, &bonds.stored),
        server_emission: to_rao(&shares.server, input.emission_rao()),
        validator_emission: to_rao(&shares.validator, input.emission_rao()),
        stake_weight: to_u16(&stake),
        validator_permit: permits,
        active,
    })
}

/// The weights that `set_weights` stores: the largest becomes 65,535, halves round up.
pub fn max_upscale(weights: &[u16]) -> Vec<u16> {
    let whole: Vec<Fixed> = weights.iter().map(|weight| Fixed::whole(*weight)).collect();
    fixed::max_upscale_to_u16(&whole)
}

/// Whether no weight is more than `limit / 65535` of their sum, as `set_weights` tests it.
pub fn is_max_limited(weights: &[u16], limit: u16) -> bool {
    let mut shares: Vec<Fixed> = weights.iter().map(|weight| Fixed::whole(*weight)).collect();
    fixed::normalize(&mut shares);
    shares.iter().all(|share| *share <= Fixed::proportion(limit))
}

/// Stake of every slot as a share of all; below the threshold it is none.
fn stake(input: &Input) -> Vec<Fixed> {
    let counts = |(uid, rao): (usize, &u64)| {
        let is_owner = input.owner_uid.is_some_and(|owner| usize::from(owner) == uid);
        if *rao >= input.stake_threshold_rao || is_owner { *rao } else { 0 }
    };
    let rao: Vec<u64> = input.stake_rao.iter().enumerate().map(counts).collect();
    let total = rao.iter().sum();
    rao.iter().map(|rao| Fixed::ratio(*rao, total)).collect()
}

/// Who holds a permit from now on: the largest stakes; among equals the higher uid.
fn top_stakes(input: &Input, stake: &[Fixed]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..input.n).collect();
    order.sort_by_key(|uid| stake[*uid]);
    let n_without = input.n.saturating_sub(usize::from(input.max_allowed_validators));
    let needs_stake = input.era() == Era::Latest;
    let mut permits = vec![false; input.n];
    for uid in &order[n_without..] {
        permits[*uid] = !needs_stake || stake[*uid] > Fixed::ZERO;
    }
    if let Some(owner) = input.owner_uid {
        permits[usize::from(owner)] = true;
    }
    permits
}

/// Stake of those who have a permit and set weights recently, renormalised.
fn active_stake(input: &Input, stake: &[Fixed], active: &[bool]) -> Vec<Fixed> {
    let has_say = |uid: usize| active[uid] && input.validator_permit_before[uid];
    let mut stake: Vec<Fixed> = stake
        .iter()
        .enumerate()
        .map(|(uid, share)| if has_say(uid) { *share } else { Fixed::ZERO })
        .collect();
    fixed::normalize(&mut stake);
    stake
}

/// Weights that count, each row summing to one: from permitted validators, not for themselves,
/// and not older than the slot they are for.
fn weights(input: &Input) -> Vec<Row> {
    let mut weights = rows::whole(&input.weights_u16);
    let owner = input.owner_uid.map(usize::from);
    rows::retain(&mut weights, |i, j| {
        let registered = input.block_at_registration[j];
        let commit = input.commit_blocks.as_ref().and_then(|blocks| blocks[i]);
        input.validator_permit_before[i]
            && (i != j || owner == Some(i))
            && input.last_update[i] > registered
            && commit.is_none_or(|block| block >= registered)
    });
    rows::normalize_rows(&mut weights);
    weights
}

/// How the emission divides, as shares of one.
struct Shares {
    server: Vec<Fixed>,
    validator: Vec<Fixed>,
    combined: Vec<Fixed>,
}

impl Shares {
    /// Half to miners by incentive, half to validators by dividends; when nobody earned anything,
    /// all to stake: the active one, or every one if none is active.
    fn new(
        incentive: &[Fixed],
        dividends: &[Fixed],
        active_stake: &[Fixed],
        stake: &[Fixed],
    ) -> Self {
        let mut server = incentive.to_vec();
        let mut validator = dividends.to_vec();
        let mut combined: Vec<Fixed> =
            incentive.iter().zip(dividends).map(|(i, d)| i.plus(*d)).collect();
        let total = fixed::sum(&combined);
        for shares in [&mut server, &mut validator, &mut combined] {
            fixed::divide_all(shares, total);
        }
        if total == Fixed::ZERO {
            let is_anyone_active = fixed::sum(active_stake) != Fixed::ZERO;
            let fallback = if is_anyone_active { active_stake } else { stake };
            validator = fallback.to_vec();
            combined = fallback.to_vec();
        }
        Self { server, validator, combined }
    }
}

/// New bonds for holders of a permit, none for those who just lost it, the old ones otherwise.
fn stored_bonds(input: &Input, permits: &[bool], bonds: &[Row]) -> Vec<Vec<(u16, u16)>> {
    let row = |uid: usize| {
        if permits[uid] {
            bonds[uid].iter().map(|(j, bond)| (*j, bond.to_u16())).collect()
        } else if input.validator_permit_before[uid] {
            Vec::new()
        } else {
            input.bonds_before_u16[uid].clone()
        }
    };
    (0..input.n).map(row).collect()
}

fn to_u16(values: &[Fixed]) -> Vec<u16> {
    values.iter().map(|value| value.to_u16()).collect()
}

fn to_rao(shares: &[Fixed], emission_rao: u64) -> Vec<u64> {
    shares.iter().map(|share| share.of_rao(emission_rao)).collect()
}
