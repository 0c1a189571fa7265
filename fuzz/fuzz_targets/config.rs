//! Any text as the config of a model of any architecture: refused, or one set of tensors.

#![no_main]

use engine::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

fuzz_target!(|text: &[u8]| {
    let Ok((n_parameters, tensors)) = fuzzing::config(text) else { return };
    let names: BTreeSet<_> = tensors.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), tensors.len(), "a tensor stands twice");
    let counts = tensors.iter().map(|(_, shape)| shape.iter().product::<u64>());
    assert_eq!(counts.sum::<u64>(), n_parameters);
    // What we read, others can read; but a number beyond all floats is none to them.
    let theirs: Result<Map<String, Value>, _> = serde_json::from_slice(text);
    if let Err(error) = theirs {
        assert!(error.to_string().contains("number out of range"), "{error}");
    }
});
