//! Hostile folders: each ends in a named refusal, quickly and without memory for what it claims.

use crate::{
    assert_refused, folder, identity, load,
    memory::peak_bytes,
    refusal,
    writer::{self, Recipe, Tensor},
};
use engine::{Error, EvaluateOptions, Model, inspect, no_limits, scan};
use protocol::ReasonCode::{
    self, ArchitectureRefused, ConfigRefused, FileRefused, HeaderRefused, NonFiniteLoss,
    NonFiniteParameters, ParameterCount, TensorMismatch, TooLarge, VocabularyMismatch,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Most bytes that a verdict on a small folder may take.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// Longest time that a verdict may take.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(2);

pub(crate) fn tiny() -> Recipe {
    Recipe::small(16, 2, 20)
}

/// A good folder whose config has other values; null removes a key.
pub(crate) fn with_config(changes: &Value) -> TempDir {
    let dir = folder(&tiny());
    let mut config = tiny().config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

/// A folder whose tensors were changed after the fact.
pub(crate) fn with_tensors(recipe: &Recipe, change: impl FnOnce(&mut Vec<Tensor>)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = recipe.tensors();
    change(&mut tensors);
    writer::write(dir.path(), &recipe.config(), &tensors);
    dir
}

/// Refused within the bounds of time and memory.
pub(crate) fn assert_refused_cheaply(dir: &Path, code: ReasonCode, because: &str) {
    let start = Instant::now();
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir, &no_limits()).unwrap());
    assert!(start.elapsed() < TIME_MAX, "{:?} took {:?}", verdict, start.elapsed());
    assert!(n_bytes < BYTES_MAX, "{verdict:?} took {n_bytes} bytes");
    assert_refused(dir, code, because);
}

#[test]
fn attack_config_bombs_are_refused_before_anything_is_allocated() {
    for (key, value) in [
        ("num_hidden_layers", json!(1_000_000_000)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(-1)),
        ("num_hidden_layers", json!(2.0)),
        ("num_hidden_layers", json!("2")),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(0)),
        ("head_dim", json!(7)),
        ("head_dim", json!(1_u64 << 40)),
        ("hidden_size", json!(1_u64 << 60)),
        ("hidden_size", json!(0)),
        ("intermediate_size", json!(u64::MAX)),
        ("intermediate_size", json!(0)),
        ("vocab_size", json!(0)),
        ("vocab_size", json!(1_u64 << 32)),
        ("max_position_embeddings", json!(1_u64 << 40)),
        ("max_position_embeddings", json!(0)),
        ("rms_norm_eps", json!(-1e-5)),
        ("rms_norm_eps", json!(1e300)),
        ("rope_theta", json!(0.0)),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 2.0})),
        ("rope_parameters", json!({"rope_type": "linear", "factor": 0.0})),
        ("rope_parameters", json!({"rope_type": "linear"})),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": 1e300})),
        ("rope_parameters", json!([10_000.0])),
        ("tie_word_embeddings", json!("false")),
        ("attention_bias", json!(0)),
    ] {
        let dir = with_config(&json!({key: value}));
        assert_refused_cheaply(dir.path(), ConfigRefused, "");
    }
    let many: Vec<f64> = vec![1.0; 10_000];
    let long = json!({"rope_type": "longrope", "long_factor": many});
    assert_refused_cheaply(
        with_config(&json!({"rope_parameters": long})).path(),
        ConfigRefused,
        "",
    );
    let large = json!({"transformers_version": "x".repeat(300_000)});
    assert_refused_cheaply(with_config(&large).path(), FileRefused, "config.json");
    // In range one by one, absurd together: refused for what the file does not hold.
    let greedy = json!({
        "num_hidden_layers": 512, "hidden_size": 65_536, "intermediate_size": 1_048_576,
        "vocab_size": 4_194_304, "num_attention_heads": 1024, "num_key_value_heads": 1024,
        "head_dim": 512,
    });
    let dir = with_config(&greedy);
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
    assert_eq!(verdict.unwrap_err().code, TensorMismatch);
    assert!(n_bytes < 4 * BYTES_MAX, "{n_bytes}");
}

