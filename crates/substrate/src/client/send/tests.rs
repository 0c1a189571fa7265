//! What refusals of pools mean, in the words of the nodes that give them.

use super::*;

#[test]
fn a_refusal_is_known_by_the_words_that_all_nodes_use() {
    let refused = |text: &str| refusal_of(1010, text);
    for (text, expected) in [
        ("Invalid Transaction \"Transaction has a bad signature\"", CallError::BadSignature),
        ("Invalid Transaction \"Transaction has an ancient birth block\"", CallError::BadSignature),
        ("Invalid Transaction \"Transaction is outdated\"", CallError::BadNonce),
        ("Priority is too low: (16 vs 16)", CallError::BadNonce),
        (
            "Invalid Transaction \"Transaction would exhaust the block limits\"",
            CallError::ExhaustsResources,
        ),
        (
            "Invalid Transaction \"Inability to pay some fees (e.g. account balance too low)\"",
            CallError::UnknownSigner,
        ),
    ] {
        let error = refused(text);
        assert!(matches!(&error, Error::Refused(found) if *found == expected), "{text}: {error:?}");
        assert!(!error.is_transient(), "{text}: the same call is refused again");
    }
}

#[test]
fn a_full_pool_is_known_by_its_code_alone_and_may_have_room_later() {
    for text in ["", "Immediately Dropped: the pool is full", "Transaction has a bad signature"] {
        let error = refusal_of(1016, text);
        assert!(matches!(error, Error::PoolFull), "{text}: {error:?}");
        assert!(error.is_transient());
    }
    assert!(!matches!(refusal_of(1014, "Immediately Dropped"), Error::PoolFull));
}

#[test]
fn words_that_nobody_knows_are_told_as_they_are() {
    for (text, told) in [
        ("Invalid Transaction \"Custom error: 6\"", "Invalid Transaction \"Custom error: 6\""),
        ("  Transaction is temporarily banned \n", "Transaction is temporarily banned"),
        ("BAD SIGNATURE", "BAD SIGNATURE"),
        ("", ""),
    ] {
        let error = refusal_of(1010, text);
        let expected = CallError::Other(told.to_owned());
        assert!(matches!(&error, Error::Refused(found) if *found == expected), "{error:?}");
    }
}

#[test]
fn codes_of_pools_are_told_from_those_of_requests_that_failed_on_the_way() {
    // What is no answer of a pool proves nothing about the call.
    for code in [BANNED, ALREADY_IMPORTED, NONCE_TAKEN, 1_010, 1_016, 1_019] {
        assert!(POOL_CODES.contains(&code), "{code}");
    }
    for code in [1_009, 1_020, -32_000, -32_005, -32_603, 0, 429] {
        assert!(!POOL_CODES.contains(&code) && !NOT_UNDERSTOOD.contains(&code), "{code}");
    }
    for code in [-32_700, -32_600, -32_601, -32_602] {
        assert!(NOT_UNDERSTOOD.contains(&code), "{code}");
    }
}

#[test]
fn two_signatures_of_one_payload_differ_only_where_calls_must_be_unique() {
    let key = Keypair::from_mini_secret([1; 32]);
    let of = |pen: &Pen<'_>| match pen.sign(b"payload") {
        MultiSignature::Sr25519(bytes) => bytes,
        _ => panic!("another kind of signature"),
    };
    let repeatable = Pen { key: &key, fresh: None };
    assert_eq!(of(&repeatable), of(&repeatable));
    let unique = || Pen { key: &key, fresh: Some(fresh().unwrap()) };
    let signatures = [of(&repeatable), of(&unique()), of(&unique())];
    for (i, signature) in signatures.iter().enumerate() {
        assert!(!signatures[..i].contains(signature), "{i}");
        assert!(keys::verify(b"payload", &keys::Signature(*signature), key.public()), "{i}");
    }
    assert_eq!(repeatable.account_id().0, key.public().0);
}
