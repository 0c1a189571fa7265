//! Thousands of damaged headers, indexes and configs: refused or read, never a panic.
//!
//! The same readers can be fuzzed for as long as one likes: see `fuzz/README.md`.

use crate::{
    attacks::TIME_MAX,
    memory::peak_bytes,
    mutate,
    published::{self, INDEX, Published, file, shard_name},
    writer::Random,
};
use engine::{
    EvaluateOptions, Model,
    fuzzing::{self, Demand},
    inspect, no_limits, scan,
};
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Instant,
};

/// Most bytes that reading a damaged text may take: none is longer than a few kibibytes.
const BYTES_MAX: usize = 8 << 20;

/// Documents are damaged as JSON, as bytes, or both.
fn damage(document: &mut Value, random: &mut Random) -> Vec<u8> {
    let kind = random.below(4);
    if kind > 0 {
        (0..=random.below(2)).for_each(|_| mutate::value(document, random));
    }
    let mut text = mutate::text(document, random);
    if kind == 0 || random.below(8) == 0 {
        mutate::bytes(&mut text, random);
    }
    text
}

/// A file of a model whose tensors, header or length are damaged.
fn damaged_file(model: &Published, random: &mut Random) -> Vec<u8> {
    let mut tensors = model.tensors.clone();
    let kind = random.below(3);
    if kind > 0 {
        (0..=random.below(2)).for_each(|_| mutate::tensors(&mut tensors, random));
    }
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    let mut header = Value::Object(published::header(&tensors));
    if random.below(4) == 0 {
        header["__metadata__"] = json!({"format": "pt"});
    }
    let text = if kind < 2 { damage(&mut header, random) } else { header.to_string().into() };
    let mut file = file(&text, &data);
    match random.below(16) {
        0 => file[random.below(8)] ^= 1 << random.below(8),
        1 => file.truncate(random.below(file.len())),
        2 => file.push(0),
        _ => (),
    }
    file
}

/// An index whose files, tensors or text are damaged.
fn damaged_index(model: &Published, n_shards: usize, random: &mut Random) -> Vec<u8> {
    let file = |at: usize| json!(shard_name(at % n_shards, n_shards));
    let names = model.tensors.iter().enumerate();
    let map: Map<_, _> = names.map(|(at, tensor)| (tensor.name.clone(), file(at))).collect();
    let mut index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    damage(&mut index, random)
}

/// Reads a text within bounds; `read` must not panic.
fn read<T>(seed: u64, read: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, n_bytes) = peak_bytes(read);
    assert!(start.elapsed() < TIME_MAX, "seed {seed}: {:?}", start.elapsed());
    assert!(n_bytes < BYTES_MAX, "seed {seed}: {n_bytes} bytes");
    result
}

/// What the crate of the format's authors reads in a file, in the order of names.
fn as_the_crate_reads(file: &[u8]) -> Option<Vec<fuzzing::Entry>> {
    let (_, metadata) = SafeTensors::read_metadata(file).ok()?;
    let tensor = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let shape = info.shape.iter().map(|&size| size as u64).collect();
        let (begin, end) = info.data_offsets;
        (name, format!("{:?}", info.dtype), shape, begin as u64, end as u64)
    };
    let mut tensors: Vec<_> = metadata.tensors().into_iter().map(tensor).collect();
    tensors.sort();
    Some(tensors)
}

/// What our scanner reads in a file.
fn as_we_read(file: &[u8]) -> Result<Vec<fuzzing::Entry>, String> {
    let Some((length, rest)) = file.split_first_chunk() else { return Err("no length".into()) };
    let n_header = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    match rest.split_at_checked(n_header) {
        Some((header, data)) => fuzzing::header(header, data.len() as u64),
        None => Err("no header".into()),
    }
}

#[test]
fn attack_damaged_headers_are_refused_or_read_as_the_formats_own_crate_reads_them() {
    let models = published::all();
    let (n_cases, mut n_accepted) = (6_000, 0);
    for seed in 0..n_cases {
        let mut random = Random(seed);
        let (_, model) = &models[random.below(models.len())];
        let file = damaged_file(model, &mut random);
        match read(seed, || as_we_read(&file)) {
            Ok(tensors) => {
                n_accepted += 1;
                assert_eq!(Some(tensors), as_the_crate_reads(&file), "seed {seed}");
            }
            Err(because) => assert!(!because.is_empty(), "seed {seed}"),
        }
    }
    eprintln!("{n_accepted} of {n_cases} headers accepted");
    assert!(n_accepted > n_cases / 10 && n_accepted < n_cases * 9 / 10, "{n_accepted}");
}

