//! Configs made to exhaust whoever believes them.

use crate::{
    attacks::TIME_MAX,
    memory::{largest_bytes, peak_bytes},
    published::one_each,
    writer::Random,
};
use engine::{inspect, no_limits};
use serde_json::{Value, json};
use std::{fs, time::Instant};

/// Largest single piece of memory that a config may cost.
const PIECE_MAX: usize = 1 << 20;
/// Most memory that a config of 256 KiB may cost: its values, each with its place in a map.
const PEAK_MAX: usize = 8 << 20;

/// A value that no model has, or has elsewhere.
fn bomb(random: &mut Random) -> Value {
    match random.below(16) {
        0 => json!(0),
        1 => json!(1),
        2 => json!(-1),
        3 => json!(1_000_000_000),
        4 => json!(1_u64 << (10 + random.below(54))),
        5 => json!(u64::MAX),
        6 => json!((1_u64 << (5 + random.below(18))) - random.below(2) as u64),
        7 => json!(1e300),
        8 => json!(-0.5),
        9 => json!("9".repeat(random.below(100_000))),
        10 => json!(vec![1; random.below(17_000)]),
        11 => json!(vec![json!({"a": 1}); random.below(9_000)]),
        12 => (0..random.below(9_000)).map(|i| (i.to_string(), json!(i))).collect(),
        13 => (0..random.below(20)).fold(json!(1), |value, _| json!([value])),
        14 => json!({"rope_type": "longrope", "factor": vec![1.5; random.below(20_000)]}),
        _ => json!([true, null, "full_attention"]),
    }
}

#[test]
fn attack_no_generated_config_costs_memory_or_time() {
    let seed = 500;
    let mut random = Random(seed);
    let models = one_each();
    let (mut n_accepted, mut worst) = (0, (0, 0));
    for case in 0..500 {
        let model = &models[case % models.len()];
        let mut config = model.config.clone();
        let keys: Vec<String> = config.keys().filter(|k| *k != "model_type").cloned().collect();
        for _ in 0..=random.below(4) {
            let key = match random.below(10) {
                0 => "rope_scaling".into(),
                1 => "no_such_key".into(),
                _ => keys[random.below(keys.len())].clone(),
            };
            config.insert(key, bomb(&mut random));
        }
        let dir = model.write();
        let path = dir.path().join("config.json");
        fs::remove_file(&path).unwrap();
        fs::write(&path, Value::Object(config).to_string()).unwrap();
        let start = Instant::now();
        let verdict = inspect(dir.path(), &no_limits());
        assert!(start.elapsed() < TIME_MAX, "seed {seed}, case {case}: {:?}", start.elapsed());
        n_accepted += usize::from(verdict.unwrap().is_ok());
        let inspect = || inspect(dir.path(), &no_limits()).unwrap();
        let (piece, peak) = (largest_bytes(inspect).1, peak_bytes(inspect).1);
        worst = (worst.0.max(piece), worst.1.max(peak));
        assert!(piece <= PIECE_MAX, "seed {seed}, case {case}: {piece} bytes at once");
        assert!(peak <= PEAK_MAX, "seed {seed}, case {case}: {peak} bytes in all");
    }
    eprintln!("{n_accepted} accepted; at most {} bytes at once, {} in all", worst.0, worst.1);
    assert!(n_accepted < 250, "{n_accepted}");
}

/// The costliest config there can be: all of its bytes are values, each in a map of its own.
#[test]
fn attack_a_config_of_nothing_but_small_values_is_judged_in_little_memory() {
    for piece in ["{\"\":1},", "[[]],", "\"\",", "{\"a\":[{}]},", "1,"] {
        let model = &one_each()[0];
        let mut text = String::from("{\"id2label\":[");
        while text.len() < (256 << 10) - 20 {
            text += piece;
        }
        text = text.trim_end_matches(',').to_owned() + "]}";
        let dir = model.write();
        fs::remove_file(dir.path().join("config.json")).unwrap();
        fs::write(dir.path().join("config.json"), text).unwrap();
        let inspect = || inspect(dir.path(), &no_limits()).unwrap();
        let start = Instant::now();
        let (verdict, peak) = peak_bytes(inspect);
        assert!(start.elapsed() < TIME_MAX, "{piece}");
        assert_eq!(verdict.unwrap_err().code, protocol::ReasonCode::ConfigRefused);
        let largest = largest_bytes(inspect).1;
        eprintln!("{piece} {largest} bytes at once, {peak} in all");
        assert!(largest <= PIECE_MAX && peak <= PEAK_MAX, "{piece}: {largest}, {peak}");
    }
}
