//! Rules that are known here.

use protocol::{Competition, Digest};
use std::collections::BTreeMap;

/// Rules of competitions by their digests.
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<Digest, Competition>);

impl Rules {
    /// Those of these versions of competitions.
    pub fn new(versions: Vec<Competition>) -> Self {
        Self(versions.into_iter().map(|rules| (rules.digest(), rules)).collect())
    }

    /// The rules of a digest, if they are known.
    pub fn of(&self, digest: Digest) -> Option<&Competition> {
        self.0.get(&digest)
    }

    /// All of a name, oldest first.
    pub fn versions<'a>(&'a self, name: &'a str) -> Vec<&'a Competition> {
        let mut found: Vec<_> = self.0.values().filter(|rules| rules.name == name).collect();
        found.sort_by_key(|rules| rules.from_block);
        found
    }
}
