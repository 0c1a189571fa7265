//! Files of tensors: what is written, what is refused, and what half precision means.

use super::*;
use crate::tests::{Random, bits};
use safetensors::tensor::TensorView;
use std::path::PathBuf;

/// A tensor as it stands in a file of somebody else.
type Foreign = (&'static str, Dtype, Vec<usize>, Vec<u8>);

/// Writes a file as somebody else would.
fn foreign(folder: &Path, tensors: &[Foreign]) -> PathBuf {
    let path = folder.join("foreign.safetensors");
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

/// A tensor of zeros.
fn zeros(name: &'static str, dtype: Dtype, shape: &[usize]) -> Foreign {
    let n_bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    (name, dtype, shape.to_vec(), vec![0; n_bytes])
}

fn expected(tensors: &[(&str, &[usize])]) -> BTreeMap<String, Vec<usize>> {
    tensors.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
}

#[test]
fn a_file_is_read_by_the_formats_own_crate_as_it_was_meant() {
    let home = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let (few, more) = (random.size(1, 9), random.size(1, 9));
        let shapes = [vec![few], vec![more, few], vec![1, 1]];
        let values: Vec<Vec<f32>> =
            shapes.iter().map(|shape| random.finite_bits(shape.iter().product())).collect();
        let names = ["b", "a.long.name", "c"];
        let tensors: Vec<Named<'_>> = names
            .iter()
            .zip(shapes.iter().zip(&values))
            .map(|(name, (shape, values))| Named {
                name: (*name).to_owned(),
                shape: shape.clone(),
                values,
            })
            .collect();
        let path = home.path().join(format!("{seed}.safetensors"));
        write(&path, &tensors, ("made by", "a \"test\"")).unwrap();

        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), names.len(), "seed {seed}");
        for (name, (shape, values)) in names.iter().zip(shapes.iter().zip(&values)) {
            let tensor = file.tensor(name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, shape.as_slice()));
            let found: Vec<u32> =
                tensor.data().as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
            assert_eq!(found, bits(values), "seed {seed}: {name}");
        }
        let metadata = read_metadata(&path).unwrap();
        assert_eq!(metadata, HashMap::from([("made by".to_owned(), "a \"test\"".to_owned())]));
        // The same again in the same bytes, and nothing beside it.
        write(&path, &tensors, ("made by", "a \"test\"")).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "seed {seed}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 6);
}

#[test]
fn a_file_of_other_tensors_is_refused_by_their_names() {
    let home = tempfile::tempdir().unwrap();
    let wanted = expected(&[("a", &[2]), ("b", &[2, 3])]);
    let a = || zeros("a", Dtype::F32, &[2]);
    let b = || zeros("b", Dtype::F32, &[2, 3]);
    let path = foreign(home.path(), &[a(), b()]);
    assert_eq!(read(&path, &wanted).unwrap().take("b"), [0.0; 6]);
    for (tensors, named) in [
        (vec![a()], "tensor `b` is missing"),
        (vec![a(), b(), zeros("c", Dtype::F32, &[1])], "`c` does not belong to the model"),
        (vec![a(), zeros("b", Dtype::F32, &[3, 2])], "`b` is [3, 2], not [2, 3]"),
        (vec![a(), zeros("b", Dtype::F32, &[6])], "`b` is [6], not [2, 3]"),
        (vec![a(), zeros("b", Dtype::F64, &[2, 3])], "`b` is F64, not F32, BF16 or F16"),
        (vec![a(), zeros("b", Dtype::I32, &[2, 3])], "`b` is I32, not F32, BF16 or F16"),
        (vec![a(), zeros("b", Dtype::U8, &[2, 3])], "`b` is U8, not F32, BF16 or F16"),
        (vec![], "is missing"),
    ] {
        let path = foreign(home.path(), &tensors);
        let error = read(&path, &wanted).err().unwrap().to_string();
        assert!(error.contains(named) && error.contains("foreign.safetensors"), "{error}");
    }
}

#[test]
fn contents_are_given_once_and_no_name_has_those_of_another() {
    let home = tempfile::tempdir().unwrap();
    let path = foreign(home.path(), &[("a", Dtype::F32, vec![1], 2.5_f32.to_le_bytes().to_vec())]);
    let mut contents = read(&path, &expected(&[("a", &[1])])).unwrap();
    assert_eq!(contents.take("b"), [0.0; 0]);
    assert_eq!(contents.take("a"), [2.5]);
    assert_eq!(contents.take("a"), [0.0; 0]);
}

