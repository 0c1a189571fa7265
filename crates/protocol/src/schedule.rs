//! Which rules hold at a block, and which round is due.
//!
//! A competition is known by its name. Its rules may change at a block: each version holds from its
//! first block until its last one, or until the next version's first.

use crate::{Block, Competition};
use std::collections::{BTreeMap, BTreeSet};

/// The competitions of a network, each in all its versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// Versions in order of their first block, by name.
    versions: BTreeMap<String, Vec<Competition>>,
}

/// Why competitions cannot stand in one schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSchedule {
    /// Two versions of a competition begin at one block.
    #[error("two versions of competition `{name}` begin at block {block}")]
    TwoAtOnce {
        /// The competition.
        name: String,
        /// The block.
        block: Block,
    },
    /// Two competitions have one number, so that a commitment could mean either.
    #[error("competitions `{0}` and `{1}` have the same number")]
    OneNumber(String, String),
    /// A competition has two numbers, so that a commitment would lose it at a change of rules.
    #[error("competition `{0}` has two numbers")]
    TwoNumbers(String),
}

impl Schedule {
    /// Puts competitions in order; several of one name are versions of it.
    pub fn new(competitions: Vec<Competition>) -> Result<Self, NoSchedule> {
        let mut versions: BTreeMap<String, Vec<Competition>> = BTreeMap::new();
        for competition in competitions {
            versions.entry(competition.name.clone()).or_default().push(competition);
        }
        let mut names = BTreeMap::new();
        for (name, versions) in &mut versions {
            versions.sort_by_key(|version| version.from_block);
            if let Some(pair) = versions.windows(2).find(|v| v[0].from_block == v[1].from_block) {
                let block = Block(pair[0].from_block);
                return Err(NoSchedule::TwoAtOnce { name: name.clone(), block });
            }
            let id = versions[0].id;
            if versions.iter().any(|version| version.id != id) {
                return Err(NoSchedule::TwoNumbers(name.clone()));
            }
            if let Some(other) = names.insert(id, name.clone()) {
                return Err(NoSchedule::OneNumber(other, name.clone()));
            }
        }
        Ok(Self { versions })
    }

    /// The rules that hold at a block, one for each competition that runs, in order of name.
    pub fn at(&self, block: Block) -> impl Iterator<Item = &Competition> {
        let newest = self.versions.values().filter_map(move |versions| begun(versions, block));
        newest.filter(move |rules| rules.runs_at(block))
    }

    /// All versions of all competitions, in order of name and first block.
    pub fn versions(&self) -> impl Iterator<Item = &Competition> {
        self.versions.values().flatten()
    }

    /// What each competition that runs at a block has of the reward, in order of name; all together
    /// have 1.
    pub fn shares(&self, block: Block) -> Vec<(&Competition, f64)> {
        let sum: f64 = self.at(block).map(|rules| rules.reward_share).sum();
        self.at(block).map(|rules| (rules, rules.reward_share / sum)).collect()
    }

    /// The competitions that are paid at a block, in order of name: those that run, or where none
    /// does, all that ever ran, each by its last rules.
    pub fn paid_at(&self, block: Block) -> Vec<&Competition> {
        let running: Vec<&Competition> = self.at(block).collect();
        if !running.is_empty() {
            return running;
        }
        self.versions.values().filter_map(|versions| begun(versions, block)).collect()
    }

    /// The first block after this one at which something begins, ends or gets other rules.
    pub fn next_turn(&self, after: Block) -> Option<Block> {
        let turns = self.versions().flat_map(|rules| [Some(rules.from_block), rules.until_block]);
        turns.flatten().filter(|turn| *turn > after.0).min().map(Block)
    }

    /// The first block from `from` on at which the two do not have the same rules; `None` if they
    /// have them for ever.
    pub fn first_difference(&self, other: &Self, from: Block) -> Option<Block> {
        // Between two of these blocks nothing begins and nothing ends.
        let mut turns = BTreeSet::from([from.0]);
        for rules in self.versions().chain(other.versions()) {
            turns.insert(rules.from_block);
            turns.extend(rules.until_block);
        }
        let mut turns = turns.range(from.0..).map(|block| Block(*block));
        turns.find(|block| !self.at(*block).eq(other.at(*block)))
    }

    /// The rounds that the newest seeds at or before `head` begin, with the rules of each.
    ///
    /// Rules hold for a round if they hold at its seed. The first block of a chain seeds nothing.
    pub fn seeds(&self, head: Block) -> impl Iterator<Item = (&Competition, Block)> {
        self.at(head).filter_map(move |competition| {
            let every = competition.evaluation.blocks_per_round;
            let seed = Block(head.0 - head.0.checked_rem(every)?);
            (seed.0 > 0 && competition.runs_at(seed)).then_some((competition, seed))
        })
    }
}

/// Of the versions of a competition, the last that has begun at a block.
fn begun(versions: &[Competition], block: Block) -> Option<&Competition> {
    versions.iter().rev().find(|version| version.from_block <= block.0)
}

