//! Tables: one description, from which page, CSV and JSON are made, sorted and filtered by the
//! address alone.

use crate::ask::Ask;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// Rows of a page; CSV and JSON have all.
pub(crate) const ROWS_PER_PAGE: usize = 256;

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in CSV and JSON.
    pub key: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Unit of its numbers; empty where they have none, or are no numbers.
    pub unit: &'static str,
}

/// Shorthand for a column.
pub const fn column(key: &'static str, title: &'static str, unit: &'static str) -> Column {
    Column { key, title, unit }
}

/// One field of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The value, in full: what is sorted by, and what CSV and JSON have.
    pub value: Value,
    /// What people read.
    pub shown: String,
    /// Where it leads.
    pub href: Option<String>,
    /// Colour: one of those of the style sheet, or nothing.
    pub class: &'static str,
}

impl Cell {
    /// A text as it is.
    pub fn text(text: impl Into<String>) -> Self {
        let shown = text.into();
        Self { value: Value::String(shown.clone()), shown, href: None, class: "" }
    }

    /// A whole number.
    pub fn count(number: u64) -> Self {
        Self { value: number.into(), shown: number.to_string(), href: None, class: "number" }
    }

    /// A number as it is shown; nothing where there is none.
    pub fn number(number: Option<f64>, shown: impl Into<String>) -> Self {
        let value = number.filter(|number| number.is_finite()).map_or(Value::Null, Value::from);
        Self { value, shown: shown.into(), href: None, class: "number" }
    }

    /// The same that leads somewhere.
    pub fn to(self, href: impl Into<String>) -> Self {
        Self { href: Some(href.into()), ..self }
    }

    /// The same as it is shown.
    pub fn shown(self, shown: impl Into<String>) -> Self {
        Self { shown: shown.into(), ..self }
    }

    /// The same in a colour.
    pub fn class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

/// A table of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name in addresses and in JSON.
    pub name: &'static str,
    /// What it shows.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// What is said where it has none.
    pub empty: &'static str,
}

impl Table {
    /// A table without rows.
    pub fn new(name: &'static str, caption: impl Into<String>, columns: Vec<Column>) -> Self {
        let (caption, rows, empty) = (caption.into(), Vec::new(), "nothing yet");
        Self { name, caption, columns, rows, empty }
    }

    /// What the address says of sorting: column and whether downwards.
    fn order(&self, ask: &Ask) -> Option<(usize, bool)> {
        let sort = ask.get("sort")?;
        let (sort, is_down) = sort.strip_prefix('-').map_or((sort, false), |sort| (sort, true));
        let key = sort.strip_prefix(self.name)?.strip_prefix('.')?;
        let at = self.columns.iter().position(|column| column.key == key)?;
        Some((at, is_down))
    }

    /// Sorts and filters by the address.
    pub fn arrange(&mut self, ask: &Ask) {
        if let Some(wanted) = ask.get("q") {
            let wanted = wanted.to_lowercase();
            let has = |text: &str| text.to_lowercase().contains(&wanted);
            self.rows.retain(|row| {
                row.iter().any(|cell| has(&cell.shown) || cell.value.as_str().is_some_and(has))
            });
        }
        if let Some((at, is_down)) = self.order(ask) {
            self.rows.sort_by(|a, b| {
                let (a, b) = (a.get(at).map(|cell| &cell.value), b.get(at).map(|cell| &cell.value));
                compared(a, b, is_down)
            });
        }
    }

    /// The table in a page.
    pub fn html(&self, ask: &Ask) -> Markup {
        let n_pages = self.rows.len().div_ceil(ROWS_PER_PAGE).max(1);
        let page = usize::try_from(ask.page()).unwrap_or(1).min(n_pages);
        let rows = self.rows.iter().skip((page - 1) * ROWS_PER_PAGE).take(ROWS_PER_PAGE);
        html! {
            div class="table" id=(self.name) tabindex="0" role="region" aria-label=(self.caption) {
                table {
                    caption {
                        span { (self.caption) }
                        span class="forms" {
                            a href=(ask.as_form("csv", self.name)) { "CSV" }
                            a href=(ask.as_form("json", self.name)) { "JSON" }
                        }
                    }
                    thead { tr { @for (at, column) in self.columns.iter().enumerate() {
                        (self.heading(ask, at, column))
                    } } }
                    tbody {
                        @for row in rows { (line(row)) }
                        @if self.rows.is_empty() {
                            tr { td class="empty" colspan=(self.columns.len()) { (self.empty) } }
                        }
                    }
                }
            }
            @if n_pages > 1 {
                nav class="pages" aria-label={ "Pages of " (self.caption) } {
                    @if page > 1 { a href=(ask.with("page", &(page - 1).to_string())) { "← before" } }
                    span { "page " (page) " of " (n_pages) }
                    @if page < n_pages {
                        a href=(ask.with("page", &(page + 1).to_string())) { "after →" }
                    }
                }
            }
        }
    }

