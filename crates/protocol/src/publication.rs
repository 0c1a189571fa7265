//! From when a commitment counts: once validators with two thirds of the stake have its bytes.
//!
//! Who has published, each validator sees for itself, and a miner may show its bytes to some of
//! them alone. Each validator says on the chain which commitments it has the bytes of ([`Seen`]),
//! and what the others count is read from there: everybody comes to the same.

use crate::{
    Block, Competition, Uid,
    competition::{EvaluationRules, Published},
};

/// Slots that a set can tell apart: no subnet has more.
pub const SLOTS_MAX: usize = 256;

/// Blocks for which what a validator says holds, however short its rounds are: two tempos of
/// Bittensor.
const HOLDS_BLOCKS_MIN: u64 = 720;
/// Rounds for which it holds, however long they are.
const HOLDS_ROUNDS: u64 = 4;

/// A set of slots, as bits in bytes without zeros at their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(Vec<u8>);

impl Slots {
    /// The slots that bytes stand for, the lowest bit of the first byte for slot 0; `None` where
    /// they are too many, or end with a zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() <= SLOTS_MAX / 8 && bytes.last() != Some(&0);
        fits.then(|| Self(bytes.to_vec()))
    }

    /// The bytes that stand for them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a slot; one beyond [`SLOTS_MAX`] has no place.
    pub fn insert(&mut self, uid: Uid) {
        let place = usize::from(uid.0);
        if place >= SLOTS_MAX {
            return;
        }
        if self.0.len() <= place / 8 {
            self.0.resize(place / 8 + 1, 0);
        }
        self.0[place / 8] |= 1 << (place % 8);
    }

    /// Whether a slot is among them.
    pub fn contains(&self, uid: Uid) -> bool {
        let place = usize::from(uid.0);
        self.0.get(place / 8).is_some_and(|byte| byte & (1 << (place % 8)) != 0)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Uid> for Slots {
    fn from_iter<T: IntoIterator<Item = Uid>>(uids: T) -> Self {
        let mut slots = Self::default();
        uids.into_iter().for_each(|uid| slots.insert(uid));
        slots
    }
}

/// What a validator says on the chain: of which commitments it has the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Block up to which: of a commitment that a slot made later it says nothing.
    pub as_of: Block,
    /// Slots of the commitments.
    pub slots: Slots,
}

impl Seen {
    /// Whether it holds at a block, given the block in which it was said: one that names a later
    /// block than that is none, and one that nobody renews expires.
    pub fn holds(&self, rules: &EvaluationRules, said: Block, at: Block) -> bool {
        self.as_of <= said && said <= at && at.since(self.as_of) <= holds_blocks(rules)
    }

    /// Whether it is about the commitment that a slot made in a block, and has its bytes.
    fn has(&self, uid: Uid, committed: Block) -> bool {
        committed <= self.as_of && self.slots.contains(uid)
    }
}

/// Blocks for which what a validator says holds: four rounds, and two tempos of Bittensor at least.
pub fn holds_blocks(rules: &EvaluationRules) -> u64 {
    rules.blocks_per_round.saturating_mul(HOLDS_ROUNDS).max(HOLDS_BLOCKS_MIN)
}

/// Seed of the first round in which a commitment of `block` may take part; with
/// [`Published::TwoThirds`] a round looks for its bytes before, and is over in time.
pub fn first_round(competition: &Competition, block: Block) -> Block {
    let rules = &competition.evaluation;
    let old_enough = Block(block.0.saturating_add(rules.commitment_age_min));
    let first = seed_from(competition, old_enough);
    match rules.published {
        Published::Own => first,
        Published::TwoThirds => first.max(seed_after(competition, seed_from(competition, block))),
    }
}

/// Seed of the first round in which a commitment that is old enough may take part, of which the
/// bytes were made public in the state after a block.
pub fn shown_round(competition: &Competition, public: Block) -> Block {
    let seen = seed_after(competition, public);
    match competition.evaluation.published {
        Published::Own => seen,
        Published::TwoThirds => seed_after(competition, seen),
    }
}

/// Block from which on another commitment of the hotkey costs the one of `block` nothing but its
/// age: it has taken part in a round, though the one that looked for its bytes took a round longer.
pub fn replaceable_from(competition: &Competition, block: Block) -> Block {
    let first = first_round(competition, block);
    match competition.evaluation.published {
        Published::Own => first,
        Published::TwoThirds => seed_after(competition, first),
    }
}

/// The first block from `block` on that seeds a round.
pub fn seed_from(competition: &Competition, block: Block) -> Block {
    let every = competition.evaluation.blocks_per_round.max(1);
    let from = block.0.max(competition.from_block).max(1);
    Block(from.checked_next_multiple_of(every).unwrap_or(u64::MAX))
}

fn seed_after(competition: &Competition, block: Block) -> Block {
    seed_from(competition, Block(block.0.saturating_add(1)))
}

/// What a validator says, with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Its stake, in rao.
    pub stake_rao: u64,
    /// What it says.
    pub seen: Seen,
}

