//! What our scanner accepts as a header, the crate of the format reads alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;

/// Bytes of parameters after the header: enough for some tiny tensors.
const DATA_BYTES: usize = 256;

fuzz_target!(|header: &[u8]| {
    let data_bytes = header.len() % (DATA_BYTES + 1);
    let Ok(entries) = engine::fuzzing::header(header, data_bytes as u64) else { return };
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header, &vec![0; data_bytes]].concat();
    let read = SafeTensors::deserialize(&file).expect("accepted by us, refused by the format");
    assert_eq!(read.len(), entries.len());
    for (name, dtype, shape, begin, end) in entries {
        let tensor = read.tensor(&name).expect("a tensor that we have seen");
        assert_eq!(format!("{:?}", tensor.dtype()), dtype.to_string());
        assert!(tensor.shape().iter().map(|n| *n as u64).eq(shape));
        assert_eq!(tensor.data().len() as u64, end - begin);
    }
});
