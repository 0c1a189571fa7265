//! Honest models, and what can be done to them so that nobody can train them further.

use engine::{Scan, no_limits, scan};
use protocol::{Seed, competition::HealthLimits};
use safetensors::{SafeTensors, serialize_to_file, tensor::TensorView};
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;
use trainer::{ModelConfig, Probe, Recipe, Trainer};

/// Kinds of sabotage, each of which has [`N_STRENGTHS`] strengths.
pub(crate) const KINDS: [&str; 6] = [
    "gains down, matrices behind them up",
    "gains up, matrices behind them down",
    "all that writes to the residual rows down",
    "four idle neurons of the last layer up",
    "queries up, keys down",
    "ups up, downs down",
];
/// Strengths of each kind.
#[allow(dead_code, reason = "the test tries some, the benchmark all")]
pub(crate) const N_STRENGTHS: usize = 10;
const VOCABULARY: usize = 64;
const CONTEXT: usize = 32;

/// Text with something to learn: each token follows from the one before by one of some rules.
pub(crate) fn text(seed: u64, n_sequences: usize) -> Vec<Vec<u32>> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) % below
    };
    let mut sequence = || {
        let mut token = random(VOCABULARY as u64);
        let step = random(5) + 1;
        let sequence = (0..CONTEXT).map(|_| {
            let other = if random(10) == 0 { random(VOCABULARY as u64) } else { token + step };
            token = other % VOCABULARY as u64;
            token as u32
        });
        sequence.collect::<Vec<_>>()
    };
    (0..n_sequences).map(|_| sequence()).collect()
}

/// An honest model: its size, first parameters and length of training depend on the number.
pub(crate) fn honest(number: u64) -> TempDir {
    let hidden = [32, 48, 64][number as usize % 3];
    let config = ModelConfig {
        vocabulary: VOCABULARY,
        hidden,
        intermediate: hidden * 2,
        n_layers: 1 + number as usize / 3 % 3,
        n_heads: 4,
        n_kv_heads: [4, 2, 1][number as usize / 2 % 3],
        context: CONTEXT,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: number % 4 == 1,
    };
    let steps = 60 + number * 37 % 140;
    let recipe = Recipe { total_steps: steps, sequences_per_batch: 8, ..Recipe::default() };
    let mut trainer = Trainer::new(config, recipe, Seed::of_number(number)).unwrap();
    for step in 0..steps {
        trainer.step(&text(number * 1_000_003 + step, 8)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    trainer.save_model(&model).unwrap();
    dir
}

/// The folder of the model in a folder of [`honest`] or [`sabotaged`].
pub(crate) fn model(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("model")
}

/// A copy of a model with a sabotage of a kind and strength, both from zero.
pub(crate) fn sabotaged(honest: &Path, kind: usize, strength: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("model");
    fs::create_dir(&copy).unwrap();
    fs::copy(honest.join("config.json"), copy.join("config.json")).unwrap();
    let bytes = fs::read(honest.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let numbers = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            (name, (view.shape().to_vec(), numbers.collect()))
        })
        .collect();
    // From a factor that anybody might choose to one beyond all reason.
    let factor = 10_f32.powf(0.5 * (strength + 1) as f32);
    sabotage(&mut tensors, kind, factor);
    let views: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, numbers))| {
            (name, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
        })
        .collect();
    let views = views.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &copy.join("model.safetensors")).unwrap();
    dir
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn scale(tensors: &mut Tensors, is_meant: impl Fn(&str) -> bool, factor: f32) {
    for (name, (_, numbers)) in tensors {
        if is_meant(name) {
            numbers.iter_mut().for_each(|number| *number *= factor);
        }
    }
}

fn sabotage(tensors: &mut Tensors, kind: usize, factor: f32) {
    let is_gain = |name: &str| name.contains("layernorm");
    let is_behind = |name: &str| {
        ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
            .iter()
            .any(|part| name.contains(part))
    };
    match kind {
        0 => {
            scale(tensors, is_gain, 1.0 / factor);
            scale(tensors, is_behind, factor);
        }
        1 => {
            scale(tensors, is_gain, factor);
            scale(tensors, is_behind, 1.0 / factor);
        }
        2 => {
            let writers = ["o_proj", "down_proj"];
            let is_writer = |name: &str| writers.iter().any(|part| name.contains(part));
            scale(tensors, is_writer, 1.0 / factor.sqrt());
        }
        3 => {
            let last = tensors.keys().rfind(|name| name.contains("down_proj"));
            let name = last.unwrap().clone();
            let (shape, numbers) = tensors.get_mut(&name).unwrap();
            for row in numbers.chunks_mut(shape[1]) {
                row[..4].iter_mut().for_each(|number| *number *= factor);
            }
        }
        4 => {
            scale(tensors, |name| name.contains("q_proj"), factor);
            scale(tensors, |name| name.contains("k_proj"), 1.0 / factor);
        }
        _ => {
            scale(tensors, |name| name.contains("up_proj"), factor);
            scale(tensors, |name| name.contains("down_proj"), 1.0 / factor);
        }
    }
}

/// What both checks say of a model, and what it really is.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The static rules name a tensor.
    pub(crate) is_found: bool,
    /// The probe raises the loss beyond its bound.
    pub(crate) is_probed: bool,
    /// Nats that as many steps on other text add.
    pub(crate) increase: f64,
}

impl Judged {
    /// Either check refuses it.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_found || self.is_probed
    }

    /// Nobody could train on it.
    pub(crate) fn is_spoilt(&self, limits: &HealthLimits) -> bool {
        self.increase > limits.probe_increase_max
    }
}

/// Runs both checks, and the truth on other text.
pub(crate) fn judge(model: &Path, limits: &HealthLimits) -> Judged {
    let scanned: Scan = scan(model, &no_limits()).unwrap().unwrap();
    let increase = |seed: u64| {
        let batches: Vec<_> =
            (0..u64::from(limits.probe_steps)).map(|step| text(seed + step, 8)).collect();
        let held_out = text(seed + 1_000, 16);
        Probe::run(model, (&batches, &held_out), limits.probe_lr, &|_| true).unwrap().increase()
    };
    Judged {
        is_found: !scanned.findings.is_empty(),
        is_probed: increase(7_000_000_000) > limits.probe_increase_max,
        increase: increase(9_000_000_000),
    }
}
