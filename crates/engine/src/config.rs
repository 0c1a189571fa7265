//! `config.json`, key by key.
//!
//! An architecture takes the keys it knows out of [`Fields`], each with its range. What remains is
//! judged by its name: a key by which some class of transformers computes must say what the engine
//! computes, in [`keys`] and in `arch/agreement.rs`. All other keys are passed over: nothing reads
//! them, neither here nor there. Whatever is wrong is collected, so that one refusal names it all.

mod keys;

use crate::{
    error::refuse,
    json::{Value, shorten},
};
use protocol::{Reason, ReasonCode::ConfigRefused};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    rc::Rc,
};

/// Longest list of faults in one refusal, in characters; a [`Reason`] has room for 300.
const FAULTS_CHARACTERS_MAX: usize = 270;

/// The members of a JSON object that nobody has taken yet, and what is wrong with the others.
#[derive(Debug)]
pub(crate) struct Fields {
    members: BTreeMap<String, Value>,
    /// Keys that were there with a null.
    nulls: BTreeSet<String>,
    /// Where the object stands, for messages: empty or `key.`.
    place: String,
    /// Of the whole document.
    faults: Rc<RefCell<Vec<String>>>,
}

impl Fields {
    /// Reads `config.json`; a null stands for an absent key, unless somebody asks for nulls.
    pub(crate) fn parse(config: &[u8]) -> Result<Self, Reason> {
        match Value::parse(config) {
            Ok(Value::Object(members)) => Ok(Self::of(members, String::new(), Rc::default())),
            Ok(_) => refuse(ConfigRefused, "`config.json` is not an object"),
            Err(fault) => refuse(ConfigRefused, format!("`config.json`: {fault}")),
        }
    }

    fn of(
        mut members: BTreeMap<String, Value>,
        place: String,
        faults: Rc<RefCell<Vec<String>>>,
    ) -> Self {
        let nulls = members.iter().filter(|(_, value)| **value == Value::Null);
        let nulls = nulls.map(|(key, _)| key.clone()).collect();
        members.retain(|_, value| *value != Value::Null);
        Self { members, nulls, place, faults }
    }

