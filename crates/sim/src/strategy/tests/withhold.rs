//! Bytes for some validators alone.

use super::bench::Bench;
use crate::{hub::Shown, strategy::Kind};
use protocol::Block;

#[test]
fn whoever_withholds_shows_its_bytes_to_some_validators_and_never_to_everybody() {
    let mut bench = Bench::new(&[Kind::Withhold], "", 1);
    for _ in 0..60 {
        bench.block();
        let file = bench.standing(0).file;
        let upload = bench.world.file(file).unwrap();
        assert!(matches!(upload.shown, Shown::Only(_)), "{:?}", upload.shown);
        let now = bench.world.now;
        let seen = [0, 1].map(|validator| upload.is_seen_by(validator, now));
        assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
        assert!(!upload.is_public(Block(u64::MAX)));
    }
    bench.check_chain();
}
