//! What a player can do: train, make variants, upload, show, commit.

use super::Listed;
use crate::{
    hub::{FileId, Shown},
    model::{ModelId, Tilt},
    network::NETUID,
    noise::{normal, unit},
    scenario::ModelRules,
    world::World,
};
use chain::{Call, Chain as _, Keypair, MemoryChain};
use protocol::{Block, Commitment, CompetitionId, Repo, seed::uniform_below};
use rand_chacha::ChaCha20Rng;

/// Spread of first models.
const START_SPREAD: f64 = 0.02;
/// What comes of a training, in means: from somewhat worse to clearly better.
const LUCK: (f64, f64) = (-0.5, 2.5);

/// A slot as its player knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    /// What it is committed to.
    pub(crate) standing: Option<Standing>,
    /// Block of its last commitment.
    pub(crate) committed: Option<Block>,
}

/// What a slot is committed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) file: FileId,
    pub(crate) model: ModelId,
    pub(crate) since: Block,
}

/// What a player has besides its slots.
#[derive(Debug)]
pub(crate) struct Purse {
    /// Its own stream: nothing that others do moves it.
    pub(crate) random: ChaCha20Rng,
    /// Block at which its machine is free.
    pub(crate) free_from: Block,
}

impl Purse {
    fn unit(&mut self) -> f64 {
        unit(uniform_below(&mut self.random, u64::MAX))
    }

    fn normal(&mut self) -> f64 {
        normal(uniform_below(&mut self.random, u64::MAX))
    }
}

/// What one player acts with in one block.
pub struct Hands<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) chain: &'a MemoryChain,
    /// Hotkeys of its slots.
    pub(crate) keys: &'a [Keypair],
    pub(crate) slots: &'a mut [Slot],
    pub(crate) purse: &'a mut Purse,
    /// Number of its first slot among all.
    pub(crate) first: usize,
    pub(crate) models: &'a ModelRules,
    pub(crate) competition: CompetitionId,
    pub(crate) commitment_rate_limit: u64,
}

