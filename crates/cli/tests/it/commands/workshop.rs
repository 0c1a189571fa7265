//! A folder of files to run `agon` on, a small model among them, and how it is run.

use protocol::Digest;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a run of `agon` left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// The JSON document on stdout of a run that went well.
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "it went wrong");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs the real binary.
pub(crate) fn agon(args: &[&str]) -> Ran {
    let started = Instant::now();
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_agon")).args(args).output().unwrap();
    Ran {
        code: status
            .code()
            .unwrap_or_else(|| panic!("`agon {}` ended by {status}", args.join(" "))),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        took: started.elapsed(),
    }
}

/// A folder that goes away with its test.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a JSON file and gives its path.
    pub(crate) fn json(&self, name: &str, value: &Value) -> String {
        self.file(name, value.to_string())
    }

    /// Writes a model and gives the path of its folder.
    pub(crate) fn model(&self, name: &str, model: &SmallModel) -> String {
        self.raw_model(name, &model.config.to_string(), &model.safetensors())
    }

    /// Writes the two files of a model as they are and gives the path of its folder.
    pub(crate) fn raw_model(&self, name: &str, config: &str, safetensors: &[u8]) -> String {
        self.file(&format!("{name}/config.json"), config);
        self.file(&format!("{name}/model.safetensors"), safetensors);
        self.path(name)
    }

    /// The rules of `tiny` with one text replaced by another, as a competition file.
    pub(crate) fn rules(&self, name: &str, from: &str, to: &str) -> String {
        let rules = crate::tree::read("competitions/tiny.toml");
        assert!(rules.contains(from), "the rules of `tiny` have no `{from}`");
        self.file(name, rules.replace(from, to))
    }
}

/// The folder of a model with golden losses.
pub(crate) fn golden(name: &str) -> PathBuf {
    crate::tree::root().join("testdata/llama").join(name)
}

/// A Llama that the competition `tiny` admits: 512 tokens, a context of 128, seeded numbers.
#[derive(Clone)]
pub(crate) struct SmallModel {
    pub(crate) config: Value,
    /// Name, shape and elements.
    pub(crate) tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl SmallModel {
    pub(crate) fn new() -> Self {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": 16,
            "intermediate_size": 24,
            "max_position_embeddings": 128,
            "model_type": "llama",
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": false,
            "vocab_size": 512,
        });
        let shapes: [(&str, &[usize]); 12] = [
            ("lm_head.weight", &[512, 16]),
            ("model.embed_tokens.weight", &[512, 16]),
            ("model.layers.0.input_layernorm.weight", &[16]),
            ("model.layers.0.mlp.down_proj.weight", &[16, 24]),
            ("model.layers.0.mlp.gate_proj.weight", &[24, 16]),
            ("model.layers.0.mlp.up_proj.weight", &[24, 16]),
            ("model.layers.0.post_attention_layernorm.weight", &[16]),
            ("model.layers.0.self_attn.k_proj.weight", &[8, 16]),
            ("model.layers.0.self_attn.o_proj.weight", &[16, 16]),
            ("model.layers.0.self_attn.q_proj.weight", &[16, 16]),
            ("model.layers.0.self_attn.v_proj.weight", &[8, 16]),
            ("model.norm.weight", &[16]),
        ];
        let mut state = 1_u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let tensors = shapes.map(|(name, shape)| {
            let n = shape.iter().product();
            (name.to_owned(), shape.to_vec(), (0..n).map(|_| number()).collect())
        });
        Self { config, tensors: tensors.into() }
    }

    /// One that has learnt that each token is followed by the one `step` further on.
    ///
    /// The layer adds nothing; the head looks for the embedding of the token before.
    pub(crate) fn counting(step: usize) -> Self {
        let mut model = Self::new();
        let embedding = model.tensors[1].2.clone();
        for (name, _, elements) in &mut model.tensors {
            match name.as_str() {
                "lm_head.weight" => {
                    let rows = embedding.chunks(16).enumerate();
                    for (token, row) in rows {
                        let next = (token + step) % 512 * 16;
                        let scaled = row.iter().map(|number| 4.0 * number);
                        elements[next..next + 16].iter_mut().zip(scaled).for_each(|(e, n)| *e = n);
                    }
                }
                name if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") => {
                    elements.fill(0.0);
                }
                "model.norm.weight" => elements.fill(1.0),
                _ => {}
            }
        }
        model
    }

    /// The same with some keys of its config changed.
    pub(crate) fn with_config(&self, changes: &Value) -> Self {
        let mut model = self.clone();
        for (key, value) in changes.as_object().unwrap() {
            model.config[key] = value.clone();
        }
        model
    }

    /// Number of parameters.
    pub(crate) fn n_parameters(&self) -> usize {
        self.tensors.iter().map(|(_, _, elements)| elements.len()).sum()
    }

    /// Its root, however it is written down.
    pub(crate) fn tensor_root(&self) -> Digest {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), self.config.to_string()).unwrap();
        fs::write(dir.path().join("model.safetensors"), self.safetensors()).unwrap();
        engine::scan(dir.path(), &engine::no_limits()).unwrap().unwrap().tensor_root
    }

    /// The bytes of `model.safetensors`.
    pub(crate) fn safetensors(&self) -> Vec<u8> {
        let mut header = Map::new();
        let mut data = Vec::new();
        for (name, shape, elements) in &self.tensors {
            let begin = data.len();
            data.extend(bytes(elements));
            let offsets = [begin, data.len()];
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
            header.insert(name.clone(), entry);
        }
        with_header(&Value::Object(header).to_string(), &data)
    }
}

fn bytes(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|element| element.to_le_bytes()).collect()
}

/// A safetensors file with this header.
pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data].concat()
}
