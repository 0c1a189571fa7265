//! Thousands of damaged headers and configs: refused or read, never a panic.

use crate::{
    golden, memory,
    writer::{self, Random, Recipe},
};
use engine::{Model, fuzzing, inspect, no_limits};
use std::{fs, time::Instant};

/// Cases per file.
const N_CASES: u64 = 3_000;
/// Cases per config of the golden models.
const N_CASES_PER_CONFIG: u64 = 400;
/// Most bytes that the verdict on a config may take: names of tensors, mostly.
const CONFIG_PEAK_BYTES_MAX: usize = 16 << 20;

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

/// Two numbers of a config, or a number and a switch, become others.
fn change_numbers(config: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: [&str; 14] = [
        "0", "1", "2", "3", "7", "8", "16", "512", "513", "65536", "65537", "4194304", "1e300",
        "-1",
    ];
    for _ in 0..=random.below(3) {
        let digits: Vec<usize> =
            (1..config.len()).filter(|&at| config[at].is_ascii_digit()).collect();
        let Some(&at) = digits.get(random.below(digits.len().max(1))) else { return };
        let start = (0..at).rev().find(|&at| !config[at].is_ascii_digit()).map_or(0, |at| at + 1);
        let end = (at..config.len()).find(|&at| !config[at].is_ascii_digit());
        let number = NUMBERS[random.below(NUMBERS.len())].bytes();
        drop(config.splice(start..end.unwrap_or(config.len()), number));
    }
}

#[test]
fn attack_damaged_configs_of_every_architecture_are_judged_in_bounded_time_and_memory() {
    let (mut n_accepted, mut n_refused) = (0, 0);
    for folder in golden::folders() {
        let config = fs::read(folder.join("config.json")).unwrap();
        fuzzing::config(&config).unwrap().unwrap();
        for seed in 0..N_CASES_PER_CONFIG {
            let mut random = Random(seed);
            let mut damaged = config.clone();
            if seed % 4 == 0 {
                damage(&mut damaged, &mut random);
            } else {
                change_numbers(&mut damaged, &mut random);
            }
            let started = Instant::now();
            let (verdict, peak) = memory::peak_bytes(|| fuzzing::config(&damaged));
            let place = format!("{}, seed {seed}", folder.display());
            assert!(peak <= CONFIG_PEAK_BYTES_MAX, "{place}: {peak} bytes");
            assert!(started.elapsed().as_secs() < 2, "{place}: {:?}", started.elapsed());
            match verdict.unwrap_or_else(|error| panic!("{place}: {error}")) {
                Ok(demand) => {
                    n_accepted += 1;
                    let products =
                        demand.tensors.iter().map(|(_, shape)| shape.iter().product::<u64>());
                    assert_eq!(products.sum::<u64>(), demand.n_parameters, "{place}");
                }
                Err(reason) => {
                    n_refused += 1;
                    assert!(!reason.detail.is_empty(), "{place}: no reason");
                }
            }
        }
    }
    assert!(n_accepted > 1000 && n_refused > 1000, "{n_accepted} accepted, {n_refused} refused");
}

#[test]
fn attack_every_tensor_of_every_architecture_must_have_the_demanded_shape() {
    for folder in golden::folders() {
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
        let file = files.iter().find(|file| file.file_name() == "model.safetensors");
        let Some(file) = file else { continue };
        let bytes = fs::read(file.path()).unwrap();
        let n_header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n_header]).unwrap();
        let names: Vec<String> =
            header.as_object().unwrap().keys().filter(|k| *k != "__metadata__").cloned().collect();
        for name in names {
            // One number fewer than there are bytes for, in another shape of the same size, or as
            // a name that nobody asks for.
            let mut turned = header.clone();
            let shape = turned[&name]["shape"].as_array_mut().unwrap();
            shape.push(1.into());
            let mut renamed = header.clone();
            let entry = renamed.as_object_mut().unwrap().remove(&name).unwrap();
            renamed[format!("{name}.more")] = entry;
            for changed in [turned, renamed] {
                let dir = tempfile::tempdir().unwrap();
                fs::copy(folder.join("config.json"), dir.path().join("config.json")).unwrap();
                let text = changed.to_string();
                let length = (text.len() as u64).to_le_bytes();
                let whole = [&length[..], text.as_bytes(), &bytes[8 + n_header..]].concat();
                fs::write(dir.path().join("model.safetensors"), whole).unwrap();
                let verdict = inspect(dir.path(), &no_limits()).unwrap();
                assert!(verdict.is_err(), "{}: `{name}` was accepted", folder.display());
            }
        }
    }
}
