//! AdamW: steps by the mean of gradients over the root of their mean square, with weight decay.

use crate::{kernel::lanes::with_vectors, recipe::Recipe};

/// Moving averages of one tensor's gradients and squared gradients.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f32>,
    pub(crate) square: Vec<f32>,
}

/// The numbers of one step, the same for all tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    lr: f32,
    keep: f32,
    betas: (f32, f32),
    corrections: (f32, f32),
    epsilon: f32,
    gradient_scale: f32,
}

impl Moments {
    /// Those of a tensor that has seen no gradient.
    pub(crate) fn zeros(n: usize) -> Self {
        Self { mean: vec![0.0; n], square: vec![0.0; n] }
    }
}

impl Update {
    /// Step number `step`, from 1, whose gradient has the given global norm.
    pub(crate) fn new(recipe: &Recipe, step: u64, gradient_norm: f64) -> Self {
        let correction = |beta: f64| (1.0 / (1.0 - beta.powf(step as f64))) as f32;
        let lr = recipe.lr_at(step);
        Self {
            lr: lr as f32,
            keep: (1.0 - lr * recipe.weight_decay) as f32,
            betas: (recipe.beta1 as f32, recipe.beta2 as f32),
            corrections: (correction(recipe.beta1), correction(recipe.beta2)),
            epsilon: recipe.adam_epsilon as f32,
            gradient_scale: (recipe.clip_norm / gradient_norm.max(recipe.clip_norm)) as f32,
        }
    }

    /// Changes values and moments of one tensor by its gradient; only matrices should decay.
    pub(crate) fn apply(
        &self,
        values: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
        decays: bool,
    ) {
        let keep = if decays { self.keep } else { 1.0 };
        let (beta1, beta2) = self.betas;
        with_vectors(
            #[inline(always)]
            || {
                let averages = moments.mean.iter_mut().zip(&mut moments.square);
                let tensors = values.iter_mut().zip(gradient);
                for ((value, gradient), (mean, square)) in tensors.zip(averages) {
                    let gradient = gradient * self.gradient_scale;
                    *mean = beta1 * *mean + (1.0 - beta1) * gradient;
                    *square = beta2 * *square + (1.0 - beta2) * gradient * gradient;
                    let root = (*square * self.corrections.1).sqrt() + self.epsilon;
                    *value = *value * keep - self.lr * self.corrections.0 * *mean / root;
                }
            },
        );
    }
}

/// The global norm of gradients, summed in their order.
pub(crate) fn norm<'a>(gradients: impl Iterator<Item = &'a [f32]>) -> f64 {
    let squares = |g: &[f32]| g.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    gradients.map(squares).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests;
