//! What strangers may call repos, revisions and files, and how a URL spells them.

use super::refusal::Refusal;

/// Most bytes of the name of an owner or a repo.
const NAME_BYTES_MAX: usize = 96;
/// Most bytes of a path inside a repo.
const PATH_BYTES_MAX: usize = 512;
/// Most bytes of the name of a branch or tag.
const REVISION_BYTES_MAX: usize = 128;
/// Most pairs in a query or form.
const PAIRS_MAX: usize = 2_000;

/// Models or datasets; a repo is found only as what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Dataset,
}

impl Kind {
    /// As URLs of the API name it.
    pub(super) fn of_plural(text: &str) -> Result<Self, Refusal> {
        match text {
            "models" => Ok(Self::Model),
            "datasets" => Ok(Self::Dataset),
            _ => Err(Refusal::not_found("this hub has models and datasets only")),
        }
    }

    /// As bodies name it; models without a word.
    pub(super) fn of_word(word: Option<&str>) -> Result<Self, Refusal> {
        match word {
            None | Some("model") => Ok(Self::Model),
            Some("dataset") => Ok(Self::Dataset),
            Some(_) => Err(Refusal::bad("this hub has models and datasets only")),
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        }
    }

    /// What stands before the repo in URLs outside the API.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
        }
    }
}

/// Whether an owner or a repo may be called this.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !text.contains("..")
        && !text.contains("--")
        && !text.ends_with(".git")
}

/// Whether a repo may be called this; owners may not be called like parts of our URLs.
pub(super) fn is_owner(text: &str) -> bool {
    is_name(text) && !["api", "datasets", "models", "spaces", "lfs"].contains(&text)
}

/// Whether a branch or tag may be called this.
pub(super) fn is_ref(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !part.contains("..")
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    let is_commit = text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit());
    text.len() <= REVISION_BYTES_MAX
        && !is_commit
        && !text.starts_with("refs/")
        && text.split('/').all(is_part)
}

/// Refuses what is no path inside a repo.
pub(super) fn check_path(path: &str) -> Result<(), Refusal> {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_drive = path.as_bytes().get(1) == Some(&b':');
    let is_invisible = |c: char| {
        let is_turning = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
        c.is_control() || is_turning || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let is_dot = |c: char| matches!(c, '\u{2024}' | '\u{2025}' | '\u{2026}' | '\u{ff0e}');
    let is_slash = |c: char| matches!(c, '\u{2044}' | '\u{2215}' | '\u{ff0f}' | '\u{ff3c}');
    let is_git = |part: &str| part.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(".git");
    let is_good = (1..=PATH_BYTES_MAX).contains(&path.len())
        && !path.contains('\\')
        && !path.chars().any(|c| is_invisible(c) || is_dot(c) || is_slash(c))
        && !is_drive
        && path.split('/').all(|part| is_part(part) && !is_git(part))
        && path.split('/').all(|part| !part.ends_with([' ', '.']) && !part.starts_with(' '));
    if is_good { Ok(()) } else { Err(Refusal::bad("the path is not one inside a repo")) }
}

/// The bytes behind `%41`, decoded once; `None` for what is no UTF-8 or no code.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (code, after) = after.split_at_checked(2)?;
        let mut byte = [0; 1];
        hex::decode_to_slice(code, &mut byte).ok()?;
        bytes.extend(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// A text as one part of a URL.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// The pairs of a query, or of a form.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::bad("the query cannot be read");
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let part = |text: &str| decode(&text.replace('+', " ")).ok_or_else(wrong);
            pairs.push((part(name)?, part(value)?));
            if pairs.len() > PAIRS_MAX {
                return Err(wrong());
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "1" | "true" | "True" | ""))
    }

    /// A page size, between one and `max`; `max` where none is asked for.
    pub(super) fn limit(&self, max: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(max) };
        let limit: usize = text.parse().map_err(|_| Refusal::bad("`limit` is no number"))?;
        Ok(limit.clamp(1, max))
    }

    /// The same pairs with another cursor.
    pub(super) fn with_cursor(&self, cursor: &str) -> String {
        let others = self.0.iter().filter(|pair| pair.0 != "cursor");
        let spell = |(name, value): &(String, String)| {
            format!("{}={}&", encode(name), encode(value).replace('/', "%2F"))
        };
        let query: String = others.map(spell).collect();
        format!("{query}cursor={}", encode(cursor).replace('/', "%2F"))
    }
}
