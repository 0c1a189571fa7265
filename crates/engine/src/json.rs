//! A strict reader of JSON written by strangers: no key twice at any depth, everything bounded.
//!
//! Usual parsers keep the last of two equal keys, so that two readers of one file can see two
//! different models. Here that is a fault, and so are trailing bytes, unpaired surrogates and
//! numbers outside the grammar.

use std::{collections::BTreeMap, fmt, ops::Range};

/// Most members of one object and most elements of one array.
const MEMBERS_MAX: usize = 20_100;
/// Most values in one document that is read into a [`Value`].
const VALUES_MAX: usize = 16_384;
/// Deepest nesting of a [`Value`].
const DEPTH_MAX: usize = 16;

/// Where a document stops being acceptable, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    at: usize,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.at)
    }
}

/// A JSON value; a number keeps its spelling, because 3 and 3.0 are different to a config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// Reads one whole document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(bytes)?;
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }
}

/// Reads a document piece by piece, in the order the caller expects the pieces.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    n_values: usize,
    /// Whether numbers that are not finite may be spelled as Python spells them.
    is_lenient: bool,
}

/// The text under a key of the outermost object, for a refusal that names it.
///
/// Also of a document that is no JSON because Python wrote numbers into it that are not finite.
pub(crate) fn text_of(document: &[u8], key: &str) -> Option<String> {
    let mut scanner = Scanner { is_lenient: true, ..Scanner::new(document).ok()? };
    let mut found = None;
    let read = scanner.object(|scanner, name| {
        let value = scanner.value()?;
        if let (Value::Text(text), true) = (value, name == key) {
            found = Some(text);
        }
        Ok(())
    });
    read.and_then(|()| scanner.end()).ok().and(found)
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte; the document must be UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0, depth: 0, n_values: 0, is_lenient: false }),
            Err(error) => {
                Err(Fault { at: error.valid_up_to(), message: "text is not UTF-8".into() })
            }
        }
    }

    /// A fault at the current place.
    pub(crate) fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at, message: message.into() })
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault("text after the end of the document"),
        }
    }

    /// Reads an object; `member` reads the value of each key.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'{')?;
        let mut seen = std::collections::HashSet::new();
        if self.skip(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            if seen.len() >= MEMBERS_MAX {
                return self.fault(format!("an object with more than {MEMBERS_MAX} keys"));
            }
            self.expect(b':')?;
            member(self, &key)?;
            if let Some(key) = seen.replace(key) {
                return self.fault(format!("the key `{}` stands twice", shorten(&key)));
            }
            if self.skip(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads an array; `element` reads each element.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'[')?;
        if self.skip(b']') {
            return Ok(());
        }
        for _ in 0..MEMBERS_MAX {
            element(self)?;
            if self.skip(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
        self.fault(format!("an array with more than {MEMBERS_MAX} elements"))
    }

    /// Reads a whole number from zero to 2^64 - 1 without sign, fraction or exponent.
    pub(crate) fn unsigned(&mut self) -> Result<u64, Fault> {
        let start = self.at;
        let number = self.number()?;
        let digits = &self.text[number];
        match digits.parse() {
            Ok(value) if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(value),
            _ => {
                let message = format!("`{}` is not a whole number", shorten(digits));
                Err(Fault { at: start, message })
            }
        }
    }

    /// Reads a string and resolves its escapes.
    pub(crate) fn string(&mut self) -> Result<String, Fault> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
            let Some(plain) = plain else {
                return self.fault("a string without end");
            };
            out.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape()?),
                _ => return self.fault("a control character in a string"),
            }
        }
    }

    /// Reads any value.
    pub(crate) fn value(&mut self) -> Result<Value, Fault> {
        self.n_values += 1;
        if self.n_values > VALUES_MAX {
            return self.fault(format!("more than {VALUES_MAX} values"));
        }
        match self.peek() {
            Some(b'{') => self.nested(|scanner| {
                let mut members = BTreeMap::new();
                scanner.object(|scanner, key| {
                    members.insert(key.to_owned(), scanner.value()?);
                    Ok(())
                })?;
                Ok(Value::Object(members))
            }),
            Some(b'[') => self.nested(|scanner| {
                let mut elements = Vec::new();
                scanner.array(|scanner| {
                    elements.push(scanner.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(elements))
            }),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-') if self.is_lenient && self.text[self.at..].starts_with("-I") => {
                self.at += 1;
                self.word()
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                Ok(Value::Number(self.text[number].to_owned()))
            }
            _ => self.word(),
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fault(format!("nesting deeper than {DEPTH_MAX}"));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Boolean(true)),
            ("false", Value::Boolean(false)),
        ];
        // Nobody asks what they are worth.
        let python = [("NaN", Value::Null), ("Infinity", Value::Null)];
        let python = python.into_iter().filter(|_| self.is_lenient);
        for (word, value) in words.into_iter().chain(python) {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fault("expected a value")
    }

    /// Range of a number in the grammar of JSON.
    fn number(&mut self) -> Result<Range<usize>, Fault> {
        self.peek();
        let start = self.at;
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let whole = digits(at);
        let is_padded = bytes.get(at) == Some(&b'0') && whole > at + 1;
        let mut is_complete = whole > at && !is_padded;
        at = whole;
        if bytes.get(at) == Some(&b'.') {
            let end = digits(at + 1);
            is_complete &= end > at + 1;
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let signed = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(signed);
            is_complete &= end > signed;
            at = end;
        }
        if !is_complete {
            return self.fault("expected a number");
        }
        self.at = at;
        Ok(start..at)
    }

    /// Reads the escape that starts at the current backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let bytes = self.text.as_bytes();
        let plain = match bytes.get(self.at + 1) {
            Some(b'u') => return self.unicode_escape(),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(&b @ (b'"' | b'\\' | b'/')) => char::from(b),
            _ => return self.fault("an unknown escape"),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.code_unit()?;
        let code = match first {
            0xd800..0xdc00 => {
                let second = self.code_unit()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return self.fault("half a surrogate pair");
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(code).map_or_else(|| self.fault("half a surrogate pair"), Ok)
    }

    /// Reads `\uXXXX`.
    fn code_unit(&mut self) -> Result<u32, Fault> {
        let escape = self.text.as_bytes().get(self.at..self.at + 6);
        let code = escape.filter(|e| e.starts_with(b"\\u")).and_then(|e| {
            e[2..].iter().try_fold(0, |code, &b| Some(code * 16 + char::from(b).to_digit(16)?))
        });
        match code {
            Some(code) => {
                self.at += 6;
                Ok(code)
            }
            None => self.fault("expected four hexadecimal digits"),
        }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.skip(byte) { Ok(()) } else { self.fault(format!("expected `{}`", byte as char)) }
    }
}

/// At most 60 characters of a stranger's text, the invisible ones spelled out.
///
/// Names end up in terminals and on pages, where one that turns the direction of writing would
/// make the rest of a line read as something else.
pub(crate) fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let mut short = String::new();
    for character in characters.by_ref().take(60) {
        match character {
            '"' | '\'' | '\\' => short.push(character),
            other => short.extend(other.escape_debug()),
        }
    }
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        Value::parse(text.as_bytes()).unwrap_err().message
    }

    #[test]
    fn a_text_is_found_beside_numbers_that_are_not_finite_and_in_no_other_broken_document() {
        let found = |document: &str| text_of(document.as_bytes(), "a");
        for number in ["NaN", "Infinity", "-Infinity", "-1", "[NaN, 1]"] {
            assert_eq!(found(&format!("{{\"b\": {number}, \"a\": \"x\"}}")).unwrap(), "x");
        }
        for document in [
            "{\"a\": \"x\"} {}",
            "{\"a\": \"x\", \"a\": \"y\"}",
            "{\"a\": \"x\", \"b\": Inf}",
            "{\"a\": \"x\", \"b\": -NaN}",
            "{\"a\": 1}",
            "[\"a\"]",
            "{\"a\": \"x\"",
        ] {
            assert_eq!(found(document), None, "{document}");
        }
    }

    #[test]
    fn documents_read_as_serde_json_reads_them() {
        let text = r#" {"a": [1, -2.5e3, true, null, "x\u00e9\ud83d\ude00\n"], "b": {"c": ""}} "#;
        let Value::Object(members) = Value::parse(text.as_bytes()).unwrap() else { panic!() };
        let Value::Array(a) = &members["a"] else { panic!() };
        assert_eq!(a[1], Value::Number("-2.5e3".into()));
        assert_eq!(a[4], Value::Text("xé😀\n".into()));
    }

    #[test]
    fn attack_duplicate_keys_are_refused_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"y":[{"a":1,"a":2}]}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"":1,"":1}"#,
        ] {
            assert!(refused(text).contains("stands twice"), "{text}");
        }
    }

    #[test]
    fn attack_text_outside_the_grammar_is_refused() {
        let deep = "[".repeat(200_000);
        let long = format!("[{}1]", "1,".repeat(30_000));
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u12\"",
            "\"\n\"",
            "{} {}",
            "{\"a\" 1}",
            "[1 2]",
            "\u{feff}{}",
            "0x10",
            "'a'",
            deep.as_str(),
            long.as_str(),
        ] {
            assert!(Value::parse(text.as_bytes()).is_err(), "{}", shorten(text));
        }
        assert!(Value::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn attack_invisible_characters_of_a_stranger_are_spelled_out() {
        assert_eq!(shorten("wé \"q\" \\ 'x'"), "wé \"q\" \\ 'x'");
        assert_eq!(shorten("a\u{202e}b\0\u{200b}\n"), r"a\u{202e}b\0\u{200b}\n");
        assert_eq!(shorten(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(shorten(&"é".repeat(61)), "é".repeat(60) + "…");
    }

    proptest! {
        #[test]
        fn whatever_is_read_serde_json_reads_too(text in r#"[\[\]{}",:0-9a\\ un.eE+-]{0,24}"#) {
            if let Ok(value) = Value::parse(text.as_bytes()) {
                let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
                let is_huge = matches!(&value, Value::Number(n) if n.contains(['e', 'E']));
                prop_assert!(theirs.is_ok() || is_huge, "{text:?}");
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::parse(&bytes);
        }
    }
}
