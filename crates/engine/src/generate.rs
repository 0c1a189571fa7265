//! Greedy continuation of prompts.

use crate::{
    EvaluateOptions, Model,
    batch::{Batch, WorkSpace},
    error::{Error, Stop, judge, refuse},
};
use protocol::{Reason, ReasonCode::NonFiniteLoss};
use std::{slice, sync::atomic::Ordering};

impl Model {
    /// The `n_tokens` tokens that follow `prompt` when the likeliest is always taken.
    ///
    /// Of equal logits the lowest token wins. Nothing of the model's own, such as a generation
    /// config, has a say. The model is refused if the result would not
    /// fit its context, or if a logit is not finite.
    pub fn generate(
        &self,
        prompt: &[u32],
        n_tokens: usize,
        options: &EvaluateOptions<'_>,
    ) -> Result<Result<Vec<u32>, Reason>, Error> {
        judge(self.try_generate(prompt, n_tokens, options))
    }

    pub(crate) fn try_generate(
        &self,
        prompt: &[u32],
        n_tokens: usize,
        options: &EvaluateOptions<'_>,
    ) -> Result<Vec<u32>, Stop> {
        if prompt.is_empty() {
            return Err(Error::SequenceTooShort { index: 0, n_tokens: 0, n_tokens_min: 1 }.into());
        }
        let n_positions = prompt.len().saturating_add(n_tokens);
        self.check_tokens(prompt, n_positions)?;
        let angles = self.angles(n_positions)?;
        let forward = self.forward(&angles, options.instructions.check()?);
        let n_threads = options.threads.max(1);
        let spaces = (0..n_threads).map(|_| WorkSpace::new(self.architecture(), n_positions));
        let mut spaces = spaces.collect::<Result<Vec<_>, Error>>()?;
        let is_cancelled = || options.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed));

        let parameters = self.parameters();
        let mut batch = Batch::start(self.architecture(), parameters, &[prompt], n_tokens)?;
        let mut tokens: Vec<u32> = Vec::with_capacity(n_tokens);
        while tokens.len() < n_tokens {
            if let Some(last) = tokens.last() {
                batch.follow(parameters, slice::from_ref(last));
            }
            // One row is too little work to share.
            let n_busy = if tokens.is_empty() { n_threads } else { 1 };
            forward.layers(&mut batch, &mut spaces[..n_busy], &is_cancelled)?;
            batch.copy_row(batch.n_rows() - 1, 0);
            let logits = forward.logits(&mut batch, &mut spaces[0], 1)?;
            match likeliest(&logits[..self.vocabulary()]) {
                Some(token) => tokens.push(token),
                None => {
                    let detail =
                        format!("a logit of generated token {} is not finite", tokens.len());
                    return refuse(NonFiniteLoss, detail);
                }
            }
        }
        Ok(tokens)
    }
}

/// The lowest index of the greatest number; nothing if one is not finite.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if !logit.is_finite() {
            return None;
        }
        if *logit > logits[best] {
            best = index;
        }
    }
    u32::try_from(best).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_equal_logits_is_taken_and_none_may_be_infinite() {
        assert_eq!(likeliest(&[-1.0, 2.0, 2.0]), Some(1));
        assert_eq!(likeliest(&[1.0, f32::NEG_INFINITY]), None);
        assert_eq!(likeliest(&[1.0, f32::NAN]), None);
    }
}
