//! Scenarios from the chain's own unit tests (subtensor, pallets/subtensor/src/tests/epoch.rs).

use super::{Network, bond};
use crate::yuma::{Era, Output};

fn column(output: &Output, to: u16) -> [u16; 4] {
    [0, 1, 2, 3].map(|from| bond(output, from, to))
}

#[test]
fn bonds_follow_the_weights_of_four_validators_over_eight_epochs() {
    for era in [Era::Y2024, Era::Latest] {
        let mut network = Network::new(&[1, 2, 3, 4, 0, 0, 0, 0]);
        network.input.era = Some(era);
        for uid in 0..4 {
            network.weigh(uid, &[(4, 16_383), (5, 32_767), (6, 49_149), (7, 65_535)]);
        }
        let servers = [49_998_779, 100_000_610, 149_996_337, 200_004_272];
        let a = network.epoch();
        assert_eq!(a.emission[..4], [49_999_998, 99_999_999, 150_000_000, 200_000_001]);
        assert_eq!(a.emission[4..], servers);
        assert_eq!(column(&a, 4), [16_383, 32_767, 49_151, 65_535]);
        let floor = |ratio: f64| (ratio * 65_535.0) as u16;
        let consensus = [0.099_997_558_4, 0.200_001_220_7, 0.299_992_675_4, 0.400_008_545];
        assert_eq!(a.consensus[4..], consensus.map(floor));

        network.weigh(0, &[(0, 65_535)]);
        let b = network.epoch();
        assert_eq!(column(&b, 4), [14_582, 32_767, 49_151, 65_535]);
        assert_eq!(b.emission[..4], [44_998_351, 101_110_561, 151_667_215, 202_223_870]);
        assert_eq!(b.emission[4..], servers);

        network.weigh(1, &[(1, 65_535)]);
        let c = network.epoch();
        assert_eq!(column(&c, 4), [12_603, 28_321, 49_151, 65_535]);
        assert_eq!(c.emission[..4], [40_496_805, 90_999_783, 157_929_636, 210_573_773]);
        assert_eq!(c.emission[4..], servers);

        // Only 0.4 of the stake still votes, less than kappa: nobody earns as a miner.
        network.weigh(2, &[(2, 65_535)]);
        let d = network.epoch();
        assert_eq!(d.incentive, [0; 8]);
        assert_eq!(d.emission[..4], [99_999_999, 199_999_999, 299_999_999, 399_999_999]);
        assert_eq!(d.emission[4..], [0; 4]);
        assert_eq!(column(&d, 7), [12_602, 28_320, 49_150, 65_535]);

        network.weigh(2, &[(7, 65_535)]);
        let expected = [
            ([10_951, 24_609, 49_150], [36_443_733, 81_898_628, 163_565_493, 218_092_144]),
            ([9_559, 21_482, 49_150], [32_799_427, 73_706_612, 168_638_129, 224_855_830]),
            ([8_376, 18_824, 49_150], [29_518_068, 66_336_137, 173_203_134, 230_942_659]),
            ([7_363, 16_549, 49_150], [26_565_175, 59_701_871, 177_311_856, 236_421_095]),
        ];
        for (bonds, emission) in expected {
            let output = network.epoch();
            assert_eq!(output.consensus, [0, 0, 0, 0, 0, 0, 0, floor(0.400_008_545)]);
            assert_eq!(column(&output, 7), [bonds[0], bonds[1], bonds[2], 65_535]);
            assert_eq!(output.emission[..4], emission);
            assert_eq!(output.emission[4..], [0, 0, 0, 500_000_000]);
        }
    }
}

#[test]
fn who_stops_setting_weights_loses_dividends_until_it_returns() {
    let mut network = Network::new(&[1; 4]);
    network.weigh(0, &[(2, 65_535), (3, 65_535)]);
    network.weigh(1, &[(2, 65_535), (3, 65_535)]);
    let first = network.epoch();
    assert_eq!(first.dividends, [32_767, 32_767, 0, 0]);
    assert_eq!(first.emission, [250_000_000; 4]);
    assert_eq!(network.input.bonds_before_u16[..2], [[(2, 65_535), (3, 65_535)]; 2]);

    network.input.block += 5_001;
    network.weigh(0, &[(2, 65_535), (3, 65_535)]);
    let alone = network.epoch();
    assert_eq!(alone.active, [true, false, false, false]);
    assert_eq!(alone.dividends, [36_044, 29_490, 0, 0]);
    assert_eq!(alone.emission, [274_999_999, 224_999_999, 250_000_000, 250_000_000]);
    assert_eq!(alone.bonds[1], [(2, 53_619), (3, 53_619)]);

    network.weigh(0, &[(2, 65_535), (3, 65_535)]);
    network.weigh(1, &[(2, 65_535), (3, 65_535)]);
    let again = network.epoch();
    assert_eq!(again.dividends, [35_716, 29_818, 0, 0]);
    assert_eq!(again.emission[..2], [272_501_132, 227_498_866]);
    assert_eq!(again.bonds[1], [(2, 54_712), (3, 54_712)]);
}

