//! The bytes of a record, from models on a disk to the hash.

use super::*;
use dataset::Batch;
use engine::{InstructionSet, no_limits};
use protocol::{
    AccountId, Block, BlockHash, Digest, Outcome, Record, Uid,
    competition::{LossKind, Rule},
    record::{Finding, Model as Judged, Round},
    weights::MovingAverage,
};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// The token whose row of the embedding overflows in hostile models.
const HOSTILE: u32 = 3;

/// Golden models of all architectures.
fn golden() -> Vec<PathBuf> {
    let entries =
        ["llama", "models"].map(|part| fs::read_dir(format!("../../testdata/{part}")).unwrap());
    let entries = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("golden.json").exists()).collect();
    folders.sort();
    folders
}

/// Copies a model; one token's row of the embedding becomes so large that products overflow.
fn hostile(from: &Path, to: &Path) {
    let mut n_spoilt = 0;
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
            for (name, tensor) in header.as_object().unwrap() {
                // Of positions there are tables, too.
                let is_table = ["embed_tokens", "wte", "embed_in", "word_embeddings"]
                    .iter()
                    .any(|part| name.contains(part));
                if !is_table {
                    continue;
                }
                let (width, large): (usize, &[u8]) = match tensor["dtype"].as_str().unwrap() {
                    "F32" => (4, &[0x8e, 0x76, 0x96, 0x7e]),
                    _ => (2, &[0x96, 0x7e]),
                };
                let n = tensor["shape"][1].as_u64().unwrap() as usize * width;
                let begin = tensor["data_offsets"][0].as_u64().unwrap() as usize;
                let begin = 8 + length + begin + HOSTILE as usize * n;
                for number in bytes[begin..begin + n].chunks_mut(width) {
                    number.copy_from_slice(large);
                }
                n_spoilt += 1;
            }
        }
        fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
    assert_eq!(n_spoilt, 1, "{}", from.display());
}

/// Batches of lengths that fill tiles and do not; with the hostile token at the end of some.
fn batches(seed: u32, place: usize) -> Vec<Batch> {
    let sequence = |length: u32| {
        let mut tokens: Vec<u32> = (0..length).map(|i| 4 + (i * i + seed) % 40).collect();
        if length as usize > place {
            let last = tokens.len() - 1;
            tokens[last - place] = HOSTILE;
        }
        tokens
    };
    let lengths = [[2, 6, 12], [7, 13, 25], [16, 33, 40]];
    lengths.map(|lengths| Batch { sequences: lengths.map(sequence).to_vec() }).to_vec()
}

/// What the losses of a model, however they were computed, put into a record.
fn finding(model: &Model, batches: &[Batch], options: &EvaluateOptions<'_>) -> Finding {
    let sequences: Vec<Vec<u32>> = batches.iter().flat_map(|b| b.sequences.clone()).collect();
    match model.evaluate(&sequences, options).unwrap() {
        Ok(losses) => {
            let sizes = batches.iter().map(|batch| batch.sequences.len());
            Finding::Evaluated(per_batch(sizes, &losses))
        }
        Err(reason) => Finding::from(&Outcome::Disqualified(reason)),
    }
}

fn record(models: Vec<Judged>) -> Vec<u8> {
    let mut competition = Competition::builtin("tiny").unwrap();
    let Competition { evaluation, scoring, .. } = &mut competition;
    evaluation.n_batches = 3;
    (scoring.rule, scoring.loss, scoring.duel) = (Rule::Succession, LossKind::Perplexity, None);
    let round = Round {
        competition: competition.name.clone(),
        competition_digest: competition.digest(),
        number: 1,
        previous: None,
        block: Block(1000),
        block_hash: BlockHash([1; 32]),
        validator: AccountId([2; 32]),
        genesis: BlockHash([6; 32]),
        netuid: protocol::NetUid(7),
        engine: "test".to_owned(),
        tokenizer: Digest([3; 32]),
        dataset: Digest([4; 32]),
        documents: Vec::new().into(),
        optimum: None,
        batches: Digest([5; 32]),
    };
    Record::new(round, &competition, models, &mut MovingAverage::default()).to_json()
}