#[test]
fn attack_keys_that_change_the_result_are_refused_by_name() {
    for (key, value) in [
        ("quantization_config", json!({"quant_method": "gptq", "bits": 4})),
        ("is_causal", json!(false)),
        // Not absent, but false to Python.
        ("is_causal", json!(null)),
        ("per_layer_config", json!({"0": {"num_attention_heads": 1}})),
        ("attribute_map", json!({"hidden_size": "my_size"})),
        ("use_bidirectional_attention", json!(true)),
        ("attention_type", json!("full")),
        ("layer_types", json!(["full_attention"])),
        ("sliding_window", json!(64)),
        ("use_sliding_window", json!(true)),
        ("alibi", json!(true)),
        ("num_experts", json!(8)),
        ("clip_qkv", json!(8.0)),
        ("scale_attn_by_inverse_layer_idx", json!(true)),
        ("n_head", json!(3)),
        ("hidden_activation", json!("gelu")),
        ("use_parallel_residual", json!(true)),
        ("rotary_pct", json!(0.25)),
        ("bias", json!(true)),
        ("use_mrope", json!(true)),
        ("logit_scale", json!(2.0)),
        ("final_logit_softcapping", json!(30.0)),
        ("partial_rotary_factor", json!(0.5)),
        ("pruned_heads", json!({"0": [1]})),
        ("is_encoder_decoder", json!(true)),
        ("add_cross_attention", json!(true)),
        ("hidden_act", json!("gelu")),
        ("dtype", json!("float8_e4m3fn")),
        ("architectures", json!(["LlamaForSequenceClassification"])),
    ] {
        let dir = with_config(&json!({key: value}));
        assert_refused_cheaply(dir.path(), ConfigRefused, key);
    }
    for rope in ["mrope", "proportional", "no-such-rope"] {
        let dir = with_config(&json!({"rope_parameters": {"rope_type": rope, "factor": 2.0}}));
        assert_refused(dir.path(), ConfigRefused, rope);
    }
    let dir = with_config(&json!({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}));
    assert_refused(dir.path(), ConfigRefused, "short_factor");
    for contradiction in [
        json!({"rope_theta": 500_000.0}),
        json!({"rope_parameters": {"rope_type": "linear", "type": "default", "factor": 2.0}}),
    ] {
        assert_refused(with_config(&contradiction).path(), ConfigRefused, "");
    }
}

#[test]
fn keys_that_cannot_change_a_loss_are_passed_over() {
    let dir = with_config(&json!({
        "_name_or_path": "x", "transformers_version": "4.45.0", "use_cache": true,
        "quantization_config": null, "sliding_window": null,
        "partial_rotary_factor": 1, "pruned_heads": {}, "torch_dtype": "float32",
        "dtype": "float32", "bos_token_id": [1, 2], "rope_theta": 10_000,
        "id2label": {"0": "LABEL_0"}, "attention_dropout": 0.1, "is_causal": true,
        "use_sliding_window": false, "num_experts": 0, "rope_interleaved": false,
        // Code is never run, and nobody reads what nobody knows.
        "auto_map": {"AutoModelForCausalLM": "modeling.Evil"}, "no_such_key": [1, {"a": "b"}],
        "custom_pipelines": {"text-generation": {"impl": "evil.Pipeline"}},
    }));
    load(dir.path());
}

#[test]
fn attack_other_architectures_are_refused() {
    for model_type in ["opt", "bloom", "../llama", ""] {
        let dir = with_config(&json!({"model_type": model_type}));
        assert_refused_cheaply(dir.path(), ArchitectureRefused, "");
    }
    assert_refused(with_config(&json!({"model_type": null})).path(), ConfigRefused, "model_type");
    let mut limits = no_limits();
    limits.architectures = vec!["gpt2".into()];
    let reason = inspect(folder(&tiny()).path(), &limits).unwrap().unwrap_err();
    assert_eq!(reason.code, ArchitectureRefused);
}

#[test]
fn attack_configs_that_are_not_json_objects_are_refused() {
    for text in
        ["", "null", "[]", "{", "{} {}", "{\"model_type\":\"llama\",\"model_type\":\"llama\"}"]
    {
        let dir = folder(&tiny());
        fs::write(dir.path().join("config.json"), text).unwrap();
        assert_refused_cheaply(dir.path(), ConfigRefused, "");
    }
}

