//! `model.safetensors.index.json`: which file holds which tensor.

use super::{
    SINGLE,
    header::{TENSORS_MAX, check_name},
};
use crate::json::{Scanner, shorten};
use std::collections::BTreeMap;

/// Longest index: a line per tensor.
pub(crate) const INDEX_BYTES_MAX: u64 = 8 << 20;

/// Whether a file may be named so: `model.safetensors` or `model-00001-of-00002.safetensors`.
pub(crate) fn is_shard_name(name: &str) -> bool {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_numbered = numbers
        .and_then(|numbers| numbers.split_once("-of-"))
        .is_some_and(|(number, count)| is_number(number) && is_number(count));
    is_numbered || name == SINGLE
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
        _ => scanner.fault(format!("the key `{}`", shorten(key))),
    })?;
    scanner.end()?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_file_names_that_leave_the_folder_are_refused() {
        assert!(is_shard_name("model.safetensors"));
        assert!(is_shard_name("model-00001-of-00002.safetensors"));
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
            "model.safetensors\0",
            "model%2esafetensors",
            "model\u{2024}safetensors",
            "model.safetensors.",
            "model.safetensors ",
            " model.safetensors",
            "Model.safetensors",
            "model.SAFETENSORS",
            "model.bin",
            "model-1-of-2.safetensors",
            "model-000001-of-00002.safetensors",
            "model-00001-of-00002.safetensors.py",
            "model-0000a-of-00002.safetensors",
            "model-٠٠٠٠١-of-00002.safetensors",
            "model-00001_of_00002.safetensors",
            "model-00001-of-.safetensors",
            "model--of-.safetensors",
            "a/model.safetensors",
            "model-00001-of-00002-of-00003.safetensors",
            "~/model.safetensors",
            "file:model.safetensors",
            "model-+0001-of-00002.safetensors",
            "con",
        ] {
            assert!(!is_shard_name(name), "{name:?}");
        }
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
