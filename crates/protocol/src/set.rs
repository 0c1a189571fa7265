//! All competitions of a subnet as one document, and the text on the chain that names it.
//!
//! The document is an index: name, first block and digest of each version of each competition. The
//! rules themselves are files beside it, whose bytes have these digests. The owner of a subnet
//! commits to the index, and whoever follows the owner takes nothing that has another digest.

use crate::{
    Block, Competition, ContentHash, Digest, Error, Repo, Revision, Schedule,
    commitment::COMMITMENT_BYTES_MAX,
    competition::{DatasetRules, TokenizerRules},
    digest::canonical_json,
    schedule::NoSchedule,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes of an index: some 200 for each version.
pub const INDEX_BYTES_MAX: usize = 64 << 10;
/// Most bytes of the rules of one version: they may pin tens of thousands of files.
pub const RULES_BYTES_MAX: usize = 16 << 20;
/// Most versions of competitions in a set.
pub const N_VERSIONS_MAX: usize = 64;
/// Blocks between the publication of a change and the first block at which it holds: a day.
pub const NOTICE_BLOCKS: u64 = 7_200;

/// Number of the form of an index.
const FORMAT: u32 = 1;
/// What the text on the chain begins with: no commitment of a miner has these two fields.
const TAG: &str = "agon-set:1:";
/// Longest name of a tokenizer's file.
const FILE_NAME_BYTES_MAX: usize = 64;

/// The competitions of a subnet in all their versions.
#[derive(Clone, Debug, PartialEq)]
pub struct CompetitionSet {
    schedule: Schedule,
}

/// The index of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetIndex {
    format: u32,
    /// In order of name and first block.
    competitions: Vec<Listed>,
}

/// One version of a competition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Name of the competition.
    pub name: String,
    /// First block of the version.
    pub from_block: u64,
    /// Digest of the rules.
    pub rules: Digest,
}

/// What the owner of a subnet commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCommitment {
    /// Dataset repo that holds the index and the rules.
    pub repo: Repo,
    /// Which of its revisions.
    pub revision: Revision,
    /// Digest of the index.
    pub index: Digest,
}

/// Why competitions are no set, or bytes no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASet {
    /// There is none, or there are too many.
    #[error("{0} versions of competitions: a set has 1 to {N_VERSIONS_MAX}")]
    Number(usize),
    /// They cannot stand beside each other.
    #[error(transparent)]
    NoSchedule(#[from] NoSchedule),
    /// A value is out of range.
    #[error("competition `{name}`: {error}")]
    Rules {
        /// Which competition.
        name: String,
        /// What is wrong with it.
        error: Error,
    },
    /// Somebody else could not get the same.
    #[error("competition `{name}`: {lack}")]
    NotForOthers {
        /// Which competition.
        name: String,
        /// What others would not have.
        lack: &'static str,
    },
    /// The rules have more bytes than anybody reads.
    #[error(
        "the rules of competition `{name}` are {size_bytes} bytes, more than {RULES_BYTES_MAX}"
    )]
    TooLarge {
        /// Which competition.
        name: String,
        /// Length.
        size_bytes: usize,
    },
    /// Two tokenizers have one name.
    #[error("two different tokenizers are called `{0}`")]
    OneFile(String),
    /// The bytes are no index in canonical JSON.
    #[error("not an index of competitions: {0}")]
    Unreadable(String),
    /// The rules are not those that the index lists.
    #[error("the rules are not those of the index")]
    OtherRules,
}

impl CompetitionSet {
    /// The set of these versions, if everybody can have the same of each.
    pub fn new(competitions: Vec<Competition>) -> Result<Self, NotASet> {
        if competitions.is_empty() || competitions.len() > N_VERSIONS_MAX {
            return Err(NotASet::Number(competitions.len()));
        }
        competitions.iter().try_for_each(check)?;
        check_files(&competitions)?;
        Ok(Self { schedule: Schedule::new(competitions)? })
    }

    /// When each version holds.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The index of the set.
    pub fn index(&self) -> SetIndex {
        let listed = |rules: &Competition| Listed {
            name: rules.name.clone(),
            from_block: rules.from_block,
            rules: rules.digest(),
        };
        SetIndex { format: FORMAT, competitions: self.schedule.versions().map(listed).collect() }
    }

    /// Digest of the index, and so of all rules.
    pub fn digest(&self) -> Digest {
        self.index().digest()
    }

    /// Files that tokenizers of the set are in, with their digests, by name.
    pub fn tokenizer_files(&self) -> BTreeMap<&str, Digest> {
        self.schedule.versions().filter_map(tokenizer_file).collect()
    }

    /// The versions that make a schedule which is this one until `from`, and has the `wanted`
    /// competitions, and no others, from there on.
    ///
    /// What has not changed stays the version that it is. A competition that is wanted no longer
    /// ends at `from`, by a version that holds for one block. What no block from `now` on needs is
    /// left out.
    pub fn changed(&self, wanted: Vec<Competition>, now: Block, from: Block) -> Vec<Competition> {
        let holds = |rules: &&Competition| {
            let turns = self.schedule.versions().map(|rules| Block(rules.from_block));
            let mut turns = turns.chain([now]).filter(|turn| now <= *turn && *turn < from);
            turns.any(|turn| self.schedule.at(turn).any(|held| held == *rules))
        };
        let mut next: Vec<Competition> = self.schedule.versions().filter(holds).cloned().collect();
        // What would hold at `from` if nothing were published.
        let kept = Schedule::new(next.clone()).unwrap_or_default();
        for rules in kept.at(from).filter(|rules| wanted.iter().all(|w| w.name != rules.name)) {
            let until_block = Some(from.0.saturating_add(1));
            next.push(Competition { from_block: from.0, until_block, ..rules.clone() });
        }
        for rules in wanted {
            let stays = kept.at(from).any(|held| {
                let begun = held.from_block;
                *held == Competition { from_block: begun, ..rules.clone() }
            });
            if !stays {
                next.push(Competition { from_block: from.0, ..rules });
            }
        }
        next
    }
}

