//! `model.safetensors.index.json`: which file holds which tensor.

use super::header::{TENSORS_MAX, check_name};
use crate::json::{Scanner, shorten};
use std::collections::BTreeMap;

/// Longest index: a line per tensor.
pub(crate) const INDEX_BYTES_MAX: u64 = 8 << 20;

/// Longest name of a file with parameters.
const NAME_BYTES_MAX: usize = 128;

/// Files in which other programs publish parameters, the usual ones first.
pub(super) const OTHER_FORMATS: [&str; 6] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "consolidated.safetensors",
    "consolidated.00.pth",
    "tf_model.h5",
];

/// Whether a file may be named so.
///
/// Publishers number their shards in many ways, and the index says which they are. A name is the
/// same on every system, stays in its folder and is not hidden.
pub(crate) fn is_shard_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let stem = name.strip_suffix(".safetensors").unwrap_or_default();
    !stem.is_empty()
        && !stem.starts_with('.')
        && name.len() <= NAME_BYTES_MAX
        && stem.bytes().all(is_plain)
}

/// Reads an index: tensor to file.
pub(crate) fn scan(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    scan_map(text).map_err(|fault| fault.to_string())
}

fn scan_map(text: &[u8]) -> Result<BTreeMap<String, String>, crate::json::Fault> {
    let mut scanner = Scanner::new(text)?;
    let mut map = BTreeMap::new();
    scanner.object(|scanner, key| match key {
        "metadata" => scanner.value().map(drop),
        "weight_map" => scanner.object(|scanner, tensor| {
            let file = scanner.string()?;
            if !is_shard_name(&file) {
                return scanner.fault(format!("the file name `{}`", shorten(&file)));
            }
            if map.len() >= TENSORS_MAX {
                return scanner.fault(format!("more than {TENSORS_MAX} tensors"));
            }
            check_name(scanner, tensor)?;
            map.insert(tensor.to_owned(), file);
            Ok(())
        }),
        // Nobody reads more.
        _ => scanner.value().map(drop),
    })?;
    scanner.end()?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_file_names_that_leave_the_folder_are_refused() {
        let long = long_name(129);
        for name in [
            "",
            "../model.safetensors",
            "/model.safetensors",
            "./model.safetensors",
            "model-00001-of-00002.safetensors/..",
            "..",
            "model-../../x-of-00002.safetensors",
            "C:\\model.safetensors",
            "\\\\host\\model.safetensors",
            "..safetensors",
            ".model.safetensors",
            "...safetensors",
            ".safetensors",
            "mödel.safetensors",
            "model 1.safetensors",
            "model+1.safetensors",
            &long,
            "model.safetensors\0",
            "model%2esafetensors",
            "model\u{2024}safetensors",
            "model.safetensors.",
            "model.safetensors ",
            " model.safetensors",
            "model.SAFETENSORS",
            "model.bin",
            "model-00001-of-00002.safetensors.py",
            "model-٠٠٠٠١-of-00002.safetensors",
            "a/model.safetensors",
            "~/model.safetensors",
            "file:model.safetensors",
            "model-+0001-of-00002.safetensors",
            "con",
        ] {
            assert!(!is_shard_name(name), "{name:?}");
        }
    }

    #[test]
    fn shards_are_named_as_publishers_name_them() {
        for name in [
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00001-of-000002.safetensors",
            "model.safetensors-00001-of-00002.safetensors",
            "pytorch_model-00001-of-00002.safetensors",
            "Model-1_of_2.v1.safetensors",
            &long_name(128),
        ] {
            assert!(is_shard_name(name), "{name}");
        }
    }

    fn long_name(n_bytes: usize) -> String {
        format!("{}.safetensors", "x".repeat(n_bytes - 12))
    }

    #[test]
    fn an_index_as_transformers_writes_it_is_read() {
        let text = br#"{"metadata":{"total_parameters":3,"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#;
        assert_eq!(scan(text).unwrap()["a"], "model-00001-of-00002.safetensors");
    }

    #[test]
    fn attack_an_index_with_a_tensor_twice_is_refused() {
        let text = br#"{"weight_map":{"a":"model.safetensors","a":"model.safetensors"}}"#;
        assert!(scan(text).unwrap_err().contains("twice"));
        let text = br#"{"weight_map":{"a":"../model.safetensors"}}"#;
        assert!(scan(text).unwrap_err().contains("file name"));
    }
}
