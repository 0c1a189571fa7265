//! Records as they were published, put together again, and how much of them pages may have
//! unpacked at a time.

use super::{Error, Index, uint};
use protocol::Record;
use records::signed::SIGNED_BYTES_MAX;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of records that all pages together may have unpacked at a time.
#[derive(Debug)]
pub struct Budget {
    n_bytes_left: Mutex<usize>,
    freed: Condvar,
    patience: Duration,
}

impl Budget {
    /// So many bytes, for which a page waits so long.
    pub fn new(n_bytes: usize, patience: Duration) -> Self {
        Self { n_bytes_left: Mutex::new(n_bytes), freed: Condvar::new(), patience }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.n_bytes_left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes as soon as they are there; false where that takes too long.
    fn take(&self, n_bytes: usize) -> bool {
        let is_short = |left: &mut usize| *left < n_bytes;
        let waited = self.freed.wait_timeout_while(self.lock(), self.patience, is_short);
        let (mut left, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match left.checked_sub(n_bytes) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    fn give(&self, n_bytes: usize) {
        *self.lock() += n_bytes;
        self.freed.notify_all();
    }
}

impl Index {
    /// The bytes of a record with its signature, as they were published.
    pub fn signed(&self, id: i64) -> Result<Vec<u8>, Error> {
        self.unpacked(id, SIGNED_BYTES_MAX)?.ok_or(Error::Damaged("a record"))
    }

    /// A record of the index.
    pub fn whole(&self, id: i64) -> Result<Record, Error> {
        record_of(&self.signed(id)?)
    }

    /// The same, if it has no more than `n_bytes_left`, which it is then taken from.
    pub fn whole_within(&self, id: i64, n_bytes_left: &mut usize) -> Result<Option<Record>, Error> {
        let Some(bytes) = self.unpacked(id, *n_bytes_left)? else { return Ok(None) };
        *n_bytes_left = n_bytes_left.saturating_sub(bytes.len());
        record_of(&bytes).map(Some)
    }

    /// The bytes of a record, if it has no more than so many.
    fn unpacked(&self, id: i64, n_bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT b.n_bytes, b.n_before, b.around, c.n_bytes, c.packed
            FROM bodies b JOIN commons c ON c.id = b.common WHERE b.record = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let row = rows.next()?.ok_or(Error::Damaged("a record"))?;
        let number =
            |at: usize| row.get(at).map(|n| usize::try_from(uint(n)).unwrap_or(usize::MAX));
        let n_bytes = number(0)?;
        if n_bytes > n_bytes_max {
            return Ok(None);
        }
        if let Some(budget) = &self.budget {
            if !budget.take(n_bytes) {
                return Err(Error::Busy);
            }
            self.n_bytes_held.set(self.n_bytes_held.get() + n_bytes);
        }
        let (around, packed): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(4)?);
        let measured = unpacked(&packed, number(3)?)?;
        match around.split_at_checked(number(1)?) {
            Some((before, after)) if around.len() + measured.len() == n_bytes => {
                Ok(Some([before, &measured, after].concat()))
            }
            _ => Err(Error::Damaged("a record")),
        }
    }

    /// Gives back what was taken of the budget since it was last given back.
    pub(crate) fn release(&self) {
        if let Some(budget) = &self.budget {
            budget.give(self.n_bytes_held.take());
        }
    }
}

/// The record in bytes that were taken in.
fn record_of(signed: &[u8]) -> Result<Record, Error> {
    #[derive(serde::Deserialize)]
    struct Stored {
        record: Record,
    }
    let stored: Stored = serde_json::from_slice(signed).map_err(|_| Error::Damaged("a record"))?;
    Ok(stored.record)
}

/// How hard the packer tries: the least, which is most of what there is to gain.
const LEVEL: i32 = 1;

pub(super) fn packed(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|_| Error::Damaged("a record"))
}

/// What was packed, which has so many bytes.
fn unpacked(packed: &[u8], n_bytes: usize) -> Result<Vec<u8>, Error> {
    let unpacked = zstd::bulk::decompress(packed, n_bytes.min(SIGNED_BYTES_MAX));
    unpacked.ok().filter(|bytes| bytes.len() == n_bytes).ok_or(Error::Damaged("a record"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, thread};

    #[test]
    fn what_was_packed_has_as_many_bytes_as_it_had() {
        let bytes = b"a record ".repeat(100);
        let small = packed(&bytes).unwrap();
        assert_eq!(unpacked(&small, bytes.len()).unwrap(), bytes);
        assert!(unpacked(&small, bytes.len() - 1).is_err());
        assert!(unpacked(&small, bytes.len() + 1).is_err());
    }

    #[test]
    fn bytes_that_are_taken_are_waited_for_and_not_for_ever() {
        let budget = Arc::new(Budget::new(10, Duration::from_millis(20)));
        assert!(budget.take(7));
        assert!(!budget.take(4), "nobody gives any back");
        let patient = Arc::new(Budget::new(10, Duration::from_secs(60)));
        assert!(patient.take(7));
        let waiting = {
            let patient = Arc::clone(&patient);
            thread::spawn(move || patient.take(4))
        };
        patient.give(7);
        assert!(waiting.join().unwrap());
        assert_eq!(*patient.lock(), 6);
    }
}
