//! The text that a miner puts on chain to name its model.
//!
//! The reference's format, `namespace:name:commit:secure_hash:competition_id`. The fourth field
//! holds [`crate::content::bound_hash`].

use crate::{
    AccountId, CompetitionId, Digest, Error, Reason, ReasonCode, Repo, Revision,
    content::{self, ContentHash},
};

/// Most bytes of a commitment; the chain stores no more.
pub const COMMITMENT_BYTES_MAX: usize = 128;

/// What the reference writes for a value that is absent.
const ABSENT: &str = "None";

/// A model that a miner stands for, as it is written on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Where the model is.
    pub repo: Repo,
    /// Which of its revisions.
    pub revision: Revision,
    /// Hash of the content, bound to the hotkey and the competition.
    pub secure_hash: ContentHash,
    /// Which contest it enters.
    pub competition: CompetitionId,
}

impl Commitment {
    /// The commitment of `hotkey` to the files of a root.
    pub fn bound(
        repo: &Repo,
        revision: &Revision,
        file_root: &Digest,
        hotkey: &AccountId,
        competition: CompetitionId,
    ) -> Self {
        Self {
            repo: repo.clone(),
            revision: revision.clone(),
            secure_hash: content::bound_hash(file_root, hotkey, competition),
            competition,
        }
    }

    /// The text for the chain; refuses what [`Commitment::parse`] would not read back.
    pub fn to_text(&self) -> Result<String, Error> {
        let Self { repo, revision, secure_hash, competition } = self;
        let (owner, name) = repo.parts();
        if owner == ABSENT || name == ABSENT {
            return Err(Error::CommitmentName { repo: repo.clone() });
        }
        let text = format!("{owner}:{name}:{revision}:{secure_hash}:{competition}");
        if text.len() > COMMITMENT_BYTES_MAX {
            return Err(Error::CommitmentTooLong { repo: repo.clone(), size_bytes: text.len() });
        }
        Ok(text)
    }

    /// Reads what a stranger wrote; there is one text for each commitment, all others are refused.
    ///
    /// Deviation: the reference also reads texts of four fields, whose hash is not bound to the
    /// hotkey and can be copied within a block, ignores further fields, and takes any spelling of
    /// the number that Python does.
    pub fn parse(text: &[u8]) -> Result<Self, Reason> {
        let refuse = |detail: String| Reason::new(ReasonCode::CommitmentUnreadable, detail);
        if text.len() > COMMITMENT_BYTES_MAX {
            return Err(refuse(format!("{} bytes, more than {COMMITMENT_BYTES_MAX}", text.len())));
        }
        let text = str::from_utf8(text).map_err(|_| refuse("not UTF-8".to_owned()))?;
        let fields: Vec<&str> = text.split(':').collect();
        if fields.len() == 4 {
            return Err(refuse("four fields: the hash is not bound to the hotkey".to_owned()));
        }
        let [owner, name, revision, secure_hash, competition] = fields[..] else {
            return Err(refuse(format!("{} fields instead of five", fields.len())));
        };
        if fields.contains(&ABSENT) {
            return Err(refuse("a field is `None`".to_owned()));
        }
        // One spelling of each number: no sign, and no zero before it.
        let is_plain = competition.starts_with(|c: char| c.is_ascii_digit())
            && (competition == "0" || !competition.starts_with('0'));
        let number: u16 =
            competition.parse().ok().filter(|_| is_plain).ok_or_else(|| {
                refuse(format!("`{competition}` is not a number of a competition"))
            })?;
        Ok(Self {
            repo: format!("{owner}/{name}").parse().map_err(|e| refuse(format!("{e}")))?,
            revision: revision.parse().map_err(|e| refuse(format!("{e}")))?,
            secure_hash: secure_hash.parse().map_err(|e| refuse(format!("{e}")))?,
            competition: CompetitionId(number),
        })
    }
}

#[cfg(test)]
mod tests;
