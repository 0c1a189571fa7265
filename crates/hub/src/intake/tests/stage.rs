//! A hub that lies, and a door before it.

use super::*;
use crate::Part;

pub(super) const OWNER: AccountId = AccountId([1; 32]);
pub(super) const MODEL: [(&str, &str); 2] =
    [("config.json", "{}"), ("model.safetensors", "parameters")];

pub(super) fn repo() -> Repo {
    "acme/model".parse().unwrap()
}

pub(super) fn competition() -> Competition {
    let mut competition = Competition::builtin("tiny").unwrap();
    competition.model.size_bytes_max = 1_000;
    competition
}

pub(super) fn revision() -> Revision {
    "a".repeat(40).parse().unwrap()
}

/// What a hub lists and what it gives; the two need not agree.
#[derive(Default)]
pub(super) struct LyingHub {
    pub(super) listed: Mutex<Vec<FileEntry>>,
    pub(super) bodies: Mutex<Vec<(String, Vec<u8>)>>,
    /// Bodies are written whole, whatever the cap says.
    pub(super) ignores_caps: bool,
    /// Giving a file of this name fails with a full disk, when half of it is written.
    pub(super) fills_disk_at: Option<String>,
    /// Each try brings so many bytes of a file more, and then breaks off.
    pub(super) breaks_off_after: Option<usize>,
    /// Files are made as links to here.
    pub(super) links_to: Option<PathBuf>,
    pub(super) fetched: Mutex<Vec<String>>,
    pub(super) n_lists: Mutex<usize>,
    /// What the first list says instead, as if it had been damaged on its way.
    pub(super) listed_first: Mutex<Option<Vec<FileEntry>>>,
    /// Bytes of parts that were asked for.
    pub(super) n_part_bytes: Mutex<usize>,
    /// Each part has another first byte than the one before.
    pub(super) wavers: bool,
}

impl LyingHub {
    /// Honest about these files.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let hub = Self::default();
        for (path, text) in files {
            hub.add(path, text);
        }
        hub
    }

    pub(super) fn add(&self, path: &str, text: &str) {
        let entry = FileEntry {
            path: path.to_owned(),
            size_bytes: text.len() as u64,
            sha256: Digest::of(text.as_bytes()),
        };
        self.listed.lock().unwrap().push(entry);
        self.bodies.lock().unwrap().push((path.to_owned(), text.as_bytes().to_vec()));
    }

    /// From now on gives other bytes than it lists.
    pub(super) fn swap(&self, path: &str, text: &str) {
        let mut bodies = self.bodies.lock().unwrap();
        bodies.iter_mut().find(|(name, _)| name == path).unwrap().1 = text.as_bytes().to_vec();
    }

    pub(super) fn commitment(&self, hotkey: AccountId, competition: &Competition) -> Commitment {
        let root = file_root(&self.listed.lock().unwrap());
        Commitment {
            repo: repo(),
            revision: revision(),
            secure_hash: content::bound_hash(&root, &hotkey, competition.id),
            competition: competition.id,
        }
    }

    pub(super) fn fetched(&self) -> Vec<String> {
        std::mem::take(&mut self.fetched.lock().unwrap())
    }
}

impl Hub for LyingHub {
    fn publish(&self, _: &Repo, _: &Path) -> Result<Revision, Error> {
        Ok(revision())
    }

    fn latest(&self, _: &Repo) -> Result<Option<Revision>, Error> {
        Ok(Some(revision()))
    }

    fn list(&self, _: &Repo, _: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        *self.n_lists.lock().unwrap() += 1;
        if let Some(first) = self.listed_first.lock().unwrap().take() {
            return Ok(Some(first));
        }
        let listed = self.listed.lock().unwrap().clone();
        Ok(if listed.is_empty() { None } else { Some(listed) })
    }

