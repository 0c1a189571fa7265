//! The engine from outside: published files in, losses or refusals out.

mod attack_configs;
mod attack_files;
mod attack_json;
mod attack_names;
mod attack_shapes;
mod attacks;
mod configs;
#[cfg(feature = "cuda")]
mod cuda;
mod definition;
mod delta;
mod edges;
mod fuzz;
mod generation;
mod golden;
mod health;
mod identity;
mod limits;
mod memory;
mod mutate;
mod published;
mod reference;
mod rest;
mod roots;
mod spellings;
mod wide;
mod writer;

use engine::{EvaluateOptions, Model, SequenceLoss, no_limits};
use protocol::{Reason, ReasonCode};
use std::path::Path;
use tempfile::TempDir;
use writer::Recipe;

/// A folder with the model of a recipe.
fn folder(recipe: &Recipe) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    recipe.write(dir.path());
    dir
}

/// Loads a model that must be good.
fn load(dir: &Path) -> Model {
    Model::load(dir, &no_limits()).unwrap().unwrap()
}

/// Losses of a model that must have some, token by token.
fn evaluate(
    model: &Model,
    sequences: &[Vec<u32>],
    options: &EvaluateOptions<'_>,
) -> Vec<SequenceLoss> {
    let options = EvaluateOptions { per_token: true, ..*options };
    model.evaluate(sequences, &options).unwrap().unwrap()
}

/// Why `inspect`, and after it `scan` and `load`, refuse a folder.
fn refusal(dir: &Path) -> Reason {
    let reason = engine::inspect(dir, &no_limits()).unwrap().unwrap_err();
    assert_eq!(engine::scan(dir, &no_limits()).unwrap().unwrap_err(), reason);
    assert_eq!(Model::load(dir, &no_limits()).unwrap().unwrap_err(), reason);
    reason
}

/// Checks the code of a refusal and that its text names the thing.
fn assert_refused(dir: &Path, code: ReasonCode, because: &str) {
    let reason = refusal(dir);
    assert_eq!(reason.code, code, "{reason}");
    assert!(reason.detail.contains(because), "{reason} does not speak of {because:?}");
}
