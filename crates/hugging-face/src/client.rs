//! The client of hubs that speak Hugging Face's protocol: the embedded one, and the real one.
//!
//! What a hub answers is a stranger's word: every answer has a limit in bytes and in time, a file
//! counts when it is all that the list says of it, redirects go to known hosts alone, and the token
//! goes to the hub alone. What failed for want of a connection is tried again, a download from
//! where it was.

mod account;
mod address;
mod budget;
mod download;
mod fault;
mod http;
mod large;
mod listed;
mod patience;
mod proxies;
mod send;
mod upload;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

use crate::Folder;
use http::{Answer, Http};
use hub::{
    Error, FileEntry, Hub, Part,
    content::{Kind, kind},
};
use patience::Term;
use protocol::{
    Digest, Repo, Revision,
    files::{CONFIG, INDEX, N_FILES_MAX},
};
use std::{path::Path, time::Duration};

pub use account::{Access, Account, Scope};
pub use address::is_same_hub;
pub use budget::Allowance;
pub use listed::Listed;
pub use patience::{Patience, Wait};
pub use proxies::Proxies;
pub use upload::{Others, Step, Upload, Uploaded};

/// Where the real hub is.
pub const HUGGING_FACE: &str = "https://huggingface.co";
/// Hosts that the real hub sends downloads to.
const HUGGING_FACE_HOSTS: [&str; 2] = [".huggingface.co", ".hf.co"];
/// Most files of a repo that are listed, with the folders.
const N_LISTED_MAX: usize = 100_000;
/// Most pages of a list: hubs write a thousand files on one.
const N_PAGES_MAX: usize = 200;
/// Most bytes of one file that is read whole: configs, indices, tokenizers.
const SMALL_BYTES_MAX: u64 = 16 << 20;

/// Most bytes of the files of a model that are fetched because a hub tells no digest of them.
const UNDIGESTED_BYTES_MAX: u64 = 64 << 20;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// What a repo holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A dataset.
    Dataset,
}

impl RepoKind {
    /// As it stands in addresses of the interface.
    fn in_api(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// As it stands before the repo in addresses of files.
    fn before_files(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
        }
    }

    /// As it stands in requests.
    fn in_requests(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        }
    }
}

/// How to reach a hub.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Address of the hub.
    pub endpoint: String,
    /// What says who we are; without one, only public repos can be read. It is sent by TLS, or to
    /// this machine, and nowhere else.
    pub token: Option<String>,
    /// Hosts that the hub may send us to for files; `.hf.co` stands for all hosts below `hf.co`.
    pub redirect_hosts: Vec<String>,
    /// How long to wait and how often to try.
    pub patience: Patience,
    /// Machines to go through; a hub on this machine is reached without them.
    pub proxies: Proxies,
    /// Told of each wait before a request, when it begins and ten times a second until it is over;
    /// `false` ends it, and what was asked for with it.
    pub on_wait: fn(Wait<'_>) -> bool,
    /// Told whenever a request has got what it asked for: a wait before it is over for good.
    pub on_answer: fn(),
    /// Told of each piece of a file that [`Hub::fetch`] and [`Hub::publish`] hash or receive, and
    /// ten times a second while they send; `false` ends it. What came of a file that is fetched
    /// stays for the next time.
    pub on_piece: fn() -> bool,
}

impl ClientOptions {
    /// A hub at `endpoint`, asked without a token.
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            token: None,
            redirect_hosts: HUGGING_FACE_HOSTS.map(str::to_owned).to_vec(),
            patience: Patience::default(),
            proxies: Proxies::default(),
            on_wait: |_| true,
            on_answer: || {},
            on_piece: || true,
        }
    }
}

/// A repo at one of its revisions.
#[derive(Clone, Copy, Debug)]
pub struct Pinned<'a> {
    /// What it holds.
    pub kind: RepoKind,
    /// Its name.
    pub repo: &'a Repo,
    /// Which of its revisions.
    pub revision: &'a Revision,
}

impl Pinned<'_> {
    /// For messages.
    fn name(&self, path: &str) -> String {
        format!("{}@{}/{}", self.repo, self.revision, path.escape_default())
    }
}

/// A hub behind HTTP; blocking, and any number of threads may use it.
pub struct HubClient {
    http: Http,
}

