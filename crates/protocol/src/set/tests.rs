//! Sets: what is one, the one text of each, and how a set becomes the next.

use super::*;
use crate::{Commitment, CompetitionId};
use proptest::prelude::*;

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

fn version(name: &str, id: u16, from_block: u64) -> Competition {
    let tiny = Competition::builtin("tiny").unwrap();
    Competition { name: name.to_owned(), id: CompetitionId(id), from_block, ..tiny }
}

fn commitment(repo: &str) -> SetCommitment {
    let (repo, revision) = (repo.parse().unwrap(), REVISION.parse().unwrap());
    SetCommitment { repo, revision, index: Digest::of(b"a set") }
}

#[test]
fn an_index_is_one_text_and_rules_are_those_that_it_lists() {
    let versions = vec![version("b", 2, 0), version("a", 1, 90), version("a", 1, 7)];
    let set = CompetitionSet::new(versions.clone()).unwrap();
    let index = set.index();
    let bytes = index.to_json();
    assert_eq!(SetIndex::from_json(&bytes).unwrap(), index);
    assert_eq!((index.digest(), set.digest()), (Digest::of(&bytes), Digest::of(&bytes)));
    let listed: Vec<_> = index.competitions().iter().map(|l| (&*l.name, l.from_block)).collect();
    assert_eq!(listed, [("a", 7), ("a", 90), ("b", 0)]);
    for rules in &versions {
        assert_eq!(Competition::from_json(&rules.to_json()).unwrap(), *rules);
        assert_eq!(Digest::of(&rules.to_json()), rules.digest());
    }
    let mut turned = versions.clone();
    turned.rotate_left(1);
    assert_eq!(index.assemble(turned).unwrap(), set);
    let mut other = versions;
    other[0].reward_share = 0.5;
    assert_eq!(index.assemble(other), Err(NotASet::OtherRules));
}

#[test]
fn attack_an_index_that_is_not_canonical_is_too_long_or_lists_too_much_is_refused() {
    let good = CompetitionSet::new(vec![version("a", 1, 0), version("b", 2, 0)]).unwrap().index();
    let text = String::from_utf8(good.to_json()).unwrap();
    let mut turned = good.clone();
    turned.competitions.reverse();
    let none = SetIndex { competitions: Vec::new(), ..good };
    let many = (0..=N_VERSIONS_MAX as u64)
        .map(|from_block| Listed { from_block, ..good.competitions[0].clone() });
    let many = SetIndex { competitions: many.collect(), ..good };
    for bad in [
        format!("{text} ").into_bytes(),
        text.replace("\"format\":1", "\"format\":2").into_bytes(),
        text.replace("\"name\"", "\"name\":\"x\",\"name\"").into_bytes(),
        vec![b'['; INDEX_BYTES_MAX],
        vec![b' '; INDEX_BYTES_MAX + 1],
        turned.to_json(),
        none.to_json(),
        many.to_json(),
        Vec::new(),
    ] {
        assert!(SetIndex::from_json(&bad).is_err(), "{}", String::from_utf8_lossy(&bad));
    }
}

#[test]
fn what_others_could_not_have_is_no_set() {
    let refused = |rules: Competition| CompetitionSet::new(vec![rules]).unwrap_err().to_string();
    let unpinned = Competition::builtin("7b").unwrap();
    assert_eq!(refused(unpinned), "competition `7b`: its text is not pinned");
    let mut local = version("a", 1, 0);
    local.dataset = DatasetRules::Files { path: "text".to_owned(), sha256: None };
    assert!(refused(local).contains("on one machine"));
    let with_file = |path: &str, bytes: &[u8]| {
        let mut rules = version("a", 1, 0);
        let (path, sha256) = (path.to_owned(), Digest::of(bytes));
        rules.text.tokenizer =
            TokenizerRules::File { path, vocabulary: 512, end_of_text: 511, sha256 };
        rules
    };
    for path in ["../a.json", "/etc/passwd", "a/b.json", ".json", "a.toml", "a\u{202e}.json"] {
        assert!(refused(with_file(path, b"")).contains("plain"), "{path}");
    }
    let other =
        Competition { name: "b".to_owned(), id: CompetitionId(2), ..with_file("t.json", b"other") };
    let error = CompetitionSet::new(vec![with_file("t.json", b"one"), other]).unwrap_err();
    assert_eq!(error, NotASet::OneFile("t.json".to_owned()));
    let error = CompetitionSet::new(vec![version("a", 1, 0), version("b", 1, 0)]).unwrap_err();
    assert!(matches!(error, NotASet::NoSchedule(_)), "{error}");
    assert_eq!(CompetitionSet::new(Vec::new()), Err(NotASet::Number(0)));
}

