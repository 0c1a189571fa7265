//! A `tokenizer.json` as JSON: no key twice, and every part with its place in the file.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// Characters of a stranger's key or value that an error shows.
const SHOWN_MAX: usize = 80;

/// A JSON value in which no object has a key twice.
///
/// Of two equal keys one reader keeps the last and another the first. The parser bounds the depth.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{}` stands twice", shown(&key))));
            }
            let Unique(value) = members.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

/// The whole file as one value, or why it is none.
pub(super) fn parse(json: &[u8]) -> Result<Value, String> {
    if json.starts_with(b"\xef\xbb\xbf") {
        return Err("it begins with a byte order mark: save it without".to_owned());
    }
    let parsed = serde_json::from_slice(json).map(|Unique(value)| value);
    parsed.map_err(|error| {
        let other = other_format(json).map_or(String::new(), |name| format!(" but {name}"));
        format!("it is not the JSON of a `tokenizer.json`{other}: {error}")
    })
}

/// What a file looks like that is no JSON, with what to do about it.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    // The first piece of each list of SentencePiece's is the one for what is unknown.
    let head = bytes.get(..64).unwrap_or(bytes);
    if head.first() == Some(&0x0a) && head.windows(5).any(|part| part == b"<unk>") {
        return Some("a `tokenizer.model` of SentencePiece, which is not taken");
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rank = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    let is_rank = !rank.is_empty() && rank.trim_ascii().iter().all(u8::is_ascii_digit);
    is_rank.then_some("a list of ranks, of which `agon data tokenizer` makes one")
}

/// An object of the file with its place, such as `model`; the whole file has an empty place.
pub(super) struct Part<'a> {
    place: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Part<'a> {
    /// The object at a place.
    pub(super) fn of(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { place: place.to_owned(), fields }),
            _ if place.is_empty() => Err(format!("it is {}, not an object", kind_of(value))),
            _ => Err(format!("`{place}` is {}, not an object", kind_of(value))),
        }
    }

    /// The place of a field.
    pub(super) fn place(&self, key: &str) -> String {
        if self.place.is_empty() { shown(key) } else { format!("{}.{}", self.place, shown(key)) }
    }

    /// The value of a field; null where it is absent.
    pub(super) fn get(&self, key: &str) -> &'a Value {
        self.fields.get(key).unwrap_or(&Value::Null)
    }

    /// The object in a field.
    pub(super) fn part(&self, key: &str) -> Result<Part<'a>, String> {
        Part::of(&self.place(key), self.get(key))
    }

    /// The objects of the list in a field.
    pub(super) fn parts(&self, key: &str) -> Result<Vec<Part<'a>>, String> {
        let elements = self.list(key)?.iter().enumerate();
        elements.map(|(i, value)| Part::of(&format!("{}[{i}]", self.place(key)), value)).collect()
    }

    /// The list in a field.
    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], String> {
        self.get(key).as_array().map(Vec::as_slice).ok_or_else(|| self.refused(key, "not a list"))
    }

    /// The text in a field.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, String> {
        self.get(key).as_str().ok_or_else(|| self.refused(key, "not a text"))
    }

    /// The `true` or `false` in a field.
    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        self.get(key).as_bool().ok_or_else(|| self.refused(key, "neither true nor false"))
    }

    /// The `true` or `false` in a field that may be absent or null.
    pub(super) fn flag_if_any(&self, key: &str) -> Result<Option<bool>, String> {
        if self.get(key).is_null() { Ok(None) } else { self.flag(key).map(Some) }
    }

    /// The members of the object.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.fields.iter()
    }

    /// Refuses the first key that is none of these.
    pub(super) fn only(&self, keys: &[&str]) -> Result<(), String> {
        match self.fields.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(format!("`{}` is not known here: take it out", self.place(key))),
            None => Ok(()),
        }
    }

    /// Why the value of a field is refused: what it is, and what to do about it.
    pub(super) fn refused(&self, key: &str, why: &str) -> String {
        let value = match self.get(key) {
            Value::Null if !self.fields.contains_key(key) => "missing".to_owned(),
            Value::String(text) => format!("`{}`", shown(text)),
            value @ (Value::Array(_) | Value::Object(_)) => kind_of(value).to_owned(),
            value => value.to_string(),
        };
        format!("`{}` is {value}: {why}", self.place(key))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The beginning of a stranger's text.
pub(super) fn shown(text: &str) -> String {
    protocol::text::shown(text, SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_formats_are_called_by_their_names() {
        for (bytes, name) in [
            (&b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02"[..], "SentencePiece"),
            (b"IQ== 0\nIg== 1\n", "list of ranks"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"nonsense here", "not the JSON of a `tokenizer.json`:"),
            (b"", "not the JSON of a `tokenizer.json`:"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        let tekken = br#"{"config":{},"vocab":[{"rank":0}],"special_tokens":[]}"#;
        let error = super::super::contents::check(tekken).err().unwrap();
        assert!(error.contains("tekken.json"), "{error}");
    }
}
