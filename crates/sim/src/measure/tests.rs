//! What is measured of a season, by cases that were computed by hand.

use super::*;
use crate::{
    hub::FileId,
    model::ModelId,
    noise::{mix, unit},
};
use protocol::Block;

#[test]
fn the_crown_is_whose_most_validators_say() {
    let [a, b] = [1, 2].map(|byte| Some(AccountId([byte; 32])));
    assert_eq!(most(&[b, a, a, None]), (a, 2));
    assert_eq!(most(&[b, a]), (b, 1));
    assert_eq!(most(&[None, None]), (None, 0));
}

fn account(byte: u8) -> Option<AccountId> {
    Some(AccountId([byte; 32]))
}

/// An entry of this true loss.
fn entry(merit: f64) -> Listed {
    let (file, model, since) = (FileId(0), ModelId(0), Block(1));
    Listed { slot: 0, file, model, merit, since, is_public: true }
}

/// A block in which nothing is to be seen.
const EMPTY: Moment<'static> = Moment {
    crowns: &[],
    champion: None,
    best_due: None,
    best_public: None,
    best_trained: f64::INFINITY,
    clearly: 0.0,
};

fn measured(moments: &[Moment<'_>]) -> Measure {
    let mut measure = Measure::default();
    moments.iter().for_each(|moment| measure.note(moment));
    measure
}

#[test]
fn a_season_in_which_nothing_happened_is_right_and_of_one_mind_and_hoards_nothing() {
    let seasons: [&[Moment<'_>]; 2] = [&[], &[EMPTY, EMPTY]];
    for moments in seasons {
        let measure = measured(moments);
        assert_eq!((measure.right(), measure.agreement(), measure.hoarded()), (1.0, 1.0, 0.0));
    }
}

#[test]
fn a_crown_is_right_unless_somebody_whose_time_has_come_is_clearly_better() {
    let due = |champion: Option<f64>| Moment {
        champion: champion.map(entry),
        best_due: Some(3.0),
        clearly: 0.25,
        ..EMPTY
    };
    for (champion, right) in [
        (Some(2.5), 1.0),
        (Some(3.0), 1.0),
        (Some(3.25), 1.0),
        (Some(3.5), 0.0),
        (Some(f64::INFINITY), 0.0),
        (None, 0.0),
    ] {
        assert_eq!(measured(&[due(champion)]).right(), right, "{champion:?}");
    }
    // Blocks in which nobody's time has come do not count.
    let moments = [due(Some(3.0)), EMPTY, due(Some(3.5)), EMPTY, due(Some(3.0)), due(None)];
    assert_eq!(measured(&moments).right(), 0.5);
}

#[test]
fn agreement_is_the_part_of_all_validators_that_crowns_the_same() {
    let [a, b] = [1, 2].map(account);
    let of = |crowns: &[Option<AccountId>]| measured(&[Moment { crowns, ..EMPTY }]).agreement();
    assert_eq!(of(&[a, a, a, a]), 1.0);
    assert_eq!(of(&[a, a, b, a]), 0.75);
    assert_eq!(of(&[a, None, None, None]), 0.25, "whoever crowns nobody does not agree");
    assert_eq!(of(&[a, b]), 0.5);
    assert_eq!(of(&[None, None]), 1.0, "before the first crown there is nothing to agree on");
    let (split, none, one) = ([a, b, None, None], [None; 4], [b; 4]);
    let moments = [&split, &none, &one].map(|crowns| Moment { crowns, ..EMPTY });
    assert_eq!(measured(&moments).agreement(), 0.625);
}

#[test]
fn hoarded_is_what_was_trained_and_is_not_to_be_seen() {
    let of = |trained: f64, public: Option<f64>| Moment {
        best_trained: trained,
        best_public: public,
        ..EMPTY
    };
    assert_eq!(measured(&[of(3.0, Some(4.0))]).hoarded(), 0.25);
    assert_eq!(measured(&[of(4.0, Some(4.0))]).hoarded(), 0.0, "all of it is published");
    assert_eq!(measured(&[of(5.0, Some(4.0))]).hoarded(), 0.0, "a copy may look better");
    assert_eq!(measured(&[of(f64::INFINITY, Some(4.0))]).hoarded(), 0.0);
    let moments = [of(3.0, Some(4.0)), of(2.0, None), of(4.0, Some(4.0))];
    assert_eq!(measured(&moments).hoarded(), 0.125, "where nothing is public, nothing is hoarded");
}

#[test]
fn figures_of_any_season_are_parts_of_a_whole() {
    for seed in 0..20 {
        let word = |place: u64| mix(mix(seed, 77), place);
        let n = 1 + word(0) % 7;
        let crown = |i: u64| account((word(100 + i) % 3) as u8).filter(|key| key.0[0] > 0);
        let crowns: Vec<Option<AccountId>> = (0..n).map(crown).collect();
        let merit =
            |place: u64| Some(3.0 + unit(word(place))).filter(|_| !word(place).is_multiple_of(4));
        let moment = |step: u64| Moment {
            crowns: &crowns,
            champion: merit(10 * step + 1).map(entry),
            best_due: merit(10 * step + 2),
            best_public: merit(10 * step + 3),
            best_trained: 3.0 + unit(word(10 * step + 4)),
            clearly: 0.01,
        };
        let moments: Vec<Moment<'_>> = (0..50).map(moment).collect();
        let measure = measured(&moments);
        for figure in [measure.right(), measure.agreement(), measure.hoarded()] {
            assert!((0.0..=1.0).contains(&figure), "seed {seed}: {measure:?}");
        }
    }
}

#[test]
fn no_key_has_more_crowns_than_the_one_that_most_crown() {
    for seed in 0..200 {
        let crown = |i: u64| account((mix(seed, i) % 4) as u8).filter(|key| key.0[0] > 0);
        let crowns: Vec<Option<AccountId>> = (0..1 + seed % 9).map(crown).collect();
        let (found, n) = most(&crowns);
        let count = |key: &Option<AccountId>| crowns.iter().filter(|other| *other == key).count();
        let greatest = crowns.iter().flatten().map(|key| count(&Some(*key))).max().unwrap_or(0);
        assert_eq!(n, greatest, "seed {seed}: {crowns:?}");
        assert_eq!(found.map_or(0, |key| count(&Some(key))), n, "seed {seed}: {crowns:?}");
        let first = crowns.iter().flatten().find(|key| count(&Some(**key)) == n);
        assert_eq!(found.as_ref(), first, "seed {seed}: the first of equals: {crowns:?}");
    }
}
