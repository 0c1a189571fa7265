//! The documents tell the truth: what they name exists.

use crate::tidy::{links, resolve};
use crate::tree::{self, File};
use std::collections::BTreeSet;

/// The command that a reader of README runs to test.
const TEST_COMMAND: &str = "cargo test --workspace";
/// The command that a reader of README runs to see something.
const DEMO_COMMAND: &str = "cargo run --release -- demo";

/// What stands between backticks in a Markdown text, code blocks included.
fn quoted(text: &str) -> Vec<&str> {
    let mut quoted = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            // What follows is a remark to the reader.
            quoted.push(line.split(" #").next().unwrap_or_default().trim_end());
        } else {
            quoted.extend(line.split('`').skip(1).step_by(2));
        }
    }
    quoted
}

/// A Rust file with the names of all that it defines.
struct Source {
    file: File,
    names: BTreeSet<String>,
}

impl Source {
    fn new(file: File) -> Self {
        const KEYWORDS: [&str; 9] =
            ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules"];
        let code = tree::code(&file.text);
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words: Vec<&str> =
            code.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
        let defined = words.windows(2).filter(|pair| KEYWORDS.contains(&pair[0]));
        let names = defined.map(|pair| pair[1].to_owned()).collect();
        Self { file, names }
    }

    fn all() -> Vec<Self> {
        tree::rust_files().into_iter().map(Self::new).collect()
    }

    fn defines(&self, item: &str) -> bool {
        item.is_empty() || self.names.contains(item)
    }
}

/// Why a name between backticks is wrong; `None` when it is right or names nothing of ours.
///
/// Looked at are paths of files (`crates/hub/src/lib.rs`, `docs/protocol.md`), what a file defines
/// (`crates/hub/src/lib.rs::Hub`), and what a crate defines (`hub::Hub`, `hub::Hub::publish`).
fn dead_name(name: &str, sources: &[Source]) -> Option<String> {
    const FOLDERS: [&str; 6] =
        ["crates/", "docs/", "competitions/", "deploy/", "testdata/", ".ci/"];
    // Patterns and placeholders name nothing.
    if name.contains([' ', '*', '{', '<', '…']) || name.contains("NAME") {
        return None;
    }
    let (place, item) = name.split_once("::").unwrap_or((name, ""));
    let item = item.rsplit("::").next().unwrap_or(item).trim_end_matches("()");
    if FOLDERS.iter().any(|folder| place.starts_with(folder)) {
        if !tree::root().join(place).exists() {
            return Some(format!("there is no `{place}`"));
        }
        let mut there = sources.iter().filter(|source| source.file.path == place);
        let found = item.is_empty() || there.any(|source| source.defines(item));
        return (!found).then(|| format!("`{place}` defines no `{item}`"));
    }
    let mut there = sources.iter().filter(|source| source.file.krate() == place).peekable();
    there.peek()?;
    let found = there.any(|source| source.defines(item));
    (!found).then(|| format!("crate `{place}` defines no `{item}`"))
}

#[test]
fn every_file_function_and_test_that_a_document_names_exists() {
    let sources = Source::all();
    let mut found = Vec::new();
    for document in tree::documents() {
        for name in quoted(&document.text) {
            let dead = dead_name(name, &sources);
            found.extend(dead.map(|why| format!("{}: `{name}`: {why}", document.path)));
        }
    }
    assert!(found.is_empty(), "{}\nCorrect the documents, or the code", found.join("\n"));
}

#[test]
fn a_name_that_does_not_exist_is_noticed() {
    let sources = Source::all();
    for right in ["cli", "cli::a_name_that_does_not_exist_is_noticed", "docs", "serde::Serialize"] {
        assert_eq!(dead_name(right, &sources), None);
    }
    for wrong in ["cli::no_such_test", "docs/none.md", "crates/cli/src/main.rs::nothing"] {
        assert!(dead_name(wrong, &sources).is_some(), "`{wrong}` went unseen");
    }
}

