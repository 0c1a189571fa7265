//! What measuring takes is judged by formulas, before a parameter is read.

use crate::{memory::peak_bytes, writer::Random};
use engine::{EvaluateOptions, Model, Need, fuzzing, inspect, no_limits, scan};
use protocol::{
    Competition, Reason,
    ReasonCode::{TooLarge, TooSlow, VocabularyMismatch},
    competition::TokenizerRules,
};
use serde_json::{Map, Value, json};
use std::{fs, fs::File, io::Write as _, path::Path};
use tempfile::TempDir;

/// A Llama by its sizes.
#[derive(Clone, Copy)]
struct Shape {
    hidden: u64,
    intermediate: u64,
    n_layers: u64,
    n_heads: u64,
    n_kv_heads: u64,
    head_size: u64,
    vocabulary: u64,
}

impl Shape {
    /// Heads that divide the hidden size, each with a key and a value of its own.
    fn usual(hidden: u64, intermediate: u64, n_layers: u64, n_heads: u64) -> Self {
        let (n_kv_heads, head_size) = (n_heads, hidden / n_heads);
        Self { hidden, intermediate, n_layers, n_heads, n_kv_heads, head_size, vocabulary: 512 }
    }

    fn config(self) -> Value {
        json!({
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_size,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 4096,
        })
    }
}

/// What an adversary found: 1.9 million parameters that cost 214 times an honest model.
const SLOW: Shape = Shape {
    hidden: 6,
    intermediate: 2,
    n_layers: 78,
    n_heads: 1024,
    n_kv_heads: 1,
    head_size: 2,
    vocabulary: 512,
};

/// A folder with a config and the header that it demands, before a hole as long as the parameters.
fn hollow(config: &Value, dtype: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = config.to_string();
    let demand = fuzzing::config(text.as_bytes()).unwrap().unwrap();
    let (mut header, mut at) = (Map::new(), 0);
    for (name, shape) in demand.tensors {
        let n_bytes = shape.iter().product::<u64>() * if dtype == "F32" { 4 } else { 2 };
        let offsets = [at, at + n_bytes];
        header.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        at += n_bytes;
    }
    let header = Value::Object(header).to_string();
    fs::write(dir.path().join("config.json"), text).unwrap();
    let mut file = File::create(dir.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + at).unwrap();
    dir
}

fn refusal(dir: &Path, competition: &Competition) -> Reason {
    inspect(dir, competition).unwrap().unwrap_err()
}

fn need(dir: &Path, competition: &Competition) -> Need {
    let inspection = inspect(dir, competition).unwrap();
    inspection.unwrap_or_else(|reason| panic!("{}: {reason}", competition.name)).need.unwrap()
}

#[test]
fn attack_a_model_of_many_small_heads_is_refused_for_its_work_and_nothing_is_run() {
    let tiny = Competition::builtin("tiny").unwrap();
    let dir = hollow(&SLOW.config(), "F32");
    let reason = refusal(dir.path(), &tiny);
    assert_eq!(reason.code, TooSlow, "{reason}");
    assert!(reason.detail.contains("1016000000 allowed"), "{reason}");
    // The doors that read parameters say the same, and of nothing else it would be refused.
    assert_eq!(scan(dir.path(), &tiny).unwrap().unwrap_err(), reason);
    assert_eq!(Model::load(dir.path(), &tiny).unwrap().unwrap_err(), reason);
    let inspection = inspect(dir.path(), &tiny.model).unwrap().unwrap();
    assert_eq!((inspection.n_parameters, inspection.need), (1_928_694, None));

    // More of it fits a larger competition.
    let rules = Competition::builtin("186m").unwrap();
    let larger = Shape { n_layers: 512, n_kv_heads: 1, vocabulary: 50_257, ..SLOW };
    let reason = refusal(hollow(&larger.config(), "F32").path(), &rules);
    assert_eq!(reason.code, TooSlow, "{reason}");
}

