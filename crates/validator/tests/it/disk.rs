//! A disk for eight models, and 255 miners who commit to new ones in every round.

use crate::network::{Network, hotkey};
use chain::Chain as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Bytes of the largest file of a model.
const FILE_BYTES: usize = 4_096;
/// Bytes of the largest model that the rules admit.
const MODEL_BYTES: u64 = FILE_BYTES as u64 + 256;
const QUOTA_BYTES: u64 = 8 * MODEL_BYTES;
const N_ROUNDS: u64 = 20;

/// Bytes of the files in a folder; one with several names counts once.
fn size_bytes(folder: &Path) -> u64 {
    let mut sizes = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let (entry, metadata) =
                entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                folders.push(entry);
            } else {
                sizes.insert(metadata.ino(), metadata.len());
            }
        }
    }
    sizes.values().sum()
}

/// Commits to a model that is new and fills what a model may have.
fn enter(network: &Network, miner: &str, model: &str, loss: f64) {
    let dir = network.model(model, Some(loss));
    fs::write(dir.join("model.safetensors"), format!("{model:FILE_BYTES$}")).unwrap();
    let commitment = network.publish(miner, &dir);
    network.commit(miner, &commitment);
}

#[test]
fn attack_slots_full_of_new_models_stay_within_the_disk_and_shut_nobody_out() {
    let names: Vec<String> = (0..255).map(|i| format!("m{i}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut network = Network::new(&names);
    network.competition.model.size_bytes_max = MODEL_BYTES;
    network.competition.from_block = network.chain.head().unwrap().block.0 + 1;
    let home = network.home();
    let models = network.models(network.hub.clone(), &home);
    let models = models.with_quota(QUOTA_BYTES).with_reserve(0);
    let mut validator = network.validator_with(network.ports_with(models, &home), &home);

    // One who works: one model, committed to once, better than what the crowd has.
    let honest = names.swap_remove(200);
    let (mut measured, mut n_rounds) = (BTreeSet::new(), 0);
    let first = network.chain.head().unwrap().block.0.next_multiple_of(10);
    for round in 0..N_ROUNDS {
        for (i, name) in names.iter().enumerate() {
            let loss = 3.0 + 0.001 * (i as f64) - 0.02 * (round as f64);
            enter(&network, name, &format!("{name}-{round}"), loss);
        }
        if round == 2 {
            enter(&network, honest, "honest", 2.0);
        }
        let heard = network.run_to(&mut validator, first + 10 * round + 9);
        assert_eq!(heard.n_suspended(), 0, "round {round}");
        for summary in heard.rounds() {
            n_rounds += 1;
            let rows = summary.rows.iter().filter(|row| row.perplexity.is_some());
            measured.extend(rows.map(|row| row.hotkey));
            // Whoever does not commit again is soon the oldest of those who wait.
            let champion = summary.champion.unwrap().hotkey;
            assert!(round < 4 || champion == hotkey(honest).public(), "round {round}");
        }
        let size = size_bytes(&home.join("models"));
        assert!(size <= QUOTA_BYTES, "round {round}: {size} bytes");
    }
    assert_eq!(n_rounds, N_ROUNDS);
    let state = validator.contest("tiny").unwrap();
    assert_eq!(state.champion.unwrap().hotkey, hotkey(honest).public());
    // 64 new models are tried in a round, and among equals chance decides: of those who are new
    // each time one in 300 is never drawn in 20 rounds.
    assert!(measured.len() >= 248, "{} of 255 were measured", measured.len());
}

#[test]
fn what_a_lost_slot_left_is_gone() {
    let network = Network::new(&["ada", "ben"]);
    let home = network.home();
    let mut validator = network.validator();
    enter(&network, "ada", "kept", 3.0);
    enter(&network, "ben", "left", 2.9);
    network.run_to(&mut validator, 22);
    let models = home.join("models");
    let before = size_bytes(&models);
    network.lose_slot("ben");
    network.run_to(&mut validator, 62);
    let after = size_bytes(&models);
    assert!(after + FILE_BYTES as u64 <= before, "{before} bytes, then {after}");
    let state = validator.contest("tiny").unwrap();
    assert!(!state.verdicts.contains_key(&hotkey("ben").public()));
    assert_eq!(state.champion.unwrap().hotkey, hotkey("ada").public());
}
