//! How long duels go on between models whose gains are spread like those of two that were measured.

use protocol::{
    Digest, Loss,
    duel::{Document, Duel, DuelError, DuelRules, Terms, Verdict},
};

/// Duels that an expectation is the mean of: on the same documents, each from another one on.
const N_DUELS: usize = 8;

/// What comes of duels on the terms of a first attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Documents of a duel, on average.
    pub n_documents: f64,
    /// Share of the duels in which the challenger takes the crown.
    pub crowned: f64,
}

impl Expected {
    /// What comes of duels with a challenger whose mean gain is `mean`, and whose gains are spread
    /// around it as `gains` are around theirs; a duel that needs more documents has them again.
    pub fn of(rules: DuelRules, epsilon: f64, gains: &[f64], mean: f64) -> Result<Self, DuelError> {
        let shift = mean - gains.iter().sum::<f64>() / gains.len().max(1) as f64;
        let (mut n_documents, mut n_crowned) = (0.0, 0.0);
        for turn in 0..N_DUELS {
            let first = turn * gains.len() / N_DUELS;
            let from_there = gains.iter().cycle().skip(first).map(|gain| gain + shift);
            let duel = duel(rules, epsilon, from_there)?;
            n_documents += f64::from(duel.evidence().n_documents());
            n_crowned += f64::from(u8::from(duel.verdict() == Some(Verdict::Dethroned)));
        }
        let n_duels = N_DUELS as f64;
        Ok(Self { n_documents: n_documents / n_duels, crowned: n_crowned / n_duels })
    }
}

/// A duel on documents with these gains, to its end.
fn duel(
    rules: DuelRules,
    epsilon: f64,
    gains: impl Iterator<Item = f64>,
) -> Result<Duel, DuelError> {
    let one = Loss::new(1.0).unwrap_or(Loss::INFINITE);
    let terms = Terms::of_first_attempt(&rules, one, epsilon);
    let document = |(number, gain): (u32, f64)| Document {
        id: Digest::of(&number.to_le_bytes()),
        champion: one,
        challenger: Loss::new((1.0 - gain).max(0.0)).unwrap_or(one),
    };
    let documents: Vec<Document> = (0..rules.n_documents_max).zip(gains).map(document).collect();
    let mut duel = Duel::begin(rules, terms)?;
    duel.look(&documents)?;
    Ok(duel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wider_gains_are_spread_the_longer_duels_go_on() {
        let rules = DuelRules::default();
        let of = |spread: f64, mean: f64| {
            let gains: Vec<f64> = (0..100).map(|i| [spread, -spread][i % 2]).collect();
            Expected::of(rules, 0.005, &gains, mean).unwrap()
        };
        let (copy, equal) = (of(0.001, 0.0), of(0.02, 0.0));
        assert_eq!((copy.crowned, equal.crowned), (0.0, 0.0));
        assert!(copy.n_documents < equal.n_documents, "{copy:?} {equal:?}");
        let (near, noisy) = (of(0.001, 0.03), of(0.02, 0.03));
        assert_eq!((near.crowned, noisy.crowned), (1.0, 1.0));
        assert_eq!(near.n_documents, 65.0, "as few as a crown may have, in whole looks");
        assert!(noisy.n_documents >= near.n_documents, "{noisy:?}");
        // By how much it is better is less than a crown must prove of a pair so noisy.
        assert_eq!(of(0.04, 0.006).crowned, 0.0);
    }
}
