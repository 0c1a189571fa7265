//! Ticks, names and shapes of charts.

use super::*;

#[test]
fn ticks_are_round_and_few() {
    assert_eq!(ticks((0.0, 10.0), 0.0), (vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0], 0));
    let (found, n_decimals) = ticks((1.312, 1.358), 0.0);
    assert_eq!((found.len(), n_decimals), (4, 2), "{found:?}");
    assert!(ticks((0.0, 1e12), 0.0).0.len() <= 7);
}

#[test]
fn a_chart_names_crowns_where_there_is_room_and_marks_all() {
    let mark = |block: u64| Mark {
        block,
        loss: 2.0,
        name: format!("<miner {block}>"),
        href: "/x".to_owned(),
    };
    let losses = Losses {
        champion: vec![(1, 2.0), (1_000, 1.0)],
        crowns: (1..20).map(mark).collect(),
        ..Losses::default()
    };
    let svg = losses.svg("loss", Setting::Alone).into_string();
    assert_eq!(svg.matches("class=\"crown\"").count(), 19);
    // The third row begins after what the chart has upwards.
    assert_eq!(svg.matches("class=\"name\"").count(), LANES - 1);
    assert!(!svg.contains("<miner") && svg.contains("&lt;miner 1&gt;"));
    assert!(Losses::default().svg("", Setting::Page).into_string().contains("No round"));
}

#[test]
fn maps_and_bars_have_a_shape_for_each_number() {
    let rows = [("a".to_owned(), vec![1.0, 2.0]), ("b".to_owned(), vec![f64::INFINITY, 1.0])];
    let batches = Columns { name: "batch", first: 1 };
    let map = heat_map("losses", batches, Shades::Column, &rows).into_string();
    assert_eq!(map.matches("<rect").count(), 4);
    assert!(map.contains("class=\"h8\"") && map.contains("class=\"none\""));
    let rows = [("a".to_owned(), vec![0.0, 1.0]), ("b".to_owned(), vec![0.0, 1.0])];
    let uids = Columns { name: "uid", first: 0 };
    let map = heat_map("weights", uids, Shades::Map, &rows).into_string();
    assert_eq!(map.matches("class=\"h8\"").count(), 2, "columns that are alike are seen");
    let drawn = bars("gains", "nats", &[("x".to_owned(), 1.0), ("y".to_owned(), -1.0)]);
    let drawn = drawn.into_string();
    assert!(drawn.contains("class=\"gain\"") && drawn.contains("class=\"harm\""));
    assert!(bars("gains", "nats", &[]).into_string().contains("No document"));
}

#[test]
fn nothing_lies_between_two_blocks_or_two_documents() {
    assert_eq!(ticks((1_009.0, 1_011.0), 1.0), (vec![1_009.0, 1_010.0, 1_011.0], 0));
    assert_eq!(ticks((0.0, 1.0), 1.0), (vec![0.0, 1.0], 0));
    assert_eq!(ticks((0.0, 1.0), 0.0).1, 1, "losses have decimals");
}

#[test]
fn ticks_of_every_scale_are_few_in_order_and_within_their_range() {
    for exponent in -9..=300 {
        for factor in [1.0, 1.7, 3.3, 9.9] {
            let high = factor * 10f64.powi(exponent);
            for low in [0.0, -high, 0.37 * high] {
                let (found, n_decimals) = ticks((low, high), 0.0);
                let range = format!("{low} to {high}: {found:?}");
                assert!(found.len() <= 7 && n_decimals <= 6, "{range}");
                let rounding = 1e-9 * (high - low);
                let is_within = |tick: &f64| (low - rounding..=high).contains(tick);
                assert!(found.iter().all(is_within), "{range}");
                assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{range}");
            }
        }
    }
}

#[test]
fn a_tick_says_the_number_where_it_stands() {
    for (low, high) in [(2.9131, 2.9142), (0.0, 0.000_07), (-3.5, 11.0), (1e5, 3e6), (0.1, 0.9)] {
        let (found, n_decimals) = ticks((low, high), 0.0);
        let told: Vec<String> = found.iter().map(|tick| brief(*tick, n_decimals)).collect();
        assert!(told.len() > 1, "{low} to {high}: {told:?}");
        for (tick, told) in found.iter().zip(&told) {
            let read: f64 = told.parse().unwrap();
            assert!((read - tick).abs() <= 1e-9 * (high - low), "{tick} is told as {told}");
        }
    }
    assert_eq!(brief(123_456_789.0, 0), "123456789");
    assert_eq!([brief(2e12, 0), brief(-1e300, 0)], ["2.000e12", "-1.00e300"]);
    assert_ne!(brief(1.01e9, 0), brief(1.02e9, 0));
    assert_eq!(brief(3.000_001, 6), "3.000001", "what is small keeps its decimals");
}

#[test]
fn levels_that_are_near_have_their_names_on_either_side() {
    assert_eq!(apart(100.0, 200.0), (96.0, 196.0));
    for (one, other) in [(100.0, 100.0), (100.0, 105.0), (105.0, 100.0), (100.0, 112.9)] {
        let (first, second) = apart(one, other);
        assert!((first - second).abs() >= LINE, "{one} {other}: {first} {second}");
        assert_eq!(first > second, one > other, "each beside its own line");
    }
}
