//! What a trainer promises, through its public face.

use proptest::prelude::*;
use protocol::{Seed, seed::uniform_below};
use std::{
    fs,
    path::{Path, PathBuf},
};
use trainer::{Error, ModelConfig, Order, Recipe, StepReport, Trainer};

fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: 32,
        hidden: 32,
        intermediate: 48,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        context: 25,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: true,
    }
}

fn recipe() -> Recipe {
    Recipe {
        lr: 1e-2,
        lr_min: 1e-3,
        warmup_steps: 5,
        total_steps: 60,
        sequences_per_batch: 4,
        ..Recipe::default()
    }
}

fn trainer(seed: u64) -> Trainer {
    Trainer::new(config(), recipe(), Seed::of_number(seed)).unwrap()
}

/// A stream in which most tokens follow from the one before.
fn sequence(index: usize) -> Vec<u32> {
    let mut stream = Seed::of_number(index as u64).stream();
    let mut token = uniform_below(&mut stream, 32) as u32;
    let mut next = || {
        let is_random = uniform_below(&mut stream, 8) == 0;
        token =
            if is_random { uniform_below(&mut stream, 32) as u32 } else { (token * 5 + 3) % 32 };
        token
    };
    (0..25).map(|_| next()).collect()
}

fn batch(order: &mut Order) -> Vec<Vec<u32>> {
    order.by_ref().take(4).map(sequence).collect()
}

fn train(trainer: &mut Trainer, order: &mut Order, n_steps: usize) -> Vec<StepReport> {
    (0..n_steps).map(|_| trainer.step(&batch(order)).unwrap()).collect()
}

fn order() -> Order {
    Order::new(Seed::of_number(3), 100, 0).unwrap()
}

/// The bytes of a model's parameters.
fn parameters(trainer: &Trainer) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    trainer.save_model(&home.path().join("model")).unwrap();
    fs::read(home.path().join("model/model.safetensors")).unwrap()
}

#[test]
fn the_loss_falls_on_a_predictable_stream() {
    let mut trainer = trainer(1);
    let unseen: Vec<Vec<u32>> = (1000..1020).map(sequence).collect();
    let before = trainer.loss(&unseen).unwrap();
    assert!((before - 32.0_f64.ln()).abs() < 0.3, "{before}");
    let reports = train(&mut trainer, &mut order(), 60);
    let after = trainer.loss(&unseen).unwrap();
    // An eighth of the tokens is random: the optimum is about 0.8 nats.
    assert!(after < 1.2, "{before} to {after}");
    let last = reports.last().unwrap();
    assert_eq!((last.step, last.n_tokens, last.lr), (60, 4 * 24, 1e-3));
    assert!(last.gradient_norm > 0.0 && last.loss < reports[0].loss);
}

