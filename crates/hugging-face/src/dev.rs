//! The embedded hub: an HTTP server that speaks the Hugging Face Hub protocol.
//!
//! Stock clients work against it with `HF_ENDPOINT` set. Bytes are files named by their SHA-256,
//! everything else is in one SQLite file, and a commit is visible when it is on disk, whole.

mod access;
mod clock;
mod database;
mod disk;
mod error;
mod front;
mod names;
mod objects;
mod pace;
mod parts;
pub(crate) mod patterns;
mod refusal;
mod routes;
mod seats;
mod serve;

#[cfg(test)]
mod tests;

pub use access::new_token;
pub use error::ServerError;
pub use front::{Front, PublicUrl};
pub use objects::Collected;

use ::disk::RESERVE_BYTES;
use access::Access;
use database::Database;
use objects::Objects;
use refusal::Refusal;
use serve::Server;
use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, sync::Semaphore};

/// Threads for work that blocks: the disk and the database.
const BLOCKING_THREADS_MAX: usize = 32;
/// How long connections may go on when the hub stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reading, private repos of the user included.
    Read,
    /// Reading, and writing to repos of the user and of the organisations.
    Write,
}

/// Who may use the hub, by one token; a user with several tokens stands here several times.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name, which owns repos.
    pub name: String,
    /// The secret that clients send.
    pub token: String,
    /// What it allows.
    pub role: Role,
    /// Further owners of repos that the user acts for.
    pub organisations: Vec<String>,
}

impl std::fmt::Debug for User {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("role", &self.role).finish()
    }
}

/// What users and strangers may take at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that the repos of one owner may hold, each file counted once a repo.
    pub bytes_per_owner_max: u64,
    /// Repos of one owner.
    pub repos_per_owner_max: u64,
    /// Files of one commit, and of one revision.
    pub files_max: usize,
    /// Bytes of the disk that stay free: what would take of them is refused.
    pub disk_reserve_bytes: u64,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of a file that travels inside a commit; larger ones are uploaded before it.
    pub inline_bytes_max: u64,
    /// Bytes of the body of a commit.
    pub commit_bytes_max: u64,
    /// Bytes of any other body that is read into memory.
    pub body_bytes_max: u64,
    /// Files larger than this are uploaded in parts of this size.
    pub part_bytes: u64,
    /// Connections at a time; whoever comes then takes the place of one that asks for nothing.
    pub connections_max: usize,
    /// Connections at a time from one address.
    pub connections_per_address_max: u32,
    /// Uploads at a time.
    pub uploads_max: usize,
    /// Uploads at a time of one owner.
    pub uploads_per_owner_max: u32,
    /// Commits at a time; each holds one inline file in memory.
    pub commits_max: usize,
    /// Requests of one user, or of one address without a token, in five minutes.
    pub requests_per_window_max: u64,
    /// How long a connection may take over the head of a request, or be idle.
    pub head_patience: Duration,
    /// How long a transfer may stand still, and what it may be late in all.
    pub patience: Duration,
    /// Bytes a second below which a transfer is ended once its patience is used up.
    pub bytes_per_second_min: u64,
    /// How long an upload link is good.
    pub link_lifetime: Duration,
    /// How long bytes that no commit refers to are kept.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_per_owner_max: 256 << 30,
            repos_per_owner_max: 1_000,
            files_max: 2_000,
            disk_reserve_bytes: RESERVE_BYTES,
            file_bytes_max: 64 << 30,
            inline_bytes_max: 8 << 20,
            commit_bytes_max: 2 << 30,
            body_bytes_max: 4 << 20,
            part_bytes: 256 << 20,
            connections_max: 512,
            connections_per_address_max: 256,
            uploads_max: 64,
            uploads_per_owner_max: 32,
            commits_max: 4,
            requests_per_window_max: 30_000,
            head_patience: Duration::from_secs(20),
            patience: Duration::from_secs(30),
            bytes_per_second_min: 4 << 10,
            link_lifetime: Duration::from_secs(6 * 3600),
            grace: Duration::from_secs(24 * 3600),
        }
    }
}

