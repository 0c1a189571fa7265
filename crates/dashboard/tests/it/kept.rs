//! The index as a file: made anew where it cannot be read, and written by one process.

use crate::scene::{Home, Judge, addresses, key, player, subnet};
use dashboard::index::{self, Budget, Error, Index};
use protocol::Block;
use rusqlite::Connection;
use std::{fs, sync::Arc, time::Duration};

/// Writes another version of the tables into an index; the one that stood there.
fn set_version(home: &Home, other: impl Fn(i64) -> i64) -> i64 {
    let connection = Connection::open(home.path().join(index::FILE)).unwrap();
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "user_version", other(found)).unwrap();
    found
}

#[test]
fn an_index_of_another_version_is_made_anew_with_the_same_pages() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let pages = |home: &Home| -> Vec<String> {
        addresses(&judge).iter().map(|address| home.page(address)).collect()
    };
    let before = pages(&home);
    let version = set_version(&home, |version| version);
    assert!(version > 0, "it was finished");
    for other in [version - 1, version + 1, 0, -version] {
        assert_eq!(set_version(&home, |_| other), version);
        assert!(Index::open(home.path()).unwrap().heads().unwrap().is_empty(), "version {other}");
        home.read(&[&judge]);
        assert_eq!(pages(&home), before, "version {other}");
    }
}

#[test]
fn an_index_goes_on_where_it_was_and_what_the_chain_told_stays() {
    let mut judge = Judge::of_four_rounds(1);
    let (mut home, mut whole) = (Home::new(), Home::new());
    home.read(&[&judge]);
    home.note(&subnet(1_041, &[(key(1).public(), 5, true)]));
    let row = home.index().record(judge.series(), 4).unwrap().unwrap();
    for _ in 0..2 {
        judge.judge(&[player(1, 0.0), player(2, 0.1), player(4, 0.3)]);
        home.read(&[&judge]);
    }
    let index = home.index();
    assert_eq!(index.record(judge.series(), 4).unwrap().unwrap(), row);
    assert_eq!(index.newest_metagraph().unwrap(), Some(Block(1_041)));
    assert_eq!(index.heads().unwrap()[0].stake_rao, 5, "the chain was not asked again");
    whole.read(&[&judge]);
    whole.note(&subnet(1_041, &[(key(1).public(), 5, true)]));
    for address in addresses(&judge) {
        assert_eq!(home.page(&address), whole.page(&address), "{address}");
    }
    // What lies beside it belongs to it alone: without the file it is no index.
    fs::remove_file(home.path().join(index::FILE)).unwrap();
    assert!(Index::look(home.path()).is_err());
    assert!(Index::open(home.path()).unwrap().heads().unwrap().is_empty());
}

#[test]
fn an_index_is_written_by_one_and_read_by_many() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let writing = Index::open(home.path()).unwrap();
    match Index::open(home.path()) {
        Err(error @ Error::Taken(_)) => {
            assert!(error.to_string().starts_with("another dashboard has"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let looking = [Index::look(home.path()).unwrap(), Index::look(home.path()).unwrap()];
    for index in &looking {
        assert_eq!(index.heads().unwrap(), writing.heads().unwrap());
    }
    drop(writing);
    assert!(Index::open(home.path()).is_ok(), "it is free again");
    let nowhere = home.path().join(index::FILE).join("below a file");
    assert!(matches!(Index::open(&nowhere), Err(Error::Io { .. })));
}

#[test]
fn attack_pages_of_large_records_share_what_may_be_unpacked() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let row = home.index().record(judge.series(), 4).unwrap().unwrap();
    let n_bytes = home.index().signed(row.id).unwrap().len();
    let budget = Arc::new(Budget::new(n_bytes, Duration::ZERO));
    let [one, two] = [0, 1].map(|_| home.index().within(Arc::clone(&budget)));
    assert!(one.whole(row.id).is_ok());
    assert!(matches!(two.whole(row.id), Err(Error::Busy)), "the first has all of it");
    assert!(two.standings(&row).is_ok(), "what unpacks no record is not kept waiting");
    drop(one);
    assert!(two.whole(row.id).is_ok(), "it was given back");
    assert!(matches!(two.whole(row.id), Err(Error::Busy)), "each time counts");
    let mut n_bytes_left = n_bytes - 1;
    let found = home.index().whole_within(row.id, &mut n_bytes_left).unwrap();
    assert!(found.is_none() && n_bytes_left == n_bytes - 1, "nothing is taken for nothing");
}
