//! Losses that are kept: by their key, to the bit, and for as long as a round may want them.

use crate::loss;
use journal::{Journal, Losses, Measured};
use protocol::{Block, Digest, Loss, SequenceLoss};
use std::collections::HashMap;

const OF: Measured<'static> = Measured { model: Digest([1; 32]), engine: "one" };

#[test]
fn every_number_that_is_a_loss_is_found_again_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = [
        0.0,
        -0.0,
        5e-324,
        f64::MIN_POSITIVE,
        1.0 - f64::EPSILON,
        // Whole numbers, which SQLite packs as integers.
        3.0,
        -f64::from(i32::MIN),
        (1_u64 << 53) as f64,
        1e300,
        f64::MAX,
        f64::INFINITY,
    ];
    let learnt: Vec<(Digest, SequenceLoss)> = (0_u8..)
        .zip(numbers)
        .map(|(i, nats)| {
            let n_tokens = if i == 0 { 0 } else { u32::MAX - u32::from(i) };
            let cross_entropy = Loss::new(nats).unwrap();
            (Digest([i; 32]), SequenceLoss { n_tokens, cross_entropy })
        })
        .collect();
    Journal::open(folder.path()).unwrap().learn(OF, Block(1), &learnt).unwrap();
    let found = Journal::open(folder.path()).unwrap().losses(OF).unwrap();
    assert_eq!(found.len(), numbers.len());
    for (sequence, SequenceLoss { n_tokens, cross_entropy }) in &learnt {
        let again = found[sequence];
        let bits = cross_entropy.value().to_bits();
        assert_eq!(again.cross_entropy.value().to_bits(), bits, "{cross_entropy}");
        assert_eq!(again.n_tokens, *n_tokens, "{cross_entropy}");
    }
}

#[test]
fn no_part_of_a_key_stands_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let mut expected = HashMap::new();
    for model in [1, 2] {
        for engine in ["", "one", "one ", "ONE"] {
            let of = Measured { model: Digest([model; 32]), engine };
            // Sequences whose digests are those of the models.
            for sequence in [1, 2] {
                let loss = loss(expected.len() as f64);
                let key = (model, engine, sequence);
                journal.learn(of, Block(1), &[(Digest([sequence; 32]), loss)]).unwrap();
                expected.insert(key, loss);
            }
        }
    }
    for (&(model, engine, sequence), loss) in &expected {
        let found = journal.losses(Measured { model: Digest([model; 32]), engine }).unwrap();
        assert_eq!(found.len(), 2, "{model}, `{engine}`");
        assert_eq!(found[&Digest([sequence; 32])], *loss, "{model}, `{engine}`, {sequence}");
    }
    let unknown = Measured { model: Digest([1; 32]), engine: "one\0" };
    assert_eq!(journal.losses(unknown).unwrap(), Losses::default());
}

#[test]
fn a_loss_that_a_later_round_asked_for_again_outlives_the_earlier_round() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let [once, twice] = [8, 9].map(|i| Digest([i; 32]));
    journal.learn(OF, Block(10), &[(once, loss(1.0)), (twice, loss(2.0))]).unwrap();
    journal.learn(OF, Block(20), &[(twice, loss(3.0))]).unwrap();
    journal.learn(OF, Block(30), &[]).unwrap();
    assert_eq!([10, 20, 30].map(|n| journal.has_losses_of(Block(n)).unwrap()), [true, true, false]);
    journal.forget_losses(Block(10)).unwrap();
    assert_eq!(journal.losses(OF).unwrap().len(), 2, "none is older than the first round");
    journal.forget_losses(Block(20)).unwrap();
    assert_eq!(journal.losses(OF).unwrap(), Losses::from_iter([(twice, loss(3.0))]));
    assert_eq!([10, 20].map(|n| journal.has_losses_of(Block(n)).unwrap()), [false, true]);
    journal.forget_losses(Block(u64::MAX)).unwrap();
    assert!(journal.losses(OF).unwrap().is_empty());
}

#[test]
fn losses_of_the_first_version_are_taken_over_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    drop(Journal::open(folder.path()).unwrap());
    let tables = rusqlite::Connection::open(folder.path().join(journal::FILE)).unwrap();
    // As the first version made them.
    tables
        .execute_batch(
            "DROP TABLE measured;
            CREATE TABLE losses (
                model BLOB NOT NULL, engine TEXT NOT NULL, sequence BLOB NOT NULL,
                nats REAL NOT NULL, n_tokens INTEGER NOT NULL, block INTEGER NOT NULL,
                PRIMARY KEY (model, engine, sequence)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX losses_by_block ON losses (block);
            PRAGMA user_version = 1",
        )
        .unwrap();
    let insert = "INSERT INTO losses VALUES (?1, 'one', ?2, ?3, ?4, ?5)";
    let rows = [(3.0, 7_u32, 10_i64), (0.1 + 0.2, u32::MAX, 20), (-0.5, 1, 20)];
    for (i, (nats, n_tokens, block)) in (1_u8..).zip(rows) {
        let row = rusqlite::params![[1_u8; 32], [i; 32], nats, n_tokens, block];
        tables.execute(insert, row).unwrap();
    }
    // Nobody's losses: a digest that is too short, and less than no tokens.
    let foreign = "INSERT INTO losses VALUES (x'01', 'one', x'0203', 1.0, 1, 20),
        (x'01', 'one', zeroblob(32), 1.0, -1, 20)";
    tables.execute_batch(foreign).unwrap();
    drop(tables);
    let error = Journal::look(folder.path()).unwrap_err().to_string();
    assert!(error.contains("start its service once"), "{error}");
    let mut journal = Journal::open(folder.path()).unwrap();
    let taken = |i: u8, nats: f64, n_tokens| {
        let cross_entropy = Loss::new(nats).unwrap();
        (Digest([i; 32]), SequenceLoss { n_tokens, cross_entropy })
    };
    let (first, second) = (taken(1, 3.0, 7), taken(2, 0.1 + 0.2, u32::MAX));
    assert_eq!(journal.losses(OF).unwrap(), Losses::from_iter([first, second]));
    journal.forget_losses(Block(20)).unwrap();
    assert_eq!(journal.losses(OF).unwrap(), Losses::from_iter([second]));
    drop(journal);
    assert_eq!(Journal::open(folder.path()).unwrap().losses(OF).unwrap().len(), 1);
}
