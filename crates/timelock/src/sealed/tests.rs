//! Sealing and opening: the vectors of others, and everything that strangers may change.

use super::*;
use crate::BeaconKey;
use proptest::{collection::vec, prelude::*};
use serde_json::Value;

const ROUND: u64 = 1_000;

fn vectors() -> Value {
    let text = include_str!("../../../../testdata/timelock/ciphertexts.json");
    serde_json::from_str(text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn known_signature(vectors: &Value) -> Signature {
    let signature = &vectors["quicknet"]["known_round"]["signature_g1"];
    Signature(bytes(signature).try_into().unwrap())
}

fn beacon() -> BeaconKey {
    BeaconKey::from_seed(&[3; 32])
}

fn secrets(context: &[u8]) -> Secrets {
    Secrets::derive(&[4; 32], context)
}

fn sealed(text: &[u8]) -> Vec<u8> {
    seal(&beacon().public_key(), ROUND, text, secrets(text)).unwrap()
}

fn layout(part: &'static str) -> Result<Vec<u8>, OpenError> {
    Err(OpenError::Layout { part })
}

#[test]
fn the_ciphertexts_of_the_vectors_are_made_byte_for_byte_and_opened() {
    let vectors = vectors();
    let cases = vectors["deterministic"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let drawn = [bytes(&case["aes_key"]), bytes(&case["sigma"]), bytes(&case["nonce"])];
        let secrets = Secrets::from_bytes(&drawn.concat().try_into().unwrap());
        let (payload, commit) = (bytes(&case["payload"]), bytes(&case["commit"]));
        let round = case["round"].as_u64().unwrap();
        let key = crate::Beacon::QUICKNET.public_key;
        assert_eq!(seal(&key, round, &payload, secrets).unwrap(), commit);
        assert_eq!(open(&commit, &known_signature(&vectors)).unwrap(), payload);
    }
}

#[test]
fn what_the_official_packages_sealed_is_opened() {
    let vectors = vectors();
    let cases = vectors["of_official_packages"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let text = open(&bytes(&case["commit"]), &known_signature(&vectors));
        assert_eq!(text.unwrap(), bytes(&case["plaintext"]), "{}", case["made_by"]);
    }
}

#[test]
fn texts_of_all_sizes_come_back() {
    let signature = beacon().sign(ROUND);
    for size in [0, 1, 15, 16, 17, 255, 256, 4_756, 4_757, 5_000] {
        let text: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let sealed = sealed(&text);
        assert_eq!(sealed.len(), text.len() + OVERHEAD_BYTES);
        assert_eq!(open(&sealed, &signature).unwrap(), text);
    }
}

#[test]
fn secrets_of_the_system_seal_one_text_to_other_bytes_each_time() {
    let key = beacon().public_key();
    let seal = || seal(&key, ROUND, b"text", Secrets::random().unwrap()).unwrap();
    let (one, other) = (seal(), seal());
    assert_ne!(one[..96], other[..96]);
    assert_eq!(open(&one, &beacon().sign(ROUND)).unwrap(), b"text");
    assert_eq!(open(&other, &beacon().sign(ROUND)).unwrap(), b"text");
}

#[test]
fn another_rounds_or_beacons_signature_opens_nothing() {
    let sealed = sealed(b"text");
    for round in [0, ROUND - 1, ROUND + 1, u64::MAX] {
        assert_eq!(open(&sealed, &beacon().sign(round)), Err(OpenError::Key), "{round}");
    }
    let other = BeaconKey::from_seed(&[5; 32]);
    assert_eq!(open(&sealed, &other.sign(ROUND)), Err(OpenError::Key));
    for junk in [0, 0xc0, 0xff] {
        assert_eq!(open(&sealed, &Signature([junk; 48])), Err(OpenError::Signature), "{junk}");
    }
}

#[test]
fn a_beacon_without_a_point_is_not_sealed_to() {
    for junk in [0, 0x80, 0xc0, 0xff] {
        let sealed = seal(&PublicKey([junk; 96]), ROUND, b"text", secrets(b"text"));
        assert_eq!(sealed, Err(SealError::PublicKey), "{junk}");
    }
}

#[test]
fn attack_no_bit_of_sealed_bytes_can_be_flipped() {
    let sealed = sealed(b"weights of three miners");
    let signature = beacon().sign(ROUND);
    for bit in 0..sealed.len() * 8 {
        let mut bent = sealed.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&bent, &signature).is_err(), "bit {bit}");
    }
}

