//! One model in the many ways in which programs write it down: the same losses, the same root.

use crate::{
    assert_refused, evaluate, load,
    published::{INDEX, Published, RawTensor, all, one_each, shard_name, small},
};
use engine::{EvaluateOptions, no_limits, scan};
use protocol::{Digest, ReasonCode::TensorMismatch};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// The root of a model and the bits of its losses.
fn outcome(dir: &Path) -> (Digest, Vec<Vec<u32>>) {
    let root = scan(dir, &no_limits()).unwrap().unwrap().tensor_root;
    let model = load(dir);
    let sequences = [vec![1, 2, 3, 4, 5, 6], vec![7, 8, 9]];
    let losses = evaluate(&model, &sequences, &EvaluateOptions::default());
    let bits = losses.into_iter().map(|loss| loss.token_nll.unwrap());
    (root, bits.map(|nats| nats.into_iter().map(f32::to_bits).collect()).collect())
}

/// The module of the first layer's attention.
fn attention(model: &Published) -> String {
    let inputs = ["q_proj", "qkv_proj", "c_attn", "query_key_value"];
    let is_input = |name: &&str| {
        inputs.iter().any(|input| name.ends_with(&format!(".0.self_attn.{input}.weight")))
            || inputs.iter().any(|input| name.ends_with(&format!(".0.attn.{input}.weight")))
            || name.ends_with(".0.attention.query_key_value.weight")
            || name.ends_with(".0.self_attention.query_key_value.weight")
    };
    let names = model.tensors.iter().map(|tensor| tensor.name.as_str());
    let name = names.filter(|name| !name.contains("encoder_attn")).find(is_input).unwrap();
    name.rsplitn(3, '.').nth(2).unwrap().to_owned()
}

fn constant(name: String, dtype: &str, shape: &[u64]) -> RawTensor {
    let n_bytes = match dtype {
        "BOOL" | "U8" | "I8" => 1,
        "F16" | "BF16" => 2,
        "F32" | "I32" => 4,
        _ => 8,
    };
    let n: u64 = shape.iter().product();
    // As numbers of any type these are not finite: nobody reads them.
    let bytes = vec![0xff; (n * n_bytes) as usize];
    RawTensor { name, dtype: dtype.into(), shape: shape.to_vec(), bytes }
}

#[test]
fn constants_of_older_programs_may_stand_beside_the_parameters_of_every_type() {
    for model in one_each() {
        let (expected, attention) = (outcome(model.write().path()), attention(&model));
        let base = attention.split('.').next().unwrap();
        for (name, shape) in [
            (format!("{attention}.rotary_emb.inv_freq"), &[2][..]),
            (format!("{attention}.maybe_rotary.inv_freq"), &[2]),
            (format!("{attention}.rotary_emb.cos_cached"), &[1, 1, 4, 4]),
            (format!("{base}.rotary_emb.inv_freq"), &[2]),
            (format!("{attention}.bias"), &[1, 1, 8, 8]),
            (format!("{attention}.masked_bias"), &[]),
        ] {
            let is_mask = name.ends_with("bias");
            if is_mask && !["attn", "attention"].contains(&attention.rsplit('.').next().unwrap()) {
                continue;
            }
            for dtype in ["BOOL", "U8", "I64", "F64", "F32", "F16"] {
                let mut more = model.clone();
                more.tensors.push(constant(name.clone(), dtype, shape));
                for dir in [more.write(), more.write_shards(2)] {
                    assert_eq!(outcome(dir.path()), expected, "{name}, {dtype}");
                }
            }
        }
    }
}

#[test]
fn attack_a_constant_that_the_model_does_not_have_carries_nothing_in() {
    for model in one_each() {
        let attention = attention(&model);
        let elsewhere = attention.replacen(".0.", ".999.", 1);
        for (name, shape) in [
            (format!("{elsewhere}.rotary_emb.inv_freq"), &[2][..]),
            ("payload.rotary_emb.inv_freq".into(), &[2]),
            (format!("{attention}.rotary_emb.inv_freq"), &[100_000]),
            (format!("{attention}.rotary_emb.cos_cached"), &[1, 1, 1 << 20, 1]),
            ("payload.attn.bias".into(), &[1, 1, 2, 2]),
        ] {
            let mut more = model.clone();
            more.tensors.push(constant(name.clone(), "U8", shape));
            assert_refused(more.write().path(), TensorMismatch, &format!("`{name}`"));
        }
    }
    let mut masks = one_each().into_iter().find(|m| m.architecture() == "gpt2").unwrap();
    let n = masks.config["n_positions"].as_u64().unwrap() + 1;
    masks.tensors.push(constant("transformer.h.0.attn.bias".into(), "U8", &[1, 1, n, n]));
    assert_refused(masks.write().path(), TensorMismatch, "larger than the model has it");
}

