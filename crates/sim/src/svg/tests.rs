//! Charts of any data are well-formed, and names stay text.

use super::*;
use crate::noise::{mix, unit};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn steps_of_an_axis_are_round() {
    for (least, step) in [(0.7, 1.0), (1.1, 2.0), (3.0, 5.0), (51.0, 100.0), (0.013, 0.02)] {
        assert!((round_step(least) - step).abs() < 1e-12, "{least}: {}", round_step(least));
    }
    assert_eq!([1.0, 0.5, 0.02, 200.0].map(digits), [0, 1, 2, 0]);
}

#[test]
fn a_chart_has_title_axes_and_labels_and_no_markup_of_strangers() {
    let bars = vec![
        Bar { name: "copy <b>".to_owned(), value: -1.5, half_width: 0.25 },
        Bar { name: "noise".to_owned(), value: 3.0, half_width: 0.5 },
    ];
    let (title, x) = ("Gain".to_owned(), "percent".to_owned());
    let svg = Chart::Bars { title, x, bars }.to_svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    for part in ["<title>Gain</title>", "copy &lt;b&gt;", "percent", "prefers-color-scheme"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert_eq!(svg.matches("<rect class=\"b\"").count(), 2);
    let points = vec![(0.0, 4.0), (100.0, 3.0)];
    let curves = vec![Curve { name: "duel".to_owned(), points }];
    let [title, x, y] = ["Loss", "block", "nats per token"].map(str::to_owned);
    let svg = Chart::Curves { title, x, y, curves }.to_svg();
    assert!(svg.contains("nats per token") && svg.contains(">duel</text>"), "{svg}");
    assert!(!svg.contains("NaN"), "{svg}");
}

/// An element of a file: its name, its attributes, and the text in it.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

impl Element {
    fn number(&self, key: &str) -> f64 {
        let value = &self.attributes[key];
        value.parse().unwrap_or_else(|_| panic!("`{key}` is `{value}`: {self:?}"))
    }

    fn is(&self, name: &str, class: &str) -> bool {
        self.name == name && self.attributes.get("class").is_some_and(|known| known == class)
    }
}

/// What escaped text means; panics where something in it is no text.
fn meant(text: &str) -> String {
    assert!(!text.contains(['<', '>']), "{text}");
    for (at, _) in text.match_indices('&') {
        let is_known =
            ["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| text[at..].starts_with(e));
        assert!(is_known, "{text}");
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&amp;", "&")
}

fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("`{rest}`"));
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("`{rest}`"));
        assert!(found.insert(key.to_owned(), meant(value)).is_none(), "`{key}` twice: {text}");
        rest = after.trim_start();
    }
    found
}

/// All elements of a file; panics unless it is well-formed XML, one element around all others.
fn elements(svg: &str) -> Vec<Element> {
    assert!(svg.chars().all(|c| c == '\n' || !c.is_control()), "{svg:?}");
    let (mut found, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut rest = svg.trim_end();
    while let Some(after) = rest.strip_prefix('<') {
        let (tag, after) = after.split_once('>').unwrap_or_else(|| panic!("{rest}"));
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop().unwrap_or_else(|| panic!("nothing is open: {rest}"));
            assert_eq!(found[last].name, name);
        } else {
            assert!(found.is_empty() || !open.is_empty(), "a second root: {rest}");
            let (tag, is_whole) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, given) = tag.split_once(' ').unwrap_or((tag, ""));
            let (name, attributes) = (name.to_owned(), attributes(given));
            found.push(Element { name, attributes, text: String::new() });
            if !is_whole {
                open.push(found.len() - 1);
            }
        }
        let at = after.find('<').unwrap_or(after.len());
        if let Some(last) = open.last() {
            found[*last].text.push_str(meant(&after[..at]).trim_matches('\n'));
        }
        rest = &after[at..];
    }
    assert!(rest.is_empty() && open.is_empty(), "{svg}");
    found
}

fn all<'a>(found: &'a [Element], name: &str, class: &str) -> Vec<&'a Element> {
    found.iter().filter(|element| element.is(name, class)).collect()
}

fn curves(points: &[&[(f64, f64)]]) -> Chart {
    let [title, x, y] = ["Loss", "block", "nats per token"].map(str::to_owned);
    let curve = |points: &&[(f64, f64)]| Curve { name: "duel".to_owned(), points: points.to_vec() };
    Chart::Curves { title, x, y, curves: points.iter().map(curve).collect() }
}

