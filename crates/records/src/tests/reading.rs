//! Records that are lost, taken up again, or in the way of others.

use super::*;

#[test]
fn records_that_are_lost_are_passed_over_by_the_index_and_found_missing_by_readers() {
    let all = chain("tiny", 5, &key(1));
    let mut index = index_of(&all[..2]);
    assert_eq!(index.push_after_lost(&all[1]), Err(Broken::Number { found: 2, expected: 3 }));
    let foreign = index.push_after_lost(&chain("tiny", 5, &key(2))[4]);
    assert!(matches!(foreign, Err(Broken::Validator { number: 5, .. })), "{foreign:?}");
    let mut forged = all[4].clone();
    forged.signature.0[0] ^= 1;
    assert_eq!(index.push_after_lost(&forged), Err(Broken::Signature(5)));
    assert_eq!(index.competitions["tiny"].n_records, 2, "nothing of these was taken in");
    index.push_after_lost(&all[4]).unwrap();
    assert_eq!(index.competitions["tiny"].n_records, 5);
    let mut hub = Liar::new(&all);
    hub.index = index;
    hub.files.remove(&("tiny".to_owned(), 3));
    hub.files.remove(&("tiny".to_owned(), 4));
    let (read, error) = hub.read();
    assert!(matches!(error, Some(Error::Missing(_))) && read == [1, 2], "{read:?}");
}

#[test]
fn reading_goes_on_where_it_ended_and_from_nowhere_else() {
    let all = chain("tiny", 4, &key(1));
    let hub = Liar::new(&all);
    let after = |signed: &Signed| {
        let links = Links::after(&signed.record.round, signed.digest());
        let records = Records::new(&hub, &hub.index, "tiny", 3..=4).following(links);
        records.map(|read| read.map(|signed| signed.record.round.number)).collect::<Vec<_>>()
    };
    assert!(matches!(after(&all[1])[..], [Ok(3), Ok(4)]));
    let expected = Broken::Number { found: 3, expected: 2 };
    // After an error there is nothing more.
    assert!(matches!(&after(&all[0])[..], [Err(Error::Broken(found))] if *found == expected));
    let mut fork = all[1].record.clone();
    fork.round.engine = "other".to_owned();
    let fork = Signed::sign(fork, &key(1));
    assert!(matches!(after(&fork)[..], [Err(Error::Broken(Broken::Previous(3)))]));
    let mut first = Links::default();
    let none = Signed::sign(record("tiny", 0, None, &key(1)), &key(1));
    assert_eq!(first.take(&none), Err(Broken::Number { found: 0, expected: 1 }));
    assert_eq!(first.digest(), None, "what was refused is not remembered");
}

#[test]
fn what_was_signed_is_published_whatever_became_of_the_record() {
    let mut signed = chain("tiny", 1, &key(1)).remove(0);
    let (bytes, digest) = (signed.to_json(), signed.digest());
    signed.record.round.engine = "changed afterwards".to_owned();
    assert_eq!((signed.published(), signed.digest()), (bytes, digest));
    let changed = Signed::from_json(&signed.to_json()).unwrap();
    assert!(!changed.is_genuine() && changed.digest() != digest);
}

#[test]
fn an_index_lies_at_its_root_grows_by_competitions_and_has_a_limit() {
    let tiny = chain("tiny", 2, &key(1));
    let before = index_of(&tiny);
    let now = index_of(&[tiny, chain("large", 1, &key(1))].concat());
    assert_eq!(now.follows(&before), Ok(()), "another competition began");
    let gone = Broken::Older { competition: "large".to_owned(), found: 0, expected: 1 };
    assert_eq!(before.follows(&now), Err(gone));
    let root = now.root();
    assert_eq!(Index::path_of(root), format!("roots/{}.json", root.hex()));
    let long = vec![b' '; index::INDEX_BYTES_MAX + 1];
    assert!(matches!(Index::from_json(&long), Err(Error::NotAnIndex(why)) if why == "too long"));
}

#[test]
fn what_lies_in_the_place_of_a_record_and_is_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(home.path().to_owned());
    folder.write(&chain("tiny", 1, &key(1))[0]).unwrap();
    let large = fs::File::create(folder.path("tiny", 2)).unwrap();
    large.set_len(SIGNED_BYTES_MAX as u64 + 1).unwrap();
    assert!(matches!(folder.read("tiny", 2), Err(Error::TooLarge { .. })));
    assert!(matches!(folder.write(&chain("tiny", 2, &key(1))[1]), Err(Error::Taken(_))));
    fs::create_dir(folder.path("tiny", 3)).unwrap();
    let told = folder.read("tiny", 3).unwrap_err().to_string();
    assert!(told.starts_with("cannot read `") && told.ends_with("000003.json`"), "{told}");
    // Folders that no competition can be called after are none of ours.
    fs::create_dir(home.path().join("Not-A-Name")).unwrap();
    assert_eq!(folder.competitions().unwrap(), ["tiny"]);
}
