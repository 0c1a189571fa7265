//! The calendar of the reference: competitions that run side by side, begin, end and change their
//! shares at blocks.
//!
//! Blocks and shares are those of the releases 2.1 to 5.0 of macrocosm-os/pretraining, from their
//! lists of constants. 7B* is a part of 7B there: 87.7 % of the weight of 7B goes by an epsilon of
//! 0.5 %, the rest by one of 0.1 %.

use protocol::{Block, Competition, CompetitionId, Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// From which block on which competitions run, with their shares of the reward.
const CALENDAR: [(u64, &[(&str, f64)]); 9] = [
    (0, &[("186m", 1.0)]),
    (2_405_920, &[("700m", 1.0)]),
    (2_786_061, &[("7b", 1.0)]),
    (3_565_190, &[("700m", 0.35), ("7b", 0.65)]),
    (3_601_190, &[("700m", 0.14), ("3b", 0.29), ("7b", 0.49989), ("7b-star", 0.07011)]),
    (3_750_683, &[("700m", 0.14), ("3b", 0.29), ("7b", 0.15), ("14b", 0.42)]),
    (3_849_722, &[("700m", 0.14), ("3b", 0.29), ("14b", 0.57)]),
    (4_252_646, &[("3b", 0.29), ("14b", 0.57), ("14b-star", 0.14)]),
    (4_732_978, &[("3b", 0.3), ("14b", 0.7)]),
];
/// A number that no competition of the program has.
const STAR: CompetitionId = CompetitionId(5);

fn rules(name: &str) -> Competition {
    match name {
        "14b-star" => {
            let name = name.to_owned();
            Competition { name, id: STAR, ..Competition::builtin("14b").unwrap() }
        }
        name => Competition::builtin(name).unwrap(),
    }
}

/// A version for each row in which a competition has another share than in the one before.
fn versions() -> Vec<Competition> {
    let names: BTreeSet<&str> =
        CALENDAR.iter().flat_map(|(_, row)| row.iter().map(|(name, _)| *name)).collect();
    let share = |row: &[(&str, f64)], name| row.iter().find(|(of, _)| *of == name).map(|of| of.1);
    let mut versions: Vec<Competition> = Vec::new();
    for name in names {
        let mut before = None;
        for (from_block, row) in CALENDAR {
            let now = share(row, name);
            if now == before {
                continue;
            }
            if before.is_some() && now.is_none() {
                // It ends here.
                versions
                    .iter_mut()
                    .rev()
                    .take(1)
                    .for_each(|rules| rules.until_block = Some(from_block));
            }
            if let Some(reward_share) = now {
                let version =
                    Competition { from_block, until_block: None, reward_share, ..rules(name) };
                versions.push(version);
            }
            before = now;
        }
    }
    versions
}

#[test]
fn the_calendar_of_the_reference_can_be_written_down_and_has_its_shares_at_every_block() {
    let versions = versions();
    versions.iter().for_each(|rules| rules.check().unwrap());
    let schedule = Schedule::new(versions).unwrap();
    let ends = CALENDAR.iter().skip(1).map(|(block, _)| *block).chain([6_000_000]);
    for ((from, row), until) in CALENDAR.iter().zip(ends) {
        let expected: BTreeMap<&str, f64> = row.iter().copied().collect();
        for block in [*from, from + 1, from.midpoint(until), until - 1] {
            let found = schedule.shares(Block(block));
            assert_eq!(found.len(), expected.len(), "at block {block}");
            for (rules, share) in found {
                let wanted = expected[rules.name.as_str()];
                assert!((share - wanted).abs() < 1e-12, "{} at block {block}", rules.name);
            }
        }
    }
}

#[test]
fn five_sizes_run_side_by_side_and_each_round_is_of_its_own() {
    let five = ["700m", "3b", "7b", "7b-star", "14b"]
        .map(|name| Competition { from_block: 3_601_190, ..rules(name) });
    let schedule = Schedule::new(five.to_vec()).unwrap();
    let seeds: Vec<(&str, u64)> = schedule
        .seeds(Block(3_601_400))
        .map(|(rules, seed)| (rules.name.as_str(), seed.0))
        .collect();
    let seed = 3_601_350;
    assert_eq!(
        seeds,
        [("14b", seed), ("3b", seed), ("700m", seed), ("7b", seed), ("7b-star", seed)]
    );
    let sum: f64 = schedule.shares(Block(3_601_400)).iter().map(|(_, share)| share).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
}