/// Whether the commitment that a slot made in a block counts: of the stake of all who say
/// something, two thirds have its bytes. Where nobody says anything all count.
pub fn counts(voices: &[Voice], uid: Uid, committed: Block) -> bool {
    let stake = |voice: &Voice| u128::from(voice.stake_rao);
    let all: u128 = voices.iter().map(stake).sum();
    let has: u128 = voices.iter().filter(|voice| voice.seen.has(uid, committed)).map(stake).sum();
    3 * has >= 2 * all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(as_of: u64, uids: &[u16]) -> Seen {
        Seen { as_of: Block(as_of), slots: uids.iter().map(|uid| Uid(*uid)).collect() }
    }

    fn voice(stake_rao: u64, as_of: u64, uids: &[u16]) -> Voice {
        Voice { stake_rao, seen: seen(as_of, uids) }
    }

    #[test]
    fn slots_are_bits_and_have_one_form() {
        let slots: Slots = [0, 9, 255, 256, 40_000].map(Uid).into_iter().collect();
        assert_eq!((slots.len(), slots.as_bytes().len()), (3, 32));
        let has: Vec<u16> = (0..1_000).filter(|uid| slots.contains(Uid(*uid))).collect();
        assert_eq!(has, [0, 9, 255]);
        assert_eq!(Slots::from_bytes(slots.as_bytes()), Some(slots));
        let two: Slots = [Uid(9), Uid(0), Uid(9)].into_iter().collect();
        assert_eq!(two.as_bytes(), [1, 2]);
        assert_eq!(Slots::from_bytes(&[]), Some(Slots::default()));
        for none in [&[0][..], &[1, 0], &[1; 33]] {
            assert_eq!(Slots::from_bytes(none), None, "{none:?}");
        }
        assert!(Slots::default().is_empty() && !two.is_empty());
    }

    #[test]
    fn two_thirds_of_the_stake_that_speaks_are_enough_and_less_is_not() {
        let equal = |n_has: usize, n: usize| -> Vec<Voice> {
            (0..n).map(|i| voice(7, 10, if i < n_has { &[3] } else { &[2] })).collect()
        };
        for (n_has, n, expected) in
            [(3, 5, false), (4, 5, true), (2, 3, true), (1, 2, false), (1, 1, true), (0, 0, true)]
        {
            assert_eq!(counts(&equal(n_has, n), Uid(3), Block(10)), expected, "{n_has} of {n}");
        }
        // By stake, not by heads, however large.
        let whales = [voice(u64::MAX, 10, &[3]), voice(u64::MAX / 2, 10, &[])];
        assert!(counts(&whales, Uid(3), Block(10)));
        let nothing_behind = [voice(0, 10, &[])];
        assert!(counts(&nothing_behind, Uid(3), Block(10)));
    }

    #[test]
    fn attack_what_was_said_of_a_commitment_does_not_count_for_the_next_one_of_its_slot() {
        let voices = [voice(1, 10, &[3])];
        assert!(counts(&voices, Uid(3), Block(10)));
        assert!(!counts(&voices, Uid(3), Block(11)));
        assert!(!counts(&voices, Uid(4), Block(1)));
    }

    #[test]
    fn attack_a_validator_cannot_speak_of_what_is_to_come_nor_for_ever() {
        let mut rules = Competition::builtin("tiny").unwrap().evaluation;
        rules.blocks_per_round = 10;
        let said = seen(100, &[1]);
        let holds = |said_in: u64, at: u64| said.holds(&rules, Block(said_in), Block(at));
        assert!(holds(100, 100) && holds(103, 820));
        assert!(!holds(99, 200), "it speaks of blocks that were not there");
        assert!(!holds(103, 102), "it was not said yet");
        assert!(!holds(103, 821), "nobody has renewed it");
        rules.blocks_per_round = 1_000;
        assert!(said.holds(&rules, Block(103), Block(4_100)));
        assert!(!said.holds(&rules, Block(103), Block(4_101)));
    }

    #[test]
    fn a_commitment_takes_part_in_the_first_round_that_it_is_old_enough_for_and_looked_for_before()
    {
        let mut rules = Competition::builtin("tiny").unwrap();
        (rules.evaluation.blocks_per_round, rules.evaluation.commitment_age_min) = (10, 3);
        rules.from_block = 0;
        let first = |rules: &Competition, block| first_round(rules, Block(block)).0;
        for (block, seed) in [(0, 10), (1, 10), (7, 10), (8, 20), (10, 20), (17, 20), (18, 30)] {
            assert_eq!(first(&rules, block), seed, "{block}");
            assert_eq!(replaceable_from(&rules, Block(block)).0, seed, "{block}");
        }
        rules.evaluation.published = Published::TwoThirds;
        for (block, seed) in [(0, 20), (1, 20), (8, 20), (10, 20), (11, 30), (18, 30)] {
            assert_eq!(first(&rules, block), seed, "{block}");
            assert_eq!(replaceable_from(&rules, Block(block)).0, seed + 10, "{block}");
        }
        assert_eq!([9, 10].map(|block| shown_round(&rules, Block(block)).0), [20, 30]);
        // Looked for while it is young, it loses nothing.
        rules.evaluation.commitment_age_min = 25;
        assert_eq!([3, 6].map(|block| first(&rules, block)), [30, 40]);
        rules.from_block = 35;
        assert_eq!(first(&rules, 1), 50, "the first seed is that of block 40");
        assert_eq!(first(&rules, u64::MAX), u64::MAX);
    }
}
