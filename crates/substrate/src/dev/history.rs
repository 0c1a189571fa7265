//! The state after each of the last blocks, as keys and values.
//!
//! Each key keeps its values with the block that set them, so a block costs what it changed.

use crate::wire::{
    metadata::Encoded,
    storage::{Entries, State, Value, items},
};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

/// For how many blocks the state can be asked for.
pub const STATE_BLOCKS: usize = 1_024;

/// Most bytes of encrypted weights as they stood in earlier blocks. All of an epoch are one value,
/// of which each commit makes another; beyond this the oldest are no longer held.
const OLD_COMMITS_BYTES_MAX: usize = 32 << 20;

/// A value, or nothing, from a block on.
type Version = (u32, Option<Value>);

/// States of the last blocks.
#[derive(Default)]
pub(super) struct History {
    /// What clients are told, where the time between blocks is not the usual one.
    metadata: Option<Encoded>,
    values: BTreeMap<Vec<u8>, Vec<Version>>,
    /// Keys that each of the blocks changed, oldest first.
    changes: VecDeque<(u32, Vec<Vec<u8>>)>,
    /// Encrypted weights as they stood in earlier blocks, oldest first, and their bytes.
    old_commits: VecDeque<Old>,
    old_commits_bytes: usize,
}

/// A version of a value that another took the place of.
struct Old {
    key: Vec<u8>,
    /// Block that set it.
    since: u32,
    /// Block that set the next.
    until: u32,
    size_bytes: usize,
}

/// The state at one block.
pub(super) struct StateAt<'a> {
    history: &'a History,
    block: u32,
}

/// Keys whose values differ from those of the newest state, with the new ones.
pub(super) type Changes = Vec<(Vec<u8>, Option<Value>)>;

impl History {
    /// No states yet, of a chain of which clients are told this, or the usual.
    pub(super) fn new(metadata: Option<Encoded>) -> Self {
        Self { metadata, ..Self::default() }
    }

    /// What clients are told where that is not the usual.
    pub(super) fn own_metadata(&self) -> Option<&Encoded> {
        self.metadata.as_ref()
    }

    /// What clients are told.
    pub(super) fn metadata(&self) -> &Encoded {
        self.own_metadata().unwrap_or_else(|| Encoded::usual())
    }

    /// How a state differs from the newest.
    pub(super) fn difference(&self, entries: Entries) -> Changes {
        let mut changes = Changes::new();
        for (key, versions) in &self.values {
            let is_there = versions.last().is_some_and(|(_, value)| value.is_some());
            if is_there && !entries.contains_key(key) {
                changes.push((key.clone(), None));
            }
        }
        for (key, mut value) in entries {
            let versions = self.values.get(&key);
            let last = versions.and_then(|versions| versions.last()?.1.as_ref());
            if !last.is_some_and(|last| last.is_same(&value)) {
                value.shrink();
                changes.push((key, Some(value)));
            }
        }
        changes
    }

    /// Adds the state after `block`, the one after the newest.
    pub(super) fn push(&mut self, block: u32, changes: Changes) {
        let changed = changes.iter().map(|(key, _)| key.clone()).collect();
        let commits = items::TIMELOCKED_WEIGHT_COMMITS.prefix();
        for (key, value) in changes {
            let is_of_commits = key.starts_with(&commits);
            let versions = self.values.entry(key.clone()).or_default();
            if is_of_commits && let Some((since, Some(old))) = versions.last() {
                let (since, size_bytes) = (*since, old.bytes().len());
                self.old_commits.push_back(Old { key, since, until: block, size_bytes });
                self.old_commits_bytes += size_bytes;
            }
            versions.push((block, value));
        }
        self.changes.push_back((block, changed));
        if self.changes.len() > STATE_BLOCKS {
            self.changes.pop_front();
            self.forget();
        }
        self.forget_commits();
    }

    /// Drops encrypted weights that no block still held can see, and the oldest that are too many.
    fn forget_commits(&mut self) {
        let oldest = self.oldest();
        while let Some(old) = self.old_commits.front() {
            let is_over = old.until <= oldest;
            if !is_over && self.old_commits_bytes <= OLD_COMMITS_BYTES_MAX {
                return;
            }
            self.old_commits_bytes -= old.size_bytes;
            let versions = self.values.get_mut(&old.key).into_iter().flatten();
            versions.filter(|(since, _)| *since == old.since).for_each(|(_, value)| *value = None);
            self.old_commits.pop_front();
        }
    }

    /// Drops the values that no block still held can see.
    fn forget(&mut self) {
        let Some((oldest, changed)) = self.changes.front() else { return };
        for key in changed {
            let Some(versions) = self.values.get_mut(key) else { continue };
            let first = versions.partition_point(|(block, _)| block < oldest);
            versions.drain(..first);
            if versions.iter().all(|(_, value)| value.is_none()) {
                self.values.remove(key);
            }
        }
    }

    /// Number of the oldest block whose state is held.
    pub(super) fn oldest(&self) -> u32 {
        self.changes.front().map_or(0, |(block, _)| *block)
    }

    /// The state after `block`, if it is held.
    pub(super) fn at(&self, block: u32) -> Option<StateAt<'_>> {
        let newest = self.changes.back()?.0;
        (self.oldest()..=newest).contains(&block).then_some(StateAt { history: self, block })
    }
}

