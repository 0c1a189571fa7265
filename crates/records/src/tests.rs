//! Signed records: one form, one signer, one order, and whole files.

mod reading;
mod statements;

use super::{signed::SIGNED_BYTES_MAX, *};
use keys::Keypair;
use protocol::{
    AccountId, BlockHash, Digest, NetUid, Record, Seed,
    record::{Measured, RECORD_FORMAT},
};
use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A record of no models.
fn record(competition: &str, number: u64, previous: Option<Digest>, of: &Keypair) -> Record {
    let digest = Digest::of(b"something");
    let value = serde_json::json!({
        "format": RECORD_FORMAT,
        "round": {
            "competition": competition,
            "competition_digest": digest,
            "number": number,
            "previous": previous,
            "block": 10 * number,
            "block_hash": BlockHash([7; 32]),
            "validator": of.public(),
            "genesis": BlockHash([8; 32]),
            "netuid": 7,
            "engine": "a test",
            "tokenizer": digest,
            "dataset": digest,
            "documents": [],
            "batches": digest,
        },
        "models": [],
        "averages": [],
        "champion": null,
    });
    serde_json::from_value(value).unwrap()
}

/// The first `n` records of a competition, signed.
fn chain(competition: &str, n: u64, of: &Keypair) -> Vec<Signed> {
    let mut records: Vec<Signed> = Vec::new();
    for number in 1..=n {
        let previous = records.last().map(Signed::digest);
        records.push(Signed::sign(record(competition, number, previous, of), of));
    }
    records
}

fn index_of(records: &[Signed]) -> Index {
    let round = &records[0].record.round;
    let mut index = Index::new(round.validator, round.genesis, round.netuid);
    records.iter().for_each(|signed| index.push(signed).unwrap());
    index
}

/// A hub that says whatever it likes.
struct Liar {
    index: Index,
    files: BTreeMap<(String, u64), Vec<u8>>,
}

impl Liar {
    fn new(records: &[Signed]) -> Self {
        let place = |signed: &Signed| {
            let round = &signed.record.round;
            ((round.competition.clone(), round.number), signed.to_json())
        };
        Self { index: index_of(records), files: records.iter().map(place).collect() }
    }

    /// Numbers of the records that were read, and why there were no more.
    fn read(&self) -> (Vec<u64>, Option<Error>) {
        let mut numbers = Vec::new();
        for read in Records::new(self, &self.index, "tiny", 0..=u64::MAX) {
            match read {
                Ok(signed) => numbers.push(signed.record.round.number),
                Err(error) => return (numbers, Some(error)),
            }
        }
        (numbers, None)
    }

    fn serve(&mut self, number: u64, bytes: Vec<u8>) {
        self.files.insert(("tiny".to_owned(), number), bytes);
    }
}

impl Source for Liar {
    fn index(&self) -> Result<Option<Index>, Error> {
        Ok(Some(self.index.clone()))
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.files.get(&(competition.to_owned(), number)).cloned())
    }
}

#[test]
fn a_signed_record_survives_its_own_bytes() {
    let signed = Signed::sign(record("tiny", 1, None, &key(1)), &key(1));
    let json = signed.to_json();
    assert_eq!(Signed::from_json(&json).unwrap(), signed);
    assert!(signed.is_genuine());
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["signature"], signed.signature.to_string(), "plain JSON");
    assert_eq!(signed.digest(), signed.record.digest());
    let other = Signed::sign(record("tiny", 1, None, &key(1)), &key(2));
    assert!(!other.is_genuine(), "signed by somebody else");
}

#[test]
fn a_signature_is_one_over_the_digest_of_the_record() {
    let signed = Signed::sign(record("tiny", 1, None, &key(1)), &key(1));
    let is_over = |what: &[u8]| {
        let message = [b"agon record:".as_slice(), what].concat();
        keys::verify(&message, &signed.signature, key(1).public())
    };
    let digest = signed.record.digest();
    assert!(is_over(&digest.0));
    // Of records before format 5 the whole was signed.
    assert!(!is_over(&signed.record.to_json()) && !is_over(digest.hex().as_bytes()));
    let other = record("tiny", 2, None, &key(1));
    assert!(!is_over(&other.digest().0), "the signature of one record is none of another");
}