#[test]
fn a_resumed_run_makes_the_same_steps_bit_for_bit() {
    let home = tempfile::tempdir().unwrap();
    let (mut whole, mut whole_order) = (trainer(1), order());
    train(&mut whole, &mut whole_order, 7);
    whole.save_checkpoint(home.path(), &[whole_order.position(), u64::MAX]).unwrap();
    let expected = train(&mut whole, &mut whole_order, 8);

    let (mut resumed, position) = Trainer::resume(home.path()).unwrap();
    assert_eq!(position, [28, u64::MAX]);
    assert_eq!((resumed.n_steps(), resumed.recipe()), (7, &recipe()));
    let mut resumed_order = Order::new(Seed::of_number(3), 100, position[0]).unwrap();
    assert_eq!(train(&mut resumed, &mut resumed_order, 8), expected);
    assert!(parameters(&resumed) == parameters(&whole));

    // A later checkpoint replaces the earlier one and nothing else appears.
    resumed.save_checkpoint(home.path(), &[]).unwrap();
    assert_eq!(Trainer::resume(home.path()).unwrap().0.n_steps(), 15);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn runs_beside_each_other_and_on_more_threads_give_the_same_bits() {
    let run = |n_threads: usize| {
        let mut trainer = trainer(1).with_threads(n_threads).unwrap();
        let reports = train(&mut trainer, &mut order(), 6);
        (reports, parameters(&trainer))
    };
    let alone = run(1);
    std::thread::scope(|scope| {
        let runs = [1, 1, 3].map(|n_threads| scope.spawn(move || run(n_threads)));
        for run in runs {
            assert!(run.join().unwrap() == alone);
        }
    });
}

#[test]
fn a_seed_gives_one_model_and_another_seed_another() {
    assert!(parameters(&trainer(1)) == parameters(&trainer(1)));
    assert!(parameters(&trainer(1)) != parameters(&trainer(2)));
}

/// The engine's loss of a saved model over some sequences of one length.
fn measured_by_engine(dir: &Path, sequences: &[Vec<u32>]) -> f64 {
    let model = engine::Model::load(dir, &engine::no_limits()).unwrap().unwrap();
    let options = engine::EvaluateOptions { threads: 1, ..Default::default() };
    let losses = model.evaluate(sequences, &options).unwrap().unwrap();
    losses.iter().map(|loss| loss.cross_entropy.value()).sum::<f64>() / losses.len() as f64
}

#[test]
fn the_engine_measures_the_loss_that_the_trainer_reports() {
    let home = tempfile::tempdir().unwrap();
    let shapes = [
        config(),
        ModelConfig { tied: false, n_kv_heads: 4, ..config() },
        ModelConfig { n_heads: 2, n_kv_heads: 1, rope_theta: 500_000.0, ..config() },
        ModelConfig { context: 200, hidden: 48, intermediate: 40, ..config() },
    ];
    for (i, config) in shapes.into_iter().enumerate() {
        let dir = home.path().join(i.to_string());
        let length = config.context;
        let longer = |index: usize| -> Vec<u32> {
            (0..).flat_map(|i| sequence(index * 100 + i)).take(length).collect()
        };
        let mut trainer = Trainer::new(config, recipe(), Seed::of_number(i as u64)).unwrap();
        for step in 0..12 {
            trainer.step(&[step, 50, step + 100, 7].map(longer)).unwrap();
        }
        trainer.save_model(&dir).unwrap();
        let unseen: Vec<Vec<u32>> = (1000..1010).map(longer).collect();
        let (ours, engines) = (trainer.loss(&unseen).unwrap(), measured_by_engine(&dir, &unseen));
        assert!((ours - engines).abs() < 1e-5, "shape {i}: trainer {ours}, engine {engines}");
    }
}

#[test]
fn a_rebased_model_starts_with_the_parameters_and_the_loss_that_were_saved() {
    let home = tempfile::tempdir().unwrap();
    for tied in [true, false] {
        let dir = home.path().join(format!("tied-{tied}"));
        let config = ModelConfig { tied, ..config() };
        let mut first = Trainer::new(config, recipe(), Seed::of_number(4)).unwrap();
        train(&mut first, &mut order(), 3);
        first.save_model(&dir).unwrap();
        let rebased = Trainer::from_model(&dir, recipe()).unwrap();
        let unseen: Vec<Vec<u32>> = (1000..1020).map(sequence).collect();
        assert_eq!(rebased.config(), first.config());
        assert_eq!(rebased.n_steps(), 0);
        assert_eq!(rebased.loss(&unseen).unwrap(), first.loss(&unseen).unwrap());
        assert!(parameters(&rebased) == parameters(&first));
    }
}

#[test]
fn a_model_appears_whole_and_replaces_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("deep/model");
    trainer(1).save_model(&dir).unwrap();
    let saved = fs::read(dir.join("model.safetensors")).unwrap();
    assert!(matches!(trainer(2).save_model(&dir), Err(Error::Exists { .. })));
    assert!(fs::read(dir.join("model.safetensors")).unwrap() == saved);
    let names = |dir: &Path| -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&home.path().join("deep")), ["model"]);
    assert_eq!(names(&dir), ["config.json", "model.safetensors"]);
}

