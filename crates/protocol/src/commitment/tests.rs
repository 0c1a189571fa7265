//! Commitments: one text each, and a reason for any other bytes.

use super::*;
use proptest::prelude::*;

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
const HASH: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

fn parse(text: &str) -> Result<Commitment, Reason> {
    Commitment::parse(text.as_bytes())
}

#[test]
fn a_commitment_has_the_text_of_the_reference() {
    let commitment = Commitment {
        repo: "acme/model-1".parse().unwrap(),
        revision: REVISION.parse().unwrap(),
        secure_hash: HASH.parse().unwrap(),
        competition: CompetitionId(4),
    };
    let text = commitment.to_text().unwrap();
    assert_eq!(text, format!("acme:model-1:{REVISION}:{HASH}:4"));
    assert_eq!(text.len(), 100);
    assert_eq!(parse(&text).unwrap(), commitment);
}

#[test]
fn whatever_is_not_a_commitment_is_refused_with_a_reason() {
    let (tail, long) = (format!("{REVISION}:{HASH}:4"), "a".repeat(60));
    for text in [
        String::new(),
        "::::".to_owned(),
        format!("acme:model:{REVISION}:{HASH}"),
        format!("acme:model:{tail}:more"),
        format!("acme:model:{REVISION}:{HASH}:04"),
        format!("acme:model:{REVISION}:{HASH}:+4"),
        format!("acme:model:{REVISION}:{HASH}: 4"),
        format!("acme:model:{REVISION}:{HASH}:65536"),
        format!("acme:model:{REVISION}:{HASH}:None"),
        format!("acme:model:{REVISION}:None:4"),
        format!("acme:model:None:{HASH}:4"),
        format!("None:model:{tail}"),
        format!("acme:model:{}:{HASH}:4", REVISION.to_uppercase()),
        format!("acme:model:{REVISION}:{}:4", HASH.replace('Q', "R")),
        format!("..:model:{tail}"),
        format!("acme:m/../x:{tail}"),
        format!("acme:m\u{202e}:{tail}"),
        format!("{long}:{long}:{tail}"),
    ] {
        let reason = parse(&text).unwrap_err();
        assert_eq!(reason.code, ReasonCode::CommitmentUnreadable, "{text}");
        assert!(!reason.detail.is_empty());
    }
    assert!(Commitment::parse(&[b'a', 0xff, b':']).is_err());
}

#[test]
fn a_name_that_cannot_be_committed_to_is_refused_when_writing() {
    let commitment = |repo: &str| Commitment {
        repo: repo.parse().unwrap(),
        revision: REVISION.parse().unwrap(),
        secure_hash: HASH.parse().unwrap(),
        competition: CompetitionId(100),
    };
    let long = format!("acme/{}", "m".repeat(40));
    assert!(matches!(commitment(&long).to_text(), Err(Error::CommitmentTooLong { .. })));
    assert!(matches!(commitment("acme/None").to_text(), Err(Error::CommitmentName { .. })));
    let longest = format!("acme/{}", "m".repeat(33));
    assert_eq!(commitment(&longest).to_text().unwrap().len(), COMMITMENT_BYTES_MAX);
}

fn commitments() -> impl Strategy<Value = Commitment> {
    let name = "[A-Za-z0-9][A-Za-z0-9._-]{0,15}";
    (name, name, any::<[u8; 20]>(), any::<[u8; 32]>(), any::<u16>()).prop_map(
        |(owner, name, revision, hash, competition)| Commitment {
            repo: format!("{owner}/{name}").parse().unwrap(),
            revision: hex::encode(revision).parse().unwrap(),
            secure_hash: ContentHash(hash),
            competition: CompetitionId(competition),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn p3_what_is_written_is_read_back(commitment in commitments()) {
        let text = commitment.to_text().unwrap();
        prop_assert!(text.len() <= COMMITMENT_BYTES_MAX);
        prop_assert_eq!(parse(&text).unwrap(), commitment);
    }

    #[test]
    fn p3_what_is_read_is_written_the_same(
        commitment in commitments(), at in 0usize..128, with in any::<u8>(),
    ) {
        let mut text = commitment.to_text().unwrap().into_bytes();
        let at = at % text.len();
        text[at] = with;
        if let Ok(read) = Commitment::parse(&text) {
            prop_assert_eq!(read.to_text().unwrap().into_bytes(), text);
        }
    }

    #[test]
    fn p3_any_bytes_are_a_commitment_or_a_reason(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Commitment::parse(&bytes);
    }
}
