//! `model.safetensors.index.json`: which file holds which tensor.

use super::header::{TENSORS_MAX, check_name};
use crate::json::{Scanner, shorten};
use protocol::files::is_shard_name;
use std::collections::BTreeMap;

/// Files in which other programs publish parameters, the usual ones first.
pub(super) const OTHER_FORMATS: [&str; 6] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "consolidated.safetensors",
    "consolidated.00.pth",
    "tf_model.h5",
];

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
