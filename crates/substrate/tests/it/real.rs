//! Our node and our client beside Bittensor's runtimes, as far as their real metadata and what
//! Bittensor's own SDK has recorded of one of them reach; `testdata/bittensor` says where both are
//! from.

mod alike;
mod endpoint;
mod hiding;
mod node;
mod organiser;
mod recorded;

use flate2::read::GzDecoder;
use std::{fs::File, io::Read as _, path::PathBuf};

/// Spec versions, with the names of their files.
const RUNTIMES: [(u32, &str); 4] =
    [(219, "219-finney-v14"), (343, "343-finney-v15"), (393, "393-finney-v16"), NEWEST];

/// The newest runtime, which our node is made after.
const NEWEST: (u32, &str) = (461, "461-local-v15");

fn testdata(name: &str) -> PathBuf {
    ["testdata", "bittensor", name].iter().collect()
}

/// The metadata of a runtime, as its nodes give them.
fn metadata(name: &str) -> Vec<u8> {
    let file = File::open(testdata(&format!("metadata-{name}.scale.gz"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}
