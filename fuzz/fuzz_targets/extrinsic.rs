//! What reads as an extrinsic is written back to the same bytes.

#![no_main]

use substrate::SignedCall;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(call) = SignedCall::from_bytes(bytes) {
        assert_eq!(call.to_bytes(), bytes);
    }
});
