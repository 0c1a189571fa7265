//! The forward pass of a Llama model over a batch, on candle's tape.

use crate::{
    config::ModelConfig,
    error::{Error, Result},
    kernel::{
        attention::{Heads, Plan, Rotation},
        head::loss_sum,
        norm,
    },
    parameters::{self, Block, EMBEDDING},
    tape::{AddLinear, AddSwigluLinear, Attention, Embed, NormHeadLoss, NormLinear, with_floats},
};
use candle_core::Tensor;
use std::sync::{Arc, Mutex};

/// Sequences as one run of rows: each token but the last of a sequence predicts its successor.
pub(crate) struct Batch {
    inputs: Arc<Vec<u32>>,
    targets: Arc<Vec<u32>>,
    plan: Arc<Plan>,
}

impl Batch {
    /// Checks sequences against the model and lays them out.
    pub(crate) fn new(config: &ModelConfig, sequences: &[Vec<u32>]) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Batch(reason));
        if sequences.is_empty() {
            return refuse("no sequences".to_owned());
        }
        let (mut inputs, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in sequences {
            let (n, context, vocabulary) = (sequence.len(), config.context, config.vocabulary);
            if n < 2 || n > context {
                return refuse(format!("a sequence has {n} tokens, not between 2 and {context}"));
            }
            if let Some(token) = sequence.iter().find(|token| **token as usize >= vocabulary) {
                return refuse(format!("token {token} is not in a vocabulary of {vocabulary}"));
            }
            inputs.extend_from_slice(&sequence[..n - 1]);
            targets.extend_from_slice(&sequence[1..]);
            lengths.push(n - 1);
        }
        let width = config.head_width();
        let heads = Heads { n_query: config.n_heads, n_key: config.n_kv_heads, width };
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rotation = Rotation::new(width, config.rope_theta, longest);
        let plan = Plan { heads, lengths, rotation };
        Ok(Self { inputs: Arc::new(inputs), targets: Arc::new(targets), plan: Arc::new(plan) })
    }

    /// Number of predicted tokens.
    pub(crate) fn n_tokens(&self) -> usize {
        self.targets.len()
    }
}

/// The residual rows after all blocks.
fn rows(config: &ModelConfig, slots: &[&Tensor], batch: &Batch) -> candle_core::Result<Tensor> {
    let eps = config.rms_norm_eps as f32;
    let mut rows = slots[EMBEDDING].apply_op1(Embed { tokens: batch.inputs.clone() })?;
    for Block { attention_norm, query_key_value, output, feed_forward_norm, gate_up, down } in
        parameters::blocks(slots)
    {
        let packed = rows.apply_op3(attention_norm, query_key_value, NormLinear { eps })?;
        let attended = packed.apply_op1(Attention { plan: batch.plan.clone() })?;
        rows = rows.apply_op3(&attended, output, AddLinear)?;
        let packed = rows.apply_op3(feed_forward_norm, gate_up, NormLinear { eps })?;
        rows = rows.apply_op3(&packed, down, AddSwigluLinear)?;
    }
    Ok(rows)
}

/// The mean cross-entropy in nats per predicted token, a scalar that can be differentiated once.
pub(crate) fn loss(
    config: &ModelConfig,
    slots: &[&Tensor],
    batch: &Batch,
) -> candle_core::Result<Tensor> {
    let (gain, weight) = parameters::head(slots, config);
    let op = NormHeadLoss {
        eps: config.rms_norm_eps as f32,
        targets: batch.targets.clone(),
        gradients: Mutex::new(None),
    };
    rows(config, slots, batch)?.apply_op3(gain, weight, op)
}

/// The sum of cross-entropies over all predicted tokens, without gradients.
pub(crate) fn cross_entropy_sum(
    config: &ModelConfig,
    slots: &[&Tensor],
    batch: &Batch,
) -> candle_core::Result<f64> {
    let rows = rows(config, slots, batch)?;
    let (gain, weight) = parameters::head(slots, config);
    with_floats([&rows, gain, weight], |[rows, gain, weight]| {
        let normed = norm::forward(rows, gain, config.rms_norm_eps as f32);
        loss_sum(&normed, weight, &batch.targets, config.hidden)
    })
}
