//! What a model is, whoever packed it: one root for one function, another for any other.

use crate::{
    evaluate, load,
    published::{self, Published, RawTensor},
    writer::{Random, Recipe},
};
use engine::{EvaluateOptions, no_limits, scan};
use half::{bf16, f16};
use protocol::Digest;
use serde_json::{Map, Value, json};
use std::{fs, path::Path};
use tempfile::TempDir;

const TABLE: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// A small tied model in BF16 whose numbers F16 holds as well.
fn packed() -> Published {
    let recipe = Recipe { dtype: "BF16", is_tied: true, ..Recipe::small(32, 2, 48) };
    let mut model = Published::read(crate::folder(&recipe).path());
    for tensor in &mut model.tensors {
        let numbers = numbers(tensor);
        let exact = numbers.map(|number| (number * 64.0).round().clamp(-127.0, 127.0) / 64.0);
        tensor.bytes = exact.flat_map(|n| bf16::from_f32(n).to_le_bytes()).collect();
    }
    model
}

fn numbers(tensor: &RawTensor) -> impl Iterator<Item = f32> + use<> {
    let pairs = tensor.bytes.as_chunks::<2>().0.to_vec();
    pairs.into_iter().map(|pair| bf16::from_le_bytes(pair).to_f32())
}

fn widen(tensor: &mut RawTensor) {
    tensor.bytes = numbers(tensor).flat_map(f32::to_le_bytes).collect();
    tensor.dtype = "F32".into();
}

fn halve(tensor: &mut RawTensor) {
    tensor.bytes = numbers(tensor).flat_map(|n| f16::from_f32(n).to_le_bytes()).collect();
    tensor.dtype = "F16".into();
}

/// The root of a model and the bits of its losses.
fn outcome(dir: &Path) -> (Digest, Vec<u32>) {
    let root = scan(dir, &no_limits()).unwrap().unwrap().tensor_root;
    let sequences = [vec![1, 2, 3, 4, 5, 6], vec![7, 8, 9]];
    let losses = evaluate(&load(dir), &sequences, &EvaluateOptions::default());
    let nats = losses.into_iter().flat_map(|loss| loss.token_nll.unwrap());
    (root, nats.map(f32::to_bits).collect())
}

/// The model with a change.
fn changed(change: impl FnOnce(&mut Published)) -> TempDir {
    let mut model = packed();
    change(&mut model);
    model.write()
}

fn tensor<'a>(model: &'a mut Published, name: &str) -> &'a mut RawTensor {
    model.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// Takes tensors of each layer and puts one with all of their rows in their place.
fn fuse(model: &mut Published, parts: &[&str], whole: &str) {
    for layer in 0..2 {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let parts: Vec<RawTensor> =
            parts.iter().map(|part| tensor(model, &name(part)).clone()).collect();
        model.tensors.retain(|tensor| parts.iter().all(|part| part.name != tensor.name));
        let n_rows = parts.iter().map(|part| part.shape[0]).sum();
        model.tensors.push(RawTensor {
            name: name(whole),
            shape: vec![n_rows, parts[0].shape[1]],
            bytes: parts.iter().flat_map(|part| part.bytes.clone()).collect(),
            ..parts[0].clone()
        });
    }
}

/// The config of the same model under the name of another type.
fn as_type(config: &mut Map<String, Value>, name: &str) {
    let own = ["architectures", "attention_bias", "mlp_bias", "rope_parameters", "head_dim"];
    own.iter().for_each(|key| drop(config.remove(*key)));
    config.insert("model_type".into(), json!(name));
    config.insert("rope_theta".into(), json!(10_000.0));
    config.insert("sliding_window".into(), Value::Null);
}

fn with_metadata() -> TempDir {
    let (model, dir) = (packed(), packed().write());
    let mut header = published::header(&model.tensors);
    header.insert("__metadata__".into(), json!({"format": "pt", "made by": "somebody else"}));
    let data: Vec<u8> = model.tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    let file = published::file(Value::Object(header).to_string().as_bytes(), &data);
    fs::write(dir.path().join("model.safetensors"), file).unwrap();
    dir
}

/// Other blanks, another order, keys that nothing reads, and none where the default says the same.
fn with_another_config() -> TempDir {
    let dir = packed().write();
    let mut config = packed().config;
    for (key, default) in [("attention_bias", json!(false)), ("hidden_act", json!("silu"))] {
        assert_eq!(config.remove(key), Some(default));
    }
    let mut lines: Vec<String> =
        config.iter().map(|(key, value)| format!("\t{} :  {value}", json!(key))).collect();
    lines.reverse();
    lines.push("\"_name_or_path\": \"mine\"".into());
    lines.push("\"transformers_version\": \"4.99.0\"".into());
    lines.push("\"use_cache\": false".into());
    fs::write(dir.path().join("config.json"), format!("{{\n{}\n}}", lines.join(",\n"))).unwrap();
    dir
}

/// Adds the head that is tied to the table.
fn write_head_out(model: &mut Published) {
    let head = RawTensor { name: HEAD.into(), ..tensor(model, TABLE).clone() };
    model.tensors.push(head);
}

