//! Places that fail, lie or are slow: what was read of them stays, and pages say what is wrong.

use crate::scene::{Judge, NETUID, addresses, rules};
use dashboard::{
    Place,
    ask::Ask,
    index::Index,
    page::Site,
    reader::{Reader, Rules},
};
use protocol::Digest;
use records::{Error, Folder, Head, Source};
use std::{
    io,
    num::NonZero,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// What is wrong with a place.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    /// There is no index: 404.
    NoIndex,
    /// The index cannot be fetched.
    IndexFails,
    /// The index is one of before, with so many records.
    Older(u64),
    /// The index counts records that are not there.
    Promises(u64),
    /// The index names another newest record.
    OtherHead,
    /// A record is not there: 404.
    Missing(u64),
    /// A record cannot be fetched.
    Fails(u64),
    /// Half of a record comes.
    Cut(u64),
    /// A record has more bytes than anybody reads.
    Huge(u64),
    /// A record has bytes of something else.
    Noise(u64),
    /// The record before it lies there.
    Swapped(u64),
}

/// A place whose answers are those of a folder, but for its mood.
struct Moody {
    folder: Folder,
    mood: Arc<Mutex<Mood>>,
}

fn refused(name: &str) -> Error {
    Error::Io { task: "fetch", name: name.to_owned(), source: io::Error::other("status 503") }
}

impl Source for Moody {
    fn index(&self) -> Result<Option<records::Index>, Error> {
        let mut index = self.folder.index()?.unwrap();
        let head = index.competitions.get_mut("tiny").unwrap();
        match *self.mood.lock().unwrap() {
            Mood::NoIndex => return Ok(None),
            Mood::IndexFails => return Err(refused("index.json")),
            Mood::Older(n) => {
                let digest = self.folder.read("tiny", n)?.unwrap().digest();
                *head = Head { n_records: n, digest };
            }
            Mood::Promises(n) => head.n_records = n,
            Mood::OtherHead => head.digest = Digest::of(b"another record"),
            _ => {}
        }
        Ok(Some(index))
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.folder.bytes(competition, number)?;
        match *self.mood.lock().unwrap() {
            Mood::Missing(n) if n == number => Ok(None),
            Mood::Fails(n) if n == number => Err(refused("a record")),
            Mood::Cut(n) if n == number => Ok(bytes.map(|bytes| bytes[..bytes.len() / 2].to_vec())),
            Mood::Huge(n) if n == number => {
                Err(Error::TooLarge { name: "a record".to_owned(), size_bytes_max: 9 })
            }
            Mood::Noise(n) if n == number => Ok(Some(b"<html>not found</html>".to_vec())),
            Mood::Swapped(n) if n == number => self.folder.bytes(competition, number - 1),
            _ => Ok(bytes),
        }
    }
}

/// A reader that goes on reading, and the pages of what it has read.
struct Watched {
    home: TempDir,
    reader: Reader,
    site: Site,
}

impl Watched {
    fn new(places: Vec<Place>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let known = Arc::new(Rules::new(vec![rules()]));
        let reader = Reader::new(Index::open(home.path()).unwrap(), Arc::clone(&known), places);
        let (clock, troubles) = (reader.clock(), reader.troubles());
        let (hub, kinships) = ("https://hub.example".to_owned(), Arc::default());
        let site = Site { rules: known, clock, troubles, hub, public_url: None, kinships };
        Self { home, reader, site }
    }

    fn read(&mut self) {
        self.reader.read(&|| false, &|_| {}).unwrap();
    }

    fn index(&self) -> Index {
        Index::look(self.home.path()).unwrap()
    }

    /// Number of records that are believed, and the record that is false.
    fn known(&self) -> (u64, Option<(u64, String)>) {
        let mut heads = self.index().heads().unwrap();
        assert_eq!(heads.len(), 1);
        let head = heads.remove(0);
        (head.n_records, head.flaw)
    }

    fn page(&self, address: &str) -> String {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let ask = Ask::read(path, query, "").unwrap();
        String::from_utf8(self.site.answer(&self.index(), &ask).body).unwrap()
    }

    /// What is not up to date.
    fn troubles(&self) -> Vec<(String, String)> {
        self.site.troubles.all()
    }
}

/// A place of a judge, and its mood.
fn moody(judge: &Judge, mood: Mood) -> (Place, Arc<Mutex<Mood>>) {
    let mood = Arc::new(Mutex::new(mood));
    let source = Moody { folder: judge.folder.clone(), mood: Arc::clone(&mood) };
    (Place { name: "a hub".to_owned(), source: Box::new(source) }, mood)
}