    fn heading(&self, ask: &Ask, at: usize, column: &Column) -> Markup {
        let order = self.order(ask).filter(|(sorted, _)| *sorted == at);
        let (state, arrow) = match order {
            Some((_, true)) => ("descending", " ▾"),
            Some((_, false)) => ("ascending", " ▴"),
            None => ("none", ""),
        };
        let sign = if matches!(order, Some((_, false))) { "-" } else { "" };
        let sort = format!("{sign}{}.{}", self.name, column.key);
        let sorted = format!("{}#{}", ask.with("sort", &sort), self.name);
        let first = self.rows.first().and_then(|row| row.get(at));
        // Above what it is the heading of.
        let class = first.filter(|cell| cell.class.starts_with("number")).map(|_| "number");
        html! {
            th scope="col" class=[class] aria-sort=(state) {
                a href=(sorted) rel="nofollow" { (column.title) (arrow) }
                @if !column.unit.is_empty() { span class="unit" { (column.unit) } }
            }
        }
    }

    /// The table as JSON: a list of objects.
    pub fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let fields = self.columns.iter().zip(row);
            let fields = fields.map(|(column, cell)| (column.key.to_owned(), cell.value.clone()));
            Value::Object(fields.collect::<Map<String, Value>>())
        };
        let units: Map<String, Value> = self
            .columns
            .iter()
            .filter(|column| !column.unit.is_empty())
            .map(|column| (column.key.to_owned(), Value::from(column.unit)))
            .collect();
        let rows: Vec<Value> = self.rows.iter().map(object).collect();
        json!({ "caption": self.caption, "units": units, "rows": rows })
    }

    /// The table as CSV (RFC 4180), with a line of headings.
    pub fn csv(&self) -> String {
        let heads: Vec<String> = self.columns.iter().map(|column| quoted(column.key)).collect();
        let mut out = heads.join(",") + "\r\n";
        for row in &self.rows {
            let fields: Vec<String> = row.iter().map(field).collect();
            out += &(fields.join(",") + "\r\n");
        }
        out
    }
}

fn line(row: &[Cell]) -> Markup {
    html! {
        tr { @for cell in row {
            td class=(cell.class) {
                @match &cell.href {
                    Some(href) => { a href=(href) { (cell.shown) } }
                    None => { (cell.shown) }
                }
            }
        } }
    }
}

/// What a text begins with that programs take for a formula, and what some of them pass over
/// before they look.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// A value as a field of CSV; no program takes a text of a stranger for a formula.
fn field(cell: &Cell) -> String {
    match &cell.value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(FORMULA) => quoted(&format!("'{text}")),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Values in order, those that are missing last in either direction.
fn compared(a: Option<&Value>, b: Option<&Value>, is_down: bool) -> Ordering {
    let is_there = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    match (is_there(a), is_there(b)) {
        (false, false) => return Ordering::Equal,
        (false, true) => return Ordering::Greater,
        (true, false) => return Ordering::Less,
        (true, true) => {}
    }
    let numbers = a.and_then(Value::as_f64).zip(b.and_then(Value::as_f64));
    let order = match numbers {
        Some((a, b)) => a.total_cmp(&b),
        None => a.and_then(Value::as_str).cmp(&b.and_then(Value::as_str)),
    };
    if is_down { order.reverse() } else { order }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = vec![column("name", "Name", ""), column("loss", "Loss", "nats")];
        let mut table = Table::new("board", "Models", columns);
        for (name, loss) in [("b", Some(2.0)), ("=a\"", Some(1.5)), ("c", None)] {
            table.rows.push(vec![Cell::text(name), Cell::number(loss, "x")]);
        }
        table
    }

    fn names(query: &str) -> Vec<String> {
        let mut table = table();
        table.arrange(&Ask::read("/", query, "").unwrap());
        table.rows.into_iter().map(|row| row[0].shown.clone()).collect()
    }

    #[test]
    fn a_table_is_sorted_and_filtered_by_the_address() {
        assert_eq!(names(""), ["b", "=a\"", "c"]);
        assert_eq!(names("sort=board.loss"), ["=a\"", "b", "c"]);
        assert_eq!(names("sort=-board.loss"), ["b", "=a\"", "c"], "what is missing is last");
        assert_eq!(names("sort=board.name"), ["=a\"", "b", "c"]);
        assert_eq!(names("q=B"), ["b"]);
        assert_eq!(names("sort=other.loss"), ["b", "=a\"", "c"]);
    }

    #[test]
    fn attack_a_text_is_no_formula_and_no_tag() {
        let table = table();
        assert!(table.csv().contains("\"'=a\"\"\",1.5\r\n"), "{}", table.csv());
        let ask = Ask::read("/", "q=<b>", "").unwrap();
        let html = table.html(&ask).into_string();
        assert!(html.contains("=a&quot;") && !html.contains("<b>"), "{html}");
        assert_eq!(table.json()["rows"][1]["loss"], 1.5);
    }
}
