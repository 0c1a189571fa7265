//! Any bytes as a `config.json`: a verdict, whose parameters are those of its tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|config: &[u8]| {
    let verdict = engine::fuzzing::config(config).expect("nothing here is our trouble");
    if let Ok(demand) = verdict {
        let products = demand.tensors.iter().map(|(_, shape)| shape.iter().product::<u64>());
        assert_eq!(products.sum::<u64>(), demand.n_parameters);
    }
});
