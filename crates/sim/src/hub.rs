//! A hub that strategies control: who sees what, and when.

use crate::model::ModelId;
use protocol::{Block, Digest, Revision};

/// A set of files on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub(crate) u32);

/// Who sees a set of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nobody.
    Nobody,
    /// Everybody.
    Everybody,
    /// Everybody, from a block on.
    From(Block),
    /// Those validators whose bit is set; nobody else.
    Only(u64),
}

/// A model as it was uploaded.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) model: ModelId,
    pub(crate) file_root: Digest,
    pub(crate) revision: Revision,
    pub(crate) shown: Shown,
    /// First slot of whoever uploaded it.
    pub(crate) owner: usize,
}

impl Upload {
    /// Whether everybody sees it.
    pub(crate) fn is_public(&self, now: Block) -> bool {
        match self.shown {
            Shown::Everybody => true,
            Shown::From(block) => now >= block,
            Shown::Nobody | Shown::Only(_) => false,
        }
    }

    /// Whether a validator sees it.
    pub(crate) fn is_seen_by(&self, validator: usize, now: Block) -> bool {
        match self.shown {
            Shown::Only(validators) => {
                let bits =
                    u32::try_from(validator).ok().and_then(|bit| validators.checked_shr(bit));
                bits.is_some_and(|bits| bits & 1 == 1)
            }
            _ => self.is_public(now),
        }
    }
}

/// The revision of the upload of this number.
pub(crate) fn revision(file: FileId) -> Option<Revision> {
    format!("{:040x}", u64::from(file.0) + 1).parse().ok()
}

/// The upload that a revision names.
pub(crate) fn file_of(revision: &Revision) -> Option<FileId> {
    let number = u64::from_str_radix(revision.as_str().get(24..)?, 16).ok()?;
    Some(FileId(u32::try_from(number.checked_sub(1)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_names_its_upload() {
        for number in [0, 1, 4_000_000_000] {
            assert_eq!(file_of(&revision(FileId(number)).unwrap()), Some(FileId(number)));
        }
        assert_eq!(file_of(&"0".repeat(40).parse().unwrap()), None);
    }

    #[test]
    fn bytes_may_be_shown_to_some_validators_alone() {
        let file_root = Digest::of(b"");
        let revision = revision(FileId(0)).unwrap();
        let shown = Shown::Only(0b101);
        let upload = Upload { model: ModelId(0), file_root, revision, shown, owner: 0 };
        let seen = [0, 1, 2, 3, 64].map(|validator| upload.is_seen_by(validator, Block(9)));
        assert_eq!(seen, [true, false, true, false, false]);
        assert!(!upload.is_public(Block(9)));
        let later = Upload { shown: Shown::From(Block(5)), ..upload };
        assert_eq!([4, 5].map(|block| later.is_seen_by(7, Block(block))), [false, true]);
    }
}
