//! Models that were admitted before: what is loaded must still be what was judged.

use crate::{
    load,
    memory::peak_bytes,
    published::{Published, one_each},
    writer::{Random, Recipe},
};
use engine::{Error, EvaluateOptions, LoadOptions, Model, no_limits, scan};
use protocol::Digest;
use std::{fs, path::Path};

fn root(dir: &Path) -> Digest {
    scan(dir, &no_limits()).unwrap().unwrap().tensor_root
}

/// Loads a model that was admitted under a root, and measures it.
fn losses(dir: &Path, root: Digest, streamed: bool) -> Result<Vec<f64>, Error> {
    let options = LoadOptions { streamed, expect_root: Some(root), ..LoadOptions::default() };
    let model = Model::load_with(dir, &no_limits(), &options)?.unwrap();
    let sequences = [Random(5).tokens(9, 16), Random(6).tokens(4, 16)];
    let losses = model.evaluate(&sequences, &EvaluateOptions::default())?.unwrap();
    Ok(losses.iter().map(|loss| loss.cross_entropy.value()).collect())
}

fn is_other(outcome: &Result<Vec<f64>, Error>) -> bool {
    matches!(outcome, Err(Error::OtherModel { .. }))
}

#[test]
fn every_architecture_is_measured_under_the_root_that_a_scan_gives() {
    for model in one_each() {
        let dir = model.write();
        let root = root(dir.path());
        let resident = losses(dir.path(), root, false).unwrap();
        assert_eq!(losses(dir.path(), root, true).unwrap(), resident, "{}", model.architecture());
        for streamed in [false, true] {
            let other = losses(dir.path(), Digest::of(b"another model"), streamed);
            assert!(is_other(&other), "{}: {other:?}", model.architecture());
        }
    }
}

#[test]
fn attack_a_bit_that_flips_between_two_rounds_is_our_trouble_and_no_verdict() {
    let mut random = Random(11);
    for model in one_each() {
        let n_tensors = model.tensors.len();
        // In every tensor one, wherever it leads: to a NaN, to no model, or to another loss.
        for index in 0..n_tensors {
            let bit = random.below(8 * model.tensors[index].bytes.len());
            let mut rotten: Published = model.clone();
            rotten.tensors[index].bytes[bit / 8] ^= 1 << (bit % 8);
            let whole = model.write();
            let expected = root(whole.path());
            let name = &model.tensors[index].name;
            // No loss depends on attention to an encoder, nor on rows before the first position.
            let is_used = !["encoder_attn", "embed_positions"].iter().any(|n| name.contains(n));
            for streamed in [false, true] {
                let found = losses(rotten.write().path(), expected, streamed);
                let is_well = !is_used
                    && found.as_ref().ok()
                        == losses(whole.path(), expected, streamed).ok().as_ref();
                let architecture = model.architecture();
                assert!(is_other(&found) || is_well, "{architecture}: `{name}`: {found:?}");
            }
        }
    }
}

#[test]
fn attack_a_config_or_a_header_that_changes_at_rest_is_our_trouble_as_well() {
    let model = one_each().remove(0);
    let dir = model.write();
    let expected = root(dir.path());
    let whole_losses = losses(dir.path(), expected, false).unwrap();
    let (config, tensors) = (dir.path().join("config.json"), dir.path().join("model.safetensors"));
    for path in [config, tensors] {
        let whole = fs::read(&path).unwrap();
        for at in [0, 3, 9, 40, 200] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            let found = losses(dir.path(), expected, false);
            // Of a config the names of keys that nothing reads may change.
            let is_well = found.as_ref().is_ok_and(|found| *found == whole_losses);
            assert!(is_other(&found) || is_well, "{}: {at}: {found:?}", path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(losses(dir.path(), expected, false).is_ok());
}

#[test]
fn a_refusal_by_new_rules_of_a_model_that_did_not_change_stays_one() {
    let dir = one_each().remove(0).write();
    let mut limits = no_limits();
    limits.n_parameters_max = 1;
    let options = LoadOptions { expect_root: Some(root(dir.path())), ..LoadOptions::default() };
    let refused = Model::load_with(dir.path(), &limits, &options).unwrap().unwrap_err();
    assert_eq!(refused.code, protocol::ReasonCode::ParameterCount);
    let options = LoadOptions { expect_root: Some(Digest::of(b"another")), ..options };
    assert!(matches!(
        Model::load_with(dir.path(), &limits, &options),
        Err(Error::OtherModel { found: Some(_), .. })
    ));
}

#[test]
fn a_model_is_measured_in_less_memory_than_its_parameters_take() {
    // The shape of 14 billion parameters at a thirteenth of its width.
    let recipe = Recipe {
        intermediate: 1040,
        n_heads: 40,
        n_kv_heads: 40,
        head_dim: 10,
        dtype: "BF16",
        ..Recipe::small(400, 40, 8192)
    };
    let dir = crate::folder(&recipe);
    let sequences = [Random(3).tokens(64, 8192), Random(4).tokens(40, 8192)];
    let root = root(dir.path());
    let resident = load(dir.path());
    let expected = resident.evaluate(&sequences, &EvaluateOptions::default()).unwrap();
    let parameters = resident.inspection().resident_bytes;
    drop(resident);
    let limit = 112 << 20;
    assert!(parameters > limit * 5 / 4, "{parameters} bytes");
    for expect_root in [None, Some(root)] {
        let options =
            LoadOptions { memory_limit: Some(limit), expect_root, ..LoadOptions::default() };
        // As many threads as there may be: fewer are used where their work space does not fit.
        let evaluate = EvaluateOptions { threads: 64, ..EvaluateOptions::default() };
        let (found, peak) = peak_bytes(|| {
            let model = Model::load_with(dir.path(), &no_limits(), &options).unwrap().unwrap();
            assert!(model.is_streamed());
            model.evaluate(&sequences, &evaluate).unwrap()
        });
        assert_eq!(found, expected);
        assert!((peak as u64) < limit, "{peak}");
    }
}