fn bars(numbers: &[(f64, f64)]) -> Chart {
    let bar = |(value, half_width): &(f64, f64)| Bar {
        name: "copy".to_owned(),
        value: *value,
        half_width: *half_width,
    };
    let bars = numbers.iter().map(bar).collect();
    Chart::Bars { title: "Gain".to_owned(), x: "percent".to_owned(), bars }
}

/// Fails unless every coordinate of a chart is a number on its page.
fn check_on_page(chart: &Chart) {
    let svg = chart.to_svg();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let found = elements(&svg);
    let size: Vec<f64> =
        found[0].attributes["viewBox"].split(' ').map(|number| number.parse().unwrap()).collect();
    let check = |x: f64, y: f64| {
        let is_on = (0.0..=size[2]).contains(&x) && (0.0..=size[3]).contains(&y);
        assert!(is_on, "{x}, {y} is not on the page: {svg}");
    };
    for element in &found {
        for (x, y) in [("x", "y"), ("x1", "y1"), ("x2", "y2")] {
            if element.attributes.contains_key(x) {
                check(element.number(x), element.number(y));
            }
        }
        for point in element.attributes.get("points").map_or("", String::as_str).split_whitespace()
        {
            let (x, y) = point.split_once(',').unwrap();
            check(x.parse().unwrap(), y.parse().unwrap());
        }
    }
}

#[test]
fn charts_of_any_data_are_well_formed_and_stay_on_their_page() {
    const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let sets: [&[(f64, f64)]; 9] = [
        &[],
        &[(5.0, 3.0)],
        &[(5.0, 3.0), (5.0, 3.0)],
        &[(0.0, 0.0), (0.0, 0.0)],
        &[(1.0, BAD[0]), (BAD[0], 2.0), (2.0, 2.5)],
        &[(BAD[1], BAD[2]), (BAD[2], 1.0), (3.0, BAD[1])],
        &[(1e300, -1e300), (-1e300, 1e300)],
        &[(1e-300, 2e-300), (-1e-300, 0.0)],
        &[(-7.0, 0.5), (1e6, 1e-9), (0.0, 1e6)],
    ];
    for set in sets {
        check_on_page(&curves(&[set]));
        check_on_page(&curves(&[set, &[(1.0, 2.0)]]));
        check_on_page(&bars(set));
    }
    check_on_page(&curves(&[]));
}

#[test]
fn whoever_cannot_be_drawn_is_named_all_the_same() {
    let svg = bars(&[(f64::NAN, 1.0), (2.0, 0.5)]).to_svg();
    let found = elements(&svg);
    assert_eq!(found.iter().filter(|element| element.text == "copy").count(), 2, "{svg}");
    assert_eq!(found.iter().filter(|element| element.is("rect", "b")).count(), 1, "{svg}");
    let svg = curves(&[&[(1.0, f64::NAN), (2.0, 3.0), (f64::NAN, 3.0)], &[]]).to_svg();
    let found = elements(&svg);
    let points: Vec<&str> = found
        .iter()
        .filter(|element| element.name == "polyline")
        .map(|element| element.attributes["points"].as_str())
        .collect();
    let n_points = |place: usize| points[place].split_whitespace().count();
    assert_eq!([0, 1, 2, 3].map(n_points), [1, 2, 0, 2], "a curve and its legend in turn");
}

#[test]
fn attack_names_of_strangers_stay_text_wherever_they_stand() {
    let name = "a\"/><script>x</script>&lt;]]>'\u{1}\u{7f}\u{ffff}é日";
    let shown = "a\"/><script>x</script>&lt;]]>'���é日";
    let [title, x, y] = [name; 3].map(str::to_owned);
    let curve = |_| Curve { name: name.to_owned(), points: vec![(1.0, 2.0)] };
    let curves = (0..3).map(curve).collect();
    let svg = Chart::Curves { title, x, y, curves }.to_svg();
    let found = elements(&svg);
    // The title twice, two axes, three curves.
    assert_eq!(found.iter().filter(|element| element.text == shown).count(), 7, "{svg}");
    let [title, x] = [name; 2].map(str::to_owned);
    let bar = Bar { name: name.to_owned(), value: 1.0, half_width: 0.1 };
    let svg = Chart::Bars { title, x, bars: vec![bar] }.to_svg();
    let found = elements(&svg);
    assert_eq!(found.iter().filter(|element| element.text == shown).count(), 4, "{svg}");
    let names: BTreeSet<&str> = found.iter().map(|element| element.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["line", "rect", "style", "svg", "text", "title"]));
}

