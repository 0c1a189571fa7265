//! A journal without a file answers as one with a file does, whatever is done to the two.

use crate::{bodies, loss};
use journal::{Draft, Journal, Measured, Snapshot};
use protocol::{Block, Digest, Seed, SequenceLoss, seed::uniform_below};

const KINDS: [&str; 3] = ["decided", "begun", "decide"];
const COMPETITIONS: [&str; 3] = ["tiny", "", "large"];
const ENGINES: [&str; 2] = ["one", "two"];

/// Of which models losses are learnt.
fn of(model: usize) -> Measured<'static> {
    Measured { model: Digest([model as u8 / 2; 32]), engine: ENGINES[model % 2] }
}

/// Everything that can be asked of the two.
fn compare(file: &Journal, memory: &Journal, last: u64, what: &str) {
    assert_eq!(bodies(memory, 0), bodies(file, 0), "{what}");
    assert_eq!(bodies(memory, last / 2), bodies(file, last / 2), "{what}");
    assert_eq!(memory.snapshot().unwrap(), file.snapshot().unwrap(), "{what}");
    for kind in KINDS {
        for n_max in [0, 1, 3, 1_000] {
            let newest = |journal: &Journal| journal.newest(kind, n_max).unwrap();
            assert_eq!(newest(memory), newest(file), "{what}");
        }
        for competition in COMPETITIONS {
            let n_of = |journal: &Journal| journal.n_of(kind, competition).unwrap();
            assert_eq!(n_of(memory), n_of(file), "{what}");
            for n_newer in [0, 2, u64::MAX] {
                let nth = |journal: &Journal| journal.nth_newest(kind, competition, n_newer);
                assert_eq!(nth(memory).unwrap(), nth(file).unwrap(), "{what}");
            }
        }
    }
    for model in 0..6 {
        assert_eq!(memory.losses(of(model)).unwrap(), file.losses(of(model)).unwrap(), "{what}");
    }
    for block in 0..40 {
        let has = |journal: &Journal| journal.has_losses_of(Block(block)).unwrap();
        assert_eq!(has(memory), has(file), "{what}, block {block}");
    }
}

#[test]
fn a_journal_in_memory_answers_as_one_in_a_file() {
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let mut journals = [Journal::open(folder.path()).unwrap(), Journal::memory()];
        let mut stream = Seed::of_number(seed).stream();
        let mut below = |bound: usize| uniform_below(&mut stream, bound as u64) as usize;
        let mut last = 0;
        for step in 0..120 {
            let what = format!("seed {seed}, step {step}");
            let block = Block(below(40) as u64);
            match below(6) {
                0..=2 => {
                    let bodies: Vec<String> =
                        (0..below(4)).map(|i| format!("{what}, {i}")).collect();
                    let draft = |body| {
                        let (kind, competition) = (KINDS[below(3)], COMPETITIONS[below(3)]);
                        Draft { block, kind, competition, subject: "ada", body }
                    };
                    let drafts: Vec<Draft> = bodies.iter().map(String::as_str).map(draft).collect();
                    let [file, memory] = journals.each_mut().map(|j| j.append(&drafts).unwrap());
                    assert_eq!(memory, file, "{what}");
                    last = file;
                }
                3 => {
                    let (model, n_learnt) = (of(below(6)), below(4));
                    let learn = |_| (Digest([below(5) as u8; 32]), loss(below(9) as f64));
                    let learnt: Vec<(Digest, SequenceLoss)> = (0..n_learnt).map(learn).collect();
                    let [file, memory] =
                        journals.each_mut().map(|j| j.learn(model, block, &learnt));
                    file.and(memory).unwrap();
                }
                4 => {
                    let [file, memory] = journals.each_mut().map(|j| j.forget_losses(block));
                    file.and(memory).unwrap();
                }
                _ => {
                    let seq = last.saturating_sub(below(9) as u64);
                    let snapshot = Snapshot { seq, body: what.clone() };
                    let (kept, n_kept) = (&KINDS[..below(3)], below(5));
                    let mut condense = |j: &mut Journal| j.condense(&snapshot, kept, n_kept);
                    let [file, memory] = journals.each_mut().map(&mut condense);
                    file.and(memory).unwrap();
                }
            }
            let [file, memory] = &journals;
            compare(file, memory, last, &what);
        }
        assert!(journals.iter().all(|journal| journal.size_bytes().unwrap() > 0));
    }
}
