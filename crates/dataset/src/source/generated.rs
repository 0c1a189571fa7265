//! An endless corpus with known entropy: stories, facts and sums of a small world.

mod grammar;
mod world;
mod writer;

#[cfg(test)]
mod tests;

use crate::{Document, Error, Source, Split};
use protocol::{Digest, Seed, seed::uniform_below};
use rand_chacha::ChaCha20Rng;
use world::{Sizes, World};
use writer::{Choice, Writer};

/// Documents of a grammar, in ASCII English of 500 to 1,500 characters.
///
/// Every document carries its exact information content; the best possible model of single
/// documents has the perplexity `exp(entropy / number of tokens)`. The facts that documents state
/// (where somebody lives, what a thing costs) are those of the world and equal in all of them.
pub struct GeneratedSource {
    number: u64,
    world: World,
    digest: Digest,
}

impl GeneratedSource {
    /// Documents in each split; so many that a stream never repeats in practice.
    pub const N_DOCUMENTS: u64 = 1 << 40;

    /// Documents of each split that the digest looks at.
    const N_DIGESTED: u64 = 16;

    /// The corpus about the world of a number.
    pub fn new(world: u64) -> Self {
        let mut source =
            Self { number: world, world: World::new(world, Sizes::FULL), digest: Digest::of(b"") };
        // The first documents stand for all: a change of the grammar or of the world shows in them.
        let digests: Vec<u8> = [Split::Train, Split::Evaluation]
            .into_iter()
            .flat_map(|split| (0..Self::N_DIGESTED).map(move |index| (split, index)))
            .flat_map(|(split, index)| Digest::of(source.write(split, index).0.as_bytes()).0)
            .collect();
        source.digest =
            Digest::of_fields("agon generated source", &[&world.to_le_bytes(), &digests]);
        source
    }

    /// The text and the entropy of a document.
    fn write(&self, split: Split, index: u64) -> (String, f64) {
        let purpose = format!("generated document {split} {index}");
        let mut rng = Seed::of_number(self.number).derive(&purpose).stream();
        let mut pick = |_: &str, options: &[Choice]| weighted(&mut rng, options);
        let mut writer = Writer::new(&mut pick);
        grammar::document(&self.world, &mut writer);
        (writer.text, writer.entropy_nats)
    }
}

impl Source for GeneratedSource {
    fn describe(&self) -> String {
        format!("generated stories, facts and sums of world {}", self.number)
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn n_documents(&self, _split: Split) -> u64 {
        Self::N_DOCUMENTS
    }

    fn document(&self, split: Split, index: u64) -> Result<Document, Error> {
        if index >= Self::N_DOCUMENTS {
            let (corpus, n_documents) = (self.describe(), Self::N_DOCUMENTS);
            return Err(Error::NoDocument { corpus, split, index, n_documents });
        }
        let (text, entropy_nats) = self.write(split, index);
        let id = format!("generated:{}/{split}/{index}", self.number);
        Ok(Document { id, text, entropy_nats: Some(entropy_nats) })
    }
}

/// Draws the index of an option with the probability of its weight.
fn weighted(rng: &mut ChaCha20Rng, options: &[Choice]) -> usize {
    let mut rest = uniform_below(rng, options.iter().map(|(weight, _)| weight).sum());
    let is_here = |(weight, _): &Choice| {
        let is_here = rest < *weight;
        rest = rest.saturating_sub(*weight);
        is_here
    };
    options.iter().position(is_here).unwrap_or(0)
}
