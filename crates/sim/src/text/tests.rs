//! The text of rounds: which documents are drawn, when, and for whom.

use super::*;
use crate::scenario::Scenario;
use protocol::Block;

/// Rules of small rounds: so many batches of as many sequences, a round every 10 blocks.
fn competition(n_batches: usize, sequences_per_batch: usize) -> Competition {
    let text = format!(
        "[[miners]]\nstrategy = \"idle\"\n[competition.evaluation]\n\
         n_batches = {n_batches}\nsequences_per_batch = {sequences_per_batch}\n"
    );
    let mut rules = Scenario::from_toml(&text).unwrap().all_rules().unwrap();
    rules.remove(0).competition
}

/// A block with a hash of its own.
fn head(block: u64, salt: u64) -> Head {
    let hash = Digest::of_fields("test", &[&block.to_le_bytes(), &salt.to_le_bytes()]).0;
    Head { block: Block(block), hash: BlockHash(hash) }
}

fn documents(text: &SimText, competition: &Competition, seed: Head) -> Vec<Document> {
    text.documents(competition, seed).unwrap()
}

#[test]
fn a_round_has_its_number_of_documents_each_once_and_each_sequence_names_its_own() {
    let rules = competition(24, 4);
    let text = SimText::new(TextRules::default());
    let drawn = text.draw(&rules, head(10, 0)).unwrap();
    assert_eq!((drawn.batches.len(), drawn.n_sequences(), drawn.documents.len()), (24, 96, 96));
    assert!(drawn.batches.iter().all(|batch| batch.len() == 4));
    let ids: BTreeSet<&str> = drawn.documents.iter().map(|named| named.id.as_str()).collect();
    assert_eq!(ids.len(), 96, "each once");
    for (sequence, named) in drawn.batches.iter().flatten().zip(&drawn.documents) {
        let document = Document::of(&sequence.tokens);
        assert_eq!(named.id, format!("{:?}-{}", document.kind, document.number));
        assert_eq!(named.sha256, sequence.digest);
        assert_eq!(document.kind, DocumentKind::Fresh);
    }
    assert_eq!(drawn.guessing.value(), GUESSING);
}

#[test]
fn text_follows_from_the_hash_of_the_block_and_the_name_of_the_competition() {
    let rules = competition(4, 2);
    let seed = head(10, 0);
    let drawn = SimText::new(TextRules::default()).draw(&rules, seed).unwrap();
    let text = SimText::new(TextRules::default());
    let other = text.draw(&rules, head(10, 1)).unwrap();
    assert_ne!(other.digest, drawn.digest, "another hash");
    assert_eq!(text.draw(&rules, seed).unwrap(), drawn, "whatever was drawn before");
    assert_eq!(text.draw(&rules, seed).unwrap(), drawn, "and once more, from what is kept");
    let mut renamed = rules;
    renamed.name = "other".to_owned();
    let other = SimText::new(TextRules::default()).draw(&renamed, seed).unwrap();
    assert_ne!(other.digest, drawn.digest, "another competition");
}

#[test]
fn rounds_nearby_share_no_document_of_the_pool() {
    let rules = competition(10, 2);
    let text = TextRules { pool: 600, rounds_apart: 3, ..TextRules::default() };
    let text = SimText::new(text);
    let round = |n: u64| {
        let documents = documents(&text, &rules, head(10 * n, 0));
        let own = |document: &Document| {
            assert_eq!(document.kind, DocumentKind::Exam, "round {n}");
            assert!(document.number < 600 && document.number % 3 == n % 3, "round {n}");
            document.number
        };
        documents.iter().map(own).collect::<BTreeSet<u64>>()
    };
    let rounds: Vec<BTreeSet<u64>> = (0..9).map(round).collect();
    for window in rounds.windows(3) {
        let together: BTreeSet<u64> = window.iter().flatten().copied().collect();
        assert_eq!(together.len(), 3 * 20, "{window:?}");
    }
    assert_ne!(rounds[0], rounds[3], "the same share, drawn with another hash");
}

#[test]
fn the_reserve_is_asked_in_its_share_of_the_rounds_and_by_everybody_alike() {
    const N: u64 = 2_000;
    let rules = competition(2, 1);
    for share in [0.0, 0.3, 1.0] {
        let text =
            TextRules { pool: 300, reserve: 50, reserve_share: share, ..TextRules::default() };
        let text = SimText::new(text);
        let is_out = |block: u64, salt: u64| {
            let documents = documents(&text, &rules, head(block, salt));
            let n_reserve =
                documents.iter().filter(|document| document.kind == DocumentKind::Reserve).count();
            assert!([0, 2].contains(&n_reserve), "a round is of one kind");
            n_reserve == 2
        };
        let n_out = (1..=N).filter(|block| is_out(*block, 0)).count();
        let found = n_out as f64 / N as f64;
        let error = 5.0 * (share * (1.0 - share) / N as f64).sqrt();
        assert!((found - share).abs() <= error, "{found} of {share}");
        // Validators that draw with hashes of their own see the same outage.
        assert!((1..=200).all(|block| is_out(block, 0) == is_out(block, 1)), "{share}");
    }
}

#[test]
fn without_a_reserve_nothing_is_drawn_from_it() {
    let rules = competition(2, 1);
    for (pool, kind) in [(0, DocumentKind::Fresh), (300, DocumentKind::Exam)] {
        let text = TextRules { pool, reserve: 0, reserve_share: 1.0, ..TextRules::default() };
        let found = documents(&SimText::new(text), &rules, head(10, 0));
        assert!(found.iter().all(|document| document.kind == kind), "{found:?}");
    }
}

#[test]
fn documents_of_the_reserve_are_within_it() {
    let rules = competition(5, 2);
    let text = TextRules { reserve: 20, reserve_share: 1.0, ..TextRules::default() };
    let text = SimText::new(text);
    for block in 1..50 {
        let found = documents(&text, &rules, head(block, 0));
        let numbers: BTreeSet<u64> = found.iter().map(|document| document.number).collect();
        assert_eq!(numbers.len(), 10, "each once");
        assert!(numbers.iter().all(|number| *number < 20), "{numbers:?}");
    }
}

#[test]
fn a_pool_of_less_than_two_rounds_is_named_instead_of_drawn_for_ever() {
    let rules = competition(10, 1);
    let text = |pool| {
        let text = TextRules { pool, rounds_apart: 1, ..TextRules::default() };
        SimText::new(text).draw(&rules, head(10, 0))
    };
    assert_eq!(text(20).unwrap().n_sequences(), 10);
    let told = text(19).unwrap_err().to_string();
    assert_eq!(told, "10 documents of 19 cannot be drawn");
}
