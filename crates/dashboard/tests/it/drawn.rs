//! Charts of any numbers are XML with everything in its place.

use crate::xml::{self, Element};
use dashboard::chart::{
    Columns, Evidence, Losses, Mark, Setting, Shades, bars, heat_map, over_blocks,
};
use maud::Markup;

/// Width of a letter, as the style sheet has them.
const LETTER: f64 = 6.6;

/// Columns of a map that are slots.
const UIDS: Columns<'static> = Columns { name: "uid", first: 0 };

/// Names that a stranger may give to what is drawn.
const HOSTILE: [&str; 6] = [
    "\"><script>alert(1)</script>",
    "</title></svg><svg onload=\"alert(1)\">",
    "]]>&#x3c;&lt;&amp;",
    "\u{202e}drowssap\u{2066}",
    "''``${7*7}{{x}}",
    "日本語 👩‍👩‍👧 e\u{301}",
];

/// The box of a label: left, right, top and foot.
fn place(label: &Element) -> (f64, f64, f64, f64) {
    let (x, y) = (label.number("x"), label.number("y"));
    let width = LETTER * label.text.chars().count() as f64;
    let left = match label.get("text-anchor") {
        Some("end") => x - width,
        Some("middle") => x - width / 2.0,
        _ => x,
    };
    (left, left + width, y - 9.0, y + 2.0)
}

/// A chart whose every number is one, and whose shapes are within what is shown.
fn sound(chart: &Markup) -> Element {
    let text = chart.clone().into_string();
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    let root = xml::parse(&text);
    let view: Vec<f64> =
        root.get("viewBox").unwrap().split(' ').map(|part| part.parse().unwrap()).collect();
    let (width, height) = (view[2], view[3]);
    assert_eq!((view[0], view[1]), (0.0, 0.0));
    let is_on = |name: &str, most: f64, element: &Element, add: f64| {
        let at = element.number(name) + add;
        assert!((-0.1..=most + 0.1).contains(&at), "{name} {at} of {element:?}");
    };
    for element in root.all() {
        match element.name.as_str() {
            "circle" => {
                is_on("cx", width, element, 0.0);
                is_on("cy", height, element, 0.0);
            }
            "line" => {
                for (name, most) in [("x1", width), ("x2", width), ("y1", height), ("y2", height)] {
                    is_on(name, most, element, 0.0);
                }
            }
            "rect" if element.get("class") != Some("paper") => {
                is_on("x", width, element, element.number("width"));
                is_on("y", height, element, element.number("height"));
                assert!(element.number("width") > 0.0 && element.number("height") > 0.0);
            }
            _ => {}
        }
    }
    assert!(!root.child("title").text.is_empty(), "it is read to those who do not see it");
    assert_eq!(root.get("aria-label"), Some(root.child("title").text.as_str()));
    root
}

fn text_of(label: &Element) -> &str {
    &label.text
}

/// The same of a chart whose labels can all be read.
fn legible(chart: &Markup) -> Element {
    let root = sound(chart);
    let place_of = |label| (text_of(label), place(label));
    let labels: Vec<_> = root.named("text").into_iter().map(place_of).collect();
    for (at, (text, one)) in labels.iter().enumerate() {
        let is_shown = one.0 >= -0.5 && one.1 <= 920.5 && one.2 >= 0.0 && one.3 <= 340.0;
        assert!(is_shown, "{text} is cut: {one:?}");
        for (other_text, other) in &labels[at + 1..] {
            let is_beside = one.1 <= other.0 || other.1 <= one.0;
            let is_above = one.3 <= other.2 || other.3 <= one.2;
            assert!(is_beside || is_above, "{text} {one:?} is over {other_text} {other:?}");
        }
    }
    root
}

fn texts(chart: &Element) -> Vec<String> {
    chart.named("text").into_iter().map(|label| label.text.clone()).collect()
}

/// Losses that fall over so many rounds from a block on, with a crown in each of some.
fn falling(from: u64, n_rounds: u64, crowned_every: u64) -> Losses {
    let loss = |n: u64| 3.0 + 1.0 / (n + 1) as f64;
    let champion: Vec<(u64, f64)> = (0..n_rounds).map(|n| (from + 360 * n, loss(n))).collect();
    let mark = |(block, loss): &(u64, f64)| Mark {
        block: *block,
        loss: *loss,
        name: format!("miner{block}/a-model-with-a-name"),
        href: format!("/c/tiny/crown/{block}"),
    };
    Losses {
        models: champion.iter().map(|(block, loss)| (*block, loss + 0.1)).collect(),
        threshold: champion.iter().map(|(block, loss)| (*block, 0.99 * loss)).collect(),
        optimum: champion.iter().map(|(block, loss)| (*block, Some(0.9 * loss))).collect(),
        crowns: champion.iter().step_by(crowned_every as usize).map(mark).collect(),
        champion,
    }
}

