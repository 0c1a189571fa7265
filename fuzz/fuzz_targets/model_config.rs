//! Any bytes as a `config.json`: a verdict, whose parameters are those of its tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

fuzz_target!(|config: &[u8]| {
    let verdict = engine::fuzzing::config(config).expect("nothing here is our trouble");
    let Ok(demand) = verdict else { return };
    let products = demand.tensors.iter().map(|(_, shape)| shape.iter().product::<u64>());
    assert_eq!(products.sum::<u64>(), demand.n_parameters);
    let names: BTreeSet<_> = demand.tensors.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), demand.tensors.len(), "a tensor stands twice");
    // What we read, others can read; but a number beyond all floats is none to them.
    let theirs: Result<Map<String, Value>, _> = serde_json::from_slice(config);
    if let Err(error) = theirs {
        assert!(error.to_string().contains("number out of range"), "{error}");
    }
});
