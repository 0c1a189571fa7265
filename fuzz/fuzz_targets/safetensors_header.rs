//! Any text as the header of a safetensors file: refused, or read as the format's own crate reads
//! it.

#![no_main]

use engine::fuzzing;
use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use serde_json::Value;

/// Longest data that are made to follow a header.
const DATA_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|header: &[u8]| {
    let n_bytes = n_data_bytes(header).unwrap_or(0).min(DATA_BYTES_MAX);
    let Ok(entries) = fuzzing::header(header, n_bytes) else { return };
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header, &vec![0; n_bytes as usize]].concat();
    let (_, theirs) = SafeTensors::read_metadata(&file).expect("what we accept, they accept");
    assert_eq!(theirs.tensors().len(), entries.len());
    for (name, dtype, shape, begin, end) in entries {
        let tensor = theirs.info(&name).expect("a tensor that we have seen");
        assert_eq!(format!("{:?}", tensor.dtype), dtype.to_string());
        assert!(tensor.shape.iter().map(|&size| size as u64).eq(shape));
        assert_eq!(tensor.data_offsets, (begin as usize, end as usize));
    }
});

/// Bytes that the tensors of a header take, if it is one: without them no header is in order.
fn n_data_bytes(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values().filter_map(|entry| entry["data_offsets"][1].as_u64());
    ends.max()
}
