//! Numbers in the text format that Prometheus reads, version 0.0.4.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What an answer in this format is called in HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Most series of one registry: labels come from lists of ours, and should one not, memory is
/// bounded all the same.
const SERIES_MAX: usize = 1_000;

/// Upper bounds of the buckets of histograms, in seconds: a look at a repo takes milliseconds, a
/// measurement of a large model hours.
const BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.2, 1.0, 5.0, 20.0, 60.0, 300.0, 1_200.0, 3_600.0, 14_400.0, 43_200.0];

/// What the numbers of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Is what it is now.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// The series of one name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    name: &'static str,
    kind: Kind,
    /// Name of the one label by which its series differ; empty where there is one series.
    label: &'static str,
    help: &'static str,
}

impl Family {
    /// A family of one series.
    pub const fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, kind, label: "", help }
    }

    /// The same with one series for each value of a label.
    pub const fn by(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// Labels in braces; those that are empty are left out, as an absent label is an empty one.
    fn labels(&self, value: &str, bound: Option<f64>) -> String {
        let mut labels = Vec::new();
        if !self.label.is_empty() && !value.is_empty() {
            labels.push(format!("{}=\"{}\"", self.label, escaped(value)));
        }
        labels.extend(bound.map(|bound| format!("le=\"{}\"", number(bound))));
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
    }

    fn write(&self, value: &str, sample: &Sample, text: &mut String) {
        let name = self.name;
        let labels = self.labels(value, None);
        if self.kind != Kind::Histogram {
            text.push_str(&format!("{name}{labels} {}\n", number(sample.sum)));
            return;
        }
        let full = (f64::INFINITY, sample.n);
        for (bound, n) in BUCKETS.into_iter().zip(sample.buckets).chain([full]) {
            text.push_str(&format!("{name}_bucket{} {n}\n", self.labels(value, Some(bound))));
        }
        text.push_str(&format!("{name}_sum{labels} {}\n", number(sample.sum)));
        text.push_str(&format!("{name}_count{labels} {}\n", sample.n));
    }
}

/// One series.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// The value, or the sum of what was observed.
    sum: f64,
    n: u64,
    /// How many observations were at most each bound.
    buckets: [u64; BUCKETS.len()],
}

/// Families with their series, for many threads to count in.
#[derive(Debug)]
pub struct Registry {
    families: Vec<Family>,
    /// By name of the family and value of its label.
    series: Mutex<BTreeMap<(&'static str, String), Sample>>,
}

impl Registry {
    /// Counters and histograms without a label begin at zero; all other series are there from the
    /// first change on.
    pub fn new(families: Vec<Family>) -> Self {
        let registry = Self { families, series: Mutex::default() };
        for family in &registry.families {
            if family.label.is_empty() && family.kind != Kind::Gauge {
                registry.change(family, "", |_| {});
            }
        }
        registry
    }

    /// Adds to a counter.
    pub fn add(&self, family: &Family, label: &str, n: f64) {
        self.change(family, label, |sample| sample.sum += n);
    }

    /// Sets a gauge.
    pub fn set(&self, family: &Family, label: &str, value: f64) {
        self.change(family, label, |sample| sample.sum = value);
    }

    /// Takes one observation into a histogram.
    pub fn observe(&self, family: &Family, label: &str, value: f64) {
        self.change(family, label, |sample| {
            sample.sum += value;
            sample.n += 1;
            for (n, bound) in sample.buckets.iter_mut().zip(BUCKETS) {
                *n += u64::from(value <= bound);
            }
        });
    }

    /// Takes a series away: what it told is no longer so.
    pub fn forget(&self, family: &Family, label: &str) {
        self.lock().remove(&(family.name, label.to_owned()));
    }

    /// All of it, in the order of the families.
    pub fn render(&self) -> String {
        let series = self.lock();
        let mut text = String::new();
        for family in &self.families {
            let own = series.range((family.name, String::new())..);
            let mut own = own.take_while(|((name, _), _)| *name == family.name).peekable();
            if own.peek().is_none() {
                continue;
            }
            let Family { name, help, kind, .. } = family;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for ((_, value), sample) in own {
                family.write(value, sample, &mut text);
            }
        }
        text
    }