impl Hands<'_> {
    /// Slots that it has, numbered from 0.
    pub fn n_slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether an entry is its own.
    pub fn is_own(&self, entry: &Listed) -> bool {
        (self.first..self.first + self.slots.len()).contains(&entry.slot)
    }

    /// True loss of a model.
    pub fn merit(&self, model: ModelId) -> f64 {
        self.world.library.merit(model)
    }

    /// The model that a slot is committed to.
    pub fn standing_model(&self, slot: usize) -> Option<ModelId> {
        Some(self.slots.get(slot)?.standing?.model)
    }

    /// The files that a slot is committed to.
    pub fn standing_file(&self, slot: usize) -> Option<FileId> {
        Some(self.slots.get(slot)?.standing?.file)
    }

    /// Block from which what a slot is committed to stands.
    pub fn standing_since(&self, slot: usize) -> Option<Block> {
        Some(self.slots.get(slot)?.standing?.since)
    }

    /// Whether the chain takes a commitment of a slot now.
    pub fn can_commit(&self, slot: usize) -> bool {
        let committed = self.slots.get(slot).map(|slot| slot.committed);
        // What is committed to now stands in the next block.
        let is_over = |last: Block| self.world.now.0 + 1 >= last.0 + self.commitment_rate_limit;
        committed.is_some_and(|last| last.is_none_or(is_over))
    }

    /// A training that has ended: from a model, or the first of a line. `None` while one runs.
    pub fn train(&mut self, from: Option<ModelId>) -> Option<ModelId> {
        let now = self.world.now;
        if now < self.purse.free_from {
            return None;
        }
        self.purse.free_from = Block(now.0 + self.models.training_blocks);
        let Some(from) = from else {
            let start = self.models.start * (1.0 + START_SPREAD * self.purse.normal());
            return Some(self.world.library.independent(start));
        };
        let (least, most) = LUCK;
        let luck = least + (most - least) * self.purse.unit();
        let is_trainable = self.world.library.get(from).is_some_and(|model| model.is_trainable);
        // From sabotaged parameters nothing gets better.
        let luck = if is_trainable { luck } else { luck.min(0.0) };
        let merit = self.merit(from);
        let left = (merit - self.models.floor).max(0.0);
        Some(self.world.library.trained(from, merit - left * self.models.rate * luck))
    }

    /// A state of a model's training at which it had this loss.
    pub fn checkpoint(&mut self, of: ModelId, merit: f64) -> ModelId {
        self.world.library.trained(of, merit)
    }

    /// A copy with noise in its parameters.
    pub fn noised(&mut self, of: ModelId) -> ModelId {
        self.world.library.noised(of)
    }

    /// A copy that is better or worse on some documents.
    pub fn tilted(&mut self, of: ModelId, tilt: Tilt) -> ModelId {
        self.world.library.tilted(of, tilt)
    }

    /// A copy that computes the same and cannot be trained.
    pub fn sabotaged(&mut self, of: ModelId) -> ModelId {
        self.world.library.sabotaged(of)
    }

    /// A model of random parameters that loses this much.
    pub fn junk(&mut self, merit: f64) -> ModelId {
        self.world.library.independent(merit)
    }

    /// Uploads a model for those who are to see it.
    pub fn upload(&mut self, model: ModelId, shown: Shown) -> Option<FileId> {
        self.world.upload(model, self.first, shown, 0)
    }

    /// Uploads a model that may be anybody's, its tensors spread over files of its own.
    pub fn repacked(&mut self, model: ModelId) -> Option<FileId> {
        let packing = 1 + self.first as u64;
        self.world.upload(model, self.first, Shown::Everybody, packing)
    }

    /// Says who sees what it has uploaded; what others have stays as it is.
    pub fn show(&mut self, file: FileId, shown: Shown) {
        if self.world.file(file).is_some_and(|upload| upload.owner == self.first) {
            self.world.show(file, shown);
        }
    }

    /// What others have uploaded in the last two blocks and everybody sees, in order.
    pub fn newest_of_others(&self) -> Vec<FileId> {
        let is_theirs = |file: &FileId| {
            let upload = self.world.file(*file);
            upload.is_some_and(|upload| {
                upload.owner != self.first && upload.is_public(self.world.now)
            })
        };
        self.world.newest().filter(is_theirs).collect()
    }

    /// Commits a slot to files, whoever has uploaded them; whether the chain takes it now.
    pub fn commit(&mut self, slot: usize, file: FileId) -> bool {
        if !self.can_commit(slot) {
            return false;
        }
        let Some(standing) = self.submitted(slot, file) else { return false };
        self.note(slot, Some(standing));
        true
    }

    fn submitted(&self, slot: usize, file: FileId) -> Option<Standing> {
        let (key, upload) = (self.keys.get(slot)?, self.world.file(file)?);
        let repo: Repo = format!("miner-{}/model", upload.owner).parse().ok()?;
        let commitment = Commitment::bound(
            &repo,
            &upload.revision,
            &upload.file_root,
            &key.public(),
            self.competition,
        );
        let data = commitment.to_text().ok()?.into_bytes();
        self.chain.submit(Call::SetCommitment { netuid: NETUID, data }, key).ok()?;
        Some(Standing { file, model: upload.model, since: Block(self.world.now.0 + 1) })
    }

    /// Withdraws a commitment: something that is none takes its place.
    pub fn desert(&mut self, slot: usize) {
        if !self.can_commit(slot) {
            return;
        }
        let Some(key) = self.keys.get(slot) else { return };
        let call = Call::SetCommitment { netuid: NETUID, data: b"gone".to_vec() };
        if self.chain.submit(call, key).is_ok() {
            self.note(slot, None);
        }
    }

    fn note(&mut self, slot: usize, standing: Option<Standing>) {
        let committed = Some(Block(self.world.now.0 + 1));
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot { standing, committed };
        }
    }

    /// Uploads a model for those who are to see it, and commits a slot to it.
    pub fn enter(&mut self, slot: usize, model: ModelId, shown: Shown) -> bool {
        if !self.can_commit(slot) {
            return false;
        }
        self.upload(model, shown).is_some_and(|file| self.commit(slot, file))
    }

    /// Commits a slot to a model whose bytes everybody sees once the commitment stands: whoever
    /// shows them before lets others commit to them in the same block.
    pub fn publish(&mut self, slot: usize, model: ModelId) -> bool {
        let next = Block(self.world.now.0 + 1);
        self.enter(slot, model, Shown::From(next))
    }
}