/// What sixteen bits mean: a sign, an exponent, and so many bits of a fraction.
fn meant(half: u16, n_fraction: u32) -> f64 {
    let (sign, fraction) = (half >> 15, half & ((1 << n_fraction) - 1));
    let exponent = i32::from((half & 0x7fff) >> n_fraction);
    // The bias is that of the largest exponent, halved.
    let bias = (1 << (14 - n_fraction)) - 1;
    let one = f64::from(1_u32 << n_fraction);
    let significand = f64::from(fraction) / one + if exponent > 0 { 1.0 } else { 0.0 };
    let magnitude = significand * 2.0_f64.powi(exponent.max(1) - bias);
    if sign == 1 { -magnitude } else { magnitude }
}

#[test]
fn every_number_in_half_precision_widens_to_exactly_itself() {
    let home = tempfile::tempdir().unwrap();
    for (dtype, n_fraction) in [(Dtype::F16, 10_u32), (Dtype::BF16, 7)] {
        let is_finite = |half: &u16| (half & 0x7fff) >> n_fraction < (1 << (15 - n_fraction)) - 1;
        let halves: Vec<u16> = (0..=u16::MAX).filter(is_finite).collect();
        let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let path = foreign(home.path(), &[("x", dtype, vec![halves.len()], bytes)]);
        let found = read(&path, &expected(&[("x", &[halves.len()])])).unwrap().take("x");
        assert_eq!(found.len(), halves.len());
        for (half, found) in halves.iter().zip(&found) {
            let exact = meant(*half, n_fraction);
            assert_eq!(f64::from(*found).to_bits(), exact.to_bits(), "{half:#06x} of {dtype}");
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_refused_in_every_precision() {
    let home = tempfile::tempdir().unwrap();
    let of_half = |half: u16| half.to_le_bytes().to_vec();
    let of_float = |float: f32| float.to_le_bytes().to_vec();
    for (dtype, bytes) in [
        (Dtype::F16, of_half(0x7c00)),
        (Dtype::F16, of_half(0xfe00)),
        (Dtype::BF16, of_half(0xff80)),
        (Dtype::BF16, of_half(0x7fc0)),
        (Dtype::F32, of_float(f32::NEG_INFINITY)),
        (Dtype::F32, of_float(f32::NAN)),
    ] {
        let path = foreign(home.path(), &[("x", dtype, vec![1], bytes)]);
        let error = read(&path, &expected(&[("x", &[1])])).err().unwrap().to_string();
        assert!(error.contains("tensor `x` has values that are not finite"), "{dtype}: {error}");
    }
}

#[test]
fn a_file_longer_than_its_model_is_not_read_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("long.safetensors");
    let bytes_max = 4 + HEADER_BYTES_MAX;
    // A file of holes, which takes no room.
    File::create(&path).unwrap().set_len(1 << 33).unwrap();
    let error = read(&path, &expected(&[("x", &[1])])).err().unwrap().to_string();
    assert!(error.contains(&format!("more than {bytes_max} bytes")), "{error}");
}

#[test]
fn what_is_not_there_is_an_error_of_reading_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("none.safetensors");
    let errors =
        [read(&path, &BTreeMap::new()).err(), read_metadata(&path).err(), sync(&path).err()];
    for error in errors.map(Option::unwrap) {
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error:?}");
        assert!(error.is_transient());
    }
}

#[test]
fn what_is_begun_and_not_placed_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("above/model");
    let partial = Partial::beside(&target).unwrap();
    fs::write(partial.path().join("file"), "half").unwrap();
    assert_eq!(fs::read_dir(home.path().join("above")).unwrap().count(), 1);
    drop(partial);
    assert_eq!(fs::read_dir(home.path().join("above")).unwrap().count(), 0);
    // Onto a folder that holds something: both stay as they were.
    fs::create_dir_all(target.join("theirs")).unwrap();
    let partial = Partial::beside(&target).unwrap();
    let error = partial.become_folder(&target).unwrap_err();
    assert!(matches!(&error, Error::Exists { path } if *path == target), "{error:?}");
    assert!(target.join("theirs").is_dir());
    assert_eq!(fs::read_dir(home.path().join("above")).unwrap().count(), 1);
}
