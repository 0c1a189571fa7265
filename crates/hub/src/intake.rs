//! The door for a stranger's model: list, limits, hash, quarantine, store; in this order.
//!
//! Nothing is parsed here and nothing is run. A model that is let in lies read-only in a folder
//! named by the digest of its files, so the same content is fetched once, whoever commits to it;
//! a file that several models have is fetched and stored once.
//!
//! ```text
//! models/<file root>/     the admitted files
//! files/<sha256>          the same files again, as further links to the same bytes
//! used/<file root>        when the model was last asked for, as a count
//! refused/<question>      the reason why a commitment, or whatever has these files, was refused
//! quarantine/             models being fetched; emptied when nobody fetches
//! lock                    held shared by everybody who fetches
//! ```

use crate::{
    Error, FileEntry, Hub,
    content::{CONFIG, Hashes, INDEX, Kind, N_FILES_MAX, kind, model_files, shard},
};
use protocol::{
    AccountId, Commitment, Competition, Digest, Reason, ReasonCode,
    competition::ModelLimits,
    content::{self, ContentHash},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

pub use crate::content::file_root;

mod shelf;

#[cfg(test)]
mod tests;

use shelf::Shelf;

/// Most bytes of a `config.json`.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of the index over the shards.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Models that passed the door, in a folder of their own.
///
/// Any number of threads and processes may use the folder at once. What one `Intake` has let in is
/// not thrown away by it for as long as it lives: open one for a round, and the models of the round
/// stay. When the disk is full, new models are an error, and all else goes on.
#[derive(Debug)]
pub struct Intake {
    shelf: Shelf,
}

/// A model that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Folder with exactly the admitted files, read-only.
    pub dir: PathBuf,
    /// Digest over names, sizes and bytes of the files.
    pub file_root: Digest,
    /// The reference's hash of the files, to compare with its commitments.
    pub reference_directory_hash: ContentHash,
    /// Bytes of the admitted files.
    pub size_bytes: u64,
}

impl Intake {
    /// Opens the store in `folder`, which is made if it is not there; it may grow until no more
    /// than [`RESERVE_BYTES`](crate::disk::RESERVE_BYTES) of the disk are left.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self { shelf: Shelf::open(folder)? })
    }

    /// Throws away the models asked for longest ago, so that all together have at most
    /// `quota_bytes`.
    pub fn with_quota(mut self, quota_bytes: u64) -> Self {
        self.shelf.quota_bytes = quota_bytes;
        self
    }

    /// Leaves at least `reserve_bytes` of the disk free.
    pub fn with_reserve(mut self, reserve_bytes: u64) -> Self {
        self.shelf.reserve_bytes = reserve_bytes;
        self
    }

    /// Keeps a model from being thrown away by us, whatever else is let in or refused.
    pub fn keep(&self, file_root: &Digest) {
        self.shelf.keep(file_root);
    }

    /// Remembers that files are refused under these rules, whoever commits to them, and throws them
    /// away unless they are to be kept.
    ///
    /// For what only reading the files can tell. Bytes that are no longer the admitted ones are an
    /// `Err`: whatever was read there says nothing about the committed ones.
    pub fn refuse(
        &self,
        competition: &Competition,
        admitted: &Admitted,
        reason: &Reason,
    ) -> Result<(), Error> {
        let Admitted { dir, file_root: root, .. } = admitted;
        if file_root(&crate::content::list_folder(dir)?) != *root {
            let reason = "it was changed while it was judged";
            return Err(Error::Damaged { name: dir.display().to_string(), reason });
        }
        self.shelf.refuse(&content_question(competition, root), reason)?;
        self.shelf.discard(root)
    }

    /// Lets the committed model in, or says which rule it breaks.
    ///
    /// A refusal is remembered, so that the hub is not asked again, except when the model is not
    /// there (it may come later). An `Err` is trouble of ours or of the hub, such as bytes that are
    /// not the listed ones.
    pub fn admit(
        &self,
        hub: &dyn Hub,
        competition: &Competition,
        hotkey: AccountId,
        commitment: &Commitment,
    ) -> Result<Result<Admitted, Reason>, Error> {
        let question = question(competition, hotkey, commitment);
        if let Some(reason) = self.shelf.refusal(&question)? {
            return Ok(Err(reason));
        }
        let Commitment { repo, revision, secure_hash, .. } = commitment;
        let Some(files) = hub.list(repo, revision)? else {
            let detail = format!("`{repo}@{revision}` is not on the hub");
            return Ok(Err(Reason::new(ReasonCode::NotPublished, detail)));
        };
        let refused = refusal(&files, &competition.model)
            .or_else(|| mismatch(&files, competition, hotkey, secure_hash));
        if let Some(reason) = refused {
            self.shelf.refuse(&question, &reason)?;
            return Ok(Err(reason));
        }
        let Hashes { file_root, reference_directory_hash, size_bytes } = Hashes::of(&files);
        if let Some(reason) = self.shelf.refusal(&content_question(competition, &file_root))? {
            return Ok(Err(reason));
        }
        let model: Vec<FileEntry> = model_files(&files).cloned().collect();
        let dir = match self.shelf.find(&file_root, &model)? {
            Some(dir) => dir,
            None => self.shelf.fetch(hub, commitment, &file_root, &model)?,
        };
        Ok(Ok(Admitted { dir, file_root, reference_directory_hash, size_bytes }))
    }
}

