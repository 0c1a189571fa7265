//! Folders that become revisions: large files go before the commit, small ones in it.

use super::{
    HubClient, Listed, Pinned, RepoKind,
    http::{JSON, json},
    listed::git_hash_of,
    wire,
};
use crate::Folder;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hub::{Error, FileEntry};
use protocol::{Repo, Revision};
use reqwest::Method;
use serde::de::IgnoredAny;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// First bytes of a file by which a hub may tell what it is.
const SAMPLE_BYTES: u64 = 512;
/// Files of one request.
pub(super) const FILES_PER_REQUEST: usize = 100;
/// Largest file that travels in a commit, even if a hub asks for larger ones.
const REGULAR_BYTES_MAX: u64 = 16 << 20;
const LINES: &str = "application/x-ndjson";

/// What an upload is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hashing the files, because a hub wants to know what comes.
    Hash,
    /// Sending the large files that the hub does not have.
    Send,
}

/// What becomes of files of a repo that a folder does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They go, but for hidden ones.
    Deleted,
    /// They stay, and are not even listed.
    Kept,
}

/// A folder to be published.
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    /// What the repo holds.
    pub kind: RepoKind,
    /// Its name.
    pub repo: &'a Repo,
    /// The folder, of which what is left out stays here.
    pub folder: &'a Folder,
    /// What becomes of other files of the repo.
    pub others: Others,
    /// Whether a new repo is private; one that is there stays as it is.
    pub is_private: bool,
    /// First line of the commit.
    pub message: &'a str,
    /// Told how many bytes a step has done, of all that it must; `false` stops the upload.
    pub progress: &'a (dyn Fn(Step, u64, u64) -> bool + Sync),
}

impl<'a> Upload<'a> {
    /// The files of a folder, which become all files of the repo.
    pub fn new(kind: RepoKind, repo: &'a Repo, folder: &'a Folder) -> Self {
        Self {
            kind,
            repo,
            folder,
            others: Others::Deleted,
            is_private: false,
            message: "Upload with agon",
            progress: &|_, _, _| true,
        }
    }

    /// Where a file of the folder is.
    pub(super) fn path_of(&self, file: &FileEntry) -> PathBuf {
        self.folder.path_of(&file.path)
    }
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The revision that has the files.
    pub revision: Revision,
    /// Files that the folder's `.gitignore` keeps here, as the hub reads it.
    pub ignored: Vec<String>,
}

impl HubClient {
    /// Makes the files of a folder those of the repo, or adds them to those, in one commit, and
    /// gives its revision.
    ///
    /// The repo is made if it is not there. Files that the hub has are not sent again, and a folder
    /// that the hub has gives the revision that it has. Hidden files of the repo stay.
    pub fn upload(&self, upload: &Upload<'_>) -> Result<Uploaded, Error> {
        self.http.needs_token()?;
        let hashed = |done, all| (upload.progress)(Step::Hash, done, all);
        // All that can be told here comes before the hub is asked for anything: a folder that
        // cannot be published leaves no empty repo behind.
        let local = upload.folder.list(&hashed)?;
        self.create(upload.kind, upload.repo, upload.is_private)?;
        match self.upload_changes(upload, &local) {
            // Somebody else was faster, or it was us and the answer was lost: look again.
            Err(Error::Refused { status: 412, .. }) => self.upload_changes(upload, &local),
            uploaded => uploaded,
        }
    }

    /// Sends what the hub does not have, and commits it if there is anything.
    fn upload_changes(&self, upload: &Upload<'_>, local: &[FileEntry]) -> Result<Uploaded, Error> {
        let Upload { kind, repo, .. } = *upload;
        // The commit says what it changes; if it is not this any more, the hub refuses it.
        let head = self.resolve(kind, repo, "main")?;
        let here: BTreeSet<&str> = local.iter().map(|local| local.path.as_str()).collect();
        let listed = match (&head, upload.others) {
            (None, _) => Vec::new(),
            (Some(revision), Others::Deleted) => {
                self.files(Pinned { kind, repo, revision })?.unwrap_or_default()
            }
            (Some(revision), Others::Kept) => {
                let paths: Vec<&str> = here.iter().copied().collect();
                self.files_of(Pinned { kind, repo, revision }, &paths)?
            }
        };
        let stays = |file: &&Listed| file.path.starts_with('.') || here.contains(&*file.path);
        let deleted: Vec<&Listed> = listed.iter().filter(|file| !stays(file)).collect();
        let there: BTreeMap<&str, &Listed> =
            listed.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut changed = Vec::new();
        for local in local {
            let is_there = match there.get(local.path.as_str()) {
                Some(there) => is_same(&upload.path_of(local), there, local)?,
                None => false,
            };
            if !is_there {
                changed.push(local);
            }
        }
        // The hub says how each file has to be sent, so it is asked before any byte of one is.
        let sorted = self.sort(upload, changed)?;
        let ignored = sorted.ignored.iter().map(|local| local.path.clone()).collect();
        if let (true, true, Some(head)) = (sorted.changed.is_empty(), deleted.is_empty(), &head) {
            return Ok(Uploaded { revision: head.clone(), ignored });
        }
        // The bytes first: a commit that names what the hub does not have is refused.
        self.send_large(upload, &sorted.large)?;
        let revision = self.commit(upload, head.as_ref(), &sorted, &deleted)?;
        Ok(Uploaded { revision, ignored })
    }

