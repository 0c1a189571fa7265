//! Honest models by the recipes of the demo, and checkpoints as numbers that can be changed.

use crate::texts::{Failure, SEQUENCE_LENGTH, Text, VOCABULARY};
use engine::{EvaluateOptions, Model, no_limits};
use protocol::Seed;
use rand_chacha::rand_core::RngCore;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};
use trainer::{ModelConfig, Recipe, Trainer};

/// Widths of honest models.
pub(crate) const WIDTHS: [usize; 5] = [16, 24, 32, 64, 128];
/// Steps after which a model is measured; the last is the end of its schedule.
pub(crate) const STAGES: [u64; 7] = [20, 30, 40, 60, 80, 160, 320];

/// The demo's models, made narrower or wider.
pub(crate) fn config(hidden: usize) -> ModelConfig {
    ModelConfig {
        vocabulary: VOCABULARY,
        hidden,
        intermediate: (hidden * 8 / 3).next_multiple_of(8),
        n_layers: if hidden <= 64 { 2 } else { 3 },
        n_heads: 4,
        n_kv_heads: 2,
        context: SEQUENCE_LENGTH,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: true,
    }
}

/// The demo's recipe for a model of this width.
fn recipe(hidden: usize) -> Recipe {
    let lr = if hidden <= 64 { 4e-3 } else { 3e-3 };
    Recipe {
        lr,
        lr_min: lr / 20.0,
        warmup_steps: 20,
        total_steps: STAGES[STAGES.len() - 1],
        sequences_per_batch: 8,
        ..Recipe::default()
    }
}

/// A model without any training.
pub(crate) fn fresh(hidden: usize, seed: Seed) -> Result<Checkpoint, Failure> {
    Checkpoint::of(&Trainer::new(config(hidden), recipe(hidden), seed)?)
}

/// Trains a model and shows it at every stage.
pub(crate) fn train(
    text: &Text,
    (hidden, seed): (usize, Seed),
    mut show: impl FnMut(u64, Checkpoint) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut trainer = Trainer::new(config(hidden), recipe(hidden), seed.derive("parameters"))?;
    let mut stream = text.stream(seed.derive("training"))?;
    for step in 1..=STAGES[STAGES.len() - 1] {
        trainer.step(&stream.next_batch(trainer.recipe().sequences_per_batch)?)?;
        if STAGES.contains(&step) {
            show(step, Checkpoint::of(&trainer)?)?;
        }
    }
    Ok(())
}

/// A model's config and its tensors by name, each with its shape.
#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Checkpoint {
    /// What a trainer would publish.
    pub(crate) fn of(trainer: &Trainer) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        trainer.save_model(dir.path())?;
        let config = serde_json::from_slice(&fs::read(dir.path().join("config.json"))?)?;
        let bytes = fs::read(dir.path().join("model.safetensors"))?;
        let numbers = |view: TensorView<'_>| {
            let numbers = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            (view.shape().to_vec(), numbers.collect())
        };
        let tensors = SafeTensors::deserialize(&bytes)?.tensors();
        let tensors = tensors.into_iter().map(|(name, view)| (name, numbers(view))).collect();
        Ok(Self { config, tensors })
    }

    /// The model as the engine runs it, through files like anybody's.
    pub(crate) fn load(&self) -> Result<Model, Failure> {
        let dir = tempfile::tempdir()?;
        self.write(dir.path())?;
        Model::load(dir.path(), &no_limits())?.map_err(|reason| format!("{reason:?}").into())
    }

    fn write(&self, dir: &Path) -> Result<(), Failure> {
        fs::write(dir.join("config.json"), serde_json::to_vec(&self.config)?)?;
        let encode = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let bytes = self.tensors.iter().map(|(name, (shape, x))| (name, shape, encode(x)));
        let bytes: Vec<(_, _, Vec<u8>)> = bytes.collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            Ok((name, TensorView::new(Dtype::F32, (*shape).clone(), bytes)?))
        });
        let views = views.collect::<Result<Vec<_>, Failure>>()?;
        Ok(serialize_to_file(views, None, &dir.join("model.safetensors"))?)
    }
}

/// How the engine measures here: work is shared between models, not within one.
pub(crate) fn options() -> EvaluateOptions<'static> {
    EvaluateOptions { threads: 1, ..EvaluateOptions::default() }
}

/// A nearly normal number of deviation one: twelve uniform ones less six.
pub(crate) fn normal(stream: &mut impl RngCore) -> f64 {
    (0..12).map(|_| uniform(stream)).sum::<f64>() - 6.0
}

/// A number from 0 up to 1.
pub(crate) fn uniform(stream: &mut impl RngCore) -> f64 {
    f64::from(stream.next_u32()) / 4_294_967_296.0
}

/// Does independent jobs on both cores; results come in the order of the jobs.
pub(crate) fn on_all_cores<J: Sync, R: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<R, Failure> + Sync,
) -> Result<Vec<R>, Failure> {
    let next = AtomicUsize::new(0);
    let n_threads = engine::n_processors();
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return done };
            done.push((index, work(job)));
        }
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no job panics")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
