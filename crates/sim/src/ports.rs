//! What a validator asks of the world, answered by formulas.

use crate::{
    hub::{Upload, file_of},
    model::Document,
    noise::mix,
    world::{Shared, World},
};
use protocol::{
    Block, Competition, Digest, Loss, Reason, ReasonCode, SequenceLoss, content::bound_hash,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};
use validator::{
    Admission, Ask, Committed, Evaluate, Had, Models, Publish, Sequence, Sight, Terms, Trouble,
};

/// Parameters of every model: strategies do not differ in size.
const N_PARAMETERS: u64 = 1_000_000;
/// Tokens that a sequence predicts: all but the first of those that name its document.
const N_TOKENS: u32 = 2;

/// The hub as one validator sees it.
pub(crate) struct SeenHub {
    pub(crate) world: Arc<Shared>,
    pub(crate) validator: usize,
}

impl SeenHub {
    /// The files of a commitment, if this validator sees them now.
    fn seen<'a>(&self, world: &'a World, committed: &Committed) -> Option<&'a Upload> {
        let upload = world.file(file_of(&committed.commitment.revision)?)?;
        upload.is_seen_by(self.validator, world.now).then_some(upload)
    }

    fn admission(world: &World, upload: &Upload) -> Admission {
        let tensor_root = world.library.tensor_root(upload.model);
        Admission {
            file_root: upload.file_root,
            tensor_root,
            n_parameters: N_PARAMETERS,
            card: None,
        }
    }
}

impl Models for SeenHub {
    fn look(&self, competition: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        let world = self.world.lock();
        let Some(upload) = self.seen(&world, committed) else {
            let reason = Reason::new(ReasonCode::NotPublished, "there is no such revision");
            return Ok(Sight::Absent(reason));
        };
        let file_root = upload.file_root;
        let bound = bound_hash(&file_root, &committed.hotkey, competition.id);
        if bound != committed.commitment.secure_hash {
            let reason = Reason::new(ReasonCode::HashMismatch, "these files were not committed to");
            return Ok(Sight::Refused(reason));
        }
        Ok(Sight::Published { file_root, size_bytes: 1 })
    }

    fn is_up(&self) -> bool {
        true
    }

    fn delivers(&self, committed: &Committed, _: &Admission) -> bool {
        self.seen(&self.world.lock(), committed).is_some()
    }

    fn have(&self, rules: &Competition, by: &Committed, _: Terms<'_>) -> Result<Had, Trouble> {
        let world = self.world.lock();
        let Some(upload) = self.seen(&world, by) else {
            return Err(Trouble::Refused(anyhow::anyhow!("there is no such revision")));
        };
        let is_trainable = world.library.get(upload.model).is_some_and(|model| model.is_trainable);
        if rules.model.health.is_some() && !is_trainable {
            let detail = "no training goes on from these parameters";
            let reason = Reason::new(ReasonCode::UntrainableParameters, detail);
            return Ok(Had::Refused { reason, n_fetched: 1 });
        }
        Ok(Had::Here { admission: Self::admission(&world, upload), n_fetched: 0 })
    }

    fn keep(&self, _: &[Digest], _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn retain(&self, _: &BTreeSet<Digest>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Losses by formula, computed once for all validators of a season that measure the same.
pub(crate) struct Formula {
    world: Arc<Shared>,
    cache: Mutex<Cache>,
}

/// The losses of a model on some sequences, by its root and what the sequences come to.
type Rows = BTreeMap<(Digest, u64), Arc<Vec<SequenceLoss>>>;

/// Losses of the newest block.
struct Cache {
    block: Block,
    rows: Rows,
}

impl Formula {
    pub(crate) fn new(world: Arc<Shared>) -> Self {
        Self { world, cache: Mutex::new(Cache { block: Block(0), rows: Rows::new() }) }
    }

    fn row(&self, root: Digest, sequences: &[&Sequence]) -> anyhow::Result<Arc<Vec<SequenceLoss>>> {
        let key = (root, of_all(sequences));
        let world = self.world.lock();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.block != world.now {
            *cache = Cache { block: world.now, rows: Rows::new() };
        }
        if let Some(row) = cache.rows.get(&key) {
            return Ok(Arc::clone(row));
        }
        let model = world.model_of(&root);
        let model = model.ok_or_else(|| anyhow::anyhow!("no model has the root `{root}`"))?;
        let mut row = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let loss = world.library.loss(model, Document::of(&sequence.tokens));
            row.push(SequenceLoss { n_tokens: N_TOKENS, cross_entropy: Loss::new(loss)? });
        }
        let row = Arc::new(row);
        cache.rows.insert(key, Arc::clone(&row));
        Ok(row)
    }
}

/// A word that differs where lists of sequences do.
fn of_all(sequences: &[&Sequence]) -> u64 {
    let word = |sequence: &&Sequence| {
        let [a, b, c, d, e, f, g, h, ..] = sequence.digest.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    sequences.iter().map(word).fold(sequences.len() as u64, mix)
}

impl Evaluate for Formula {
    fn engine(&self) -> &str {
        "sim"
    }

    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let row = self.row(ask.admission.tensor_root, ask.sequences).map_err(Trouble::Own)?;
        learn(&row).map_err(Trouble::Own)?;
        Ok(Ok(()))
    }
}

/// Records that nobody reads.
pub(crate) struct Unread;

impl Publish for Unread {
    fn record(&self, _: &str, _: u64, _: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }
    fn lacks(&self, _: &str, _: RangeInclusive<u64>) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        Ok(Vec::new())
    }
}
