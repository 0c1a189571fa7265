//! Checkpoints: to the bit what was written, or an error; models in the same way.

use super::*;
use crate::tests::{Random, bits};
use tempfile::TempDir;

/// A checkpoint of a random model, with numbers of all sizes.
fn checkpoint(seed: u64) -> Checkpoint {
    let mut random = Random::new(seed);
    let config = random.config();
    let slots = parameters::slots(&config);
    let mut numbers =
        || -> Vec<Vec<f32>> { slots.iter().map(|slot| random.finite_bits(slot.len())).collect() };
    let (mut values, means, squares) = (numbers(), numbers(), numbers());
    values[0][0] = -0.0;
    values[0][1] = f32::from_bits(1);
    let moments = |(mean, square)| Moments { mean, square };
    Checkpoint {
        config,
        recipe: Recipe { lr: 0.1 + 0.2, lr_min: 5e-324, ..Recipe::default() },
        values,
        moments: means.into_iter().zip(squares).map(moments).collect(),
        step: u64::MAX - seed,
        position: vec![0, u64::MAX, seed],
    }
}

/// The smallest model there is.
fn tiny() -> Checkpoint {
    let config = ModelConfig {
        vocabulary: 2,
        hidden: 2,
        intermediate: 1,
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        context: 2,
        rope_theta: 100.0,
        rms_norm_eps: 1e-5,
        tied: true,
    };
    let slots = parameters::slots(&config);
    let mut random = Random::new(1);
    let values = slots.iter().map(|slot| random.floats(slot.len())).collect();
    let moments = slots.iter().map(|slot| Moments::zeros(slot.len())).collect();
    let recipe = Recipe::default();
    Checkpoint { config, recipe, values, moments, step: 3, position: vec![12] }
}