impl Competition {
    /// Whether these rules can hold at a block, as far as they say themselves.
    pub fn runs_at(&self, block: Block) -> bool {
        self.from_block <= block.0 && self.until_block.is_none_or(|until| block.0 < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CompetitionId;

    fn version(name: &str, id: u16, from_block: u64, until_block: Option<u64>) -> Competition {
        let mut competition = Competition::builtin("tiny").unwrap();
        (competition.name, competition.id) = (name.to_owned(), CompetitionId(id));
        (competition.from_block, competition.until_block) = (from_block, until_block);
        competition.evaluation.blocks_per_round = 10;
        competition
    }

    fn seeds(schedule: &Schedule, head: u64) -> Vec<(String, u64, u64)> {
        let seeds = schedule.seeds(Block(head));
        seeds.map(|(rules, seed)| (rules.name.clone(), rules.from_block, seed.0)).collect()
    }

    #[test]
    fn rules_hold_from_their_first_block_to_the_next_version_or_their_end() {
        let schedule = Schedule::new(vec![
            version("b", 2, 25, Some(60)),
            version("a", 1, 40, None),
            version("a", 1, 0, None),
        ])
        .unwrap();
        let seed = |name: &str, from: u64, seed: u64| (name.to_owned(), from, seed);
        assert_eq!(seeds(&schedule, 9), []);
        assert_eq!(seeds(&schedule, 29), [seed("a", 0, 20)], "`b` was not there at block 20");
        assert_eq!(seeds(&schedule, 39), [seed("a", 0, 30), seed("b", 25, 30)]);
        assert_eq!(seeds(&schedule, 41), [seed("a", 40, 40), seed("b", 25, 40)]);
        assert_eq!(seeds(&schedule, 65), [seed("a", 40, 60)]);
    }

    #[test]
    fn what_could_mean_two_things_is_refused_by_name() {
        let refused = |versions: Vec<Competition>| Schedule::new(versions).unwrap_err().to_string();
        let twice = refused(vec![version("a", 1, 5, None), version("a", 1, 5, None)]);
        assert_eq!(twice, "two versions of competition `a` begin at block 5");
        let one = refused(vec![version("a", 1, 0, None), version("b", 1, 0, None)]);
        assert_eq!(one, "competitions `a` and `b` have the same number");
        let two = refused(vec![version("a", 1, 0, None), version("a", 2, 9, None)]);
        assert_eq!(two, "competition `a` has two numbers");
    }

    #[test]
    fn shares_are_of_what_runs_and_what_ran_last_is_paid_until_something_runs_again() {
        let mut versions = vec![
            version("a", 1, 0, Some(50)),
            version("b", 2, 20, Some(30)),
            version("a", 1, 60, None),
        ];
        versions[1].reward_share = 0.25;
        let schedule = Schedule::new(versions).unwrap();
        let shares = |block| {
            let shares = schedule.shares(Block(block)).into_iter();
            shares.map(|(rules, share)| (rules.name.clone(), share)).collect::<Vec<_>>()
        };
        assert_eq!(shares(19), [("a".to_owned(), 1.0)]);
        assert_eq!(shares(20), [("a".to_owned(), 0.8), ("b".to_owned(), 0.2)]);
        assert_eq!(shares(30), [("a".to_owned(), 1.0)]);
        assert_eq!(shares(50), []);
        let paid = |block| {
            let paid = schedule.paid_at(Block(block)).into_iter();
            paid.map(|rules| (rules.name.as_str(), rules.from_block)).collect::<Vec<_>>()
        };
        assert_eq!(paid(20), [("a", 0), ("b", 20)]);
        assert_eq!(paid(49), [("a", 0)], "`b` has ended, and `a` runs");
        assert_eq!(paid(55), [("a", 0), ("b", 20)], "nothing runs");
        assert_eq!(paid(60), [("a", 60)]);
    }

    #[test]
    fn two_schedules_differ_from_the_block_at_which_other_rules_hold() {
        let one = |versions| Schedule::new(versions).unwrap();
        let before = one(vec![version("a", 1, 0, None)]);
        let mut later = version("a", 1, 100, None);
        later.scoring.alpha = 0.25;
        let after = one(vec![version("a", 1, 0, None), later.clone()]);
        let differ = |a: &Schedule, b: &Schedule, from| a.first_difference(b, Block(from));
        assert_eq!(differ(&before, &after, 7), Some(Block(100)));
        assert_eq!(differ(&after, &before, 150), Some(Block(150)));
        assert_eq!(differ(&before, &before, 0), None);
        // What no block needs any more says nothing.
        assert_eq!(differ(&after, &one(vec![later.clone()]), 100), None);
        assert_eq!(differ(&after, &one(vec![later]), 99), Some(Block(99)));
        let ended = one(vec![version("a", 1, 0, None), version("a", 1, 80, Some(81))]);
        assert_eq!(differ(&before, &ended, 0), Some(Block(80)));
    }
}
