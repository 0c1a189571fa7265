//! Drawing documents with a seed, and shuffling them for training.

use crate::{Document, Error, Source, Split};
use protocol::{Seed, seed::uniform_below};
use rand_chacha::{ChaCha20Rng, rand_core::RngCore};
use std::collections::HashMap;

/// Draws `n` documents of a split as [`Source::draw`] does; the same seed gives the same ones on
/// every machine.
///
/// No document comes twice unless `n` is more than there are; then each round through all of them
/// has an order of its own.
pub fn sample(
    source: &dyn Source,
    split: Split,
    seed: Seed,
    n: usize,
) -> Result<Vec<Document>, Error> {
    let n_documents = source.n_documents(split);
    if n_documents == 0 && n > 0 {
        let corpus = source.describe();
        return Err(Error::NoDocument { corpus, split, index: 0, n_documents });
    }
    let mut draw = source.draw(split, seed.into());
    let mut documents = Vec::new();
    let (mut pass, mut n_before) = (0_u64, 0);
    while documents.len() < n {
        match draw.next() {
            Some(document) => documents.push(document?),
            // A source may have rows and still give none of them.
            None if documents.len() == n_before => break,
            None => {
                (pass, n_before) = (pass + 1, documents.len());
                draw = source.draw(split, seed.derive(&format!("pass {pass}")).into());
            }
        }
    }
    Ok(documents)
}

/// Distinct indices below a bound in a seeded order: Fisher-Yates that remembers only what moved.
pub(crate) struct Draw {
    rng: ChaCha20Rng,
    bound: u64,
    n_drawn: u64,
    /// Positions not yet drawn whose index is not their own.
    moved: HashMap<u64, u64>,
}

impl Draw {
    pub(crate) fn new(seed: Seed, bound: u64) -> Self {
        Self { rng: seed.stream(), bound, n_drawn: 0, moved: HashMap::new() }
    }
}

impl Iterator for Draw {
    type Item = u64;

    /// An index never given before; `None` when all were given.
    fn next(&mut self) -> Option<u64> {
        if self.n_drawn == self.bound {
            return None;
        }
        let position = self.n_drawn + uniform_below(&mut self.rng, self.bound - self.n_drawn);
        let first = self.moved.remove(&self.n_drawn).unwrap_or(self.n_drawn);
        let drawn = if position == self.n_drawn {
            first
        } else {
            self.moved.insert(position, first).unwrap_or(position)
        };
        self.n_drawn += 1;
        Some(drawn)
    }
}

/// A seeded order of all numbers below a bound, with each place computed on its own.
///
/// A training stream jumps anywhere in an epoch of any length without remembering what came
/// before. A Feistel network over the smallest even number of bits permutes a range up to four
/// times the bound; walking on from numbers outside it permutes the numbers inside.
/// Where chance is a rule of the network, [`sample`] is used, which is uniform over all orders.
pub(crate) struct Shuffle {
    keys: [u64; 6],
    bound: u64,
    half_bits: u32,
}

impl Shuffle {
    /// `bound` must be positive and at most 2^62.
    pub(crate) fn new(seed: Seed, bound: u64) -> Self {
        let mut rng = seed.stream();
        let bits = u64::BITS - (bound - 1).leading_zeros();
        Self { keys: [(); 6].map(|()| rng.next_u64()), bound, half_bits: bits.div_ceil(2).max(1) }
    }

    /// The number at a place below the bound; every number has exactly one place.
    pub(crate) fn at(&self, place: u64) -> u64 {
        let mut number = self.permute(place);
        while number >= self.bound {
            number = self.permute(number);
        }
        number
    }

    fn permute(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// The finalizer of SplitMix64.
fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GeneratedSource;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn the_indices_of_a_seed_are_frozen() {
        let draw = |bound, n| Draw::new(Seed::of_number(1), bound).take(n).collect::<Vec<_>>();
        assert_eq!(draw(10, 99), FROZEN_OF_10);
        assert_eq!(draw(GeneratedSource::N_DOCUMENTS, 3), FROZEN_OF_MANY);
    }
    const FROZEN_OF_10: [u64; 10] = [2, 1, 9, 6, 5, 4, 0, 8, 3, 7];
    const FROZEN_OF_MANY: [u64; 3] = [734_001_659_264, 242_377_584_652, 323_371_707_751];

    #[test]
    fn the_same_seed_gives_the_same_documents_and_another_gives_others() {
        let ids = |seed| {
            let source = GeneratedSource::new(1);
            let documents = sample(&source, Split::Evaluation, Seed::of_number(seed), 20).unwrap();
            documents.into_iter().map(|document| document.id).collect::<HashSet<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_eq!(ids(1).len(), 20);
        assert!(ids(1).is_disjoint(&ids(2)));
    }

    #[test]
    fn every_index_is_drawn_first_equally_often() {
        let mut n_drawn = [0; 7];
        for seed in 0..7_000 {
            n_drawn[Draw::new(Seed::of_number(seed), 7).next().unwrap() as usize] += 1;
        }
        // Six standard deviations of a count with mean 1000.
        assert!(n_drawn.iter().all(|n| (824..=1176).contains(n)), "{n_drawn:?}");
    }

    proptest! {
        #[test]
        fn a_draw_gives_every_index_once(seed: u64, bound in 0..300_u64) {
            let drawn: Vec<u64> = Draw::new(Seed::of_number(seed), bound).collect();
            prop_assert_eq!(drawn.len() as u64, bound);
            prop_assert_eq!(drawn.into_iter().collect::<HashSet<_>>().len() as u64, bound);
        }

        #[test]
        fn a_shuffle_has_every_number_once(seed: u64, bound in 1..300_u64) {
            let shuffle = Shuffle::new(Seed::of_number(seed), bound);
            let numbers: HashSet<u64> = (0..bound).map(|place| shuffle.at(place)).collect();
            prop_assert_eq!(numbers.len() as u64, bound);
            prop_assert!(numbers.into_iter().all(|number| number < bound));
        }
    }

    #[test]
    fn a_shuffle_of_a_large_range_stays_inside_and_does_not_repeat() {
        let shuffle = Shuffle::new(Seed::of_number(1), GeneratedSource::N_DOCUMENTS - 1);
        let numbers: HashSet<u64> = (0..10_000).map(|place| shuffle.at(place)).collect();
        assert_eq!(numbers.len(), 10_000);
        assert!(numbers.iter().all(|number| *number < GeneratedSource::N_DOCUMENTS - 1));
        let n_low = numbers.iter().filter(|n| **n < GeneratedSource::N_DOCUMENTS / 2).count();
        assert!((4_700..=5_300).contains(&n_low), "{n_low} of 10000 in the lower half");
    }
}