#[test]
fn a_chart_of_losses_can_be_read_at_every_length_and_every_block() {
    for from in [1, 1_010, 999_640, 6_499_990, 12_345_678_901, 900_000_000_000_000] {
        for n_rounds in [1, 2, 3, 7, 40] {
            for crowned_every in [1, 3] {
                let losses = falling(from, n_rounds, crowned_every);
                let chart = legible(&losses.svg("Loss", Setting::Page));
                let n_crowns = losses.crowns.len();
                let crowns = chart.named("circle").into_iter();
                let crowns = crowns.filter(|circle| circle.get("class") == Some("crown"));
                assert_eq!(crowns.count(), n_crowns, "{from} {n_rounds}");
            }
        }
    }
    legible(&falling(6_499_990, 600, 20).svg("Loss", Setting::Page));
}

#[test]
fn ticks_of_blocks_are_blocks() {
    for n_rounds in [1, 2, 5] {
        let mut losses = falling(1_010, n_rounds, 1);
        for (n, point) in losses.champion.iter_mut().enumerate() {
            point.0 = 1_010 + n as u64;
        }
        (losses.models, losses.threshold, losses.crowns) = (vec![], vec![], vec![]);
        losses.optimum.clear();
        let chart = legible(&losses.svg("Loss", Setting::Page));
        let blocks: Vec<u64> = chart
            .named("text")
            .into_iter()
            .filter(|label| label.get("text-anchor") == Some("middle"))
            .map(|label| label.text.parse().expect("a block is a whole number"))
            .collect();
        assert!(
            !blocks.is_empty() && blocks.windows(2).all(|pair| pair[0] < pair[1]),
            "{blocks:?}"
        );
    }
}

#[test]
fn attack_losses_of_any_size_leave_a_chart_in_its_frame() {
    let sizes = [0.0, 5e-324, 1e-9, 1e9, 1e16, 1e100, 1e300, f64::MAX, f64::INFINITY];
    for one in sizes {
        for other in sizes {
            let champion = vec![(1_000, one), (1_360, other)];
            let losses = Losses {
                models: champion.clone(),
                threshold: champion.clone(),
                optimum: vec![(1_000, Some(one)), (1_180, None), (1_360, Some(other))],
                crowns: vec![Mark {
                    block: 1_360,
                    loss: other,
                    name: "miner1/model".to_owned(),
                    href: "/".to_owned(),
                }],
                champion,
            };
            let chart = losses.svg("Loss", Setting::Alone);
            if one.is_finite() || other.is_finite() {
                let chart = legible(&chart);
                let long = texts(&chart).into_iter().find(|text| text.len() > 40);
                assert_eq!(long, None, "a number of hundreds of digits");
            } else {
                assert!(chart.into_string().contains("No round has been measured yet."));
            }
        }
    }
}

#[test]
fn attack_blocks_of_any_size_are_numbers_on_a_chart() {
    let last = u64::MAX;
    for blocks in [vec![last], vec![0, last], vec![last - 1, last], vec![0], vec![1 << 53, 1 << 54]]
    {
        let line: Vec<(u64, f64)> = blocks.iter().map(|block| (*block, 3.0)).collect();
        let chart = sound(&over_blocks("Loss", "nats", &line));
        assert_eq!(chart.named("circle").len(), blocks.len(), "{blocks:?}");
        let losses = Losses { champion: line, ..Losses::default() };
        sound(&losses.svg("Loss", Setting::Page));
    }
}

#[test]
fn what_is_no_number_is_not_drawn_and_hides_nothing_else() {
    let points = [(10, f64::NAN), (20, 2.0), (30, f64::NAN), (40, 1.0)];
    let chart = legible(&over_blocks("Loss", "nats", &points));
    assert_eq!(chart.named("circle").len(), 2);
    assert_eq!(chart.named("path")[0].get("d").unwrap().matches(['M', 'L']).count(), 2);
    let mark = |block, loss| Mark { block, loss, name: "m".to_owned(), href: "/".to_owned() };
    let losses = Losses {
        champion: points.to_vec(),
        models: points.to_vec(),
        threshold: points.to_vec(),
        optimum: points.map(|(block, loss)| (block, Some(loss))).to_vec(),
        crowns: vec![mark(10, f64::NAN), mark(20, 2.0)],
    };
    legible(&losses.svg("Loss", Setting::Page));
    let empties: [&[(u64, f64)]; 3] = [&[], &[(10, f64::NAN)], &[(10, f64::INFINITY)]];
    for empty in empties {
        let said = over_blocks("Loss", "nats", empty).into_string();
        assert!(said.contains("Nothing has been measured yet."), "{said}");
    }
}

