//! The nearest name of those that are known.

use super::*;
use crate::{Attack, Kind, Scenario};

#[test]
fn the_nearest_name_is_named() {
    let message = "unknown field `blocksx`, expected one of `blocks`, `validators`";
    let told = explained(message);
    assert!(told.ends_with("; did you mean `blocks`?"), "{told}");
    assert_eq!(explained("expected a string"), "expected a string");
    assert_eq!(nearest("xyz", ["blocks", "seeds"]), None);
}

#[test]
fn every_name_that_there_is_is_the_nearest_to_itself_and_to_a_slip_at_its_end() {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let attacks: Vec<&str> = Attack::all().into_iter().map(Attack::name).collect();
    let scenarios: Vec<&str> = Scenario::builtin_names().collect();
    for names in [kinds, attacks, scenarios] {
        for name in &names {
            let known = || names.iter().copied();
            assert_eq!(nearest(name, known()), Some(*name));
            let last = name.chars().last().unwrap();
            assert_eq!(nearest(&format!("{name}{last}"), known()), Some(*name));
        }
    }
}

#[test]
fn what_is_like_no_name_or_meets_no_name_has_no_nearest() {
    assert_eq!(nearest("blocks", []), None);
    assert_eq!(nearest("", ["blocks"]), None);
    assert_eq!(nearest("quux", ["blocks", "validators", "seeds"]), None);
    assert_eq!(nearest("valid", ["blocks", "validators"]), Some("validators"));
}

#[test]
fn what_a_reader_says_is_one_line_and_a_name_is_added_only_where_one_is_unknown() {
    for (message, told) in [
        ("missing field `miners`", "missing field `miners`"),
        ("invalid type: string \"a\",\nexpected u64", "invalid type: string \"a\", expected u64"),
        ("unknown field `x`, there are no fields", "unknown field `x`, there are no fields"),
        ("unknown field", "unknown field"),
        (
            "unknown variant `hoardx`, expected `hoard` or `snipe`",
            "unknown variant `hoardx`, expected `hoard` or `snipe`; did you mean `hoard`?",
        ),
    ] {
        assert_eq!(explained(message), told);
    }
    // A stranger's name may have a quotation mark in it: whatever is told, nothing fails.
    assert!(explained("unknown field `a`b`, expected `c`").starts_with("unknown field `a`b`"));
}
