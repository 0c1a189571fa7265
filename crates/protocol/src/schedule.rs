//! Which rules hold at a block, and which round is due.
//!
//! A competition is known by its name. Its rules may change at a block: each version holds from its
//! first block until its last one, or until the next version's first.

use crate::{Block, Competition};
use std::collections::BTreeMap;

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
        self.versions.values().filter_map(move |versions| {
            let begun = versions.iter().rev().find(|version| version.from_block <= block.0)?;
            begun.runs_at(block).then_some(begun)
        })
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
}