#[test]
fn weights_older_than_the_slot_they_are_for_count_for_nobody() {
    let mut network = Network::new(&[1; 4]);
    network.weigh(0, &[(2, 65_535), (3, 32_768)]);
    network.weigh(1, &[(2, 65_535), (3, 32_768)]);
    network.weigh(2, &[(2, 65_535)]);
    network.weigh(3, &[(3, 65_535)]);
    let first = network.epoch();
    assert_eq!(first.incentive, [0, 0, 43_689, 21_845]);
    assert_eq!(first.emission, [250_000_000, 250_000_000, 333_331_637, 166_668_361]);

    // Somebody else takes slot 3, without stake; only validator 0 has weighed the newcomer.
    network.input.stake_rao[3] = 0;
    network.input.validator_permit_before[3] = false;
    network.input.weights_u16[3].clear();
    network.input.block_at_registration[3] = network.input.block - 1;
    network.input.last_update[3] = network.input.block - 1;
    network.weigh(0, &[(2, 65_535), (3, 32_768)]);
    let second = network.epoch();
    assert_eq!(second.incentive, [0, 0, 65_535, 0]);
    assert_eq!(second.validator_trust[..2], [43_689, 65_535].map(|_| 43_689));
    assert_eq!(second.dividends, [32_767, 32_767, 0, 0]);
    assert_eq!(second.emission, [250_000_000, 250_000_000, 500_000_000, 0]);
    assert_eq!(bond(&second, 0, 3), 65_535);
}

#[test]
fn sixty_four_equal_validators_share_equally_over_448_miners() {
    let mut stake = vec![328_125_000_000_000; 64];
    stake.resize(512, 0);
    let mut network = Network::new(&stake);
    network.input.max_allowed_validators = 64;
    let row: Vec<(u16, u16)> = (64..512).map(|j| (j, 65_535)).collect();
    for uid in 0..64 {
        network.weigh(uid, &row);
    }
    let output = network.epoch();
    for uid in 0..64 {
        assert_eq!((output.dividends[uid], output.emission[uid]), (1_023, 7_812_500));
        assert!(output.bonds[uid].iter().all(|(_, bond)| *bond == 65_535));
    }
    for uid in 64..512 {
        assert_eq!((output.consensus[uid], output.incentive[uid]), (146, 146));
        assert_eq!(output.emission[uid], 1_116_071);
    }
}

#[test]
fn without_weights_that_count_all_goes_to_stake() {
    let mut network = Network::new(&[1, 0]);
    assert_eq!(network.epoch().emission, [1_000_000_000, 0], "no weights");
    network.weigh(0, &[(0, 65_535)]);
    network.weigh(1, &[(1, 65_535)]);
    assert_eq!(network.epoch().emission, [1_000_000_000, 0], "only for themselves");
    network.weigh(0, &[(1, 65_535)]);
    network.input.block_at_registration[1] = network.input.block;
    assert_eq!(network.epoch().emission, [1_000_000_000, 0], "older than the slot");
    network.weigh(0, &[(1, 65_535)]);
    assert_eq!(network.epoch().emission, [500_000_000, 500_000_000]);

    let mut ten = Network::new(&[1; 10]);
    for uid in 0..10 {
        ten.weigh(usize::from(uid), &[(uid, 65_535)]);
    }
    let output = ten.epoch();
    assert_eq!(output.emission, [99_999_999; 10]);
    assert_eq!((output.incentive, output.dividends), (vec![0; 10], vec![0; 10]));
}

#[test]
fn permits_go_to_the_largest_stakes_and_among_equals_to_the_higher_uid() {
    let mut network = Network::new(&[5, 7, 5, 0, 0]);
    network.input.max_allowed_validators = 2;
    assert_eq!(network.epoch().validator_permit, [false, true, true, false, false]);
    network.input.max_allowed_validators = 4;
    assert_eq!(network.epoch().validator_permit, [true, true, true, false, true]);
    network.input.era = Some(Era::Latest);
    assert_eq!(network.epoch().validator_permit, [true, true, true, false, false]);
    network.input.owner_uid = Some(3);
    assert_eq!(network.epoch().validator_permit, [true, true, true, true, false]);
}

#[test]
fn stake_below_the_threshold_is_none_except_for_the_owner() {
    let mut network = Network::new(&[10, 30, 10]);
    network.input.stake_threshold_rao = 20;
    assert_eq!(network.epoch().stake_weight, [0, 65_535, 0]);
    network.input.owner_uid = Some(0);
    assert_eq!(network.epoch().stake_weight, [16_383, 49_151, 0]);
}