#[test]
fn the_optimum_is_a_line_in_steps_with_its_name_and_with_gaps_where_no_record_tells_it() {
    let mut losses = falling(1_000, 5, 2);
    let told = [Some(2.5), None, Some(2.6), Some(2.6), Some(2.55)];
    losses.optimum = losses.champion.iter().map(|(block, _)| *block).zip(told).collect();
    let chart = legible(&losses.svg("Loss", Setting::Page));
    let of = |class: &str| -> Vec<String> {
        let paths = chart.named("path").into_iter();
        let paths = paths.filter(|path| path.get("class") == Some(class));
        paths.map(|path| path.get("d").unwrap().to_owned()).collect()
    };
    let (optimum, line) = (of("optimum"), of("line"));
    let ([optimum], [line]) = (&optimum[..], &line[..]) else { panic!("{optimum:?} {line:?}") };
    assert_eq!(["M", "H", "V"].map(|step| optimum.matches(step).count()), [2, 4, 2], "{optimum}");
    let start = |path: &str| path.split(' ').next().unwrap().to_owned();
    assert_eq!(start(optimum), start(line), "it begins with the first round");
    assert!(texts(&chart).contains(&"optimum 2.5500".to_owned()), "{:?}", texts(&chart));
    losses.optimum.clear();
    let without = losses.svg("Loss", Setting::Page).into_string();
    assert!(!without.contains("optimum"), "{without}");
}

#[test]
fn the_name_of_the_optimum_can_be_read_wherever_it_lies_and_one_that_is_none_hides_no_loss() {
    let mut losses = falling(1_000, 7, 1);
    let first = losses.champion[0].0;
    losses.optimum.clear();
    let plain = texts(&legible(&losses.svg("Loss", Setting::Page)));
    for tenth in 0..=45 {
        losses.optimum = vec![(first, Some(f64::from(tenth) / 10.0))];
        legible(&losses.svg("Loss", Setting::Page));
    }
    for none in [1e9, f64::MAX, f64::INFINITY] {
        losses.optimum = vec![(first, Some(none))];
        let mut told = texts(&legible(&losses.svg("Loss", Setting::Page)));
        told.retain(|text| !text.starts_with("optimum "));
        assert_eq!(told, plain, "{none} is above all that was measured");
    }
}

#[test]
fn a_crown_from_before_the_first_block_of_a_chart_is_not_at_its_edge() {
    let mut losses = falling(100_000, 10, 5);
    let old = |block| Mark {
        block,
        loss: 5.0,
        name: "old/champion".to_owned(),
        href: format!("/c/tiny/crown/{block}"),
    };
    losses.crowns.splice(0..0, (1..30).map(old));
    let chart = legible(&losses.svg("Loss", Setting::Page));
    assert_eq!(chart.named("a").len(), 2, "those of its blocks alone");
    assert!(!texts(&chart).contains(&"old/champion".to_owned()));
}

