//! Greedy continuation of prompts.

use crate::{
    EvaluateOptions, Model,
    batch::{Batch, Memory, WorkSpace},
    error::{Error, Stop, judge, refuse},
    forward::{Forward, Held},
    parameters::{Parameters, Piece},
};
use protocol::{Reason, ReasonCode::NonFiniteLoss};

impl Model {
    /// The `n_tokens` tokens that follow each prompt when the likeliest is always taken.
    ///
    /// Of equal logits the lowest token wins. Nothing of the model's own, such as a generation
    /// config, has a say. The model is refused if it does not know a token, if a result would not
    /// fit its context, or if a logit is not finite; an empty prompt is the caller's error. Of
    /// several prompts after which a logit is not finite, the one where it comes soonest is named.
    pub fn generate(
        &self,
        prompts: &[&[u32]],
        n_tokens: usize,
        options: &EvaluateOptions<'_>,
    ) -> Result<Result<Vec<Vec<u32>>, Reason>, Error> {
        judge(self.try_generate(prompts, n_tokens, options))
    }

    pub(crate) fn try_generate(
        &self,
        prompts: &[&[u32]],
        n_tokens: usize,
        options: &EvaluateOptions<'_>,
    ) -> Result<Vec<Vec<u32>>, Stop> {
        let mut longest = 0;
        for (index, prompt) in prompts.iter().enumerate() {
            if prompt.is_empty() {
                return Err(Error::SequenceTooShort { index, n_tokens: 0, n_tokens_min: 1 }.into());
            }
            let n_positions = prompt.len().saturating_add(n_tokens);
            self.check_tokens(prompt, n_positions)?;
            longest = longest.max(n_positions);
        }
        if prompts.is_empty() || n_tokens == 0 {
            return Ok(vec![Vec::new(); prompts.len()]);
        }
        let angles = self.angles(longest)?;
        let is_cancelled = options.is_cancelled();
        let forward = self.forward(angles.as_deref(), options.instructions.check()?, &is_cancelled);
        let (architecture, parameters) = (self.architecture(), self.parameters());
        let mut batch = Batch::start(architecture, parameters, prompts, n_tokens)?;
        let mut memory = Memory::default();
        memory.reserve(architecture, &batch, true)?;
        let n_busy = self.n_busy(batch.n_rows(), options.threads.max(1));
        let spaces = (0..n_busy).map(|_| WorkSpace::new(architecture, longest));
        let mut spaces = spaces.collect::<Result<Vec<_>, Error>>()?;

        let mut generated = vec![Vec::with_capacity(n_tokens); prompts.len()];
        for step in 0..n_tokens {
            let held = Held { batch: &mut batch, memory: &mut memory };
            let greatest = greatest(&forward, parameters, held, &mut spaces)?;
            let mut tokens = Vec::with_capacity(prompts.len());
            for (index, greatest) in greatest.iter().enumerate() {
                let Some(token) = greatest.token() else {
                    return refuse(NonFiniteLoss, format!("a logit after prompt {index}"));
                };
                tokens.push(token);
            }
            generated.iter_mut().zip(&tokens).for_each(|(all, token)| all.push(*token));
            if step + 1 < n_tokens {
                batch.follow(parameters, &tokens)?;
                // A row per prompt is too little work to share.
                spaces.truncate(1);
            }
        }
        Ok(generated)
    }
}

/// Takes the rows of a batch through the model: the greatest logit after each sequence.
fn greatest(
    forward: &Forward<'_>,
    parameters: &Parameters,
    held: Held<'_>,
    spaces: &mut [WorkSpace],
) -> Result<Vec<Greatest>, Stop> {
    let Held { batch, memory } = held;
    let mut greatest = Vec::new();
    forward.norm_rows(parameters.rows.norm.as_ref(), batch, spaces)?;
    parameters.each(forward.architecture, |piece| match piece {
        Piece::Layer(index, layer) => {
            let held = Held { batch: &mut *batch, memory: &mut *memory };
            Ok(forward.layer(index, layer, held, spaces)?)
        }
        Piece::Head(tokens, head) => {
            if tokens.start == 0 {
                batch.keep_last_rows();
                forward.norm_rows(parameters.final_norm.as_ref(), batch, spaces)?;
                greatest.resize_with(batch.n_rows(), Greatest::default);
            }
            let logits = forward.logits(head, batch, &mut spaces[0])?;
            let rows = logits.chunks_exact(logits.len() / batch.n_rows());
            for (logits, greatest) in rows.zip(&mut greatest) {
                greatest.take(tokens.start, &logits[..tokens.len()]);
            }
            Ok(())
        }
    })?;
    Ok(greatest)
}

/// The greatest logit so far.
#[derive(Clone, Copy, Default)]
struct Greatest {
    best: Option<(usize, f32)>,
    is_spoilt: bool,
}

impl Greatest {
    /// Looks at the logits of the tokens from `first` on.
    fn take(&mut self, first: usize, logits: &[f32]) {
        for (index, &logit) in logits.iter().enumerate() {
            self.is_spoilt |= !logit.is_finite();
            if self.best.is_none_or(|(_, best)| logit > best) {
                self.best = Some((first + index, logit));
            }
        }
    }

    /// The lowest token whose logit is the greatest; nothing if one was not finite.
    fn token(&self) -> Option<u32> {
        let (token, _) = self.best.filter(|_| !self.is_spoilt)?;
        u32::try_from(token).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeliest(parts: &[&[f32]]) -> Option<u32> {
        let (mut greatest, mut first) = (Greatest::default(), 0);
        for part in parts {
            greatest.take(first, part);
            first += part.len();
        }
        greatest.token()
    }

    #[test]
    fn the_lowest_of_equal_logits_is_taken_and_none_may_be_infinite() {
        assert_eq!(likeliest(&[&[-1.0, 2.0, 2.0]]), Some(1));
        assert_eq!(likeliest(&[&[-1.0], &[2.0, 1.0], &[2.0]]), Some(1));
        assert_eq!(likeliest(&[&[1.0, f32::NEG_INFINITY]]), None);
        assert_eq!(likeliest(&[&[1.0], &[f32::NAN]]), None);
    }
}
