//! The definition of a loss, implemented a second time from `docs/protocol.md`: number by number,
//! without the engine's kernels, and in any other order of operations that somebody may take for
//! the same.

mod forward;
mod functions;
mod net;
mod order;

use crate::{
    evaluate, golden, load,
    published::Published,
    wide::{self, Wide},
};
use engine::{EvaluateOptions, SequenceLoss};
use forward::Forward;
use net::Net;
use order::{OTHERS, Order, UNSEEN_BY_SMALL_MODELS};

/// Positions at, before and after the ends of blocks, and between them.
const POSITIONS: [usize; 12] = [1, 15, 16, 129, 255, 256, 257, 400, 511, 512, 600, 611];

/// A model, what the engine says of it, and which losses are compared.
struct Subject {
    name: String,
    net: Net,
    sequences: Vec<Vec<u32>>,
    losses: Vec<SequenceLoss>,
}

impl Subject {
    /// Nothing for a family that the second implementation does not have.
    fn new(name: &str, published: &Published, sequences: &[Vec<u32>]) -> Option<Self> {
        let net = Net::read(published)?;
        let model = load(published.write().path());
        let losses = evaluate(&model, sequences, &EvaluateOptions::default());
        Some(Self { name: name.into(), net, sequences: sequences.to_vec(), losses })
    }

    fn wide() -> Vec<Self> {
        let models = wide::all().into_iter();
        models
            .map(|Wide { name, published, sequences, .. }| {
                Self::new(&name, &published, &sequences).unwrap()
            })
            .collect()
    }

    /// The small golden models of the same families, with their own sequences.
    fn small() -> Vec<Self> {
        let model = |folder: &std::path::PathBuf| {
            let golden = std::fs::read(folder.join("golden.json")).unwrap();
            let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
            let sequences: Vec<_> = serde_json::from_value(golden["sequences"].clone()).unwrap();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            Self::new(&name, &Published::read(folder), &sequences)
        };
        golden::folders().iter().filter_map(model).collect()
    }

    /// Losses of all tokens of a sequence in some order of operations.
    fn nats(&self, order: Order, sequence: usize) -> Vec<f64> {
        let tokens = &self.sequences[sequence];
        let positions: Vec<usize> = (0..tokens.len() - 1).collect();
        Forward { net: &self.net, order }.nats(tokens, &positions)
    }

    /// Whether all losses of a sequence, and their mean, have the engine's bits.
    fn agrees_on(&self, order: Order, sequence: usize) -> bool {
        let nats = self.nats(order, sequence);
        let mean = nats.iter().sum::<f64>() / nats.len() as f64;
        let found: Vec<u32> = nats.iter().map(|nats| (*nats as f32).to_bits()).collect();
        let loss = &self.losses[sequence];
        mean.to_bits() == loss.cross_entropy.value().to_bits() && found == bits(loss)
    }

    /// The same for all sequences.
    fn agrees(&self, order: Order) -> bool {
        (0..self.sequences.len()).all(|sequence| self.agrees_on(order, sequence))
    }

    /// The same for those of two tokens, and for [`POSITIONS`] of the longest.
    fn agrees_here_and_there(&self, order: Order) -> bool {
        let longest = self.sequences.len() - 1;
        let expected = bits(&self.losses[longest]);
        let is_same =
            |(nats, position): (&f64, &usize)| (*nats as f32).to_bits() == expected[*position];
        let are_same = (0..longest)
            .filter(|sequence| self.sequences[*sequence].len() == 2)
            .all(|sequence| self.agrees_on(order, sequence));
        are_same && {
            let nats = Forward { net: &self.net, order }.nats(&self.sequences[longest], &POSITIONS);
            nats.iter().zip(&POSITIONS).all(is_same)
        }
    }
}

fn bits(loss: &SequenceLoss) -> Vec<u32> {
    loss.token_nll.iter().flatten().map(|nats| nats.to_bits()).collect()
}

#[test]
fn the_definition_written_a_second_time_gives_the_bits_of_the_wide_models() {
    for subject in Subject::wide() {
        assert!(subject.agrees(Order::DEFINITION), "{}", subject.name);
    }
}

#[test]
fn the_definition_written_a_second_time_gives_the_bits_of_the_small_models() {
    let subjects = Subject::small();
    assert!(subjects.len() >= 18, "only {} models", subjects.len());
    for subject in subjects {
        assert!(subject.agrees(Order::DEFINITION), "{}", subject.name);
    }
}

#[test]
fn every_other_order_of_operations_gives_other_bits_on_a_wide_model() {
    let subjects = Subject::wide();
    assert!(subjects.iter().all(|subject| subject.agrees_here_and_there(Order::DEFINITION)));
    let mut unseen = Vec::new();
    for (name, order) in UNSEEN_BY_SMALL_MODELS.into_iter().chain(OTHERS) {
        let seeing = subjects.iter().filter(|subject| !subject.agrees_here_and_there(order));
        let seeing: Vec<&str> = seeing.map(|subject| &*subject.name).collect();
        eprintln!("| {name} | {} |", seeing.join(", "));
        if seeing.is_empty() {
            unseen.push(name);
        }
    }
    assert!(unseen.is_empty(), "no wide model tells these from the definition: {unseen:?}");
}

/// Why the wide models exist.
#[test]
fn other_blocks_give_the_same_bits_on_every_small_model() {
    let subjects = Subject::small();
    for (name, order) in UNSEEN_BY_SMALL_MODELS {
        for subject in &subjects {
            assert!(subject.agrees(order), "{name}: {} is no longer small", subject.name);
        }
    }
}