/// A folder with a checkpoint of [`tiny`], and the bytes of its file.
fn written() -> (TempDir, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), &tiny()).unwrap();
    let bytes = fs::read(home.path().join(CHECKPOINT_FILE)).unwrap();
    (home, bytes)
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir(folder).unwrap().map(name);
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes in which the first `found` is replaced by as many other bytes.
fn replaced(bytes: &[u8], found: &str, by: &str) -> Vec<u8> {
    assert_eq!(found.len(), by.len(), "{found} for {by}");
    let mut windows = bytes.windows(found.len());
    let at = windows.position(|window| window == found.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {found}"));
    let mut bytes = bytes.to_vec();
    bytes[at..at + by.len()].copy_from_slice(by.as_bytes());
    bytes
}

#[test]
fn what_is_read_is_what_was_written_to_the_bit() {
    let home = tempfile::tempdir().unwrap();
    for seed in 0..8 {
        let whole = checkpoint(seed);
        let folder = home.path().join(format!("deep/{seed}"));
        write(&folder, &whole).unwrap();
        let found = read(&folder).unwrap();
        assert_eq!((&found.config, &found.recipe), (&whole.config, &whole.recipe), "seed {seed}");
        assert_eq!((found.step, &found.position), (whole.step, &whole.position), "seed {seed}");
        for ((_, found), (prefix, whole)) in found.groups().iter().zip(whole.groups()) {
            assert_eq!(found.len(), whole.len(), "seed {seed}");
            for (found, whole) in found.iter().zip(whole) {
                assert!(bits(found) == bits(whole), "seed {seed}: {prefix}");
            }
        }
        // Equal checkpoints are equal files.
        let again = home.path().join(format!("again/{seed}"));
        write(&again, &found).unwrap();
        let bytes = |folder: &Path| fs::read(folder.join(CHECKPOINT_FILE)).unwrap();
        assert!(bytes(&again) == bytes(&folder), "seed {seed}");
    }
}

#[test]
fn no_cut_of_a_checkpoint_is_read() {
    let (home, bytes) = written();
    let path = home.path().join(CHECKPOINT_FILE);
    let file = fs::File::options().write(true).open(&path).unwrap();
    for n in (0..bytes.len()).rev() {
        file.set_len(n as u64).unwrap();
        let error = read(home.path()).err().unwrap();
        assert!(matches!(error, Error::Malformed { .. }), "{n} bytes: {error}");
        assert!(error.to_string().contains(CHECKPOINT_FILE), "{n} bytes: {error}");
    }
    fs::write(&path, [&bytes[..], &b" "[..]].concat()).unwrap();
    let error = read(home.path()).err().unwrap();
    assert!(matches!(error, Error::Malformed { .. }), "one byte more: {error}");
}

#[test]
fn no_changed_byte_of_a_checkpoint_goes_unnoticed() {
    let (home, bytes) = written();
    let path = home.path().join(CHECKPOINT_FILE);
    let mut changed = bytes.clone();
    for (at, byte) in bytes.iter().enumerate() {
        // The lowest bit, the case of a letter, the highest bit, all of them.
        changed[at] = byte ^ [0x01, 0x20, 0x80, 0xff][at % 4];
        fs::write(&path, &changed).unwrap();
        match read(home.path()).err() {
            Some(Error::Malformed { path: named, .. }) => assert_eq!(named, path),
            // A changed digit may make the shape impossible.
            Some(Error::Config(_)) => {}
            other => panic!("byte {at} of {}: {other:?}", bytes.len()),
        }
        changed[at] = *byte;
    }
}

#[test]
fn a_checkpoint_says_what_is_wrong_with_it() {
    let (home, bytes) = written();
    let path = home.path().join(CHECKPOINT_FILE);
    for (found, by, named) in [
        (r#"\"version\":1"#, r#"\"version\":2"#, "another version"),
        (r#"\"version\":1"#, r#"\"version\":x"#, "expected value"),
        (r#"\"step\":3"#, r#"\"step\":4"#, "differs from its digest"),
        (r#"\"step\":3"#, r#"\"stop\":3"#, "unknown field `stop`"),
        (r#"\"position\":[12]"#, r#"\"position\":[13]"#, "differs from its digest"),
        (r#"\"lr\":0.003"#, r#"\"lr\":0.004"#, "differs from its digest"),
        (r#"\"vocabulary\":2"#, r#"\"vocabulary\":3"#, "is [2, 2], not [3, 2]"),
        (r#"\"tied\":true"#, r#"\"tied\":null"#, "expected a boolean"),
        ("agon.checkpoint", "agon.something_", "not a checkpoint"),
        ("sha256:", "sha512:", "differs from its digest"),
        (r#" {\"version"#, r#"_{\"version"#, "no digest"),
        ("adam.mean.model.norm", "adam.mean.model.n0rm", "does not belong to the model"),
        (r#""F32""#, r#""I32""#, "not F32, BF16 or F16"),
    ] {
        fs::write(&path, replaced(&bytes, found, by)).unwrap();
        let error = read(home.path()).err().unwrap();
        assert!(matches!(error, Error::Malformed { .. }), "{found}: {error:?}");
        let error = error.to_string();
        assert!(error.contains(named) && error.contains(CHECKPOINT_FILE), "{found}: {error}");
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(home.path()).unwrap().step, 3, "unchanged it is read");
}

#[test]
fn a_writer_that_died_leaves_the_checkpoint_before_it() {
    let (home, bytes) = written();
    // As a killed process leaves it: begun, and never moved to its place.
    let target = home.path().join(CHECKPOINT_FILE);
    let partial = Partial::beside(&target).unwrap();
    fs::write(partial.path().join(CHECKPOINT_FILE), &bytes[..bytes.len() / 2]).unwrap();
    std::mem::forget(partial);
    assert_eq!(names(home.path()).len(), 2);
    assert_eq!(read(home.path()).unwrap().step, 3);
    write(home.path(), &Checkpoint { step: 4, ..tiny() }).unwrap();
    assert_eq!(read(home.path()).unwrap().step, 4);
    disk::sweep(home.path()).unwrap();
    assert_eq!(names(home.path()), [CHECKPOINT_FILE]);
    assert_eq!(read(home.path()).unwrap().step, 4);
}

#[test]
fn a_checkpoint_that_cannot_be_placed_is_an_error_that_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    // A folder stands where the file should be; then a file where the folder should be.
    let taken = home.path().join("taken").join(CHECKPOINT_FILE);
    fs::create_dir_all(taken.join("inside")).unwrap();
    let file = home.path().join("file");
    fs::write(&file, "of somebody").unwrap();
    for folder in [taken.parent().unwrap(), file.as_path()] {
        let error = write(folder, &tiny()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains(CHECKPOINT_FILE), "{error}");
    }
    assert_eq!(names(home.path()), ["file", "taken"]);
    assert_eq!(names(taken.parent().unwrap()), [CHECKPOINT_FILE]);
    assert_eq!(fs::read(&file).unwrap(), b"of somebody");
}

#[test]
fn a_model_goes_into_an_empty_folder_and_onto_no_file() {
    let home = tempfile::tempdir().unwrap();
    let Checkpoint { config, values, .. } = checkpoint(4);
    let [empty, file] = ["empty", "file"].map(|name| home.path().join(name));
    fs::create_dir(&empty).unwrap();
    fs::write(&file, "of somebody").unwrap();
    write_model(&empty, &config, &values).unwrap();
    let (found_config, found) = read_model(&empty).unwrap();
    assert_eq!(found_config, config);
    assert_eq!(bits(&found.concat()), bits(&values.concat()));
    let error = write_model(&file, &config, &values).unwrap_err();
    assert!(matches!(&error, Error::Exists { path } if *path == file), "{error:?}");
    assert_eq!(names(home.path()), ["empty", "file"]);
    assert_eq!(fs::read(&file).unwrap(), b"of somebody");
}
