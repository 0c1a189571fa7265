//! A model larger than its memory limit is measured within it, to the same bits.

use super::workshop::{Workshop, agon};
use protocol::Competition;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
};

const HIDDEN: usize = 768;
const INTERMEDIATE: usize = 2048;
const N_LAYERS: usize = 12;
const VOCABULARY: usize = 8192;
/// Below the size of the file, and more than two layers, work space and the program need.
const LIMIT_BYTES: u64 = 150 << 20;

/// Names and shapes in the order of the file.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN])];
    for layer in 0..N_LAYERS {
        let named = |name: &str, shape| (format!("model.layers.{layer}.{name}.weight"), shape);
        let square = vec![HIDDEN, HIDDEN];
        let wide = vec![INTERMEDIATE, HIDDEN];
        all.push(named("input_layernorm", vec![HIDDEN]));
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            all.push(named(&format!("self_attn.{name}"), square.clone()));
        }
        all.push(named("post_attention_layernorm", vec![HIDDEN]));
        all.push(named("mlp.gate_proj", wide.clone()));
        all.push(named("mlp.up_proj", wide));
        all.push(named("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]));
    }
    all.push(("model.norm.weight".to_owned(), vec![HIDDEN]));
    all
}

/// Writes a Llama of 91 million random parameters in BF16; its size in bytes.
fn write_model(dir: &Path) -> u64 {
    let config = json!({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": N_LAYERS, "num_attention_heads": 12, "vocab_size": VOCABULARY,
        "max_position_embeddings": 256, "tie_word_embeddings": true,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors() {
        let begin = end;
        end += 2 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]});
        header.insert(name, entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = BufWriter::new(File::create(dir.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let mut state = 7_u64;
    for (_, shape) in tensors() {
        let mut bytes = Vec::new();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            let uniform = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            let number = if shape.len() == 1 { 1.0 + uniform } else { 0.1 * uniform };
            bytes.extend(((number.to_bits() >> 16) as u16).to_le_bytes());
        }
        file.write_all(&bytes).unwrap();
    }
    file.flush().unwrap();
    end as u64
}

#[test]
fn a_model_larger_than_its_memory_limit_is_measured_within_it_to_the_same_bits() {
    let workshop = Workshop::new();
    let dir = tempfile::tempdir().unwrap();
    let n_bytes = write_model(dir.path());
    assert!(n_bytes > LIMIT_BYTES);
    let sequences: Vec<Vec<usize>> =
        (0..16).map(|i| (0..48).map(|j| (i * 7919 + j * 104_729) % VOCABULARY).collect()).collect();
    let tokens = workshop.json("tokens.json", &json!({ "sequences": sequences }));
    let evaluate = |more: &[&str]| -> Value {
        let model = dir.path().to_str().unwrap();
        let base = ["evaluate", "--model", model, "--tokens", &tokens, "--threads", "2", "--json"];
        agon(&[&base[..], more].concat()).json()
    };
    let limit = LIMIT_BYTES.to_string();
    let (whole, streamed) = (evaluate(&[]), evaluate(&["--memory-limit", &limit]));
    assert_eq!((&whole["streamed"], &streamed["streamed"]), (&json!(false), &json!(true)));
    assert_eq!(whole["sequences"], streamed["sequences"], "other bits");
    let peak = |report: &Value| report["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak(&whole) > n_bytes, "{}", peak(&whole));
    assert!(peak(&streamed) <= LIMIT_BYTES, "{} of {LIMIT_BYTES}", peak(&streamed));

    // A validator with less memory than the parameters gets the same losses.
    let (admitted, losses) = judged(dir.path(), &sequences, LIMIT_BYTES);
    assert!(admitted["card"]["n_parameters"].as_u64().unwrap() > 90_000_000);
    let nats = |list: &Value| -> Vec<f64> {
        let list = list.as_array().unwrap().iter();
        list.map(|loss| loss["cross_entropy"].as_f64().unwrap()).collect()
    };
    assert_eq!(nats(&losses), nats(&whole["sequences"]), "other bits");

    let ran = agon(&[
        "evaluate",
        "--model",
        dir.path().to_str().unwrap(),
        "--tokens",
        &tokens,
        "--memory-limit",
        "20MiB",
    ]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("bytes of memory are needed"), "{}", ran.err);
    assert!(ran.err.contains("hint: "), "{}", ran.err);
}

/// What an evaluator with so much memory says of a model, and the losses that it gives.
fn judged(dir: &Path, sequences: &[Vec<usize>], memory_limit: u64) -> (Value, Value) {
    let mut competition = Competition::builtin("tiny").unwrap();
    competition.model.n_parameters_max = 200_000_000;
    competition.model.size_bytes_max = 1 << 30;
    competition.text.sequence_length = 48;
    let inspect = json!({ "Inspect": { "competition": competition } });
    let admitted = asked(dir, &inspect, "Inspected")["Ok"].clone();
    let losses = json!({ "Losses": {
        "competition": competition, "tensor_root": admitted["tensor_root"],
        "sequences": sequences, "n_threads": 2, "memory_limit": memory_limit,
    } });
    let losses = asked(dir, &losses, "Losses");
    (admitted, losses)
}

/// The answer of this name to a request.
fn asked(dir: &Path, request: &Value, name: &str) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["evaluator", "--memory-limit", "400MiB"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    writeln!(stdin, "{request}").unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
    child.wait().unwrap();
    let found = lines.iter().find_map(|line| {
        let message: Value = serde_json::from_str(line).unwrap();
        message.get(name).cloned()
    });
    found.unwrap_or_else(|| panic!("{lines:?}"))
}
