//! Losses against Hugging Face transformers, from `testdata/llama` and `testdata/models`.

use crate::{evaluate, load};
use engine::{EvaluateOptions, SequenceLoss};
use std::{fs, path::PathBuf};

/// Largest difference of a token's loss in nats that `testdata/llama/README.md` allows.
const TOLERANCE: f64 = 1e-4;
/// Largest mean difference of a model's losses.
const MEAN_TOLERANCE: f64 = 1e-5;

pub(crate) fn folders() -> Vec<PathBuf> {
    let entries =
        ["llama", "models"].map(|part| fs::read_dir(format!("../../testdata/{part}")).unwrap());
    let entries = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("golden.json").exists()).collect();
    folders.sort();
    folders
}

/// Fails unless the losses of a model's sequences are those of transformers.
pub(crate) fn assert_agrees(name: &str, losses: &[SequenceLoss], expected: &[Vec<f64>]) {
    assert_eq!(losses.len(), expected.len(), "{name}");
    let (mut worst, mut sum, mut n): (f64, f64, usize) = (0.0, 0.0, 0);
    for (loss, expected) in losses.iter().zip(expected) {
        let found = loss.token_nll.as_ref().unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            (worst, sum, n) = (worst.max(difference), sum + difference, n + 1);
        }
    }
    let mean = sum / n as f64;
    eprintln!("{name}: {worst:.1e}, in the mean {mean:.1e}");
    assert!(worst <= TOLERANCE && mean <= MEAN_TOLERANCE, "{name}: {worst}, {mean} nats");
}

#[test]
fn losses_agree_with_transformers() {
    let folders = folders();
    assert!(folders.len() >= 56, "golden files are missing");
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let golden: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let sequences: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
        let expected: Vec<Vec<f64>> = serde_json::from_value(golden["token_nll"].clone()).unwrap();
        let losses = evaluate(&load(&folder), &sequences, &EvaluateOptions::default());
        assert_agrees(&name, &losses, &expected);
    }
}
