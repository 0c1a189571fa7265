//! Honest models, and what can be done to them so that nobody can train them further.

use engine::{Scan, no_limits, scan};
use protocol::{Seed, competition::HealthLimits};
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;
use trainer::{ModelConfig, Probe, Recipe, Trainer};

/// Kinds of sabotage, each of which has [`N_STRENGTHS`] strengths.
pub(crate) const KINDS: [&str; 9] = [
    "gains down, matrices behind them up",
    "gains up, matrices behind them down",
    "all that writes to the residual rows down",
    "four idle neurons of the last layer up, in the downs",
    "queries up, keys down",
    "ups up, downs down",
    "the same with the embedding",
    "four idle neurons of the last layer up, half in the ups and half in the downs",
    "gains of an eighth of the inputs up, columns behind them down",
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
    let steps = 60 + number * 37 % 140;
    let recipe = Recipe { total_steps: steps, sequences_per_batch: 8, ..Recipe::default() };
    trained(config(hidden, number), recipe, number)
}

/// A model of some width; its number decides on the rest.
pub(crate) fn config(hidden: usize, number: u64) -> ModelConfig {
    ModelConfig {
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
    }
}

/// A model trained by a recipe; the number decides on its first parameters and its text.
pub(crate) fn trained(config: ModelConfig, recipe: Recipe, number: u64) -> TempDir {
    let steps = recipe.total_steps;
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
    let mut tensors = read(honest);
    // From a factor that anybody might choose to one beyond all reason.
    let factor = 10_f32.powf(0.5 * (strength + 1) as f32);
    sabotage(&mut tensors, kind, factor);
    let encode = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    write(honest, &tensors, (Dtype::F32, &encode))
}

/// A copy of a model as many are published.
#[allow(dead_code, reason = "of the test, not of the benchmark")]
pub(crate) fn in_half_precision(honest: &Path) -> TempDir {
    let half = |number: &f32| half::f16::from_f32(*number).to_le_bytes();
    let encode = |numbers: &[f32]| numbers.iter().flat_map(half).collect();
    write(honest, &read(honest), (Dtype::F16, &encode))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;
type Encoding<'a> = (Dtype, &'a dyn Fn(&[f32]) -> Vec<u8>);

fn read(model: &Path) -> Tensors {
    let bytes = fs::read(model.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: TensorView<'_>| {
        let numbers = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (view.shape().to_vec(), numbers.collect())
    };
    file.tensors().into_iter().map(|(name, view)| (name, numbers(view))).collect()
}

/// Writes tensors with the config of another model.
fn write(honest: &Path, tensors: &Tensors, (dtype, encode): Encoding<'_>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("model");
    fs::create_dir(&copy).unwrap();
    fs::copy(honest.join("config.json"), copy.join("config.json")).unwrap();
    let bytes: Vec<_> = tensors.iter().map(|(n, (shape, x))| (n, shape, encode(x))).collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(dtype, (*shape).clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &copy.join("model.safetensors")).unwrap();
    dir
}

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
        3 => scale_idle_neurons(tensors, 1.0, factor),
        4 => {
            scale(tensors, |name| name.contains("q_proj"), factor);
            scale(tensors, |name| name.contains("k_proj"), 1.0 / factor);
        }
        5 => {
            scale(tensors, |name| name.contains("up_proj"), factor);
            scale(tensors, |name| name.contains("down_proj"), 1.0 / factor);
        }
        6 => {
            let writers = ["o_proj", "down_proj", "embed_tokens"];
            let is_writer = |name: &str| writers.iter().any(|part| name.contains(part));
            scale(tensors, is_writer, 1.0 / factor.sqrt());
        }
        7 => scale_idle_neurons(tensors, factor.sqrt(), factor.sqrt()),
        _ => {
            for (name, (shape, numbers)) in tensors {
                let n = shape[shape.len() - 1];
                let factor = match (is_gain(name), is_behind(name)) {
                    (true, _) => factor,
                    (_, true) => 1.0 / factor,
                    _ => continue,
                };
                let rows = numbers.chunks_mut(n);
                rows.flat_map(|row| &mut row[..n / 8]).for_each(|number| *number *= factor);
            }
        }
    }
}

/// Scales the rows in the ups and the columns in the downs of the four weakest neurons of the last
/// layer.
fn scale_idle_neurons(tensors: &mut Tensors, up_factor: f32, down_factor: f32) {
    let last = |part: &str| tensors.keys().rfind(|name| name.contains(part)).unwrap().clone();
    let (up, down) = (last("up_proj"), last("down_proj"));
    let (shape, ups) = &tensors[&up];
    let (n_neurons, hidden) = (shape[0], shape[1]);
    let downs = &tensors[&down].1;
    let strength = |neuron: usize| -> f32 {
        let row: f32 = ups[neuron * hidden..][..hidden].iter().map(|x| x * x).sum();
        let column: f32 = downs.iter().skip(neuron).step_by(n_neurons).map(|x| x * x).sum();
        row * column
    };
    let mut neurons: Vec<usize> = (0..n_neurons).collect();
    neurons.sort_by(|a, b| strength(*a).total_cmp(&strength(*b)));
    for neuron in &neurons[..4] {
        let ups = &mut tensors.get_mut(&up).unwrap().1;
        ups[neuron * hidden..][..hidden].iter_mut().for_each(|number| *number *= up_factor);
        let downs = &mut tensors.get_mut(&down).unwrap().1;
        let column = downs.iter_mut().skip(*neuron).step_by(n_neurons);
        column.for_each(|number| *number *= down_factor);
    }
}

/// What both checks say of a model, and what it really is.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The static rules name a tensor.
    pub(crate) is_found: bool,
    /// The probe fails.
    pub(crate) is_probed: bool,
    /// Decades of the gradient that is farthest from those of its kind.
    pub(crate) farthest: f64,
    /// Nats that as many steps on other text add.
    pub(crate) increase: f64,
    /// The same at the rate that honest models are trained at, with a fresh optimizer.
    #[allow(dead_code, reason = "counted by the benchmark")]
    pub(crate) increase_at_own_rate: f64,
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
    let probe = |seed: u64, lr: f64| {
        let batches: Vec<_> =
            (0..u64::from(limits.probe_steps)).map(|step| text(seed + step, 8)).collect();
        let held_out = text(seed + 1_000, 16);
        Probe::run(model, (&batches, &held_out), lr, &|_| true).unwrap()
    };
    let probed = probe(7_000_000_000, limits.probe_lr);
    Judged {
        is_found: !scanned.findings.is_empty(),
        is_probed: !probed.is_passed(limits),
        farthest: probed.farthest().map_or(0.0, |tensor| tensor.decades),
        increase: probe(9_000_000_000, limits.probe_lr).increase(),
        increase_at_own_rate: probe(9_000_000_000, Recipe::default().lr).increase(),
    }
}