#[test]
fn a_record_that_does_not_come_as_it_is_ends_nothing_and_is_read_once_it_does() {
    let judge = Judge::of_four_rounds(1);
    for (wrong, said) in [
        (Mood::Missing(3), "000003.json` is missing"),
        (Mood::Fails(3), "cannot fetch `a record`"),
        (Mood::Cut(3), "not a signed record in canonical form"),
        (Mood::Huge(3), "more than the 9 bytes that are read of it"),
        (Mood::Noise(3), "not a signed record in canonical form"),
        (Mood::Swapped(3), "holds record 2 of `tiny`"),
    ] {
        let (place, mood) = moody(&judge, wrong);
        let mut watched = Watched::new(vec![place]);
        let n_told = watched.site.troubles.n_changes();
        watched.read();
        assert_eq!(watched.known(), (2, None), "{wrong:?}: it is no flaw of the validator");
        let troubles = watched.troubles();
        assert_eq!(troubles.len(), 1, "{wrong:?}: {troubles:?}");
        assert!(troubles[0].0 == "a hub" && troubles[0].1.contains(said), "{troubles:?}");
        assert!(watched.site.troubles.n_changes() > n_told, "{wrong:?}: who listens is told");
        let page = watched.page("/c/tiny");
        assert!(page.contains("Not up to date: a hub: "), "{page}");
        let again = watched.site.troubles.n_changes();
        watched.read();
        assert_eq!((watched.page("/c/tiny"), watched.known()), (page, (2, None)), "{wrong:?}");
        assert_eq!(watched.site.troubles.n_changes(), again, "{wrong:?}: told once");
        *mood.lock().unwrap() = Mood::Well;
        watched.read();
        assert_eq!((watched.known(), watched.troubles()), ((4, None), Vec::new()), "{wrong:?}");
        assert!(!watched.page("/c/tiny").contains("Not up to date"), "{wrong:?}");
    }
}

#[test]
fn what_was_read_stays_whatever_becomes_of_the_place() {
    let judge = Judge::of_four_rounds(1);
    let (place, mood) = moody(&judge, Mood::Well);
    let mut watched = Watched::new(vec![place]);
    watched.read();
    let pages = |watched: &Watched| -> Vec<String> {
        addresses(&judge).iter().map(|address| watched.page(address)).collect()
    };
    let before = pages(&watched);
    for (wrong, said) in [
        (Mood::NoIndex, Some("no records are there yet")),
        (Mood::IndexFails, Some("cannot fetch `index.json`")),
        (Mood::Promises(u64::MAX), Some("000005.json` is missing")),
        // Nothing of it is asked for: all that it names is there already.
        (Mood::Older(2), None),
        (Mood::OtherHead, None),
        (Mood::Missing(1), None),
    ] {
        *mood.lock().unwrap() = wrong;
        watched.read();
        assert_eq!(watched.known(), (4, None), "{wrong:?}");
        let troubles = watched.troubles();
        let told = troubles.first().map(|(_, what)| what.as_str());
        assert_eq!(told.is_some(), said.is_some(), "{wrong:?}: {troubles:?}");
        assert!(told.zip(said).is_none_or(|(told, said)| told.contains(said)), "{troubles:?}");
        for (address, before) in addresses(&judge).iter().zip(&before) {
            let now = watched.page(address);
            // Besides the notice nothing is another.
            let notice = now.find("<p class=\"notice bad\">Not up to date");
            let end = notice.and_then(|at| now[at..].find("</p>").map(|n| at + n + 4));
            let now = match notice.zip(end) {
                Some((at, end)) => format!("{}{}", &now[..at], &now[end..]),
                None => now,
            };
            assert_eq!(&now, before, "{wrong:?}: {address}");
        }
    }
    *mood.lock().unwrap() = Mood::Well;
    watched.read();
    assert_eq!((pages(&watched), watched.troubles()), (before, Vec::new()));
}

#[test]
fn the_newest_record_has_to_be_the_one_that_the_index_names() {
    let judge = Judge::of_four_rounds(1);
    let (place, mood) = moody(&judge, Mood::OtherHead);
    let mut watched = Watched::new(vec![place]);
    watched.read();
    assert_eq!(watched.known(), (3, None), "nobody signs an index");
    let said = "record 4 is not the one that the index names".to_owned();
    assert_eq!(watched.troubles(), [("a hub".to_owned(), said)]);
    *mood.lock().unwrap() = Mood::Older(3);
    watched.read();
    assert_eq!((watched.known(), watched.troubles()), ((3, None), Vec::new()));
    *mood.lock().unwrap() = Mood::Well;
    watched.read();
    assert_eq!(watched.known(), (4, None));
}

