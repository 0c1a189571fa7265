//! What a validator knows, shared by the threads that work for it.

use crate::{
    entry::Entry,
    ours,
    state::{ContestState, State},
};
use journal::Past;
use protocol::Block;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State and journal behind one lock, which nobody holds while the world is asked for something.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Past<State>>);

impl Memory {
    /// What follows from a journal.
    pub(crate) fn new(past: Past<State>) -> Self {
        Self(Mutex::new(past))
    }

    /// The past, for as long as the guard lives: not longer than it takes to read or to note.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Past<State>> {
        // A thread that died in the middle of noting something leaves a past that takes in nothing
        // more, so its state is as good as the disk.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of the state.
    pub(crate) fn state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(self.lock().state())
    }

    /// Something of the state of a competition; of one that had no round yet, of a fresh one.
    pub(crate) fn contest<T>(&self, name: &str, read: impl FnOnce(&ContestState) -> T) -> T {
        let past = self.lock();
        match past.state().contest(name) {
            Some(contest) => read(contest),
            None => read(&ContestState::default()),
        }
    }

    /// Takes in what happened at a block; when this returns it is on disk.
    pub(crate) fn learn(&self, entry: &Entry, block: Block) -> anyhow::Result<()> {
        self.lock().learn(entry, block).map_err(ours)
    }
}
