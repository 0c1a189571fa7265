//! Models that are formulas: no file, no tokenizer, nothing to fetch.

use crate::network::{Network, hotkey};
use protocol::{
    Commitment, Competition, CompetitionId, Digest, Loss, Reason, SequenceLoss, content,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Mutex,
};
use validator::{
    Admission, Ask, Committed, Evaluate, Had, Models, Publish, Sequence, Sight, Terms, Trouble,
};

/// A model that there is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formed {
    /// What it loses on average.
    pub(crate) loss: f64,
    pub(crate) n_parameters: u64,
}

/// Models by the root of files that there are not.
#[derive(Default)]
pub(crate) struct Truth(Mutex<BTreeMap<Digest, Formed>>);

impl Truth {
    fn root(committed: &Committed) -> Digest {
        Digest::of(committed.commitment.revision.to_string().as_bytes())
    }

    fn of(&self, root: &Digest) -> Formed {
        self.0.lock().unwrap()[root]
    }

    /// Lets a miner commit to a new model in a competition.
    pub(crate) fn enter(
        &self,
        network: &Network,
        miner: &str,
        competition: CompetitionId,
        model: Formed,
    ) {
        let revision = {
            let mut models = self.0.lock().unwrap();
            let revision = format!("{:040x}", models.len() + 1);
            models.insert(Digest::of(revision.as_bytes()), model);
            revision
        };
        let root = Digest::of(revision.as_bytes());
        let secure_hash = content::bound_hash(&root, &hotkey(miner).public(), competition);
        let repo = format!("{miner}/model").parse().unwrap();
        let revision = revision.parse().unwrap();
        network.commit(miner, &Commitment { repo, revision, secure_hash, competition });
    }

    /// What a model loses on a sequence.
    pub(crate) fn loss(&self, root: &Digest, sequence: &Sequence) -> SequenceLoss {
        // The text is as hard for everybody; what a model makes of it is its own.
        let difficulty = f64::from(sequence.tokens[0]) * 1e-4;
        let own = Digest::of_fields("noise", &[&root.0, &sequence.digest.0]).0;
        let noise = (f64::from(own[0]) - 127.5) * 1e-5;
        let cross_entropy = Loss::new(self.of(root).loss + difficulty + noise).unwrap();
        SequenceLoss { n_tokens: 3, cross_entropy }
    }
}

impl Models for Truth {
    fn look(&self, _: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        Ok(Sight::Published { file_root: Self::root(committed), size_bytes: 1 })
    }
    fn is_up(&self) -> bool {
        true
    }
    fn delivers(&self, _: &Committed, _: &Admission) -> bool {
        true
    }
    fn have(&self, _: &Competition, by: &Committed, _: Terms<'_>) -> Result<Had, Trouble> {
        let root = Self::root(by);
        let n_parameters = self.of(&root).n_parameters;
        let admission = Admission { file_root: root, tensor_root: root, n_parameters, card: None };
        Ok(Had::Here { admission, n_fetched: 0 })
    }
    fn keep(&self, _: &[Digest], _: u64) -> anyhow::Result<()> {
        Ok(())
    }
    fn retain(&self, _: &BTreeSet<Digest>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Evaluate for Truth {
    fn engine(&self) -> &str {
        "a formula"
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let root = &ask.admission.tensor_root;
        let losses: Vec<SequenceLoss> =
            ask.sequences.iter().map(|sequence| self.loss(root, sequence)).collect();
        learn(&losses).map_err(Trouble::Own)?;
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
