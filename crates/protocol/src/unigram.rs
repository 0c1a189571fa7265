//! What guessing words by their frequency would lose: the bar of the initial verification.
//!
//! Section 2.3.2 of the paper asks that models which "perform no better than randomly guessing
//! words" are kept out. The best guess that looks at nothing is the table of how often each token
//! stands in the very text that is predicted, and by Gibbs' inequality no model whose predictions
//! are the same at every place loses less on that text. So whoever is below the table's loss uses
//! what stands before a token, and whoever ignores it is never below: no chance is involved.

use crate::{Loss, Reason, ReasonCode, math};
use std::collections::BTreeMap;

/// Loss in nats per predicted token of the table of the predicted tokens' own frequencies.
///
/// Every token of a sequence but the first is predicted. The entropy ln N - (sum of c ln c) / N
/// over the counts c of N tokens, summed in ascending order of the counts, so that no order of
/// sequences or tokens matters to the last bit. Without a predicted token it is infinite.
pub fn unigram<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Loss {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for token in sequences.into_iter().flat_map(|sequence| sequence.iter().skip(1)) {
        *counts.entry(*token).or_default() += 1;
    }
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable();
    let n_tokens = counts.iter().sum::<u64>() as f64;
    if n_tokens == 0.0 {
        return Loss::INFINITE;
    }
    let sum: f64 = counts.iter().map(|count| *count as f64 * math::ln(*count as f64)).sum();
    // A text of one token alone has none; rounding must not make it negative.
    Loss::new((math::ln(n_tokens) - sum / n_tokens).max(0.0)).unwrap_or(Loss::INFINITE)
}

/// The initial verification (section 2.3.2): why a model with this loss is refused, if it is.
///
/// Both in nats per predicted token over all batches of the round; `guessing` is [`unigram`] of
/// them. Deviation: the paper generates from two prompts and looks for repetition. Honest models
/// fail that by luck, and random ones pass it; `docs/benchmarks.md` has the rates.
pub fn no_better_than_guessing(loss: Loss, guessing: Loss) -> Option<Reason> {
    (loss >= guessing).then(|| {
        let (loss, guessing) = (loss.value(), guessing.value());
        let detail = format!(
            "{loss:.4} nats per token; a table of how often each token stands in the text has \
             {guessing:.4}"
        );
        Reason::new(ReasonCode::DegenerateOutput, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Loss of a table that gives each token this probability at every place.
    fn loss_of_table(table: &BTreeMap<u32, f64>, sequences: &[Vec<u32>]) -> f64 {
        let predicted: Vec<u32> = sequences.iter().flat_map(|s| s[1..].to_vec()).collect();
        let nats: f64 = predicted.iter().map(|token| -table[token].ln()).sum();
        nats / predicted.len() as f64
    }

    fn of(sequences: &[Vec<u32>]) -> f64 {
        unigram(sequences.iter().map(Vec::as_slice)).value()
    }

    #[test]
    fn equally_frequent_tokens_cost_the_logarithm_of_their_number() {
        let sequence: Vec<u32> = (0..=64).map(|i| i % 8).collect();
        assert!((of(&[sequence]) - 8f64.ln()).abs() < 1e-15);
        assert_eq!(of(&[vec![7; 20]]), 0.0);
        assert_eq!(unigram([&[5u32][..]]), Loss::INFINITE, "the first token is not predicted");
        assert_eq!(unigram([]), Loss::INFINITE);
    }

    #[test]
    fn whoever_is_level_with_guessing_is_refused_and_whoever_is_below_is_not() {
        let loss = |value| Loss::new(value).unwrap();
        let level = no_better_than_guessing(loss(5.0), loss(5.0)).unwrap();
        assert_eq!(level.code, ReasonCode::DegenerateOutput);
        assert!(level.detail.starts_with("5.0000 nats per token"), "{level}");
        assert!(no_better_than_guessing(Loss::INFINITE, loss(5.0)).is_some());
        assert_eq!(no_better_than_guessing(loss(4.999_999), loss(5.0)), None);
    }

    #[test]
    fn the_bits_of_a_bar_are_frozen() {
        let sequence: Vec<u32> = (0..1000u32).map(|i| i * i % 97).collect();
        assert_eq!(of(&[sequence]).to_bits(), 0x400f_1b12_04e1_1340);
    }

    proptest! {
        #[test]
        fn no_table_that_ignores_what_stands_before_is_below_it(
            sequences in prop::collection::vec(prop::collection::vec(0u32..40, 2..60), 1..6),
            weights in prop::collection::vec(0.001f64..1.0, 40),
        ) {
            let sum: f64 = weights.iter().sum();
            let table = (0..40).zip(weights.iter().map(|weight| weight / sum)).collect();
            prop_assert!(loss_of_table(&table, &sequences) >= of(&sequences) - 1e-12);
        }

        #[test]
        fn the_order_of_sequences_does_not_matter_to_the_last_bit(
            sequences in prop::collection::vec(prop::collection::vec(0u32..40, 2..60), 1..6),
        ) {
            let mut reversed = sequences.clone();
            reversed.reverse();
            prop_assert_eq!(of(&sequences).to_bits(), of(&reversed).to_bits());
        }
    }
}
