//! Initial verification of a model's output, section 2.3.2 of the paper.
//!
//! The paper asks that generated text is "not overly repetitive" and differs between prompts; the
//! figures are those of the reference (SN9).

use crate::{
    EvaluateOptions, Model,
    error::{Error, Stop, judge, refuse},
};
use protocol::{Reason, ReasonCode::DegenerateOutput};

/// Longest prompt.
const PROMPT_MAX: usize = 100;
/// Tokens that are generated per prompt.
const N_GENERATED: usize = 20;
/// From so many equal positions on, two outputs are the same.
const EQUAL_POSITIONS_MIN: usize = 10;
/// A token that stands more often is repetition.
const REPETITIONS_MAX: usize = 10;

/// Why the model fails the initial verification, if it does.
///
/// `first` and `second` are the first sequences of the first two batches. Prompts are their first
/// 100 tokens, or half of a shorter sequence.
pub fn verify_output(
    model: &Model,
    first: &[u32],
    second: &[u32],
    options: &EvaluateOptions<'_>,
) -> Result<Option<Reason>, Error> {
    let prompts = [first, second].map(|tokens| &tokens[..(tokens.len() / 2).min(PROMPT_MAX)]);
    let longest = prompts[0].len().max(prompts[1].len());
    // A model whose context is just as long as the sequences must not fail for that.
    let n_tokens = model.context().saturating_sub(longest).min(N_GENERATED);
    let outputs = model.try_generate(&prompts, n_tokens, options);
    match judge(outputs.and_then(|outputs| compare(&outputs[0], &outputs[1])))? {
        Ok(()) => Ok(None),
        Err(reason) => Ok(Some(reason)),
    }
}

fn compare(first: &[u32], second: &[u32]) -> Result<(), Stop> {
    let n_equal = first.iter().zip(second).filter(|(a, b)| a == b).count();
    if n_equal >= EQUAL_POSITIONS_MIN {
        let detail = format!("{n_equal} of {N_GENERATED} tokens are the same for two prompts");
        return refuse(DegenerateOutput, detail);
    }
    let n_repeated = most_common(first).min(most_common(second));
    if n_repeated > REPETITIONS_MAX {
        let detail = format!("one token makes {n_repeated} of {N_GENERATED} in both outputs");
        return refuse(DegenerateOutput, detail);
    }
    Ok(())
}

/// How often the most common token stands.
fn most_common(tokens: &[u32]) -> usize {
    let count = |token| tokens.iter().filter(|other| *other == token).count();
    tokens.iter().map(count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(first: &[u32], second: &[u32]) -> bool {
        compare(first, second).is_err()
    }

    #[test]
    fn outputs_fail_from_ten_equal_positions_on() {
        let first: Vec<u32> = (0..20).collect();
        let agreeing =
            |n: u32| (0..20).map(|i| if i < n { i } else { 100 + i }).collect::<Vec<_>>();
        assert!(!fails(&first, &agreeing(9)));
        assert!(fails(&first, &agreeing(10)));
    }

    #[test]
    fn repetition_counts_only_if_both_outputs_repeat() {
        let varied: Vec<u32> = (100..120).collect();
        let repeating = |n: u32, token: u32| {
            (0..20).map(|i| if i < n { token } else { 50 + i }).collect::<Vec<_>>()
        };
        assert!(!fails(&repeating(20, 1), &varied));
        assert!(!fails(
            &repeating(11, 1),
            &repeating(10, 2)[..].iter().map(|t| t + 500).collect::<Vec<_>>()
        ));
        assert!(fails(
            &repeating(11, 1),
            &repeating(11, 2).iter().rev().copied().collect::<Vec<_>>()
        ));
    }
}