    fn fetch(&self, _: &Repo, _: &Revision, path: &str, to: &Path, cap: u64) -> Result<(), Error> {
        self.fetched.lock().unwrap().push(path.to_owned());
        if let Some(target) = &self.links_to {
            symlink(target, to).unwrap();
            return Ok(());
        }
        let bodies = self.bodies.lock().unwrap();
        let body = &bodies.iter().find(|(name, _)| name == path).unwrap().1;
        if self.fills_disk_at.as_deref() == Some(path) {
            fs::write(to, &body[..body.len() / 2]).unwrap();
            return Err(Error::io("write", to)(std::io::ErrorKind::StorageFull.into()));
        }
        if let Some(n) = self.breaks_off_after {
            return come_in_pieces(body, n, to);
        }
        let cap = if self.ignores_caps { usize::MAX } else { cap as usize };
        fs::write(to, &body[..body.len().min(cap)]).map_err(Error::io("write", to))
    }

    fn read_part(&self, _: &Repo, _: &Revision, part: &Part<'_>) -> Result<Vec<u8>, Error> {
        *self.n_part_bytes.lock().unwrap() += part.n_bytes;
        let bodies = self.bodies.lock().unwrap();
        let body = &bodies.iter().find(|(name, _)| name == part.path).unwrap().1;
        let start = usize::try_from(part.offset).unwrap();
        let mut bytes = body[start..][..part.n_bytes].to_vec();
        if self.wavers {
            bytes[0] = *self.n_part_bytes.lock().unwrap() as u8;
        }
        Ok(bytes)
    }
}

pub(super) struct Door {
    pub(super) intake: Intake,
    pub(super) folder: PathBuf,
    pub(super) competition: Competition,
    pub(super) _dir: TempDir,
}

impl Door {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models");
        let intake = Intake::open(&folder).unwrap();
        Self { intake, folder, competition: competition(), _dir: dir }
    }

    pub(super) fn admit(&self, hub: &LyingHub) -> Result<Result<Admitted, Reason>, Error> {
        let commitment = hub.commitment(OWNER, &self.competition);
        self.intake.admit(hub, &self.competition, OWNER, &commitment)
    }

    /// The rule that is broken, when nothing may be fetched to see it.
    pub(super) fn refused(&self, hub: &LyingHub) -> ReasonCode {
        let reason = self.admit(hub).unwrap().unwrap_err();
        assert!(hub.fetched().is_empty(), "something was fetched: {reason}");
        assert!(reason.detail.is_ascii(), "{reason}");
        self.assert_nothing_admitted();
        reason.code
    }

    pub(super) fn assert_nothing_admitted(&self) {
        for part in ["models", "files", "quarantine"] {
            assert_eq!(fs::read_dir(self.folder.join(part)).unwrap().count(), 0, "{part}");
        }
    }
}

pub(super) fn with_extra(path: &str) -> LyingHub {
    let hub = LyingHub::with(&MODEL);
    hub.add(path, "x");
    hub
}

/// What a client does whose connection breaks off: what came lies beside the file until all has
/// come.
fn come_in_pieces(body: &[u8], n: usize, to: &Path) -> Result<(), Error> {
    assert!(!to.exists(), "`{}` is there", to.display());
    let part = to.with_file_name(".part");
    let mut came = fs::read(&part).unwrap_or_default();
    let end = body.len().min(came.len() + n);
    came.extend_from_slice(&body[came.len()..end]);
    fs::write(&part, came).unwrap();
    if end < body.len() {
        return Err(Error::Unavailable("it broke off".to_owned()));
    }
    fs::rename(part, to).map_err(Error::io("write", to))
}

/// An index that names these files.
pub(super) fn index(shards: &[&str]) -> String {
    let entries = shards.iter().enumerate().map(|(i, shard)| format!("\"{i}\":\"{shard}\""));
    format!("{{\"weight_map\":{{{}}}}}", entries.collect::<Vec<_>>().join(","))
}
