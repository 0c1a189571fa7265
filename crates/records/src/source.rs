//! Records read again from wherever they lie, and believed nothing.

use crate::{Broken, Error, Index, Links, Signed, path};
use protocol::record::{Measured, ReadMeasured};
use std::ops::RangeInclusive;

/// Wherever signed records of a validator lie.
pub trait Source {
    /// The index as it is now; `None` without any records.
    fn index(&self) -> Result<Option<Index>, Error>;

    /// The bytes of a record, at most [`crate::signed::SIGNED_BYTES_MAX`] of them; `None` if it is
    /// not there.
    fn record(&self, competition: &str, number: u64) -> Result<Option<Vec<u8>>, Error>;
}

/// Records of one competition in order, each read when it is asked for.
///
/// Each is the one of its place, genuine, of the validator and chain of the index, and follows the
/// one before it; the newest of all is the one that the index names. After an error there is
/// nothing more.
pub struct Records<'a> {
    source: &'a dyn Source,
    index: &'a Index,
    competition: &'a str,
    links: Links,
    measured: ReadMeasured<'a>,
    /// What is left.
    numbers: Option<RangeInclusive<u64>>,
}

impl<'a> Records<'a> {
    /// Records of a competition with these numbers, as far as the index has them.
    pub fn new(
        source: &'a dyn Source,
        index: &'a Index,
        competition: &'a str,
        numbers: RangeInclusive<u64>,
    ) -> Self {
        let newest = index.competitions.get(competition).map_or(0, |head| head.n_records);
        let numbers = (*numbers.start()).max(1)..=(*numbers.end()).min(newest);
        let (links, numbers) = (Links::default(), Some(numbers));
        Self { source, index, competition, links, measured: &Measured::read, numbers }
    }

    /// The same, of which the first has to follow what was taken in before it.
    pub fn following(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// The same, with what was measured by `read`, which may remember it.
    pub fn measured_by(self, read: ReadMeasured<'a>) -> Self {
        Self { measured: read, ..self }
    }

    fn read(&mut self, number: u64) -> Result<Signed, Error> {
        let bytes = self.source.record(self.competition, number)?;
        let bytes = bytes.ok_or_else(|| Error::Missing(path(self.competition, number)))?;
        let signed = Signed::from_parts(&bytes, self.measured)?;
        let signed = signed.of_place(self.competition, number)?;
        self.index.check(&signed)?;
        self.links.take(&signed)?;
        let head = self.index.competitions.get(self.competition);
        let is_other = head.is_some_and(|head| {
            head.n_records == number && Some(head.digest) != self.links.digest()
        });
        if is_other { Err(Broken::Head(number).into()) } else { Ok(signed) }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Signed, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.numbers.as_mut()?.next()?;
        let read = self.read(number);
        if read.is_err() {
            self.numbers = None;
        }
        Some(read)
    }
}
