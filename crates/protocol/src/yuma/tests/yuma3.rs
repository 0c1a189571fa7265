//! Scenarios of Yuma3 from the chain's own tests, there with a tolerance of 1e-3;
//! here 1e-4, the precision of the numbers.

use super::{Network, bond};
use crate::yuma::LiquidAlpha;

/// Three validators 0 to 2 that each name the miners they weigh, epoch by epoch, and the dividends
/// that follow.
struct Scenario<'a> {
    stake: [u64; 3],
    /// Per epoch, the miners that A, B and C weigh (equally).
    targets: &'a [[&'a [u16]; 3]],
    dividends: &'a [[f64; 3]],
    /// Epoch (from 1), validator, miner, bond.
    bonds: &'a [(usize, usize, u16, f64)],
    liquid: bool,
}

fn ratio(value: u16) -> f64 {
    f64::from(value) / 65_535.0
}

fn play(scenario: &Scenario<'_>) {
    let [a, b, c] = scenario.stake;
    let mut network = Network::new(&[a, b, c, 0, 0, 0]);
    network.input.max_allowed_validators = 3;
    network.input.bonds_moving_average = 975_000;
    network.input.bonds_penalty = 0;
    network.input.yuma3 = true;
    let liquid = LiquidAlpha { low: 6_553, high: 19_660, steepness: 1_000 };
    network.input.liquid_alpha = scenario.liquid.then_some(liquid);
    let last = scenario.targets.last().unwrap();
    for (i, dividends) in scenario.dividends.iter().enumerate() {
        let targets = scenario.targets.get(i).unwrap_or(last);
        for (uid, miners) in targets.iter().enumerate() {
            // Every miner has a cell, as in those tests: liquid alpha drops bonds without one.
            let weight = |miner: u16| if miners.contains(&miner) { 65_535 } else { 0 };
            let row = [3, 4, 5].map(|miner| (miner, weight(miner)));
            network.weigh(uid, &row);
        }
        let output = network.epoch();
        for (uid, expected) in dividends.iter().enumerate() {
            let ours = ratio(output.dividends[uid]);
            assert!((ours - expected).abs() < 1e-4, "epoch {}, {uid}: {ours}", i + 1);
        }
        for (_, uid, miner, expected) in scenario.bonds.iter().filter(|bond| bond.0 == i + 1) {
            let ours = ratio(bond(&output, *uid, *miner));
            assert!((ours - expected).abs() < 1e-4, "epoch {}, {uid}-{miner}: {ours}", i + 1);
        }
    }
}

const M3: &[u16] = &[3];
const M4: &[u16] = &[4];

#[test]
fn a_large_validator_that_moves_first() {
    play(&Scenario {
        stake: [8, 1, 1],
        targets: &[[M3, M3, M3], [M4, M3, M3], [M4, M4, M3], [M4, M4, M4]],
        dividends: &[
            [0.8, 0.1, 0.1],
            [1.0, 0.0, 0.0],
            [0.9382, 0.0618, 0.0],
            [0.8819, 0.0773, 0.0407],
            [0.8564, 0.0844, 0.0592],
            [0.8418, 0.0884, 0.0697],
        ],
        bonds: &[
            (2, 0, 3, 0.0908),
            (2, 0, 4, 0.1013),
            (2, 1, 3, 0.3697),
            (2, 2, 3, 0.3697),
            (2, 1, 4, 0.0),
            (6, 0, 3, 0.0588),
            (6, 0, 4, 0.4139),
            (6, 1, 3, 0.2157),
            (6, 1, 4, 0.3478),
            (6, 2, 3, 0.3089),
            (6, 2, 4, 0.2742),
        ],
        liquid: true,
    });
}

#[test]
fn a_large_validator_that_moves_second() {
    play(&Scenario {
        stake: [8, 1, 1],
        targets: &[[M3, M3, M3], [M3, M4, M3], [M4, M4, M3], [M4, M4, M4]],
        dividends: &[
            [0.8, 0.1, 0.1],
            [0.8446, 0.0498, 0.1056],
            [0.6868, 0.3132, 0.0],
            [0.7421, 0.2090, 0.0489],
            [0.7625, 0.1706, 0.0669],
            [0.7730, 0.1508, 0.0762],
        ],
        bonds: &[],
        liquid: true,
    });
}

#[test]
fn a_large_validator_that_moves_last() {
    play(&Scenario {
        stake: [8, 1, 1],
        targets: &[[M3, M3, M3], [M3, M4, M3], [M3, M4, M4], [M4, M4, M4]],
        dividends: &[
            [0.8, 0.1, 0.1],
            [0.8446, 0.0498, 0.1056],
            [0.8966, 0.0333, 0.0701],
            [0.4663, 0.3210, 0.2127],
            [0.5976, 0.2340, 0.1683],
            [0.6592, 0.1932, 0.1475],
        ],
        bonds: &[],
        liquid: true,
    });
}

#[test]
fn one_epoch_of_another_opinion_with_liquid_alpha() {
    play(&Scenario {
        stake: [33, 33, 34],
        targets: &[[M3, M3, M3], [M3, M3, M3], [M3, M3, M4], [M3, M3, M3]],
        dividends: &[
            [0.33, 0.33, 0.34],
            [0.33, 0.33, 0.34],
            [0.3782, 0.3782, 0.2436],
            [0.3628, 0.3628, 0.2745],
            [0.3541, 0.3541, 0.2917],
            [0.3487, 0.3487, 0.3026],
        ],
        bonds: &[],
        liquid: true,
    });
}

#[test]
fn one_epoch_of_another_opinion_without_liquid_alpha() {
    play(&Scenario {
        stake: [33, 33, 34],
        targets: &[[M3, M3, M3], [M3, M3, M3], [M3, M3, M4], [M3, M3, M3]],
        dividends: &[
            [0.33, 0.33, 0.34],
            [0.33, 0.33, 0.34],
            [0.3734, 0.3734, 0.2532],
            [0.3611, 0.3611, 0.2779],
            [0.3541, 0.3541, 0.2919],
            [0.3495, 0.3495, 0.3009],
        ],
        bonds: &[
            (1, 0, 3, 0.0250),
            (1, 2, 3, 0.0250),
            (2, 1, 3, 0.0494),
            (3, 2, 3, 0.0481),
            (3, 2, 4, 0.0250),
        ],
        liquid: false,
    });
}

#[test]
fn a_stable_miner_while_the_others_change() {
    let (stable_old, stable_new): (&[u16], &[u16]) = (&[3, 5], &[4, 5]);
    play(&Scenario {
        stake: [8, 1, 1],
        targets: &[
            [stable_old, stable_old, stable_old],
            [stable_old, stable_new, stable_old],
            [stable_new, stable_new, stable_old],
            [stable_new, stable_new, stable_new],
        ],
        dividends: &[
            [0.8, 0.1, 0.1],
            [0.8226, 0.0745, 0.1028],
            [0.7750, 0.1685, 0.0565],
            [0.7864, 0.1372, 0.0764],
            [0.7912, 0.1241, 0.0847],
            [0.7937, 0.1173, 0.0890],
        ],
        bonds: &[],
        liquid: true,
    });
}
