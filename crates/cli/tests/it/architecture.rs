//! The boundaries of ARCHITECTURE.md: who may use whom, and what each crate must not know.

mod alike;

use crate::{
    tidy::resolve,
    tree::{self, File},
};
use std::collections::BTreeSet;

/// One crate: its level, and the crates of ours that it may use.
struct Row {
    name: &'static str,
    level: u8,
    may_use: &'static [&'static str],
}

const fn row(name: &'static str, level: u8, may_use: &'static [&'static str]) -> Row {
    Row { name, level, may_use }
}

/// Crates that see the world through ports alone, in their tests as well.
const SERVICES: [&str; 2] = ["validator", "miner"];

/// Who may use whom; a new crate needs a row here and a place in ARCHITECTURE.md.
const TABLE: [Row; 18] = [
    row("protocol", 1, &[]),
    row("disk", 1, &[]),
    row("timelock", 1, &[]),
    row("keys", 2, &["protocol", "disk"]),
    row("journal", 2, &["protocol"]),
    row("dataset", 2, &["protocol", "disk"]),
    row("hub", 2, &["protocol", "disk"]),
    row("engine", 2, &["protocol"]),
    row("chain", 3, &["protocol", "keys", "timelock"]),
    row("hugging-face", 3, &["protocol", "disk", "hub"]),
    row("records", 3, &["protocol", "disk", "keys"]),
    row("trainer", 3, &["protocol", "disk", "engine"]),
    row("substrate", 4, &["protocol", "keys", "timelock", "chain"]),
    row("validator", 4, &["protocol", "disk", "chain", "hub", "journal", "records"]),
    row("miner", 4, &["protocol", "disk", "chain", "hub", "journal"]),
    row("dashboard", 4, &["protocol", "chain", "records"]),
    row("sim", 5, &["protocol", "journal", "chain", "validator"]),
    row(
        "cli",
        6,
        &[
            "protocol",
            "disk",
            "keys",
            "journal",
            "dataset",
            "hub",
            "engine",
            "chain",
            "hugging-face",
            "records",
            "trainer",
            "substrate",
            "validator",
            "miner",
            "dashboard",
            "sim",
        ],
    ),
];

/// Heavy dependencies and the crates that keep them from everybody else.
const ISOLATED: [(&str, &[&str]); 23] = [
    ("aes-gcm", &["timelock"]),
    ("axum", &["dashboard", "hugging-face"]),
    ("blst", &["timelock"]),
    ("candle-core", &["trainer"]),
    ("candle-nn", &["trainer"]),
    ("clap", &["cli"]),
    ("ctrlc", &["cli"]),
    ("hyper", &["dashboard", "hugging-face"]),
    ("hyper-util", &["dashboard", "hugging-face"]),
    ("indicatif", &["cli"]),
    ("jsonrpsee", &["substrate"]),
    ("landlock", &["cli"]),
    ("maud", &["dashboard"]),
    ("parquet", &["dataset"]),
    ("reqwest", &["hugging-face"]),
    ("rusqlite", &["dashboard", "journal", "substrate", "hugging-face"]),
    ("rustls", &["hugging-face"]),
    ("schnorrkel", &["keys"]),
    ("seccompiler", &["cli"]),
    ("subxt", &["substrate"]),
    ("tokenizers", &["dataset"]),
    ("tokio", &["dashboard", "substrate", "hugging-face"]),
    ("tracing-subscriber", &["cli"]),
];

/// What services and simulations must build without, whoever would bring it along.
const NETWORK: [&str; 7] = ["axum", "hyper", "jsonrpsee", "reqwest", "rustls", "subxt", "tokio"];

/// Files below `cli` that name addresses: the dashboard, the node and the hub, which listen, the
/// client of hubs, which looks where a hub sends it, and that of chains, which knows what addresses
/// are near.
const SOCKETS: [&str; 14] = [
    "crates/dashboard/src/lib.rs",
    "crates/dashboard/src/server.rs",
    "crates/dashboard/src/server/patient.rs",
    "crates/hugging-face/src/client/address.rs",
    "crates/hugging-face/src/dev.rs",
    "crates/hugging-face/src/dev/access.rs",
    "crates/hugging-face/src/dev/error.rs",
    "crates/hugging-face/src/dev/front.rs",
    "crates/hugging-face/src/dev/serve.rs",
    "crates/substrate/src/client/config.rs",
    "crates/substrate/src/dev.rs",
    "crates/substrate/src/dev/callers.rs",
    "crates/substrate/src/dev/error.rs",
    "crates/substrate/src/dev/rpc.rs",
];

fn row_of(name: &str) -> &'static Row {
    TABLE.iter().find(|row| row.name == name).unwrap_or_else(|| {
        panic!("crate `{name}` has no row in `TABLE`: decide whom it may use, and say so there")
    })
}

