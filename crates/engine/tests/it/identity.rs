//! A loss is a function of parameters and tokens: the same bits however the work is cut.

use crate::{
    evaluate, folder, load,
    writer::{self, Random, Recipe},
};
use engine::{EvaluateOptions, InstructionSet, LoadOptions, Model, SequenceLoss};
use protocol::Digest;
use serde_json::json;
use std::{fmt::Write as _, fs, path::Path};
use tempfile::TempDir;

/// One hash over the bits of all losses.
pub(crate) fn hash(losses: &[SequenceLoss]) -> Digest {
    let mut bytes = Vec::new();
    for loss in losses {
        bytes.extend(loss.cross_entropy.value().to_le_bytes());
        bytes.extend(loss.token_nll.iter().flatten().flat_map(|nats| nats.to_le_bytes()));
    }
    Digest::of(&bytes)
}

fn sequences(vocabulary: usize, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut random = Random(3);
    lengths.iter().map(|&length| random.tokens(length, vocabulary)).collect()
}

/// Sizes that fill no block of a kernel, and sequences that need several.
fn odd() -> Recipe {
    Recipe {
        intermediate: 270,
        n_heads: 6,
        n_kv_heads: 3,
        head_dim: 14,
        has_biases: true,
        ..Recipe::small(60, 2, 333)
    }
}

const LENGTHS: [usize; 9] = [2, 64, 17, 130, 64, 300, 5, 64, 49];

pub(crate) fn options(
    threads: usize,
    batch: usize,
    instructions: InstructionSet,
) -> EvaluateOptions<'static> {
    EvaluateOptions {
        threads,
        sequences_per_batch: batch,
        instructions,
        ..EvaluateOptions::default()
    }
}

/// The hash for every way of cutting the work, which must be the same.
fn only_hash(dir: &Path, sequences: &[Vec<u32>]) -> Digest {
    let best = InstructionSet::best();
    let resident = load(dir);
    let streamed = LoadOptions { streamed: true, ..LoadOptions::default() };
    let streamed = Model::load_with(dir, &engine::no_limits(), &streamed).unwrap().unwrap();
    assert!(streamed.is_streamed() && !resident.is_streamed());
    let expected = hash(&evaluate(&resident, sequences, &options(1, 0, best)));
    for (model, how) in [(&resident, "resident"), (&streamed, "streamed")] {
        for threads in [1, 2, 8] {
            for batch in [0, 1, 2, 5, 100] {
                let found = hash(&evaluate(model, sequences, &options(threads, batch, best)));
                assert_eq!(found, expected, "{how}, {threads} threads, {batch} per batch");
            }
        }
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let found = hash(&evaluate(model, sequences, &options(2, 3, set)));
            assert_eq!(found, expected, "{how}, {set}");
        }
        let backwards: Vec<_> = sequences.iter().rev().cloned().collect();
        let mut losses = evaluate(model, &backwards, &options(2, 4, best));
        losses.reverse();
        assert_eq!(hash(&losses), expected, "{how}, backwards");
        let alone = sequences.iter().map(|tokens| {
            evaluate(model, std::slice::from_ref(tokens), &options(8, 0, best)).remove(0)
        });
        assert_eq!(hash(&alone.collect::<Vec<_>>()), expected, "{how}, one by one");
    }
    expected
}

#[test]
fn losses_have_one_hash_for_threads_batches_orders_and_instructions() {
    let recipe = odd();
    let found = only_hash(folder(&recipe).path(), &sequences(recipe.vocabulary, &LENGTHS));
    // Frozen: another number here is another definition of a loss.
    assert_eq!(found.hex(), "f5679d6b74ad8617a3d373b8339ecd8fc305f1c96c666699fe47ae76f33c28d5");
}

#[test]
fn losses_of_bf16_parameters_have_one_hash_too() {
    let recipe = Recipe { dtype: "BF16", is_tied: true, ..odd() };
    let found = only_hash(folder(&recipe).path(), &sequences(recipe.vocabulary, &LENGTHS));
    assert_eq!(found.hex(), "7bdcf43256d763d8a9b158a8a43f165496fb64aa7ae02ed0c9f5f951b5640b2e");
}

