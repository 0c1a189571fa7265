//! Charts as SVG: axes with units, legible labels, light and dark by the reader's choice.

use std::fmt::Write as _;

/// Colours of curves: told apart by readers who see no red or green, on light and dark ground.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8f7a00", "#56b4e9", "#7a5195", "#888888"];
const STYLE: &str = "text{font:13px sans-serif;fill:#222}.t{font-size:16px;font-weight:600}\
.a{stroke:#666;stroke-width:1}.g{stroke:#ddd;stroke-width:1}.b{fill:#0072b2}\
.w{stroke:#222;stroke-width:1.5}.c{fill:none;stroke-width:2}.p{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#eee}.a{stroke:#aaa}.g{stroke:#444}.p{fill:#16181c}\
.w{stroke:#eee}.b{fill:#56b4e9}}";
const WIDTH: f64 = 860.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 48.0;
const RIGHT: f64 = 24.0;
const CURVES_HEIGHT: f64 = 340.0;
const BAR_HEIGHT: f64 = 20.0;
const LEGEND_HEIGHT: f64 = 20.0;
/// Greater numbers are left out of an axis: steps between them could not be told apart.
const NUMBER_MAX: f64 = 1e12;
/// Most steps of an axis.
const N_STEPS: f64 = 6.0;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Curves over a common axis.
    Curves {
        /// What it shows.
        title: String,
        /// What goes to the right, with its unit.
        x: String,
        /// What goes up, with its unit.
        y: String,
        /// The curves.
        curves: Vec<Curve>,
    },
    /// Bars from zero, one below the other.
    Bars {
        /// What it shows.
        title: String,
        /// What goes to the right, with its unit.
        x: String,
        /// The bars.
        bars: Vec<Bar>,
    },
}

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What stands before it.
    pub name: String,
    /// How long it is.
    pub value: f64,
    /// Half of the width of the interval around its end.
    pub half_width: f64,
}

/// An axis: a range of numbers on a range of the page.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis over all numbers up to [`NUMBER_MAX`], with round steps.
    fn new(numbers: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in numbers.filter(|number| number.abs() <= NUMBER_MAX) {
            (low, high) = (low.min(number), high.max(number));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 {
            (low, high) = (low - 0.5, high + 0.5);
        }
        let step = round_step((high - low) / N_STEPS);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { low, high, step, from, to }
    }

    fn at(&self, number: f64) -> f64 {
        let number = number.clamp(self.low, self.high);
        self.from + (number - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Numbers at the steps, each as it is written.
    fn ticks(&self) -> Vec<(f64, String)> {
        let n = ((self.high - self.low) / self.step).round() as u32;
        let digits = digits(self.step);
        let tick = |i: u32| {
            let number = self.low + f64::from(i) * self.step;
            // No minus before a zero.
            let number = if number.abs() < self.step / 2.0 { 0.0 } else { number };
            (number, format!("{number:.digits$}"))
        };
        (0..=n).map(tick).collect()
    }
}

/// The smallest of 1, 2, 5, 10, … and their tenths that is not below a number.
fn round_step(least: f64) -> f64 {
    let mut unit = 1.0;
    while unit > least {
        unit /= 10.0;
    }
    while unit * 10.0 <= least {
        unit *= 10.0;
    }
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * unit)
}

/// Digits behind the point that tell numbers a step apart.
fn digits(step: f64) -> usize {
    let mut step = step;
    (0..9)
        .find(|_| {
            let is_whole = step >= 0.999;
            step *= 10.0;
            is_whole
        })
        .unwrap_or(9)
}

/// Text as it may stand in an SVG: no XML holds control characters.
fn escaped(text: &str) -> String {
    let plain = |c: char| {
        let is_plain = !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
        if is_plain { c } else { char::REPLACEMENT_CHARACTER }
    };
    let text: String = text.chars().map(plain).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    /// The chart as a file.
    pub fn to_svg(&self) -> String {
        match self {
            Self::Curves { title, x, y, curves } => curves_svg(title, (x, y), curves),
            Self::Bars { title, x, bars } => bars_svg(title, x, bars),
        }
    }
}

/// A page with its head.
fn page(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
         <title>{title}</title><style>{STYLE}</style>\
         <rect class=\"p\" width=\"{WIDTH}\" height=\"{height}\"/>\
         <text class=\"t\" x=\"16\" y=\"26\">{title}</text>\n"
    )
}

