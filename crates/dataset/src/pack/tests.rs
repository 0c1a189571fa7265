//! Packing: every token once, in order, and the same for everybody.

use super::*;
use crate::{FilesSource, GeneratedSource};
use proptest::prelude::*;
use protocol::Seed;
use std::sync::{Arc, LazyLock};

static SOURCE: LazyLock<Arc<GeneratedSource>> = LazyLock::new(|| Arc::new(GeneratedSource::new(1)));
static TOKENIZER: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::train(&**SOURCE, 300).unwrap()));

/// A corpus of some very different documents.
struct Listed(Vec<String>);

impl Source for Listed {
    fn describe(&self) -> String {
        "a list".to_owned()
    }
    fn digest(&self) -> Digest {
        Digest::of(self.0.concat().as_bytes())
    }
    fn n_documents(&self, _: Split) -> u64 {
        self.0.len() as u64
    }
    fn document(&self, _: Split, index: u64) -> Result<Document, Error> {
        let text = self.0[index as usize].clone();
        Ok(Document { id: index.to_string(), text, entropy_nats: None })
    }
}

/// The generated corpus on a machine whose logarithms are others.
struct Told(Option<f64>);

impl Source for Told {
    fn describe(&self) -> String {
        format!("a folder of this machine, {:?}", self.0)
    }
    fn digest(&self) -> Digest {
        SOURCE.digest()
    }
    fn n_documents(&self, split: Split) -> u64 {
        SOURCE.n_documents(split)
    }
    fn document(&self, split: Split, index: u64) -> Result<Document, Error> {
        Ok(Document { entropy_nats: self.0, ..SOURCE.document(split, index)? })
    }
}

fn rules(sequence_length: usize, n_batches: usize, sequences_per_batch: usize) -> PackRules {
    let packing = Packing::Packed;
    PackRules { sequence_length, n_batches, sequences_per_batch, packing }
}

fn seed() -> Seed {
    Seed::of_number(1)
}

#[test]
fn the_batches_of_a_seed_are_frozen() {
    let round = batches(&**SOURCE, &TOKENIZER, seed(), rules(32, 2, 3)).unwrap();
    assert_eq!(round.digest.hex(), FROZEN);
    assert_eq!(batches(&**SOURCE, &TOKENIZER, seed(), rules(32, 2, 3)).unwrap(), round);
}
const FROZEN: &str = "43ea47146d9d93aa1cc4cc1e52823caa9d69b39005d3fc55524400dfca9e3c86";

#[test]
fn batches_hold_the_documents_each_followed_by_one_end_of_text() {
    let round = batches(&**SOURCE, &TOKENIZER, seed(), rules(64, 5, 7)).unwrap();
    let sequences: Vec<&Vec<u32>> = round.batches.iter().flat_map(|b| &b.sequences).collect();
    assert!(round.batches.len() == 5 && sequences.len() == 35);
    assert!(sequences.iter().all(|sequence| sequence.len() == 64));
    let stream: Vec<u32> = sequences.into_iter().flatten().copied().collect();
    let mut texts = stream.split(|token| *token == TOKENIZER.end_of_text());
    let last = texts.next_back().unwrap();
    for (text, document) in texts.clone().zip(&round.documents) {
        assert_eq!(TOKENIZER.decode(text).unwrap(), document.text);
    }
    assert_eq!(texts.count() + 1, round.documents.len());
    let document = round.documents.last().unwrap();
    assert!(document.text.starts_with(&TOKENIZER.decode(last).unwrap()));
    let n_tokens = |d: &Document| TOKENIZER.encode(&d.text).unwrap().len() as u64 + 1;
    assert_eq!(round.lengths, round.documents.iter().map(n_tokens).collect::<Vec<_>>());
    assert_eq!(round.n_tokens(), round.lengths.iter().sum::<u64>());
}

#[test]
fn the_optimum_is_the_entropy_per_token_of_the_documents() {
    let round = batches(&**SOURCE, &TOKENIZER, seed(), rules(64, 5, 7)).unwrap();
    let nats: f64 = round.documents.iter().map(|d| d.entropy_nats.unwrap()).sum();
    let optimum = round.optimum_perplexity().unwrap();
    assert!((optimum.ln() * round.n_tokens() as f64 - nats).abs() < 1e-6);
    assert!((1.05..2.0).contains(&optimum), "{optimum}");
    let unknown = Listed(vec!["one two three".repeat(20)]);
    let round = batches(&unknown, &TOKENIZER, seed(), rules(4, 1, 1)).unwrap();
    assert_eq!(round.optimum_perplexity(), None);
}

