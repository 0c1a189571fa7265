//! The chain in one SQLite file: blocks, what is in them, what waits, and snapshots of the state.
//!
//! Blocks are the truth; the state follows from them. A snapshot only saves time, and is checked
//! against the root in the header of its block. Everything that belongs together is written in one
//! transaction, on disk before anybody is told of it.

use super::{Watch, error::NodeError, history::STATE_BLOCKS};
use crate::{
    SealedLedger, SignedCall,
    block::Produced,
    wire::{SPEC_VERSION, header::Header},
};
use chain::{CallId, Genesis, hash::blake2_256};
use parity_scale_codec::{Decode as _, Encode as _};
use protocol::{Block, BlockHash};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// Blocks between two snapshots.
pub(super) const SNAPSHOT_BLOCKS: u64 = 256;

/// Blocks for which snapshots are kept: one is always older than the states that are held. The
/// first is always there as the genesis.
const SNAPSHOTS_KEPT_BLOCKS: u64 = 2 * STATE_BLOCKS as u64;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    header BLOB NOT NULL,
    time_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS extrinsics (
    block INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL,
    refusal TEXT,
    PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pool (
    arrival INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS snapshots (
    block INTEGER PRIMARY KEY,
    state BLOB NOT NULL
);
";

const INSERT_SNAPSHOT: &str = "INSERT OR REPLACE INTO snapshots (block, state) VALUES (?1, ?2)";

/// A block as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredBlock {
    pub(super) header: Header,
    pub(super) time_ms: u64,
    /// Bytes of the calls, in order.
    pub(super) extrinsics: Vec<Vec<u8>>,
}

impl StoredBlock {
    /// Bytes of the calls.
    pub(super) fn n_bytes(&self) -> usize {
        self.extrinsics.iter().map(Vec::len).sum()
    }
}

/// How long a tool that writes to the file keeps the node waiting before the node gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The open file.
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    /// Whether no snapshot is ever dropped.
    keeps_all: bool,
    /// Held as long as the chain is ours; nothing where it is only read.
    _lock: Option<File>,
}

type Sql<T> = Result<T, rusqlite::Error>;

