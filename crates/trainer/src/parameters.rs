//! The parameters of a model: how they are grouped for training, named in files, and born.

use crate::{config::ModelConfig, error::Result};
use candle_core::{Device, Tensor, Var};
use protocol::Seed;
use rand_chacha::rand_core::RngCore;

/// Position of the embedding among the slots.
pub(crate) const EMBEDDING: usize = 0;

/// Deviation of the first values of the embedding.
const EMBEDDING_DEVIATION: f64 = 0.02;

/// Deviation of the first values of a matrix times the root of its fan-in.
const MATRIX_GAIN: f64 = 1.0;

/// What a slot is for, which decides its first values and whether it decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rows by token.
    Embedding,
    /// A linear map from normed rows.
    Matrix,
    /// A linear map whose result is added to the residual rows.
    ResidualWriter,
    /// The gain of a norm.
    Gain,
}

/// Parameters that are trained as one tensor: maps of the same input stand on top of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) kind: Kind,
    /// Names in files and rows of each part; for a gain, elements.
    pub(crate) parts: Vec<(String, usize)>,
    /// Elements per row; `None` for a gain.
    pub(crate) n_columns: Option<usize>,
}

/// The slots of one block.
pub(crate) struct Block<'a, T> {
    pub(crate) attention_norm: &'a T,
    pub(crate) query_key_value: &'a T,
    pub(crate) output: &'a T,
    pub(crate) feed_forward_norm: &'a T,
    pub(crate) gate_up: &'a T,
    pub(crate) down: &'a T,
}

impl Slot {
    fn matrix(kind: Kind, n_columns: usize, parts: Vec<(String, usize)>) -> Self {
        Self { kind, parts, n_columns: Some(n_columns) }
    }

    fn gain(name: String, n: usize) -> Self {
        Self { kind: Kind::Gain, parts: vec![(name, n)], n_columns: None }
    }

    fn n_rows(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows).sum()
    }

    /// Shape of the whole slot.
    pub(crate) fn shape(&self) -> Vec<usize> {
        std::iter::once(self.n_rows()).chain(self.n_columns).collect()
    }

    /// Elements of the whole slot.
    pub(crate) fn len(&self) -> usize {
        self.n_rows() * self.n_columns.unwrap_or(1)
    }

    /// Name and shape of each part, in order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let shape = |rows: usize| std::iter::once(rows).chain(self.n_columns).collect();
        self.parts.iter().map(move |(name, rows)| (name.as_str(), shape(*rows)))
    }

    /// First values: normal with a deviation by fan-in, narrower where blocks add to the residual
    /// rows so that their sum starts as wide as one of them; gains are one.
    fn first_values(&self, config: &ModelConfig, seed: &Seed) -> Vec<f32> {
        let fan_in = self.n_columns.unwrap_or(1) as f64;
        let deviation = match self.kind {
            Kind::Gain => return vec![1.0; self.len()],
            Kind::Embedding => EMBEDDING_DEVIATION,
            Kind::Matrix => MATRIX_GAIN / fan_in.sqrt(),
            Kind::ResidualWriter => MATRIX_GAIN / (fan_in * 2.0 * config.n_layers as f64).sqrt(),
        };
        let name = self.parts.first().map_or("", |(name, _)| name);
        let mut stream = seed.derive(name).stream();
        (0..self.len()).map(|_| (normal(&mut stream) * deviation) as f32).collect()
    }
}

/// The slots of a model, in the order in which everything in this crate walks through them.
pub(crate) fn slots(config: &ModelConfig) -> Vec<Slot> {
    let hidden = config.hidden;
    let keys = config.n_kv_heads * config.head_width();
    let table = |name: &str| vec![(name.to_owned(), config.vocabulary)];
    let mut slots = vec![Slot::matrix(Kind::Embedding, hidden, table("model.embed_tokens.weight"))];
    for layer in 0..config.n_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        slots.extend([
            Slot::gain(name("input_layernorm"), hidden),
            Slot::matrix(
                Kind::Matrix,
                hidden,
                vec![
                    (name("self_attn.q_proj"), hidden),
                    (name("self_attn.k_proj"), keys),
                    (name("self_attn.v_proj"), keys),
                ],
            ),
            Slot::matrix(Kind::ResidualWriter, hidden, vec![(name("self_attn.o_proj"), hidden)]),
            Slot::gain(name("post_attention_layernorm"), hidden),
            Slot::matrix(
                Kind::Matrix,
                hidden,
                vec![
                    (name("mlp.gate_proj"), config.intermediate),
                    (name("mlp.up_proj"), config.intermediate),
                ],
            ),
            Slot::matrix(
                Kind::ResidualWriter,
                config.intermediate,
                vec![(name("mlp.down_proj"), hidden)],
            ),
        ]);
    }
    slots.push(Slot::gain("model.norm.weight".to_owned(), hidden));
    if !config.tied {
        slots.push(Slot::matrix(Kind::Matrix, hidden, table("lm_head.weight")));
    }
    slots
}

/// The blocks of `slots`, in order.
pub(crate) fn blocks<T>(slots: &[T]) -> impl Iterator<Item = Block<'_, T>> {
    // One embedding comes before the blocks, one gain and perhaps one head after them.
    let (blocks, _) = slots[1..].as_chunks::<6>();
    blocks.iter().map(|[a, b, c, d, e, f]| Block {
        attention_norm: a,
        query_key_value: b,
        output: c,
        feed_forward_norm: d,
        gate_up: e,
        down: f,
    })
}

/// The gain of the last norm and the projection to the vocabulary.
pub(crate) fn head<'a, T>(slots: &'a [T], config: &ModelConfig) -> (&'a T, &'a T) {
    let norm = 1 + 6 * config.n_layers;
    (&slots[norm], &slots[if config.tied { EMBEDDING } else { norm + 1 }])
}

/// First values of all slots from a seed; each tensor has its own stream.
pub(crate) fn first_values(config: &ModelConfig, seed: &Seed) -> Vec<Vec<f32>> {
    slots(config).iter().map(|slot| slot.first_values(config, seed)).collect()
}

/// Puts values into tensors that candle differentiates by.
pub(crate) fn variables(slots: &[Slot], values: Vec<Vec<f32>>) -> Result<Vec<Var>> {
    let pairs = slots.iter().zip(values);
    let variable = |(slot, values): (&Slot, Vec<f32>)| {
        Var::from_tensor(&Tensor::from_vec(values, slot.shape(), &Device::Cpu)?)
    };
    Ok(pairs.map(variable).collect::<candle_core::Result<_>>()?)
}

/// A nearly normal number: twelve uniform ones less six.
///
/// Arithmetic alone, so that a seed gives the same model on every machine.
fn normal(stream: &mut impl RngCore) -> f64 {
    let uniform = |stream: &mut _| f64::from(RngCore::next_u32(stream)) / 4_294_967_296.0;
    (0..12).map(|_| uniform(stream)).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests;
