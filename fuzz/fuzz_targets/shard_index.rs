//! Any bytes as an index of shards: no file that it names leaves the folder.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|index: &[u8]| {
    let Ok(entries) = engine::fuzzing::index(index) else { return };
    for (tensor, file) in entries {
        assert!(!tensor.is_empty() && file.ends_with(".safetensors"));
        assert!(!file.contains(['/', '\\', '\0']) && !file.starts_with('.'));
    }
});