#[test]
fn honest_shapes_of_every_builtin_competition_are_admitted() {
    for (name, shape) in [
        ("tiny", Shape::usual(64, 172, 2, 2)),
        ("tiny", Shape::usual(128, 344, 4, 4)),
        ("tiny", Shape::usual(96, 256, 12, 16)),
        ("tiny", Shape::usual(192, 512, 3, 8)),
        ("186m", Shape::usual(768, 2048, 12, 12)),
        ("186m", Shape::usual(512, 1376, 30, 32)),
        ("700m", Shape::usual(1536, 4096, 18, 16)),
        ("3b", Shape::usual(2560, 6912, 36, 32)),
        ("7b", Shape::usual(4096, 11_008, 30, 32)),
        ("7b-star", Shape::usual(4096, 11_008, 30, 32)),
        ("14b", Shape::usual(5120, 13_824, 40, 40)),
    ] {
        let competition = Competition::builtin(name).unwrap();
        let shape = Shape { vocabulary: competition.text.vocabulary() as u64, ..shape };
        let need = need(hollow(&shape.config(), "BF16").path(), &competition);
        // Far from the bounds: there is room for other architectures.
        assert!(need.work < need.work_max / 2, "{name}: {need:?}");
        assert!(need.memory.on_threads(8) < need.memory_bytes_max * 2 / 3, "{name}: {need:?}");
    }
}

/// A competition that asks for as many parameters as a config has, and sequences of this length.
fn competition_for(config: &Value, sequence_length: usize) -> Competition {
    let demand = fuzzing::config(config.to_string().as_bytes()).unwrap().unwrap();
    let mut competition = Competition::builtin("7b").unwrap();
    competition.model = no_limits();
    competition.model.n_parameters_max = demand.n_parameters;
    competition.text.sequence_length = sequence_length;
    competition.text.tokenizer = TokenizerRules::Trained { vocabulary: 257, sha256: None };
    competition
}

#[test]
fn no_published_config_takes_more_work_than_the_usual_bound_for_its_own_size() {
    let file = "../../testdata/configs/published.json";
    let lines: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let (mut n_judged, mut worst) = (0, 0.0);
    for line in lines {
        let config = &line["config"];
        let read = fuzzing::config(config.to_string().as_bytes()).unwrap();
        if read.is_err() || line["refused"] != json!([]) {
            continue;
        }
        for sequence_length in [1024, 2048, 4096] {
            let competition = competition_for(config, sequence_length);
            let dir = hollow(config, "BF16");
            if inspect(dir.path(), &competition.model).unwrap().unwrap().context < sequence_length {
                continue;
            }
            let Need { work, work_max, .. } = need(dir.path(), &competition);
            let share = work as f64 / (work_max / competition.model.work_multiple) as f64;
            eprintln!("{:40} {sequence_length:5} {share:.2}", line["name"].as_str().unwrap());
            (n_judged, worst) = (n_judged + 1, f64::max(worst, share));
        }
    }
    assert!(n_judged > 100 && worst < 2.0, "{n_judged} judged, {worst}");
}

#[test]
fn work_is_what_the_protocol_says() {
    let competition = Competition::builtin("tiny").unwrap();
    let padded = |n: u64| n.next_multiple_of(16);
    let product = |i: u64, o: u64| i * padded(o) + 16 * i + 4 * padded(o) * i.div_ceil(256);
    for shape in [
        Shape::usual(128, 344, 4, 4),
        Shape::usual(96, 257, 5, 6),
        Shape { n_kv_heads: 2, head_size: 20, ..Shape::usual(300, 100, 2, 4) },
    ] {
        let Shape { hidden, intermediate, n_heads, n_kv_heads, head_size, .. } = shape;
        let (rows, heads) = (127, n_heads + n_kv_heads);
        let layer = 2500
            + 2 * 8 * padded(hidden)
            + 16 * heads * head_size
            + product(hidden, (n_heads + 2 * n_kv_heads) * head_size)
            + product(n_heads * head_size, hidden)
            + product(hidden, 2 * padded(intermediate))
            + 24 * padded(intermediate)
            + product(intermediate, hidden);
        let scores = rows * (rows + 1) / 2 + 16 * rows;
        let per_score = head_size + padded(head_size) + 4 + 24;
        let look = n_heads * (2500 * rows + per_score * scores);
        let outside = 2 * 8 * padded(hidden) + product(hidden, 512) + 24 * 512 + 2 * 2500;
        let expected = rows * outside + shape.n_layers * (rows * layer + look);
        let dir = hollow(&shape.config(), "F32");
        assert_eq!(need(dir.path(), &competition).work, expected);
    }
}

