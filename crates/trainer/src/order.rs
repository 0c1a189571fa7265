//! In which order training data is used: a shuffle per epoch that one number resumes.

use protocol::{Seed, seed::uniform_below};

/// An endless order of `n` items: every epoch is a fresh shuffle of all of them.
///
/// The order depends on the seed alone, so that a run can go on from [`Order::position`].
#[derive(Clone, Debug)]
pub struct Order {
    seed: Seed,
    position: u64,
    n: usize,
    shuffled: Vec<usize>,
}

impl Order {
    /// The order of `n` items, at least one, from `position` on; a new run starts at zero.
    ///
    /// Returns `None` for no items.
    pub fn new(seed: Seed, n: usize, position: u64) -> Option<Self> {
        if n == 0 {
            return None;
        }
        let mut order = Self { seed, position, n, shuffled: Vec::new() };
        order.shuffle();
        Some(order)
    }

    /// How many items have been drawn.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn shuffle(&mut self) {
        let epoch = self.position / self.n as u64;
        let mut stream = self.seed.derive(&format!("epoch {epoch}")).stream();
        self.shuffled = (0..self.n).collect();
        for i in (1..self.n).rev() {
            self.shuffled.swap(i, uniform_below(&mut stream, i as u64 + 1) as usize);
        }
    }
}

impl Iterator for Order {
    type Item = usize;

    /// The index of the next item; never `None`.
    fn next(&mut self) -> Option<usize> {
        let place = (self.position % self.n as u64) as usize;
        if place == 0 {
            self.shuffle();
        }
        self.position += 1;
        Some(self.shuffled[place])
    }
}

#[cfg(test)]
mod tests;
