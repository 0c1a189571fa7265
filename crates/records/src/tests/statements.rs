//! What a validator says on the chain: one form for each statement.

use super::*;
use protocol::{
    Block, Commitment, Repo, SetCommitment, Uid,
    commitment::COMMITMENT_BYTES_MAX,
    publication::{Seen, Slots},
};

/// The text of a root that nothing else is said beside.
fn text_of(root: &RootCommitment) -> Result<String, protocol::Error> {
    let bytes = Statement { records: Some(root.clone()), seen: None }.to_bytes()?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn what_stands_on_the_chain_has_one_text_and_is_no_commitment_of_a_miner() {
    let root = Digest::of(b"index");
    let of = |repo: &str| RootCommitment { repo: repo.parse::<Repo>().unwrap(), root };
    let text = text_of(&of("acme/records")).unwrap();
    assert_eq!(text, format!("agon-records:1:acme/records:{}", root.hex()));
    assert_eq!(RootCommitment::parse(text.as_bytes()), Some(of("acme/records")));
    assert!(SetCommitment::parse(text.as_bytes()).is_none());
    assert!(Commitment::parse(text.as_bytes()).is_err());
    for other in [
        text.to_uppercase(),
        text.replace(":1:", ":2:"),
        text.replace("acme/", ""),
        format!("{text}0"),
        format!("{text}:"),
        text.replace(&root.hex(), &root.hex().to_uppercase()),
    ] {
        assert_eq!(RootCommitment::parse(other.as_bytes()), None, "{other}");
    }
    let longest =
        format!("acme/{}", "r".repeat(COMMITMENT_BYTES_MAX - text.len() + "records".len()));
    let text = text_of(&of(&longest)).unwrap();
    assert_eq!(text.len(), COMMITMENT_BYTES_MAX);
    assert_eq!(RootCommitment::parse(text.as_bytes()), Some(of(&longest)));
    assert!(text_of(&of(&format!("{longest}r"))).is_err());
}

#[test]
fn what_a_validator_has_the_bytes_of_stands_beside_its_root_in_one_form() {
    let records = || {
        let repo = "acme/records".parse().unwrap();
        Some(RootCommitment { repo, root: Digest::of(b"index") })
    };
    let slots = |uids: &[u16]| uids.iter().map(|uid| Uid(*uid)).collect::<Slots>();
    let seen = |uids: &[u16]| Some(Seen { as_of: Block(70_000), slots: slots(uids) });
    for statement in [
        Statement { records: records(), seen: seen(&[0, 5, 255]) },
        Statement { records: records(), seen: seen(&[]) },
        Statement { records: None, seen: seen(&[200]) },
        Statement { records: None, seen: seen(&[]) },
        Statement { records: records(), seen: None },
    ] {
        let bytes = statement.to_bytes().unwrap();
        assert_eq!(Statement::parse(&bytes).as_ref(), Some(&statement));
        assert_eq!(RootCommitment::parse(&bytes), statement.records);
        assert!(Commitment::parse(&bytes).is_err() && SetCommitment::parse(&bytes).is_none());
        // There is no other form: any cut or longer one is another statement or none.
        for length in 0..bytes.len() {
            assert_ne!(Statement::parse(&bytes[..length]).as_ref(), Some(&statement));
        }
        assert_eq!(Statement::parse(&[&bytes[..], &[0]].concat()), None);
    }
    assert_eq!(Statement::parse(b""), None);
    assert_eq!(Statement::parse(&[0xff; 128]), None);
}

#[test]
fn a_repo_whose_name_leaves_no_room_for_all_slots_is_told_before_anything_is_seen() {
    let statement = |name: usize| {
        let repo = format!("a/{}", "r".repeat(name - 2)).parse().unwrap();
        let records = Some(RootCommitment { repo, root: Digest::of(b"index") });
        Statement { records, seen: Some(Seen { as_of: Block(1), slots: Slots::default() }) }
    };
    assert!(statement(52).fits().is_ok());
    let error = statement(53).fits().unwrap_err().to_string();
    assert!(error.contains(&format!("a/{}", "r".repeat(51))), "{error}");
    assert!(statement(53).to_bytes().is_ok(), "it fits while nothing is seen");
}
