//! What a crash leaves of the file: every prefix of what was written, with torn pages.

use crate::{bodies, draft};
use journal::Journal;
use std::{fs, path::Path};

/// Appends so many entries in a folder and gives what they were.
fn written(folder: &Path, n: usize) -> Vec<String> {
    let mut journal = Journal::open(folder).unwrap();
    let mut expected = Vec::new();
    for i in 0..n {
        // Two entries of one decision, some longer than a page.
        let bodies = [0, 1].map(|half| format!("{i}.{half} {}", "x".repeat(i * 700)));
        let drafts = [draft("a", &bodies[0]), draft("b", &bodies[1])];
        journal.append(&drafts).unwrap();
        expected.extend(bodies);
    }
    // As a crash leaves it: the log was not taken into the file yet.
    for name in [journal::FILE, "journal.db-wal"] {
        fs::copy(folder.join(name), folder.join(format!("{name}.crashed"))).unwrap();
    }
    expected
}

#[test]
fn whatever_of_the_log_reached_the_disk_whole_decisions_are_there_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let expected = written(folder.path(), 12);
    let database = fs::read(folder.path().join("journal.db.crashed")).unwrap();
    let log = fs::read(folder.path().join("journal.db-wal.crashed")).unwrap();
    assert!(log.len() > 50_000, "the log holds what was written: {}", log.len());
    let (mut most, mut n_torn) = (0, 0);
    // Every end of the log on a sector, then the same with that last sector torn.
    for end in (0..log.len()).step_by(512).chain([log.len()]) {
        for torn in [false, true] {
            let crashed = tempfile::tempdir().unwrap();
            let mut left = log[..end].to_vec();
            if torn && end >= 512 {
                left[end - 256..].fill(0xa5);
                n_torn += 1;
            }
            fs::write(crashed.path().join(journal::FILE), &database).unwrap();
            fs::write(crashed.path().join("journal.db-wal"), &left).unwrap();
            let mut journal = match Journal::open(crashed.path()) {
                Ok(journal) => journal,
                Err(error) => panic!("{end} bytes of the log, torn {torn}: {error}"),
            };
            let found = bodies(&journal, 0);
            assert_eq!(found, expected[..found.len()], "{end} bytes, torn {torn}");
            assert!(found.len().is_multiple_of(2), "half a decision at {end}, torn {torn}");
            most = most.max(found.len());
            journal.append(&[draft("c", "goes on")]).unwrap();
            assert_eq!(bodies(&journal, 0).last().unwrap(), "goes on");
        }
    }
    assert_eq!(most, expected.len(), "all that was acknowledged is there");
    assert!(n_torn > 100);
}