#[test]
fn losses_do_not_depend_on_how_parameters_are_stored() {
    let recipe = Recipe { dtype: "BF16", ..odd() };
    let sequences = sequences(recipe.vocabulary, &LENGTHS[..4]);
    let options = EvaluateOptions::default();
    let expected = hash(&evaluate(&load(folder(&recipe).path()), &sequences, &options));

    let mut wide = recipe.tensors();
    for tensor in &mut wide {
        tensor.numbers = tensor.rounded().iter().map(|number| *number as f32).collect();
        tensor.dtype = "F32";
    }
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), &recipe.config(), &wide);
    assert_eq!(hash(&evaluate(&load(dir.path()), &sequences, &options)), expected, "F32");

    for tensor in wide.iter_mut().filter(|tensor| tensor.name.contains("q_proj")) {
        tensor.dtype = "BF16";
    }
    writer::write(dir.path(), &recipe.config(), &wide);
    assert_eq!(hash(&evaluate(&load(dir.path()), &sequences, &options)), expected, "mixed");

    let sharded = tempfile::tempdir().unwrap();
    write_shards(sharded.path(), &recipe, 3);
    assert_eq!(hash(&evaluate(&load(sharded.path()), &sequences, &options)), expected, "shards");
    let roots = [folder(&recipe), sharded]
        .map(|dir| engine::scan(dir.path(), &engine::no_limits()).unwrap().unwrap().tensor_root);
    assert_eq!(roots[0], roots[1]);
}

/// Spreads the tensors of a recipe over files.
pub(crate) fn write_shards(dir: &Path, recipe: &Recipe, n: usize) {
    let mut map = serde_json::Map::new();
    let tensors = recipe.tensors();
    for (index, part) in tensors.chunks(tensors.len().div_ceil(n)).enumerate() {
        let name = format!("model-{:05}-of-{n:05}.safetensors", index + 1);
        fs::write(dir.join(&name), writer::safetensors(part)).unwrap();
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), json!(name))));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::write(dir.join("config.json"), recipe.config().to_string()).unwrap();
}

#[test]
fn attack_later_tokens_never_reach_earlier_losses() {
    // Queries and keys a thousand times too large: scores up to a million, if they leak they show.
    let mut loud = odd().tensors();
    for tensor in &mut loud {
        if tensor.name.contains("q_proj") || tensor.name.contains("k_proj") {
            tensor.numbers.iter_mut().for_each(|number| *number *= 1000.0);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), &odd().config(), &loud);
    for model in [load(folder(&odd()).path()), load(dir.path())] {
        let tokens = sequences(333, &[150]).remove(0);
        let nats = |tokens: Vec<u32>| {
            let losses = evaluate(&model, &[tokens], &EvaluateOptions::default());
            losses.into_iter().next().unwrap().token_nll.unwrap()
        };
        let whole = nats(tokens.clone());
        for cut in [2, 5, 6, 7, 16, 17, 48, 49, 100, 149] {
            let mut changed = tokens.clone();
            changed[cut..].iter_mut().for_each(|token| *token = (*token + 1) % 333);
            let bits =
                |nats: &[f32]| nats[..cut - 1].iter().map(|n| n.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&nats(changed)), bits(&whole), "changed from {cut} on");
            assert_eq!(bits(&nats(tokens[..cut].to_vec())), bits(&whole), "cut at {cut}");
        }
    }
}

/// The same parameters under a config of another member of the family.
fn as_family(recipe: &Recipe, family: &str, more: &[(&str, serde_json::Value)]) -> TempDir {
    let mut config = recipe.config();
    config.as_object_mut().unwrap().remove("architectures");
    config["model_type"] = json!(family);
    for key in ["attention_bias", "mlp_bias"] {
        config.as_object_mut().unwrap().remove(key);
    }
    for (key, value) in more {
        config[*key] = value.clone();
    }
    let mut tensors = recipe.tensors();
    if family == "qwen3" {
        for layer in 0..recipe.n_layers {
            for name in ["q_norm", "k_norm"] {
                let numbers = (0..recipe.head_dim).map(|i| 1.0 + 0.1 * i as f32).collect();
                let name = format!("model.layers.{layer}.self_attn.{name}.weight");
                let shape = vec![recipe.head_dim];
                tensors.push(writer::Tensor { name, dtype: recipe.dtype, shape, numbers });
            }
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), &config, &tensors);
    dir
}