#[test]
fn a_copy_that_is_bad_does_no_harm_beside_one_that_is_good() {
    let judge = Judge::of_four_rounds(1);
    for wrong in [Mood::Missing(2), Mood::Cut(1), Mood::Older(1), Mood::OtherHead, Mood::NoIndex] {
        let (bad, _) = moody(&judge, wrong);
        let good = Place { name: "another hub".to_owned(), source: Box::new(judge.folder.clone()) };
        let mut watched = Watched::new(vec![bad, good]);
        watched.read();
        assert_eq!(watched.known(), (4, None), "{wrong:?}");
        let troubles = watched.troubles();
        let is_there = matches!(wrong, Mood::NoIndex);
        assert_eq!(troubles.len(), usize::from(is_there), "{wrong:?}: {troubles:?}");
        assert!(troubles.iter().all(|(place, _)| place == "a hub"), "{wrong:?}: {troubles:?}");
    }
}

/// A place that answers once something has come, or after some seconds.
struct Slow {
    folder: Folder,
    until: Mutex<Receiver<()>>,
    /// Whether it came in time.
    has_come: Arc<Mutex<Option<bool>>>,
}

impl Source for Slow {
    fn index(&self) -> Result<Option<records::Index>, Error> {
        let mut has_come = self.has_come.lock().unwrap();
        if has_come.is_none() {
            let came = self.until.lock().unwrap().recv_timeout(Duration::from_secs(10));
            *has_come = Some(came.is_ok());
        }
        self.folder.index()
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        self.folder.bytes(competition, number)
    }
}

#[test]
fn attack_a_place_that_is_slow_keeps_no_other_waiting() {
    let [slow, quick] = [1, 2].map(Judge::of_four_rounds);
    let (sender, receiver) = channel();
    let has_come = Arc::new(Mutex::new(None));
    let (until, folder) = (Mutex::new(receiver), slow.folder);
    let source = Slow { folder, until, has_come: Arc::clone(&has_come) };
    let mut places =
        vec![Place { name: "slow".to_owned(), source: Box::new(source) }, quick.place()];
    if thread::available_parallelism().map_or(1, NonZero::get) == 1 {
        // One place is read at a time.
        places.reverse();
    }
    let mut watched = Watched::new(places);
    let validator = quick.key.public().to_string();
    let sender = Mutex::new(sender);
    let tell = |news: dashboard::reader::News| {
        if news.validator == validator && news.number == 4 {
            sender.lock().unwrap().send(()).unwrap();
        }
    };
    watched.reader.read(&|| false, &tell).unwrap();
    assert_eq!(*has_come.lock().unwrap(), Some(true), "the other was read meanwhile");
    let heads = watched.index().heads().unwrap();
    assert_eq!(heads.iter().map(|head| head.n_records).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn attack_a_place_that_turns_into_that_of_another_validator_takes_nothing_away() {
    let [one, two] = [1, 2].map(Judge::of_four_rounds);
    let (first, _) = moody(&one, Mood::Well);
    let mut watched = Watched::new(vec![first]);
    watched.read();
    let before = watched.page("/c/tiny?block=1030");
    drop(watched.reader);
    // The same name, and the records of somebody else.
    let (second, _) = moody(&two, Mood::Well);
    let known = Arc::new(Rules::new(vec![rules()]));
    let index = Index::open(watched.home.path()).unwrap();
    let mut reader = Reader::new(index, known, vec![second]);
    reader.read(&|| false, &|_| {}).unwrap();
    let index = Index::look(watched.home.path()).unwrap();
    let mut heads: Vec<_> = index.heads().unwrap();
    heads.sort_by_key(|head| head.validator != one.key.public());
    let told: Vec<_> = heads.iter().map(|head| (head.validator, head.n_records)).collect();
    assert_eq!(told, [(one.key.public(), 4), (two.key.public(), 4)]);
    let ask = format!("block=1030&validator={}", one.key.public());
    let ask = Ask::read("/c/tiny.csv", &format!("{ask}&table=board"), "").unwrap();
    let csv = String::from_utf8(watched.site.answer(&index, &ask).body).unwrap();
    assert!(csv.contains("miner2/model") && before.contains("miner2/model"), "{csv}");
    let record = index.record(one.series(), 4).unwrap().unwrap();
    assert_eq!(index.whole(record.id).unwrap().round.netuid, NETUID);
    assert_eq!(index.whole(record.id).unwrap().round.validator, one.key.public());
}