#[test]
fn a_line_goes_through_the_places_of_its_points() {
    let chart = legible(&over_blocks("Loss", "nats", &[(0, 1.0), (500, 3.0), (1_000, 2.0)]));
    let dots: Vec<(f64, f64)> = chart
        .named("circle")
        .into_iter()
        .map(|circle| (circle.number("cx"), circle.number("cy")))
        .collect();
    let path: String = dots.iter().enumerate().fold(String::new(), |path, (at, (x, y))| {
        path + &format!("{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' })
    });
    assert_eq!(chart.named("path")[0].get("d"), Some(path.as_str()));
    let [first, middle, last] = dots[..] else { panic!("{dots:?}") };
    assert!((middle.0 - (first.0 + last.0) / 2.0).abs() <= 0.11, "blocks are in scale: {dots:?}");
    assert!((last.1 - (first.1 + middle.1) / 2.0).abs() <= 0.11, "so are losses: {dots:?}");
    assert!(middle.1 < last.1 && last.1 < first.1, "what is more is higher: {dots:?}");
    // A tick of 2 is as high as the point that is 2.
    let two = chart.named("text").into_iter().find(|label| label.text.starts_with("2.0")).unwrap();
    assert!((two.number("y") - 4.0 - last.1).abs() <= 0.11, "{two:?}");
}

#[test]
fn attack_names_on_charts_are_text() {
    for hostile in HOSTILE {
        let mark =
            Mark { block: 10, loss: 2.0, name: hostile.to_owned(), href: format!("/c/{hostile}") };
        let losses = Losses {
            champion: vec![(10, 2.0), (20, 1.0)],
            crowns: vec![mark],
            ..Losses::default()
        };
        let chart = sound(&losses.svg(hostile, Setting::Alone));
        assert_eq!(chart.child("title").text, hostile);
        assert_eq!(chart.get("xmlns"), Some("http://www.w3.org/2000/svg"));
        let link = chart.named("a")[0];
        assert_eq!(link.get("href"), Some(format!("/c/{hostile}").as_str()));
        assert_eq!(link.child("text").text, hostile);
        let drawn = sound(&bars(hostile, hostile, &[(hostile.to_owned(), 1.0)]));
        assert_eq!(drawn.named("rect")[0].child("title").text, format!("{hostile}: 1.0000"));
        let rows = [(hostile.to_owned(), vec![1.0])];
        let columns = Columns { name: hostile, first: 1 };
        let map = sound(&heat_map(hostile, columns, Shades::Column, &rows));
        let cell = format!("{hostile}, {hostile} 1: 1.0000");
        assert_eq!(map.named("rect")[0].child("title").text, cell);
        for root in [&chart, &drawn, &map] {
            for element in root.all() {
                let known =
                    ["svg", "title", "style", "rect", "g", "line", "text", "circle", "path"];
                let is_ours = known.contains(&element.name.as_str()) || element.name == "a";
                assert!(is_ours, "<{}>", element.name);
                assert!(element.attributes.iter().all(|(name, _)| !name.starts_with("on")));
            }
        }
    }
}

/// Evidence that grows by so much with each document.
fn growing(n: usize, by: f64, (crown, reject): (f64, f64)) -> Evidence {
    let step = |at: usize| (by * at as f64, -by * at as f64);
    Evidence { steps: (0..n).map(step).collect(), crown, reject, n_min: 25 }
}

#[test]
fn a_chart_of_evidence_can_be_read_whatever_its_levels_are() {
    let levels =
        [(3.0, 2.0), (4.0, 1.3), (2.0, 2.0), (2.0, 2.1), (2.1, 2.0), (1.0, 0.31), (9.0, 8.7)];
    for level in levels {
        for (n, by) in [(0, 0.0), (1, 0.0), (30, 0.2), (200, -0.4), (2_000, 1.0)] {
            let chart = legible(&growing(n, by, level).svg("Evidence"));
            let told = texts(&chart);
            for name in ["a new crown", "rejected", "documents", "evidence, powers of ten"] {
                assert!(told.iter().any(|text| text == name), "no {name} in {told:?}");
            }
            let spots = chart.named("circle").len();
            assert!(spots == n || (300..=600).contains(&spots), "{spots} of {n}");
        }
    }
}

#[test]
fn attack_evidence_without_bounds_is_a_chart_all_the_same() {
    let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -300.0, 0.0, 308.0];
    for crown in numbers {
        for reject in numbers {
            let steps = vec![(crown, reject), (reject, crown), (0.0, 0.0)];
            let chart = Evidence { steps, crown: 3.0, reject: 2.0, n_min: u32::MAX };
            sound(&chart.svg("Evidence"));
        }
    }
    let chart = sound(&growing(40, 0.1, (3.0, 2.0)).svg("Evidence"));
    let last = chart.named("circle")[0].child("title").text.clone();
    assert_eq!(last, "after 40 documents: 10^3.90", "the last is always told");
}

#[test]
fn bars_are_as_high_as_their_numbers_on_their_side_of_zero() {
    let values = [2.0, -1.0, 0.0, 1.0, f64::NAN];
    let named: Vec<(String, f64)> =
        values.iter().enumerate().map(|(at, value)| (format!("d{at}"), *value)).collect();
    let chart = legible(&bars("Gains", "nats per token", &named));
    let drawn = chart.named("rect");
    assert_eq!(drawn.len(), values.len());
    let zero = chart.all().into_iter().find(|line| line.get("class") == Some("zero")).unwrap();
    let zero = zero.number("y1");
    let unit = drawn[3].number("height");
    for (bar, value) in drawn.iter().zip(values) {
        let height = bar.number("height");
        let wanted = if value.is_nan() { 0.0 } else { (unit * value).abs() };
        assert!((height - wanted).abs() <= 0.6, "{value}: {height} is not {wanted}");
        let foot = if value > 0.0 { bar.number("y") + height } else { bar.number("y") };
        assert!((foot - zero).abs() <= 0.6, "{value} stands on zero");
        let class = if value >= 0.0 { "gain" } else { "harm" };
        assert_eq!(bar.get("class"), Some(class), "{value}");
    }
    assert_eq!(drawn[1].child("title").text, "d1: -1.0000");
    assert_eq!(drawn[4].child("title").text, "d4: –", "what is no number is told as none");
}