#[test]
fn attack_a_small_model_that_takes_much_memory_is_refused_before_it_is_loaded() {
    let rules = Competition::builtin("186m").unwrap();
    // 47 million parameters, and twelve gigabytes of queries, keys and values.
    let wide = Shape {
        hidden: 128,
        intermediate: 128,
        n_layers: 1,
        n_heads: 1024,
        n_kv_heads: 1024,
        head_size: 64,
        vocabulary: 50_257,
    };
    let dir = hollow(&wide.config(), "F32");
    let reason = refusal(dir.path(), &rules);
    assert_eq!(reason.code, TooLarge, "{reason}");
    assert!(reason.detail.contains("6442450944 allowed"), "{reason}");
    assert_eq!(Model::load(dir.path(), &rules).unwrap().unwrap_err(), reason);
    let mut generous = rules;
    generous.model.memory_bytes_max = Some(64 << 30);
    assert!(inspect(dir.path(), &generous).unwrap().is_ok());
}

#[test]
fn what_the_text_of_a_competition_asks_for_is_judged_with_its_config() {
    let competition = Competition::builtin("tiny").unwrap();
    let shape = Shape { vocabulary: 511, ..Shape::usual(64, 64, 2, 2) };
    let reason = refusal(hollow(&shape.config(), "F32").path(), &competition);
    assert_eq!(reason.code, VocabularyMismatch, "{reason}");
    let mut config = Shape::usual(64, 64, 2, 2).config();
    config["max_position_embeddings"] = json!(127);
    let reason = refusal(hollow(&config, "F32").path(), &competition);
    assert_eq!(reason.code, VocabularyMismatch, "{reason}");
}

#[test]
fn measuring_takes_the_memory_that_is_foretold_and_little_less() {
    let wide = |vocabulary, shape| Shape { vocabulary, ..shape };
    for (shape, dtype, length) in [
        (wide(512, Shape::usual(256, 688, 4, 8)), "F32", 128),
        (wide(512, Shape::usual(256, 688, 4, 8)), "F16", 128),
        (wide(20_000, Shape::usual(256, 688, 2, 8)), "BF16", 300),
        (wide(512, Shape::usual(64, 20_000, 2, 4)), "F32", 64),
        (wide(300_000, Shape::usual(8, 16, 1, 1)), "F32", 128),
        (
            wide(512, Shape { n_kv_heads: 64, head_size: 16, ..Shape::usual(64, 64, 2, 64) }),
            "F32",
            700,
        ),
        (wide(512, Shape::usual(32, 64, 40, 4)), "BF16", 900),
    ] {
        let dir = hollow(&shape.config(), dtype);
        let mut competition = competition_for(&shape.config(), length);
        competition.model.work_multiple = 1_000;
        let memory = need(dir.path(), &competition).memory;
        // The rule allows for the program, which a test cannot tell from others.
        let foretold = memory.on_threads(1) - (64 << 20);
        let sequences = vec![Random(7).tokens(length, 512); 512_usize.div_ceil(length)];
        let options = EvaluateOptions { threads: 1, ..EvaluateOptions::default() };
        let (losses, peak) = peak_bytes(|| {
            let model = Model::load(dir.path(), &competition).unwrap().unwrap();
            model.evaluate(&sequences, &options).unwrap().unwrap()
        });
        assert_eq!(losses.len(), sequences.len());
        let peak = peak as u64;
        eprintln!("{length:5} tokens, {dtype}: {peak} bytes, {foretold} foretold");
        // What files are read into is part of the program.
        let read = 8 << 20;
        assert!(peak <= foretold + read && foretold <= peak * 5 / 2, "{peak}, {foretold}");
    }
}
