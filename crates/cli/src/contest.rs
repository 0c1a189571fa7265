//! A competition with its text, as commands that draw text themselves have it.

use dataset::{
    Lot, Source, Tokenizer,
    pack::{self, PackRules, Round},
};
use protocol::{
    Block, BlockHash, Competition, Digest, Loss, Seed,
    competition::{DatasetRules, TokenizerRules},
    record::DocumentDigest,
    unigram::unigram,
};
use std::{path::Path, sync::Arc};
use validator::{Drawn, Sequence, Text};

/// Name of the tokenizer that lies beside the competition file of a network.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Parts of a nat that the optimum of a text is told in.
const OPTIMUM_PLACES: f64 = 1e6;

/// A competition with the text it is measured on.
#[derive(Clone)]
pub struct Contest {
    /// The rules.
    pub competition: Competition,
    /// Where fresh text comes from.
    pub source: Arc<dyn Source>,
    /// How it becomes tokens.
    pub tokenizer: Arc<Tokenizer>,
}

impl Contest {
    /// Root of the randomness of the round that a block seeds.
    pub fn seed(&self, block_hash: BlockHash) -> Seed {
        seed(&self.competition, block_hash)
    }

    /// The evaluation text of the round that a block seeds: the same for everybody.
    pub fn draw(&self, block: Block, block_hash: BlockHash) -> Result<Round, dataset::Error> {
        let text = DatasetText::of(self);
        text.round(&self.competition, chain::Head { block, hash: block_hash })
    }

    /// The same as validators are given it.
    pub fn drawn(&self, seed: chain::Head) -> anyhow::Result<Drawn> {
        DatasetText::of(self).drawn(&self.competition, seed)
    }

    /// The competition and its text for a validator.
    pub fn for_validator(&self) -> validator::Contest {
        validator::Contest::new(self.competition.clone(), Arc::new(DatasetText::of(self)))
    }

    /// Pins text and tokenizer, so that the rules hold wherever they are read; the tokenizer then
    /// lies beside the competition file, as [`TOKENIZER_FILE`].
    pub fn pin(&mut self) {
        let Self { competition, source, tokenizer } = self;
        if let DatasetRules::Files { path, sha256 } = &mut competition.dataset {
            *sha256 = Some(source.digest());
            if let Ok(whole) = Path::new(path).canonicalize() {
                *path = whole.display().to_string();
            }
        }
        match &mut competition.text.tokenizer {
            TokenizerRules::Trained { sha256, .. } => *sha256 = Some(tokenizer.digest()),
            TokenizerRules::File { path, .. } => *path = TOKENIZER_FILE.to_owned(),
            TokenizerRules::Hub { .. } => {}
        }
    }
}

fn seed(competition: &Competition, block_hash: BlockHash) -> Seed {
    Seed::of_block(block_hash, &competition.name, "evaluation")
}

/// Documents of a source, cut into sequences of tokens.
struct DatasetText {
    source: Arc<dyn Source>,
    tokenizer: Arc<Tokenizer>,
}

impl DatasetText {
    fn of(contest: &Contest) -> Self {
        let Contest { source, tokenizer, .. } = contest;
        Self { source: Arc::clone(source), tokenizer: Arc::clone(tokenizer) }
    }

    fn round(&self, competition: &Competition, head: chain::Head) -> Result<Round, dataset::Error> {
        let evaluation = &competition.evaluation;
        let rules = PackRules {
            sequence_length: competition.text.sequence_length,
            n_batches: evaluation.n_batches,
            sequences_per_batch: evaluation.sequences_per_batch,
            packing: competition.text.packing,
        };
        // Rounds in a row have numbers in a row.
        let turn = head.block.0 / evaluation.blocks_per_round.max(1);
        let lot = Lot { seed: seed(competition, head.hash), turn };
        pack::batches(&*self.source, &self.tokenizer, lot, rules)
    }
}

impl Text for DatasetText {
    fn tokenizer(&self) -> Digest {
        self.tokenizer.digest()
    }

    fn dataset(&self) -> Digest {
        self.source.digest()
    }

    fn draw(&self, competition: &Competition, seed: chain::Head) -> anyhow::Result<Arc<Drawn>> {
        self.drawn(competition, seed).map(Arc::new)
    }
}

impl DatasetText {
    fn drawn(&self, competition: &Competition, seed: chain::Head) -> anyhow::Result<Drawn> {
        let round = self.round(competition, seed)?;
        let optimum = round.optimum().map(optimum).transpose()?;
        let sequences = round.batches.iter().flat_map(|batch| &batch.sequences);
        let guessing = unigram(sequences.map(Vec::as_slice));
        let documents = round.documents.iter().zip(&round.lengths).map(|(document, n_tokens)| {
            let (n_bytes, n_tokens) = (document.text.len() as u64, *n_tokens);
            DocumentDigest { id: document.id.clone(), sha256: document.digest(), n_bytes, n_tokens }
        });
        Ok(Drawn {
            documents: documents.collect(),
            digest: round.digest,
            guessing,
            optimum,
            batches: round
                .batches
                .into_iter()
                .map(|batch| batch.sequences.into_iter().map(sequence).collect())
                .collect(),
        })
    }
}

/// A loss that every machine writes alike: its last bits may differ.
fn optimum(nats: f64) -> Result<Loss, protocol::loss::NotALoss> {
    Loss::new((nats * OPTIMUM_PLACES).round() / OPTIMUM_PLACES)
}

fn sequence(tokens: Vec<u32>) -> Sequence {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    Sequence { digest: Digest::of_fields("agon sequence", &[&bytes]), tokens }
}
