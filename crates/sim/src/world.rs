//! What there is in a season besides the chain: models, and what of them lies on the hub.

use crate::{
    hub::{FileId, Shown, Upload, revision},
    model::{Library, ModelId, Noise},
};
use protocol::{Block, Digest};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Models and hub.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Block,
    pub(crate) library: Library,
    uploads: Vec<Upload>,
    /// Models by what binds their tensors.
    by_root: BTreeMap<Digest, ModelId>,
    /// Uploads of the newest block, and of the one before.
    newest: Vec<FileId>,
    before: Vec<FileId>,
}

impl World {
    pub(crate) fn new(noise: Noise, salt: u64) -> Self {
        Self {
            now: Block(0),
            library: Library::new(noise, salt),
            uploads: Vec::new(),
            by_root: BTreeMap::new(),
            newest: Vec::new(),
            before: Vec::new(),
        }
    }

    /// A new block begins.
    pub(crate) fn begin(&mut self, now: Block) {
        self.now = now;
        self.before = std::mem::take(&mut self.newest);
    }

    /// Puts a model on the hub for whoever has these slots; another `packing` is other files of
    /// the same tensors.
    pub(crate) fn upload(
        &mut self,
        model: ModelId,
        owner: usize,
        shown: Shown,
        packing: u64,
    ) -> Option<FileId> {
        let file = FileId(u32::try_from(self.uploads.len()).ok()?);
        let tensor_root = self.library.tensor_root(model);
        self.by_root.insert(tensor_root, model);
        let fields = [&tensor_root.0[..], &packing.to_le_bytes()];
        let file_root = Digest::of_fields("sim files", &fields);
        let revision = revision(file)?;
        self.uploads.push(Upload { model, file_root, revision, shown, owner });
        self.newest.push(file);
        Some(file)
    }

    pub(crate) fn file(&self, file: FileId) -> Option<&Upload> {
        self.uploads.get(file.0 as usize)
    }

    pub(crate) fn show(&mut self, file: FileId, shown: Shown) {
        if let Some(upload) = self.uploads.get_mut(file.0 as usize) {
            upload.shown = shown;
        }
    }

    /// What was uploaded in this block and the one before, in order.
    pub(crate) fn newest(&self) -> impl Iterator<Item = FileId> {
        self.before.iter().chain(&self.newest).copied()
    }

    pub(crate) fn model_of(&self, tensor_root: &Digest) -> Option<ModelId> {
        self.by_root.get(tensor_root).copied()
    }
}

/// A world that players and validators share.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<World>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Mutex::new(world))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        // Every step leaves a whole world, so it is as good after a panic as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
