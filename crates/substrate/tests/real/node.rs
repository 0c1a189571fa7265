//! What our node tells of itself is so on Bittensor's chain.

use super::{NEWEST, RUNTIMES, alike::differences, metadata};
use substrate::wire::metadata::Encoded;
use subxt::metadata::Metadata;

/// Where our node differs from the newest runtime, each with its reason. One that does not differ
/// any more must go.
const DEVIATIONS: [(&str, &str); 0] = [];

fn decoded(bytes: &[u8]) -> Metadata {
    Metadata::decode_from(bytes).unwrap()
}

#[test]
fn what_our_node_tells_is_so_in_bittensors_runtime_but_for_a_short_list() {
    let theirs = decoded(&metadata(NEWEST.1));
    for ours in [&Encoded::usual().version_15, &Encoded::usual().version_14] {
        let found = differences(&decoded(ours), &theirs);
        for difference in &found {
            let is_listed = DEVIATIONS.iter().any(|(known, _)| known == difference);
            println!("{}{difference}", if is_listed { "(listed) " } else { "" });
        }
        let new: Vec<_> =
            found.iter().filter(|each| DEVIATIONS.iter().all(|(known, _)| known != each)).collect();
        assert!(new.is_empty(), "{new:#?}");
    }
}

#[test]
fn older_runtimes() {
    for (spec, name) in RUNTIMES {
        for each in differences(&decoded(&Encoded::usual().version_15), &decoded(&metadata(name))) {
            println!("{spec} {each}");
        }
    }
}
