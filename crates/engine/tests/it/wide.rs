//! Models that enter a second and a third block on every axis, from `testdata/wide`.
//!
//! Only their configs and losses are published there. The parameters are made here, as
//! `testdata/wide/README.md` defines them.

use crate::{
    evaluate, golden, identity, load,
    published::{Published, RawTensor},
    writer::Random,
};
use engine::{EvaluateOptions, InstructionSet, LoadOptions, Model, no_limits};
use serde_json::Value;
use std::{fmt::Write as _, fs, path::Path};

/// A wide model and what transformers makes of its sequences.
pub(crate) struct Wide {
    pub(crate) name: String,
    pub(crate) published: Published,
    pub(crate) sequences: Vec<Vec<u32>>,
    /// Nats of every token after the first, for each sequence.
    pub(crate) token_nll: Vec<Vec<f64>>,
}

/// All of them, in the order of their names.
pub(crate) fn all() -> Vec<Wide> {
    let root = "../../testdata/wide";
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("golden.json").exists()).collect();
    folders.sort();
    assert!(folders.len() >= 4, "wide models are missing");
    folders.iter().map(|folder| Wide::read(folder)).collect()
}

impl Wide {
    fn read(folder: &Path) -> Self {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let read = |file: &str| fs::read(folder.join(file)).unwrap();
        let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
        let golden: Value = serde_json::from_slice(&read("golden.json")).unwrap();
        let tensors: Vec<(String, Vec<u64>, Value)> =
            serde_json::from_value(golden["tensors"].clone()).unwrap();
        let tensors = tensors.into_iter().map(|tensor| make_tensor(&name, tensor));
        let lengths: Vec<usize> = serde_json::from_value(golden["lengths"].clone()).unwrap();
        let vocabulary = config["vocab_size"].as_u64().unwrap() as usize;
        let sequence = |(index, length): (usize, &usize)| {
            random(&format!("{name}/sequence {index}")).tokens(*length, vocabulary)
        };
        Self {
            sequences: lengths.iter().enumerate().map(sequence).collect(),
            token_nll: serde_json::from_value(golden["token_nll"].clone()).unwrap(),
            published: Published {
                config: config.as_object().unwrap().clone(),
                tensors: tensors.collect(),
            },
            name,
        }
    }
}

/// The numbers of this name: its FNV-1a hash is where SplitMix64 starts.
fn random(name: &str) -> Random {
    let start = 0xcbf2_9ce4_8422_2325;
    Random(name.bytes().fold(start, |state: u64, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

fn make_tensor(model: &str, (name, shape, kind): (String, Vec<u64>, Value)) -> RawTensor {
    /// 24 bits of a number are kept.
    const UNIT: i64 = 1 << 23;
    let mut random = random(&format!("{model}/{name}"));
    let n: u64 = shape.iter().product();
    let mut bytes = Vec::new();
    for _ in 0..n {
        let number = (random.bits() >> 40) as i64 - UNIT;
        let number = match (kind.as_str(), kind.as_i64()) {
            (Some("gain"), _) => (UNIT + (number >> 2)) as f32 / UNIT as f32,
            (Some("gain less one"), _) => number as f32 / UNIT as f32 / 4.0,
            (_, Some(exponent)) => number as f32 / UNIT as f32 * 2.0_f32.powi(exponent as i32),
            _ => panic!("the kind {kind} of `{name}` is not known"),
        };
        bytes.extend(number.to_le_bytes());
    }
    RawTensor { name, dtype: "F32".into(), shape, bytes }
}

#[test]
fn every_axis_of_the_wide_models_enters_a_third_block() {
    const BLOCK: u64 = 256;
    let models = all();
    for Wide { name, published, sequences, .. } in &models {
        let sides = published.tensors.iter().flat_map(|tensor| &tensor.shape);
        assert!(sides.clone().any(|side| *side > 2 * BLOCK && side % BLOCK != 0), "{name}");
        assert!(published.config["vocab_size"].as_u64() > Some(4 * BLOCK), "{name}");
        let longest = sequences.iter().map(Vec::len).max().unwrap() as u64;
        assert!(longest > 2 * BLOCK && !longest.is_multiple_of(16), "{name}");
    }
    let third = |config: &str| {
        let sizes = models.iter().filter_map(|model| model.published.config.get(config)?.as_u64());
        assert!(sizes.into_iter().any(|size| size > 2 * BLOCK), "{config}");
    };
    ["hidden_size", "intermediate_size", "n_embd", "n_inner"].into_iter().for_each(third);
    let window = |model: &Wide| model.published.config.get("sliding_window")?.as_u64();
    assert!(models.iter().filter_map(window).any(|window| window > BLOCK), "no wide window");
}

#[test]
fn losses_of_wide_models_agree_with_transformers() {
    for Wide { name, published, sequences, token_nll } in all() {
        let model = load(published.write().path());
        let losses = evaluate(&model, &sequences, &EvaluateOptions::default());
        golden::assert_agrees(&name, &losses, &token_nll);
    }
}

/// How a wide model's work is cut: threads and sequences per batch.
const CUTS: [(usize, usize); 3] = [(2, 1), (8, 0), (3, 2)];

#[test]
fn every_wide_model_has_one_hash() {
    let mut found = String::new();
    for Wide { name, published, sequences, .. } in all() {
        let dir = published.write();
        let resident = load(dir.path());
        let streamed = LoadOptions { streamed: true, ..LoadOptions::default() };
        let streamed = Model::load_with(dir.path(), &no_limits(), &streamed).unwrap().unwrap();
        let losses = |model: &Model, (threads, batch), set, sequences: &[Vec<u32>]| {
            evaluate(model, sequences, &identity::options(threads, batch, set))
        };
        let best = InstructionSet::best();
        let expected = losses(&resident, (1, 0), best, &sequences);
        for cut in CUTS {
            assert_eq!(losses(&resident, cut, best, &sequences), expected, "{name}: {cut:?}");
        }
        assert_eq!(losses(&streamed, (2, 0), best, &sequences), expected, "{name}: streamed");
        // The longest alone: instructions that are emulated are slow.
        let last = sequences.len() - 1;
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let alone = losses(&resident, (2, 0), set, &sequences[last..]);
            assert_eq!(alone, expected[last..], "{name}: {set}");
        }
        writeln!(found, "wide/{name} {}", identity::hash(&expected).hex()).unwrap();
    }
    assert_eq!(found, identity::frozen_hashes(|line| line.starts_with("wide/")));
}