fn manifest(name: &str) -> toml::Table {
    let path = format!("crates/{name}/Cargo.toml");
    tree::read(&path).parse().unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// The entries of one section of a manifest, those for some platforms included.
fn section<'a>(manifest: &'a toml::Table, name: &str) -> Vec<(&'a str, &'a toml::Value)> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    let platforms = platforms.into_iter().flat_map(|platforms| platforms.values());
    let tables = platforms.filter_map(toml::Value::as_table).chain([manifest]);
    tables
        .filter_map(|table| table.get(name).and_then(toml::Value::as_table))
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

/// Why `name` may not use `used`, if it may not.
fn refused_edge(name: &str, used: &str, in_tests: bool) -> Option<String> {
    let (user, target) = (row_of(name), TABLE.iter().find(|row| row.name == used)?);
    if user.may_use.contains(&used) {
        return None;
    }
    if !in_tests {
        return Some(format!("`{name}` may not depend on `{used}`"));
    }
    let is_service = SERVICES.contains(&name);
    (is_service || target.level >= user.level)
        .then(|| format!("`{name}` may not depend on `{used}`, not even in its tests"))
}

#[test]
fn every_dependency_between_crates_is_in_the_table() {
    let mut refused = Vec::new();
    for name in tree::crates() {
        let manifest = manifest(&name);
        for (part, in_tests) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for (used, _) in section(&manifest, part) {
                refused.extend(refused_edge(&name, used, in_tests));
            }
        }
    }
    assert!(
        refused.is_empty(),
        "{}\nMove the code to where it may be used, or declare a trait (see ARCHITECTURE.md)",
        refused.join("\n")
    );
}

#[test]
fn the_table_itself_points_downward() {
    for row in &TABLE {
        for used in row.may_use {
            assert!(row_of(used).level < row.level, "`{}` → `{used}` is no way down", row.name);
        }
    }
    assert!(refused_edge("validator", "engine", false).is_some());
    assert!(refused_edge("validator", "engine", true).is_some());
    assert!(refused_edge("miner", "substrate", true).is_some(), "ports alone");
    assert!(refused_edge("trainer", "dataset", false).is_some());
    assert!(refused_edge("trainer", "dataset", true).is_none(), "tests may look further down");
    assert!(refused_edge("protocol", "chain", true).is_some(), "tests may not look up");
    assert!(refused_edge("protocol", "serde", false).is_none(), "not ours");
}

#[test]
fn every_allowance_of_the_table_is_used() {
    for row in &TABLE {
        let manifest = manifest(row.name);
        let used: Vec<&str> =
            section(&manifest, "dependencies").into_iter().map(|(name, _)| name).collect();
        for allowed in row.may_use {
            assert!(
                used.contains(allowed),
                "`{}` may use `{allowed}` and does not: take it off the row in `TABLE`",
                row.name
            );
        }
    }
}

/// Names of all packages that `root` builds, its tests included, by the lock file.
fn packages_below(root: &str) -> BTreeSet<String> {
    let lock: toml::Table = tree::read("Cargo.lock").parse().expect("a lock file");
    let packages = lock["package"].as_array().expect("packages");
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(name) = open.pop() {
        if !found.insert(name.clone()) {
            continue;
        }
        // Of several versions, all: a name alone says which only where there is one.
        let same = packages.iter().filter(|package| package["name"].as_str() == Some(&name));
        let below = same.filter_map(|package| package.get("dependencies")?.as_array()).flatten();
        let names = below.filter_map(|entry| entry.as_str()?.split(' ').next());
        open.extend(names.map(str::to_owned));
    }
    found
}

