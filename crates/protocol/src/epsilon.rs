//! The advantage of the earlier model: fixed, or shrinking with its age.

use crate::{Block, competition::Epsilon};

impl Epsilon {
    /// The fraction that protects a model committed at block `older`, seen from block `now`.
    ///
    /// A block in the future counts as age zero. Depends on the older model of a pair alone.
    pub fn at(&self, now: Block, older: Block) -> f64 {
        match *self {
            Self::Fixed { value } => value,
            Self::Linear { end, blocks, .. } if now.since(older) >= blocks => end,
            Self::Linear { start, end, blocks } => {
                start - now.since(older) as f64 / blocks as f64 * (start - end)
            }
        }
    }

    /// The fraction that is left when the older model has aged for ever.
    pub fn settled(&self) -> f64 {
        match *self {
            Self::Fixed { value } => value,
            Self::Linear { end, .. } => end,
        }
    }

    /// Half of what is left when the older model has aged for ever: what lies between a model and
    /// the copies of it that noise made better. Rule `succession` asks for it among models that
    /// never wore the crown.
    pub(crate) fn of_seconds(&self) -> Self {
        Self::Fixed { value: self.settled() / 2.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINEAR: Epsilon = Epsilon::Linear { start: 0.005, end: 0.0005, blocks: 50_400 };

    #[test]
    fn linear_epsilon_decays_as_the_reference_does() {
        let at_age = |age: u64| LINEAR.at(Block(1_000_000), Block(1_000_000 - age));
        assert_eq!(at_age(0), 0.005);
        assert!((at_age(25_200) - 0.00275).abs() < 1e-18);
        assert_eq!(at_age(50_400), 0.0005);
        assert_eq!(at_age(1_000_000), 0.0005);
        assert_eq!(LINEAR.at(Block(5), Block(9)), 0.005, "a block in the future has no age");
        assert_eq!(LINEAR.settled(), 0.0005);
    }

    #[test]
    fn fixed_epsilon_does_not_age() {
        let fixed = Epsilon::Fixed { value: 0.005 };
        assert_eq!(fixed.at(Block(9_000_000), Block(0)), fixed.at(Block(0), Block(0)));
        assert_eq!(fixed.settled(), 0.005);
    }

    proptest! {
        #[test]
        fn linear_epsilon_never_grows_with_age(age in 0u64..60_000, more in 0u64..60_000) {
            let now = Block(200_000);
            let young = LINEAR.at(now, Block(200_000 - age));
            let old = LINEAR.at(now, Block(200_000 - age - more));
            prop_assert!(old <= young && (0.0005..=0.005).contains(&old));
        }
    }
}
