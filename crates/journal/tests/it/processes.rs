//! Two processes and one folder.

use crate::{bodies, draft};
use journal::{Error, Journal};
use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

const FOLDER: &str = "AGON_JOURNAL_TEST_FOLDER";
const TEST: &str = "processes::a_killed_process_leaves_what_it_appended_and_no_lock";
const READY: &str = "the journal is held";

/// Appends, says so, and keeps the journal open until it is killed.
fn hold(folder: &Path) -> ! {
    let mut journal = Journal::open(folder).unwrap();
    journal.append(&[draft("a", "of the other process")]).unwrap();
    let mut stdout = io::stdout();
    writeln!(stdout, "{READY}").unwrap();
    loop {
        thread::park();
    }
}

/// Another process that has the journal of a folder open.
fn holder(folder: &Path) -> Child {
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(READY)), "it ended before it was ready");
    holder
}

#[test]
fn a_killed_process_leaves_what_it_appended_and_no_lock() {
    if let Some(folder) = env::var_os(FOLDER) {
        hold(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for _ in 0..3 {
        let mut holder = holder(folder.path());
        let refused = Journal::open(folder.path());
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(
            matches!(&refused, Err(Error::InUse(path)) if path == folder.path()),
            "{refused:?}"
        );
        expected.push("of the other process");
        let mut journal = Journal::open(folder.path()).unwrap();
        assert_eq!(bodies(&journal, 0), expected);
        journal.append(&[draft("a", "of this one")]).unwrap();
        expected.push("of this one");
    }
}
