//! How far two models are apart, from their files.

use crate::{
    folder,
    identity::write_shards,
    writer::{self, Random, Recipe},
};
use engine::{delta, scan};

fn recipe() -> Recipe {
    Recipe::small(32, 2, 48)
}

#[test]
fn a_copy_with_noise_is_near_and_another_seed_is_far() {
    let first = folder(&recipe());
    let mut tensors = recipe().tensors();
    let mut random = Random(9);
    for tensor in &mut tensors {
        for number in &mut tensor.numbers {
            *number *= 1.0 + 0.01 * random.next();
        }
    }
    let noised = tempfile::tempdir().unwrap();
    writer::write(noised.path(), &recipe().config(), &tensors);
    let near = delta(first.path(), noised.path()).unwrap().unwrap().unwrap();
    // A uniform number from -1 to 1 has the deviation 0.577.
    assert!((near.relative - 0.0058).abs() < 0.0005, "{}", near.relative);
    assert_eq!(near.tensors.len(), tensors.len());
    assert!(near.tensors.iter().all(|(_, apart)| *apart > 0.003 && *apart < 0.009));

    let other = folder(&Recipe { seed: 2, ..recipe() });
    let far = delta(first.path(), other.path()).unwrap().unwrap().unwrap();
    assert!((far.relative - 2.0_f64.sqrt()).abs() < 0.1, "{}", far.relative);
}

#[test]
fn packing_is_no_distance_and_other_shapes_have_none() {
    let recipe = Recipe { dtype: "BF16", ..recipe() };
    let first = folder(&recipe);
    let mut wide = recipe.tensors();
    for tensor in &mut wide {
        tensor.numbers = tensor.rounded().iter().map(|number| *number as f32).collect();
        tensor.dtype = "F32";
    }
    let (packed, sharded) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    writer::write(packed.path(), &recipe.config(), &wide);
    write_shards(sharded.path(), &recipe, 3);
    for other in [packed, sharded] {
        let found = delta(first.path(), other.path()).unwrap().unwrap().unwrap();
        assert_eq!(found.relative, 0.0);
    }
    let larger = folder(&Recipe { n_layers: 3, ..recipe });
    assert_eq!(delta(first.path(), larger.path()).unwrap().unwrap(), None);
}

#[test]
fn attack_numbers_that_are_none_have_no_distance_but_the_reason_of_a_scan() {
    let mut tensors = recipe().tensors();
    tensors[3].numbers[5] = f32::NAN;
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), &recipe().config(), &tensors);
    let reason = delta(folder(&recipe()).path(), dir.path()).unwrap().unwrap_err();
    assert_eq!(reason, scan(dir.path(), &engine::no_limits()).unwrap().unwrap_err());
}
