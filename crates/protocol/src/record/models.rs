//! The models of a record: most of its bytes, and shared by whoever has the same.

use super::Judged;
use serde::{Deserialize, Serialize};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// The models of a record, which copies of it share until one of them is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Models(Arc<Vec<Judged>>);

impl Models {
    /// Whether both are one copy: what was copied, and not changed since.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Models {
    type Target = Vec<Judged>;

    fn deref(&self) -> &Vec<Judged> {
        &self.0
    }
}

impl DerefMut for Models {
    fn deref_mut(&mut self) -> &mut Vec<Judged> {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Vec<Judged>> for Models {
    fn from(models: Vec<Judged>) -> Self {
        Self(Arc::new(models))
    }
}

impl FromIterator<Judged> for Models {
    fn from_iter<I: IntoIterator<Item = Judged>>(models: I) -> Self {
        models.into_iter().collect::<Vec<Judged>>().into()
    }
}

impl IntoIterator for Models {
    type Item = Judged;
    type IntoIter = std::vec::IntoIter<Judged>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl<'a> IntoIterator for &'a Models {
    type Item = &'a Judged;
    type IntoIter = std::slice::Iter<'a, Judged>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Models {
    type Item = &'a mut Judged;
    type IntoIter = std::slice::IterMut<'a, Judged>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Serialize for Models {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn copies_share_their_models_until_one_is_changed() {
        let frozen = include_bytes!("../../../../testdata/scoring/record.json");
        let record = Record::from_json(frozen.trim_ascii_end()).unwrap();
        let mut other = record.clone();
        assert!(record.models.is_shared_with(&other.models));
        other.models.pop().unwrap();
        assert!(!record.models.is_shared_with(&other.models));
        assert_eq!(record.models.len(), other.models.len() + 1);
        assert_eq!(record.to_json(), frozen.trim_ascii_end());
        let kept = record.models.clone();
        let models: Models = record.models.into_iter().collect();
        assert_eq!(models, kept);
    }
}