    /// Whether a key was there with a null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.nulls.contains(key)
    }

    /// Whether a key is there and nobody has taken it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// Notes what is wrong; reading goes on as if the value were absent.
    pub(crate) fn fault(&self, fault: impl fmt::Display) {
        self.faults.borrow_mut().push(fault.to_string());
    }

    /// Takes a value that `read` understands.
    fn take<T>(
        &mut self,
        key: &str,
        expected: impl fmt::Display,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.members.remove(key)?;
        let read = read(&value);
        if read.is_none() {
            self.mismatch(key, &value, expected);
        }
        read
    }

    fn mismatch(&self, key: &str, value: &Value, expected: impl fmt::Display) {
        let (place, key) = (&self.place, shorten(key));
        self.fault(format_args!("`{place}{key}` is {}, not {expected}", Shown(value)));
    }

    /// Takes a whole number within a range.
    pub(crate) fn unsigned(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<usize> {
        let expected = format!("a whole number {}", Shown(&range));
        self.take(key, expected, |value| {
            let number: u64 = number(value)?;
            usize::try_from(number).ok().filter(|_| range.contains(&number))
        })
    }

    /// Takes a whole number that must be there; the least of the range stands in for it.
    pub(crate) fn required(&mut self, key: &str, range: RangeInclusive<u64>) -> usize {
        let least = usize::try_from(*range.start()).unwrap_or(1);
        if !self.has(key) {
            self.fault(format_args!("`{}{key}` is missing", self.place));
        }
        self.unsigned(key, range).unwrap_or(least)
    }

    /// Takes a number within a range.
    pub(crate) fn real(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number {}", Shown(&range));
        self.take(key, expected, |value| number(value).filter(|n| range.contains(n)))
    }

    /// Takes a list of numbers within a range.
    pub(crate) fn reals(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<Vec<f64>> {
        let number = |value: &Value| number(value).filter(|n| range.contains(n));
        self.take(key, format_args!("numbers {}", Shown(&range)), |value| match value {
            Value::Array(values) => values.iter().map(number).collect(),
            _ => None,
        })
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        self.take(key, "true or false", |value| match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        })
    }

    /// Takes a string.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a string", text)
    }

    /// Takes a list of strings.
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.take(key, "a list of strings", |value| match value {
            Value::Array(values) => values.iter().map(text).collect(),
            _ => None,
        })
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, key: &str) -> Option<Self> {
        let (place, faults) = (format!("{}{key}.", self.place), Rc::clone(&self.faults));
        self.take(key, "an object", |value| match value {
            Value::Object(members) => Some(Self::of(members.clone(), place, faults)),
            _ => None,
        })
    }

    /// Takes a number that repeats what other keys have said.
    pub(crate) fn repeats(&mut self, key: &str, said: f64) {
        let expected = format!("{said} as other keys say");
        self.take(key, expected, |value| number(value).filter(|number: &f64| *number == said));
    }

    /// Takes a switch that must stand as the engine computes.
    pub(crate) fn switch(&mut self, key: &str, usual: bool) {
        self.take(key, usual, |value| (*value == Value::Boolean(usual)).then_some(()));
    }

    /// Checks the keys that say which class of transformers a model is.
    ///
    /// Models that were saved without their head name the class without one, and old programs
    /// spelled some names otherwise; transformers itself goes by the `model_type`.
    pub(crate) fn check_class(&mut self, class: &str) {
        let endings = ["ForCausalLM", "LMHeadModel"];
        let base = endings.iter().find_map(|ending| class.strip_suffix(ending)).unwrap_or(class);
        let is_kind = |name: &str| {
            let rest = name.strip_suffix("Model").filter(|rest| rest.eq_ignore_ascii_case(base));
            rest.is_some() || endings.iter().any(|ending| name.ends_with(ending))
        };
        let Some(names) = self.texts("architectures") else { return };
        for name in names.iter().filter(|name| !is_kind(name)) {
            let name = shorten(name);
            self.fault(format_args!("`architectures` is `{name}`, not like `{class}`"));
        }
    }

    /// Checks the declared type of the parameters, spelled `dtype` or `torch_dtype`.
    ///
    /// What counts is the type in the tensors' own headers, which all widen exactly.
    pub(crate) fn check_dtype(&mut self) {
        for key in ["dtype", "torch_dtype"] {
            let Some(dtype) = self.text(key) else { continue };
            let name = dtype.strip_prefix("torch.").unwrap_or(&dtype);
            if !["float32", "float16", "bfloat16", "float64", "auto"].contains(&name) {
                self.fault(format_args!("the `{key}` `{}` is not supported", shorten(name)));
            }
        }
    }

    /// Judges what nobody has taken by its name, at the end.
    pub(crate) fn close(&self) {
        for (key, value) in &self.members {
            if let Some(expected) = keys::fault(key, value) {
                self.mismatch(key, value, expected);
            }
        }
        // Python takes a null for off, and for nothing else that matters here.
        for key in self.nulls.iter().filter(|key| keys::must_be_on(key)) {
            self.mismatch(key, &Value::Null, "true or absent");
        }
    }

    /// Nothing may remain of an inner object but keys that no class of transformers reads there.
    pub(crate) fn close_inner(&self, harmless: &[&str]) {
        for key in self.members.keys().filter(|key| !harmless.contains(&key.as_str())) {
            let key = format!("{}{}", self.place, shorten(key));
            self.fault(format_args!("the key `{key}` is not supported"));
        }
    }

    /// Refuses if anything was wrong.
    pub(crate) fn verdict(&self) -> Result<(), Reason> {
        let faults = self.faults.borrow();
        if faults.is_empty() { Ok(()) } else { refuse(ConfigRefused, list(&faults)) }
    }
}

/// As many faults as there is room for, and how many there are besides.
fn list(faults: &[String]) -> String {
    let (mut text, mut n_characters) = (String::new(), 0);
    for (index, fault) in faults.iter().enumerate() {
        n_characters += fault.chars().count() + 2;
        if index > 0 && n_characters > FAULTS_CHARACTERS_MAX {
            return format!("{text}; and {} more", faults.len() - index);
        }
        text = if index > 0 { format!("{text}; {fault}") } else { fault.clone() };
    }
    text
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Shows a stranger's value or a range in a message.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Number(text) => f.write_str(&shorten(text)),
            Value::Text(text) => write!(f, "`{}`", shorten(text)),
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Shown<'_, RangeInclusive<T>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.0.start(), self.0.end())
    }
}
