//! Configs as they are published: read as they stand, or refused by name.

use crate::{assert_refused, attacks::with_config, published::one_each};
use engine::fuzzing;
use protocol::{Reason, ReasonCode};
use serde_json::{Map, Value, json};
use std::fs;

/// One line of `testdata/configs/published.json`.
struct Case {
    name: String,
    /// What a refusal must name; nothing of a config that is read.
    refused: Vec<String>,
    config: Map<String, Value>,
}

fn cases() -> Vec<Case> {
    let file = "../../testdata/configs/published.json";
    let lines: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let case = |line: Value| Case {
        name: line["name"].as_str().unwrap().to_owned(),
        refused: serde_json::from_value(line["refused"].clone()).unwrap(),
        config: line["config"].as_object().unwrap().clone(),
    };
    lines.into_iter().map(case).collect()
}

fn case(name: &str) -> Map<String, Value> {
    cases().into_iter().find(|case| case.name == name).unwrap().config
}

fn verdict(config: &Value) -> Result<fuzzing::Demand, Reason> {
    fuzzing::config(config.to_string().as_bytes()).unwrap()
}

#[test]
fn published_configs_are_read_as_they_are_published() {
    let cases = cases();
    assert!(cases.len() >= 85, "{}", cases.len());
    for Case { name, refused, config } in cases {
        match verdict(&Value::Object(config)) {
            Ok(_) => assert!(refused.is_empty(), "{name} is read"),
            Err(reason) => {
                assert_eq!(reason.code, ReasonCode::ConfigRefused, "{name}");
                assert!(!refused.is_empty(), "{name}: {reason}");
                for key in refused {
                    assert!(reason.detail.contains(&key), "{name}: {reason}");
                }
            }
        }
    }
}

#[test]
fn a_config_means_the_same_with_keys_that_nobody_reads() {
    for Case { name, refused, config } in cases() {
        if !refused.is_empty() {
            continue;
        }
        let plain = verdict(&Value::Object(config.clone())).unwrap();
        let mut more = config;
        for key in ["auto_map", "transformers.js_config", "_num_labels", "my notes", "n_special"] {
            more.insert(key.into(), json!({"any": ["thing", 1.5, null]}));
        }
        assert_eq!(verdict(&Value::Object(more)).unwrap(), plain, "{name}");
    }
}

#[test]
fn names_of_other_programs_for_a_size_must_repeat_it() {
    for (name, key, said, other) in [
        ("falcon-40b", "n_head", json!(128), json!(64)),
        ("falcon-40b", "n_layer", json!(60), json!(61)),
        ("falcon-40b", "n_embed", json!(8192), json!(4096)),
        ("falcon-40b", "head_dim", json!(64), json!(128)),
        ("falcon-7b", "ff_factor", json!(4), json!(2)),
        ("gpt2-xl", "hidden_size", json!(1600), json!(800)),
        ("gpt2-xl", "num_hidden_layers", json!(48), json!(12)),
        ("gpt2-xl", "num_attention_heads", json!(25), json!(16)),
        ("gpt2-xl", "max_position_embeddings", json!(1024), json!(2048)),
        ("phi-2", "rotary_dim", json!(32), json!(64)),
        ("gpt-neox-20b", "rope_theta", json!(10_000.0), json!(500_000)),
        ("gpt-neox-20b", "partial_rotary_factor", json!(0.25), json!(1.0)),
        ("gpt-neox-20b", "head_dim", json!(96), json!(64)),
        ("llama-2-7b", "rotary_pct", json!(1.0), json!(0.25)),
        ("llama-2-7b", "hidden_activation", json!("silu"), json!("gelu")),
        ("qwen2.5-7b", "use_qkv_bias", json!(true), json!(false)),
        ("gemma-2-27b", "sliding_window_pattern", json!(2), json!(6)),
        ("mistral-7b-v0.1", "layer_types", json!(vec!["sliding_attention"; 32]), json!([])),
    ] {
        let mut config = case(name);
        config.insert(key.into(), said);
        verdict(&Value::Object(config.clone())).unwrap_or_else(|r| panic!("{name}: {r}"));
        config.insert(key.into(), other);
        let reason = verdict(&Value::Object(config)).unwrap_err();
        assert!(reason.detail.contains(key), "{name}: {reason}");
    }
}