#[test]
fn attack_damaged_configs_are_refused_or_mean_one_set_of_tensors() {
    let models = published::all();
    let (n_cases, mut n_accepted) = (10_000, 0);
    for seed in 0..n_cases {
        let mut random = Random(seed);
        let (_, model) = &models[random.below(models.len())];
        let text = damage(&mut Value::Object(model.config.clone()), &mut random);
        let verdict = read(seed, || fuzzing::config(&text));
        match verdict.unwrap_or_else(|error| panic!("seed {seed}: our own trouble: {error}")) {
            Ok(Demand { n_parameters, tensors, .. }) => {
                n_accepted += 1;
                let n: u64 = tensors.iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
                assert_eq!(n, n_parameters, "seed {seed}");
                let names: BTreeSet<_> = tensors.iter().map(|(name, _)| name).collect();
                assert_eq!(names.len(), tensors.len(), "seed {seed}: a tensor stands twice");
                let config: Map<String, Value> = serde_json::from_slice(&text).unwrap();
                assert!(config.contains_key("model_type"), "seed {seed}");
            }
            Err(reason) => assert!(!reason.detail.is_empty(), "seed {seed}: {reason}"),
        }
    }
    eprintln!("{n_accepted} of {n_cases} configs accepted");
    assert!(n_accepted > n_cases / 10 && n_accepted < n_cases * 9 / 10, "{n_accepted}");
}

#[test]
fn attack_damaged_indexes_are_refused_or_name_plain_files() {
    let models = published::all();
    let (n_cases, mut n_accepted) = (6_000, 0);
    for seed in 0..n_cases {
        let mut random = Random(seed);
        let (_, model) = &models[random.below(models.len())];
        let text = damaged_index(model, 1 + random.below(3), &mut random);
        match read(seed, || fuzzing::index(&text)) {
            Ok(map) => {
                n_accepted += 1;
                let theirs: Value = serde_json::from_slice(&text).unwrap();
                let none = json!({});
                let theirs = theirs.get("weight_map").unwrap_or(&none);
                let map: BTreeMap<_, _> = map.into_iter().collect();
                assert_eq!(json!(map), *theirs, "seed {seed}");
                let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
                assert!(map.values().all(|name| name.chars().all(is_plain)), "seed {seed}");
            }
            Err(because) => assert!(!because.is_empty(), "seed {seed}"),
        }
    }
    eprintln!("{n_accepted} of {n_cases} indexes accepted");
    assert!(n_accepted > n_cases / 10 && n_accepted < n_cases * 9 / 10, "{n_accepted}");
}

/// All that the engine says about a folder is the same, whoever is asked; whether it is good.
fn is_accepted(dir: &Path, seed: u64) -> bool {
    let trouble = |error: &engine::Error| format!("seed {seed}: our own trouble: {error}");
    let limits = no_limits();
    let inspected =
        read(seed, || inspect(dir, &limits)).unwrap_or_else(|e| panic!("{}", trouble(&e)));
    let scanned = read(seed, || scan(dir, &limits)).unwrap_or_else(|e| panic!("{}", trouble(&e)));
    let loaded = Model::load(dir, &limits).unwrap_or_else(|e| panic!("{}", trouble(&e)));
    match (inspected, scanned, loaded) {
        (Ok(inspection), Ok(_), Ok(model)) => {
            assert_eq!(&inspection, model.inspection(), "seed {seed}");
            // A loss or a reason for none, but no panic.
            let tokens = vec![0; inspection.context.min(9)];
            if tokens.len() > 1 {
                let options = EvaluateOptions { threads: 1, ..EvaluateOptions::default() };
                let _ = model
                    .evaluate(&[tokens], &options)
                    .unwrap_or_else(|e| panic!("{}", trouble(&e)));
            }
            true
        }
        (Ok(_), Err(scanned), Err(loaded)) => {
            assert_eq!(scanned.code, loaded.code, "seed {seed}: {scanned} {loaded}");
            false
        }
        (Err(inspected), Err(scanned), Err(loaded)) => {
            assert!(inspected == scanned && inspected == loaded, "seed {seed}: {inspected}");
            assert!(!inspected.detail.is_empty(), "seed {seed}");
            false
        }
        (inspected, scanned, loaded) => panic!(
            "seed {seed}: {inspected:?}, but scanned {scanned:?} and loaded {:?}",
            loaded.map(|_| ())
        ),
    }
}

/// Writes a damaged model: in one file or several, of which one part is damaged.
fn write_damaged(model: &Published, random: &mut Random) -> tempfile::TempDir {
    let replace = |path: &Path, bytes: &[u8]| {
        // A new file: some file systems flush one that is truncated and written again.
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let n_shards = 1 + random.below(3);
    match random.below(4) {
        0 => {
            let dir = model.write();
            let text = damage(&mut Value::Object(model.config.clone()), random);
            replace(&dir.path().join("config.json"), &text);
            dir
        }
        1 => {
            let dir = model.write();
            replace(&dir.path().join("model.safetensors"), &damaged_file(model, random));
            dir
        }
        2 => {
            let dir = model.write_shards(n_shards);
            replace(&dir.path().join(INDEX), &damaged_index(model, n_shards, random));
            dir
        }
        _ => {
            let mut changed = model.clone();
            mutate::tensors(&mut changed.tensors, random);
            changed.write_shards(n_shards)
        }
    }
}

#[test]
fn attack_damaged_models_are_judged_alike_by_every_door() {
    let models = published::all();
    let (n_cases, mut n_accepted) = (1_500, 0);
    for seed in 0..n_cases {
        let mut random = Random(seed);
        let (_, model) = &models[random.below(models.len())];
        let dir = write_damaged(model, &mut random);
        n_accepted += u64::from(is_accepted(dir.path(), seed));
    }
    eprintln!("{n_accepted} of {n_cases} models accepted");
    assert!(n_accepted > n_cases / 20 && n_accepted < n_cases / 2, "{n_accepted}");
}
