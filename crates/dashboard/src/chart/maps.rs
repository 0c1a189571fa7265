//! Maps of numbers: the darker a cell, the higher.

use super::px;
use crate::figures::decimals;
use maud::{Markup, html};

/// Width and height of a cell with the gap to the next.
const CELL: f64 = 14.0;
/// Width of a cell without it.
const INNER: f64 = 13.0;
/// Width of the names of rows.
const NAMES: f64 = 110.0;
/// Most cells that tell their numbers; those of a larger map are drawn by their shades alone, or a
/// page would be some megabytes.
const TITLED_MAX: usize = 4_096;
/// Classes of the style sheet, lightest first.
const SHADES: [&str; 9] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
/// The class of a cell that has no number.
const NONE: &str = "none";

/// What a number of a map is shaded beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shades {
    /// Those of its column; a row that is short has cells that are empty.
    Column,
    /// Those of the whole map, in which nothing is drawn for a zero.
    Map,
}

/// What the columns of a map are called: each by a name and a number, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns<'a> {
    /// The name, which all have in common.
    pub name: &'a str,
    /// Number of the first.
    pub first: usize,
}

/// A map of numbers, rows by columns: the darker, the higher.
pub fn heat_map(
    title: &str,
    columns: Columns<'_>,
    beside: Shades,
    rows: &[(String, Vec<f64>)],
) -> Markup {
    let n_columns = rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let ranges: Vec<(f64, f64)> = match beside {
        Shades::Column => (0..n_columns)
            .map(|at| range(rows.iter().filter_map(|(_, values)| values.get(at)).copied()))
            .collect(),
        Shades::Map => {
            vec![range(rows.iter().flat_map(|(_, values)| values).copied()); n_columns]
        }
    };
    let is_titled = rows.len().saturating_mul(n_columns) <= TITLED_MAX;
    let (width, height) = (NAMES + CELL * n_columns as f64, CELL * (rows.len() as f64 + 1.0));
    html! {
        svg class="heat" viewBox=(format!("0 0 {width} {height}")) width=(px(width))
            height=(px(height)) role="img" aria-label=(title) {
            title { (title) }
            @for (line, (name, values)) in rows.iter().enumerate() {
                text x=(px(NAMES - 6.0)) y=(px(CELL * line as f64 + 11.0)) text-anchor="end" {
                    (name)
                }
                @let shaded = shaded(values, beside, &ranges);
                @if is_titled {
                    (cells(line, columns, name, values, &shaded))
                } @else {
                    (paths(line, &shaded))
                }
            }
        }
    }
}

/// Columns of a row that something is drawn in, each with its shade.
fn shaded(values: &[f64], beside: Shades, ranges: &[(f64, f64)]) -> Vec<(usize, &'static str)> {
    let class = |(at, range): (usize, (f64, f64))| match (values.get(at).copied(), beside) {
        (None | Some(0.0), Shades::Map) => None,
        (value, _) => Some((at, value.map_or(NONE, |value| shade(value, range)))),
    };
    ranges.iter().copied().enumerate().filter_map(class).collect()
}

/// Cells of a row that tell their numbers.
fn cells(
    line: usize,
    columns: Columns<'_>,
    name: &str,
    values: &[f64],
    shaded: &[(usize, &'static str)],
) -> Markup {
    let number = |at: usize| {
        let value = values.get(at).copied();
        value.map_or("not measured".to_owned(), |value| decimals(Some(value), 4))
    };
    html! {
        @for (at, class) in shaded {
            rect class=(class) x=(px(NAMES + CELL * *at as f64)) y=(px(CELL * line as f64))
                width=(px(INNER)) height=(px(INNER)) {
                title { (name) ", " (columns.name) " " (at + columns.first) ": " (number(*at)) }
            }
        }
    }
}

/// Cells of a row as one shape for each shade.
fn paths(line: usize, shaded: &[(usize, &'static str)]) -> Markup {
    let of = |class: &str| -> String {
        let (mut drawn, mut last) = (String::new(), None::<f64>);
        for (at, _) in shaded.iter().filter(|(_, other)| *other == class) {
            let x = NAMES + CELL * *at as f64;
            // From cell to cell, so that what is alike is packed well.
            drawn += &match last {
                None => format!("M{x} {}", CELL * line as f64),
                Some(last) => format!("m{} 0", x - last),
            };
            drawn += &format!("h{INNER}v{INNER}h-{INNER}z");
            last = Some(x);
        }
        drawn
    };
    html! {
        @for class in SHADES.into_iter().chain([NONE]) {
            @let drawn = of(class);
            @if !drawn.is_empty() { path class=(class) d=(drawn) {} }
        }
    }
}

/// The least and the most of what is finite.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

/// The shade of a number within its range, of nine.
fn shade(value: f64, (low, high): (f64, f64)) -> &'static str {
    if !value.is_finite() {
        return NONE;
    }
    let share = if high > low { (value - low) / (high - low) } else { 0.0 };
    // A float turns into the nearest number that there is.
    SHADES[((share * 8.0) as usize).min(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const UIDS: Columns<'static> = Columns { name: "uid", first: 0 };

    #[test]
    fn what_was_not_measured_is_no_low_loss_and_nothing_is_drawn_for_a_zero() {
        let rows = [("a".to_owned(), vec![1.0, 2.0]), ("b".to_owned(), vec![2.0])];
        let places = Columns { name: "place", first: 1 };
        let map = heat_map("losses", places, Shades::Column, &rows).into_string();
        assert_eq!(map.matches("class=\"none\"").count(), 1, "{map}");
        assert!(map.contains("b, place 2: not measured"), "{map}");
        let rows = [("a".to_owned(), vec![0.0, 0.5]), ("b".to_owned(), vec![0.25])];
        let map = heat_map("weights", UIDS, Shades::Map, &rows).into_string();
        assert_eq!(map.matches("<rect").count(), 2, "{map}");
    }

    #[test]
    fn a_large_map_is_drawn_by_shades() {
        let row = |line: usize| -> Vec<f64> {
            (0..256).map(|at| ((line * 31 + at * 17) % 97) as f64).collect()
        };
        let rows: Vec<(String, Vec<f64>)> = (0..64).map(|at| (at.to_string(), row(at))).collect();
        let map = heat_map("bonds", UIDS, Shades::Map, &rows).into_string();
        let n_zeros = rows.iter().flat_map(|(_, row)| row).filter(|value| **value == 0.0).count();
        assert_eq!(map.matches("h13v13h-13z").count(), 64 * 256 - n_zeros);
        assert!(map.matches("<path").count() <= 64 * SHADES.len() && !map.contains("<rect"));
    }
}
