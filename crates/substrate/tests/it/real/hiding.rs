//! How weights are hidden on Bittensor's own networks: by its beacon, and by a clock that agrees.

use super::endpoint::{Endpoint, Served, hexed};
use chain::{Chain as _, Error, HidingError, HidingRules};
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
    finney_of(Served::new("393-finney-v16"))
}

/// The same of an endpoint that says something else of its runtime.
fn finney_of(mut served: Served) -> Served {
    served.genesis = FINNEY.to_owned();
    served.head = HEAD;
    served.seal();
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

#[test]
fn attack_an_endpoint_cannot_have_weights_readable_early_by_rules_that_it_makes_up() {
    for period in [0_u64, 101] {
        let mut served = finney();
        let key = items::REVEAL_PERIOD_EPOCHS.key(&(NETUID.0,));
        served.storage.insert(hexed(&key), hexed(&period.encode()));
        let error = hiding(served, HEAD_TIME).unwrap().reveal().unwrap_err();
        let is_it =
            matches!(error, Error::Hiding(HidingError::Period { epochs }) if epochs == period);
        assert!(is_it && !error.is_transient(), "{error}");
    }
    for block_ms in [1, 250, 11_999, 12_001, u64::MAX] {
        let served = finney_of(Served::new("393-finney-v16").with_block_ms(block_ms));
        let error = hiding(served, HEAD_TIME).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{block_ms}: {error}");
        assert!(error.to_string().contains(&format!("a block takes {block_ms} ms")), "{error}");
    }
    let mut served = finney();
    served.storage.insert(hexed(&items::TEMPO.key(&(NETUID.0,))), hexed(&10_u16.encode()));
    let error = hiding(served, HEAD_TIME).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    assert!(error.to_string().contains("at least 360"), "{error}");
}

#[test]
fn attack_a_header_that_has_another_hash_is_no_head() {
    let mut served = finney();
    served.hashes = [(HEAD, hexed(&[1; 32]))].into();
    let endpoint = Endpoint::start(served);
    let error = SubstrateChain::connect(ClientConfig::new(&endpoint.url)).err().unwrap();
    assert!(matches!(error, Error::FalseHead { said: Block(HEAD), .. }), "{error}");
}

#[test]
fn weights_are_set_openly_where_the_runtime_knows_no_beacon() {
    let old = || Served::new("219-finney-v14").without("BeaconConfig");
    let enabled = items::COMMIT_REVEAL_WEIGHTS_ENABLED.key(&(NETUID.0,));
    for (served, is_hiding) in [
        (old(), Some(false)),
        (old().without("RevealPeriodEpochs"), Some(false)),
        (old().without("CommitRevealWeightsEnabled"), None),
        (old(), Some(true)),
    ] {
        let mut served = finney_of(served);
        if let Some(is_hiding) = is_hiding {
            served.storage.insert(hexed(&enabled), hexed(&is_hiding.encode()));
        }
        let endpoint = Endpoint::start(served);
        let clock = Clock::Stopped(HEAD_TIME);
        let config = ClientConfig { clock, ..ClientConfig::new(&endpoint.url) };
        let chain = SubstrateChain::connect(config).unwrap();
        if is_hiding != Some(true) {
            assert_eq!(chain.hiding(NETUID).unwrap(), None);
            assert_eq!(chain.rewards(NETUID, Block(HEAD)).unwrap().hidden_epochs, 0);
            continue;
        }
        let error = chain.hiding(NETUID).unwrap_err();
        assert!(error.to_string().contains("no `Drand.BeaconConfig`"), "{error}");
    }
}

#[test]
fn an_endpoint_that_makes_us_wait_does_not_make_our_clock_wrong() {
    let mut served = Served::new("393-finney-v16").with_block_ms(200);
    served.head = HEAD;
    served.seal();
    served.storage = finney().storage;
    // Longer than the clocks may differ, which is two blocks and the age of the newest.
    served.pause = Some(Duration::from_millis(900));
    let endpoint = Endpoint::start(served);
    let chain = SubstrateChain::connect(ClientConfig::new(&endpoint.url)).unwrap();
    let rules = chain.hiding(NETUID).unwrap().unwrap();
    assert_eq!((rules.head, rules.block_ms), (Block(HEAD), 200));
}

#[test]
fn attack_what_one_endpoint_says_of_a_runtime_is_used_for_no_other() {
    let lying = Endpoint::start(finney_of(Served::new("393-finney-v16").without("Tempo")));
    let honest = Endpoint::start(finney());
    let config = ClientConfig {
        fallbacks: vec![honest.url],
        clock: Clock::Stopped(HEAD_TIME),
        ..ClientConfig::new(&lying.url)
    };
    let chain = SubstrateChain::connect(config).unwrap();
    let error = chain.hiding(NETUID).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    drop(lying);
    assert!(chain.hiding(NETUID).unwrap().is_some(), "the other reads by its own metadata");
}