impl Store {
    /// Opens the file, making it if it is not there; without a path, a store that lives in memory.
    pub(super) fn open(path: Option<&Path>, genesis: &Genesis) -> Result<Self, NodeError> {
        let shown = path.unwrap_or(Path::new(":memory:")).to_owned();
        let connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        };
        let failed = |source| NodeError::Database { path: shown.clone(), source };
        let connection = connection.map_err(failed)?;
        let lock = path.map(lock).transpose()?;
        let store = Self { connection, path: shown.clone(), keeps_all: false, _lock: lock };
        store.prepare(genesis)?;
        Ok(store)
    }

    /// Opens a file to read it, whoever else is at work on it; a chain has to be in it.
    pub(super) fn look(path: &Path, genesis: &Genesis) -> Result<Self, NodeError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |source| NodeError::Database { path: path.to_owned(), source };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        let store = Self { connection, path: path.to_owned(), keeps_all: false, _lock: None };
        store.named(store.connection.busy_timeout(PATIENCE))?;
        // Tables of other names are somebody else's, and so is what stands in them.
        let tables = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN \
            ('meta', 'blocks', 'extrinsics', 'pool')";
        let n_tables = store.connection.query_row(tables, [], |row| row.get::<_, i64>(0));
        match store.named(n_tables)? == 4 && store.has_begun(&as_stored(genesis))? {
            true => Ok(store),
            false => Err(NodeError::NoChain { path: path.to_owned() }),
        }
    }

    fn prepare(&self, genesis: &Genesis) -> Result<(), NodeError> {
        // Not locked for good: any tool may read the rows while the node runs.
        self.named(self.connection.busy_timeout(PATIENCE))?;
        let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        self.named(self.connection.execute_batch(set_up))?;
        self.named(self.connection.execute_batch(SCHEMA))?;
        let genesis = as_stored(genesis);
        if self.has_begun(&genesis)? {
            return Ok(());
        }
        let insert = "INSERT INTO meta (name, value) VALUES ('rules', ?1), ('genesis', ?2)";
        let version = SPEC_VERSION.to_string();
        self.named(self.connection.execute(insert, [version, genesis]).map(drop))
    }

    /// Whether a chain has begun in the file; an error if it is another one, or of other rules.
    fn has_begun(&self, genesis: &str) -> Result<bool, NodeError> {
        let version: Option<String> = self.meta("rules")?;
        let found = version.and_then(|version| version.parse().ok()).unwrap_or(SPEC_VERSION);
        if found != SPEC_VERSION {
            let expected = SPEC_VERSION;
            return Err(NodeError::OtherRules { path: self.path.clone(), found, expected });
        }
        match self.meta("genesis")? {
            Some(other) if other != genesis => {
                Err(NodeError::OtherGenesis { path: self.path.clone() })
            }
            found => Ok(found.is_some()),
        }
    }

    /// Writes down the time between blocks, for a start that names none.
    pub(super) fn keep_block_time(&self, block_time: Duration) -> Result<(), NodeError> {
        let insert = "INSERT OR REPLACE INTO meta (name, value) VALUES ('block_time_ms', ?1)";
        let ms = block_time.as_millis().to_string();
        self.named(self.connection.execute(insert, [ms]).map(drop))
    }

    fn meta(&self, name: &str) -> Result<Option<String>, NodeError> {
        let select = "SELECT value FROM meta WHERE name = ?1";
        let row = self.connection.query_row(select, [name], |row| row.get(0)).optional();
        self.named(row)
    }

    /// Says which file an error is about.
    fn named<T>(&self, result: Sql<T>) -> Result<T, NodeError> {
        result.map_err(|source| NodeError::Database { path: self.path.clone(), source })
    }

    /// The state from which the last blocks can be made again, so that all states are there that
    /// a node has promised to hold. Its own block lies before them: its events are not known.
    pub(super) fn base(&self, genesis: &Genesis) -> Result<SealedLedger, NodeError> {
        self.nearest(self.newest()?.saturating_sub(STATE_BLOCKS as u64), genesis)
    }

    /// The state of the newest snapshot up to a block that can be used, or the first.
    fn nearest(&self, latest: u64, genesis: &Genesis) -> Result<SealedLedger, NodeError> {
        let select = "SELECT block, state FROM snapshots WHERE block <= ?1 ORDER BY block DESC";
        let row = self.connection.query_row(select, [latest as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, Vec<u8>>(1)?))
        });
        if let Some((block, state)) = self.named(row.optional())?
            && let Some(ledger) = self.restore(block, &state)?
        {
            return Ok(ledger);
        }
        Ok(SealedLedger::new(genesis)?)
    }

    /// The state of a snapshot, if it has the root that the header of its block names.
    fn restore(&self, block: u64, state: &[u8]) -> Result<Option<SealedLedger>, NodeError> {
        let Some(stored) = self.block(block)? else { return Ok(None) };
        let select = "SELECT hash FROM blocks WHERE number <= ?1 ORDER BY number";
        let hashes = self.connection.prepare(select).and_then(|mut statement| {
            let rows = statement.query_map([block as i64], |row| row.get::<_, [u8; 32]>(0))?;
            rows.map(|hash| hash.map(BlockHash)).collect::<Sql<Vec<BlockHash>>>()
        });
        Ok(restored(&stored.header, state, self.named(hashes)?))
    }

    /// The bytes of the state after a block, as they were written; nothing where none were.
    pub(super) fn snapshot(&self, number: u64) -> Result<Option<Vec<u8>>, NodeError> {
        let select = "SELECT state FROM snapshots WHERE block = ?1";
        let row = self.connection.query_row(select, [number as i64], |row| row.get(0)).optional();
        self.named(row)
    }

    /// Drops no snapshot from now on, and makes those again that are missing: with them no state
    /// is further than [`SNAPSHOT_BLOCKS`] blocks from one that is there.
    pub(super) fn keep_all(
        &mut self,
        genesis: &Genesis,
        watch: Watch<'_>,
    ) -> Result<(), NodeError> {
        self.keeps_all = true;
        let select = "SELECT block FROM snapshots";
        let there = self.connection.prepare(select).and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
            rows.map(|block| block.map(|block| block as u64)).collect::<Sql<BTreeSet<u64>>>()
        });
        let there = self.named(there)?;
        let all = (1..=self.newest()? / SNAPSHOT_BLOCKS).map(|place| place * SNAPSHOT_BLOCKS);
        let missing: BTreeSet<u64> = all.filter(|block| !there.contains(block)).collect();
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return Ok(()) };
        let mut ledger = self.nearest(*first, genesis)?;
        let base = ledger.head().block.0;
        for number in base + 1..=*last {
            if !watch(number - base - 1, *last - base) {
                return Err(NodeError::Interrupted);
            }
            let block = self.block(number)?.ok_or_else(|| self.damaged(number))?;
            self.replay(&mut ledger, &block)?;
            if missing.contains(&number) {
                let state = ledger.state_bytes();
                let done = self.connection.execute(INSERT_SNAPSHOT, params![number as i64, state]);
                self.named(done)?;
            }
        }
        Ok(())
    }

    /// Number of the newest block; 0 in a new file.
    pub(super) fn newest(&self) -> Result<u64, NodeError> {
        let select = "SELECT COALESCE(MAX(number), 0) FROM blocks";
        self.named(self.connection.query_row(select, [], |row| row.get::<_, i64>(0)))
            .map(|number| number as u64)
    }

    /// The error for a block that is not what it should be.
    pub(super) fn damaged(&self, number: u64) -> NodeError {
        NodeError::Damaged { path: self.path.clone(), block: Block(number) }
    }

    /// A block with its calls.
    pub(super) fn block(&self, number: u64) -> Result<Option<StoredBlock>, NodeError> {
        let number = number as i64;
        let select = "SELECT header, time_ms FROM blocks WHERE number = ?1";
        let row = self.connection.prepare_cached(select).and_then(|mut statement| {
            let row = statement.query_row([number], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)? as u64))
            });
            row.optional()
        });
        let Some((header, time_ms)) = self.named(row)? else { return Ok(None) };
        let header = Header::decode(&mut &header[..]).map_err(|_| self.damaged(number as u64))?;
        let select = "SELECT bytes FROM extrinsics WHERE block = ?1 ORDER BY position";
        let extrinsics = self.connection.prepare_cached(select).and_then(|mut statement| {
            let rows = statement.query_map([number], |row| row.get::<_, Vec<u8>>(0))?;
            rows.collect::<Sql<Vec<Vec<u8>>>>()
        });
        Ok(Some(StoredBlock { header, time_ms, extrinsics: self.named(extrinsics)? }))
    }

    /// Makes a stored block again; its hash must come out.
    pub(super) fn replay(
        &self,
        ledger: &mut SealedLedger,
        block: &StoredBlock,
    ) -> Result<Produced, NodeError> {
        remade(ledger, block).ok_or_else(|| self.damaged(block.header.number.into()))
    }

    /// Writes the first block of a new file.
    pub(super) fn begin(&mut self, header: &Header) -> Result<(), NodeError> {
        let hash = header.hash();
        let insert =
            "INSERT OR IGNORE INTO blocks (number, hash, header, time_ms) VALUES (0, ?1, ?2, 0)";
        let done = self.connection.execute(insert, params![hash, header.encode()]).map(drop);
        self.named(done)
    }

    /// Writes a new block, takes what is settled out of the pool, and now and then a snapshot.
    pub(super) fn commit_block(
        &mut self,
        produced: &Produced,
        time_ms: u64,
        gone: &[CallId],
        snapshot: Option<&[u8]>,
    ) -> Result<(), NodeError> {
        let keeps_all = self.keeps_all;
        let done = self.connection.transaction().and_then(|transaction| {
            write_block(&transaction, produced, time_ms)?;
            delete_from_pool(&transaction, gone)?;
            if let Some(state) = snapshot {
                let block = produced.head.block.0;
                transaction.execute(INSERT_SNAPSHOT, params![block as i64, state])?;
                let oldest =
                    if keeps_all { 0 } else { block.saturating_sub(SNAPSHOTS_KEPT_BLOCKS) };
                transaction.execute("DELETE FROM snapshots WHERE block < ?1", [oldest as i64])?;
            }
            transaction.commit()
        });
        self.named(done)
    }

    /// Writes calls that were taken into the pool; on disk when it returns.
    pub(super) fn commit_pool(&mut self, calls: &[(CallId, Vec<u8>)]) -> Result<(), NodeError> {
        let done = self.connection.transaction().and_then(|transaction| {
            let insert = "INSERT OR IGNORE INTO pool (hash, bytes) VALUES (?1, ?2)";
            for (id, bytes) in calls {
                transaction.prepare_cached(insert)?.execute(params![id.0, bytes])?;
            }
            transaction.commit()
        });
        self.named(done)
    }

    /// Takes calls out of the pool.
    pub(super) fn drop_from_pool(&mut self, gone: &[CallId]) -> Result<(), NodeError> {
        let done = self.connection.transaction().and_then(|transaction| {
            delete_from_pool(&transaction, gone)?;
            transaction.commit()
        });
        self.named(done)
    }

    /// Calls that waited when the node stopped, in the order of arrival.
    pub(super) fn pool(&self) -> Result<Vec<Vec<u8>>, NodeError> {
        let select = "SELECT bytes FROM pool ORDER BY arrival";
        let rows = self.connection.prepare(select).and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            rows.collect::<Sql<Vec<Vec<u8>>>>()
        });
        self.named(rows)
    }
}

