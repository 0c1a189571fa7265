//! Writes Llama checkpoints with random parameters, as a stranger would publish them.

use half::{bf16, f16};
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

/// A Llama to write.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) is_tied: bool,
    pub(crate) has_biases: bool,
    pub(crate) dtype: &'static str,
    pub(crate) rope: Value,
    pub(crate) seed: u64,
}

impl Recipe {
    /// Sizes in the order of usual tables; a head per 8 hidden numbers, four layers' worth of rope.
    pub(crate) fn small(hidden: usize, n_layers: usize, vocabulary: usize) -> Self {
        Self {
            hidden,
            intermediate: hidden * 8 / 3,
            n_layers,
            n_heads: 4,
            n_kv_heads: 4,
            head_dim: hidden.div_ceil(8) * 2,
            vocabulary,
            context: 1024,
            is_tied: false,
            has_biases: false,
            dtype: "F32",
            rope: json!({"rope_type": "default", "rope_theta": 10_000.0}),
            seed: 1,
        }
    }

    /// The content of `config.json`.
    pub(crate) fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-5,
            "rope_parameters": self.rope,
            "tie_word_embeddings": self.is_tied,
            "attention_bias": self.has_biases,
            "mlp_bias": self.has_biases,
            "hidden_act": "silu",
        })
    }

    /// All tensors with random numbers, in the order of their names.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let (hidden, wide) = (self.hidden, self.intermediate);
        let (queries, keys) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let mut shapes = vec![
            ("model.embed_tokens.weight".to_owned(), vec![self.vocabulary, hidden]),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ];
        if !self.is_tied {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocabulary, hidden]));
        }
        for layer in 0..self.n_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            shapes.push((name("input_layernorm.weight"), vec![hidden]));
            shapes.push((name("post_attention_layernorm.weight"), vec![hidden]));
            for (part, n_out, n_in) in [
                ("self_attn.q_proj", queries, hidden),
                ("self_attn.k_proj", keys, hidden),
                ("self_attn.v_proj", keys, hidden),
                ("self_attn.o_proj", hidden, queries),
                ("mlp.gate_proj", wide, hidden),
                ("mlp.up_proj", wide, hidden),
                ("mlp.down_proj", hidden, wide),
            ] {
                shapes.push((name(&format!("{part}.weight")), vec![n_out, n_in]));
                if self.has_biases {
                    shapes.push((name(&format!("{part}.bias")), vec![n_out]));
                }
            }
        }
        shapes.sort();
        let mut random = Random(self.seed);
        shapes.into_iter().map(|(name, shape)| self.tensor(name, shape, &mut random)).collect()
    }

    fn tensor(&self, name: String, shape: Vec<usize>, random: &mut Random) -> Tensor {
        let n: usize = shape.iter().product();
        // Sharp enough that a wrong position or mask moves the losses.
        let (center, scale) = match shape[..] {
            [_] if name.contains("norm") => (1.0, 0.3),
            [_, n_in] => (0.0, 1.7 * 3.0 / (n_in as f32).sqrt()),
            _ => (0.0, 0.3),
        };
        let numbers = (0..n).map(|_| center + scale * random.next()).collect();
        Tensor { name, dtype: self.dtype, shape, numbers }
    }

    /// Writes the checkpoint to a folder that exists.
    pub(crate) fn write(&self, dir: &Path) {
        write(dir, &self.config(), &self.tensors());
    }
}

/// One tensor before it is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Vec<f32>,
}

impl Tensor {
    /// The numbers as the checkpoint holds them.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let numbers = self.numbers.iter();
        match self.dtype {
            "F16" => numbers.flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect(),
            "BF16" => numbers.flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect(),
            _ => numbers.flat_map(|n| n.to_le_bytes()).collect(),
        }
    }

    /// The numbers after a trip through the checkpoint's type.
    pub(crate) fn rounded(&self) -> Vec<f64> {
        let round = |number: &f32| match self.dtype {
            "F16" => f16::from_f32(*number).to_f64(),
            "BF16" => bf16::from_f32(*number).to_f64(),
            _ => f64::from(*number),
        };
        self.numbers.iter().map(round).collect()
    }
}

/// The bytes of a safetensors file.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = Map::new();
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend(tensor.bytes());
        let entry = json!({
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()],
        });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// Writes a config and a single safetensors file.
pub(crate) fn write(dir: &Path, config: &Value, tensors: &[Tensor]) {
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("model.safetensors"), safetensors(tensors)).unwrap();
}

/// SplitMix64 as numbers from -1 to 1.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from -1 to 1.
    pub(crate) fn next(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// An index below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// A sequence of tokens.
    pub(crate) fn tokens(&mut self, n: usize, vocabulary: usize) -> Vec<u32> {
        (0..n).map(|_| self.below(vocabulary) as u32).collect()
    }
}