/// Everything that the refusal of a commitment depends on.
///
/// Without the hotkey, a stranger who commits to another's hash would have the owner refused.
fn question(competition: &Competition, hotkey: AccountId, commitment: &Commitment) -> Digest {
    let fields: [&[u8]; 6] = [
        commitment.repo.as_str().as_bytes(),
        commitment.revision.as_str().as_bytes(),
        &commitment.secure_hash.0,
        &hotkey.0,
        &competition.id.0.to_le_bytes(),
        &competition.model.size_bytes_max.to_le_bytes(),
    ];
    Digest::of_fields("agon intake", &fields)
}

/// Everything that the refusal of files depends on, whoever commits to them.
fn content_question(competition: &Competition, file_root: &Digest) -> Digest {
    Digest::of_fields("agon content intake", &[&file_root.0, &competition.digest().0])
}

/// Why the listed files are not admitted, if they are not; no byte of them is needed to tell.
pub fn refusal(files: &[FileEntry], limits: &ModelLimits) -> Option<Reason> {
    let refuse = |detail: String| Some(Reason::new(ReasonCode::FileRefused, detail));
    if files.len() > N_FILES_MAX {
        return refuse(format!("{} files, more than {N_FILES_MAX}", files.len()));
    }
    if let Some(file) = files.iter().find(|file| kind(&file.path) == Kind::Refused) {
        return refuse(format!("`{}` is not admitted in a model", file.path.escape_default()));
    }
    let mut seen = BTreeSet::new();
    // Names that differ in case alone are one file on some systems.
    if let Some(file) = files.iter().find(|file| !seen.insert(file.path.to_ascii_lowercase())) {
        return refuse(format!("`{}` is there twice", file.path));
    }
    let size_bytes: u128 = files.iter().map(|file| u128::from(file.size_bytes)).sum();
    if size_bytes > u128::from(limits.size_bytes_max) {
        let detail = format!("{size_bytes} bytes, more than {}", limits.size_bytes_max);
        return Some(Reason::new(ReasonCode::TooLarge, detail));
    }
    for (path, size_bytes_max) in [(CONFIG, CONFIG_BYTES_MAX), (INDEX, INDEX_BYTES_MAX)] {
        if files.iter().any(|file| file.path == path && file.size_bytes > size_bytes_max) {
            return refuse(format!("`{path}` has more than {size_bytes_max} bytes"));
        }
    }
    incomplete(files).and_then(refuse)
}

/// What is missing for a model, or too much: there must be one way to read it.
fn incomplete(files: &[FileEntry]) -> Option<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    if !has(CONFIG) {
        return Some(format!("`{CONFIG}` is missing"));
    }
    let whole = "model.safetensors";
    let shards: BTreeSet<(u32, u32)> = files
        .iter()
        .filter(|file| file.path != whole)
        .filter_map(|file| shard(&file.path))
        .collect();
    let Some((_, n_shards)) = shards.first().copied() else {
        return match (has(whole), has(INDEX)) {
            (false, _) => Some(format!("`{whole}` is missing")),
            (true, true) => Some(format!("`{INDEX}` is there, but no shards")),
            (true, false) => None,
        };
    };
    if has(whole) {
        return Some(format!("`{whole}` is there beside shards"));
    }
    if !has(INDEX) {
        return Some(format!("`{INDEX}` is missing"));
    }
    let are_numbered = (1..).zip(&shards).all(|(i, shard)| *shard == (i, n_shards));
    let is_complete = are_numbered && shards.len() as u64 == u64::from(n_shards);
    (!is_complete).then(|| format!("there are {} of {n_shards} shards", shards.len()))
}

fn mismatch(
    files: &[FileEntry],
    competition: &Competition,
    hotkey: AccountId,
    committed: &ContentHash,
) -> Option<Reason> {
    let found = content::bound_hash(&file_root(files), &hotkey, competition.id);
    (found != *committed).then(|| {
        let detail = format!("the files give `{found}` for this hotkey, not `{committed}`");
        Reason::new(ReasonCode::HashMismatch, detail)
    })
}
