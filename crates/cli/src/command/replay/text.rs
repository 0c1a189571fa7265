//! Seed, rows and sequences: the text of a round, drawn again.

use super::report::{Part, Step};
use crate::{contest::Contest, failure, rules_text::plural, terminal::spinner};
use chain::{Chain, Head};
use protocol::{
    Block, Digest, Loss, Record,
    record::{DocumentDigest, Round},
};
use validator::Drawn;

/// Whether the chain has the block hashes of a record; `Err` of `chain` is why none is asked.
pub fn seed(record: &Record, chain: Result<&dyn Chain, &str>) -> Step {
    let round = &record.round;
    let chain = match chain {
        Ok(chain) => chain,
        Err(why) => return Step::not_checked(Part::Seed, why),
    };
    for (at, block, recorded) in [
        ("round.genesis", Block(0), round.genesis),
        ("round.block_hash", round.block, round.block_hash),
    ] {
        match chain.block_hash(block) {
            Ok(Some(hash)) if hash == recorded => {}
            Ok(Some(hash)) => return Step::differs(Part::Seed, at, (hash, recorded)),
            Ok(None) => {
                let why = format!("the chain does not tell the hash of block {block}");
                return Step::not_checked(Part::Seed, why);
            }
            Err(error) => {
                let why = format!("the chain does not tell the hash of block {block}: {error}");
                return Step::not_checked(Part::Seed, why);
            }
        }
    }
    Step::equal(Part::Seed, format!("hash of block {}, and of the chain's first", round.block))
}

/// The text that a round draws, or why it cannot be drawn here.
pub fn draw(record: &Record, contest: &Contest) -> Result<Drawn, String> {
    let round = &record.round;
    let seeds = contest.competition.evaluation.seeds;
    let hash = seeds.hash(round.block_hash, round.validator);
    let bar = spinner("drawing text");
    let drawn = contest.drawn(Head { block: round.block, hash });
    bar.finish_and_clear();
    drawn.map_err(|error| format!("the text cannot be drawn here: {}", failure::causes(&error)))
}

/// Rows, then sequences, of a record beside what was drawn again.
pub fn compare(record: &Record, contest: &Contest, drawn: &Result<Drawn, String>) -> [Step; 2] {
    let round = &record.round;
    let drawn = match drawn {
        Ok(drawn) => drawn,
        Err(why) => {
            return [Part::Rows, Part::Sequences].map(|part| Step::not_checked(part, why.as_str()));
        }
    };
    [rows(round, contest, drawn), sequences(round, contest, drawn)]
}

fn rows(round: &Round, contest: &Contest, drawn: &Drawn) -> Step {
    let dataset = contest.source.digest();
    if dataset != round.dataset {
        return Step::differs(Part::Rows, "round.dataset", (dataset, round.dataset));
    }
    let other = first_other(&drawn.documents, &round.documents)
        .or_else(|| optimum(drawn.optimum, round.optimum));
    let what = plural(drawn.documents.len(), "document");
    Step::or_equal(other, Part::Rows, what)
}

/// The first document that is another one, or longer or shorter than it is.
fn first_other(drawn: &[DocumentDigest], recorded: &[DocumentDigest]) -> Option<Step> {
    let pairs = drawn.iter().zip(recorded).enumerate();
    let mut others = pairs.filter_map(|(place, (drawn, recorded))| {
        other(&format!("round.documents[{place}]"), drawn, recorded)
    });
    if let Some(step) = others.next() {
        return Some(step);
    }
    let (expected, found) = (drawn.len(), recorded.len());
    let pair = (plural(expected, "document"), plural(found, "document"));
    (expected != found).then(|| Step::differs(Part::Rows, "round.documents", pair))
}

/// What is another thing of a document.
fn other(at: &str, drawn: &DocumentDigest, recorded: &DocumentDigest) -> Option<Step> {
    // Whoever adds a field is asked for it here.
    let DocumentDigest { id, sha256, n_bytes, n_tokens } = drawn;
    if (id, sha256) != (&recorded.id, &recorded.sha256) {
        let told = |document: &DocumentDigest| format!("{} ({})", document.id, document.sha256);
        return Some(Step::differs(Part::Rows, at, (told(drawn), told(recorded))));
    }
    let lengths =
        [("n_bytes", *n_bytes, recorded.n_bytes), ("n_tokens", *n_tokens, recorded.n_tokens)];
    let (name, expected, found) =
        lengths.into_iter().find(|(_, expected, found)| expected != found)?;
    Some(Step::differs(Part::Rows, format!("{at}.{name}"), (expected, found)))
}

/// The optimum of the text, where it is another one.
fn optimum(drawn: Option<Loss>, recorded: Option<Loss>) -> Option<Step> {
    let told = |loss: Option<Loss>| loss.map_or("none".to_owned(), |loss| loss.to_string());
    let pair = (told(drawn), told(recorded));
    (drawn != recorded).then(|| Step::differs(Part::Rows, "round.optimum", pair))
}

