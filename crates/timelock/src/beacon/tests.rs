//! Rounds, times and signatures of beacons.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn ciphertexts() -> Value {
    json(include_str!("../../../../testdata/timelock/ciphertexts.json"))
}

fn number(case: &Value, name: &str) -> u64 {
    case[name].as_u64().unwrap_or_else(|| panic!("`{name}` in {case}"))
}

/// Whole milliseconds of seconds as the vectors have them, `0.25` or `12.0`.
fn milliseconds(case: &Value, name: &str) -> u64 {
    let text = case[name].to_string();
    let (seconds, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let fraction: u64 = format!("{fraction:0<3}").parse().unwrap();
    seconds.parse::<u64>().unwrap() * SECOND_MS + fraction
}

#[test]
fn quicknet_is_the_beacon_of_the_vectors_and_its_known_signature_verifies() {
    let vectors = ciphertexts();
    let quicknet = &vectors["quicknet"];
    assert_eq!(hex::encode(Beacon::QUICKNET.public_key.0), quicknet["public_key_g2"]);
    assert_eq!(Beacon::QUICKNET.genesis_unix, number(quicknet, "genesis_unix"));
    assert_eq!(Beacon::QUICKNET.period_ms.get(), number(quicknet, "period_s") * SECOND_MS);

    let known = &quicknet["known_round"];
    let bytes = hex::decode(known["signature_g1"].as_str().unwrap()).unwrap();
    let signature = Signature(bytes.try_into().unwrap());
    let key = Beacon::QUICKNET.public_key;
    assert!(key.verify(&signature, number(known, "round")));
    assert!(!key.verify(&signature, number(known, "round") + 1));
}

#[test]
fn only_the_key_the_round_and_the_signature_as_given_verify() {
    let key = BeaconKey::from_seed(&[1; 32]);
    let public = key.public_key();
    let signature = key.sign(7);
    assert_eq!(signature, BeaconKey::from_seed(&[1; 32]).sign(7), "the same seed, the same bytes");
    assert!(public.verify(&signature, 7));
    assert!(!public.verify(&signature, 8) && !public.verify(&key.sign(8), 7));
    assert!(!BeaconKey::from_seed(&[2; 32]).public_key().verify(&signature, 7));
    for bit in 0..48 * 8 {
        let mut bent = signature;
        bent.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!public.verify(&bent, 7), "bit {bit}");
    }
    for junk in [0, 0xc0, 0xff] {
        assert!(!public.verify(&Signature([junk; 48]), 7), "{junk}");
        assert!(!PublicKey([junk; 96]).verify(&signature, 7), "{junk}");
    }
}

#[test]
fn nothing_printed_holds_the_secret() {
    let key = BeaconKey::from_seed(&[1; 32]);
    let public = hex::encode(&key.public_key().0[..4]);
    assert_eq!(format!("{key:?}"), format!("BeaconKey(PublicKey({public}…))"));
}

#[test]
fn a_round_is_published_at_its_time_and_not_a_millisecond_before() {
    let beacon = Beacon::QUICKNET;
    let genesis_ms = 1_692_803_367_000;
    for (round, time_ms) in [(1, genesis_ms), (2, genesis_ms + 3_000), (1_000, 1_692_806_364_000)] {
        assert_eq!(beacon.published_ms(round), time_ms);
        assert_eq!(beacon.round_at(time_ms), round);
        assert_eq!(beacon.round_at(time_ms - 1), round - 1);
        assert_eq!(beacon.round_at(time_ms + 2_999), round);
    }
    assert_eq!(beacon.published_ms(0), genesis_ms);
    assert_eq!((beacon.round_at(0), beacon.published_ms(u64::MAX)), (0, u64::MAX));
    let fast = Beacon { period_ms: NonZeroU64::new(250).unwrap(), ..beacon };
    assert_eq!(fast.round_at(fast.published_ms(9)), 9);
}

#[test]
fn the_reveal_rounds_of_the_official_clients() {
    let vectors = json(include_str!("../../../../testdata/timelock/reveal_rounds.json"));
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let forecast = Forecast {
            head: number(case, "current_block"),
            now_ms: milliseconds(case, "now_unix"),
            block_time_ms: milliseconds(case, "block_time_s"),
        };
        let round = Beacon::QUICKNET.reveal_round(&forecast, number(case, "first_reveal_block"));
        assert_eq!(round, number(case, "reveal_round"), "{case}");
    }
}

#[test]
fn the_reveal_round_is_published_before_the_margin_is_over() {
    let forecast = Forecast { head: 100, now_ms: 1_790_000_000_000, block_time_ms: 12_000 };
    let round = Beacon::QUICKNET.reveal_round(&forecast, 460);
    let published_ms = Beacon::QUICKNET.published_ms(round);
    let revealed_ms = forecast.time_ms(460);
    assert!((revealed_ms..=forecast.time_ms(463)).contains(&published_ms));
}

#[test]
fn reveal_rounds_have_bounds() {
    let beacon = Beacon::QUICKNET;
    let early = Forecast { head: 0, now_ms: 0, block_time_ms: 1 };
    assert_eq!(beacon.reveal_round(&early, 1), 1, "there is no round 0");
    let late = Forecast { head: 0, now_ms: u64::MAX, block_time_ms: u64::MAX };
    assert!(beacon.reveal_round(&late, u64::MAX) > 1);
    let behind = Forecast { head: 1_000, now_ms: 1_790_000_000_000, block_time_ms: 12_000 };
    assert_eq!(beacon.reveal_round(&behind, 5), beacon.round_at(behind.now_ms) - 1);
}

proptest! {
    #[test]
    fn whole_milliseconds_give_the_rounds_that_floating_seconds_give(
        now in 1_692_803_367_u64..4_000_000_000,
        head in 0_u64..100_000_000,
        ahead in 1_u64..10_000,
        quarters in 1_u64..100,
    ) {
        let forecast = Forecast { head, now_ms: now * SECOND_MS, block_time_ms: quarters * 250 };
        let blocks = (ahead + MARGIN_BLOCKS) as f64;
        let seconds = now as f64 + blocks * (quarters as f64 / 4.0) - 1_692_803_367.0;
        let floating = (seconds / 3.0).floor() as u64;
        let round = Beacon::QUICKNET.reveal_round(&forecast, head + ahead);
        prop_assert_eq!(round, floating.max(1));
    }

    #[test]
    fn any_bytes_verify_or_not(key in any::<[u8; 32]>(), signature in any::<[u8; 32]>()) {
        let (mut key96, mut signature48) = ([0x80; 96], [0x80; 48]);
        key96[64..].copy_from_slice(&key);
        signature48[16..].copy_from_slice(&signature);
        prop_assert!(!PublicKey(key96).verify(&Signature(signature48), 1));
    }
}
