//! Work by the formula beside the time that it takes.
//!
//! `cargo bench -p engine --bench work`; a line for each model and instruction set: what the time
//! is over the work, and for each instruction set by how much two models of equal work differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../tests/it/writer.rs"]
mod writer;

use engine::{EvaluateOptions, InstructionSet, Model, fuzzing, inspect, no_limits};
use protocol::{Competition, competition::TokenizerRules};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Instant};
use tempfile::TempDir;
use writer::{Random, Tensor};

/// Tokens that are measured at a time.
const TOKENS: usize = 1024;
/// Shortest time that is believed.
const SECONDS_MIN: f64 = 0.1;
/// Without fused multiply-adds, models with more work take minutes.
const EMULATED_WORK_MAX: u64 = 600_000_000;

/// A config and the length of its sequences.
struct Case {
    name: String,
    config: Value,
    length: usize,
}

/// A Llama of hidden size, width, layers, heads, key heads, head size, vocabulary.
fn llama(name: &str, sizes: [u64; 7], length: usize) -> Case {
    let [hidden, wide, layers, heads, kv_heads, head_size, vocabulary] = sizes;
    let config = json!({
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": wide,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_size, "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
    });
    Case { name: name.to_owned(), config, length }
}

fn llamas() -> Vec<Case> {
    vec![
        llama("many heads of 2, as an attack", [6, 2, 78, 1024, 1, 2, 512], 128),
        llama("many heads of 2, fewer layers", [32, 32, 4, 256, 256, 2, 512], 128),
        llama("heads of 2 for long sequences", [64, 64, 2, 64, 1, 2, 512], 1024),
        llama("honest, 128 wide", [128, 341, 4, 4, 4, 32, 512], 128),
        llama("honest, 176 wide", [176, 464, 5, 8, 4, 22, 512], 128),
        llama("honest, 64 wide", [64, 170, 2, 4, 2, 16, 512], 128),
        llama("small heads, 96 wide", [96, 256, 6, 16, 16, 6, 512], 128),
        llama("vocabulary of 490,000", [2, 2, 1, 1, 1, 2, 490_000], 128),
        llama("vocabulary of 100,000", [8, 8, 1, 1, 1, 8, 100_000], 128),
        llama("deep and thin", [16, 32, 60, 2, 1, 8, 512], 128),
        llama("wide and shallow", [512, 1024, 1, 8, 8, 64, 512], 128),
        llama("wide perceptron", [16, 20_000, 2, 2, 2, 8, 512], 128),
        llama("large heads", [64, 64, 4, 16, 16, 256, 512], 128),
        llama("short sequences", [128, 341, 4, 4, 4, 32, 512], 16),
        llama("long sequences", [256, 688, 4, 4, 4, 64, 2048], 1024),
        llama("as GPT-2 small", [768, 2048, 2, 12, 12, 64, 32_000], 512),
    ]
}

/// The first config of each architecture in `testdata/models`, four times as wide.
fn architectures() -> Vec<Case> {
    const SIZES: [&str; 9] = [
        "hidden_size",
        "intermediate_size",
        "n_embd",
        "n_inner",
        "d_model",
        "decoder_ffn_dim",
        "ffn_hidden_size",
        "head_dim",
        "rotary_dim",
    ];
    let root = "../../testdata/models";
    let entries = fs::read_dir(root).expect("models").map(|entry| entry.expect("a folder").path());
    let mut paths: Vec<_> = entries.map(|path| path.join("config.json")).collect();
    paths.retain(|path| path.exists());
    paths.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in paths {
        let text = fs::read(path).expect("a config");
        let mut config: Value = serde_json::from_slice(&text).expect("a config");
        let name = config["model_type"].as_str().expect("a type").to_owned();
        for key in SIZES {
            if let Some(size) = config[key].as_u64() {
                config[key] = json!(4 * size);
            }
        }
        for (key, size) in [("max_position_embeddings", 512), ("n_positions", 512)] {
            if !config[key].is_null() {
                config[key] = json!(size);
            }
        }
        config["vocab_size"] = json!(1000);
        let is_known = cases.iter().any(|case| case.name == name);
        if !is_known && fuzzing::config(config.to_string().as_bytes()).is_ok_and(|c| c.is_ok()) {
            cases.push(Case { name, config, length: 256 });
        }
    }
    cases
}

fn write(config: &Value) -> TempDir {
    let demand = fuzzing::config(config.to_string().as_bytes()).expect("memory").expect("a config");
    let mut random = Random(7);
    let tensor = |(name, shape): (String, Vec<u64>)| {
        let n: u64 = shape.iter().product();
        let (center, scale) = match shape[..] {
            [_, n_in] => (0.0, 1.0 / (n_in as f32).sqrt()),
            _ if name.contains("norm") || name.contains("ln_") => (1.0, 0.1),
            _ => (0.0, 0.05),
        };
        let numbers = (0..n).map(|_| center + scale * random.next()).collect();
        let shape = shape.into_iter().map(|side| side as usize).collect();
        Tensor { name, dtype: "F32", shape, numbers }
    };
    let tensors: Vec<_> = demand.tensors.into_iter().map(tensor).collect();
    let dir = tempfile::tempdir().expect("a folder");
    writer::write(dir.path(), config, &tensors);
    dir
}

fn work(dir: &Path, length: usize) -> u64 {
    let mut rules = Competition::builtin("7b").expect("rules");
    rules.model = no_limits();
    rules.text.sequence_length = length;
    rules.text.tokenizer = TokenizerRules::Trained { vocabulary: 257, sha256: None };
    let inspection = inspect(dir, &rules).expect("files").expect("a good model");
    inspection.need.expect("a competition").work
}

/// Seconds of a sequence on one thread.
fn seconds(model: &Model, length: usize, instructions: InstructionSet) -> f64 {
    let mut random = Random(3);
    let n = TOKENS.div_ceil(length);
    let sequences: Vec<_> = (0..n).map(|_| random.tokens(length, model.vocabulary())).collect();
    let options = EvaluateOptions { threads: 1, instructions, ..EvaluateOptions::default() };
    let mut best = f64::INFINITY;
    let n_tries = if instructions == InstructionSet::Portable { 1 } else { 4 };
    for _ in 0..n_tries {
        let (start, mut n_runs) = (Instant::now(), 0.0);
        while start.elapsed().as_secs_f64() < SECONDS_MIN {
            model.evaluate(&sequences, &options).expect("no trouble").expect("a good model");
            n_runs += 1.0;
        }
        best = best.min(start.elapsed().as_secs_f64() / n_runs / n as f64);
    }
    best
}

fn main() {
    let cases: Vec<_> = llamas().into_iter().chain(architectures()).collect();
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let mut rates = Vec::new();
        for Case { name, config, length } in &cases {
            let dir = write(config);
            let work = work(dir.path(), *length);
            if set == InstructionSet::Portable && work > EMULATED_WORK_MAX {
                continue;
            }
            let model = Model::load(dir.path(), &no_limits()).expect("files").expect("good");
            let rate = seconds(&model, *length, set) * 1e9 / work as f64;
            println!("{set:10} {name:32} work {work:14}  {rate:.4} ns each");
            rates.push(rate);
        }
        rates.sort_by(f64::total_cmp);
        let [least, .., greatest] = rates[..] else { continue };
        println!("{set:10} models of equal work differ by {:.2} at most\n", greatest / least);
    }
}
