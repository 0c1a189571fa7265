//! `agon sample`: the documents and batches that a block hash selects.

use crate::contest::Contest;
use crate::{
    args::SampleArgs,
    competition_file::{self, with_own_hint},
    failure::HintExt as _,
    terminal::{self, print_json},
};
use dataset::{Batch, Document, Tokenizer, pack};
use protocol::{Block, BlockHash, Digest, Loss, competition::DatasetRules, unigram::unigram};
use serde::Serialize;
use std::{fmt::Write as _, process::ExitCode};

/// Letters of a document that people see.
const BEGINNING_LETTERS: usize = 60;
/// Tokens of a batch that people see as text.
const BEGINNING_TOKENS: usize = 16;

/// The text of a round; the names are those of a validator's record.
#[derive(Serialize)]
struct Sample {
    competition: String,
    competition_digest: Digest,
    block_hash: BlockHash,
    /// Root of the draw, hexadecimal.
    seed: String,
    dataset: Digest,
    tokenizer: Digest,
    documents: Vec<DrawnDocument>,
    batches: Vec<DrawnBatch>,
    /// Digest over all batches, as it stands in the record.
    batches_digest: Digest,
    n_tokens: u64,
    /// Loss of guessing in nats per token, which a model must be below.
    unigram: Loss,
    optimum_perplexity: Option<f64>,
}

#[derive(Serialize)]
struct DrawnDocument {
    id: String,
    sha256: Digest,
    entropy_nats: Option<f64>,
    text: String,
}

#[derive(Serialize)]
struct DrawnBatch {
    digest: Digest,
    /// The first tokens as text.
    beginning: String,
    sequences: Vec<Vec<u32>>,
}

/// Draws the text of a round as every validator does, and prints it.
pub fn run(args: &SampleArgs) -> anyhow::Result<ExitCode> {
    let block_hash: BlockHash =
        args.block_hash.parse().hint("such as 0x and 64 of the digits 0 to 9 and a to f")?;
    let contest = competition_file::contest(&args.competition, args.dir.as_deref())?;
    let sample = Sample::draw(&contest, block(args, &contest)?, block_hash)?;
    if args.json {
        print_json(&sample)?;
    } else {
        terminal::print(&sample.for_people()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The block of the round; a person need not name it where it does not matter.
fn block(args: &SampleArgs, contest: &Contest) -> anyhow::Result<Block> {
    let matters = match &contest.competition.dataset {
        DatasetRules::Hub(dataset) => dataset.draw.rounds_apart > 1,
        _ => false,
    };
    match args.block {
        None if matters => {
            Err(anyhow::anyhow!("which rows may be drawn depends on the number of the block"))
                .hint("name it with --block")
        }
        block => Ok(Block(block.unwrap_or(0))),
    }
}

impl Sample {
    fn draw(contest: &Contest, block: Block, block_hash: BlockHash) -> anyhow::Result<Self> {
        let round = with_own_hint(contest.draw(block, block_hash))?;
        let (optimum_perplexity, n_tokens) = (round.optimum_perplexity(), round.n_tokens());
        let sequences = round.batches.iter().flat_map(|batch| &batch.sequences);
        let unigram = unigram(sequences.map(Vec::as_slice));
        let batch = |batch| DrawnBatch::new(batch, &contest.tokenizer);
        Ok(Self {
            competition: contest.competition.name.clone(),
            competition_digest: contest.competition.digest(),
            block_hash,
            seed: Digest(contest.seed(block_hash).0).hex(),
            dataset: contest.source.digest(),
            tokenizer: contest.tokenizer.digest(),
            documents: round.documents.into_iter().map(DrawnDocument::from).collect(),
            batches: round.batches.into_iter().map(batch).collect::<Result<_, _>>()?,
            batches_digest: round.digest,
            n_tokens,
            unigram,
            optimum_perplexity,
        })
    }

    fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "competition  {}  {}", self.competition, self.competition_digest)?;
        writeln!(text, "block hash   {}", self.block_hash)?;
        writeln!(text, "seed         {}", self.seed)?;
        writeln!(text, "dataset      {}", self.dataset)?;
        writeln!(text, "tokenizer    {}", self.tokenizer)?;
        writeln!(text, "\n{} documents, {} tokens", self.documents.len(), self.n_tokens)?;
        let width = self.documents.iter().map(|document| document.id.len()).max().unwrap_or(0);
        for document in &self.documents {
            let nats =
                document.entropy_nats.map_or_else(String::new, |n| format!("{n:>7.1} nats  "));
            let (id, digest) = (&document.id, short(&document.sha256));
            writeln!(text, "  {id:width$}  {digest}  {nats}{}", beginning(&document.text))?;
        }
        writeln!(text, "\n{} batches  {}", self.batches.len(), self.batches_digest)?;
        for (index, batch) in self.batches.iter().enumerate() {
            let (n, digest) = (batch.sequences.len(), short(&batch.digest));
            let beginning = beginning(&batch.beginning);
            writeln!(text, "  {:>4}  {n} sequences  {digest}  {beginning}", index + 1)?;
        }
        let guessing = self.unigram.value().exp();
        writeln!(text, "\na table of the tokens' frequencies has perplexity {guessing:.4};")?;
        writeln!(text, "a model that is not below it is disqualified")?;
        if let Some(perplexity) = self.optimum_perplexity {
            writeln!(text, "\na perfect model has perplexity {perplexity:.4} on whole documents")?;
        }
        Ok(text)
    }
}

impl From<Document> for DrawnDocument {
    fn from(document: Document) -> Self {
        let sha256 = document.digest();
        let Document { id, text, entropy_nats } = document;
        Self { id, sha256, entropy_nats, text }
    }
}

impl DrawnBatch {
    fn new(batch: Batch, tokenizer: &Tokenizer) -> anyhow::Result<Self> {
        let first: Vec<u32> =
            batch.sequences.iter().flatten().take(BEGINNING_TOKENS).copied().collect();
        Ok(Self {
            digest: pack::digest(std::slice::from_ref(&batch)),
            beginning: tokenizer.decode(&first)?,
            sequences: batch.sequences,
        })
    }
}

/// The first letters of a text on one line, free of control characters.
fn beginning(text: &str) -> String {
    let shown = text.chars().take(BEGINNING_LETTERS);
    shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Enough of a digest to tell two texts apart by eye.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
