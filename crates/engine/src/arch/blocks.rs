//! The blocks that every architecture is described with.

use super::{inconsistent, limits};
use crate::{config::Fields, json::shorten};
use protocol::Reason;

/// A tensor that the config demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Vec<u64>,
}

impl<'a> Parameter<'a> {
    /// A name with its shape.
    pub(super) fn of((name, shape): &'a (String, Vec<u64>)) -> Self {
        Self { name, shape: shape.clone() }
    }
}

/// Attention and a perceptron, each added to the rows that it works on.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    pub(crate) attention_norms: Norms,
    pub(crate) mlp: Mlp,
    pub(crate) mlp_norms: Norms,
    /// Whether the perceptron works on the rows that attention works on, not on its sum with them;
    /// without an input norm of its own it shares attention's.
    pub(crate) is_parallel: bool,
}

/// Norms around attention or a perceptron; most architectures have the first alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Norms {
    /// Of what goes in.
    pub(crate) input: Option<Norm>,
    /// Of what comes out, before it is added.
    pub(crate) output: Option<Norm>,
    /// Of the sum.
    pub(crate) sum: Option<Norm>,
}

impl Norms {
    /// A norm of what goes in.
    pub(super) fn before(norm: Norm) -> Self {
        Self { input: Some(norm), ..Self::default() }
    }

    /// A norm of what comes out.
    pub(super) fn after(norm: Norm) -> Self {
        Self { output: Some(norm), ..Self::default() }
    }

    fn all(&self) -> impl Iterator<Item = &Norm> {
        self.input.iter().chain(&self.output).chain(&self.sum)
    }
}

/// What is divided by its root mean square, then multiplied with a gain.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    /// Whether the mean is taken off first.
    pub(crate) has_mean: bool,
    pub(crate) gain: String,
    /// What is added to the gains as published.
    pub(crate) gain_offset: f32,
    pub(crate) bias: Option<String>,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// The root-mean-square norm `<module>.weight`.
    pub(super) fn rms(module: &str, width: usize, epsilon: f32) -> Self {
        let gain = format!("{module}.weight");
        Self { has_mean: false, gain, gain_offset: 0.0, bias: None, width, epsilon }
    }

    /// The layer norm `<module>.weight` and `<module>.bias`.
    pub(super) fn layer(module: &str, width: usize, epsilon: f32) -> Self {
        let bias = Some(format!("{module}.bias"));
        Self { has_mean: true, bias, ..Self::rms(module, width, epsilon) }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let names = std::iter::once(&self.gain).chain(&self.bias);
        names.map(|name| Parameter { name, shape: vec![self.width as u64] })
    }
}

/// `x W' + b`; the weight is `[n_out, n_in]`, or published the other way round.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: String,
    pub(crate) bias: Option<String>,
    pub(crate) n_in: usize,
    pub(crate) n_out: usize,
    pub(crate) is_transposed: bool,
    pub(crate) order: Order,
}

/// In which order the outputs of a matrix are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// In that in which they are used.
    AsUsed,
    /// The queries that share the first key, that key and its value, then those of the next; used
    /// are all queries first, then all keys, then all values.
    GroupByGroup(Heads),
    /// Each head's first `n_turned` numbers pair by pair; used are the first of all pairs, then the
    /// second.
    PairByPair { head_size: usize, n_turned: usize },
}

impl Order {
    /// Where the output published as number `output` is used.
    pub(crate) fn place(self, output: usize) -> usize {
        match self {
            Self::AsUsed => output,
            Self::GroupByGroup(Heads { n_heads, n_kv_heads, head_size }) => {
                let n_sharing = n_heads / n_kv_heads;
                let (head, number) = (output / head_size, output % head_size);
                let (group, member) = (head / (n_sharing + 2), head % (n_sharing + 2));
                let head = match member.checked_sub(n_sharing) {
                    None => group * n_sharing + member,
                    Some(0) => n_heads + group,
                    Some(_) => n_heads + n_kv_heads + group,
                };
                head * head_size + number
            }
            Self::PairByPair { head_size, n_turned } => {
                let (head, number) = (output / head_size, output % head_size);
                let number = if number < n_turned {
                    number % 2 * (n_turned / 2) + number / 2
                } else {
                    number
                };
                head * head_size + number
            }
        }
    }
}

impl Linear {
    /// The matrix `<module>.weight`, with `<module>.bias` beside it or not.
    pub(crate) fn new(module: &str, (n_in, n_out): (usize, usize), has_bias: bool) -> Self {
        let bias = has_bias.then(|| format!("{module}.bias"));
        Self {
            weight: format!("{module}.weight"),
            bias,
            n_in,
            n_out,
            is_transposed: false,
            order: Order::AsUsed,
        }
    }

    /// The same, published the other way round.
    pub(super) fn transposed(self) -> Self {
        Self { is_transposed: true, ..self }
    }

    /// The same, its outputs published in another order.
    pub(super) fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let mut shape = vec![self.n_out as u64, self.n_in as u64];
        if self.is_transposed {
            shape.reverse();
        }
        let bias = self.bias.iter().map(|name| Parameter { name, shape: vec![self.n_out as u64] });
        std::iter::once(Parameter { name: &self.weight, shape }).chain(bias)
    }
}

/// How many heads attention has; groups of query heads share a key-value head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_size: usize,
}

impl Heads {
    /// Heads that divide the hidden size among them.
    pub(super) fn of(hidden: usize, n_heads: usize, n_kv_heads: usize) -> Result<Self, Reason> {
        if !hidden.is_multiple_of(n_heads) {
            return inconsistent(format!("{n_heads} heads in a hidden size of {hidden}"));
        }
        Self { n_heads, n_kv_heads, head_size: hidden / n_heads }.check()
    }