#[test]
fn what_was_measured_and_what_is_around_it_are_all_that_was_published() {
    let signed = Signed::sign(record("tiny", 1, None, &key(1)), &key(1));
    let (around, at) = signed.around();
    let (before, after) = around.split_at(at);
    assert_eq!(signed.measured(), br#""models":[]"#);
    assert_eq!([before, signed.measured(), after].concat(), signed.published());
    assert_eq!(Signed::from_parts(&signed.published(), &Measured::read).unwrap(), signed);
}

#[test]
fn attack_a_byte_of_a_signed_record_that_is_changed_is_refused() {
    let json = Signed::sign(record("tiny", 1, None, &key(1)), &key(1)).to_json();
    for at in 0..json.len() {
        for mask in [0x01, 0x10, 0x20, 0x80] {
            let mut bent = json.clone();
            bent[at] ^= mask;
            let is_taken = Signed::from_json(&bent).is_ok_and(|signed| signed.is_genuine());
            assert!(!is_taken, "byte {at}, mask {mask:#x}");
        }
        assert!(Signed::from_json(&json[..at]).is_err(), "cut at byte {at}");
    }
}

#[test]
fn attack_other_spellings_and_sizes_of_a_signed_record_are_refused() {
    let json = Signed::sign(record("tiny", 1, None, &key(1)), &key(1)).to_json();
    let text = String::from_utf8(json).unwrap();
    let digits = text[text.len() - 130..text.len() - 2].to_owned();
    for other in [
        format!("{text}\n"),
        format!(" {text}"),
        text.replace(&digits, &digits.to_uppercase()),
        text.replace(",\"signature\"", ", \"signature\""),
        text.replace("\"models\":[]", "\"models\":[],\"models\":[]"),
        text.replace(r#"{"record":"#, r#"{"note":1,"record":"#),
        String::new(),
    ] {
        assert!(Signed::from_json(other.as_bytes()).is_err(), "{other}");
    }
    let long = vec![b' '; SIGNED_BYTES_MAX + 1];
    assert!(matches!(Signed::from_json(&long), Err(Error::TooLarge { .. })));
}

/// Whether [`Links`] takes all of them; the error names the first that does not follow.
fn taken(records: &[Signed]) -> Result<(), Broken> {
    let mut links = Links::default();
    records.iter().try_for_each(|signed| links.take(signed))
}

#[test]
fn records_follow_each_other_or_the_first_that_does_not_is_named() {
    let good = chain("tiny", 4, &key(1));
    assert_eq!(taken(&good), Ok(()));
    assert_eq!(taken(&good[2..]), Ok(()), "a part of them");
    assert_eq!(taken(&[]), Ok(()));
    let bent = |change: fn(&mut Record)| {
        let mut records = good.clone();
        let mut record = records[2].record.clone();
        change(&mut record);
        records[2] = Signed::sign(record, &key(1));
        taken(&records)
    };
    assert_eq!(
        bent(|record| record.round.number = 4),
        Err(Broken::Number { found: 4, expected: 3 })
    );
    assert_eq!(bent(|record| record.round.previous = None), Err(Broken::Previous(3)));
    assert_eq!(bent(|record| record.round.block.0 = 20), Err(Broken::Block(3)));
    assert_eq!(
        bent(|record| record.round.competition = "other".to_owned()),
        Err(Broken::Competition(3))
    );
    let moved = bent(|record| record.round.genesis = BlockHash([9; 32]));
    assert!(matches!(moved, Err(Broken::Genesis { number: 3, .. })));
    let moved = bent(|record| record.round.netuid = NetUid(8));
    assert!(matches!(moved, Err(Broken::NetUid { number: 3, .. })));
    let of_other = bent(|record| record.round.validator = AccountId([9; 32]));
    assert_eq!(of_other, Err(Broken::Signature(3)));
    // Another content that is signed anew breaks the next link.
    assert_eq!(bent(|record| record.round.engine = "other".to_owned()), Err(Broken::Previous(4)));

    let mut others = good.clone();
    others[3] = chain("tiny", 4, &key(2)).pop().unwrap();
    assert!(matches!(taken(&others), Err(Broken::Validator { number: 4, .. })));
    let gap = [good[0].clone(), good[2].clone()];
    assert_eq!(taken(&gap), Err(Broken::Number { found: 3, expected: 2 }));
    let first = Signed::sign(record("tiny", 1, Some(good[0].digest()), &key(1)), &key(1));
    assert_eq!(taken(&[first]), Err(Broken::Previous(1)));
}

#[test]
fn a_folder_has_what_was_written_and_leaves_other_files_alone() {
    let home = tempfile::tempdir().unwrap();
    let old = home.path().join("tiny-000001.json");
    fs::write(&old, "of an earlier home").unwrap();
    let folder = Folder::new(home.path().to_owned());
    assert_eq!(folder.index().unwrap(), None);
    let records = chain("tiny", 300, &key(1));
    for signed in records.iter().chain(&chain("large", 2, &key(1))) {
        folder.write(signed).unwrap();
        folder.write(signed).unwrap();
    }
    assert!(home.path().join("tiny/000001/000300.json").is_file());
    assert_eq!(path("tiny", 300), "records/tiny/000001/000300.json");
    assert_eq!(fs::read(&old).unwrap(), b"of an earlier home");
    // What a killed process had begun, and what nobody of us wrote.
    for name in
        ["tiny/000000/.unfinished-1", "tiny/000000/1.json", "tiny/notes", "tiny/000000/000300.json"]
    {
        fs::write(home.path().join(name), "?").unwrap();
    }
    assert_eq!(folder.competitions().unwrap(), ["large", "tiny"]);
    assert_eq!(folder.list("tiny").unwrap(), (1..=300).collect::<Vec<u64>>());
    assert!(folder.list("none").unwrap().is_empty());
    assert_eq!(folder.read("tiny", 300).unwrap().as_ref(), records.last());
    assert_eq!(folder.read("tiny", 301).unwrap(), None);
    let index = folder.index().unwrap().unwrap();
    assert_eq!(index.competitions["tiny"].n_records, 300);
    assert_eq!(index.competitions["tiny"].digest, records[299].digest());
    let read: Result<Vec<Signed>, Error> =
        Records::new(&folder, &index, "tiny", 290..=999).collect();
    assert_eq!(read.unwrap(), records[289..]);
    assert_eq!(Records::new(&folder, &index, "none", 1..=999).count(), 0);
}

#[test]
fn a_folder_takes_no_second_record_of_a_number_and_no_name_that_leads_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(home.path().join("records"));
    let signed = Signed::sign(record("tiny", 1, None, &key(1)), &key(1));
    folder.write(&signed).unwrap();
    let mut other = signed.record.clone();
    other.round.engine = "another that is longer".to_owned();
    let other = Signed::sign(other, &key(1));
    assert!(matches!(folder.write(&other), Err(Error::Taken(_))));
    assert_eq!(folder.read("tiny", 1).unwrap(), Some(signed));
    for name in ["../tiny", "", "/etc", "Tiny", "a/b"] {
        let stray = Signed::sign(record(name, 1, None, &key(1)), &key(1));
        assert!(matches!(folder.write(&stray), Err(Error::Name(_))), "{name}");
        assert!(folder.read(name, 1).is_err() && folder.list(name).is_err(), "{name}");
    }
    // A file in the place of another.
    fs::copy(folder.path("tiny", 1), folder.path("tiny", 2)).unwrap();
    assert!(matches!(folder.read("tiny", 2), Err(Error::Misplaced { number: 1, .. })));
    assert!(matches!(folder.index(), Err(Error::Misplaced { .. })));
}

#[test]
fn an_index_has_one_text_and_names_all_records() {
    let (tiny, large) = (chain("tiny", 3, &key(1)), chain("large", 2, &key(1)));
    let index = index_of(&[tiny.clone(), large].concat());
    let json = index.to_json();
    assert_eq!(Index::from_json(&json).unwrap(), index);
    assert_eq!(index.root(), Digest::of(&json));
    let text = String::from_utf8(json).unwrap();
    for other in [
        text.replace("\"format\":1", "\"format\":2"),
        text.replace("\"n_records\":3", "\"n_records\":0"),
        text.replace("\"n_records\":3", "\"n_records\": 3"),
        text.replace("\"tiny\"", "\"../tiny\""),
        text[1..].to_owned(),
    ] {
        assert!(Index::from_json(other.as_bytes()).is_err(), "{other}");
    }
    let mut again = index;
    assert_eq!(again.push(&tiny[2]), Err(Broken::Number { found: 3, expected: 4 }));
}

#[test]
fn attack_an_older_or_another_index_does_not_follow_one_that_was_seen() {
    let records = chain("tiny", 3, &key(1));
    let (earlier, now) = (index_of(&records[..2]), index_of(&records));
    assert_eq!(now.follows(&earlier), Ok(()));
    assert_eq!(now.follows(&now), Ok(()));
    let older = Broken::Older { competition: "tiny".to_owned(), found: 2, expected: 3 };
    assert_eq!(earlier.follows(&now), Err(older));
    assert_eq!(index_of(&chain("tiny", 4, &key(2))).follows(&now), Err(Broken::Foreign));
    let mut moved = now.clone();
    moved.netuid = NetUid(8);
    assert_eq!(moved.follows(&now), Err(Broken::Foreign));
    assert!(matches!(moved.check(&records[0]), Err(Broken::NetUid { number: 1, .. })));
    let mut third = records[2].record.clone();
    third.round.engine = "other".to_owned();
    let fork = index_of(&[&records[..2], &[Signed::sign(third, &key(1))]].concat());
    assert_eq!(fork.follows(&now), Err(Broken::Head(3)));
}

#[test]
fn attack_a_hub_that_serves_other_records_is_found_out_at_the_first() {
    let good = chain("tiny", 4, &key(1));
    assert!(matches!(Liar::new(&good).read(), (all, None) if all == [1, 2, 3, 4]));

    let mut hub = Liar::new(&good);
    hub.serve(3, chain("tiny", 3, &key(2))[2].to_json());
    let (read, error) = hub.read();
    assert_eq!(read, [1, 2], "a record of another validator");
    assert!(matches!(error, Some(Error::Broken(Broken::Validator { number: 3, .. }))));

    let mut hub = Liar::new(&good);
    let bytes = good[2].to_json();
    hub.serve(3, bytes[..bytes.len() / 2].to_vec());
    assert!(matches!(hub.read(), (read, Some(Error::NotSigned)) if read == [1, 2]), "a cut file");

    let mut hub = Liar::new(&good);
    hub.serve(3, good[1].to_json());
    assert!(matches!(hub.read(), (_, Some(Error::Misplaced { number: 2, .. }))), "an older one");

    let mut hub = Liar::new(&good);
    hub.files.remove(&("tiny".to_owned(), 2));
    assert!(
        matches!(hub.read(), (read, Some(Error::Missing(_))) if read == [1]),
        "one is kept back"
    );

    // A validator that tells two stories: one to the chain, and one to whoever reads.
    let mut hub = Liar::new(&good);
    let mut last = good[3].record.clone();
    last.round.engine = "other".to_owned();
    hub.serve(4, Signed::sign(last, &key(1)).to_json());
    let (read, error) = hub.read();
    assert_eq!(read, [1, 2, 3]);
    assert!(matches!(error, Some(Error::Broken(Broken::Head(4)))));
}

const FOLDER: &str = "AGON_RECORDS_TEST_FOLDER";

/// Writes records until it is killed.
fn write_for_ever(folder: &Path) -> ! {
    let folder = Folder::new(folder.to_owned());
    let mut previous = None;
    for number in 1_u64.. {
        let signed = Signed::sign(record("tiny", number, previous, &key(1)), &key(1));
        folder.write(&signed).unwrap();
        previous = Some(signed.digest());
    }
    unreachable!()
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_records_without_a_gap() {
    if let Some(folder) = env::var_os(FOLDER) {
        write_for_ever(Path::new(&folder));
    }
    for round in 0..5_u64 {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().to_owned());
        let mut writer = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::a_writer_killed_at_any_moment_leaves_whole_records_without_a_gap",
            ])
            .env(FOLDER, home.path())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let first = folder.path("tiny", 1);
        while !first.exists() && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(3_000 + 7_300 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let index = folder.index().unwrap().unwrap();
        let n = index.competitions["tiny"].n_records;
        assert_eq!(folder.list("tiny").unwrap(), (1..=n).collect::<Vec<u64>>());
        let read: Result<Vec<Signed>, Error> =
            Records::new(&folder, &index, "tiny", 1..=n).collect();
        assert_eq!(read.unwrap().len() as u64, n, "round {round}");
    }
}

