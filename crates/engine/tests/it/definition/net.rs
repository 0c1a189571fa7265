//! What the definition needs to know of a model, read from its config and tensors.

use super::functions::frequency;
use crate::published::Published;
use half::bf16;
use serde_json::Value;

/// A matrix by its inputs: what each gives to every output.
pub(super) struct Matrix {
    pub(super) n_out: usize,
    /// `[n_in][n_out]`.
    pub(super) inputs: Vec<f32>,
    pub(super) bias: Option<Vec<f32>>,
}

/// A norm; with a bias, of the deviations from the mean.
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    /// Gains that are published less one.
    pub(super) is_less_one: bool,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) epsilon: f32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    Gelu,
    GeluTanh,
}

/// A layer.
pub(super) struct Layer {
    pub(super) attention_norm: Norm,
    /// Queries, keys, values.
    pub(super) inputs: [Matrix; 3],
    pub(super) head_norms: Option<[Norm; 2]>,
    pub(super) output: Matrix,
    pub(super) gathered_norm: Option<Norm>,
    pub(super) window: usize,
    /// Without one, the layer is parallel.
    pub(super) mlp_norm: Option<Norm>,
    pub(super) gate: Option<Matrix>,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
    pub(super) given_norm: Option<Norm>,
}

/// A model.
pub(super) struct Net {
    pub(super) hidden: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) head_size: usize,
    pub(super) query_scale: f32,
    /// The same computed in the other precision.
    pub(super) other_query_scale: f32,
    pub(super) score_cap: Option<f32>,
    pub(super) logit_cap: Option<f32>,
    pub(super) activation: Activation,
    /// `[vocabulary][hidden]`.
    pub(super) table: Vec<f32>,
    pub(super) table_scale: Option<f32>,
    /// `[position][hidden]`, where positions are learned.
    pub(super) positions: Option<Vec<f32>>,
    /// Turns per position of each pair, where positions are rotary.
    pub(super) frequencies: Vec<f32>,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Norm,
    pub(super) head: Matrix,
}

impl Net {
    /// Reads a model of the families `llama`, `gpt2`, `gemma2` and `phi` with plain frequencies.
    pub(super) fn read(published: &Published) -> Option<Self> {
        let source = Source(published);
        let scaling =
            published.config.get("rope_scaling").is_some_and(|scaling| !scaling.is_null());
        let kind = source.inner("rope_type");
        if scaling || kind.is_some_and(|kind| kind != "default") {
            return None;
        }
        match published.architecture() {
            "llama" => Some(source.llama()),
            "gpt2" => Some(source.gpt2()),
            "gemma2" => Some(source.gemma2()),
            "phi" => Some(source.phi()),
            _ => None,
        }
    }
}

/// A published model with readers for its keys and tensors.
struct Source<'a>(&'a Published);

