//! What every file must look like: lengths, names, front pages, forbidden words, living links.

use crate::tree::{self, File};
use std::collections::BTreeSet;

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
const FOLDERS_BELOW_SRC_MAX: usize = 2;

/// Files that are still longer than [`LINES_MAX`]. This list only shrinks.
const LONG_FILES: [&str; 0] = [];

/// Lengths that these documents promise their readers.
const DOCUMENT_LINES_MAX: [(&str, usize); 3] =
    [("README.md", 120), ("ARCHITECTURE.md", 250), ("CONTRIBUTING.md", 150)];

/// Fails with one line for each thing found, and what to do about them.
fn expect_none(found: &[String], advice: &str) {
    assert!(found.is_empty(), "{}\n{advice}", found.join("\n"));
}

/// `path:line: text` for each line that `is_bad` finds something in.
fn lines_where(files: &[File], is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate().filter(|(_, line)| is_bad(line)) {
            found.push(format!("{}:{}: {line}", file.path, number + 1));
        }
    }
    found
}

/// Lines of a Rust file that are not test code.
fn n_product_lines(file: &File) -> usize {
    if file.is_test() {
        return 0;
    }
    let code = tree::code(&file.text);
    let n_test_lines = code.lines().count() - tree::without_tests(&code).lines().count();
    file.text.lines().count() - n_test_lines
}

#[test]
fn every_rust_file_opens_by_saying_what_it_is() {
    let found: Vec<String> = tree::rust_files()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    expect_none(&found, "Begin each of these files with `//!` and a sentence that says what it is");
}

#[test]
fn no_file_has_more_than_500_lines_before_its_tests() {
    let mut found = Vec::new();
    for file in tree::rust_files() {
        let n_lines = n_product_lines(&file);
        let listed = LONG_FILES.contains(&file.path.as_str());
        if n_lines > LINES_MAX && !listed {
            found.push(format!("{} has {n_lines} lines that are not tests", file.path));
        }
        if n_lines <= LINES_MAX && listed {
            found.push(format!("{} is short now: take it off `LONG_FILES`", file.path));
        }
    }
    let paths: BTreeSet<String> = tree::rust_files().into_iter().map(|file| file.path).collect();
    let gone = LONG_FILES.iter().filter(|path| !paths.contains(**path));
    found.extend(gone.map(|path| format!("{path} is gone: take it off `LONG_FILES`")));
    expect_none(&found, "A file that grows too long wants to be two, split by subject");
}

#[test]
fn nothing_unfinished_ignored_or_left_from_debugging() {
    const WORDS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
    const ATTRIBUTES: [&str; 4] = ["#[ignore", "#[should_panic", "#![allow(missing_docs", "FIXME"];
    let mut found = Vec::new();
    for file in tree::rust_files() {
        let code = tree::code(&file.text);
        let words = WORDS.iter().filter(|word| tree::has_word(&code, word));
        let attributes = ATTRIBUTES.iter().filter(|attribute| code.contains(**attribute));
        found.extend(words.chain(attributes).map(|what| format!("{}: {what}", file.path)));
    }
    expect_none(&found, "Finish it, or return an error that says what is missing");
}

#[test]
fn unsafe_code_says_why_it_is_sound_and_stays_in_the_kernels() {
    const PLACES: [&str; 4] = [
        "crates/engine/src/cuda/",
        "crates/engine/src/kernel/",
        "crates/engine/tests/",
        "crates/trainer/src/kernel/",
    ];
    /// Lines above an unsafe block in which its reason may stand.
    const LINES_ABOVE_MAX: usize = 8;
    let mut found = Vec::new();
    for file in tree::rust_files() {
        let code = tree::code(&file.text);
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in code.lines().enumerate() {
            if !tree::has_word(line, "unsafe") {
                continue;
            }
            let place = format!("{}:{}", file.path, number + 1);
            if !PLACES.iter().any(|place| file.path.starts_with(place)) {
                found.push(format!("{place}: unsafe outside the kernels"));
            }
            let above = &lines[number.saturating_sub(LINES_ABOVE_MAX)..=number];
            let is_reason = |line: &&str| line.to_lowercase().contains("safety");
            let covers_all = |line: &&str| line.contains("SAFETY of every");
            if !above.iter().any(is_reason) && !lines[..number].iter().any(covers_all) {
                found.push(format!("{place}: no `SAFETY:` says why this is sound"));
            }
        }
    }
    expect_none(&found, "Write it without unsafe, or say above it what makes it sound");
}

#[test]
fn modules_are_named_files_at_most_two_folders_deep() {
    let mut found = Vec::new();
    for file in tree::rust_files() {
        let Some((_, below)) = file.path.split_once("/src/") else { continue };
        if below == "mod.rs" || below.ends_with("/mod.rs") {
            found.push(format!("{}: write `name.rs` beside the folder `name`", file.path));
        }
        if below.matches('/').count() > FOLDERS_BELOW_SRC_MAX {
            found.push(format!("{}: too deep", file.path));
        }
    }
    expect_none(&found, "A reader must find a module by its name, in few folders");
}