#[test]
fn the_services_and_their_ports_build_without_the_protocols_of_the_network() {
    for name in SERVICES.iter().chain(&["chain", "hub", "sim"]) {
        let below = packages_below(name);
        assert!(below.contains("protocol"), "{name}");
        for heavy in NETWORK {
            assert!(
                !below.contains(heavy),
                "`{name}` brings `{heavy}` along: what speaks to others belongs into `substrate` \
                 or `hugging-face`"
            );
        }
    }
    assert!(packages_below("substrate").contains("subxt"), "the search finds what is there");
}

#[test]
fn every_row_of_the_table_is_a_crate_and_every_crate_has_a_row() {
    let crates = tree::crates();
    for name in &crates {
        row_of(name);
    }
    for row in &TABLE {
        let exists = crates.iter().any(|name| name == row.name);
        assert!(exists, "`{}` is in `TABLE` but not in crates/: delete the row", row.name);
    }
}

#[test]
fn packages_are_named_like_their_folders_and_keep_the_lints_of_the_workspace() {
    for folder in tree::crates() {
        let manifest = manifest(&folder);
        let text =
            |part: &str, key: &str| manifest.get(part).and_then(|part| part.get(key)).cloned();
        assert_eq!(
            text("package", "name"),
            Some(toml::Value::String(folder.clone())),
            "name the package in crates/{folder}/Cargo.toml after its folder"
        );
        assert_eq!(
            text("lints", "workspace"),
            Some(toml::Value::Boolean(true)),
            "crates/{folder}/Cargo.toml must say `[lints] workspace = true`"
        );
        for part in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in section(&manifest, part) {
                assert!(
                    value.get("workspace").is_some(),
                    "crates/{folder}/Cargo.toml gives `{name}` a version of its own: versions and \
                     features stand in [workspace.dependencies] only"
                );
            }
        }
    }
}

#[test]
fn every_crate_says_how_far_it_is_optimised_in_tests_and_what_runs_in_the_compiler_is_not() {
    let manifest: toml::Table = tree::read("Cargo.toml").parse().expect("a manifest");
    let packages = &manifest["profile"]["dev"]["package"];
    let level = |name: &str| packages.get(name).and_then(|package| package.get("opt-level"));
    for name in tree::crates() {
        assert!(
            level(&name).is_some(),
            "Cargo.toml gives `{name}` no opt-level in [profile.dev.package]: it would be compiled \
             like what is not ours, which takes twice the time"
        );
    }
    assert_eq!(level("*"), None, "it would hold for macros, too, and double a first build");
}

#[test]
fn heavy_dependencies_stay_in_the_crate_that_isolates_them() {
    for name in tree::crates() {
        let manifest = manifest(&name);
        for (used, _) in section(&manifest, "dependencies") {
            let owners =
                ISOLATED.iter().find(|(heavy, _)| *heavy == used).map(|(_, owners)| owners);
            let allowed = owners.is_none_or(|owners| owners.contains(&name.as_str()));
            assert!(allowed, "`{name}` may not depend on `{used}`: that is for {owners:?}");
        }
    }
}

/// The files of a crate, and those of others that its tests take in by `#[path = "…"]`.
fn files_of<'a>(name: &str, files: &'a [File]) -> Vec<&'a File> {
    let own: Vec<&File> = files.iter().filter(|file| file.krate() == name).collect();
    let taken_in = |file: &&File| {
        let paths =
            file.text.split("#[path = \"").skip(1).filter_map(|rest| rest.split('"').next());
        paths.map(|path| resolve(&file.path, path)).collect::<Vec<_>>()
    };
    let taken: BTreeSet<String> = own.iter().flat_map(taken_in).collect();
    own.into_iter().chain(files.iter().filter(|file| taken.contains(&file.path))).collect()
}

#[test]
fn every_dependency_is_used() {
    let files = tree::rust_files();
    for name in tree::crates() {
        let (manifest, files) = (manifest(&name), files_of(&name, &files));
        for (part, in_tests) in [("dependencies", false), ("dev-dependencies", true)] {
            for (used, _) in section(&manifest, part) {
                let word = used.replace('-', "_");
                let is_used = files.iter().any(|file| {
                    let code = if in_tests { tree::code(&file.text) } else { file.product_code() };
                    let in_path = format!("{word}::");
                    code.match_indices(&in_path).any(|(at, _)| {
                        !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    }) || tree::has_word(&code, &format!("use {word}"))
                });
                assert!(is_used, "crates/{name}/Cargo.toml names `{used}`, which no code uses");
            }
        }
    }
}

