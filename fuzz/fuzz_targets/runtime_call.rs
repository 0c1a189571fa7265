//! Any bytes as the name and the arguments of a runtime call.

#![no_main]

use substrate::wire::{api, storage::State};
use libfuzzer_sys::fuzz_target;

/// A state that holds nothing.
struct Empty;

impl State for Empty {
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn keys(&self, _: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

fuzz_target!(|input: (&str, &[u8])| {
    let (method, arguments) = input;
    // An answer or a refusal: all that matters is that it comes.
    let _ = api::call(method, arguments, &Empty);
});
