//! A folder of signed records.

use crate::{
    Error, Index, Signed, Source, check_name, path, path_below,
    signed::{SIGNED_BYTES_MAX, digest_of},
};
use protocol::Digest;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// Age from which on a file that keeps its time and size is the same: clocks of disks have steps.
const SETTLED: Duration = Duration::from_secs(2);

/// A folder of signed records of one validator, a file for each: `tiny/000000/000001.json`.
///
/// A file is there whole or not at all. Files of other names are left alone.
#[derive(Clone, Debug)]
pub struct Folder {
    folder: PathBuf,
    /// Newest records that were read, by competition.
    newest: Arc<Mutex<BTreeMap<String, Newest>>>,
}

/// A newest record that was read and is genuine: as long as its file is the same, it is not read
/// again.
#[derive(Clone, Debug)]
struct Newest {
    number: u64,
    stamp: Stamp,
    /// An index of it alone.
    index: Index,
}

impl Folder {
    /// Records in `folder`, which is made with the first of them. In a copy of a repo it is the one
    /// called [`crate::RECORDS_FOLDER`].
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, newest: Arc::default() }
    }

    /// Where the record of a round is, or will be.
    pub fn path(&self, competition: &str, number: u64) -> PathBuf {
        self.folder.join(path_below(competition, number))
    }

    /// Writes a record. The same one again changes nothing, and another one of its number is
    /// refused.
    pub fn write(&self, signed: &Signed) -> Result<(), Error> {
        let round = &signed.record.round;
        check_name(&round.competition)?;
        let path = self.path(&round.competition, round.number);
        let bytes = signed.to_json();
        match read_whole(&path, bytes.len()) {
            Ok(None) => {}
            Ok(Some(found)) if found == bytes => return Ok(()),
            Ok(Some(_)) | Err(Error::TooLarge { .. }) => return Err(Error::Taken(path)),
            Err(error) => return Err(error),
        }
        disk::write(&path, &bytes).map_err(|source| failed("write", &path, source))
    }

    /// The record of a round, if it is there. Whether it is genuine is not looked at.
    pub fn read(&self, competition: &str, number: u64) -> Result<Option<Signed>, Error> {
        let Some(bytes) = self.bytes(competition, number)? else { return Ok(None) };
        Signed::from_json(&bytes)?.of_place(competition, number).map(Some)
    }

    /// Digest of the record of a round, of whichever format, if it is there.
    pub fn digest(&self, competition: &str, number: u64) -> Result<Option<Digest>, Error> {
        self.bytes(competition, number)?.map(|bytes| digest_of(&bytes)).transpose()
    }

    /// The bytes of the record of a round as they are, if it is there.
    pub fn bytes(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        check_name(competition)?;
        read_whole(&self.path(competition, number), SIGNED_BYTES_MAX)
    }

    /// Numbers of the records of a competition that are there, in ascending order.
    pub fn list(&self, competition: &str) -> Result<Vec<u64>, Error> {
        check_name(competition)?;
        let mut numbers = Vec::new();
        for name in names(&self.folder.join(competition))? {
            numbers.extend(self.numbers(competition, &name)?);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Numbers of the records in one of the folders of a competition, in any order.
    fn numbers(&self, competition: &str, name: &str) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        for file in names(&self.folder.join(competition).join(name))? {
            let number = file.strip_suffix(".json").and_then(|number| number.parse().ok());
            numbers.extend(number.filter(|number: &u64| {
                path_below(competition, *number) == format!("{competition}/{name}/{file}")
            }));
        }
        Ok(numbers)
    }

    /// Number of the newest record of a competition; the folders before its own are not listed.
    fn newest(&self, competition: &str) -> Result<Option<u64>, Error> {
        let of = |name: String| name.parse::<u64>().ok().map(|number| (number, name));
        let mut folders: Vec<(u64, String)> =
            names(&self.folder.join(competition))?.into_iter().filter_map(of).collect();
        folders.sort_unstable();
        for (_, name) in folders.iter().rev() {
            if let Some(number) = self.numbers(competition, name)?.into_iter().max() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Names of the competitions that have a folder, in order.
    pub fn competitions(&self) -> Result<Vec<String>, Error> {
        let mut found = names(&self.folder)?;
        found.retain(|name| check_name(name).is_ok() && self.folder.join(name).is_dir());
        Ok(found)
    }

    /// The index of the newest records; `None` without any. They are genuine, of one validator and
    /// of one chain. A competition whose newest record is of an earlier format is not in it.
    pub fn index(&self) -> Result<Option<Index>, Error> {
        let mut index: Option<Index> = None;
        for competition in self.competitions()? {
            let Some(number) = self.newest(&competition)? else { continue };
            let stamp = stamp(&self.path(&competition, number));
            let known = self.known(&competition, number, stamp);
            if let Some(known) = known.filter(|known| known.goes_with(index.as_ref())) {
                match &mut index {
                    Some(index) => index.competitions.extend(known.competitions),
                    None => index = Some(known),
                }
                continue;
            }
            let newest = match self.read(&competition, number) {
                Err(error) if error.is_of_earlier_format() => continue,
                newest => newest?,
            };
            let Some(newest) = newest else { continue };
            let round = &newest.record.round;
            let alone = Index::new(round.validator, round.genesis, round.netuid);
            index.get_or_insert_with(|| alone.clone()).push(&newest)?;
            self.keep((number, stamp), alone, &newest);
        }
        Ok(index)
    }

    /// The index of a newest record alone, if its file is the one that was read before.
    fn known(&self, competition: &str, number: u64, stamp: Option<Stamp>) -> Option<Index> {
        let kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = kept.get(competition)?;
        (newest.number == number && Some(newest.stamp) == stamp).then(|| newest.index.clone())
    }

    /// Remembers a newest record, once its file is old enough to be told from a later one.
    fn keep(&self, (number, stamp): (u64, Option<Stamp>), mut alone: Index, newest: &Signed) {
        let is_settled = |stamp: &Stamp| stamp.0.elapsed().is_ok_and(|age| age >= SETTLED);
        let Some(stamp) = stamp.filter(is_settled) else { return };
        alone.put(newest);
        let competition = newest.record.round.competition.clone();
        let mut kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(competition, Newest { number, stamp, index: alone });
    }
}

/// When a file was changed last, and its size.
type Stamp = (SystemTime, u64);

/// Time and size of a file, where the system tells.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Source for Folder {
    fn index(&self) -> Result<Option<Index>, Error> {
        Self::index(self)
    }

    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        self.bytes(competition, number)
    }
}

impl Signed {
    /// A record that was read where this one has to be.
    pub(crate) fn of_place(self, competition: &str, number: u64) -> Result<Self, Error> {
        let round = &self.record.round;
        if round.competition != competition || round.number != number {
            let name = path(competition, number);
            let competition = protocol::text::shown(&round.competition, 64);
            return Err(Error::Misplaced { name, competition, number: round.number });
        }
        Ok(self)
    }
}

fn failed(task: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { task, name: path.display().to_string(), source }
}

/// The bytes of a file of at most so many; `None` if there is none.
fn read_whole(path: &Path, size_bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|source| failed("read", path, source))?,
    };
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(failed("read", path, source));
    }
    if metadata.len() > size_bytes_max as u64 {
        return Err(Error::TooLarge { name: path.display().to_string(), size_bytes_max });
    }
    fs::read(path).map(Some).map_err(|source| failed("read", path, source))
}

/// Names in a folder, in order; none if it is no folder.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let no_folder = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    let entries = match fs::read_dir(folder) {
        Err(error) if no_folder.contains(&error.kind()) => return Ok(Vec::new()),
        entries => entries.map_err(|source| failed("list", folder, source))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("list", folder, source))?;
        // What is no text is none of our names.
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
