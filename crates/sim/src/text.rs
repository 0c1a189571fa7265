//! The text of a round: documents by number, drawn with the seed of the round.

use crate::{
    model::{Document, DocumentKind},
    noise::{mix, unit},
    scenario::TextRules,
};
use chain::Head;
use protocol::{
    BlockHash, Competition, Digest, Loss, Seed, record::DocumentDigest, seed::uniform_below,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use validator::{Drawn, Sequence, Text};

/// What guessing loses, in nats per token: junk is above it, and every model that learnt below.
pub(crate) const GUESSING: f64 = 7.0;

/// Sets apart the words that say in which rounds the dataset does not answer.
const OUTAGES: u64 = 0x0a7a;

/// Text of a season.
#[derive(Debug)]
pub(crate) struct SimText {
    rules: TextRules,
    /// The text that was drawn last: most validators ask for the same.
    last: Mutex<Option<(BlockHash, Arc<Drawn>)>>,
}

impl SimText {
    pub(crate) fn new(rules: TextRules) -> Self {
        Self { rules, last: Mutex::new(None) }
    }

    /// The documents of a round, each once.
    fn documents(&self, competition: &Competition, seed: Head) -> anyhow::Result<Vec<Document>> {
        let rules = &competition.evaluation;
        let n = rules.n_batches.saturating_mul(rules.sequences_per_batch);
        let mut random = Seed::of_block(seed.hash, &competition.name, "evaluation").stream();
        let mut word = || uniform_below(&mut random, u64::MAX);
        // By the block, whatever hash a validator draws with: an outage is everybody's.
        let is_out = unit(mix(OUTAGES, seed.block.0)) < self.rules.reserve_share;
        let (kind, first, step, n_all) = match self.rules.reserve {
            n_reserve if is_out && n_reserve > 0 => (DocumentKind::Reserve, 0, 1, n_reserve),
            _ if self.rules.pool == 0 => (DocumentKind::Fresh, 0, 1, u64::MAX),
            _ => {
                // One class of documents after the other, so that rounds nearby share none.
                let classes = self.rules.rounds_apart.max(1);
                let class = (seed.block.0 / rules.blocks_per_round.max(1)) % classes;
                (DocumentKind::Exam, class, classes, self.rules.pool / classes)
            }
        };
        anyhow::ensure!(n_all / 2 >= n as u64, "{n} documents of {n_all} cannot be drawn");
        let (mut drawn, mut documents) = (BTreeSet::new(), Vec::with_capacity(n));
        while documents.len() < n {
            let place = word() % n_all;
            if drawn.insert(place) {
                let number = place.wrapping_mul(step).wrapping_add(first);
                documents.push(Document { kind, number });
            }
        }
        Ok(documents)
    }

    fn drawn(&self, competition: &Competition, seed: Head) -> anyhow::Result<Drawn> {
        let documents = self.documents(competition, seed)?;
        let sequence = |document: &Document| {
            let tokens = document.tokens();
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            Sequence { digest: Digest::of(&bytes), tokens }
        };
        let sequences: Vec<Sequence> = documents.iter().map(sequence).collect();
        let digests: Vec<[u8; 32]> = sequences.iter().map(|sequence| sequence.digest.0).collect();
        let named = documents.iter().zip(&sequences).map(|(document, sequence)| {
            let id = format!("{:?}-{}", document.kind, document.number);
            let n_tokens = sequence.tokens.len() as u64;
            DocumentDigest { id, sha256: sequence.digest, n_bytes: 4 * n_tokens, n_tokens }
        });
        let per_batch = competition.evaluation.sequences_per_batch.max(1);
        Ok(Drawn {
            documents: named.collect(),
            digest: Digest::of(&digests.concat()),
            batches: sequences.chunks(per_batch).map(<[Sequence]>::to_vec).collect(),
            guessing: Loss::new(GUESSING)?,
            optimum: None,
        })
    }
}

impl Text for SimText {
    fn tokenizer(&self) -> Digest {
        Digest::of(b"sim tokenizer")
    }

    fn dataset(&self) -> Digest {
        Digest::of(b"sim dataset")
    }

    fn draw(&self, competition: &Competition, seed: Head) -> anyhow::Result<Arc<Drawn>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((hash, drawn)) = &*last
            && *hash == seed.hash
        {
            return Ok(Arc::clone(drawn));
        }
        let drawn = Arc::new(self.drawn(competition, seed)?);
        *last = Some((seed.hash, Arc::clone(&drawn)));
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests;
