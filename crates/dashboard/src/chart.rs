//! Charts as SVG, made here: pages show them whole without a script, and each can be fetched alone.
//!
//! Colours and fonts are classes of the style sheet, so that a chart follows the reader's scheme;
//! one that stands alone brings its own.

mod maps;

pub use maps::{Columns, Shades, heat_map};

use crate::figures::decimals;
use maud::{Markup, html};

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 40.0;
/// Most lines across a chart, and most along it.
const TICKS_MAX: f64 = 6.0;
/// Rows of names above a chart; what does not fit is in the table below.
const LANES: usize = 3;
/// Width of a letter of a name.
const LETTER: f64 = 6.6;
/// Height of a line of letters.
const LINE: f64 = 13.0;
/// Most letters of a number left of a chart.
const DIGITS_MAX: usize = 9;
/// What is further from zero is drawn there: sums of such numbers are still numbers.
const FAR: f64 = 1e300;
/// What a chart of losses has upwards.
const LOSS: &str = "loss, nats per token";
/// Most places of a line whose numbers can be read off.
const SPOTS_MAX: usize = 600;

/// A crown on a chart of losses.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Block of the round.
    pub block: u64,
    /// Loss of whoever took it.
    pub loss: f64,
    /// Who.
    pub name: String,
    /// The page that says why.
    pub href: String,
}

/// Loss of a network over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// Champion's loss by block, in order of blocks.
    pub champion: Vec<(u64, f64)>,
    /// Losses of all models by block.
    pub models: Vec<(u64, f64)>,
    /// What a challenger must get under, by block.
    pub threshold: Vec<(u64, f64)>,
    /// Loss of a model that knew the true distribution of the text, by block, in order of blocks;
    /// nothing of a round that does not tell it.
    pub optimum: Vec<(u64, Option<f64>)>,
    /// Changes of the crown, in order of blocks.
    pub crowns: Vec<Mark>,
}

/// A plane with its ticks.
struct Plane {
    x: (f64, f64),
    y: (f64, f64),
}

impl Plane {
    /// The smallest that holds the points, with some air above and below; `None` without any.
    fn around(points: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let mut plane = Self { x: none, y: none };
        for (x, y) in points.filter(|(x, y)| x.is_finite() && !y.is_nan()) {
            plane.x = (plane.x.0.min(x), plane.x.1.max(x));
            // What is infinite is drawn at the edge, above or below its place.
            if y.is_finite() {
                let y = y.clamp(-FAR, FAR);
                plane.y = (plane.y.0.min(y), plane.y.1.max(y));
            }
        }
        if plane.y == none {
            return None;
        }
        let air = 0.06 * (plane.y.1 - plane.y.0);
        let air = if air > 0.0 { air } else { (0.02 * plane.y.1.abs()).max(1e-6) };
        plane.y = (plane.y.0 - air, plane.y.1 + air);
        if plane.x.0 == plane.x.1 {
            // The largest blocks are floats that lie far apart.
            let half = (1e-9 * plane.x.0.abs()).max(1.0);
            plane.x = (plane.x.0 - half, plane.x.1 + half);
        }
        Some(plane)
    }

    /// Whether a point belongs to what is shown along it: crowns are known from longer ago.
    fn has(&self, x: f64, y: f64) -> bool {
        (self.x.0..=self.x.1).contains(&x) && !y.is_nan()
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, y: f64) -> f64 {
        let share = ((y - self.y.0) / (self.y.1 - self.y.0)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// Points as the data of a path.
    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            path += &format!("{letter}{:.1} {:.1}", self.across(*x), self.down(*y));
        }
        path
    }

    /// Steps as the data of a path: a number holds up to the next place, and the last to the right
    /// end. What is none leaves a gap.
    fn steps(&self, points: &[(u64, Option<f64>)]) -> String {
        let across = |block: u64| self.across(block as f64).clamp(LEFT, WIDTH - RIGHT);
        let (mut path, mut is_drawn) = (String::new(), false);
        for (at, (block, number)) in points.iter().enumerate() {
            let Some(number) = number.filter(|number| !number.is_nan()) else {
                is_drawn = false;
                continue;
            };
            let down = self.down(number);
            path += &match is_drawn {
                true => format!("V{down:.1}"),
                false => format!("M{:.1} {down:.1}", across(*block)),
            };
            let end = points.get(at + 1).map_or(WIDTH - RIGHT, |(next, _)| across(*next));
            path += &format!("H{end:.1}");
            is_drawn = true;
        }
        path
    }

