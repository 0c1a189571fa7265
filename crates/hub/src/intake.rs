//! The door for a stranger's model: list, limits, hash, config and index, quarantine, store; in
//! this order.
//!
//! Nothing is run here, and nothing is parsed but the names in an index. Between config and index
//! and the parameters the caller may look at a [`Preview`], so that no parameter of a hopeless
//! model is fetched. A model that is let in lies read-only in a folder named by the digest of its
//! files, so the same content is fetched once, whoever commits to it; a file that several models
//! have is fetched and stored once.
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
    content::{Hashes, Kind, kind, model_files, shards_of_index},
};
use protocol::{
    AccountId, Commitment, Competition, Digest, Reason, ReasonCode,
    competition::ModelLimits,
    content::{self, ContentHash},
    files::{CONFIG, CONFIG_BYTES_MAX, INDEX, INDEX_BYTES_MAX, N_FILES_MAX, SINGLE, is_shard_name},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

pub use crate::content::file_root;
pub use preview::Preview;

mod incoming;
mod preview;
mod shelf;

#[cfg(test)]
mod tests;

use shelf::{Origin, Shelf};

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

/// A model that nothing speaks against so far, of which the parameters may not be here.
#[derive(Debug)]
pub struct Found {
    commitment: Commitment,
    listed: Listed,
    place: Where,
}

/// What a hub lists of a model that nothing speaks against so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The files of the model.
    pub files: Vec<FileEntry>,
    /// Digest over names, sizes and bytes of the files.
    pub file_root: Digest,
    /// The reference's hash of the files, to compare with its commitments.
    pub reference_directory_hash: ContentHash,
    /// Bytes of the files.
    pub size_bytes: u64,
}

#[derive(Debug)]
enum Where {
    /// All of it is here.
    Here(PathBuf),
    /// Config and index are here, in quarantine.
    Away(TempDir),
}

impl Found {
    /// Whether all of it is here already.
    pub fn is_here(&self) -> bool {
        matches!(self.place, Where::Here(_))
    }

    /// Bytes of its files.
    pub fn size_bytes(&self) -> u64 {
        self.listed.size_bytes
    }
}