#[test]
fn steps_are_few_round_and_told_apart_by_what_is_written_at_them() {
    for seed in 0..500 {
        let word = |place: u64| mix(seed, place);
        let power = |word: u64, least: i32, n: u64| 10f64.powi(least + (word % n) as i32);
        let low = (unit(word(1)) - 0.5) * power(word(2), -3, 8);
        let high = low + (0.1 + unit(word(3))) * power(word(4), -4, 10);
        let axis = Axis::new([high, f64::NAN, low].into_iter(), (100.0, 700.0));
        let ticks = axis.ticks();
        assert!((2..=9).contains(&ticks.len()), "seed {seed}: {low} to {high}: {ticks:?}");
        assert!(axis.low <= low && high <= axis.high, "seed {seed}: {low} to {high}: {ticks:?}");
        let written: BTreeSet<&str> = ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(written.len(), ticks.len(), "seed {seed}: {low} to {high}: {ticks:?}");
        for (number, text) in &ticks {
            let told: f64 = text.parse().unwrap();
            assert!((told - number).abs() < 1e-3 * axis.step, "seed {seed}: {text} for {number}");
            assert!(!text.starts_with("-0") || told < 0.0, "seed {seed}: {text}");
        }
    }
}

#[test]
fn an_axis_keeps_order_and_ends_where_it_says() {
    let axis = Axis::new([-2.0, 13.0].into_iter(), (100.0, 700.0));
    assert_eq!((axis.at(axis.low), axis.at(axis.high)), (100.0, 700.0));
    assert_eq!((axis.at(-1e9), axis.at(1e9)), (100.0, 700.0), "what is beyond stands at its end");
    let places: Vec<f64> = (-4..28).map(|half| axis.at(f64::from(half) / 2.0)).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
    let upwards = Axis::new([2.0, 3.0].into_iter(), (400.0, 44.0));
    assert!(upwards.at(3.0) < upwards.at(2.0), "a greater number is higher on the page");
    let none = Axis::new([f64::NAN].into_iter(), (0.0, 1.0));
    assert_eq!((none.low, none.high), (0.0, 1.0));
}

#[test]
fn a_bar_goes_from_zero_to_its_value_with_its_interval_around_the_end() {
    let svg = bars(&[(-2.0, 0.5), (4.0, 1.0)]).to_svg();
    let found = elements(&svg);
    let (drawn, whiskers) = (all(&found, "rect", "b"), all(&found, "line", "w"));
    let zero = all(&found, "line", "a").last().unwrap().number("x1");
    let ends = |place: usize| {
        let from = drawn[place].number("x");
        (from, from + drawn[place].number("width"))
    };
    let near = |a: f64, b: f64| (a - b).abs() < 0.21;
    assert!(near(ends(0).1, zero) && near(ends(1).0, zero), "{svg}");
    let per_percent = (ends(1).1 - zero) / 4.0;
    assert!(near(zero - ends(0).0, 2.0 * per_percent), "{svg}");
    for (place, end, half) in [(0, ends(0).0, 0.5), (1, ends(1).1, 1.0)] {
        let (low, high) = (whiskers[place].number("x1"), whiskers[place].number("x2"));
        assert!(near(f64::midpoint(low, high), end), "{svg}");
        assert!(near((high - low) / 2.0, half * per_percent), "{svg}");
    }
}

#[test]
fn every_curve_has_its_line_in_the_legend_and_the_page_makes_room_for_it() {
    let height = |chart: &Chart| {
        elements(&chart.to_svg())[1..]
            .iter()
            .find(|element| element.is("rect", "p"))
            .map(|element| element.number("height"))
    };
    let one = height(&curves(&[&[(1.0, 2.0)]])).unwrap();
    let three = height(&curves(&[&[(1.0, 2.0)], &[(2.0, 3.0)], &[]])).unwrap();
    assert_eq!(three - one, 2.0 * LEGEND_HEIGHT);
    let one: &[(f64, f64)] = &[(1.0, 2.0)];
    let svg = curves(&[one; 9]).to_svg();
    let found = elements(&svg);
    let strokes: Vec<&str> = found
        .iter()
        .filter(|element| element.name == "polyline")
        .map(|element| element.attributes["style"].as_str())
        .collect();
    assert_eq!(strokes.len(), 18);
    assert!(strokes.chunks(2).all(|pair| pair[0] == pair[1]), "{strokes:?}");
    let colours: BTreeSet<&str> = strokes.iter().copied().collect();
    assert_eq!(colours.len(), COLOURS.len(), "colours begin again after the last");
}
