//! Who plays in a season.

use crate::{cabal::Cabal, names::nearest, scenario::Scenario, strategy::Kind};
use std::fmt;

/// A player: a strategy with some slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it does.
    pub kind: Kind,
    /// Slots that it has.
    pub n_slots: usize,
}

/// Everybody in a season.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Who mines, in order of slots.
    pub players: Vec<Part>,
    /// Validators that run the real service.
    pub n_validators: usize,
    /// Validators that do not, after those that do.
    pub cabals: Vec<Cabal>,
}

/// Somebody who plays against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// A miner.
    Miner(Kind),
    /// Some validators, with a miner of theirs.
    Cabal(Cabal),
}

impl Attack {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let miners = Kind::ALL.into_iter().filter(|kind| kind.is_attack()).map(Self::Miner);
        miners.chain(Cabal::ALL.into_iter().map(Self::Cabal)).collect()
    }

    /// The name of it in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner(kind) => kind.name(),
            Self::Cabal(cabal) => cabal.name(),
        }
    }

    /// The attack of this name; else the nearest name, where one is near.
    pub fn named(name: &str) -> Result<Self, Option<&'static str>> {
        let all = Self::all();
        let found = all.iter().find(|attack| attack.name() == name);
        found.copied().ok_or_else(|| nearest(name, all.iter().map(|attack| attack.name())))
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Validators of a cabal in the zoo, of five: less than half of the stake.
const CABAL_SIZE: usize = 2;

impl Cast {
    /// The cast that a scenario lists.
    pub fn of(scenario: &Scenario) -> Self {
        let mut players = Vec::new();
        for row in &scenario.miners {
            let n_slots = row.slots.unwrap_or_else(|| row.strategy.slots());
            let part = Part { kind: row.strategy, n_slots };
            players.extend(std::iter::repeat_n(part, row.count));
        }
        let rows = scenario.cabals.iter();
        let cabals = rows.flat_map(|row| std::iter::repeat_n(row.cabal, row.count)).collect();
        Self { players, n_validators: scenario.validators, cabals }
    }

    /// The same with an attack in the last place of the miners; a cabal takes the last validators
    /// besides.
    pub fn with(&self, attack: Attack) -> Self {
        let mut cast = self.clone();
        let kind = match attack {
            Attack::Miner(kind) => kind,
            Attack::Cabal(cabal) => {
                let n = CABAL_SIZE.min(cast.n_validators.saturating_sub(1));
                cast.n_validators -= n;
                cast.cabals.extend(std::iter::repeat_n(cabal, n));
                // Whoever is paid for nothing does nothing.
                if cabal == Cabal::PayOwn { Kind::Idle } else { Kind::Rebase }
            }
        };
        cast.replace_last(Part { kind, n_slots: kind.slots() });
        cast
    }

    /// The same with honest play in the place of the attack.
    pub fn with_honest_for(&self, attack: Attack) -> Self {
        let n_slots = match attack {
            Attack::Miner(kind) => kind.slots(),
            Attack::Cabal(_) => Kind::Idle.slots(),
        };
        let mut cast = self.clone();
        cast.replace_last(Part { kind: Kind::Rebase, n_slots });
        cast
    }

    fn replace_last(&mut self, part: Part) {
        self.players.pop();
        self.players.push(part);
    }

    /// The player whose strategy an attack is, and the first validator of its own.
    pub fn place(&self, attack: Attack) -> (usize, Option<usize>) {
        let player = self.players.len().saturating_sub(1);
        match attack {
            Attack::Miner(_) => (player, None),
            Attack::Cabal(_) => {
                let n = CABAL_SIZE.min((self.n_validators + self.cabals.len()).saturating_sub(1));
                (player, Some((self.n_validators + self.cabals.len()) - n))
            }
        }
    }

    /// Validators of all kinds.
    pub fn n_all_validators(&self) -> usize {
        self.n_validators + self.cabals.len()
    }
}

#[cfg(test)]
mod tests;
