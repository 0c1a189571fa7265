//! The repository as the tests see it: its files, and Rust code without comments and strings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One text file of the repository.
pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the repository: tests begin in the folder of their crate. Its path is in no program,
/// which may have been compiled in another clone.
pub(crate) fn root() -> PathBuf {
    fs::canonicalize("../..").unwrap()
}

/// The text of one file of the repository.
pub(crate) fn read(path: &str) -> String {
    let error = |error| panic!("cannot read `{path}`: {error}");
    fs::read_to_string(root().join(path)).unwrap_or_else(error)
}

/// All UTF-8 files of the repository below `folder` (`""` is the root) in order of path.
///
/// Build outputs and what a demo leaves behind are no part of the repository.
pub(crate) fn files(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), folder, &mut files);
    files
}

fn collect(root: &Path, folder: &str, files: &mut Vec<File>) {
    const NOT_OURS: [&str; 3] = [".git", "target", "agon-home"];
    let mut names: Vec<String> = fs::read_dir(root.join(folder))
        .unwrap_or_else(|error| panic!("cannot list `{folder}`: {error}"))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !NOT_OURS.contains(&name.as_str()))
        .collect();
    names.sort();
    for name in names {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let on_disk = root.join(&path);
        if on_disk.is_dir() {
            collect(root, &path, files);
        } else if let Ok(text) = fs::read_to_string(&on_disk) {
            files.push(File { path, text });
        }
    }
}

/// The Rust files of all crates.
pub(crate) fn rust_files() -> Vec<File> {
    files("crates").into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// The Markdown files of the repository.
pub(crate) fn documents() -> Vec<File> {
    files("").into_iter().filter(|file| file.path.ends_with(".md")).collect()
}

/// Names of the crates: the folders below `crates`.
pub(crate) fn crates() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

impl File {
    /// The crate that the file belongs to.
    pub(crate) fn krate(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// Whether the whole file is test code: a `tests.rs`, or below `tests/` or `benches/`.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
    }

    /// The code that is compiled into the product, without comments and the text of literals.
    pub(crate) fn product_code(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&code(&self.text)) }
    }
}

/// Rust code with comments and the text of literals blanked out; lines stay where they are.
pub(crate) fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let n = literal_or_comment(rest, out.chars().next_back()).unwrap_or(0);
        let (skipped, after) = rest.split_at(if n == 0 { first.len_utf8() } else { n });
        if n == 0 {
            out.push(first);
        } else {
            out.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// Length of the comment or literal that `rest` begins with.
fn literal_or_comment(rest: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with("r\"") || rest.starts_with("r#") {
        let n_hashes = rest[1..].bytes().take_while(|b| *b == b'#').count();
        let is_raw = !in_word && rest[1 + n_hashes..].starts_with('"');
        let end = format!("\"{}", "#".repeat(n_hashes));
        let start = 2 + n_hashes;
        return is_raw
            .then(|| rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
    }
    // 'a' and '\n' are characters, 'a in `&'a str` is a lifetime.
    let mut chars = rest.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', _) => Some(quoted(rest, '\'')),
        (c, '\'') => Some(2 + c.len_utf8()),
        _ => None,
    }
}

/// Length of a literal in quotes with backslash escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// `code` without the items under `#[cfg(test)]`; takes and gives what [`code`] gives.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[item_length(rest)..];
    }
    out.push_str(rest);
    out
}

/// Length of the item that `code` begins with: up to its `;` or the end of its braces.
fn item_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        depth += match c {
            '{' | '(' | '[' => 1,
            '}' | ')' | ']' => -1,
            _ => 0,
        };
        if depth == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    code.len()
}

/// Whether `word` occurs in `code` as a whole identifier, macro or path.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

/// The modules of `std` that `code` names, written out or in a `use` tree: `fs`, `env`, `time`.
pub(crate) fn std_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("std::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let tree = code[at + "std::".len()..].trim_start();
        match tree.strip_prefix('{') {
            Some(list) => modules.extend(top_level(list)),
            None => modules.push(first_word(tree)),
        }
    }
    modules
}

/// First words of the entries of a `use` list, up to its closing brace.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut words) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                words.push(first_word(&list[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    words
}

fn first_word(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.trim_start().chars().take_while(is_part).collect()
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = "let a = \"x \\\" y\"; // todo\nlet b = 'c'; /* d */ fn f<'a>() {} r#\"e\"#";
    let code = code(source);
    assert_eq!(code.len(), source.len());
    for hidden in ["x", "y", "todo", "c'", "d", "\""] {
        assert!(!code.contains(hidden), "`{hidden}` is still in `{code}`");
    }
    for kept in ["let a =", "let b =", "fn f<'a>() {}"] {
        assert!(code.contains(kept), "`{kept}` is gone from `{code}`");
    }
}

#[test]
fn code_after_a_test_module_is_still_seen() {
    let code = "a();\n#[cfg(test)]\nmod tests;\nb();\n#[cfg(test)]\nmod t { fn x() {} }\nc();";
    let left = without_tests(code);
    for kept in ["a()", "b()", "c()"] {
        assert!(left.contains(kept), "`{kept}` is gone from `{left}`");
    }
    assert!(!left.contains("mod"), "a test module is left in `{left}`");
}

#[test]
fn modules_of_std_are_found_however_they_are_named() {
    let code = "use std::{fmt, fs::{self, File}, path::Path}; fn f() { std::env::args() }";
    assert_eq!(std_modules(code), ["fmt", "fs", "path", "env"]);
}