#[test]
fn protocol_does_no_io_reads_no_clock_and_spawns_nothing() {
    const FORBIDDEN: [&str; 9] =
        ["fs", "net", "time", "thread", "process", "env", "io", "os", "sync"];
    const MACROS: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];
    for file in tree::rust_files().iter().filter(|file| file.krate() == "protocol") {
        // What has several owners waits for nobody; locks, channels and the like do.
        let code = file.product_code().replace("sync::Arc", "Arc");
        for module in tree::std_modules(&code) {
            assert!(
                !FORBIDDEN.contains(&module.as_str()),
                "`{}` uses std::{module}: protocol is pure; take the value as an argument",
                file.path
            );
        }
        for name in MACROS {
            assert!(!tree::has_word(&code, name), "`{}` prints with {name}", file.path);
        }
    }
}

#[test]
fn the_services_know_neither_the_engine_nor_the_trainer_nor_each_other() {
    let strangers: [(&str, &[&str]); 2] = [
        ("validator", &["engine", "trainer", "miner"]),
        ("miner", &["engine", "trainer", "validator"]),
    ];
    for file in tree::rust_files() {
        let Some((name, strangers)) = strangers.iter().find(|row| row.0 == file.krate()) else {
            continue;
        };
        let code = tree::code(&file.text);
        for stranger in *strangers {
            assert!(
                !tree::has_word(&code, &format!("{stranger}::")),
                "`{}` names `{stranger}`: `{name}` declares a trait and is given something that \
                 implements it",
                file.path
            );
        }
    }
}

#[test]
fn the_services_are_blocking() {
    for file in tree::rust_files() {
        let code = tree::code(&file.text);
        let is_async = tree::has_word(&code, "async") || tree::has_word(&code, "await");
        assert!(
            !is_async || !matches!(file.krate(), "protocol" | "validator" | "miner"),
            "`{}` is async: that lives inside servers and clients, behind the blocking traits",
            file.path
        );
    }
}

#[test]
fn only_the_command_line_reads_environment_and_arguments_or_prints() {
    const MACROS: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];
    for file in tree::rust_files().iter().filter(|file| file.krate() != "cli") {
        let code = file.product_code();
        assert!(
            !tree::std_modules(&code).iter().any(|module| module == "env"),
            "`{}` uses std::env: only `cli` reads environment and arguments; take a value",
            file.path
        );
        for name in MACROS {
            assert!(
                !tree::has_word(&code, name),
                "`{}` prints with {name}: return a value, or tell whoever watches",
                file.path
            );
        }
    }
}

#[test]
fn the_engine_runs_no_code_and_reaches_no_network() {
    const ADVICE: &str = "what serves or asks over the network is listed in `SOCKETS`, and nothing \
                          below `cli` starts programs";
    for file in tree::rust_files().iter().filter(|file| file.krate() != "cli") {
        let code = file.product_code();
        let reaches_out = tree::std_modules(&code).iter().any(|module| module == "net");
        let may_reach_out = SOCKETS.contains(&file.path.as_str());
        assert!(!reaches_out || may_reach_out, "`{}` uses std::net: {ADVICE}", file.path);
        assert!(!tree::has_word(&code, "Command"), "`{}` uses Command: {ADVICE}", file.path);
    }
}

#[test]
fn the_demo_computes_no_verdict_of_its_own() {
    const VERDICTS: [&str; 6] =
        ["score::score", "is_win", "softmax", "MovingAverage", "quantize", "yuma::epoch"];
    for file in tree::rust_files() {
        let code = file.product_code();
        let found = VERDICTS.iter().find(|name| tree::has_word(&code, name));
        assert!(
            !file.path.starts_with("crates/cli/src/command/demo") || found.is_none(),
            "`{}` uses {found:?}: the demo runs the real validator and shows what it says",
            file.path
        );
    }
}
