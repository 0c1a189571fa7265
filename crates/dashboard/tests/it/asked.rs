//! Addresses as strangers write them.

use dashboard::ask::{Ask, Form, encoded};
use protocol::{AccountId, Block};

/// Texts that mean something somewhere in an address.
const ODD: [&str; 14] = [
    "a b",
    "a+b",
    "100%",
    "%2F",
    "x/y",
    "x?y#z",
    "a=b&c=d",
    ";,'\"",
    "<script>",
    "\u{0}\u{1}\n\r\t",
    "\u{202e}evil\u{2066}",
    "日本語",
    "..",
    "é\u{301}👩‍👧",
];

fn read(address: &str) -> Ask {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    Ask::read(path, query, "").unwrap_or_else(|| panic!("{address} cannot be read"))
}

#[test]
fn whatever_a_link_says_is_read_as_it_was_meant() {
    for odd in ODD {
        let address = format!("/c/{}/round/7", encoded(odd));
        let ask = read(&format!("{address}?validator={}&block=12", encoded(odd)));
        assert_eq!(ask.path, ["c", odd, "round", "7"]);
        assert_eq!(ask.own(), address, "a page knows its own address");
        let link = ask.with("q", odd);
        assert!(link.is_ascii() && !link.contains([' ', '"', '<', '\'']), "{link}");
        let followed = read(&link);
        assert_eq!((followed.get("q"), followed.get("validator")), (Some(odd), Some(odd)));
        assert_eq!((&followed.path, followed.block()), (&ask.path, Some(Block(12))));
        let other = read(&ask.to(&["model", odd]));
        assert_eq!(other.path, ["model", odd]);
        assert_eq!((other.get("validator"), other.get("q")), (Some(odd), None));
        let file = read(&followed.as_form("csv", odd));
        assert_eq!((&file.path, file.form), (&ask.path, Form::Csv));
        assert_eq!((file.get("table"), file.get("q")), (Some(odd), Some(odd)));
        let named = read(&ask.with(odd, "value"));
        assert_eq!(named.get(odd), Some("value"), "a name is a text as well");
    }
}

#[test]
fn of_what_is_said_twice_the_last_counts_and_what_says_nothing_does_not() {
    let ask = read("/?q=one&q=two&block=5&block=6");
    assert_eq!((ask.get("q"), ask.block()), (Some("two"), Some(Block(6))));
    assert_eq!(ask.with("q", "three"), "/?block=6&q=three", "nor is it said twice in a link");
    let ask = read("/?q=&sort&block=&page=&=x");
    assert_eq!((ask.get("q"), ask.get("sort"), ask.block(), ask.page()), (None, None, None, 1));
    assert_eq!(ask.with("q", "x"), "/?=x&q=x");
    assert_eq!(read("/?q=a=b=c").get("q"), Some("a=b=c"));
    assert_eq!(read("/?&&q=a&&").get("q"), Some("a"));
    assert_eq!(read("/?Q=a").get("q"), None, "names have one spelling");
}