#[test]
fn losses_of_windows_and_normed_heads_have_one_hash_too() {
    let recipe = Recipe { has_biases: false, ..odd() };
    let window = [("sliding_window", json!(40))];
    let windows = [
        ("sliding_window", json!(100)),
        ("use_sliding_window", json!(true)),
        ("max_window_layers", json!(1)),
    ];
    for (family, more, frozen) in [
        (
            "mistral",
            &window[..],
            "2d2d8a81812ff8da172742b22dbde511fe82dee717b0d9b86744e3db9a773fe3",
        ),
        ("qwen3", &windows[..], "dd0351a5b61059cbecc6238beab12f7d925ffb23708b0cdc1223ba50d8a03e8a"),
    ] {
        let dir = as_family(&recipe, family, more);
        let found = only_hash(dir.path(), &sequences(recipe.vocabulary, &LENGTHS));
        assert_eq!(found.hex(), frozen, "{family}");
    }
}

/// One line per golden model: its name and the hash of its losses. Another hash there is another
/// definition of a loss.
const HASHES: &str = include_str!("hashes.txt");

/// Some lines of the file of hashes.
pub(crate) fn frozen_hashes(is_wanted: impl Fn(&str) -> bool) -> String {
    HASHES.split_inclusive('\n').filter(|line| is_wanted(line)).collect()
}

#[test]
fn every_golden_model_has_one_hash() {
    let mut found = String::new();
    for folder in crate::golden::folders() {
        let vocabulary = load(&folder).vocabulary();
        let hash = only_hash(&folder, &sequences(vocabulary, &[2, 33, 128, 17, 100]));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        writeln!(found, "{name} {}", hash.hex()).unwrap();
    }
    // A difference between machines, or between two runs, shows here as well.
    assert_eq!(found, frozen_hashes(|line| !line.starts_with("wide/")));
}

#[test]
fn attack_later_tokens_never_reach_earlier_losses_of_any_architecture() {
    for folder in crate::golden::folders() {
        let model = load(&folder);
        let vocabulary = model.vocabulary();
        let tokens = sequences(vocabulary, &[128]).remove(0);
        let bits = |tokens: &[u32]| -> Vec<u32> {
            let losses = evaluate(&model, &[tokens.to_vec()], &EvaluateOptions::default());
            let nats = losses.into_iter().next().unwrap().token_nll.unwrap();
            nats.into_iter().map(f32::to_bits).collect()
        };
        let whole = bits(&tokens);
        for cut in [2, 7, 16, 48, 49, 100, 127] {
            let mut changed = tokens.clone();
            let later = changed[cut..].iter_mut();
            later.for_each(|token| *token = (*token + 1) % vocabulary as u32);
            let place = folder.display();
            assert_eq!(bits(&changed)[..cut - 1], whole[..cut - 1], "{place}: from {cut} on");
            assert_eq!(bits(&tokens[..cut]), whole[..cut - 1], "{place}: cut at {cut}");
        }
    }
}

#[test]
fn tokens_that_all_windows_have_left_behind_never_reach_a_loss() {
    let recipe = Recipe { has_biases: false, ..odd() };
    let dir = as_family(&recipe, "mistral", &[("sliding_window", json!(30))]);
    let model = load(dir.path());
    let tokens = sequences(recipe.vocabulary, &[700]).remove(0);
    let nats = |tokens: Vec<u32>| {
        evaluate(&model, &[tokens], &EvaluateOptions::default()).remove(0).token_nll.unwrap()
    };
    let bits = |nats: &[f32]| nats.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
    let whole = nats(tokens.clone());
    for cut in [1, 16, 100, 255, 256, 257, 500] {
        let mut changed = tokens.clone();
        changed[..cut].iter_mut().for_each(|token| *token = (*token + 1) % 333);
        let found = nats(changed);
        // Two layers look back 29 positions each; a loss belongs to the position before its token.
        let reach = cut + 2 * 29;
        assert_eq!(bits(&found[reach..]), bits(&whole[reach..]), "changed up to {cut}");
        let middle = cut + 29;
        assert_ne!(bits(&found[middle..reach]), bits(&whole[middle..reach]), "over both layers");
    }
}