fn sequences(round: &Round, contest: &Contest, drawn: &Drawn) -> Step {
    let pairs: [(&str, Digest, Digest); 2] = [
        ("round.tokenizer", contest.tokenizer.digest(), round.tokenizer),
        ("round.batches", drawn.digest, round.batches),
    ];
    let other = pairs.into_iter().find(|(_, expected, found)| expected != found);
    let other =
        other.map(|(at, expected, found)| Step::differs(Part::Sequences, at, (expected, found)));
    Step::or_equal(other, Part::Sequences, plural(drawn.n_sequences(), "sequence"))
}

#[cfg(test)]
mod tests {
    use super::super::{
        losses::tests::{losses, record},
        report::Outcome,
    };
    use super::*;
    use chain::{Genesis, MemoryChain};
    use protocol::BlockHash;

    fn document(number: u8) -> DocumentDigest {
        DocumentDigest {
            id: number.to_string(),
            sha256: Digest([number; 32]),
            n_bytes: 400,
            n_tokens: 100,
        }
    }

    #[test]
    fn attack_a_seed_that_the_chain_does_not_have_is_named() {
        let chain = MemoryChain::new(&Genesis::default()).unwrap();
        for _ in 0..3 {
            chain.produce_block().unwrap();
        }
        let mut record = record(vec![losses(1, 1.0)]);
        let hash = |block| chain.block_hash(block).unwrap().unwrap();
        record.round.block = Block(2);
        record.round.genesis = hash(Block(0));
        record.round.block_hash = hash(Block(2));
        let told = |record: &Record| match seed(record, Ok(&chain)).outcome {
            Outcome::Equal { what } => format!("equal {what}"),
            Outcome::Differs { at, .. } => at,
            Outcome::NotChecked { why } => why,
        };
        assert!(told(&record).starts_with("equal hash of block 2"), "{}", told(&record));
        let mut other = record.clone();
        other.round.block = Block(1);
        assert_eq!(told(&other), "round.block_hash", "the hash of another block");
        other.round.genesis = BlockHash([7; 32]);
        assert_eq!(told(&other), "round.genesis", "another chain");
        record.round.block = Block(1_000);
        assert!(told(&record).contains("hash of block 1000"), "{}", told(&record));
        let none = seed(&record, Err("no chain given"));
        assert_eq!(none, Step::not_checked(Part::Seed, "no chain given"));
    }

    #[test]
    fn attack_documents_that_are_swapped_added_or_left_out_are_named() {
        let drawn: Vec<DocumentDigest> = [1, 2, 3].map(document).into();
        let at = |recorded: &[u8]| {
            let recorded: Vec<_> = recorded.iter().map(|number| document(*number)).collect();
            match first_other(&drawn, &recorded)?.outcome {
                Outcome::Differs { at, expected, found } => Some((at, expected, found)),
                outcome => panic!("{outcome:?}"),
            }
        };
        assert_eq!(at(&[1, 2, 3]), None);
        for (recorded, place, found) in [
            (&[2, 1, 3][..], "round.documents[0]", "2 (sha256:"),
            (&[1, 2, 4][..], "round.documents[2]", "4 (sha256:"),
            (&[1, 2][..], "round.documents", "2 documents"),
            (&[1, 2, 3, 3][..], "round.documents", "4 documents"),
            (&[][..], "round.documents", "0 documents"),
        ] {
            let (at, _, told) = at(recorded).unwrap();
            assert!(at == place && told.starts_with(found), "{recorded:?}: {at}, {told}");
        }
        let mut renamed = drawn.clone();
        renamed[1].id = "9".to_owned();
        assert!(first_other(&drawn, &renamed).is_some(), "another row of the same text");
    }

    #[test]
    fn attack_a_length_of_a_document_that_is_changed_is_named() {
        let drawn: Vec<DocumentDigest> = [1, 2].map(document).into();
        type Change = fn(&mut DocumentDigest);
        let cases: [(&str, &str, Change); 4] = [
            ("n_bytes", "400", |document| document.n_bytes = u64::MAX),
            ("n_bytes", "400", |document| document.n_bytes -= 1),
            ("n_tokens", "100", |document| document.n_tokens = 0),
            ("n_tokens", "100", |document| document.n_tokens += 1),
        ];
        for (name, length, change) in cases {
            let mut recorded = drawn.clone();
            change(&mut recorded[1]);
            let Outcome::Differs { at, expected, .. } =
                first_other(&drawn, &recorded).unwrap().outcome
            else {
                panic!("{name}");
            };
            assert_eq!((at, expected.as_str()), (format!("round.documents[1].{name}"), length));
        }
    }

    #[test]
    fn attack_an_optimum_that_is_changed_left_out_or_invented_is_named() {
        let loss = |value: f64| Some(Loss::new(value).unwrap());
        for same in [None, loss(1.9)] {
            assert_eq!(optimum(same, same), None);
        }
        let next = f64::from_bits(1.9_f64.to_bits() + 1);
        for (drawn, recorded, told) in [
            (loss(1.9), loss(next), "1.9000000000000001"),
            (loss(1.9), None, "none"),
            (None, loss(1.9), "1.9"),
        ] {
            match optimum(drawn, recorded).unwrap().outcome {
                Outcome::Differs { at, found, .. } => {
                    assert_eq!((at.as_str(), found.as_str()), ("round.optimum", told));
                }
                outcome => panic!("{outcome:?}"),
            }
        }
    }
}
