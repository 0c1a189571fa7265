//! What a service must not forget: entries in order, and measured losses.
//!
//! One SQLite file in the folder of a service. What belongs together is appended in one
//! transaction, and is on disk before anybody is told of it: after a crash, of the power as well,
//! all of it is there or nothing. State is what follows from the entries ([`Past`]); a snapshot
//! only saves time. Other programs may read the file while the service runs.
//!
//! ```text
//! journal.db      the tables; beside it SQLite keeps `-wal` and `-shm`
//! journal.lock    held by the one process that writes; a dead process holds nothing
//! ```

mod database;
pub mod error;
mod losses;
mod memory;
pub mod past;
mod schema;

pub use error::Error;
pub use losses::{Losses, Measured};
pub use past::Past;

use database::Database;
use memory::Memory;
use protocol::{Block, Digest, SequenceLoss};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Name of the file with the tables.
pub const FILE: &str = "journal.db";
const LOCK: &str = "journal.lock";
/// How often it is tried to take it.
const LOCK_TRIES: u32 = 5;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Something that happened, to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Block at which it happened.
    pub block: Block,
    /// What kind of thing, such as `decided`.
    pub kind: &'a str,
    /// Name of the competition; empty where it belongs to none.
    pub competition: &'a str,
    /// Of whom or what, such as a hotkey; empty where it is of none.
    pub subject: &'a str,
    /// The thing itself, as JSON.
    pub body: &'a str,
}

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place: ascending, without meaning of its own.
    pub seq: u64,
    /// Block at which it happened.
    pub block: Block,
    /// What kind of thing.
    pub kind: String,
    /// Name of the competition, or empty.
    pub competition: String,
    /// Of whom or what, or empty.
    pub subject: String,
    /// The thing itself.
    pub body: String,
}

/// A state that stands for all entries up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that is in it.
    pub seq: u64,
    /// The state, as JSON.
    pub body: String,
}

/// The journal of one service, open for one process.
#[derive(Debug)]
pub struct Journal {
    tables: Tables,
    path: PathBuf,
    /// Held for as long as the journal is open.
    _lock: Option<File>,
}

/// Where entries and losses are.
#[derive(Debug)]
enum Tables {
    File(Database),
    Memory(Memory),
}

