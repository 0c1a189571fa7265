//! What does not work at the moment.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Most letters of what is told of a trouble.
pub(super) const LETTERS_MAX: usize = 300;

/// What does not work at the moment, by where; pages say it.
#[derive(Debug, Default)]
pub struct Troubles {
    all: Mutex<BTreeMap<String, String>>,
    n_changes: AtomicU64,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, place: &str, trouble: Option<String>) {
        let mut all = self.lock();
        let before = match trouble {
            Some(trouble) => {
                let shown = protocol::text::shown(&trouble, LETTERS_MAX);
                all.insert(place.to_owned(), shown)
            }
            None => all.remove(place),
        };
        if before.as_ref() != all.get(place) {
            self.n_changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often it changed what does not work.
    pub fn n_changes(&self) -> u64 {
        self.n_changes.load(Ordering::Acquire)
    }

    /// Notes what is wrong with the index, or that nothing is.
    pub fn of_index(&self, trouble: Option<String>) {
        self.note("index", trouble);
    }

    /// All of them, in order of where.
    pub fn all(&self) -> Vec<(String, String)> {
        self.lock().iter().map(|(place, what)| (place.clone(), what.clone())).collect()
    }
}