#[test]
fn attack_bytes_that_break_off_or_go_on_are_refused() {
    let sealed = sealed(b"weights of three miners");
    let signature = beacon().sign(ROUND);
    for size in 0..sealed.len() {
        let error = open(&sealed[..size], &signature);
        assert!(matches!(error, Err(OpenError::Layout { .. })), "{size}: {error:?}");
    }
    for more in [1, 8, 5_000] {
        let longer = [&sealed[..], &vec![0; more]].concat();
        assert_eq!(open(&longer, &signature), layout("length"));
    }
}

#[test]
fn attack_lengths_that_are_claimed_are_held_against_what_is_there() {
    let sealed = sealed(b"weights of three miners");
    let signature = beacon().sign(ROUND);
    let parts = [
        (96, "hidden mask"),
        (136, "hidden key"),
        (176, "body"),
        (184, "ciphertext"),
        (sealed.len() - 36, "nonce"),
        (sealed.len() - 16, "cipher"),
    ];
    for (at, part) in parts {
        let right = u64::from_le_bytes(sealed[at..at + 8].try_into().unwrap());
        for wrong in [0, right - 1, right + 1, 1 << 32, 1 << 63, u64::MAX] {
            let mut bent = sealed.clone();
            bent[at..at + 8].copy_from_slice(&wrong.to_le_bytes());
            let error = open(&bent, &signature);
            assert!(matches!(error, Err(OpenError::Layout { .. })), "{part} {wrong}: {error:?}");
            if wrong > 1 << 31 {
                assert_eq!(error, layout(part), "{wrong}");
            }
        }
    }
}

#[test]
fn a_text_without_room_for_its_tag_is_refused() {
    let text = sealed(b"");
    let mut bent = text[..176].to_vec();
    let mut body = Vec::new();
    put(&mut body, &[&[0; TAG_BYTES - 1]]);
    put(&mut body, &[&[0; 12]]);
    put(&mut bent, &[&body]);
    put(&mut bent, &[SUITE]);
    assert_eq!(open(&bent, &beacon().sign(ROUND)), layout("ciphertext"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens_at_its_round(
        text in vec(any::<u8>(), 0..5_000),
        round in any::<u64>(),
        seed in any::<[u8; 32]>(),
        drawn in vec(any::<u8>(), 76),
    ) {
        let key = BeaconKey::from_seed(&seed);
        let secrets = Secrets::from_bytes(&drawn.try_into().unwrap());
        let sealed = seal(&key.public_key(), round, &text, secrets).unwrap();
        prop_assert_eq!(sealed.len(), text.len() + OVERHEAD_BYTES);
        prop_assert_eq!(open(&sealed, &key.sign(round)), Ok(text));
    }

    #[test]
    fn attack_any_bytes_are_refused(junk in vec(any::<u8>(), 0..6_000)) {
        prop_assert!(open(&junk, &beacon().sign(ROUND)).is_err());
    }

    /// Bytes with the layout of sealed ones and a point that is one, so that more is looked at.
    #[test]
    fn attack_any_bytes_in_the_right_layout_are_refused(
        v in vec(any::<u8>(), 0..40),
        w in vec(any::<u8>(), 32),
        text in vec(any::<u8>(), 0..100),
        nonce in vec(any::<u8>(), 0..16),
    ) {
        let mut junk = beacon().public_key().0.to_vec();
        put(&mut junk, &[&v]);
        put(&mut junk, &[&w]);
        let mut body = Vec::new();
        put(&mut body, &[&text]);
        put(&mut body, &[&nonce]);
        put(&mut junk, &[&body]);
        put(&mut junk, &[SUITE]);
        prop_assert!(open(&junk, &beacon().sign(ROUND)).is_err());
    }
}