#[test]
fn neither_entropy_nor_description_reaches_anything_that_is_hashed() {
    let hashed = |source: &dyn Source| {
        let round = batches(source, &TOKENIZER, seed(), rules(32, 2, 3)).unwrap();
        let named = |document: &Document| (document.id.clone(), document.digest());
        let documents: Vec<_> = round.documents.iter().map(named).collect();
        (round.digest, documents, Tokenizer::train(source, 300).unwrap().digest())
    };
    for told in [None, Some(0.0), Some(f64::NAN)] {
        assert_eq!(hashed(&Told(told)), hashed(&**SOURCE));
    }
}

#[test]
fn per_document_each_sequence_is_one_document_cut_and_never_padded() {
    let per_document = PackRules { packing: Packing::PerDocument, ..rules(200, 3, 4) };
    let round = batches(&**SOURCE, &TOKENIZER, seed(), per_document).unwrap();
    assert_eq!((round.documents.len(), round.batches.len()), (12, 3));
    let sequences = round.batches.iter().flat_map(|batch| &batch.sequences);
    for (sequence, document) in sequences.zip(&round.documents) {
        let mut tokens = TOKENIZER.encode(&document.text).unwrap();
        tokens.push(TOKENIZER.end_of_text());
        tokens.truncate(200);
        assert_eq!(*sequence, tokens);
    }
    let short = Listed(vec!["abc".to_owned(), String::new(), "d".to_owned()]);
    let per_document = PackRules { packing: Packing::PerDocument, ..rules(64, 2, 1) };
    let round = batches(&short, &TOKENIZER, seed(), per_document).unwrap();
    let lengths = round.batches.iter().map(|batch| batch.sequences[0].len());
    assert!(lengths.clone().all(|n| (2..64).contains(&n)), "{:?}", lengths.collect::<Vec<_>>());
    let texts: Vec<&str> = round.documents.iter().map(|d| d.text.as_str()).collect();
    assert!(texts.len() == 2 && !texts.contains(&""), "one for each sequence: {texts:?}");
}

#[test]
fn a_document_that_spells_the_end_of_text_does_not_end() {
    let spelled = Listed(vec!["a<|endoftext|>b".to_owned(); 3]);
    let round = batches(&spelled, &TOKENIZER, seed(), rules(30, 1, 1)).unwrap();
    let is_end = |token: &&u32| **token == TOKENIZER.end_of_text();
    let sequence = &round.batches[0].sequences[0];
    assert_eq!(
        sequence.iter().filter(is_end).count(),
        30 / (TOKENIZER.encode("a<|endoftext|>b").unwrap().len() + 1)
    );
}