#[test]
fn the_bytes_of_a_record_do_not_depend_on_instructions_threads_or_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = Vec::new();
    for (number, honest) in golden().iter().enumerate() {
        let copy = folder.path().join(number.to_string());
        fs::create_dir(&copy).unwrap();
        hostile(honest, &copy);
        models.extend([honest, &copy].map(|dir| Model::load(dir, &no_limits()).unwrap().unwrap()));
    }
    assert!(models.len() >= 112);
    let sets = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    let cuts = [(1, 0), (3, 1), (2, 100)];
    let (mut expected, mut n_refused) = ([None, None, None], [0, 0]);
    for (turn, instructions) in sets.enumerate() {
        let (threads, sequences_per_batch) = cuts[turn % cuts.len()];
        let options =
            EvaluateOptions { threads, sequences_per_batch, instructions, ..Default::default() };
        // The hostile token last, where it decides nothing; before it; in the middle.
        for (place, expected) in [0, 1, 5].into_iter().zip(&mut expected) {
            let judged = |(uid, model): (u16, &Model)| Judged {
                uid: Uid(uid),
                hotkey: AccountId([uid as u8; 32]),
                coldkey: None,
                commit_block: Block(u64::from(uid)),
                commit_block_hash: BlockHash([7; 32]),
                since: None,
                repo: None,
                revision: None,
                file_root: None,
                tensor_root: None,
                card: None,
                finding: finding(model, &batches(u32::from(uid), place), &options),
            };
            let mut models: Vec<Judged> = (0u16..).zip(&models).map(judged).collect();
            let refused = models.iter().filter(|m| matches!(m.finding, Finding::Disqualified(_)));
            n_refused[place.min(1)] = refused.count();
            if turn % 2 == 1 {
                models.reverse();
            }
            let found = record(models);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(found == *expected, "{instructions}, place {place}: {}", Digest::of(&found));
        }
    }
    // A tied head overflows for every token, a norm by the root mean square for none.
    let [last, before] = n_refused;
    assert!(last + 10 < before && before < 60, "{last} and {before} refused");
}

#[test]
fn a_look_ahead_says_what_a_look_at_the_whole_files_says_where_no_parameter_is_needed() {
    use hub::{Hub as _, Intake, StoreHub, content::file_root};
    use protocol::{Commitment, content::bound_hash};
    let dir = tempfile::tempdir().unwrap();
    let store = StoreHub::open(&dir.path().join("hub")).unwrap();
    let intake = Intake::open(&dir.path().join("models")).unwrap();
    let mut competition = Competition::builtin("tiny").unwrap();
    competition.model = no_limits();
    let golden = golden().into_iter().find(|path| path.ends_with("minimal")).unwrap();
    let config = fs::read_to_string(golden.join("config.json")).unwrap();
    let parameters = fs::read(golden.join("model.safetensors")).unwrap();
    let with = |key: &str, value: Value| {
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config[key] = value;
        (config.to_string(), parameters.clone())
    };
    let mut zeros = parameters.clone();
    zeros.fill(0);
    let mut cut = parameters.clone();
    cut.truncate(parameters.len() - 4);
    let mut broken = parameters.clone();
    broken[9] = b'?';
    let models = [
        (config.clone(), parameters.clone()),
        with("model_type", "no-such-model".into()),
        with("hidden_size", 1.into()),
        with("some_key", 1.into()),
        (config.clone(), zeros),
        (config.clone(), cut),
        (config.clone(), broken),
        ("{".to_owned(), parameters.clone()),
    ];
    let mut codes = std::collections::BTreeSet::new();
    for (i, (config, parameters)) in models.into_iter().enumerate() {
        let folder = dir.path().join(i.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), config).unwrap();
        fs::write(folder.join("model.safetensors"), parameters).unwrap();
        let repo: protocol::Repo = format!("ann/{i}").parse().unwrap();
        let revision = store.publish(&repo, &folder).unwrap();
        let root = file_root(&store.list(&repo, &revision).unwrap().unwrap());
        let (owner, competition_id) = (AccountId([1; 32]), competition.id);
        let secure_hash = bound_hash(&root, &owner, competition_id);
        let commitment = Commitment { repo, revision, secure_hash, competition: competition_id };
        let found = intake.find(&store, &competition, owner, &commitment).unwrap().unwrap();
        let preview = intake.preview(&store, &found).unwrap().unwrap();
        let ahead = check_ahead(preview.dir(), &competition).unwrap();
        let whole = check(&folder, &competition).unwrap().map(drop);
        assert_eq!(ahead, whole, "model {i}");
        codes.extend(ahead.err().map(|reason| format!("{:?}", reason.code)));
    }
    assert!(codes.len() >= 4, "{codes:?}");
}