impl Journal {
    /// Opens the journal in `folder`, which is made if it is not there.
    ///
    /// A journal that another process has open, one of a later version, and one that is damaged
    /// are errors, and never a fresh start.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        // Before the tables are touched: whoever has no lock must not even bring them up to date.
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let tables = Tables::File(Database::open(&path)?);
        Ok(Self { tables, path, _lock: Some(lock) })
    }

    /// The journal in `folder` as it stands, to read it while its service may be at work; `None` if
    /// there is none. What is read stays that of this moment, and nothing can be written.
    pub fn look(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let tables = Tables::File(Database::look(&path)?);
        Ok(Some(Self { tables, path, _lock: None }))
    }

    /// A journal that is gone with this value, and of which nothing is on a disk: no file, and no
    /// database, which would be most of its work where a season is simulated.
    pub fn memory() -> Self {
        let path = PathBuf::from(":memory:");
        Self { tables: Tables::Memory(Memory::default()), path, _lock: None }
    }

    /// Whether a process has the journal in `folder` open to write.
    pub fn is_open(folder: &Path) -> bool {
        // Shared: two who ask do not see each other.
        File::open(folder.join(LOCK))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The file with the tables.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends entries, all or none of them, and gives the place of the last.
    ///
    /// When this returns they are on disk.
    pub fn append(&mut self, drafts: &[Draft<'_>]) -> Result<u64, Error> {
        match &mut self.tables {
            Tables::File(database) => database.append(drafts),
            Tables::Memory(memory) => Ok(memory.append(drafts)),
        }
    }

    /// Shows `each` the entries after the one at `seq`, in order; all of them after 0.
    pub fn after<E: From<Error>>(
        &self,
        seq: u64,
        each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.tables {
            Tables::File(database) => database.after(seq, each),
            Tables::Memory(memory) => memory.after(seq, each),
        }
    }

    /// The newest entries of a kind, the newest first, at most `n_max` of them.
    pub fn newest(&self, kind: &str, n_max: usize) -> Result<Vec<Entry>, Error> {
        match &self.tables {
            Tables::File(database) => database.newest(kind, n_max),
            Tables::Memory(memory) => Ok(memory.newest(kind, n_max)),
        }
    }

    /// How many entries of a kind a competition has.
    pub fn n_of(&self, kind: &str, competition: &str) -> Result<u64, Error> {
        match &self.tables {
            Tables::File(database) => database.n_of(kind, competition),
            Tables::Memory(memory) => Ok(memory.n_of(kind, competition)),
        }
    }

    /// The entry of a kind of a competition that so many newer ones follow.
    pub fn nth_newest(
        &self,
        kind: &str,
        competition: &str,
        n_newer: u64,
    ) -> Result<Option<Entry>, Error> {
        match &self.tables {
            Tables::File(database) => database.nth_newest(kind, competition, n_newer),
            Tables::Memory(memory) => Ok(memory.nth_newest(kind, competition, n_newer)),
        }
    }

    /// The snapshot that was taken last.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        match &self.tables {
            Tables::File(database) => database.snapshot(),
            Tables::Memory(memory) => Ok(memory.snapshot()),
        }
    }

    /// Takes the place of the snapshot before it.
    ///
    /// Entries that are in it go, but for the newest `n_kept` of each of the kinds `kept`, which
    /// are worth reading for themselves.
    pub fn condense(
        &mut self,
        snapshot: &Snapshot,
        kept: &[&str],
        n_kept: usize,
    ) -> Result<(), Error> {
        match &mut self.tables {
            Tables::File(database) => database.condense(snapshot, kept, n_kept),
            Tables::Memory(memory) => {
                memory.condense(snapshot, kept, n_kept);
                Ok(())
            }
        }
    }

    /// Bytes that the tables take.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        match &self.tables {
            Tables::File(database) => database.size_bytes(),
            Tables::Memory(memory) => Ok(memory.size_bytes()),
        }
    }

    /// Keeps losses of a model by the digests of their sequences; `block` is that of the round
    /// that asked for them.
    ///
    /// When this returns they are on disk.
    pub fn learn(
        &mut self,
        measured: Measured<'_>,
        block: Block,
        losses: &[(Digest, SequenceLoss)],
    ) -> Result<(), Error> {
        match &mut self.tables {
            Tables::File(database) => database.learn(measured, block, losses),
            Tables::Memory(memory) => {
                memory.learn(measured, block, losses);
                Ok(())
            }
        }
    }

    /// The losses of one model that are kept, by the digests of their sequences.
    pub fn losses(&self, measured: Measured<'_>) -> Result<Losses, Error> {
        match &self.tables {
            Tables::File(database) => database.losses(measured),
            Tables::Memory(memory) => Ok(memory.losses(measured)),
        }
    }

    /// Whether the round of a block has asked for losses that are kept.
    pub fn has_losses_of(&self, block: Block) -> Result<bool, Error> {
        match &self.tables {
            Tables::File(database) => database.has_losses_of(block),
            Tables::Memory(memory) => Ok(memory.has_losses_of(block)),
        }
    }

    /// Lets go of the losses that rounds before `block` asked for, and no later one.
    pub fn forget_losses(&mut self, block: Block) -> Result<(), Error> {
        match &mut self.tables {
            Tables::File(database) => database.forget_losses(block),
            Tables::Memory(memory) => {
                memory.forget_losses(block);
                Ok(())
            }
        }
    }
}

/// The lock of a folder; the system lets go of it when its process ends, however that ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let lock = File::create(&path).map_err(Error::io(&path))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            // Who only asks whether it is held has it for a moment.
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(cause)) => return Err(Error::io(&path)(cause)),
        }
    }
    Err(Error::InUse(folder.to_owned()))
}