#[test]
fn a_config_is_read_in_both_spellings_of_transformers() {
    let home = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        fs::write(home.path().join("config.json"), text).unwrap();
        ModelConfig::read(home.path())
    };
    let config = ModelConfig { rope_theta: 500_000.0, ..config() };
    let old = config.to_json();
    assert_eq!(read(&old).unwrap(), config);
    let new = old
        .replace("\"rope_scaling\": null", "\"pad_token_id\": null")
        .replace("torch_dtype", "dtype")
        .replace(
            "\"rope_theta\": 500000.0",
            "\"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"default\"}",
        );
    assert_eq!(read(&new).unwrap(), config);
    for (found, replaced, named) in [
        ("\"llama\"", "\"gpt2\"", "architecture-refused"),
        ("\"silu\"", "\"relu\"", "hidden_act"),
        ("\"attention_bias\": false", "\"attention_bias\": true", "attention_bias"),
        ("\"head_dim\": 8", "\"head_dim\": 16", "head_dim"),
        ("\"vocab_size\": 32", "\"vocab_size\": -1", "vocab_size"),
        ("\"vocab_size\": 32", "\"vocab_size\": 1000000000000", "vocab_size"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000000", "num_hidden_layers"),
        (
            "\"rope_scaling\": null",
            "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2.0}",
            "rope_type",
        ),
        ("\"rope_scaling\": null", "\"num_experts\": 8", "num_experts"),
        (
            "\"model_type\": \"llama\"",
            "\"model_type\": \"llama\", \"model_type\": \"llama\"",
            "model_type",
        ),
        ("\"rms_norm_eps\": 0.00001", "\"rms_norm_eps\": 0", "rms_norm_eps"),
    ] {
        assert!(old.contains(found), "{found} in {old}");
        let error = read(&old.replace(found, replaced)).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn an_impossible_shape_is_refused_by_name() {
    let refused = |config: ModelConfig| {
        let error = Trainer::new(config, recipe(), Seed::of_number(1)).err().unwrap();
        assert!(matches!(error, Error::Config(_)));
        error.to_string()
    };
    let with = config;
    assert!(refused(ModelConfig { n_heads: 5, ..with() }).contains("5 heads do not divide"));
    assert!(refused(ModelConfig { n_kv_heads: 3, ..with() }).contains("3 key heads"));
    assert!(refused(ModelConfig { n_heads: 32, ..with() }).contains("even width"));
    assert!(refused(ModelConfig { vocabulary: 0, ..with() }).contains("`vocabulary` is 0"));
    assert!(refused(ModelConfig { n_heads: 0, ..with() }).contains("`n_heads` is 0"));
    assert!(refused(ModelConfig { rope_theta: f64::NAN, ..with() }).contains("rope_theta"));
    let huge = ModelConfig { vocabulary: 1 << 23, hidden: 1 << 23, ..with() };
    assert!(refused(huge).contains("parameters"));
    assert_eq!(config().n_parameters(), Some(32 * 32 + 2 * (7680 + 64) + 32));
}

#[test]
fn a_batch_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut trainer = trainer(1);
    let before = parameters(&trainer);
    let good = vec![1, 2, 3];
    for (bad, named) in [
        (vec![good.clone(); 3], "3 sequences where the recipe says 4"),
        (vec![good.clone(), good.clone(), good.clone(), vec![1]], "1 tokens"),
        (vec![good.clone(), good.clone(), good.clone(), vec![1; 26]], "26 tokens"),
        (vec![good.clone(), good.clone(), good, vec![1, 32]], "token 32"),
    ] {
        assert!(trainer.step(&bad).unwrap_err().to_string().contains(named));
    }
    assert!(trainer.loss(&[]).is_err());
    assert!(trainer.loss(&[vec![7; 26]]).is_err());
    assert_eq!(trainer.n_steps(), 0);
    assert!(parameters(&trainer) == before);
}

#[test]
fn a_diverging_step_is_an_error_and_leaves_the_model_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("model");
    trainer(1).save_model(&dir).unwrap();
    // Finite parameters whose logits overflow.
    let path = dir.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let n = bytes.len();
    for value in bytes[n - 400..].chunks_exact_mut(4) {
        value.copy_from_slice(&3e38_f32.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let mut trainer = Trainer::from_model(&dir, recipe()).unwrap();
    let before = parameters(&trainer);
    assert!(matches!(trainer.step(&batch(&mut order())), Err(Error::Diverged { step: 1, .. })));
    assert_eq!(trainer.n_steps(), 0);
    assert!(parameters(&trainer) == before);
}

/// A folder with a model and a checkpoint of it.
fn saved() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("model");
    let trainer = trainer(1);
    trainer.save_model(&dir).unwrap();
    trainer.save_checkpoint(&dir, &[1, 2]).unwrap();
    (home, dir)
}

#[test]
fn a_cut_or_changed_checkpoint_is_refused() {
    let (_home, dir) = saved();
    let path = dir.join("checkpoint.safetensors");
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Trainer::resume(&dir).err().unwrap();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        error.to_string()
    };
    for n in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..n]);
    }
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(refused(&changed).contains("digest"));
    let text = String::from_utf8_lossy(&whole[..2000]).into_owned();
    let at = text.find("\\\"step\\\":0").unwrap() + "\\\"step\\\":".len();
    let mut changed = whole;
    changed[at] = b'7';
    assert!(refused(&changed).contains("digest"));
    fs::copy(dir.join("model.safetensors"), &path).unwrap();
    assert!(Trainer::resume(&dir).err().unwrap().to_string().contains("not a checkpoint"));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Trainer::resume(&dir), Err(Error::Io { .. })));
}

