//! JSON lines: one document a line, as Python writes them.

use super::Texts;
use crate::Error;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::path::Path;

/// What Python's JSON has for numbers that are none, though JSON has no such words.
const NO_NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// A field that is absent, null, or a text.
type Field = Option<Option<String>>;

/// One line; other fields are ignored, whatever is in them.
#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "present")]
    text: Field,
}

/// A line without a field `text`.
#[derive(Deserialize)]
struct OtherLine {
    #[serde(default, deserialize_with = "present")]
    content: Field,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The documents of a file; lines without a text are passed over, unless no line has one.
pub(super) fn documents(path: &Path, text: &str) -> Result<Texts, Error> {
    let refuse =
        |line: usize, detail: String| Error::NotJsonl { path: path.to_owned(), line, detail };
    let mut documents = Texts::default();
    let mut first_without = None;
    let mut has_field = false;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let field = field(line).map_err(|cause| refuse(number, detail(line, &cause)))?;
        has_field |= field.is_some();
        if field.is_none() {
            first_without.get_or_insert(number);
        }
        documents.push(field.flatten());
    }
    match first_without {
        Some(line) if !has_field => {
            Err(refuse(line, "no line of the file has it, nor one called `content`".to_owned()))
        }
        _ => Ok(documents),
    }
}

/// The text of a line.
fn field(line: &str) -> serde_json::Result<Field> {
    let read = |line: &str| -> serde_json::Result<Field> {
        // The parser would take a list for an object whose fields stand in order.
        if !line.trim_start().starts_with('{') {
            serde_json::from_str::<serde::de::IgnoredAny>(line)?;
            return Err(serde_json::Error::custom("not an object"));
        }
        match serde_json::from_str::<Line>(line)?.text {
            None => Ok(serde_json::from_str::<OtherLine>(line)?.content),
            text => Ok(text),
        }
    };
    let found = read(line);
    if found.is_err()
        && let Some(line) = without_python_numbers(line)
        && let Ok(field) = read(&line)
    {
        return Ok(field);
    }
    found
}

/// The line with null for what is no number; `None` where it has no such word.
fn without_python_numbers(line: &str) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let (mut rest, mut in_text, mut is_escaped, mut has_some) = (line, false, false, false);
    while let Some(c) = rest.chars().next() {
        if !in_text && let Some(after) = NO_NUMBERS.iter().find_map(|word| rest.strip_prefix(word))
        {
            out.push_str("null");
            (rest, has_some) = (after, true);
            continue;
        }
        in_text = in_text != (c == '"' && !is_escaped);
        is_escaped = in_text && c == '\\' && !is_escaped;
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    has_some.then_some(out)
}

fn detail(line: &str, cause: &serde_json::Error) -> String {
    if line.trim_start().starts_with('[') {
        return format!("it is a list ({cause}): write each object on a line of its own");
    }
    cause.to_string()
}
