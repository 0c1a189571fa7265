//! Models and checkpoints on disk.
//!
//! A model is what gets published: `config.json` and `model.safetensors`. A checkpoint is one
//! file with everything that training needs to go on to the same numbers.

use crate::{
    adamw::Moments,
    config::ModelConfig,
    error::{Error, Result},
    parameters::{self, Slot},
    recipe::Recipe,
    tensor_file::{self, Contents, Named, Partial},
};
use protocol::{
    Digest,
    files::{CONFIG, SINGLE},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};

/// Name of the file of a checkpoint.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Where a checkpoint's header holds a digest of everything, a space, and its [`State`] as JSON.
const STATE_KEY: &str = "agon.checkpoint";

/// Prefixes of the names of parameters, means of gradients, and means of squared gradients.
const PREFIXES: [&str; 3] = ["", "adam.mean.", "adam.square."];

/// Version of the layout of checkpoints.
const VERSION: u32 = 1;

/// Everything that training needs to go on.
pub(crate) struct Checkpoint {
    pub(crate) config: ModelConfig,
    pub(crate) recipe: Recipe,
    pub(crate) values: Vec<Vec<f32>>,
    pub(crate) moments: Vec<Moments>,
    pub(crate) step: u64,
    pub(crate) position: Vec<u64>,
}

/// What a checkpoint holds besides tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    config: ModelConfig,
    recipe: Recipe,
    step: u64,
    position: Vec<u64>,
}

/// Names of a slot's parts under a prefix, with the values that belong to each.
fn named<'a>(slot: &Slot, prefix: &str, mut values: &'a [f32]) -> Vec<Named<'a>> {
    let parts = slot.tensors().map(|(name, shape)| {
        let n = shape.iter().product();
        let values = values.split_off(..n).unwrap_or_default();
        Named { name: format!("{prefix}{name}"), shape, values }
    });
    parts.collect()
}

/// Names and shapes of all tensors of a model, each under every prefix.
fn expected(slots: &[Slot], prefixes: &[&str]) -> BTreeMap<String, Vec<usize>> {
    let tensors = slots.iter().flat_map(Slot::tensors);
    tensors
        .flat_map(|(name, shape)| {
            prefixes.iter().map(move |prefix| (format!("{prefix}{name}"), shape.clone()))
        })
        .collect()
}

/// Takes the values of a slot out of a file.
fn taken(slot: &Slot, prefix: &str, contents: &mut Contents) -> Vec<f32> {
    slot.tensors().flat_map(|(name, _)| contents.take(&format!("{prefix}{name}"))).collect()
}

/// Writes a model into a folder that must not exist or be empty, all or nothing.
pub(crate) fn write_model(dir: &Path, config: &ModelConfig, values: &[Vec<f32>]) -> Result<()> {
    let partial = Partial::beside(dir)?;
    let slots = parameters::slots(config);
    let tensors: Vec<Named<'_>> =
        slots.iter().zip(values).flat_map(|(slot, values)| named(slot, "", values)).collect();
    tensor_file::write(&partial.path().join(SINGLE), &tensors, ("format", "pt"))?;
    let path = partial.path().join(CONFIG);
    fs::write(&path, config.to_json()).map_err(Error::io("write", &path))?;
    tensor_file::sync(&path)?;
    partial.become_folder(dir)
}

/// Reads config and values of a model.
pub(crate) fn read_model(dir: &Path) -> Result<(ModelConfig, Vec<Vec<f32>>)> {
    let config = ModelConfig::read(dir)?;
    let slots = parameters::slots(&config);
    let mut contents = tensor_file::read(&dir.join(SINGLE), &expected(&slots, &[""]))?;
    let values = slots.iter().map(|slot| taken(slot, "", &mut contents)).collect();
    Ok((config, values))
}

impl Checkpoint {
    /// Prefixes of names, and what stands under them for a slot.
    fn groups(&self) -> [(&'static str, Vec<&[f32]>); 3] {
        let [values, mean, square] = PREFIXES;
        [
            (values, self.values.iter().map(Vec::as_slice).collect()),
            (mean, self.moments.iter().map(|moments| moments.mean.as_slice()).collect()),
            (square, self.moments.iter().map(|moments| moments.square.as_slice()).collect()),
        ]
    }

    /// Digest of the state and all numbers, so that a changed bit is noticed.
    fn digest(&self, state: &str) -> Digest {
        let bytes = |x: &f32| x.to_le_bytes();
        let digest =
            |values: &&[f32]| Digest::of(&values.iter().flat_map(bytes).collect::<Vec<_>>());
        let groups = self.groups();
        let digests: Vec<[u8; 32]> =
            groups.iter().flat_map(|(_, slices)| slices).map(|values| digest(values).0).collect();
        let fields = std::iter::once(state.as_bytes()).chain(digests.iter().map(|d| &d[..]));
        Digest::of_fields("agon checkpoint", &fields.collect::<Vec<_>>())
    }
}

/// Writes a checkpoint into a folder, replacing an older one in one instant.
pub(crate) fn write(dir: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let target = dir.join(CHECKPOINT_FILE);
    let partial = Partial::beside(&target)?;
    let state = State {
        version: VERSION,
        config: checkpoint.config.clone(),
        recipe: checkpoint.recipe.clone(),
        step: checkpoint.step,
        position: checkpoint.position.clone(),
    };
    let state = serde_json::to_string(&state).map_err(|error| Error::malformed(&target, error))?;
    let state = format!("{} {state}", checkpoint.digest(&state));
    let slots = parameters::slots(&checkpoint.config);
    let groups = checkpoint.groups();
    let tensors: Vec<Named<'_>> = groups
        .iter()
        .flat_map(|(prefix, group)| slots.iter().zip(group).map(move |pair| (prefix, pair)))
        .flat_map(|(prefix, (slot, values))| named(slot, prefix, values))
        .collect();
    tensor_file::write(&partial.path().join(CHECKPOINT_FILE), &tensors, (STATE_KEY, &state))?;
    partial.move_file(CHECKPOINT_FILE, &target)
}

/// Reads the checkpoint of a folder and checks its digest.
pub(crate) fn read(dir: &Path) -> Result<Checkpoint> {
    let path = dir.join(CHECKPOINT_FILE);
    let malformed = |reason: &str| Error::malformed(&path, reason);
    let header = tensor_file::read_metadata(&path)?;
    let text = header.get(STATE_KEY).ok_or_else(|| malformed("not a checkpoint"))?;
    let (digest, text) = text.split_once(' ').ok_or_else(|| malformed("no digest"))?;
    let state: State =
        serde_json::from_str(text).map_err(|error| Error::malformed(&path, error))?;
    if state.version != VERSION {
        return Err(malformed("written by another version"));
    }
    state.config.check()?;
    let slots = parameters::slots(&state.config);
    let mut contents = tensor_file::read(&path, &expected(&slots, &PREFIXES))?;
    let [values, mean, square] = PREFIXES
        .map(|prefix| slots.iter().map(|slot| taken(slot, prefix, &mut contents)).collect());
    let moments = |(mean, square)| Moments { mean, square };
    let checkpoint = Checkpoint {
        config: state.config,
        recipe: state.recipe,
        values,
        moments: std::iter::zip::<Vec<_>, Vec<_>>(mean, square).map(moments).collect(),
        step: state.step,
        position: state.position,
    };
    if checkpoint.digest(text).to_string() != digest {
        return Err(malformed("content differs from its digest"));
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests;