#[test]
fn a_model_saved_without_its_prefix_is_the_same_in_every_type() {
    for (name, model) in all() {
        let mut short = model.clone();
        for tensor in &mut short.tensors {
            if let Some((prefix, rest)) = tensor.name.clone().split_once('.')
                && ["model", "transformer", "gpt_neox"].contains(&prefix)
            {
                tensor.name = rest.to_owned();
            }
        }
        let mut more = short.clone();
        more.tensors.push(constant("rotary_emb.inv_freq".into(), "F32", &[2]));
        let expected = outcome(model.write().path());
        assert_eq!(outcome(short.write().path()), expected, "{name}");
        assert_eq!(outcome(more.write_shards(3).path()), expected, "{name}");
    }
}

#[test]
fn attack_names_with_and_without_their_prefix_do_not_mix() {
    for model in one_each() {
        let n = model.tensors.len();
        for index in 0..n {
            let mut mixed = model.clone();
            let Some((_, rest)) = model.tensors[index].name.split_once('.') else { continue };
            mixed.tensors[index].name = rest.to_owned();
            assert_refused(mixed.write().path(), TensorMismatch, "");
            // The same tensor under both names.
            mixed.tensors.push(model.tensors[index].clone());
            assert_refused(mixed.write().path(), TensorMismatch, "");
        }
    }
}

#[test]
fn of_two_tied_names_either_may_be_the_one_that_is_saved() {
    let mut n_tied = 0;
    for (name, model) in all() {
        let heads = ["lm_head.weight", "embed_out.weight"];
        if model.tensors.iter().any(|t| heads.contains(&t.name.as_str())) {
            continue;
        }
        n_tied += 1;
        let tables = ["embed_tokens.weight", "wte.weight", "embed_in.weight", "embeddings.weight"];
        let is_table = |t: &RawTensor| tables.iter().any(|table| t.name.ends_with(table));
        let mut head = model.clone();
        let table = head.tensors.iter_mut().find(|tensor| is_table(tensor)).unwrap();
        let is_neox = model.architecture() == "gpt_neox";
        table.name = heads[usize::from(is_neox)].into();
        head.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(outcome(head.write().path()), outcome(model.write().path()), "{name}");
    }
    assert!(n_tied >= 5, "{n_tied}");
}

#[test]
fn shards_may_have_any_plain_name_that_the_index_tells() {
    let model = small();
    let expected = outcome(model.write().path());
    for names in [
        ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"],
        ["model.safetensors-00001-of-00002.safetensors", "model.safetensors-2-2.safetensors"],
        ["pytorch_model-1.safetensors", "Other_Part.safetensors"],
    ] {
        let dir = model.write_shards(2);
        let path = dir.path().join(INDEX);
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (shard, name) in names.into_iter().enumerate() {
            let usual = shard_name(shard, 2);
            fs::rename(dir.path().join(&usual), dir.path().join(name)).unwrap();
            for file in index["weight_map"].as_object_mut().unwrap().values_mut() {
                if *file == json!(usual) {
                    *file = json!(name);
                }
            }
        }
        index["format"] = json!("pt");
        fs::write(&path, index.to_string()).unwrap();
        assert_eq!(outcome(dir.path()), expected, "{names:?}");
    }
}

#[test]
fn a_folder_of_another_format_is_refused_with_the_name_of_what_is_there() {
    for name in ["pytorch_model.bin", "adapter_model.safetensors", "consolidated.safetensors"] {
        let dir = small().write();
        fs::rename(dir.path().join("model.safetensors"), dir.path().join(name)).unwrap();
        let code = protocol::ReasonCode::FileRefused;
        assert_refused(dir.path(), code, "`model.safetensors` is missing");
        assert_refused(dir.path(), code, &format!("`{name}` is of another format"));
    }
}