/// A genesis as the file names it.
fn as_stored(genesis: &Genesis) -> String {
    // Plain structs of numbers and texts always serialize.
    serde_json::to_string(genesis).unwrap_or_default()
}

/// The state after the block of a header, if the bytes are those that the header names and the
/// hashes lead to it.
pub(super) fn restored(
    header: &Header,
    state: &[u8],
    hashes: Vec<BlockHash>,
) -> Option<SealedLedger> {
    let head = BlockHash(header.hash());
    let is_whole = hashes.len() as u64 == u64::from(header.number) + 1;
    if header.state_root.0 != blake2_256(state) || !is_whole || hashes.last() != Some(&head) {
        return None;
    }
    SealedLedger::from_state_bytes(state, hashes).ok()
}

/// Makes a stored block again; nothing unless its header comes out.
pub(super) fn remade(ledger: &mut SealedLedger, block: &StoredBlock) -> Option<Produced> {
    let calls: Result<Vec<SignedCall>, _> =
        block.extrinsics.iter().map(|bytes| SignedCall::from_bytes(bytes)).collect();
    let produced = ledger.produce_block(calls.ok()?).ok()?;
    (produced.header == block.header).then_some(produced)
}

/// Takes a chain for this process, until the file is closed; whoever died holds nothing.
///
/// A file of its own, because SQLite's own locks keep readers out or let a second node in.
fn lock(database: &Path) -> Result<File, NodeError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let failed = |source| NodeError::Lock { path: PathBuf::from(&path), source };
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What the chain in the file started with; `None` in a file that no chain has begun in.
pub(super) fn stored_genesis(path: &Path) -> Result<Option<Genesis>, NodeError> {
    let damaged = |_| NodeError::Damaged { path: path.to_owned(), block: Block(0) };
    let text = stored_meta(path, "genesis")?;
    text.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}

