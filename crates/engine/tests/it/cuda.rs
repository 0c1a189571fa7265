//! Losses on a GPU beside those of the CPU. Built with the feature `cuda`; needs an NVIDIA GPU.

use crate::golden::folders;
use engine::{CudaModel, EvaluateOptions, LoadOptions, Model, no_limits};

/// Largest difference of a model's mean loss in nats.
const TOLERANCE: f64 = 0.02;
/// Largest difference of a token's loss in nats.
const TOKEN_TOLERANCE: f64 = 0.75;

fn losses(
    model: &CudaModel,
    sequences: &[Vec<u32>],
    sequences_per_batch: usize,
) -> Vec<engine::SequenceLoss> {
    let options = EvaluateOptions { per_token: true, sequences_per_batch, ..Default::default() };
    model.evaluate(sequences, &options).unwrap().unwrap()
}

#[test]
fn losses_on_a_gpu_are_those_of_the_cpu_but_for_rounding() {
    let mut faults = Vec::new();
    for folder in folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let golden = std::fs::read(folder.join("golden.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
        let sequences: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
        let exact = Model::load(&folder, &no_limits()).unwrap().unwrap();
        let options = EvaluateOptions { per_token: true, ..Default::default() };
        let exact = exact.evaluate(&sequences, &options).unwrap().unwrap();
        let model = CudaModel::load(&folder, &no_limits(), 0, &LoadOptions::default());
        let model = match model {
            Ok(model) => model.unwrap(),
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        let found = losses(&model, &sequences, 0);
        let alone = losses(&model, &sequences, 1);
        let (mut worst, mut sum, mut n) = (0.0_f64, 0.0, 0);
        for ((exact, found), alone) in exact.iter().zip(&found).zip(&alone) {
            for found in [found, alone] {
                let [exact, found] = [exact, found].map(|loss| loss.token_nll.as_ref().unwrap());
                for (exact, found) in exact.iter().zip(found) {
                    let difference = f64::from(found - exact);
                    (worst, sum, n) = (worst.max(difference.abs()), sum + difference, n + 1);
                }
            }
        }
        let mean = sum / f64::from(n);
        eprintln!("{name}: {mean:+.1e} in the mean, {worst:.1e} at most");
        if !(mean.abs() <= TOLERANCE && worst <= TOKEN_TOLERANCE) {
            faults.push(format!("{name}: {mean:+.2e} in the mean, {worst:.2e} at most"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
