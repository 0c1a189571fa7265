//! The text on the chain that names all records of a validator.

use protocol::{Digest, Error, Repo, commitment::COMMITMENT_BYTES_MAX};

/// What the text on the chain begins with: no commitment of a miner has these two fields.
const TAG: &str = "agon-records:1:";

/// What a validator commits to: the records that it had published at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCommitment {
    /// Dataset repo that holds the records.
    pub repo: Repo,
    /// [`crate::Index::root`] of the index of that time.
    pub root: Digest,
}

impl RootCommitment {
    /// The text for the chain; a repo with a long name does not fit into it.
    pub fn to_text(&self) -> Result<String, Error> {
        let text = self.text();
        if text.len() > COMMITMENT_BYTES_MAX {
            let (repo, size_bytes) = (self.repo.clone(), text.len());
            return Err(Error::CommitmentTooLong { repo, size_bytes });
        }
        Ok(text)
    }

    fn text(&self) -> String {
        let Self { repo, root } = self;
        format!("{TAG}{repo}:{}", root.hex())
    }

    /// Reads what stands on the chain; `None` for what is no such text. There is one text for each
    /// commitment.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > COMMITMENT_BYTES_MAX {
            return None;
        }
        let fields: Vec<&str> = str::from_utf8(text).ok()?.strip_prefix(TAG)?.split(':').collect();
        let [repo, root] = fields[..] else { return None };
        let found = Self { repo: repo.parse().ok()?, root: format!("sha256:{root}").parse().ok()? };
        (found.text().as_bytes() == text).then_some(found)
    }
}