impl Source<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.config.get(key).filter(|value| !value.is_null())
    }

    /// A key of the rotation's parameters.
    fn inner(&self, key: &str) -> Option<&Value> {
        self.get("rope_parameters")?.get(key)
    }

    fn size(&self, key: &str, usual: usize) -> usize {
        self.get(key).map_or(usual, |value| value.as_u64().unwrap() as usize)
    }

    fn real(&self, key: &str, usual: f64) -> f64 {
        self.get(key).map_or(usual, |value| value.as_f64().unwrap())
    }

    fn is_tied(&self, usual: bool) -> bool {
        self.get("tie_word_embeddings").map_or(usual, |value| value.as_bool().unwrap())
    }

    /// A tensor, widened.
    fn find(&self, name: &str) -> Option<Vec<f32>> {
        let short = name.strip_prefix("transformer.").unwrap_or(name);
        let tensor = self.0.tensors.iter().find(|tensor| [name, short].contains(&&*tensor.name))?;
        let bytes = &tensor.bytes;
        Some(match &*tensor.dtype {
            "F32" => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            "BF16" => {
                bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            other => panic!("`{name}` is {other}"),
        })
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("`{name}` is missing"))
    }

    /// `<module>.weight`, published output by output, and `<module>.bias`.
    fn matrix(&self, module: &str, n_in: usize) -> Matrix {
        by_inputs(&self.tensor(&format!("{module}.weight")), n_in, self.bias(module))
    }

    fn bias(&self, module: &str) -> Option<Vec<f32>> {
        self.find(&format!("{module}.bias"))
    }

    fn norm(&self, module: &str, epsilon: f64) -> Norm {
        Norm {
            gain: self.tensor(&format!("{module}.weight")),
            is_less_one: self.0.architecture() == "gemma2",
            bias: self.bias(module),
            epsilon: epsilon as f32,
        }
    }

    fn activation(&self, key: &str, usual: Activation) -> Activation {
        match self.get(key).map(|name| name.as_str().unwrap()) {
            None => usual,
            Some("silu") => Activation::Silu,
            Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Activation::GeluTanh,
            Some(other) => panic!("the activation {other}"),
        }
    }

    fn frequencies(&self, width: usize) -> Vec<f32> {
        let theta = self.inner("rope_theta").map(|theta| theta.as_f64().unwrap());
        let theta = theta.unwrap_or_else(|| self.real("rope_theta", 10_000.0));
        (0..width / 2).map(|pair| frequency(theta, pair, width)).collect()
    }

    /// What the relatives of Llama spell alike, with the layers made by `layer`.
    fn body(&self, epsilon: f64, layer: impl Fn(&Shape, &str) -> Layer, norm: &str) -> Net {
        let (hidden, n_heads) = (self.size("hidden_size", 0), self.size("num_attention_heads", 0));
        let head_size = self.size("head_dim", hidden / n_heads);
        let shape = Shape { hidden, queries: n_heads * head_size, epsilon };
        let table = self.tensor("model.embed_tokens.weight");
        let layers = (0..self.size("num_hidden_layers", 0))
            .map(|index| layer(&shape, &format!("model.layers.{index}")))
            .collect();
        Net {
            hidden,
            n_heads,
            n_kv_heads: self.size("num_key_value_heads", n_heads),
            head_size,
            query_scale: root_in_single(head_size as f64),
            other_query_scale: root_in_double(head_size as f64),
            score_cap: None,
            logit_cap: None,
            activation: Activation::Silu,
            table_scale: None,
            positions: None,
            frequencies: self.frequencies(head_size),
            layers,
            final_norm: self.norm(norm, epsilon),
            head: if self.is_tied(self.0.architecture() == "gemma2") {
                by_inputs(&table, hidden, self.bias("lm_head"))
            } else {
                self.matrix("lm_head", hidden)
            },
            table,
        }
    }

    fn attention_inputs(&self, module: &str, hidden: usize) -> [Matrix; 3] {
        ["q_proj", "k_proj", "v_proj"]
            .map(|name| self.matrix(&format!("{module}.self_attn.{name}"), hidden))
    }

    /// A layer of Llama.
    fn layer(&self, shape: &Shape, module: &str) -> Layer {
        let Shape { hidden, queries, epsilon } = *shape;
        let mlp = |name: &str, n_in| self.matrix(&format!("{module}.mlp.{name}"), n_in);
        let norm = |name: &str| self.norm(&format!("{module}.{name}"), epsilon);
        let up = mlp("up_proj", hidden);
        Layer {
            attention_norm: norm("input_layernorm"),
            inputs: self.attention_inputs(module, hidden),
            head_norms: None,
            output: self.matrix(&format!("{module}.self_attn.o_proj"), queries),
            gathered_norm: None,
            window: usize::MAX,
            mlp_norm: Some(norm("post_attention_layernorm")),
            gate: Some(mlp("gate_proj", hidden)),
            down: mlp("down_proj", up.n_out),
            up,
            given_norm: None,
        }
    }

    fn llama(&self) -> Net {
        let layer = |shape: &Shape, module: &str| self.layer(shape, module);
        self.body(self.real("rms_norm_eps", 1e-6), layer, "model.norm")
    }

    fn gemma2(&self) -> Net {
        let window = |index: usize| match self.get("layer_types") {
            Some(kinds) => kinds[index] == "sliding_attention",
            None => index.is_multiple_of(2),
        };
        let layer = |shape: &Shape, module: &str| {
            let norm = |name: &str| self.norm(&format!("{module}.{name}"), shape.epsilon);
            let index: usize = module.rsplit('.').next().unwrap().parse().unwrap();
            let is_window = window(index) && self.get("sliding_window").is_some();
            Layer {
                window: if is_window { self.size("sliding_window", 0) } else { usize::MAX },
                gathered_norm: Some(norm("post_attention_layernorm")),
                mlp_norm: Some(norm("pre_feedforward_layernorm")),
                given_norm: Some(norm("post_feedforward_layernorm")),
                ..self.layer(shape, module)
            }
        };
        let net = self.body(self.real("rms_norm_eps", 1e-6), layer, "model.norm");
        let scalar = self.real("query_pre_attn_scalar", 256.0);
        let cap = |key: &str| self.get(key).map(|cap| cap.as_f64().unwrap() as f32);
        Net {
            query_scale: root_in_double(scalar),
            other_query_scale: root_in_single(scalar),
            score_cap: cap("attn_logit_softcapping"),
            logit_cap: cap("final_logit_softcapping"),
            activation: Activation::GeluTanh,
            table_scale: Some((net.hidden as f32).sqrt()),
            ..net
        }
    }

    fn phi(&self) -> Net {
        let layer = |shape: &Shape, module: &str| {
            let Shape { hidden, queries, epsilon } = *shape;
            let norm = |name: &str| self.norm(&format!("{module}.{name}"), epsilon);
            let has_head_norms = self.get("qk_layernorm").is_some_and(|has| has == true);
            let up = self.matrix(&format!("{module}.mlp.fc1"), hidden);
            Layer {
                attention_norm: norm("input_layernorm"),
                inputs: self.attention_inputs(module, hidden),
                head_norms: has_head_norms
                    .then(|| ["self_attn.q_layernorm", "self_attn.k_layernorm"].map(norm)),
                output: self.matrix(&format!("{module}.self_attn.dense"), queries),
                gathered_norm: None,
                window: usize::MAX,
                mlp_norm: None,
                gate: None,
                down: self.matrix(&format!("{module}.mlp.fc2"), up.n_out),
                up,
                given_norm: None,
            }
        };
        let net = self.body(self.real("layer_norm_eps", 1e-5), layer, "model.final_layernorm");
        let share = self.inner("partial_rotary_factor").map(|share| share.as_f64().unwrap());
        let share = share.unwrap_or_else(|| self.real("partial_rotary_factor", 0.5));
        Net {
            frequencies: self.frequencies((net.head_size as f64 * share) as usize),
            activation: self.activation("hidden_act", Activation::GeluTanh),
            ..net
        }
    }

    /// A layer of GPT-2, whose matrices are published input by input.
    fn gpt2_layer(&self, hidden: usize, epsilon: f64, index: usize) -> Layer {
        let module = |name: &str| format!("transformer.h.{index}.{name}");
        let matrix = |name: &str| {
            let bias = self.tensor(&module(&format!("{name}.bias")));
            let inputs = self.tensor(&module(&format!("{name}.weight")));
            Matrix { n_out: bias.len(), inputs, bias: Some(bias) }
        };
        let all = matrix("attn.c_attn");
        let part = |number: usize| Matrix {
            n_out: hidden,
            inputs: all
                .inputs
                .chunks(3 * hidden)
                .flat_map(|row| &row[number * hidden..][..hidden])
                .copied()
                .collect(),
            bias: all.bias.as_ref().map(|bias| bias[number * hidden..][..hidden].to_vec()),
        };
        Layer {
            attention_norm: self.norm(&module("ln_1"), epsilon),
            inputs: [part(0), part(1), part(2)],
            head_norms: None,
            output: matrix("attn.c_proj"),
            gathered_norm: None,
            window: usize::MAX,
            mlp_norm: Some(self.norm(&module("ln_2"), epsilon)),
            gate: None,
            up: matrix("mlp.c_fc"),
            down: matrix("mlp.c_proj"),
            given_norm: None,
        }
    }

    fn gpt2(&self) -> Net {
        let (hidden, n_heads) = (self.size("n_embd", 768), self.size("n_head", 12));
        let epsilon = self.real("layer_norm_epsilon", 1e-5);
        let table = self.tensor("transformer.wte.weight");
        let layers = 0..self.size("n_layer", 12);
        Net {
            hidden,
            n_heads,
            n_kv_heads: n_heads,
            head_size: hidden / n_heads,
            query_scale: root_in_single((hidden / n_heads) as f64),
            other_query_scale: root_in_double((hidden / n_heads) as f64),
            score_cap: None,
            logit_cap: None,
            activation: self.activation("activation_function", Activation::GeluTanh),
            table_scale: None,
            positions: Some(self.tensor("transformer.wpe.weight")),
            frequencies: Vec::new(),
            layers: layers.map(|index| self.gpt2_layer(hidden, epsilon, index)).collect(),
            final_norm: self.norm("transformer.ln_f", epsilon),
            head: if self.is_tied(true) {
                by_inputs(&table, hidden, None)
            } else {
                self.matrix("lm_head", hidden)
            },
            table,
        }
    }
}

/// Sizes that the layers of a model share.
struct Shape {
    hidden: usize,
    queries: usize,
    epsilon: f64,
}

/// One over the root of a whole number.
fn root_in_single(number: f64) -> f32 {
    1.0 / (number as f32).sqrt()
}

/// The same in double, rounded.
fn root_in_double(number: f64) -> f32 {
    (1.0 / number.sqrt()) as f32
}

/// A matrix that is published output by output.
fn by_inputs(outputs: &[f32], n_in: usize, bias: Option<Vec<f32>>) -> Matrix {
    let n_out = outputs.len() / n_in;
    let mut inputs = vec![0.0; outputs.len()];
    for (output, row) in outputs.chunks(n_in).enumerate() {
        for (input, number) in row.iter().enumerate() {
            inputs[input * n_out + output] = *number;
        }
    }
    Matrix { n_out, inputs, bias }
}
