//! What a scan says of parameters, for every architecture and after every exact rescaling.

use crate::{
    folder, golden, load,
    writer::{self, Random, Recipe, Tensor},
};
use engine::{EvaluateOptions, Role, Scan, TensorHealth, no_limits, scan};
use proptest::prelude::*;
use std::path::Path;

fn scanned(dir: &Path) -> Scan {
    scan(dir, &no_limits()).unwrap().unwrap()
}

fn losses(dir: &Path, vocabulary: usize) -> Vec<f64> {
    let sequences: Vec<_> = (1..4).map(|seed| Random(seed).tokens(20, vocabulary)).collect();
    let losses = load(dir).evaluate(&sequences, &EvaluateOptions::default()).unwrap().unwrap();
    losses.iter().map(|loss| loss.cross_entropy.value()).collect()
}

#[test]
fn every_architecture_has_a_role_for_every_tensor_and_channels_between_them() {
    for folder in golden::folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let tensors = scanned(&folder).tensors;
        let count = |role: Role| tensors.iter().filter(|tensor| tensor.role == role).count();
        assert!(count(Role::Table) > 0 && count(Role::Matrix) > 0, "{name}");
        for tensor in &tensors {
            let figures = [tensor.rms, tensor.greatest, tensor.peak, tensor.row_ratio];
            assert!(figures.iter().all(|figure| figure.is_finite()), "{name}: {tensor:?}");
            assert!(tensor.peak >= 1.0 - 1e-9 && tensor.greatest >= tensor.rms, "{tensor:?}");
            // What leaves attention and the perceptron is always behind something.
            let is_output = ["o_proj.w", "down_proj", "c_proj", "dense_4h_to_h", "fc_out", "fc2"]
                .iter()
                .any(|part| tensor.name.contains(part));
            if is_output && tensor.role == Role::Matrix {
                assert!(
                    tensor.channel_ratio.is_some_and(|ratio| ratio >= 1.0),
                    "{name}: {tensor:?}"
                );
            }
        }
    }
}

fn scale(tensors: &mut [Tensor], part: &str, factor: impl Fn(usize, usize) -> f32) {
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name.contains(part)) {
        let n_columns = tensor.shape[tensor.shape.len() - 1];
        for (index, number) in tensor.numbers.iter_mut().enumerate() {
            *number *= factor(index / n_columns, index % n_columns);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exact_rescalings_change_neither_losses_nor_what_is_made_of_both_sides(
        seed in any::<u64>(),
        // Powers of two are exact; each channel has its own.
        exponents in prop::collection::vec(-3_i32..=3, 16),
        n_kv_heads in prop::sample::select(vec![1, 2, 4]),
        of_gains in any::<bool>(),
    ) {
        let recipe = Recipe { seed, n_kv_heads, ..Recipe::small(16, 1, 20) };
        let factor = |channel: usize| 2_f32.powi(exponents[channel % 16]);
        let mut tensors = recipe.tensors();
        let inputs = ["q_proj", "k_proj", "v_proj"];
        let read = if of_gains { &inputs[..] } else { &["down_proj"] };
        read.iter().for_each(|part| scale(&mut tensors, part, |_, column| 1.0 / factor(column)));
        if of_gains {
            scale(&mut tensors, "input_layernorm", |_, column| factor(column));
        } else {
            scale(&mut tensors, "up_proj", |row, _| factor(row));
        }
        let (plain, scaled) = (folder(&recipe), tempfile::tempdir().unwrap());
        writer::write(scaled.path(), &recipe.config(), &tensors);
        prop_assert_eq!(losses(plain.path(), 20), losses(scaled.path(), 20));
        let pairs = std::iter::zip(scanned(plain.path()).tensors, scanned(scaled.path()).tensors);
        let is_read = |name: &str| read.iter().any(|part| name.contains(part));
        for (plain, scaled) in pairs.filter(|(plain, _)| is_read(&plain.name)) {
            let figures = |t: &TensorHealth| [t.rms_with_gains, t.channel_ratio];
            for (plain, scaled) in std::iter::zip(figures(&plain), figures(&scaled)) {
                let (plain, scaled) = (plain.unwrap_or(1.0), scaled.unwrap_or(1.0));
                prop_assert!((plain / scaled - 1.0).abs() < 1e-9, "{} of {}", plain, scaled);
            }
        }
    }
}

#[test]
fn attack_a_single_number_far_above_its_row_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe { intermediate: 1024, ..Recipe::small(16, 1, 20) };
    let mut tensors = recipe.tensors();
    // One number of a row of a thousand, a hundred times as large: no row or column as a whole.
    scale(
        &mut tensors,
        "down_proj",
        |row, column| if row == 3 && column == 7 { 100.0 } else { 1.0 },
    );
    writer::write(dir.path(), &recipe.config(), &tensors);
    let found = scanned(dir.path()).findings;
    let rule = "the greatest number of a row over its size";
    assert!(found.iter().any(|finding| finding.rule == rule && finding.value > 15.0), "{found:?}");
}
