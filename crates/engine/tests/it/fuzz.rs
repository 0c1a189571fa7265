//! Thousands of damaged headers and configs: refused or read, never a panic.

use crate::writer::{self, Random, Recipe};
use engine::{Model, inspect, no_limits};
use std::fs;

/// Cases per file.
const N_CASES: u64 = 3_000;

/// Pieces that hostile files are made of.
const PIECES: [&str; 20] = [
    "0",
    "-1",
    "1e9",
    "18446744073709551615",
    "9223372036854775808",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "[[",
    "}}",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "\"__metadata__\":{},",
    "\0",
    "\"",
];

/// Changes some bytes in one of the ways that break parsers.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let (a, b) = (random.below(bytes.len()), random.below(bytes.len()));
        let (start, end) = (a.min(b), (a.max(b) + 1).min(a.min(b) + 40));
        match random.below(6) {
            0 => bytes[a] = random.bits() as u8,
            1 => bytes[a] ^= 1 << random.below(8),
            2 => drop(bytes.drain(start..end)),
            3 => {
                let copy = bytes[start..end].to_vec();
                drop(bytes.splice(b..b, copy));
            }
            4 => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                drop(bytes.splice(a..a, piece));
            }
            _ => {
                // A number becomes another one, the most telling damage of all.
                let digit = bytes[a..].iter().position(u8::is_ascii_digit).map(|at| a + at);
                if let Some(at) = digit {
                    let piece = PIECES[random.below(5)].bytes();
                    drop(bytes.splice(at..=at, piece));
                }
            }
        }
    }
}

#[test]
fn attack_damaged_configs_and_headers_never_panic() {
    let recipe = Recipe { has_biases: true, n_layers: 1, ..Recipe::small(8, 1, 10) };
    let dir = tempfile::tempdir().unwrap();
    recipe.write(dir.path());
    let config = fs::read(dir.path().join("config.json")).unwrap();
    let file = writer::safetensors(&recipe.tensors());
    let n_header = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    let mut n_accepted = 0;
    for seed in 0..N_CASES {
        let mut random = Random(seed);
        let mut config = config.clone();
        let mut header = file[8..8 + n_header].to_vec();
        if seed % 2 == 0 {
            damage(&mut config, &mut random);
        } else {
            damage(&mut header, &mut random);
        }
        let mut prefix = (header.len() as u64).to_le_bytes();
        if seed % 16 == 1 {
            prefix[random.below(8)] ^= 1 << random.below(8);
        }
        // New files: some file systems flush one that is truncated and written again.
        for name in ["config.json", "model.safetensors"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("config.json"), config).unwrap();
        let file = [&prefix[..], &header, &file[8 + n_header..]].concat();
        fs::write(dir.path().join("model.safetensors"), file).unwrap();
        let verdict = inspect(dir.path(), &no_limits());
        let verdict = verdict.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if verdict.is_ok() {
            n_accepted += 1;
            let model = Model::load(dir.path(), &no_limits());
            assert!(model.unwrap().is_ok(), "seed {seed}: accepted, but not loaded");
        }
    }
    // Some damage, such as to a number that stays in range, leaves a good model.
    assert!(n_accepted > 0 && n_accepted < N_CASES / 4, "{n_accepted}");
}