    /// The same heads if they fit together.
    pub(super) fn check(self) -> Result<Self, Reason> {
        let Self { n_heads, n_kv_heads, head_size } = self;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return inconsistent(format!("{n_heads} heads share {n_kv_heads} key-value heads"));
        }
        if head_size as u64 > limits::HEAD_SIZE_MAX {
            return inconsistent(format!("heads of size {head_size}"));
        }
        Ok(self)
    }

    /// Numbers of the queries of one row.
    pub(crate) fn queries_width(self) -> usize {
        self.n_heads * self.head_size
    }

    /// Numbers of the keys of one row, and of its values.
    pub(crate) fn keys_width(self) -> usize {
        self.n_kv_heads * self.head_size
    }

    /// Numbers of the queries, keys and values of one row.
    pub(crate) fn inputs_width(self) -> usize {
        self.queries_width() + 2 * self.keys_width()
    }
}

/// Causal attention.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) heads: Heads,
    /// Queries, keys and values one after the other, in as many matrices as are published.
    pub(crate) inputs: Vec<Linear>,
    pub(crate) output: Linear,
    pub(crate) head_norms: Option<HeadNorms>,
    /// What queries are multiplied with.
    pub(crate) scale: f32,
    /// Scores become `cap tanh(score / cap)`.
    pub(crate) score_cap: Option<f32>,
    /// How many positions a query looks back at, its own included; without a number, at all.
    pub(crate) window: Option<usize>,
}

impl Attention {
    /// Attention over all positions, scaled by the root of the head size.
    pub(super) fn new(heads: Heads, inputs: Vec<Linear>, output: Linear) -> Self {
        Self {
            heads,
            inputs,
            output,
            head_norms: None,
            scale: 1.0 / (heads.head_size as f32).sqrt(),
            score_cap: None,
            window: None,
        }
    }
}

/// Norms of the queries and of the keys, before they are turned.
///
/// On either side one norm serves all heads, or there is one for each, or one spans all of them.
#[derive(Clone, Debug)]
pub(crate) struct HeadNorms {
    pub(crate) query: Vec<Norm>,
    pub(crate) key: Vec<Norm>,
}

/// `down(activation(up(x)))`, or `down(activation(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    pub(crate) is_gated: bool,
    /// All gates, then all ups, in as many matrices as are published.
    pub(crate) inputs: Vec<Linear>,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
}

impl Mlp {
    /// Numbers between the two products of one row.
    pub(crate) fn width(&self) -> usize {
        self.down.n_in
    }
}

/// The bend of a perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// Its approximation with the hyperbolic tangent.
    GeluTanh,
    /// `x` where it is positive, else zero.
    Relu,
}

impl Activation {
    /// Takes the name of an activation; nothing if there is none.
    pub(super) fn read(fields: &mut Fields, key: &str) -> Option<Self> {
        let name = fields.text(key)?;
        match name.as_str() {
            "silu" | "swish" => Some(Self::Silu),
            "gelu" | "gelu_python" => Some(Self::Gelu),
            // The same polynomial inside of the tangent, factored in different ways.
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => {
                Some(Self::GeluTanh)
            }
            "relu" => Some(Self::Relu),
            other => {
                let other = shorten(other);
                let usual = "silu, gelu, gelu_new or relu";
                fields.fault(format_args!("`{key}` is `{other}`, not {usual}"));
                None
            }
        }
    }
}

/// How hidden states become logits.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    /// By the embedding table.
    Tied {
        /// A tensor of this name may repeat the table bit for bit.
        copy: String,
        /// Name of what is added.
        bias: Option<String>,
    },
    /// By a matrix of its own.
    Own(Linear),
}

impl Head {
    /// `own`, unless the config says that it is tied; `is_tied` where it says nothing.
    pub(super) fn read(fields: &mut Fields, is_tied: bool, own: Linear) -> Self {
        if fields.boolean("tie_word_embeddings").unwrap_or(is_tied) {
            Self::Tied { copy: own.weight, bias: own.bias }
        } else {
            Self::Own(own)
        }
    }
}

impl Layer {
    /// All matrices of the layer.
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let Attention { inputs, output, .. } = &self.attention;
        inputs.iter().chain([output]).chain(&self.mlp.inputs).chain([&self.mlp.down])
    }

    /// All norms of the layer.
    pub(crate) fn norms(&self) -> impl Iterator<Item = &Norm> {
        let heads = self.attention.head_norms.iter();
        let heads = heads.flat_map(|HeadNorms { query, key }| query.iter().chain(key));
        self.attention_norms.all().chain(self.mlp_norms.all()).chain(heads)
    }

    /// All tensors of the layer.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let norms = self.norms().flat_map(Norm::parameters);
        norms.chain(self.linears().flat_map(Linear::parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(order: Order, n: usize) -> Vec<usize> {
        (0..n).map(|output| order.place(output)).collect()
    }

    #[test]
    fn groups_are_taken_apart_into_queries_keys_and_values() {
        let heads = |n_heads, n_kv_heads| Heads { n_heads, n_kv_heads, head_size: 1 };
        // q0 q1 k0 v0, q2 q3 k1 v1.
        let order = Order::GroupByGroup(heads(4, 2));
        assert_eq!(places(order, 8), [0, 1, 4, 6, 2, 3, 5, 7]);
        // One head after the other, and one key for all.
        assert_eq!(places(Order::GroupByGroup(heads(2, 2)), 6), [0, 2, 4, 1, 3, 5]);
        assert_eq!(places(Order::GroupByGroup(heads(3, 1)), 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn pairs_are_taken_apart_into_halves_and_the_rest_stays() {
        let order = Order::PairByPair { head_size: 6, n_turned: 4 };
        assert_eq!(places(order, 12), [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]);
    }
}
