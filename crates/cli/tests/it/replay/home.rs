//! Homes that demos have left, for one test each.

use super::Replayed;
use crate::tree;
use keys::Keypair;
use protocol::Seed;
use records::Signed;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Enough for a record in the middle.
const ROUNDS: &str = "3";

/// A demo whose crown passes along the line of succession.
pub(super) fn succession() -> Home {
    left_by("succession", &rules_of_succession())
}

/// A demo whose crown is duelled for.
pub(super) fn duels() -> Home {
    left_by("duels", &rules_of_duels())
}

/// A copy, for one test, of what a demo by these rules leaves.
///
/// The demo runs once for all tests, in whatever processes they run: by the same program and rules
/// it leaves the same. Nobody replays in its own home, as its hub and its chain are for one process
/// at a time.
fn left_by(name: &str, rules: &str) -> Home {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{name}"));
    fs::create_dir_all(&place).unwrap();
    let lock = fs::File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    let program = fs::metadata(env!("CARGO_BIN_EXE_agon")).unwrap();
    let made_by = format!("{:?} {} {rules}", program.modified().unwrap(), program.len());
    let (home, key) = (place.join("home"), place.join("made-by"));
    if fs::read_to_string(&key).ok() != Some(made_by.clone()) {
        // Whole or not at all: the key comes last.
        let _ = fs::remove_file(&key);
        let _ = fs::remove_dir_all(&home);
        let file = place.join("rules.toml");
        fs::write(&file, rules).unwrap();
        run_demo(name, &home, &file);
        fs::write(&key, made_by).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&home, &folder.path().join("home"));
    Home { folder }
}

fn run_demo(name: &str, home: &Path, rules: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["demo", "--json", "--rounds", ROUNDS, "--steps", "30", "--home"])
        .arg(home)
        .arg("--competition")
        .arg(rules)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {err}");
    let told = err.lines().last().unwrap();
    assert!(told.starts_with("replayed record 3 of validator-1: "), "{name}: {err}");
    assert!(told.contains("equal to the bit"), "{name}: {err}");
}

fn rules_of_succession() -> String {
    let rules = tree::read("testdata/scoring/competition.toml");
    rules.replace("rule = \"wins\"", "rule = \"succession\"")
}

pub(super) fn rules_of_duels() -> String {
    let mut rules = rules_of_succession();
    for (from, to) in [
        ("sequence_length = 128", "sequence_length = 128\npacking = \"per-document\""),
        ("n_batches = 24", "n_batches = 60"),
        ("sequences_per_batch = 4", "sequences_per_batch = 1"),
        ("rule = \"succession\"", "rule = \"duel\""),
        ("loss = \"perplexity\"", "loss = \"cross-entropy\""),
    ] {
        assert!(rules.contains(from), "the rules of succession have no `{from}`");
        rules = rules.replace(from, to);
    }
    rules + "\n[scoring.duel]\nn_documents_min = 20\nn_documents_max = 600\n"
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// A home that may be changed.
pub(super) struct Home {
    folder: TempDir,
}

impl Home {
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join("home").join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn record(&self, validator: u64, number: u64) -> PathBuf {
        let name = format!("validator-{validator}/records/tiny/000000/{number:06}.json");
        self.path(&name).into()
    }

    /// Derives records of the home again.
    pub(super) fn replay(&self, more: &[&str]) -> Replayed {
        let home = self.path("");
        Replayed::of(&[&["replay", "--json", "--home", &home], more].concat())
    }

    /// Changes a record, and gives it a signature of a key.
    pub(super) fn sign(&self, number: u64, key: &Keypair, change: impl FnOnce(&mut Signed)) {
        let path = self.record(1, number);
        let mut signed = Signed::from_json(&fs::read(&path).unwrap()).unwrap();
        change(&mut signed);
        fs::write(path, Signed::sign(signed.record, key).to_json()).unwrap();
    }
}

/// Key of a validator of a demo of seed 1.
pub(super) fn key(validator: u64) -> Keypair {
    let seed = Seed::of_number(1).derive("hotkey");
    Keypair::from_seed(seed.derive(&format!("validator-{validator}")))
}