    /// Makes a repo, unless it is there.
    pub fn create(&self, kind: RepoKind, repo: &Repo, is_private: bool) -> Result<(), Error> {
        self.http.needs_token()?;
        let (organization, name) = repo.parts();
        let request = wire::NewRepo {
            name,
            organization,
            kind: kind.in_requests(),
            private: is_private,
            visibility: visibility(is_private),
        };
        let made: Result<IgnoredAny, Error> =
            self.post((&Method::POST, "/api/repos/create"), JSON, &request);
        match made {
            Ok(IgnoredAny) | Err(Error::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets everybody see a repo, or nobody.
    pub fn set_private(&self, kind: RepoKind, repo: &Repo, is_private: bool) -> Result<(), Error> {
        self.http.needs_token()?;
        let path = format!("/api/{}/{repo}/settings", kind.in_api());
        let settings = wire::Settings { private: is_private, visibility: visibility(is_private) };
        self.post::<IgnoredAny>((&Method::PUT, &path), JSON, &settings).map(drop)
    }

    /// Asks the hub which of the files are large, and which are to be ignored.
    fn sort<'a>(
        &self,
        upload: &Upload<'_>,
        files: Vec<&'a FileEntry>,
    ) -> Result<Sorted<'a>, Error> {
        let Upload { kind, repo, .. } = *upload;
        let path = format!("/api/{}/{repo}/preupload/main", kind.in_api());
        let git_ignore = upload.folder.gitignore()?;
        let mut modes = BTreeMap::new();
        for files in files.chunks(FILES_PER_REQUEST) {
            let file = |local: &&'a FileEntry| {
                let mut sample = Vec::new();
                let on_disk = upload.path_of(local);
                let read = File::open(&on_disk)
                    .and_then(|file| file.take(SAMPLE_BYTES).read_to_end(&mut sample));
                read.map_err(Error::io("read", &on_disk))?;
                let (path, size) = (local.path.as_str(), local.size_bytes);
                Ok(wire::PreuploadFile { path, sample: BASE64.encode(sample), size })
            };
            let files = files.iter().map(file).collect::<Result<_, Error>>()?;
            let asked = wire::Preupload { files, git_ignore: git_ignore.as_deref() };
            let answer: wire::Modes = self.post((&Method::POST, &path), JSON, &asked)?;
            modes.extend(answer.files.into_iter().map(|mode| (mode.path.clone(), mode)));
        }
        let mut sorted = Sorted::default();
        for local in files {
            let mode = modes.get(&local.path);
            // A hub that ignores what it was not told to would lose files in silence.
            if git_ignore.is_some() && mode.is_some_and(|mode| mode.should_ignore) {
                sorted.ignored.push(local);
                continue;
            }
            let is_large = mode.is_some_and(|mode| mode.upload_mode == "lfs");
            // Of nothing there is nothing to send, whatever a hub says.
            if local.size_bytes > REGULAR_BYTES_MAX || (is_large && local.size_bytes > 0) {
                sorted.large.push(local);
            }
            sorted.changed.push(local);
        }
        Ok(sorted)
    }

    /// Makes the revision.
    fn commit(
        &self,
        upload: &Upload<'_>,
        parent: Option<&Revision>,
        sorted: &Sorted<'_>,
        deleted: &[&Listed],
    ) -> Result<Revision, Error> {
        let Sorted { changed, large, ignored: _ } = sorted;
        let Upload { kind, repo, message, .. } = *upload;
        let mut lines = vec![wire::Line::Header {
            summary: message,
            description: "",
            parent_commit: parent.map(Revision::as_str),
        }];
        for local in changed {
            let FileEntry { path, size_bytes, sha256 } = local;
            if large.iter().any(|large| large.path == *path) {
                let (oid, size) = (sha256.hex(), *size_bytes);
                lines.push(wire::Line::LfsFile { path, algo: "sha256", oid, size });
            } else {
                let on_disk = upload.path_of(local);
                let bytes = std::fs::read(&on_disk).map_err(Error::io("read", &on_disk))?;
                let content = BASE64.encode(bytes);
                lines.push(wire::Line::File { path, content, encoding: "base64" });
            }
        }
        lines.extend(deleted.iter().map(|file| wire::Line::DeletedFile { path: &file.path }));
        let mut body = Vec::new();
        for line in &lines {
            body.extend(json(line)?);
            body.push(b'\n');
        }
        let path = format!("/api/{}/{repo}/commit/main", kind.in_api());
        let answer: wire::Committed =
            self.http.post_json((&Method::POST, &path), (LINES, &body))?;
        let revision = answer.commit_oid.parse();
        revision.map_err(|_| self.http.nonsense(&path, "names no revision"))
    }

    pub(super) fn post<T: serde::de::DeserializeOwned>(
        &self,
        to: (&Method, &str),
        kind: &'static str,
        body: &impl serde::Serialize,
    ) -> Result<T, Error> {
        self.http.post_json(to, (kind, &json(body)?))
    }
}

/// What is to become of files that the hub does not have.
#[derive(Default)]
struct Sorted<'a> {
    /// All that are to be sent.
    changed: Vec<&'a FileEntry>,
    /// Those of them that do not travel in the commit.
    large: Vec<&'a FileEntry>,
    /// Those that stay here.
    ignored: Vec<&'a FileEntry>,
}

/// Whether the hub has a file of the folder; nothing is fetched to tell.
fn is_same(on_disk: &Path, there: &Listed, local: &FileEntry) -> Result<bool, Error> {
    if there.size_bytes != local.size_bytes {
        return Ok(false);
    }
    match (there.sha256, there.git) {
        (Some(sha256), _) => Ok(sha256 == local.sha256),
        (None, Some(git)) => {
            let own = git_hash_of(on_disk, local.size_bytes).map_err(Error::io("read", on_disk))?;
            Ok(own == git)
        }
        (None, None) => Ok(false),
    }
}

fn visibility(is_private: bool) -> &'static str {
    if is_private { "private" } else { "public" }
}