    /// Axes with ticks; `x` and `y` say what they are of.
    fn axes(&self, x: &str, y: &str) -> Markup {
        // Along it there are blocks or documents: nothing lies between two of them.
        let (x_ticks, x_decimals) = ticks(self.x, 1.0);
        let (y_ticks, y_decimals) = ticks(self.y, 0.0);
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        html! {
            g class="axes" {
                @for tick in y_ticks {
                    (level("tick", self.down(tick)))
                    text x=(px(LEFT - 8.0)) y=(px(self.down(tick) + 4.0)) text-anchor="end" {
                        (brief(tick, y_decimals))
                    }
                }
                @for tick in x_ticks {
                    @let said = decimals(Some(tick), x_decimals);
                    @let middle = self.across(tick).min(WIDTH - width(&said) / 2.0);
                    text x=(px(middle)) y=(px(floor + 18.0)) text-anchor="middle" { (said) }
                }
                text class="of" x=(px(right)) y=(px(HEIGHT - 4.0)) text-anchor="end" { (x) }
                text class="of" x=(px(4.0)) y=(px(14.0)) { (y) }
            }
        }
    }
}

/// A line across the whole plane.
fn level(class: &str, y: f64) -> Markup {
    let (right, y) = (px(WIDTH - RIGHT), px(y));
    html! { line class=(class) x1=(px(LEFT)) x2=(right) y1=(y) y2=(y) {} }
}

fn px(length: f64) -> String {
    format!("{length:.1}")
}

/// How wide a text is, about.
fn width(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

/// A number that has to fit beside a chart: one of many digits by its power of ten.
fn brief(number: f64, n_decimals: usize) -> String {
    let text = decimals(Some(number), n_decimals);
    if text.len() <= DIGITS_MAX || number.abs() < 1e6 {
        return text;
    }
    let mut powers = (1..=3).rev().map(|n| format!("{number:.n$e}"));
    powers.find(|power| power.len() <= DIGITS_MAX).unwrap_or(text)
}

/// Powers of ten that steps are made of, each as exact as it can be; the seventh is 1.
const UNITS: [f64; 20] = [
    1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
    1e12, 1e15, 1e18,
];

/// Round numbers within a range, at least so far apart, and how many decimals they need.
fn ticks((low, high): (f64, f64), least: f64) -> (Vec<f64>, usize) {
    let steps = UNITS.iter().enumerate().flat_map(|(at, unit)| {
        let n_decimals = 6usize.saturating_sub(at);
        [1.0, 2.0, 5.0].map(|factor| (unit * factor, n_decimals))
    });
    let is_fit = |step: f64| step >= least && (high - low) / step <= TICKS_MAX;
    let mut fitting = steps.filter(|(step, _)| is_fit(*step));
    let (step, n_decimals) = fitting.next().unwrap_or((high - low, 0));
    let first = (low / step).ceil();
    let all = (0..16u32).map(|at| (first + f64::from(at)) * step);
    (all.take_while(|tick| *tick <= high).collect(), n_decimals)
}

/// Where a chart is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// In a page, which has the style sheet.
    Page,
    /// As a file of its own, which brings colours and its name space.
    Alone,
}

/// The picture around what is drawn; `title` is read to those who do not see it.
fn picture(title: &str, setting: Setting, drawn: &Markup) -> Markup {
    framed(title, "img", setting, drawn)
}

/// The same of one that has parts to go to, which are lost in a mere image.
fn framed(title: &str, role: &str, setting: Setting, drawn: &Markup) -> Markup {
    let is_alone = setting == Setting::Alone;
    let alone = is_alone.then_some("http://www.w3.org/2000/svg");
    let size = format!("0 0 {WIDTH} {HEIGHT}");
    html! {
        svg class="chart" xmlns=[alone] viewBox=(size) role=(role) aria-label=(title) {
            title { (title) }
            @if is_alone {
                style { (maud::PreEscaped(ALONE)) }
                rect class="paper" width="100%" height="100%" {}
            }
            (drawn)
        }
    }
}