impl HubClient {
    /// Prepares to speak with a hub; nothing is sent yet.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        Ok(Self { http: Http::new(options)? })
    }

    /// Address of the hub, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        self.http.endpoint()
    }

    /// Whether requests say who we are.
    pub fn has_token(&self) -> bool {
        self.http.needs_token().is_ok()
    }

    /// The name of the user whose token we have, if the hub takes it.
    pub fn user(&self) -> Result<String, Error> {
        self.account().map(|account| account.name)
    }

    /// Whose token we have and what it may do, if the hub takes it.
    pub fn account(&self) -> Result<Account, Error> {
        self.http.needs_token()?;
        let path = "/api/whoami-v2";
        let user: Option<wire::User> = self.http.get_json(path)?;
        user.map(Account::from).ok_or_else(|| self.http.nonsense(path, "knows no users"))
    }

    /// What the hub has said of the requests that it still allows, by its names for them; nothing
    /// as long as it has not answered, or counts none.
    pub fn allowances(&self) -> Vec<Allowance> {
        self.http.budgets.allowances(self.http.clock.now())
    }

    /// Whether a repo is private; `None` when it does not exist, or must not be known to us.
    pub fn is_private(&self, kind: RepoKind, repo: &Repo) -> Result<Option<bool>, Error> {
        let path = format!("/api/{}/{repo}", kind.in_api());
        Ok(self.http.get_json::<wire::RepoInfo>(&path)?.map(|repo| repo.private))
    }

    /// What a branch, a tag or a revision stands for; `None` when repo or revision do not exist.
    pub fn resolve(
        &self,
        kind: RepoKind,
        repo: &Repo,
        name: &str,
    ) -> Result<Option<Revision>, Error> {
        let name = address::segment(name);
        let path = format!("/api/{}/{repo}/revision/{name}", kind.in_api());
        let Some(commit) = self.http.get_json::<wire::Commit>(&path)? else { return Ok(None) };
        let revision = commit.sha.parse();
        revision.map(Some).map_err(|_| self.http.nonsense(&path, "names no revision"))
    }

    /// The files of a revision in order of path; `None` when repo or revision do not exist.
    pub fn files(&self, pinned: Pinned<'_>) -> Result<Option<Vec<Listed>>, Error> {
        self.files_until(pinned, &self.http.term_of_list())
    }

    fn files_until(&self, pinned: Pinned<'_>, term: &Term) -> Result<Option<Vec<Listed>>, Error> {
        let Pinned { kind, repo, revision } = pinned;
        let api = kind.in_api();
        let mut path = format!("/api/{api}/{repo}/tree/{revision}?recursive=true&expand=false");
        let mut files = Vec::new();
        for page in 0..N_PAGES_MAX {
            let Some((entries, next)) = self.http.get_page::<Vec<wire::Entry>>(&path, term)? else {
                // What has a first page has the others.
                let half = || self.http.nonsense(&path, "lists a part and forgets the rest");
                return if page == 0 { Ok(None) } else { Err(half()) };
            };
            if files.len() + entries.len() > N_LISTED_MAX {
                return Err(self.http.nonsense(&path, "lists too many files"));
            }
            files.extend(self.listed(&path, entries)?);
            match next {
                Some(_) if term.is_over() => {
                    return Err(self.http.nonsense(&path, "lists too slowly"));
                }
                Some(next) => path = next,
                None => {
                    files.sort_by(|a, b| a.path.cmp(&b.path));
                    return Ok(Some(files));
                }
            }
        }
        Err(self.http.nonsense(&path, "lists pages without end"))
    }

    /// What the hub says of one file; `None` when file, repo or revision do not exist.
    pub fn file(&self, pinned: Pinned<'_>, file: &str) -> Result<Option<Listed>, Error> {
        Ok(self.files_of(pinned, &[file])?.pop())
    }

    /// What the hub says of these files, as far as they are there; the others are not listed.
    pub fn files_of(&self, pinned: Pinned<'_>, files: &[&str]) -> Result<Vec<Listed>, Error> {
        let Pinned { kind, repo, revision } = pinned;
        let path = format!("/api/{}/{repo}/paths-info/{revision}", kind.in_api());
        let to = (&reqwest::Method::POST, path.as_str());
        let mut found = Vec::new();
        for files in files.chunks(upload::FILES_PER_REQUEST) {
            let request = wire::Paths { paths: files, expand: false };
            let entries: Option<Vec<wire::Entry>> =
                self.http.post_json_if_there(to, (http::JSON, &http::json(&request)?))?;
            let mut listed = self.listed(&path, entries.unwrap_or_default())?;
            listed.retain(|listed| files.iter().any(|file| *file == listed.path));
            found.extend(listed);
        }
        Ok(found)
    }

    /// The files among the entries of a list.
    fn listed(&self, path: &str, entries: Vec<wire::Entry>) -> Result<Vec<Listed>, Error> {
        let files = entries.into_iter().filter(|entry| entry.kind == "file");
        let listed = |entry: wire::Entry| {
            let sha256 = entry.lfs.map(|lfs| format!("sha256:{}", lfs.oid).parse()).transpose();
            let sha256 =
                sha256.map_err(|_| self.http.nonsense(path, "lists a digest that is none"))?;
            // Of a large file git's name is that of a pointer to it.
            let git = sha256.is_none().then(|| listed::git_hash(&entry.oid)).flatten();
            Ok(Listed { path: entry.path, size_bytes: entry.size, sha256, git })
        };
        files.map(listed).collect()
    }

    /// The bytes of a small file, which are all that the list says of them.
    pub fn read(&self, pinned: Pinned<'_>, file: &Listed) -> Result<Vec<u8>, Error> {
        self.read_until(pinned, file, &self.http.term_of_list())
    }

    fn read_until(&self, pinned: Pinned<'_>, file: &Listed, term: &Term) -> Result<Vec<u8>, Error> {
        let Listed { path, size_bytes, .. } = file;
        let name = || pinned.name(path);
        let size_bytes_max = SMALL_BYTES_MAX;
        if *size_bytes > size_bytes_max {
            return Err(Error::TooLarge { name: name(), size_bytes: *size_bytes, size_bytes_max });
        }
        let bytes = self.http.small_file((pinned, path), *size_bytes, term)?;
        let damaged = |reason| Error::Damaged { name: name(), reason };
        let bytes = bytes.ok_or_else(|| damaged("more bytes came than are listed"))?;
        file.verify(&bytes).map_err(damaged)?;
        Ok(bytes)
    }

    /// Fills `buffer` with the bytes of a file from `offset` on, by one request for that range.
    pub fn read_range(
        &self,
        pinned: Pinned<'_>,
        path: &str,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let Some(last) = buffer.len().checked_sub(1) else { return Ok(()) };
        let range = (offset, Some(offset.saturating_add(last as u64)));
        self.http.patiently(|| {
            let Answer { mut body, first, .. } =
                self.http.file((pinned, path), Some(range), None)?;
            if first != offset {
                let reason = "the hub answered with another range";
                return Err(Error::Damaged { name: pinned.name(path), reason }.into());
            }
            http::read_exact(&mut body, buffer)
        })
    }

    /// The digest of a file that the hub tells no digest of; zeros where nobody needs it.
    ///
    /// Hubs tell the digests of large files alone. Of the others only a config and an index are
    /// part of a model, and they are small; were they not, the intake refuses them by their size.
    fn digest(&self, pinned: Pinned<'_>, file: &Listed, term: &Term) -> Result<Digest, Error> {
        if let Some(sha256) = file.sha256 {
            return Ok(sha256);
        }
        let is_needed = kind(&file.path) == Kind::Model;
        if !is_needed || file.size_bytes > SMALL_BYTES_MAX {
            return Ok(Digest([0; 32]));
        }
        Ok(Digest::of(&self.read_until(pinned, file, term)?))
    }
}

