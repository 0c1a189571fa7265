//! What somebody asks for: a path, what the address adds to it, and in which form.

use protocol::{AccountId, Block};
use std::collections::BTreeMap;

/// Most bytes of an address.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Most things that an address adds to its path.
const PAIRS_MAX: usize = 32;

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page.
    Html,
    /// All tables of a page.
    Json,
    /// One table of a page.
    Csv,
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Parts of the path, without the ending that names the form.
    pub path: Vec<String>,
    /// In which form.
    pub form: Form,
    pairs: BTreeMap<String, String>,
}

impl Ask {
    /// Reads an address; `None` if it is none of ours. `accept` is what the client would have.
    pub fn read(path: &str, query: &str, accept: &str) -> Option<Self> {
        if path.len() + query.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let parts = path.split('/').filter(|part| !part.is_empty()).map(decoded);
        let mut path = parts.collect::<Option<Vec<String>>>()?;
        let mut form = if accept.contains("application/json") { Form::Json } else { Form::Html };
        if path.starts_with(&["api".to_owned(), "v1".to_owned()]) {
            path.drain(..2);
            form = Form::Json;
        }
        if let Some(last) = path.last_mut() {
            for (ending, other) in [(".json", Form::Json), (".csv", Form::Csv)] {
                if let Some(name) = last.strip_suffix(ending) {
                    (*last, form) = (name.to_owned(), other);
                    break;
                }
            }
        }
        if path == ["index"] || path == ["overview"] {
            path.clear();
        }
        let mut pairs = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(&value.replace('+', " "))?;
            if !value.is_empty() {
                pairs.insert(decoded(name)?, value);
            }
        }
        Some(Self { path, form, pairs })
    }

    /// What the address says of something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    /// The block that pages are wanted of, if it is not the newest.
    pub fn block(&self) -> Option<Block> {
        self.get("block")?.parse().ok().map(Block)
    }

    /// The block until which records count.
    pub fn until(&self) -> Block {
        self.block().unwrap_or(Block(u64::MAX))
    }

    /// The validator by whose records pages are wanted.
    pub fn validator(&self) -> Option<AccountId> {
        self.get("validator")?.parse().ok()
    }

    /// Which page of a long table, from 1 on.
    pub fn page(&self) -> u64 {
        self.get("page").and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, 1_000_000)
    }

    /// Everything that the address adds, but for some names: for the hidden fields of a form.
    pub fn others<'a>(&'a self, but: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(name, _)| !but.contains(name))
    }

    /// The path of this page as an address.
    pub fn own(&self) -> String {
        let parts: Vec<String> = self.path.iter().map(|part| encoded(part)).collect();
        format!("/{}", parts.join("/"))
    }

    /// This page with one thing said otherwise; what is sorted anew begins with the first page.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut pairs = self.pairs.clone();
        pairs.remove("page");
        pairs.insert(name.to_owned(), value.to_owned());
        address(&self.own(), &pairs)
    }

    /// This page in another form, which has the rows of all pages of its tables.
    pub fn as_form(&self, ending: &str, table: &str) -> String {
        let mut pairs = self.pairs.clone();
        pairs.remove("page");
        if !table.is_empty() {
            pairs.insert("table".to_owned(), table.to_owned());
        }
        let own = if self.path.is_empty() { "/overview".to_owned() } else { self.own() };
        address(&format!("{own}.{ending}"), &pairs)
    }

    /// Another page at the same block, by the same validator.
    pub fn to(&self, parts: &[&str]) -> String {
        let parts: Vec<String> = parts.iter().map(|part| encoded(part)).collect();
        let kept = ["block", "validator"]
            .iter()
            .filter_map(|name| self.get(name).map(|value| ((*name).to_owned(), value.to_owned())));
        address(&format!("/{}", parts.join("/")), &kept.collect())
    }
}

fn address(path: &str, pairs: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// A text as a part of an address.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// What a part of an address means; `None` if it is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (rest.next()?, rest.next()?);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_in_which_form_and_as_of_when() {
        let ask = Ask::read("/c/tiny.csv", "block=120&sort=-board.loss&q=a+b%26", "").unwrap();
        assert_eq!(
            (ask.path.as_slice(), ask.form),
            (&["c".to_owned(), "tiny".to_owned()][..], Form::Csv)
        );
        assert_eq!((ask.until(), ask.get("q")), (Block(120), Some("a b&")));
        assert_eq!(ask.with("q", "x y"), "/c/tiny?block=120&q=x%20y&sort=-board.loss");
        assert_eq!(ask.to(&["model", "ab"]), "/model/ab?block=120");
        let third = Ask::read("/c/tiny/rounds", "page=3", "").unwrap();
        assert_eq!(third.with("sort", "records.loss"), "/c/tiny/rounds?sort=records.loss");
        assert_eq!(third.with("page", "4"), "/c/tiny/rounds?page=4");
        assert_eq!(third.as_form("csv", ""), "/c/tiny/rounds.csv");
        let api = Ask::read("/api/v1/overview", "", "text/html").unwrap();
        assert!(api.path.is_empty() && api.form == Form::Json);
        assert_eq!(api.as_form("json", ""), "/overview.json");
        assert_eq!(Ask::read("/", "", "application/json").unwrap().form, Form::Json);
    }

    #[test]
    fn attack_addresses_that_are_no_text_or_too_long_are_none() {
        assert_eq!(Ask::read("/%ff", "", ""), None);
        assert_eq!(Ask::read("/%f", "", ""), None);
        assert_eq!(Ask::read(&"/a".repeat(2_000), "", ""), None);
        let many = "x=1&".repeat(500);
        assert_eq!(Ask::read("/", &many, "").unwrap().get("x"), Some("1"));
        assert_eq!(encoded("<a b>/\"é"), "%3Ca%20b%3E%2F%22%C3%A9");
    }
}
