//! Any text as an index of shards: refused, or the map that others read, to plain names of files.

#![no_main]

use engine::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let Ok(map) = fuzzing::index(text) else { return };
    for (tensor, file) in &map {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(tensor.chars().all(is_plain) && file.chars().all(is_plain), "{tensor}: {file}");
        assert!(file.starts_with("model") && file.ends_with(".safetensors"), "{file}");
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(theirs) => {
            let theirs = theirs["weight_map"].as_object().cloned().unwrap_or_default();
            let ours = map.into_iter().map(|(tensor, file)| (tensor, Value::String(file)));
            assert_eq!(ours.collect::<serde_json::Map<_, _>>(), theirs);
        }
        // A number beyond all floats is none to them.
        Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
    }
});