impl Hub for HubClient {
    fn publish(&self, repo: &Repo, dir: &Path) -> Result<Revision, Error> {
        let folder = Folder::of_everything(dir)?;
        let progress = |_, _, _| (self.http.on_piece)();
        let upload = Upload { progress: &progress, ..Upload::new(RepoKind::Model, repo, &folder) };
        let uploaded = self.upload(&upload);
        uploaded.map(|uploaded| uploaded.revision)
    }

    fn latest(&self, repo: &Repo) -> Result<Option<Revision>, Error> {
        self.resolve(RepoKind::Model, repo, "main")
    }

    /// Of a file that is no part of a model, the digest may be zeros, and of files of a model that
    /// are too many or too large to be fetched for it.
    fn list(&self, repo: &Repo, revision: &Revision) -> Result<Option<Vec<FileEntry>>, Error> {
        let pinned = Pinned { kind: RepoKind::Model, repo, revision };
        let term = self.http.term_of_list();
        let Some(files) = self.files_until(pinned, &term)? else { return Ok(None) };
        let is_worth_it = is_worth_hashing(&files);
        let entry = |file: Listed| {
            let sha256 = match file.sha256 {
                None if !is_worth_it => Digest([0; 32]),
                _ => self.digest(pinned, &file, &term)?,
            };
            Ok(FileEntry { path: file.path, size_bytes: file.size_bytes, sha256 })
        };
        files.into_iter().map(entry).collect::<Result<_, Error>>().map(Some)
    }

    fn fetch(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &str,
        to: &Path,
        size_bytes_max: u64,
    ) -> Result<(), Error> {
        let pinned = Pinned { kind: RepoKind::Model, repo, revision };
        self.fetch_whole(pinned, path, to, size_bytes_max)
    }

    fn read_part(
        &self,
        repo: &Repo,
        revision: &Revision,
        part: &Part<'_>,
    ) -> Result<Vec<u8>, Error> {
        let pinned = Pinned { kind: RepoKind::Model, repo, revision };
        let mut bytes = vec![0; part.n_bytes];
        self.read_range(pinned, part.path, part.offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// Whether files without a digest may be fetched for it: only of a list that can be a model's.
///
/// Hubs tell the digests of large files, so what is left is a config, an index and tiny shards. A
/// list that has more of them than that, or more files than any model, is never let in.
fn is_worth_hashing(files: &[Listed]) -> bool {
    let is_undigested = |file: &&Listed| file.sha256.is_none() && kind(&file.path) == Kind::Model;
    let undigested = files.iter().filter(is_undigested);
    let n_bytes = undigested.fold(0, |sum: u64, file| sum.saturating_add(file.size_bytes));
    let n_small = files.iter().filter(|file| [CONFIG, INDEX].contains(&&*file.path)).count();
    n_small <= 2 && files.len() <= N_FILES_MAX && n_bytes <= UNDIGESTED_BYTES_MAX
}

impl std::fmt::Debug for HubClient {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}