    fn change(&self, family: &Family, label: &str, change: impl FnOnce(&mut Sample)) {
        let key = (family.name, label.to_owned());
        let mut series = self.lock();
        if series.len() < SERIES_MAX || series.contains_key(&key) {
            change(series.entry(key).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Sample>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number as the format has it.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // `NaN` is written so by Rust as well.
    value.to_string()
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};
    use std::collections::BTreeSet;

    const CALLS: Family = Family::new(Kind::Counter, "calls_total", "Calls.").by("of");
    const HEIGHT: Family = Family::new(Kind::Gauge, "height", "Height.");
    const TOOK: Family = Family::new(Kind::Histogram, "took_seconds", "Time.").by("stage");
    const SUM: Family = Family::new(Kind::Counter, "sum_total", "Sum.");

    #[test]
    fn the_text_is_what_the_format_says() {
        let registry = Registry::new(vec![CALLS, HEIGHT, SUM]);
        assert_eq!(
            registry.render(),
            "# HELP sum_total Sum.\n# TYPE sum_total counter\nsum_total 0\n",
            "a counter begins at zero, so that its first increase is seen"
        );
        registry.add(&CALLS, "a \"b\"\\\nc", 2.0);
        registry.add(&CALLS, "", 1.5);
        registry.set(&HEIGHT, "", f64::INFINITY);
        let expected = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total 1.5\n\
                        calls_total{of=\"a \\\"b\\\"\\\\\\nc\"} 2\n\
                        # HELP height Height.\n# TYPE height gauge\nheight +Inf\n\
                        # HELP sum_total Sum.\n# TYPE sum_total counter\nsum_total 0\n";
        assert_eq!(registry.render(), expected);
        registry.forget(&HEIGHT, "");
        assert!(!registry.render().contains("height"));
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(1e21), "1000000000000000000000");
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_the_count() {
        let registry = Registry::new(vec![TOOK]);
        for seconds in [0.2, 0.3, 1e6] {
            registry.observe(&TOOK, "look", seconds);
        }
        let text = registry.render();
        for line in [
            "took_seconds_bucket{stage=\"look\",le=\"0.05\"} 0",
            "took_seconds_bucket{stage=\"look\",le=\"0.2\"} 1",
            "took_seconds_bucket{stage=\"look\",le=\"1\"} 2",
            "took_seconds_bucket{stage=\"look\",le=\"43200\"} 2",
            "took_seconds_bucket{stage=\"look\",le=\"+Inf\"} 3",
            "took_seconds_sum{stage=\"look\"} 1000000.5",
            "took_seconds_count{stage=\"look\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn attack_labels_without_end_do_not_fill_memory() {
        let registry = Registry::new(vec![CALLS, SUM]);
        for n in 0..SERIES_MAX * 2 {
            registry.add(&CALLS, &format!("{n}"), 1.0);
        }
        registry.add(&CALLS, "0", 1.0);
        registry.add(&SUM, "", 1.0);
        let text = registry.render();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), SERIES_MAX);
        assert!(text.contains("calls_total{of=\"0\"} 2\n") && text.contains("\nsum_total 1\n"));
    }

    /// The value of a label as a reader of the format takes it.
    fn unescaped(label: &str) -> String {
        let mut letters = label.chars();
        let mut text = String::new();
        while let Some(letter) = letters.next() {
            assert!(letter != '"', "an open quote in {label}");
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            match letters.next() {
                Some('n') => text.push('\n'),
                Some(escaped @ ('\\' | '"')) => text.push(escaped),
                other => panic!("{other:?} behind a backslash in {label}"),
            }
        }
        text
    }

    #[test]
    fn attack_a_label_opens_no_line_and_reads_back_as_it_was() {
        let letters = ['a', '"', '\\', '\n', '{', '}', ' ', ',', '=', '#', 'é', '\u{202e}', '\r'];
        let registry = Registry::new(vec![CALLS, SUM]);
        let mut labels = BTreeSet::new();
        for seed in 0..300 {
            let mut random = Seed::of_number(seed).stream();
            let mut below = |bound: usize| uniform_below(&mut random, bound as u64) as usize;
            let n_letters = 1 + below(7);
            let label: String = (0..n_letters).map(|_| letters[below(letters.len())]).collect();
            registry.add(&CALLS, &label, 1.0);
            labels.insert(label);
        }
        let text = registry.render();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 2 + labels.len() + 3 + 1, "{text}");
        let found = lines.iter().filter_map(|line| line.strip_prefix("calls_total{of=\""));
        let found = found.map(|line| unescaped(line.rsplit_once("\"} ").unwrap().0));
        assert_eq!(found.collect::<BTreeSet<String>>(), labels);
    }

    #[test]
    fn families_whose_names_begin_alike_keep_their_series_apart() {
        const LONGER: Family = Family::new(Kind::Gauge, "height_of_all", "Heights.").by("of");
        let registry = Registry::new(vec![LONGER, HEIGHT]);
        registry.set(&LONGER, "a", 1.0);
        registry.set(&LONGER, "b", 2.0);
        registry.set(&HEIGHT, "", 3.0);
        registry.forget(&LONGER, "a");
        registry.forget(&LONGER, "never there");
        let expected = "# HELP height_of_all Heights.\n# TYPE height_of_all gauge\n\
                        height_of_all{of=\"b\"} 2\n\
                        # HELP height Height.\n# TYPE height gauge\nheight 3\n";
        assert_eq!(registry.render(), expected);
        registry.forget(&LONGER, "b");
        assert!(
            !registry.render().contains("height_of_all"),
            "a family without series is not told"
        );
    }
}