#[test]
fn one_refusal_names_everything_that_is_wrong_with_a_config() {
    let mut config = case("phi-4-mini");
    for key in ["attention_bias", "mlp_bias", "lm_head_bias", "use_qk_norm"] {
        config.insert(key.into(), json!(true));
    }
    config.insert("hidden_act".into(), json!("mish"));
    config.insert("rms_norm_eps".into(), json!("1e-5"));
    config.remove("vocab_size");
    let reason = verdict(&Value::Object(config)).unwrap_err();
    for key in ["hidden_act", "vocab_size", "rms_norm_eps", "attention_bias", "lm_head_bias"] {
        assert!(reason.detail.contains(key), "{key}: {reason}");
    }
    assert!(reason.detail.contains("more") || reason.detail.contains("mlp_bias"), "{reason}");
}

#[test]
fn classes_of_other_kinds_are_refused_and_old_names_are_not() {
    for classes in [
        json!(null),
        json!([]),
        json!(["LlamaModel"]),
        json!(["LLaMAForCausalLM"]),
        json!(["YiForCausalLM"]),
        json!(["LlamaForCausalLM"]),
    ] {
        crate::load(with_config(&json!({"architectures": classes})).path());
    }
    for class in [
        "LlamaForSequenceClassification",
        "LlamaForTokenClassification",
        "LlamaForRewardModel",
        "LlamaRewardModel",
        "LlamaForCausalLMWithValueHead",
        "RewardModel",
        "",
    ] {
        let dir = with_config(&json!({"architectures": ["LlamaForCausalLM", class]}));
        assert_refused(dir.path(), ReasonCode::ConfigRefused, &format!("is `{class}`"));
    }
}

#[test]
fn the_types_that_tensors_have_count_and_not_those_that_a_config_tells() {
    for types in [
        json!({"dtype": "float64"}),
        json!({"dtype": "auto"}),
        json!({"torch_dtype": "torch.bfloat16"}),
        json!({"dtype": "float32", "torch_dtype": "bfloat16"}),
    ] {
        crate::load(with_config(&types).path());
    }
}

#[test]
fn rotations_in_both_schemas_must_mean_the_same() {
    let linear = |factor: f64| json!({"type": "linear", "factor": factor, "rope_theta": 10_000});
    let new = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0});
    let both = |old: Value| with_config(&json!({"rope_parameters": new, "rope_scaling": old}));
    crate::load(both(linear(2.0)).path());
    let because = "`rope_parameters` and `rope_scaling` contradict each other";
    assert_refused(both(linear(4.0)).path(), ReasonCode::ConfigRefused, because);
    assert_refused(both(json!({})).path(), ReasonCode::ConfigRefused, because);
    // Without a base of its own it has the usual one.
    let new = json!({"rope_type": "default", "rope_theta": 500_000.0});
    let other = with_config(&json!({"rope_parameters": new, "rope_scaling": {"type": "default"}}));
    assert_refused(other.path(), ReasonCode::ConfigRefused, because);
}

#[test]
fn a_type_that_nobody_runs_is_named_even_if_its_config_is_no_json() {
    for (text, code) in [
        (r#"{"time_step_limit": [0, Infinity], "model_type": "nemotron_h"}"#, "nemotron_h"),
        (r#"{"model_type": "nemotron_h", "a": -Infinity, "b": NaN}"#, "nemotron_h"),
        (r#"{"model_type": "llama", "rms_norm_eps": NaN}"#, "expected a value at byte"),
        (r#"{"model_type": "llama", "notes": Infinity}"#, "expected a value at byte"),
    ] {
        let reason = fuzzing::config(text.as_bytes()).unwrap().unwrap_err();
        let is_type = reason.code == ReasonCode::ArchitectureRefused;
        assert_eq!(is_type, code == "nemotron_h", "{reason}");
        assert!(reason.detail.contains(code), "{reason}");
    }
}

#[test]
fn the_fast_gelu_is_the_approximation_with_the_tangent() {
    for mut model in one_each() {
        let Some(name) = model.config.get("hidden_act").cloned() else { continue };
        if model.architecture() != "gpt_neox" && name != json!("gelu_new") {
            continue;
        }
        let mut losses = |name: &str| {
            model.config.insert("hidden_act".into(), json!(name));
            let options = engine::EvaluateOptions::default();
            let model = crate::load(model.write().path());
            crate::evaluate(&model, &[vec![1, 2, 3, 4, 5]], &options)
        };
        assert_eq!(losses("gelu_fast"), losses("gelu_new"));
        assert_ne!(losses("gelu_fast"), losses("gelu"));
    }
}