#[test]
fn a_source_without_enough_text_is_an_error_that_says_so() {
    let small = Listed(vec!["abc".to_owned(), "def".to_owned()]);
    let error = batches(&small, &TOKENIZER, seed(), rules(8, 2, 2)).unwrap_err();
    assert!(matches!(error, Error::SourceTooSmall { needed: 32, .. }), "{error}");
    assert!(error.hint().is_some());
    let empty = batches(&Listed(vec![]), &TOKENIZER, seed(), rules(8, 2, 2)).unwrap_err();
    assert!(matches!(empty, Error::SourceTooSmall { n_tokens: 0, .. }), "{empty}");
    // Per document it is documents that are missing, however long they are.
    let long = Listed(vec!["abc ".repeat(100), "def ".repeat(100)]);
    let each = PackRules { packing: Packing::PerDocument, ..rules(8, 3, 1) };
    let error = batches(&long, &TOKENIZER, seed(), each).unwrap_err();
    assert!(matches!(error, Error::TooFewDocuments { n_documents: 2, needed: 3, .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn rules_out_of_range_are_refused_before_anything_is_drawn() {
    for bad in [rules(1, 1, 1), rules(8, 0, 1), rules(8, 1, 0), rules(usize::MAX, 2, 2)] {
        let error = batches(&**SOURCE, &TOKENIZER, seed(), bad).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{bad:?}: {error}");
    }
}

#[test]
fn batches_differ_in_digest_when_their_sequences_are_grouped_differently() {
    let batch = |sequences: &[&[u32]]| Batch {
        sequences: sequences.iter().map(|sequence| sequence.to_vec()).collect(),
    };
    let a = [batch(&[&[1, 2], &[3, 4]])];
    let digests = [
        digest(&a),
        digest(&[batch(&[&[1, 2]]), batch(&[&[3, 4]])]),
        digest(&[batch(&[&[1, 2, 3, 4]])]),
        digest(&[batch(&[&[1, 2], &[3, 5]])]),
        digest(&[]),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "{i}");
    }
}

#[test]
fn a_training_stream_goes_on_exactly_where_a_saved_position_says() {
    let new = || TrainingStream::new(SOURCE.clone(), TOKENIZER.clone(), seed(), 50).unwrap();
    let mut stream = new();
    stream.next_batch(17).unwrap();
    let saved = serde_json::to_string(&stream.position()).unwrap();
    let next = stream.next_batch(9).unwrap();
    let mut resumed = new();
    resumed.set_position(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(resumed.next_batch(9).unwrap(), next);
    assert_eq!(resumed.position(), stream.position());
    assert_ne!(new().next_batch(9).unwrap(), next);
}

#[test]
fn each_epoch_trains_on_every_document_once_in_another_order() {
    let texts: Vec<String> = (0..9).map(|i| format!("<{i}{}>", "x".repeat(i * 7))).collect();
    let source = Arc::new(Listed(texts.clone()));
    let mut stream = TrainingStream::new(source, TOKENIZER.clone(), seed(), 3).unwrap();
    let mut tokens = Vec::new();
    while stream.position().epoch < 4 {
        tokens.extend(stream.next().unwrap().unwrap());
    }
    let documents: Vec<String> = tokens
        .split(|token| *token == TOKENIZER.end_of_text())
        .map(|tokens| TOKENIZER.decode(tokens).unwrap())
        .collect();
    let mut orders: Vec<Vec<String>> =
        documents.chunks_exact(9).take(4).map(<[_]>::to_vec).collect();
    orders.dedup();
    assert_eq!(orders.len(), 4, "two epochs have the same order");
    for mut order in orders {
        order.sort();
        assert_eq!(order, texts);
    }
}

#[test]
fn a_training_stream_knows_no_position_outside() {
    let source = Arc::new(Listed(vec!["abc".to_owned(); 2]));
    let mut stream = TrainingStream::new(source, TOKENIZER.clone(), seed(), 3).unwrap();
    let before = stream.next_batch(2).unwrap();
    for (n_documents, n_tokens) in [(2, 0), (0, 99), (u64::MAX, 0)] {
        let position = Position { epoch: 0, n_documents, n_tokens };
        assert!(matches!(stream.set_position(position), Err(Error::NoPosition(_))));
    }
    stream.set_position(Position::default()).unwrap();
    assert_eq!(stream.next_batch(2).unwrap(), before);
}

#[test]
fn training_text_is_never_evaluation_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("corpus.jsonl");
    let lines: Vec<String> =
        (0..400).map(|i| format!("{{\"text\":\"number {}\"}}", i % 300)).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let source = FilesSource::open(&path).unwrap();
    let texts = |split| {
        let documents = (0..source.n_documents(split)).map(|i| source.document(split, i).unwrap());
        documents.map(|document| document.text).collect::<std::collections::HashSet<_>>()
    };
    assert!(texts(Split::Train).is_disjoint(&texts(Split::Evaluation)));
    assert_eq!(texts(Split::Train).len() + texts(Split::Evaluation).len(), 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_stream_restored_after_any_sequence_is_the_stream(
        texts in prop::collection::vec("[a-z ]{1,40}", 1..8),
        sequence_length in 2..30_usize,
        n in 0..40_usize,
    ) {
        let source = Arc::new(Listed(texts));
        let new = || {
            TrainingStream::new(source.clone(), TOKENIZER.clone(), seed(), sequence_length).unwrap()
        };
        let mut stream = new();
        stream.next_batch(n).unwrap();
        let mut resumed = new();
        resumed.set_position(stream.position()).unwrap();
        prop_assert_eq!(resumed.next_batch(5).unwrap(), stream.next_batch(5).unwrap());
    }
}
