//! What does not work at the moment.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most letters of what is told of a trouble.
pub(super) const LETTERS_MAX: usize = 300;

/// What does not work at the moment, by where; pages say it.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, place: &str, trouble: Option<String>) {
        match trouble {
            Some(trouble) => {
                let shown = protocol::text::shown(&trouble, LETTERS_MAX);
                self.lock().insert(place.to_owned(), shown);
            }
            None => {
                self.lock().remove(place);
            }
        }
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