#[test]
fn attack_tensors_other_than_the_config_demands_are_refused() {
    let recipe = Recipe { has_biases: true, ..tiny() };
    let n = recipe.tensors().len();
    for index in 0..n {
        let name = recipe.tensors()[index].name.clone();
        let missing = with_tensors(&recipe, |tensors| drop(tensors.remove(index)));
        assert_refused(missing.path(), TensorMismatch, &name);
        let renamed = with_tensors(&recipe, |tensors| tensors[index].name.push('x'));
        assert_refused(renamed.path(), TensorMismatch, &name);
        for dimension in 0..recipe.tensors()[index].shape.len() {
            let larger = with_tensors(&recipe, |tensors| {
                let tensor = &mut tensors[index];
                tensor.shape[dimension] += 1;
                tensor.numbers.resize(tensor.shape.iter().product(), 0.0);
            });
            assert_refused(larger.path(), TensorMismatch, &name);
        }
        let flattened = with_tensors(&recipe, |tensors| tensors[index].shape.push(1));
        assert_refused(flattened.path(), TensorMismatch, &name);
    }
    let extra = with_tensors(&recipe, |tensors| {
        let mut hidden = tensors[0].clone();
        hidden.name = "model.layers.0.adapter.weight".into();
        tensors.push(hidden);
    });
    assert_refused(extra.path(), TensorMismatch, "adapter");
}

#[test]
fn attack_a_tied_head_with_other_numbers_is_refused() {
    let recipe = Recipe { is_tied: true, ..tiny() };
    let copied = |change: fn(&mut Tensor)| {
        with_tensors(&recipe, |tensors| {
            let name = "model.embed_tokens.weight";
            let mut copy = tensors.iter().find(|t| t.name == name).unwrap().clone();
            copy.name = "lm_head.weight".into();
            change(&mut copy);
            tensors.push(copy);
        })
    };
    let (plain, same) = (folder(&recipe), copied(|_| ()));
    let count = |dir: &TempDir| load(dir.path()).inspection().n_parameters;
    assert_eq!(count(&plain), count(&same));
    scan(same.path(), &no_limits()).unwrap().unwrap();
    for dir in [copied(|copy| copy.numbers[319] += 1e-3), copied(|copy| copy.dtype = "BF16")] {
        let loaded = Model::load(dir.path(), &no_limits()).unwrap().unwrap_err();
        let scanned = scan(dir.path(), &no_limits()).unwrap().unwrap_err();
        assert_eq!((loaded.code, &scanned), (TensorMismatch, &loaded));
    }
    assert_refused(copied(|copy| copy.shape.reverse()).path(), TensorMismatch, "lm_head");
}

#[test]
fn attack_parameters_that_are_not_finite_are_refused_wherever_they_stand() {
    for dtype in ["F32", "F16", "BF16"] {
        let recipe = Recipe { dtype, has_biases: true, n_layers: 1, ..tiny() };
        for index in 0..recipe.tensors().len() {
            let tensor = &recipe.tensors()[index];
            let (name, n) = (tensor.name.clone(), tensor.numbers.len());
            for (place, bad) in [(0, f32::NAN), (n / 2, f32::INFINITY), (n - 1, f32::NEG_INFINITY)]
            {
                let dir = with_tensors(&recipe, |tensors| tensors[index].numbers[place] = bad);
                let loaded = Model::load(dir.path(), &no_limits()).unwrap().unwrap_err();
                let scanned = scan(dir.path(), &no_limits()).unwrap().unwrap_err();
                assert_eq!((loaded.code, &scanned), (NonFiniteParameters, &loaded));
                assert!(loaded.detail.contains(&format!("`{name}`")), "{loaded}");
                assert!(loaded.detail.ends_with(&format!(" {place}")), "{loaded}");
            }
        }
    }
}

#[test]
fn attack_parameters_that_overflow_give_no_loss() {
    let dir = with_tensors(&tiny(), |tensors| {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name.contains("lm_head")) {
            tensor.numbers.iter_mut().for_each(|number| *number = number.signum() * f32::MAX);
        }
    });
    let model = load(dir.path());
    let options = EvaluateOptions::default();
    let reason = model.evaluate(&[vec![1, 2, 3]], &options).unwrap().unwrap_err();
    assert_eq!(reason.code, NonFiniteLoss);
    assert_eq!(model.generate(&[&[1]], 1, &options).unwrap().unwrap_err().code, NonFiniteLoss);
}

