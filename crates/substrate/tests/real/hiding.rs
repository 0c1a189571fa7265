//! How weights are hidden on Bittensor's own networks: by its beacon, and by a clock that agrees.

use super::endpoint::{Endpoint, Served, hexed};
use chain::{Chain as _, Error, HidingRules};
use parity_scale_codec::Encode;
use protocol::{Block, NetUid};
use std::time::Duration;
use substrate::{
    ClientConfig, Clock, SubstrateChain,
    wire::storage::items::{self, BeaconConfiguration},
};
use timelock::{Beacon, BeaconKey};

const NETUID: NetUid = NetUid(1);
/// Hash of the block before the first of Bittensor's main network.
const FINNEY: &str = "0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03";
/// The newest block, and when it was made.
const HEAD: u64 = 6_000_120;
const HEAD_TIME: Duration = Duration::from_secs(1_790_000_000);

/// A subnet on the main network of spring 2026 that hides weights, as its owner has set nothing.
fn finney() -> Served {
    let mut served = Served::new("393-finney-v16");
    served.genesis = FINNEY.to_owned();
    served.head = HEAD;
    served.hashes = [(HEAD, hexed(&[1; 32]))].into();
    let mut put = |key: Vec<u8>, value: Vec<u8>| {
        served.storage.insert(hexed(&key), hexed(&value));
    };
    put(items::NETWORKS_ADDED.key(&(NETUID.0,)), true.encode());
    put(items::TEMPO.key(&(NETUID.0,)), 360_u16.encode());
    put(items::NOW.key(&()), (HEAD_TIME.as_millis() as u64).encode());
    served
}

/// How weights are hidden, by a clock that shows `now`.
fn hiding(served: Served, now: Duration) -> Result<HidingRules, Error> {
    let endpoint = Endpoint::start(served);
    let config = ClientConfig { clock: Clock::Stopped(now), ..ClientConfig::new(&endpoint.url) };
    let rules = SubstrateChain::connect(config).unwrap().hiding(NETUID)?;
    Ok(rules.expect("subnets hide weights unless their owner says otherwise"))
}

#[test]
fn weights_are_hidden_by_the_beacon_of_bittensor_and_its_blocks() {
    let rules = hiding(finney(), HEAD_TIME).unwrap();
    assert_eq!((rules.beacon, rules.block_ms), (Beacon::QUICKNET, 12_000));
    assert_eq!((rules.head, rules.reveal_period, rules.version), (Block(HEAD), 1, 4));
    let reveal = rules.reveal().unwrap();
    // Epochs of that runtime: (block + netuid + 1) div (tempo + 1).
    let epoch = |block: u64| (block + 2) / 361;
    assert_eq!(epoch(reveal.from.0), epoch(HEAD + 1) + 1);
    assert_eq!((epoch(reveal.from.0 - 1), epoch(reveal.until.0)), (epoch(HEAD), epoch(HEAD) + 1));
    assert_eq!(epoch(reveal.until.0 + 1), epoch(HEAD) + 2);
    let opens = HEAD_TIME.as_secs() + (reveal.from.0 + 3 - HEAD) * 12;
    assert_eq!(reveal.round, (opens - Beacon::QUICKNET.genesis_unix) / 3);
}

#[test]
fn a_clock_that_is_off_by_more_than_two_blocks_hides_no_weights() {
    let ms = Duration::from_millis;
    // The newest block may be as old as a block takes.
    for fits in [HEAD_TIME - ms(24_000), HEAD_TIME, HEAD_TIME + ms(36_000)] {
        let rules = hiding(finney(), fits).unwrap();
        assert_eq!(u128::from(rules.now_ms), fits.as_millis());
    }
    for (off, told) in [
        (HEAD_TIME - ms(24_001), "24.0 s behind"),
        (HEAD_TIME + ms(36_001), "36.0 s ahead of"),
        (Duration::ZERO, "1790000000.0 s behind"),
    ] {
        let error = hiding(finney(), off).unwrap_err();
        assert!(matches!(error, Error::Clock { .. }) && error.is_transient(), "{error}");
        let error = error.to_string();
        assert!(error.contains(told) && error.contains("1790000000"), "{error}");
    }
}

#[test]
fn attack_an_endpoint_cannot_make_us_encrypt_to_a_beacon_of_its_own() {
    let mut served = finney();
    let own = BeaconConfiguration {
        public_key: BeaconKey::from_seed(&[7; 32]).public_key().0.to_vec(),
        period: 3,
        genesis_time: 1_692_803_367,
        ..BeaconConfiguration::default()
    };
    served.storage.insert(hexed(&items::BEACON_CONFIG.key(&())), hexed(&own.encode()));
    let error = hiding(served, HEAD_TIME).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("quicknet"), "{error}");
    for broken in [Vec::new(), vec![0; 7]] {
        let mut served = finney();
        served.storage.insert(hexed(&items::BEACON_CONFIG.key(&())), hexed(&broken));
        assert!(matches!(hiding(served, HEAD_TIME), Err(Error::Answer { .. })));
    }
}