#[test]
fn lines_have_no_tabs_no_trailing_blanks_and_unix_ends() {
    let endings = [
        ".rs",
        ".md",
        ".toml",
        ".py",
        ".txt",
        "/run",
        ".gitignore",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    let mut files = tree::files("");
    files.retain(|file| endings.iter().any(|ending| file.path.ends_with(ending)));
    let is_bad = |line: &str| line.contains('\t') || line.ends_with([' ', '\r']);
    expect_none(&lines_where(&files, is_bad), "Remove tabs, trailing blanks and carriage returns");
    let unended: Vec<String> = files
        .into_iter()
        .filter(|file| !file.text.is_empty() && !file.text.ends_with('\n'))
        .map(|file| file.path)
        .collect();
    expect_none(&unended, "End each file with a newline");
}

#[test]
fn rust_lines_are_at_most_100_columns_wide() {
    // rustfmt breaks what it can; a text or an address may not be breakable.
    let is_breakable = |line: &str| !line.contains('"') && !line.contains("://");
    let is_bad = |line: &str| line.chars().count() > COLUMNS_MAX && is_breakable(line);
    expect_none(&lines_where(&tree::rust_files(), is_bad), "Break these lines");
}

#[test]
fn nothing_names_the_place_where_somebody_works() {
    let mut files = tree::files("");
    // This file must name what it looks for.
    files.retain(|file| !file.path.ends_with("tests/it/tidy.rs"));
    expect_none(
        &lines_where(&files, names_a_private_place),
        "Say it without an absolute path, a home folder or a place outside the repository",
    );
}

/// Whether a line holds a path that exists on one machine only.
fn names_a_private_place(line: &str) -> bool {
    const PLACES: [&str; 5] = ["/work", "/root", "/home/", "/Users/", "../shared"];
    let in_path = |c: char| c.is_alphanumeric() || "._-/:~$}".contains(c);
    let in_word = |c: char| c.is_alphanumeric() || "_-".contains(c);
    PLACES.iter().any(|place| {
        line.match_indices(place).any(|(at, _)| {
            let after = &line[at + place.len()..];
            !line[..at].ends_with(in_path) && after.starts_with(in_word) == place.ends_with('/')
        })
    })
}

#[test]
fn private_places_are_told_from_other_paths() {
    for bad in ["see /work/notes", "`/root`", "cd /home/ann/agon", "../shared/spec", "\"/work\""] {
        assert!(names_a_private_place(bad), "`{bad}` went unseen");
    }
    for good in ["at work/life", "https://x.org/work", "/workspace", "the /home/ folder", "a/root"]
    {
        assert!(!names_a_private_place(good), "`{good}` is harmless");
    }
}

#[test]
fn links_between_documents_lead_to_files_and_headings() {
    let documents = tree::documents();
    let mut found = Vec::new();
    for document in &documents {
        for link in links(&document.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = resolve(&document.path, file);
            if !tree::root().join(&path).exists() {
                found.push(format!("{}: `{link}` leads to no file", document.path));
            } else if let Some(target) = documents.iter().find(|document| document.path == path)
                && !heading.is_empty()
                && !headings(&target.text).iter().any(|anchor| anchor == heading)
            {
                found.push(format!("{}: `{link}` leads to no heading", document.path));
            }
        }
    }
    expect_none(&found, "Correct these links");
}

/// The targets of the links of a Markdown text, outside code.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for part in prose.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            links.push(target.to_owned());
        }
    }
    links
}

/// Path from the root of what `link` means in the document at `from`.
pub(crate) fn resolve(from: &str, link: &str) -> String {
    if link.is_empty() {
        return from.to_owned();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Anchors of the headings of a Markdown text, as GitHub makes them.
fn headings(text: &str) -> Vec<String> {
    let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
    titles
        .map(|title| {
            let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            title.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

#[test]
fn links_are_found_and_resolved_as_readers_see_them() {
    let text = "[a](b.md) and [c](../d.md#e-f)\n```\n[no](code.md)\n```\n`[no](x)` ![i](y.svg)";
    assert_eq!(links(text), ["b.md", "../d.md#e-f", "y.svg"]);
    assert_eq!(resolve("docs/decisions/0001-x.md", "../protocol.md"), "docs/protocol.md");
    assert_eq!(resolve("docs/a.md", ""), "docs/a.md");
    assert_eq!(
        headings("# One round, followed\ntext\n## 2. `Loss`"),
        ["one-round-followed", "2-loss"]
    );
}

#[test]
fn the_front_documents_stay_short() {
    let mut found = Vec::new();
    for (path, lines_max) in DOCUMENT_LINES_MAX {
        let n_lines = tree::read(path).lines().count();
        if n_lines > lines_max {
            found.push(format!("{path} has {n_lines} lines, more than the {lines_max} promised"));
        }
    }
    expect_none(&found, "Move detail to docs/");
}

#[test]
fn lengths_leave_tests_out() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let text = "a();\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(n_product_lines(&file("crates/x/src/y.rs", text)), 2);
    assert_eq!(n_product_lines(&file("crates/x/src/y/tests.rs", text)), 0);
}