#[test]
fn a_set_becomes_another_at_a_block_and_is_itself_before_it() {
    let (now, from) = (Block(50), Block(8_000));
    let old =
        [version("a", 1, 0), version("a", 1, 40), version("b", 2, 60), version("c", 3, 9_000)];
    let set = CompetitionSet::new(old.to_vec()).unwrap();
    let mut changed = version("a", 1, 0);
    changed.reward_share = 0.25;
    let wanted = vec![changed, version("d", 4, 0)];
    let next = CompetitionSet::new(set.changed(wanted.clone(), now, from)).unwrap();
    let (before, after) = (set.schedule(), next.schedule());
    assert_eq!(before.first_difference(after, now), Some(from));
    let named = |schedule: &Schedule, block| {
        let running = schedule.at(Block(block));
        running.map(|rules| (rules.name.clone(), rules.reward_share)).collect::<Vec<_>>()
    };
    let at = |name: &str, share| (name.to_owned(), share);
    assert_eq!(named(after, 8_001), [at("a", 0.25), at("d", 1.0)], "`b` has ended");
    assert_eq!(named(after, 9_000), [at("a", 0.25), at("d", 1.0)], "`c` never came");
    assert!(next.index().competitions().iter().all(|listed| listed.from_block >= 40), "forgotten");
    // What is wanted again is nothing new.
    let again = CompetitionSet::new(next.changed(wanted, now, from)).unwrap();
    assert_eq!(again.schedule().first_difference(after, Block(from.0 + 1)), None);
}

#[test]
fn a_commitment_to_a_set_is_one_text_that_fits() {
    let commitment = commitment("acme/rules");
    let text = commitment.to_text().unwrap();
    assert!(text.starts_with(&format!("agon-set:1:acme/rules:{REVISION}:")), "{text}");
    assert_eq!(SetCommitment::parse(text.as_bytes()), Some(commitment.clone()));
    let longest = "a".repeat(COMMITMENT_BYTES_MAX - text.len() + "rules".len());
    let of = |name: &str| SetCommitment {
        repo: format!("acme/{name}").parse().unwrap(),
        ..commitment.clone()
    };
    assert_eq!(of(&longest).to_text().unwrap().len(), COMMITMENT_BYTES_MAX);
    assert!(of(&format!("{longest}a")).to_text().is_err());
    for bad in [
        text.replace("set:1", "set:2"),
        text.replace("acme/", "acme"),
        text.replace("0123", "012"),
        format!("{text}:0"),
        text.replace('=', ""),
        String::new(),
    ] {
        assert_eq!(SetCommitment::parse(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_is_a_commitment_to_a_model_and_to_a_set(
        owner in "[a-z0-9]{1,12}",
        name in "[a-zA-Z0-9._-]{0,12}",
        revision in "[0-9a-f]{40}",
        bytes in any::<[u8; 32]>(),
        noise in proptest::collection::vec(any::<u8>(), 0..140),
    ) {
        let repo = format!("{owner}/a{name}").parse().unwrap();
        let set = SetCommitment { repo, revision: revision.parse().unwrap(), index: Digest(bytes) };
        let text = set.to_text().unwrap();
        prop_assert_eq!(SetCommitment::parse(text.as_bytes()), Some(set));
        prop_assert!(Commitment::parse(text.as_bytes()).is_err());
        // Whatever else stands there, nothing panics, and no text means both.
        let both = Commitment::parse(&noise).is_ok() && SetCommitment::parse(&noise).is_some();
        prop_assert!(!both);
    }
}