impl SetIndex {
    /// Reads what a stranger wrote; there is one text for each index, all others are refused.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotASet> {
        let refuse = |detail: &str| NotASet::Unreadable(detail.to_owned());
        if bytes.len() > INDEX_BYTES_MAX {
            return Err(refuse("too long"));
        }
        let index: Self =
            serde_json::from_slice(bytes).map_err(|error| refuse(&error.to_string()))?;
        if index.format != FORMAT {
            return Err(refuse("of another format"));
        }
        let n = index.competitions.len();
        if n == 0 || n > N_VERSIONS_MAX {
            return Err(NotASet::Number(n));
        }
        let is_sorted = index.competitions.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_sorted || index.to_json() != bytes {
            return Err(refuse("not in its canonical form"));
        }
        Ok(index)
    }

    /// The bytes that the digest is taken of.
    pub fn to_json(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// Digest of the index, and so of all rules.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// The versions, in order of name and first block.
    pub fn competitions(&self) -> &[Listed] {
        &self.competitions
    }

    /// The set of these rules, if they are those that the index lists.
    pub fn assemble(&self, rules: Vec<Competition>) -> Result<CompetitionSet, NotASet> {
        let set = CompetitionSet::new(rules)?;
        if set.index() == *self { Ok(set) } else { Err(NotASet::OtherRules) }
    }
}

impl SetCommitment {
    /// The text for the chain.
    pub fn to_text(&self) -> Result<String, Error> {
        let text = self.text();
        if text.len() > COMMITMENT_BYTES_MAX {
            let (repo, size_bytes) = (self.repo.clone(), text.len());
            return Err(Error::CommitmentTooLong { repo, size_bytes });
        }
        Ok(text)
    }

    fn text(&self) -> String {
        let Self { repo, revision, index } = self;
        format!("{TAG}{repo}:{revision}:{}", ContentHash(index.0))
    }

    /// Reads what stands on the chain; `None` for what is no such text. There is one text for each
    /// commitment.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > COMMITMENT_BYTES_MAX {
            return None;
        }
        let fields: Vec<&str> = str::from_utf8(text).ok()?.strip_prefix(TAG)?.split(':').collect();
        let [repo, revision, index] = fields[..] else { return None };
        let index: ContentHash = index.parse().ok()?;
        let found = Self {
            repo: repo.parse().ok()?,
            revision: revision.parse().ok()?,
            index: Digest(index.0),
        };
        (found.text().as_bytes() == text).then_some(found)
    }
}

/// Whether a competition is in range, and everybody can have the same of it.
fn check(rules: &Competition) -> Result<(), NotASet> {
    // What is out of range may have any name.
    let name = || crate::text::shown(&rules.name, FILE_NAME_BYTES_MAX);
    rules.check().map_err(|error| NotASet::Rules { name: name(), error })?;
    let size_bytes = rules.to_json().len();
    if size_bytes > RULES_BYTES_MAX {
        return Err(NotASet::TooLarge { name: name(), size_bytes });
    }
    let text = match &rules.dataset {
        DatasetRules::Generated { .. } => None,
        DatasetRules::Files { .. } => Some("its text lies on one machine and on no hub"),
        DatasetRules::Hub(dataset) => {
            dataset.pinned().is_none().then_some("its text is not pinned")
        }
    };
    let tokenizer = match &rules.text.tokenizer {
        // Training is a function of the text.
        TokenizerRules::Trained { .. } => None,
        TokenizerRules::Hub { sha256: Some(_), revision: Some(_), .. } => None,
        TokenizerRules::Hub { .. } => Some("its tokenizer is not pinned"),
        TokenizerRules::File { path, .. } => {
            (!is_file_name(path)).then_some("its tokenizer is not a plain `NAME.json` beside it")
        }
    };
    match text.or(tokenizer) {
        Some(lack) => Err(NotASet::NotForOthers { name: name(), lack }),
        None => Ok(()),
    }
}

/// Whether each name of a tokenizer's file stands for one file.
fn check_files(competitions: &[Competition]) -> Result<(), NotASet> {
    let mut known = BTreeMap::new();
    for (path, sha256) in competitions.iter().filter_map(tokenizer_file) {
        if known.insert(path, sha256).is_some_and(|before| before != sha256) {
            return Err(NotASet::OneFile(path.to_owned()));
        }
    }
    Ok(())
}

/// Whether a name is one of a file in the same folder, on every system.
fn is_file_name(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    name.len() <= FILE_NAME_BYTES_MAX
        && name.ends_with(".json")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(is_plain)
}

/// The file that the tokenizer of a competition is in, if it is in one.
fn tokenizer_file(rules: &Competition) -> Option<(&str, Digest)> {
    match &rules.text.tokenizer {
        TokenizerRules::File { path, sha256, .. } => Some((path.as_str(), *sha256)),
        TokenizerRules::Trained { .. } | TokenizerRules::Hub { .. } => None,
    }
}

#[cfg(test)]
mod tests;
