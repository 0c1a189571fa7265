//! What strangers may call repos, revisions and files, and how a URL spells them.

use super::refusal::Refusal;
use protocol::text::{is_joiner, is_plain};

/// Most bytes of the name of an owner or a repo.
const NAME_BYTES_MAX: usize = 96;
/// Most bytes of a path inside a repo.
const PATH_BYTES_MAX: usize = 512;
/// Most bytes of the name of a branch or tag.
const REVISION_BYTES_MAX: usize = 128;
/// Most characters of a stranger's text that a sentence quotes.
const SHOWN_CHARS_MAX: usize = 100;
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

/// Refuses what is no path inside a repo, and says what is wrong with it.
pub(super) fn check_path(path: &str) -> Result<(), Refusal> {
    let Some(fault) = fault_of(path) else { return Ok(()) };
    Err(Refusal::bad(format!("the path `{}` {fault}", shown(path))))
}

/// A text of a stranger as a sentence quotes it: visible letters of ASCII, and not too many.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_default())
}

/// What keeps a text from being a path inside a repo.
fn fault_of(path: &str) -> Option<&'static str> {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_drive = path.as_bytes().get(1) == Some(&b':');
    let is_invisible = |c: char| !is_plain(c) && !is_joiner(c);
    let is_dot = |c: char| matches!(c, '\u{2024}' | '\u{2025}');
    let is_slash = |c: char| matches!(c, '\u{2044}' | '\u{2215}' | '\u{ff3c}');
    let is_git = |part: &str| part.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(".git");
    let plain = plain(path);
    let has = |test: &dyn Fn(&str) -> bool| path.split('/').any(test) || plain.split('/').any(test);
    let faults = [
        (path.is_empty(), "is empty"),
        (path.len() > PATH_BYTES_MAX, "has more than 512 bytes"),
        (path.contains('\\'), "has a backslash"),
        (path.chars().any(is_invisible), "has a character that cannot be seen"),
        (path.chars().any(is_dot), "has a character that looks like dots"),
        (path.chars().any(is_slash), "has a character that looks like a slash"),
        (is_drive, "begins like a drive"),
        (has(&|part| !is_part(part)), "has a part that is empty, `.` or `..`"),
        (has(&is_git), "has a part that is Git's own folder"),
        (
            path.split('/').any(|part| part.ends_with([' ', '.']) || part.starts_with(' ')),
            "has a part that begins with a blank, or ends with a blank or a dot",
        ),
    ];
    faults.into_iter().find(|(is_there, _)| *is_there).map(|(_, fault)| fault)
}

/// A path as software may see it that knows no joiners and no wide letters: what it leads to must
/// be inside a repo as well.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '\u{200c}' | '\u{200d}' => {}
            '\u{2026}' => plain.push_str("..."),
            '\u{ff0e}' => plain.push('.'),
            '\u{ff0f}' => plain.push('/'),
            c => plain.push(c),
        }
    }
    plain
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_write_are_paths_and_others_say_what_is_wrong_with_them() {
        for path in [
            "fam\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}.txt",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}.txt",
            "What\u{2026} now.txt",
            "\u{ff21}\u{ff22}\u{ff0e}txt",
            "1\u{ff0f}2.txt",
            ".hidden",
            "ab:c.txt",
        ] {
            assert_eq!(fault_of(path), None, "{path}");
        }
        for (path, fault) in [
            (".\u{200d}./x", "`..`"),
            ("\u{200c}/x", "empty"),
            ("a\u{ff0f}..\u{ff0f}x", "`..`"),
            (".g\u{200c}it/config", "Git's own"),
            ("\u{ff0e}git/config", "Git's own"),
            ("\u{ff0f}etc", "empty"),
            ("a\u{202e}b", "cannot be seen"),
            ("a\\b", "backslash"),
        ] {
            assert!(fault_of(path).is_some_and(|found| found.contains(fault)), "{path:?}");
        }
        assert_eq!(shown("a\u{202e}\n"), "a\\u{202e}\\n");
        assert_eq!(shown(&"a".repeat(101)).len(), 103);
    }
}