#[test]
fn attack_files_of_the_wrong_kind_are_refused() {
    let dir = folder(&tiny());
    let file = dir.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for (content, because) in [
        (vec![], "0 bytes"),
        (bytes[..7].to_vec(), "7 bytes"),
        (bytes[..8].to_vec(), "header"),
        (bytes[..bytes.len() - 1].to_vec(), "in a file that holds"),
        ([&bytes[..], &[0]].concat(), "in a file that holds"),
        ([&(100_u64 << 20).to_le_bytes()[..], &bytes[8..]].concat(), "header"),
        ([&u64::MAX.to_le_bytes()[..], &bytes[8..]].concat(), "header"),
        (b"\x80\x02}q\x00.pickle".to_vec(), "header"),
    ] {
        fs::write(&file, content).unwrap();
        assert_refused_cheaply(dir.path(), HeaderRefused, because);
    }
    fs::remove_file(&file).unwrap();
    assert_refused(dir.path(), FileRefused, "model.safetensors");
    fs::create_dir(&file).unwrap();
    assert_refused(dir.path(), FileRefused, "not a regular file");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_refused(dir.path(), FileRefused, "config.json");
}

#[test]
fn attack_a_header_of_eight_mebibytes_is_judged_quickly() {
    let dir = folder(&tiny());
    let entry = |i: usize| {
        format!(
            r#""{}{i}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#,
            "x".repeat(150),
            4 * i,
            4 * i + 4
        )
    };
    let header = format!("{{{}}}", (0..19_000).map(entry).collect::<Vec<_>>().join(","));
    let mut bytes = [&(8_u64 << 20).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.resize(8 + (8 << 20), b' ');
    let path = dir.path().join("model.safetensors");
    fs::write(&path, &bytes).unwrap();
    // Sparse: the header is 1 % of a file that takes no space.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(900 << 20).unwrap();
    let start = Instant::now();
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
    assert_eq!(verdict.unwrap_err().code, HeaderRefused);
    let elapsed = start.elapsed();
    eprintln!("{elapsed:?}, {n_bytes} bytes");
    assert!(elapsed < TIME_MAX && n_bytes < 64 << 20, "{n_bytes}");
}

#[test]
fn attack_shards_that_overlap_or_differ_from_their_index_are_refused() {
    let recipe = tiny();
    let shards = || {
        let dir = tempfile::tempdir().unwrap();
        identity::write_shards(dir.path(), &recipe, 2);
        dir
    };
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    load(shards().path());

    let dir = shards();
    fs::copy(dir.path().join(names[0]), dir.path().join(names[1])).unwrap();
    assert_refused(dir.path(), HeaderRefused, "two files");

    let dir = shards();
    fs::remove_file(dir.path().join(names[1])).unwrap();
    assert_refused(dir.path(), FileRefused, names[1]);

    let dir = shards();
    fs::copy(dir.path().join(names[0]), dir.path().join("model.safetensors")).unwrap();
    assert_refused(dir.path(), FileRefused, "both");

    let index = |change: &dyn Fn(&mut Value)| {
        let dir = shards();
        let path = dir.path().join("model.safetensors.index.json");
        let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut index);
        fs::write(&path, index.to_string()).unwrap();
        dir
    };
    let norm = "model.norm.weight";
    let swapped = index(&|index| index["weight_map"][norm] = json!(names[0]));
    assert_refused(swapped.path(), TensorMismatch, norm);
    let unlisted = index(&|index| drop(index["weight_map"].as_object_mut().unwrap().remove(norm)));
    assert_refused(unlisted.path(), TensorMismatch, norm);
    let invented = index(&|index| index["weight_map"]["ghost"] = json!(names[0]));
    assert_refused(invented.path(), TensorMismatch, "ghost");
    let empty = index(&|index| index["weight_map"] = json!({}));
    assert_refused(empty.path(), FileRefused, "0 files");
    for path in ["../x.safetensors", "/etc/passwd", "model-00001-of-00002.safetensors/.."] {
        let escaping = index(&|index| index["weight_map"][norm] = json!(path));
        assert_refused_cheaply(escaping.path(), FileRefused, "file name");
    }
}