/// What a chart that stands alone looks like.
const ALONE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.paper{fill:#fff}\
.axes line{stroke:#ddd}.line{fill:none;stroke:#0b5cad;stroke-width:2}\
.point{fill:#0b5cad;opacity:.25}.threshold{fill:none;stroke:#b3261e;stroke-dasharray:5 4}\
.optimum{fill:none;stroke:#1b6e2c;stroke-dasharray:2 4}\
.crown{fill:#9a6700}.stem{stroke:#9a6700;opacity:.5}.spot{fill:transparent}\
.name{paint-order:stroke;stroke:#fff;stroke-width:3px}";

/// Points as they are drawn: what is no number is nowhere.
fn floats(points: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let there = points.iter().filter(|(_, value)| !value.is_nan());
    there.map(|(block, value)| (*block as f64, *value)).collect()
}

impl Losses {
    /// The chart.
    pub fn svg(&self, title: &str, setting: Setting) -> Markup {
        let (line, models) = (floats(&self.champion), floats(&self.models));
        let threshold = floats(&self.threshold);
        let held = line.iter().chain(&models).chain(&threshold).copied();
        let Some(measured) = Plane::around(held.clone()) else {
            return html! { p class="empty" { "No round has been measured yet." } };
        };
        let plane = Plane::around(held.chain(self.optimum_below(measured.y.1)));
        let plane = plane.unwrap_or(measured);
        let drawn = html! {
            (plane.axes("block", LOSS))
            @for (block, loss) in &models {
                circle class="point" r="2" cx=(px(plane.across(*block)))
                    cy=(px(plane.down(*loss))) {
                    title { "a model at block " (block) ": " (decimals(Some(*loss), 4)) }
                }
            }
            path class="threshold" d=(plane.path(&threshold)) {
                title { "what a challenger must get under" }
            }
            @if let Some((_, loss)) = self.threshold.last() {
                text class="of" x=(px(LEFT)) y=(px(HEIGHT - 4.0)) {
                    "dashed: to get under " (brief(*loss, 4))
                }
            }
            (self.optimum_line(&plane))
            path class="line" d=(plane.path(&line)) {}
            (spots(&plane, &line, |(block, loss)| {
                format!("champion at block {block}: {}", decimals(Some(loss), 4))
            }))
            (self.marks(&plane))
        };
        framed(title, "group", setting, &drawn)
    }

    /// Points of the optimum that the chart is made large enough for: nobody measures one, and what
    /// is above all losses is none.
    fn optimum_below(&self, most: f64) -> impl Iterator<Item = (f64, f64)> {
        let told = self.optimum.iter().filter_map(|(block, loss)| Some((*block as f64, (*loss)?)));
        told.filter(move |(_, loss)| (0.0..=most).contains(loss))
    }

    /// The optimum with its name at the right end, where nothing else stands: above the line, or
    /// below it where names of crowns are near.
    fn optimum_line(&self, plane: &Plane) -> Markup {
        let mut told = self.optimum.iter().rev().filter_map(|(_, loss)| *loss);
        let Some(last) = told.find(|loss| !loss.is_nan()) else { return html! {} };
        let down = plane.down(last);
        let height = if down < TOP + LINE { down + LINE } else { down - 4.0 };
        html! {
            path class="optimum" d=(plane.steps(&self.optimum)) {
                title { "what a model that knew the distribution of the text would lose" }
            }
            (label(height, &format!("optimum {}", brief(last, 4))))
        }
    }

    /// The crowns since the first block of the chart, each with its name where there is room.
    fn marks(&self, plane: &Plane) -> Markup {
        let mut ends = [f64::NEG_INFINITY; LANES];
        // Its row begins with what the chart has upwards.
        ends[LANES - 1] = LEFT + width(LOSS);
        let mut placed = Vec::new();
        for mark in self.crowns.iter().filter(|mark| plane.has(mark.block as f64, mark.loss)) {
            let (x, y) = (plane.across(mark.block as f64), plane.down(mark.loss));
            let half = width(&mark.name) / 2.0;
            let middle = x.clamp(LEFT + half, (WIDTH - RIGHT - half).max(LEFT + half));
            let lane = ends.iter().position(|end| *end < middle - half);
            if let Some(lane) = lane {
                ends[lane] = middle + half + LETTER;
            }
            let height = lane.map(|lane| TOP - 6.0 - LINE * lane as f64);
            placed.push((mark, (x, y), height.map(|height| (middle, height))));
        }
        html! {
            @for (mark, (x, y), name) in &placed {
                a href=(mark.href) {
                    @if let Some((middle, height)) = name {
                        line class="stem" x1=(px(*x)) x2=(px(*x)) y1=(px(*height + 3.0))
                            y2=(px(*y)) {}
                        text class="name" x=(px(*middle)) y=(px(*height)) text-anchor="middle" {
                            (mark.name)
                        }
                    }
                    circle class="crown" cx=(px(*x)) cy=(px(*y)) r="5" {
                        title {
                            (mark.name) " took the crown at block " (mark.block) " with "
                            (decimals(Some(mark.loss), 4))
                        }
                    }
                }
            }
        }
    }
}

/// Evidence of a duel after each document, as decimal logarithms, with what each must reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// For a new crown, and against one.
    pub steps: Vec<(f64, f64)>,
    /// What evidence for a crown must reach.
    pub crown: f64,
    /// What evidence against one must reach.
    pub reject: f64,
    /// Fewest documents of a crown.
    pub n_min: u32,
}

impl Evidence {
    /// The chart of both, document by document.
    pub fn svg(&self, title: &str) -> Markup {
        let along = |at: usize| (at + 1) as f64;
        // What is as good as lost need not be told apart.
        let floor = |value: f64| value.max(-4.0);
        let of = |pick: fn(&(f64, f64)) -> f64| -> Vec<(f64, f64)> {
            let all = self.steps.iter().enumerate();
            all.map(|(at, step)| (along(at), floor(pick(step)))).collect()
        };
        let (crown, reject) = (of(|step| step.0), of(|step| step.1));
        let bounds = [(1.0, self.crown), (1.0, self.reject), (f64::from(self.n_min), 0.0)];
        let Some(plane) = Plane::around(crown.iter().chain(&reject).copied().chain(bounds)) else {
            return html! { p class="empty" { "No document has been measured yet." } };
        };
        let least = plane.across(f64::from(self.n_min));
        let (above, below) = apart(plane.down(self.crown), plane.down(self.reject));
        let drawn = html! {
            (plane.axes("documents", "evidence, powers of ten"))
            (level("threshold", plane.down(self.crown)))
            (label(above, "a new crown"))
            (level("refusal", plane.down(self.reject)))
            (label(below, "rejected"))
            line class="stem" x1=(px(least)) x2=(px(least)) y1=(px(TOP)) y2=(px(HEIGHT - BOTTOM)) {
                title { "no crown before " (self.n_min) " documents" }
            }
            path class="line" d=(plane.path(&crown)) { title { "evidence for a new crown" } }
            path class="other" d=(plane.path(&reject)) { title { "evidence against one" } }
            (spots(&plane, &crown, |(n, value)| {
                format!("after {n} documents: 10^{}", decimals(Some(value), 2))
            }))
        };
        picture(title, Setting::Page, &drawn)
    }
}

/// Places of a line whose numbers are told where they are pointed at.
fn spots(plane: &Plane, line: &[(f64, f64)], said: impl Fn((f64, f64)) -> String) -> Markup {
    let every = line.len().div_ceil(SPOTS_MAX).max(1);
    html! {
        @for point in line.iter().rev().step_by(every) {
            circle class="spot" r="5" cx=(px(plane.across(point.0)))
                cy=(px(plane.down(point.1))) {
                title { (said(*point)) }
            }
        }
    }
}

/// Where the names of two levels stand: above their lines, or on either side where these are near.
fn apart(one: f64, other: f64) -> (f64, f64) {
    let (mut heights, is_near) = ((one - 4.0, other - 4.0), (one - other).abs() < LINE);
    if is_near {
        let lower = if one > other { &mut heights.0 } else { &mut heights.1 };
        *lower += LINE + 2.0;
    }
    heights
}

/// The name of a level, at the right end of it.
fn label(y: f64, name: &str) -> Markup {
    html! {
        text class="name" x=(px(WIDTH - RIGHT)) y=(px(y)) text-anchor="end" { (name) }
    }
}

/// A bar for each number, in order: above zero in one colour, below in another.
pub fn bars(title: &str, unit: &str, bars: &[(String, f64)]) -> Markup {
    let points = bars.iter().enumerate().map(|(at, (_, value))| (at as f64, *value));
    let all = points.clone().chain([(0.0, 0.0), (bars.len() as f64, 0.0)]);
    let Some(plane) = Plane::around(all).filter(|_| !bars.is_empty()) else {
        return html! { p class="empty" { "No document has been measured on both." } };
    };
    let width = ((WIDTH - LEFT - RIGHT) / bars.len() as f64 - 1.0).max(0.5);
    let zero = plane.down(0.0);
    let drawn = html! {
        (plane.axes("documents", unit))
        @for ((at, value), (name, _)) in points.zip(bars) {
            rect class=(if value >= 0.0 { "gain" } else { "harm" }) x=(px(plane.across(at)))
                y=(px(zero.min(plane.down(value)))) width=(px(width))
                height=(px((zero - plane.down(value)).abs().max(0.5))) {
                title { (name) ": " (decimals(Some(value), 4)) }
            }
        }
        line class="zero" x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(zero)) y2=(px(zero)) {}
    };
    picture(title, Setting::Page, &drawn)
}

/// A number over blocks, in their order: a line with a point at each.
pub fn over_blocks(title: &str, unit: &str, points: &[(u64, f64)]) -> Markup {
    let line = floats(points);
    let Some(plane) = Plane::around(line.iter().copied()) else {
        return html! { p class="empty" { "Nothing has been measured yet." } };
    };
    let drawn = html! {
        (plane.axes("block", unit))
        path class="line" d=(plane.path(&line)) {}
        @for (block, value) in &line {
            circle class="dot" r="2.5" cx=(px(plane.across(*block)))
                cy=(px(plane.down(*value))) {
                title { "block " (block) ": " (decimals(Some(*value), 4)) }
            }
        }
    };
    picture(title, Setting::Page, &drawn)
}

#[cfg(test)]
mod tests;
