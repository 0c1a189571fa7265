//! What a validator says on the chain: which records it has published, and which commitments it
//! has the bytes of.

use protocol::{
    Block, Digest, Error, Repo,
    commitment::COMMITMENT_BYTES_MAX,
    publication::{Seen, Slots},
};

/// What the text on the chain begins with: no commitment of a miner has these two fields.
const TAG: &str = "agon-records:1:";

/// What the packed form begins with: no text has its last byte.
const PACKED_TAG: &[u8] = b"agon-2\xff";

/// What a validator commits to: the records that it had published at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCommitment {
    /// Dataset repo that holds the records.
    pub repo: Repo,
    /// [`crate::Index::root`] of the index of that time.
    pub root: Digest,
}

/// All that a validator says on the chain, in the one commitment that its hotkey has.
///
/// Without [`Seen`] it is text; with it, packed: the tag, the block (4 bytes, little-endian), the
/// length of the repo's name, the name and the root, if there is one, and the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Its records, where it publishes them.
    pub records: Option<RootCommitment>,
    /// The commitments that it has the bytes of, where a competition asks for that.
    pub seen: Option<Seen>,
}

impl RootCommitment {
    /// Reads what stands on the chain; `None` for what names no records. There is one form of each
    /// statement.
    pub fn parse(data: &[u8]) -> Option<Self> {
        Statement::parse(data)?.records
    }

    fn text(&self) -> String {
        let Self { repo, root } = self;
        format!("{TAG}{repo}:{}", root.hex())
    }

    fn parse_text(data: &[u8]) -> Option<Self> {
        let fields: Vec<&str> = str::from_utf8(data).ok()?.strip_prefix(TAG)?.split(':').collect();
        let [repo, root] = fields[..] else { return None };
        let found = Self { repo: repo.parse().ok()?, root: format!("sha256:{root}").parse().ok()? };
        (found.text().as_bytes() == data).then_some(found)
    }
}

impl Statement {
    /// The bytes for the chain; a repo with a long name does not fit into them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = self.bytes();
        if let Some(RootCommitment { repo, .. }) = &self.records
            && bytes.len() > COMMITMENT_BYTES_MAX
        {
            return Err(Error::CommitmentTooLong { repo: repo.clone(), size_bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// The same with all slots there can be: whether it fits, whatever is seen later.
    pub fn fits(&self) -> Result<(), Error> {
        let seen = self.seen.as_ref().map(|seen| {
            let slots = Slots::from_bytes(&[u8::MAX; protocol::publication::SLOTS_MAX / 8]);
            Seen { as_of: seen.as_of, slots: slots.unwrap_or_default() }
        });
        Self { records: self.records.clone(), seen }.to_bytes().map(drop)
    }

    fn bytes(&self) -> Vec<u8> {
        let Some(Seen { as_of, slots }) = &self.seen else {
            return self.records.as_ref().map(RootCommitment::text).unwrap_or_default().into();
        };
        let mut bytes = Vec::with_capacity(COMMITMENT_BYTES_MAX);
        bytes.extend(PACKED_TAG);
        // A chain has no more than 2^32 blocks: its own numbers are as wide.
        bytes.extend(u32::try_from(as_of.0).unwrap_or(u32::MAX).to_le_bytes());
        let name = self.records.as_ref().map(|records| records.repo.to_string());
        let name = name.unwrap_or_default();
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend(name.as_bytes());
        if let Some(RootCommitment { root, .. }) = &self.records {
            bytes.extend(root.0);
        }
        bytes.extend(slots.as_bytes());
        bytes
    }

    /// Reads what stands on the chain; `None` for what no validator says. There is one form of each
    /// statement.
    pub fn parse(data: &[u8]) -> Option<Self> {
        if data.len() > COMMITMENT_BYTES_MAX {
            return None;
        }
        let Some(packed) = data.strip_prefix(PACKED_TAG) else {
            let records = Some(RootCommitment::parse_text(data)?);
            return Some(Self { records, seen: None });
        };
        let (as_of, packed) = packed.split_first_chunk()?;
        let (length, packed) = packed.split_first()?;
        let (name, packed) = packed.split_at_checked(usize::from(*length))?;
        let (records, slots) = if name.is_empty() {
            (None, packed)
        } else {
            let (root, slots) = packed.split_first_chunk()?;
            let repo = str::from_utf8(name).ok()?.parse().ok()?;
            (Some(RootCommitment { repo, root: Digest(*root) }), slots)
        };
        let as_of = Block(u32::from_le_bytes(*as_of).into());
        let seen = Some(Seen { as_of, slots: Slots::from_bytes(slots)? });
        let found = Self { records, seen };
        (found.bytes() == data).then_some(found)
    }
}