#[test]
fn every_defence_in_the_threat_model_has_its_test_or_says_that_it_is_open() {
    /// The one table of figures: its rows are held by a test of `protocol`.
    const FIGURES: &str = "| rule | strangers | they earn | 0.6 % | 1 % | 2 % |";
    let model = tree::read("docs/threat-model.md");
    let (figures, rest) = model.split_once(FIGURES).expect("the table of figures");
    let (_, rest) = rest.split_once("\n\n").expect("an end of the table of figures");
    let mut n_rows = 0;
    for row in figures.lines().chain(rest.lines()).filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let proof = cells.last().copied().unwrap_or_default();
        if proof == "proof" || proof.starts_with("--") {
            continue;
        }
        n_rows += 1;
        assert!(
            proof.contains('`') || tree::has_word(proof, "open"),
            "docs/threat-model.md: `{}` has neither a test nor the word `open`",
            cells[0]
        );
    }
    assert!(n_rows >= 20, "docs/threat-model.md has lost its tables");
}

#[test]
fn every_row_of_the_paper_map_leads_somewhere() {
    let map = tree::read("docs/paper-map.md");
    let (mut in_map, mut n_rows) = (false, 0);
    for line in map.lines().filter(|line| !line.starts_with("| --")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let place = cells.get(2).copied().unwrap_or_default();
        if place == "where" || !line.starts_with("| ") {
            in_map = place == "where";
        } else if in_map {
            n_rows += 1;
            assert!(
                place.contains('`') || place.starts_with("not yet"),
                "docs/paper-map.md: `{}` names no function and does not say `not yet`",
                cells[0]
            );
        }
    }
    assert!(n_rows >= 30, "docs/paper-map.md has lost its tables");
}

#[test]
fn every_crate_is_on_the_map() {
    let architecture = tree::read("ARCHITECTURE.md");
    for name in tree::crates() {
        assert!(
            architecture.contains(&format!("### `{name}`")),
            "ARCHITECTURE.md has no section for crate `{name}` in its code map"
        );
    }
}

#[test]
fn every_document_can_be_reached_from_the_front_pages() {
    let documents = tree::documents();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    while let Some(path) = open.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        let Some(document) = documents.iter().find(|document| document.path == path) else {
            continue;
        };
        for link in links(&document.text) {
            let file = link.split('#').next().unwrap_or_default();
            if !link.contains("://") {
                open.push(resolve(&path, file));
            }
        }
    }
    // The pages of testdata/ belong to their folders.
    for document in documents.iter().filter(|document| !document.path.starts_with("testdata/")) {
        assert!(
            reached.contains(&document.path),
            "nobody finds `{}`: link to it from README.md, ARCHITECTURE.md or a page they lead to",
            document.path
        );
    }
}

#[test]
fn the_commands_of_the_readme_are_the_ones_that_ci_runs() {
    let readme = tree::read("README.md");
    let ci = tree::read(".ci/run");
    for command in [TEST_COMMAND, DEMO_COMMAND] {
        assert!(quoted(&readme).contains(&command), "README.md must show `{command}`");
    }
    assert!(ci.contains(TEST_COMMAND), ".ci/run must run `{TEST_COMMAND}`, as README.md says");
}

#[test]
fn every_command_that_a_document_shows_exists() {
    let commands = commands(&tree::read("crates/cli/src/args.rs"));
    assert!(commands.contains("demo"), "no `demo` in {commands:?}");
    for document in tree::documents() {
        for text in quoted(&document.text) {
            let Some(rest) = text.trim_start_matches("$ ").strip_prefix("agon ") else { continue };
            let word = rest.split(' ').next().unwrap_or_default();
            let is_placeholder = word.starts_with('-') || word == "COMMAND";
            let is_command = is_placeholder || commands.contains(word);
            assert!(is_command, "{}: there is no command `agon {word}`", document.path);
        }
    }
}

/// Names of the commands: the variants of `enum Command`.
fn commands(source: &str) -> BTreeSet<String> {
    let code = tree::code(source);
    let body = code.split("enum Command {").nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    let variants = body.lines().filter_map(|line| line.trim().split('(').next());
    variants.filter(|name| !name.is_empty()).map(str::to_lowercase).collect()
}

#[test]
fn pages_are_what_the_program_says_of_itself() {
    for (page, file) in [("commands", "docs/cli.md"), ("config", "docs/config.md")] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["reference", page])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let path = tree::root().join(file);
        if std::env::var_os("AGON_BLESS").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, said, "`{file}` is another: AGON_BLESS=1 writes it anew");
    }
}
