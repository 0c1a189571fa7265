//! Dates of blocks by a clock that has seen what it is given.

use super::*;

#[test]
fn seconds_are_written_as_dates() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_735_689_600, "2025-01-01T00:00:00Z"),
    ] {
        assert_eq!(utc(seconds), text);
    }
    assert!(utc(u64::MAX).starts_with("9999-12-31"), "{}", utc(u64::MAX));
}

#[test]
fn a_block_is_dated_from_those_that_were_seen() {
    let clock = Clock::default();
    assert_eq!(clock.seconds(Block(5)), None);
    clock.see(Block(100));
    let (now, before) = (clock.seconds(Block(100)).unwrap(), clock.seconds(Block(95)).unwrap());
    assert_eq!(now - before, 60, "at the usual pace");
    assert_eq!(clock.head(), Some(Block(100)));
}

/// A clock that saw a first block and a newest one at some milliseconds.
fn clock(first: (u64, u64), last: (u64, u64)) -> Clock {
    let [first, last] =
        [first, last].map(|(block, at_millis)| Seen { block: Block(block), at_millis });
    Clock { seen: Mutex::new(Some((first, last))) }
}

#[test]
fn the_pace_is_that_of_the_chain_once_enough_blocks_were_seen() {
    assert_eq!(Clock::default().millis_per_block(), USUAL_MILLIS);
    assert_eq!(clock((100, 0), (103, 300)).millis_per_block(), USUAL_MILLIS, "too few");
    let fast = clock((100, 1_000_000), (140, 1_010_000));
    assert_eq!(fast.millis_per_block(), 250);
    assert_eq!(fast.seconds(Block(140)), Some(1_010));
    assert_eq!(fast.seconds(Block(100)), Some(1_000), "as it was seen");
    assert_eq!(fast.seconds(Block(180)), Some(1_020), "and as far ahead");
    assert_eq!(fast.seconds(Block(0)), Some(975), "and before");
}

#[test]
fn dates_of_blocks_go_upwards_with_them() {
    for (first, last) in [
        ((100, 1_700_000_000_000), (100, 1_700_000_000_000)),
        ((100, 1_700_000_000_000), (104, 1_700_000_000_004)),
        ((1, 1_700_000_000_000), (7_000_000, 1_784_000_000_000)),
        ((0, 0), (u64::MAX, u64::MAX)),
    ] {
        let clock = clock(first, last);
        let blocks = [0, 1, 99, 100, 101, 104, 105, 6_999_999, 7_000_000, u64::MAX - 1, u64::MAX];
        let dates = blocks.map(|block| clock.seconds(Block(block)).unwrap());
        assert!(dates.is_sorted(), "{first:?} {last:?}: {dates:?}");
    }
}

#[test]
fn attack_blocks_of_any_size_have_a_date_that_can_be_written() {
    let clock = clock((100, 1_700_000_000_000), (200, 1_700_001_200_000));
    for block in [0, 1, u64::MAX / 12_000, u64::MAX] {
        let date = utc(clock.seconds(Block(block)).unwrap());
        assert_eq!(date.len(), "2026-12-01T09:30:00Z".len(), "{date}");
    }
    assert_eq!(clock.seconds_since(Block(u64::MAX)), Some(0), "what is to come is not past");
}

#[test]
fn a_clock_that_is_set_back_leaves_blocks_some_pace() {
    let clock = clock((100, 1_700_000_100_000), (110, 1_700_000_000_000));
    assert_eq!(clock.millis_per_block(), 1);
    assert_eq!(clock.seconds(Block(110)), Some(1_700_000_000));
}

#[test]
fn a_block_is_seen_once_and_a_chain_that_begins_anew_is_another() {
    let seen = clock((100, 5_000), (110, 125_000));
    seen.see(Block(110));
    assert_eq!(seen.seconds(Block(110)), Some(125), "as it was seen first");
    seen.see(Block(105));
    assert_eq!((seen.head(), seen.seconds(Block(110))), (Some(Block(110)), Some(125)));
    seen.see(Block(111));
    assert_eq!(seen.head(), Some(Block(111)));
    assert!(seen.seconds(Block(111)).unwrap() > 1_700_000_000, "now");
    seen.see(Block(3));
    assert_eq!(seen.head(), Some(Block(3)), "below the first that was seen");
    assert_eq!(seen.millis_per_block(), USUAL_MILLIS);
    assert!(seen.seconds_since(Block(3)).unwrap() < 60);
}

#[test]
fn every_day_of_four_centuries_follows_the_one_before() {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut days = 0;
    for year in 1970..2_371 {
        let february = if is_leap(year) { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(lengths) {
            for day in [1, 2, 28, length] {
                let seconds = (days + day - 1) * 86_400 + 3_661;
                assert_eq!(utc(seconds), format!("{year:04}-{month:02}-{day:02}T01:01:01Z"));
            }
            days += length;
        }
    }
}