#[test]
fn attack_bars_of_any_number_and_any_size_stay_beside_each_other() {
    for n in [1, 2, 24, 25, 2_000] {
        let all: Vec<(String, f64)> =
            (0..n).map(|at| (at.to_string(), if at % 3 == 0 { -1.0 } else { 0.5 })).collect();
        let chart = legible(&bars("Gains", "nats", &all));
        let drawn = chart.named("rect");
        assert_eq!(drawn.len(), n);
        for pair in drawn.windows(2) {
            assert!(pair[0].number("x") <= pair[1].number("x"), "{n}: in order");
        }
    }
    for (one, other) in [
        (f64::MAX, -f64::MAX),
        (f64::INFINITY, f64::NEG_INFINITY),
        (1e300, 1e-300),
        (f64::NAN, f64::NAN),
        (-1e15, 0.0),
        (5e-324, -5e-324),
    ] {
        let all = [("a".to_owned(), one), ("b".to_owned(), other)];
        legible(&bars("Gains", "nats", &all));
    }
}

#[test]
fn a_map_has_a_row_for_each_name_and_a_cell_for_each_number() {
    for (n_rows, n_columns) in [(1, 1), (1, 300), (40, 1), (16, 24), (100, 100)] {
        let rows: Vec<(String, Vec<f64>)> = (0..n_rows)
            .map(|row| {
                let value = |column: usize| (row * 7 + column * 3) as f64 % 11.0 + 1.0;
                (format!("row {row}"), (0..n_columns).map(value).collect())
            })
            .collect();
        for shades in [Shades::Column, Shades::Map] {
            let map = sound(&heat_map("Map", UIDS, shades, &rows));
            assert_eq!(map.named("text").len(), n_rows);
            let n_cells = map.named("rect").len()
                + map
                    .named("path")
                    .iter()
                    .map(|path| path.get("d").unwrap().matches('z').count())
                    .sum::<usize>();
            assert_eq!(n_cells, n_rows * n_columns, "{n_rows} x {n_columns}");
            assert_eq!(map.number("width"), 110.0 + 14.0 * n_columns as f64);
        }
    }
}

#[test]
fn the_shade_of_a_cell_is_that_of_its_number_in_its_column_or_in_the_map() {
    let rows = [
        ("a".to_owned(), vec![1.0, 100.0]),
        ("b".to_owned(), vec![2.0, 300.0]),
        ("c".to_owned(), vec![3.0, 200.0]),
    ];
    let places = Columns { name: "place", first: 1 };
    let shades = |beside| -> Vec<String> {
        let map = sound(&heat_map("Map", places, beside, &rows));
        let cells = map.named("rect").into_iter();
        cells.map(|cell| cell.get("class").unwrap().to_owned()).collect()
    };
    assert_eq!(shades(Shades::Column), ["h0", "h0", "h4", "h8", "h8", "h4"]);
    assert_eq!(shades(Shades::Map), ["h0", "h2", "h0", "h8", "h0", "h5"]);
    let map = heat_map("Map", places, Shades::Column, &rows).into_string();
    assert!(map.contains("<title>b, place 2: 300.0000</title>"), "columns count from 1: {map}");
}

#[test]
fn attack_a_map_of_what_is_no_number_is_a_map_all_the_same() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -f64::MAX, -0.0, 5e-324];
    let rows: Vec<(String, Vec<f64>)> = (0..odd.len())
        .map(|row| (row.to_string(), odd[..=row].iter().rev().copied().collect()))
        .collect();
    for shades in [Shades::Column, Shades::Map] {
        sound(&heat_map("Map", UIDS, shades, &rows));
        sound(&heat_map("Map", UIDS, shades, &[]));
        sound(&heat_map("Map", UIDS, shades, &[("alone".to_owned(), Vec::new())]));
    }
    let map = sound(&heat_map("Map", UIDS, Shades::Map, &[("x".to_owned(), odd.to_vec())]));
    let none = map.named("rect").into_iter().filter(|cell| cell.get("class") == Some("none"));
    assert_eq!(none.count(), 3, "and what is none of them is told apart");
}