/// How a hub runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The folder of everything it keeps, made if it is not there.
    pub folder: PathBuf,
    /// Who may write, and read what is private.
    pub users: Vec<User>,
    /// What they may take at most.
    pub limits: Limits,
    /// What stands between it and its clients.
    pub front: Front,
}

/// What the hub has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Requests that were answered, whatever the answer.
    pub requests: u64,
    /// Bytes of files that were received, inside commits and as uploads.
    pub received_bytes: u64,
    /// Bytes of files that were sent.
    pub sent_bytes: u64,
    /// Commits that were made.
    pub commits: u64,
}

/// The counters behind [`Stats`].
#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    commits: AtomicU64,
}

/// What a mutex guards, even if a thread has died with it: each change here is a whole one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all requests share.
struct Hub {
    address: SocketAddr,
    front: Front,
    limits: Limits,
    access: Access,
    database: Database,
    objects: Objects,
    uploads: routes::Uploads,
    upload_permits: Semaphore,
    commit_permits: Semaphore,
    counters: Counters,
    /// Held while the hub runs, so that no second one uses the folder.
    _lock: File,
}

impl Hub {
    /// Refuses bytes of files that would take of the disk what is to stay free. No bytes are never
    /// too many: a commit that brings none may be the one that makes room.
    fn check_room(&self, n_bytes: u64) -> Result<(), Refusal> {
        let all = n_bytes.saturating_add(self.limits.disk_reserve_bytes);
        if n_bytes > 0 && all > self.objects.free_bytes()? {
            return Err(Refusal::disk_full());
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.counters.requests),
            received_bytes: read(&self.counters.received_bytes),
            sent_bytes: read(&self.counters.sent_bytes),
            commits: read(&self.counters.commits),
        }
    }
}

/// A running hub; it stops when it is dropped.
pub struct DevHub {
    hub: Arc<Hub>,
    server: Server,
    runtime: Option<Runtime>,
}

impl DevHub {
    /// Opens the folder and serves it.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let access = Access::new(&config.users)?;
        let lock = objects::lock(&config.folder)?;
        let objects = Objects::open(&config.folder)?;
        let database = Database::open(&config.folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("hub")
            .enable_all()
            .build()
            .map_err(ServerError::System)?;
        let listener = runtime
            .block_on(serve::listen(config.listen))
            .map_err(|source| ServerError::Listen { address: config.listen, source })?;
        let address = listener.local_addr().map_err(ServerError::System)?;
        let hub = Arc::new(Hub {
            address,
            front: config.front.clone(),
            access,
            database,
            objects,
            uploads: routes::Uploads::default(),
            upload_permits: Semaphore::new(config.limits.uploads_max),
            commit_permits: Semaphore::new(config.limits.commits_max),
            counters: Counters::default(),
            limits: config.limits.clone(),
            _lock: lock,
        });
        let server = Server::spawn(&runtime, listener, Arc::clone(&hub));
        Ok(Self { hub, server, runtime: Some(runtime) })
    }

    /// Where the hub listens.
    pub fn address(&self) -> SocketAddr {
        self.hub.address
    }

    /// The address as clients take it, for `HF_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.hub.address)
    }

    /// What the hub has done since it started.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// Removes bytes that no commit refers to and that are older than the grace period.
    pub fn collect_garbage(&self) -> Result<Collected, ServerError> {
        let hub = &self.hub;
        hub.uploads.parts.forget_older_than(hub.limits.grace);
        hub.database.collect_garbage(&hub.objects, hub.limits.grace)
    }
}

impl Drop for DevHub {
    fn drop(&mut self) {
        self.server.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.server.stopped(STOP_PATIENCE));
            runtime.shutdown_timeout(STOP_PATIENCE);
        }
    }
}