/// The time between blocks that a node wrote down last.
pub(super) fn stored_block_time(path: &Path) -> Result<Option<Duration>, NodeError> {
    let text = stored_meta(path, "block_time_ms")?;
    Ok(text.and_then(|text| text.parse().ok()).map(Duration::from_millis))
}

/// A value that stands in a file which may be no chain's yet.
fn stored_meta(path: &Path, name: &str) -> Result<Option<String>, NodeError> {
    // Whoever asks is about to start a node on it.
    let _lock = lock(path)?;
    let failed = |source| NodeError::Database { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(failed)?;
    let table = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'meta'";
    if connection.query_row(table, [], |row| row.get::<_, i64>(0)).map_err(failed)? == 0 {
        return Ok(None);
    }
    let select = "SELECT value FROM meta WHERE name = ?1";
    connection.query_row(select, [name], |row| row.get(0)).optional().map_err(failed)
}

fn delete_from_pool(transaction: &Transaction<'_>, gone: &[CallId]) -> Sql<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM pool WHERE hash = ?1")?;
    gone.iter().try_for_each(|id| delete.execute([id.0]).map(drop))
}

fn write_block(transaction: &Transaction<'_>, produced: &Produced, time_ms: u64) -> Sql<()> {
    let number = produced.head.block.0 as i64;
    let insert = "INSERT INTO blocks (number, hash, header, time_ms) VALUES (?1, ?2, ?3, ?4)";
    let header = produced.header.encode();
    transaction.prepare_cached(insert)?.execute(params![
        number,
        produced.head.hash.0,
        header,
        time_ms as i64
    ])?;
    let insert = "INSERT INTO extrinsics (block, position, hash, bytes, refusal) VALUES (?1, ?2, ?3, ?4, ?5)";
    for (position, call) in produced.applied.iter().enumerate() {
        let refusal = call.result.as_ref().err().map(chain::CallError::name);
        transaction.prepare_cached(insert)?.execute(params![
            number,
            position as i64,
            call.id.0,
            call.bytes,
            refusal
        ])?;
    }
    Ok(())
}