#[test]
fn models_outside_the_limits_of_a_competition_are_refused() {
    let dir = folder(&tiny());
    let inspection = inspect(dir.path(), &no_limits()).unwrap().unwrap();
    let code = |change: &dyn Fn(&mut protocol::competition::ModelLimits)| {
        let mut limits = no_limits();
        change(&mut limits);
        inspect(dir.path(), &limits).unwrap().err().map(|reason| reason.code)
    };
    let (n, size) = (inspection.n_parameters, inspection.size_bytes);
    assert_eq!(code(&|limits| limits.n_parameters_min = n), None);
    assert_eq!(code(&|limits| limits.n_parameters_max = n), None);
    assert_eq!(code(&|limits| limits.size_bytes_max = size), None);
    assert_eq!(code(&|limits| limits.n_parameters_min = n + 1), Some(ParameterCount));
    assert_eq!(code(&|limits| limits.n_parameters_max = n - 1), Some(ParameterCount));
    assert_eq!(code(&|limits| limits.size_bytes_max = size - 1), Some(TooLarge));
}

#[test]
fn an_inspection_counts_what_the_model_is() {
    let recipe = Recipe { dtype: "BF16", ..Recipe::small(16, 2, 20) };
    let dir = folder(&recipe);
    let inspection = inspect(dir.path(), &no_limits()).unwrap().unwrap();
    let tensors = recipe.tensors();
    let n: usize = tensors.iter().map(|tensor| tensor.numbers.len()).sum();
    assert_eq!(inspection.n_parameters, n as u64);
    assert_eq!(inspection.resident_bytes, 2 * n as u64);
    let sizes = ["config.json", "model.safetensors"]
        .map(|name| fs::metadata(dir.path().join(name)).unwrap().len());
    assert_eq!(inspection.size_bytes, sizes.iter().sum::<u64>());
    let matrices = tensors.iter().filter(|t| t.shape.len() == 2 && !t.name.contains("embed"));
    let weights: usize = matrices.map(|tensor| tensor.numbers.len()).sum();
    assert_eq!(inspection.flops_per_token, 2 * weights as u64);
    assert_eq!(inspection.flops_per_sequence(2), 2 * weights as u64 + 4 * 2 * 16);
    assert_eq!((inspection.flops_per_sequence(1), inspection.flops_per_sequence(0)), (0, 0));
}

#[test]
fn a_folder_that_is_not_there_is_our_trouble() {
    let error = inspect(Path::new("/no/such/folder"), &no_limits()).unwrap_err();
    assert!(matches!(error, Error::NotAFolder(_)));
    assert!(error.to_string().contains("/no/such/folder"));
}

#[test]
fn tokens_and_lengths_that_a_model_does_not_know_refuse_it() {
    let model = load(folder(&Recipe { context: 32, ..tiny() }).path());
    let options = EvaluateOptions::default();
    let code = |tokens: Vec<u32>| {
        model.evaluate(&[vec![1, 2], tokens], &options).unwrap().map_err(|r| r.code)
    };
    assert_eq!(code(vec![1, 20]).unwrap_err(), VocabularyMismatch);
    assert_eq!(code(vec![u32::MAX, 1]).unwrap_err(), VocabularyMismatch);
    assert_eq!(code(vec![1; 33]).unwrap_err(), VocabularyMismatch);
    assert_eq!(code(vec![1; 32]).unwrap().len(), 2);
    let error = model.evaluate(&[vec![1, 2], vec![1]], &options).unwrap_err();
    assert!(matches!(error, Error::SequenceTooShort { index: 1, n_tokens: 1, .. }));
    assert!(model.evaluate(&[], &options).unwrap().unwrap().is_empty());
}

#[test]
fn refusals_show_a_strangers_names_without_control_characters() {
    let evil = "\u{1b}[2J\u{7}evil";
    let rope = json!({"rope_type": "default", evil: 1});
    for config in [
        json!({"hidden_act": evil}),
        json!({"architectures": [evil]}),
        json!({"dtype": evil}),
        json!({"rope_parameters": rope}),
    ] {
        let reason = refusal(with_config(&config).path());
        assert!(reason.detail.contains("evil"), "{reason:?}");
        assert!(!reason.detail.contains(|c: char| c.is_control()), "{reason:?}");
    }
}