fn line(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// The axis at the bottom, with lines up to the top.
fn bottom_axis(svg: &mut String, axis: &Axis, bottom: f64, label: &str) {
    for (number, written) in axis.ticks() {
        let x = axis.at(number);
        line(svg, "g", (x, TOP), (x, bottom));
        text(svg, (x, bottom + 18.0), "middle", &written);
    }
    line(svg, "a", (axis.from, bottom), (axis.to, bottom));
    text(svg, (f64::midpoint(axis.from, axis.to), bottom + 38.0), "middle", label);
}

fn curves_svg(title: &str, (x_label, y_label): (&str, &str), curves: &[Curve]) -> String {
    const LEFT: f64 = 72.0;
    let bottom = TOP + CURVES_HEIGHT;
    let height = bottom + BOTTOM + LEGEND_HEIGHT * curves.len() as f64;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let x = Axis::new(points().map(|point| point.0), (LEFT, WIDTH - RIGHT));
    let y = Axis::new(points().map(|point| point.1), (bottom, TOP));
    let mut svg = page(title, height);
    bottom_axis(&mut svg, &x, bottom, x_label);
    for (number, written) in y.ticks() {
        line(&mut svg, "g", (LEFT, y.at(number)), (WIDTH - RIGHT, y.at(number)));
        text(&mut svg, (LEFT - 8.0, y.at(number) + 4.0), "end", &written);
    }
    line(&mut svg, "a", (LEFT, TOP), (LEFT, bottom));
    text(&mut svg, (WIDTH - RIGHT, TOP - 10.0), "end", y_label);
    for (place, curve) in curves.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let written = curve.points.iter().filter(|(a, b)| a.is_finite() && b.is_finite());
        let written: Vec<String> =
            written.map(|(a, b)| format!("{:.1},{:.1}", x.at(*a), y.at(*b))).collect();
        let points = written.join(" ");
        let _ =
            writeln!(svg, "<polyline class=\"c\" style=\"stroke:{colour}\" points=\"{points}\"/>");
        let below = bottom + BOTTOM + LEGEND_HEIGHT * place as f64;
        let (a, b) = ((LEFT, below - 4.0), (LEFT + 24.0, below - 4.0));
        let _ = writeln!(
            svg,
            "<polyline class=\"c\" style=\"stroke:{colour}\" points=\"{:.1},{:.1} {:.1},{:.1}\"/>",
            a.0, a.1, b.0, b.1
        );
        text(&mut svg, (LEFT + 32.0, below), "start", &curve.name);
    }
    svg + "</svg>\n"
}

fn bars_svg(title: &str, label: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 240.0;
    let bottom = TOP + BAR_HEIGHT * bars.len().max(1) as f64;
    let ends = |bar: &Bar| [bar.value - bar.half_width, bar.value + bar.half_width];
    let numbers = bars.iter().flat_map(ends).chain([0.0]);
    let axis = Axis::new(numbers, (LEFT, WIDTH - RIGHT));
    let mut svg = page(title, bottom + BOTTOM);
    bottom_axis(&mut svg, &axis, bottom, label);
    let zero = axis.at(0.0);
    for (place, bar) in bars.iter().enumerate() {
        let y = TOP + BAR_HEIGHT * place as f64;
        let middle = y + BAR_HEIGHT / 2.0;
        text(&mut svg, (LEFT - 8.0, middle + 4.0), "end", &bar.name);
        if !(bar.value.is_finite() && bar.half_width.is_finite()) {
            continue;
        }
        let end = axis.at(bar.value);
        let (from, width) = (zero.min(end), (end - zero).abs());
        let thick = BAR_HEIGHT - 6.0;
        let _ = writeln!(
            svg,
            "<rect class=\"b\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
             height=\"{thick:.1}\"/>",
            y + 3.0
        );
        let [low, high] = ends(bar).map(|end| axis.at(end));
        line(&mut svg, "w", (low, middle), (high, middle));
    }
    line(&mut svg, "a", (zero, TOP), (zero, bottom));
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests;