impl StateAt<'_> {
    fn value<'a>(&self, versions: &'a [Version]) -> Option<&'a Value> {
        let n_known = versions.partition_point(|(block, _)| *block <= self.block);
        versions.get(n_known.checked_sub(1)?)?.1.as_ref()
    }

    /// At most `count` keys that begin with `prefix` and come after `start`, in order.
    pub(super) fn keys_after(
        &self,
        prefix: &[u8],
        start: Option<&[u8]>,
        count: usize,
    ) -> Vec<Vec<u8>> {
        let from = match start {
            Some(start) if start >= prefix => Bound::Excluded(start),
            _ => Bound::Included(prefix),
        };
        let range = self.history.values.range::<[u8], _>((from, Bound::Unbounded));
        range
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, versions)| self.value(versions).is_some())
            .map(|(key, _)| key.clone())
            .take(count)
            .collect()
    }
}

impl State for StateAt<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.value(self.history.values.get(key)?).map(|value| value.bytes().to_vec())
    }

    fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        self.keys_after(prefix, None, usize::MAX)
    }

    fn metadata(&self) -> &Encoded {
        self.history.metadata()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        pairs.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec().into())).collect()
    }

    #[test]
    fn every_block_that_is_held_keeps_its_state() {
        let mut history = History::default();
        let state = |block: u32| {
            let mut state = entries(&[("a", "same")]);
            state.insert(b"b".to_vec(), block.to_le_bytes().to_vec().into());
            if block.is_multiple_of(3) {
                state.insert(format!("c{}", block % 5).into_bytes(), b"x".to_vec().into());
            }
            state
        };
        let n_blocks = STATE_BLOCKS as u32 + 40;
        for block in 0..n_blocks {
            let changes = history.difference(state(block));
            history.push(block, changes);
        }
        assert_eq!(history.oldest(), 40);
        assert!(history.at(39).is_none() && history.at(n_blocks).is_none());
        for block in 40..n_blocks {
            let at = history.at(block).unwrap();
            let expected = state(block);
            let keys: Vec<Vec<u8>> = expected.keys().cloned().collect();
            assert_eq!(at.keys(b""), keys, "block {block}");
            for (key, value) in expected {
                assert_eq!(at.get(&key).as_deref(), Some(value.bytes()), "block {block}");
            }
        }
        let n_versions: usize = history.values.values().map(Vec::len).sum();
        assert!(n_versions < 2 * STATE_BLOCKS + 10, "{n_versions} versions are kept");
    }

    #[test]
    fn attack_encrypted_weights_that_grow_with_each_block_take_no_more_than_their_room() {
        let mut history = History::default();
        let key = items::TIMELOCKED_WEIGHT_COMMITS.key(&(1, 1));
        let value = |block: u32| vec![block as u8; 1 << 20];
        for block in 0..50 {
            let others = (b"b".to_vec(), vec![7_u8].into());
            let state = Entries::from([(key.clone(), value(block).into()), others]);
            let changes = history.difference(state);
            history.push(block, changes);
            let held = history.values[&key].iter().filter_map(|(_, value)| value.as_ref());
            let n_bytes: usize = held.map(|value| value.bytes().len()).sum();
            assert!(n_bytes <= OLD_COMMITS_BYTES_MAX + (1 << 20), "{n_bytes} in block {block}");
        }
        let at = |block| history.at(block).unwrap();
        assert_eq!(at(49).get(&key), Some(value(49)));
        assert_eq!(at(49 - 32).get(&key), Some(value(49 - 32)));
        assert_eq!(at(49 - 33).get(&key), None, "beyond what is held");
        assert_eq!(at(0).get(b"b"), Some(vec![7]), "all else is held for as long as it was");
    }

    #[test]
    fn encrypted_weights_of_blocks_that_are_forgotten_take_no_room() {
        let mut history = History::default();
        let key = items::TIMELOCKED_WEIGHT_COMMITS.key(&(1, 1));
        for block in 0..STATE_BLOCKS as u32 + 40 {
            let state = Entries::from([(key.clone(), block.to_le_bytes().to_vec().into())]);
            let changes = history.difference(state);
            history.push(block, changes);
        }
        assert_eq!(history.old_commits.len(), STATE_BLOCKS - 1);
        assert_eq!(history.old_commits_bytes, 4 * (STATE_BLOCKS - 1));
        let oldest = history.oldest();
        let of_oldest = history.at(oldest).unwrap().get(&key);
        assert_eq!(of_oldest, Some(oldest.to_le_bytes().to_vec()));
    }

    #[test]
    fn keys_come_in_pages() {
        let mut history = History::default();
        let changes =
            history.difference(entries(&[("a1", ""), ("a2", ""), ("a3", ""), ("b1", "")]));
        history.push(0, changes);
        let at = history.at(0).unwrap();
        assert_eq!(at.keys_after(b"a", None, 2), [b"a1", b"a2"]);
        assert_eq!(at.keys_after(b"a", Some(b"a2"), 2), [b"a3"]);
        assert_eq!(at.keys_after(b"b", Some(b"a2"), 2), [b"b1"], "a start before the prefix");
        assert!(at.keys_after(b"a", Some(b"zz"), 2).is_empty());
    }
}