fn packings() -> Vec<(&'static str, TempDir)> {
    vec![
        ("shards", packed().write_shards(3)),
        ("order of tensors", changed(|model| model.tensors.reverse())),
        ("metadata", with_metadata()),
        (
            "names",
            changed(|model| {
                for tensor in &mut model.tensors {
                    tensor.name = tensor.name.replacen("model.", "", 1);
                }
            }),
        ),
        ("F32", changed(|model| model.tensors.iter_mut().for_each(widen))),
        ("F16", changed(|model| model.tensors.iter_mut().for_each(halve))),
        (
            "three types",
            changed(|model| {
                model.tensors.iter_mut().step_by(3).for_each(widen);
                model.tensors.iter_mut().skip(1).step_by(3).for_each(halve);
            }),
        ),
        ("table and head", changed(write_head_out)),
        ("head alone", changed(|model| tensor(model, TABLE).name = HEAD.into())),
        (
            "untied in name",
            changed(|model| {
                write_head_out(model);
                model.config["tie_word_embeddings"] = json!(false);
            }),
        ),
        ("config", with_another_config()),
        (
            "constants",
            changed(|model| {
                let name = "model.layers.0.self_attn.rotary_emb.inv_freq".into();
                let bytes = [1.0_f32, 0.1, 0.01, 0.001].map(f32::to_le_bytes).concat();
                model.tensors.push(RawTensor { name, dtype: "F32".into(), shape: vec![4], bytes });
            }),
        ),
        ("another type", changed(|model| as_type(&mut model.config, "mistral"))),
        (
            "a window that hides nothing",
            changed(|model| {
                as_type(&mut model.config, "mistral");
                model.config["sliding_window"] = json!(1024);
            }),
        ),
        (
            "matrices as one",
            changed(|model| {
                as_type(&mut model.config, "phi3");
                let inputs = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
                fuse(model, &inputs, "self_attn.qkv_proj");
                fuse(model, &["mlp.gate_proj", "mlp.up_proj"], "mlp.gate_up_proj");
            }),
        ),
    ]
}

#[test]
fn attack_every_way_to_pack_a_model_has_its_root_and_its_losses() {
    let expected = outcome(packed().write().path());
    let packings = packings();
    assert!(packings.len() >= 12);
    for (name, dir) in packings {
        assert_eq!(outcome(dir.path()), expected, "{name}");
    }
}

/// Gives all matrices of attention biases of one half.
fn add_biases(model: &mut Published) {
    model.config["attention_bias"] = json!(true);
    for layer in 0..2 {
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            let name = format!("model.layers.{layer}.self_attn.{part}.bias");
            let bytes = [0, 0x3f].repeat(32);
            let dtype = "BF16".into();
            model.tensors.push(RawTensor { name, dtype, shape: vec![32], bytes });
        }
    }
}

#[test]
fn whatever_changes_what_a_model_computes_changes_its_root() {
    let config = |key: &'static str, value: Value| {
        changed(move |model| drop(model.config.insert(key.into(), value)))
    };
    let swap = |a: &'static str, b: &'static str| {
        changed(move |model| {
            let first = std::mem::take(&mut tensor(model, a).bytes);
            let second = std::mem::replace(&mut tensor(model, b).bytes, first);
            tensor(model, a).bytes = second;
        })
    };
    let window = changed(|model| {
        as_type(&mut model.config, "mistral");
        model.config["sliding_window"] = json!(2);
    });
    let models = [
        ("none", packed().write()),
        ("context", config("max_position_embeddings", json!(512))),
        ("epsilon", config("rms_norm_eps", json!(1e-6))),
        ("rope", config("rope_parameters", json!({"rope_type": "default", "rope_theta": 9e3}))),
        (
            "heads",
            changed(|model| {
                for (key, value) in [("num_attention_heads", 2), ("head_dim", 16)] {
                    model.config[key] = json!(value);
                }
                model.config["num_key_value_heads"] = json!(2);
            }),
        ),
        ("window", window),
        ("biases", changed(add_biases)),
        ("a bit", changed(|model| tensor(model, TABLE).bytes[0] ^= 1)),
        ("sign of a zero", changed(|model| tensor(model, TABLE).bytes[..2].fill(0))),
        (
            "the other zero",
            changed(|model| {
                tensor(model, TABLE).bytes[..2].copy_from_slice(&[0, 0x80]);
            }),
        ),
        (
            "more than BF16 holds",
            changed(|model| {
                let table = tensor(model, TABLE);
                widen(table);
                table.bytes[0] ^= 1;
            }),
        ),
        (
            "keys and values",
            swap(
                "model.layers.0.self_attn.k_proj.weight",
                "model.layers.0.self_attn.v_proj.weight",
            ),
        ),
        (
            "layers",
            swap("model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"),
        ),
        (
            "gates and ups",
            swap("model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ),
    ];
    let root = |dir: &TempDir| scan(dir.path(), &no_limits()).unwrap().unwrap().tensor_root;
    let roots: Vec<_> = models.iter().map(|(name, dir)| (name, root(dir))).collect();
    for (index, (name, root)) in roots.iter().enumerate() {
        for (other, same) in &roots[..index] {
            assert_ne!(root, same, "{name}, {other}");
        }
    }
}

#[test]
fn random_bits_change_the_root_in_every_type() {
    let mut random = Random(23);
    let stores: [fn(&mut RawTensor); 3] = [|_| (), widen, halve];
    for store in stores {
        let mut model = packed();
        model.tensors.iter_mut().for_each(store);
        let expected = scan(model.write().path(), &no_limits()).unwrap().unwrap().tensor_root;
        for trial in 0..20 {
            let mut other = model.clone();
            let index = random.below(other.tensors.len());
            let bytes = &mut other.tensors[index].bytes;
            let bit = random.below(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A number that is none has no root.
            if let Ok(found) = scan(other.write().path(), &no_limits()).unwrap() {
                assert_ne!(found.tensor_root, expected, "seed 23, {trial}: tensor {index}, {bit}");
            }
        }
    }
}