#[test]
fn a_block_is_one_or_the_newest() {
    for (said, wanted) in [
        ("0", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("-1", None),
        ("1e3", None),
        ("0x10", None),
        ("12.5", None),
        ("１２", None),
        ("12 ", None),
        ("NaN", None),
    ] {
        let ask = read(&format!("/?block={}", encoded(said)));
        assert_eq!(ask.block(), wanted.map(Block), "{said}");
        assert_eq!(ask.until(), Block(wanted.unwrap_or(u64::MAX)), "{said}");
    }
}

#[test]
fn a_page_number_is_within_bounds_whatever_is_said() {
    for (said, wanted) in [
        ("0", 1),
        ("1", 1),
        ("7", 7),
        ("1000000", 1_000_000),
        ("1000001", 1_000_000),
        ("18446744073709551615", 1_000_000),
        ("99999999999999999999999", 1),
        ("-3", 1),
        ("two", 1),
    ] {
        assert_eq!(read(&format!("/?page={said}")).page(), wanted, "{said}");
    }
}

#[test]
fn a_validator_is_a_key_or_nobody() {
    let key = AccountId([7; 32]);
    assert_eq!(read(&format!("/?validator={key}")).validator(), Some(key));
    let text = key.to_string();
    let (cut, small) = (&text[..text.len() - 1], text.to_lowercase());
    for wrong in [cut, "5Grwva", "0x00", "%00", small.as_str()] {
        let ask = read(&format!("/?validator={}", encoded(wrong)));
        assert_eq!(ask.validator(), None, "{wrong}");
    }
}

#[test]
fn the_ending_and_the_name_of_the_api_say_the_form_before_the_client_does() {
    for (path, accept, form, parts) in [
        ("/c/tiny", "", Form::Html, "c/tiny"),
        ("/c/tiny", "application/json", Form::Json, "c/tiny"),
        ("/c/tiny.csv", "application/json", Form::Csv, "c/tiny"),
        ("/api/v1/c/tiny", "", Form::Json, "c/tiny"),
        ("/api/v1/c/tiny.csv", "", Form::Csv, "c/tiny"),
        ("/api/v2/c/tiny", "", Form::Html, "api/v2/c/tiny"),
        ("/api/v1", "", Form::Json, ""),
        ("/overview.csv", "", Form::Csv, ""),
        ("/index", "", Form::Html, ""),
        ("//c///tiny/", "", Form::Html, "c/tiny"),
        ("/a.json.csv", "", Form::Csv, "a.json"),
        ("/a.JSON", "", Form::Html, "a.JSON"),
        ("/a.json/b", "", Form::Html, "a.json/b"),
        ("/c/tiny%2Ejson", "", Form::Json, "c/tiny"),
    ] {
        let ask = Ask::read(path, "", accept).unwrap();
        assert_eq!((ask.form, ask.path.join("/").as_str()), (form, parts), "{path}");
    }
}

#[test]
fn attack_what_is_no_text_is_no_address() {
    for path in
        ["/%", "/%a", "/%zz", "/%c3%28", "/%ed%a0%80", "/%f8%88%80%80%80", "/%+5", "/%c0%af"]
    {
        assert_eq!(Ask::read(path, "", ""), None, "{path}");
        let query = format!("q={}", &path[1..]);
        assert_eq!(Ask::read("/", &query, ""), None, "{query}");
        let name = format!("{}=x", &path[1..]);
        assert_eq!(Ask::read("/", &name, ""), None, "{name}");
    }
    assert_eq!(read("/%E2%82%AC").path, ["€"]);
    assert_eq!(read("/%e2%82%ac").path, ["€"], "in small letters as well");
}

#[test]
fn attack_an_address_has_an_end() {
    let fits = "q".repeat(2_047);
    assert!(Ask::read("/", &fits, "").is_some());
    assert!(Ask::read("/", &format!("{fits}q"), "").is_none());
    assert!(Ask::read(&format!("/{fits}"), "q", "").is_none(), "both together");
    let many: Vec<String> = (0..100).map(|n| format!("n{n}={n}")).collect();
    let ask = read(&format!("/?{}", many.join("&")));
    let kept = ask.others(&[]).count();
    assert_eq!((kept, ask.get("n0"), ask.get("n99")), (32, Some("0"), None));
}

#[test]
fn a_form_carries_on_what_it_does_not_ask_for() {
    let ask = read("/c/tiny?validator=x&q=y&block=3&page=2&sort=-board.loss");
    let others: Vec<(&str, &str)> = ask.others(&["block", "q", "page"]).collect();
    assert_eq!(others, [("sort", "-board.loss"), ("validator", "x")]);
    assert_eq!(ask.to(&["network"]), "/network?block=3&validator=x");
    assert_eq!(ask.to(&[]), "/?block=3&validator=x");
    assert_eq!(ask.as_form("json", ""), "/c/tiny.json?block=3&q=y&sort=-board.loss&validator=x");
}
