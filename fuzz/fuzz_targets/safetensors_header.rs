//! Any text as the header of a safetensors file: refused, or read as the format's own crate reads
//! it.

#![no_main]

use engine::fuzzing;
use libfuzzer_sys::fuzz_target;
use safetensors::{SafeTensors, tensor::TensorInfo};
use serde_json::Value;

/// Longest data that are made to follow a header.
const DATA_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|header: &[u8]| {
    let n_bytes = n_data_bytes(header).unwrap_or(0).min(DATA_BYTES_MAX) as usize;
    let prefix = (header.len() as u64).to_le_bytes();
    let file = [&prefix[..], header, &vec![0; n_bytes]].concat();
    let Ok(ours) = fuzzing::header(&file) else { return };
    let (_, metadata) = SafeTensors::read_metadata(&file).expect("what we accept, they accept");
    let tensor = |(name, info): (String, &TensorInfo)| {
        let shape = info.shape.iter().map(|&size| size as u64).collect();
        let (begin, end) = info.data_offsets;
        (name, format!("{:?}", info.dtype), shape, [begin as u64, end as u64])
    };
    let mut theirs: fuzzing::Tensors = metadata.tensors().into_iter().map(tensor).collect();
    theirs.sort();
    assert_eq!(ours, theirs);
});

/// Bytes that the tensors of a header take, if it is one: without them no header is in order.
fn n_data_bytes(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values().filter_map(|entry| entry["data_offsets"][1].as_u64());
    ends.max()
}