#[test]
fn a_newest_record_that_is_another_now_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(home.path().to_owned());
    let chain = chain("tiny", 2, &key(1));
    let put = |signed: &Signed, age: u64| {
        folder.write(signed).unwrap();
        let path = folder.path("tiny", signed.record.round.number);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    };
    let head = || folder.index().unwrap().unwrap().competitions["tiny"];
    put(&chain[0], 100);
    assert_eq!(head().digest, chain[0].digest());
    // Unread as long as time and size are the same.
    let path = folder.path("tiny", 1);
    let metadata = fs::metadata(&path).unwrap();
    fs::write(&path, vec![b'x'; metadata.len() as usize]).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    assert_eq!(head().digest, chain[0].digest(), "the same file");
    put(&chain[1], 90);
    assert_eq!((head().n_records, head().digest), (2, chain[1].digest()), "a newer one");
    // Another file in its place, of another time, that nobody signed.
    let path = folder.path("tiny", 2);
    let mut other = chain[1].clone();
    other.signature.0[0] ^= 1;
    fs::write(&path, other.to_json()).unwrap();
    assert!(matches!(folder.index(), Err(Error::Broken(Broken::Signature(2)))));
}

#[test]
fn a_competition_whose_newest_record_is_of_an_earlier_format_keeps_no_other_from_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("records"));
    let now = Signed::sign(record("tiny", 1, None, &key(1)), &key(1));
    folder.write(&now).unwrap();
    let text = String::from_utf8(Signed::sign(record("old", 1, None, &key(1)), &key(1)).to_json());
    // It did not say how long its documents are.
    let text = text.unwrap().replacen(
        "\"documents\":[]",
        &format!("\"documents\":[{{\"id\":\"a\",\"sha256\":\"{}\"}}]", Digest([1; 32])),
        1,
    );
    let text = text.replacen(&format!("\"format\":{RECORD_FORMAT}"), "\"format\":4", 1);
    let path = folder.path("old", 1);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, &text).unwrap();
    assert!(folder.read("old", 1).unwrap_err().is_of_earlier_format());
    let (_, record) = text.split_at("{\"record\":".len());
    let (record, _) = record.split_at(record.rfind(",\"signature\"").unwrap());
    assert_eq!(folder.digest("old", 1).unwrap(), Some(Digest::of(record.as_bytes())));
    assert_eq!(folder.digest("old", 2).unwrap(), None);
    let index = folder.index().unwrap().unwrap();
    assert_eq!(index.competitions.keys().collect::<Vec<_>>(), ["tiny"]);
    assert_eq!(folder.digest("tiny", 1).unwrap(), Some(now.digest()));
}