#[test]
fn a_model_that_differs_from_its_config_is_refused() {
    let (_home, dir) = saved();
    let text = fs::read_to_string(dir.join("config.json")).unwrap();
    let refused = |found: &str, replaced: &str| {
        assert!(text.contains(found));
        fs::write(dir.join("config.json"), text.replace(found, replaced)).unwrap();
        Trainer::from_model(&dir, recipe()).err().unwrap().to_string()
    };
    let error = refused("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    assert!(error.contains("model.layers.1") && error.contains("does not belong"), "{error}");
    let error = refused("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(error.contains("model.layers.2") && error.contains("missing"), "{error}");
    let error = refused("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    assert!(error.contains("`lm_head.weight` is missing"), "{error}");
    let error = refused("\"vocab_size\": 32", "\"vocab_size\": 33");
    assert!(error.contains("is [32, 32], not [33, 32]"), "{error}");
    let error = refused("{", "[");
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn a_model_with_values_that_are_not_finite_is_refused() {
    let (_home, dir) = saved();
    let path = dir.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let n = bytes.len();
    bytes[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Trainer::from_model(&dir, recipe()).err().unwrap().to_string();
    assert!(error.contains("not finite"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attack_no_change_of_a_models_bytes_is_a_panic(
        in_config in any::<bool>(),
        at in any::<prop::sample::Index>(),
        replaced in prop::collection::vec(any::<u8>(), 1..12),
        is_cut in any::<bool>(),
    ) {
        let (_home, dir) = saved();
        let path = dir.join(if in_config { "config.json" } else { "model.safetensors" });
        let mut bytes = fs::read(&path).unwrap();
        // The header is a small part of the file: change it as often as the numbers.
        let at = if is_cut { at.index(bytes.len()) } else { at.index(bytes.len().min(2000)) };
        for (byte, replaced) in bytes[at..].iter_mut().zip(&replaced) {
            *byte = *replaced;
        }
        if is_cut {
            bytes.truncate(at);
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(mut trainer) = Trainer::from_model(&dir, recipe()) {
            let _ = trainer.step(&batch(&mut order()));
        }
    }
}
