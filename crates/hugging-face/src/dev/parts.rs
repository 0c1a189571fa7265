//! Uploads in parts: one file, into which every part is written where it belongs.
//!
//! Parts that come in their order are hashed as part of the whole while they come, so that nothing
//! is read again at the end; whatever comes otherwise is.

use super::{
    Hub, clock, lock,
    objects::{Hashes, Incoming, Received, finish_parts},
    refusal::Refusal,
};
use sha2::Sha256;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tempfile::NamedTempFile;

/// Uploads in parts that an owner may have begun.
const PARTED_PER_OWNER_MAX: usize = 64;

/// A repo by its number, and the name of the object.
pub(super) type Key = (i64, String);

/// The uploads in parts that have begun.
#[derive(Default)]
pub(super) struct Parts {
    uploads: Mutex<HashMap<Key, Upload>>,
}

/// One of them.
struct Upload {
    owner: String,
    begun: i64,
    file: Arc<NamedTempFile>,
    parts: BTreeMap<u32, Part>,
    hashed: Hashed,
}

struct Part {
    size_bytes: u64,
    state: State,
}

/// How far a part is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It comes; nobody else may write there.
    Coming,
    /// All of it is there.
    There,
    /// Some of it may be there, which takes room.
    Broken,
}

/// The first parts, hashed.
#[derive(Clone, Default)]
struct Hashed {
    n_parts: u32,
    n_bytes: u64,
    sha256: Sha256,
}

/// A part of an object: its number from one on, where it begins, and its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) number: u32,
    pub(super) start: u64,
    pub(super) size_bytes: u64,
}

/// What names a part that has come: the object's name says what is in it.
pub(super) fn tag(number: u32) -> String {
    format!("part-{number}")
}

impl Parts {
    /// Bytes of an owner that wait to be put together, besides what comes just now.
    pub(super) fn waiting_bytes(&self, owner: &str) -> u64 {
        let uploads = lock(&self.uploads);
        let parts = uploads.values().filter(|upload| upload.owner == owner);
        let parts = parts.flat_map(|upload| upload.parts.values());
        let waiting = parts.filter(|part| part.state != State::Coming);
        waiting.fold(0, |sum, part| sum.saturating_add(part.size_bytes))
    }

    /// Drops parts whose upload began long ago and was never completed.
    pub(super) fn forget_older_than(&self, age: Duration) {
        let old = clock::now().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        lock(&self.uploads).retain(|_, upload| upload.begun > old);
    }

    /// Makes ready for a part, which nobody else can send until this one is there or given up.
    pub(super) fn begin(
        hub: &Arc<Hub>,
        key: &Key,
        owner: &str,
        piece: Piece,
    ) -> Result<Incoming, Refusal> {
        let mut uploads = lock(&hub.uploads.parts.uploads);
        if !uploads.contains_key(key) {
            let n = uploads.values().filter(|upload| upload.owner == owner).count();
            if n >= PARTED_PER_OWNER_MAX {
                return Err(Refusal::busy(60));
            }
            let (file, begun) = (hub.objects.begin()?, clock::now());
            let (parts, hashed) = (BTreeMap::new(), Hashed::default());
            let upload = Upload { owner: owner.to_owned(), begun, file, parts, hashed };
            uploads.insert(key.clone(), upload);
        }
        let upload = uploads.get_mut(key).ok_or_else(Refusal::broken)?;
        let Piece { number, start, size_bytes } = piece;
        let before = upload.parts.insert(number, Part { size_bytes, state: State::Coming });
        if before.is_some_and(|part| part.state == State::Coming) {
            return Err(Refusal::busy(1));
        }
        if number <= upload.hashed.n_parts {
            // It may bring other bytes this time.
            upload.hashed = Hashed::default();
        }
        let follows = number == upload.hashed.n_parts.saturating_add(1);
        let claim = Claim {
            hub: Arc::clone(hub),
            key: key.clone(),
            number,
            file: Arc::downgrade(&upload.file),
        };
        Ok(Incoming {
            file: Arc::clone(&upload.file),
            start,
            size_bytes,
            n_bytes: 0,
            hashes: Hashes {
                sha256: follows.then(|| upload.hashed.sha256.clone()),
                ..Hashes::default()
            },
            claim: Some(Box::new(claim)),
        })
    }

    /// Notes that a part is there.
    pub(super) fn end(&self, key: &Key, number: u32, incoming: Incoming) -> Result<(), Refusal> {
        incoming.check_whole().map_err(|_| Refusal::bad("the body is shorter than announced"))?;
        let Incoming { file, hashes: Hashes { sha256, .. }, n_bytes, claim, .. } = incoming;
        let mut uploads = lock(&self.uploads);
        // It may have been forgotten meanwhile, and begun anew in another file.
        let upload = uploads.get_mut(key).filter(|upload| Arc::ptr_eq(&upload.file, &file));
        let part = upload.and_then(|upload| {
            let hashed = &mut upload.hashed;
            if let (Some(sha256), true) = (sha256, number == hashed.n_parts.saturating_add(1)) {
                let n_bytes = hashed.n_bytes.saturating_add(n_bytes);
                *hashed = Hashed { n_parts: number, n_bytes, sha256 };
            }
            upload.parts.get_mut(&number)
        });
        let noted = part.map(|part| part.state = State::There);
        drop((file, uploads));
        // Only now, because it looks at the uploads.
        drop(claim);
        noted.ok_or_else(|| Refusal::busy(5))
    }

    /// Puts the parts together, if all are there and are those that the client names.
    pub(super) fn complete(
        &self,
        key: &Key,
        named: &[(u32, String)],
        size_bytes: u64,
    ) -> Result<Received, Refusal> {
        let mut uploads = lock(&self.uploads);
        let are_all = uploads.get(key).is_some_and(|upload| {
            let sizes = upload.parts.values().map(|part| part.size_bytes);
            let all = sizes.fold(0, u64::saturating_add);
            let are_there = upload.parts.iter().zip(1..).all(|((number, part), expected)| {
                *number == expected && part.state == State::There
            });
            let are_named = named.len() == upload.parts.len()
                && named.iter().zip(1..).all(|((number, sent), expected)| {
                    *number == expected && sent.trim_matches('"') == tag(expected)
                });
            are_there && are_named && all == size_bytes
        });
        let upload = if are_all { uploads.remove(key) } else { None };
        drop(uploads);
        let missing = || Refusal::bad("the parts are not those that were sent");
        let Upload { file, hashed, .. } = upload.ok_or_else(missing)?;
        let finished = finish_parts(file, size_bytes, (hashed.sha256, hashed.n_bytes));
        finished.map_err(|error: io::Error| error.into())
    }
}

/// The only right to write a part, given back when nothing is written any more.
struct Claim {
    hub: Arc<Hub>,
    key: Key,
    number: u32,
    file: Weak<NamedTempFile>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut uploads = lock(&self.hub.uploads.parts.uploads);
        let upload = uploads.get_mut(&self.key);
        let upload = upload.filter(|upload| Arc::as_ptr(&upload.file) == self.file.as_ptr());
        let part = upload.and_then(|upload| upload.parts.get_mut(&self.number));
        if let Some(part) = part.filter(|part| part.state == State::Coming) {
            part.state = State::Broken;
        }
    }
}