impl Intake {
    /// Opens the store in `folder`, which is made if it is not there; it may grow until no more
    /// than [`RESERVE_BYTES`](disk::RESERVE_BYTES) of the disk are left.
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
        // Remembered before the files go: the other way round a crash would have them fetched
        // again.
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
        match self.find(hub, competition, hotkey, commitment)? {
            Ok(found) => self.fetch(hub, found).map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// What is listed of the committed model now, if it may be a model of the competition.
    ///
    /// Nothing but the list is asked for.
    pub fn look(
        &self,
        hub: &dyn Hub,
        competition: &Competition,
        hotkey: AccountId,
        commitment: &Commitment,
    ) -> Result<Result<Listed, Reason>, Error> {
        let Commitment { repo, revision, .. } = commitment;
        let Some(files) = committed(hub, competition, hotkey, commitment)? else {
            let detail = format!("`{repo}@{revision}` is not on the hub");
            return Ok(Err(Reason::new(ReasonCode::NotPublished, detail)));
        };
        if let Some(reason) = refusal(&files, &competition.model)
            .or_else(|| mismatch(&files, competition, hotkey, commitment))
        {
            return Ok(Err(reason));
        }
        // The hash is over what is listed: it is compared before anything is fetched, and the bytes
        // are compared with the list when they come.
        let Hashes { file_root, reference_directory_hash, size_bytes } = Hashes::of(&files);
        let files = model_files(&files).cloned().collect();
        Ok(Ok(Listed { files, file_root, reference_directory_hash, size_bytes }))
    }

    /// The first half of [`Intake::admit`]: all that can be told before parameters are fetched.
    ///
    /// Of a model that is not here only config and index are asked for.
    pub fn find(
        &self,
        hub: &dyn Hub,
        competition: &Competition,
        hotkey: AccountId,
        commitment: &Commitment,
    ) -> Result<Result<Found, Reason>, Error> {
        // What is remembered of the commitment costs no request at all.
        let question = question(competition, hotkey, commitment);
        if let Some(reason) = self.shelf.refusal(&question)? {
            return Ok(Err(reason));
        }
        let refuse = |reason: Reason| {
            self.shelf.refuse(&question, &reason)?;
            Ok(Err(reason))
        };
        let listed = match self.look(hub, competition, hotkey, commitment)? {
            Ok(listed) => listed,
            // It may come later.
            Err(reason) if reason.code == ReasonCode::NotPublished => return Ok(Err(reason)),
            Err(reason) => return refuse(reason),
        };
        // What is remembered of the files costs no byte of them, whoever commits to them.
        let Listed { files, file_root, .. } = &listed;
        if let Some(reason) = self.shelf.refusal(&content_question(competition, file_root))? {
            return Ok(Err(reason));
        }
        let place = match self.shelf.find(file_root, files)? {
            Some(dir) => Where::Here(dir),
            None => Where::Away(self.shelf.begin(Origin { hub, commitment }, files)?),
        };
        if let Where::Away(quarantine) = &place
            && let Some(reason) = stray(quarantine.path(), files)?
        {
            return refuse(reason);
        }
        Ok(Ok(Found { commitment: commitment.clone(), listed, place }))
    }

    /// Where a model of this root lies, if it is here.
    pub fn place(&self, file_root: &Digest) -> PathBuf {
        self.shelf.model(&file_root.hex())
    }

    /// Bytes of the files of a model that is here.
    pub fn size_bytes(&self, file_root: &Digest) -> u64 {
        self.shelf.size_bytes(file_root)
    }

    /// Throws away all models but these.
    pub fn retain(&self, file_roots: &BTreeSet<Digest>) -> Result<(), Error> {
        self.shelf.retain(file_roots)
    }

    /// Whether the hub gives the first parameters of a model that is here as they are here.
    pub fn is_delivered(&self, hub: &dyn Hub, commitment: &Commitment, root: &Digest) -> bool {
        self.shelf.is_delivered(hub, commitment, root)
    }

    /// The second half of [`Intake::admit`]: fetches what is not here.
    pub fn fetch(&self, hub: &dyn Hub, found: Found) -> Result<Admitted, Error> {
        let Found { commitment, listed, place } = found;
        let Listed { files, file_root, reference_directory_hash, size_bytes } = listed;
        let dir = match place {
            Where::Here(dir) => dir,
            Where::Away(quarantine) => {
                let origin = Origin { hub, commitment: &commitment };
                self.shelf.fetch(origin, quarantine.path(), &file_root, &files)?
            }
        };
        Ok(Admitted { dir, file_root, reference_directory_hash, size_bytes })
    }
}

/// The files of the committed revision; `None` where there is no such thing.
///
/// What contradicts the commitment is asked for a second time: a verdict that is remembered rests
/// on two answers that agree, and answers that do not are trouble of the hub.
fn committed(
    hub: &dyn Hub,
    competition: &Competition,
    hotkey: AccountId,
    commitment: &Commitment,
) -> Result<Option<Vec<FileEntry>>, Error> {
    let Commitment { repo, revision, .. } = commitment;
    let Some(files) = hub.list(repo, revision)? else { return Ok(None) };
    if mismatch(&files, competition, hotkey, commitment).is_none()
        || hub.list(repo, revision)?.as_ref() == Some(&files)
    {
        return Ok(Some(files));
    }
    let reason = "the hub lists other files each time it is asked";
    Err(Error::damaged(repo, revision, "", reason))
}

/// Why parameters are not those that the index names, if they are not.
fn stray(quarantine: &Path, files: &[FileEntry]) -> Result<Option<Reason>, Error> {
    if !files.iter().any(|file| file.path == INDEX) {
        return Ok(None);
    }
    let path = quarantine.join(INDEX);
    let index = fs::read(&path).map_err(Error::io("read", &path))?;
    let is_listed = |name: &String| files.iter().any(|file| file.path == **name);
    let detail = match shards_of_index(&index) {
        Err(detail) => Some(detail),
        Ok(named) => {
            let mut shards = files.iter().filter(|file| is_shard_name(&file.path));
            let extra = shards.find(|shard| !named.contains(&shard.path));
            let missing = named.iter().find(|name| !is_listed(name));
            match (extra, missing) {
                (Some(extra), _) => Some(format!("`{INDEX}` does not name `{}`", extra.path)),
                (None, Some(missing)) => Some(format!("`{missing}` of `{INDEX}` is missing")),
                (None, None) => None,
            }
        }
    };
    Ok(detail.map(|detail| Reason::new(ReasonCode::FileRefused, detail)))
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
    // The number first, then names, then sizes: each check bounds what the next one costs.
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
    if let Some(file) = model_files(files).find(|file| file.sha256 == Digest([0; 32])) {
        return refuse(format!("the hub lists no digest of `{}`", file.path));
    }
    incomplete(files).and_then(refuse)
}

/// What is missing for a model, or too much, by the names alone: there must be one way to read it.
fn incomplete(files: &[FileEntry]) -> Option<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    if !has(CONFIG) {
        return Some(format!("`{CONFIG}` is missing"));
    }
    let shard = files.iter().find(|file| is_shard_name(&file.path) && file.path != SINGLE);
    match (shard, has(SINGLE), has(INDEX)) {
        (None, true, false) | (Some(_), false, true) => None,
        (None, false, _) => Some(format!("`{SINGLE}` is missing")),
        (None, true, true) => Some(format!("`{INDEX}` is there, but no shards")),
        (Some(shard), true, _) => Some(format!("`{SINGLE}` is there beside `{}`", shard.path)),
        (Some(_), false, false) => Some(format!("`{INDEX}` is missing")),
    }
}

fn mismatch(
    files: &[FileEntry],
    competition: &Competition,
    hotkey: AccountId,
    commitment: &Commitment,
) -> Option<Reason> {
    let found = content::bound_hash(&file_root(files), &hotkey, competition.id);
    let committed = &commitment.secure_hash;
    (found != *committed).then(|| {
        let detail = format!("the files give `{found}` for this hotkey, not `{committed}`");
        Reason::new(ReasonCode::HashMismatch, detail)
    })
}
