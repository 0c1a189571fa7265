//! Losses that were measured: each is a function of parameters, tokens and arithmetic, so it is
//! measured once.

use crate::{
    Error,
    database::{Database, number},
};
use protocol::{Block, Digest, Loss, SequenceLoss};
use rusqlite::{Transaction, params, types::Value};

/// What losses are of, and how they were computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured<'a> {
    /// Tensor root of the model.
    pub model: Digest,
    /// The arithmetic that the losses were computed in.
    pub engine: &'a str,
}

/// Losses of one model by the digests of their sequences.
///
/// Hashed by what is fast: the digests are of text that was drawn, which no stranger chooses, and a
/// round looks up thousands.
pub type Losses = foldhash::HashMap<Digest, SequenceLoss>;

/// A loss as it is written: the digest of its sequence, the bits of its nats, its tokens.
const LOSS_BYTES: usize = 32 + 8 + 4;

const INSERT: &str = "INSERT INTO measured (model, engine, block, losses) VALUES (?1, ?2, ?3, ?4)";

/// Losses that were learnt together, one after the other.
fn written(losses: &[(Digest, SequenceLoss)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(losses.len() * LOSS_BYTES);
    for (sequence, SequenceLoss { n_tokens, cross_entropy }) in losses {
        bytes.extend(sequence.0);
        bytes.extend(cross_entropy.value().to_bits().to_le_bytes());
        bytes.extend(n_tokens.to_le_bytes());
    }
    bytes
}

/// The same read back; what is no loss was not written by us, and is measured again.
fn read(bytes: &[u8]) -> impl Iterator<Item = (Digest, SequenceLoss)> {
    let of = |bytes: &[u8; LOSS_BYTES]| {
        let (sequence, rest) = bytes.split_first_chunk::<32>()?;
        let (nats, n_tokens) = rest.split_first_chunk::<8>()?;
        let n_tokens = u32::from_le_bytes(n_tokens.try_into().ok()?);
        let cross_entropy = Loss::new(f64::from_bits(u64::from_le_bytes(*nats))).ok()?;
        Some((Digest(*sequence), SequenceLoss { n_tokens, cross_entropy }))
    };
    bytes.as_chunks::<LOSS_BYTES>().0.iter().filter_map(of)
}

/// Takes over the losses of the first version, which stood one in a row with its keys twice: those
/// that are learnt together now share one.
pub(crate) fn pack(tables: &Transaction<'_>) -> rusqlite::Result<()> {
    tables.execute_batch(
        "CREATE TABLE measured (
            seq INTEGER PRIMARY KEY,
            model BLOB NOT NULL,
            engine TEXT NOT NULL,
            block INTEGER NOT NULL,
            losses BLOB NOT NULL
        ) STRICT;
        CREATE INDEX measured_by_model ON measured (model, engine);
        CREATE INDEX measured_by_block ON measured (block);",
    )?;
    {
        let mut select = tables.prepare(
            "SELECT model, engine, block, sequence, nats, n_tokens FROM losses ORDER BY block",
        )?;
        let mut insert = tables.prepare(INSERT)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            // What is no loss was not written by us, and is measured again.
            let (Ok(sequence), Ok(n_tokens), Ok(nats)) = (row.get(3), row.get(5), row.get(4))
            else {
                continue;
            };
            let Ok(cross_entropy) = Loss::new(nats) else { continue };
            let losses = written(&[(Digest(sequence), SequenceLoss { n_tokens, cross_entropy })]);
            let [model, engine, block] = [row.get(0)?, row.get(1)?, row.get(2)?];
            insert.execute::<[Value; 4]>([model, engine, block, losses.into()])?;
        }
    }
    tables.execute_batch("DROP TABLE losses")
}

impl Database {
    pub(crate) fn learn(
        &mut self,
        Measured { model, engine }: Measured<'_>,
        block: Block,
        losses: &[(Digest, SequenceLoss)],
    ) -> Result<(), Error> {
        if losses.is_empty() {
            return Ok(());
        }
        let row = params![model.0, engine, number(block.0), written(losses)];
        let mut insert = self.connection.prepare_cached(INSERT).map_err(self.failed())?;
        insert.execute(row).map(drop).map_err(self.failed())
    }

    pub(crate) fn losses(&self, Measured { model, engine }: Measured<'_>) -> Result<Losses, Error> {
        let failed = self.failed();
        // The newest last: it stands for those of the same sequence before it.
        let select = "SELECT losses FROM measured WHERE model = ?1 AND engine = ?2 ORDER BY seq";
        let mut select = self.connection.prepare_cached(select).map_err(&failed)?;
        let mut rows = select.query(params![model.0, engine]).map_err(&failed)?;
        let mut losses = Losses::default();
        while let Some(row) = rows.next().map_err(&failed)? {
            let row = row.get_ref(0).and_then(|value| Ok(value.as_blob()?));
            losses.extend(read(row.map_err(&failed)?));
        }
        Ok(losses)
    }

    pub(crate) fn has_losses_of(&self, block: Block) -> Result<bool, Error> {
        let any = "SELECT EXISTS (SELECT 1 FROM measured WHERE block = ?1)";
        let mut any = self.connection.prepare_cached(any).map_err(self.failed())?;
        any.query_row([number(block.0)], |row| row.get(0)).map_err(self.failed())
    }

    pub(crate) fn forget_losses(&mut self, block: Block) -> Result<(), Error> {
        let delete = "DELETE FROM measured WHERE block < ?1";
        let mut delete = self.connection.prepare_cached(delete).map_err(self.failed())?;
        delete.execute([number(block.0)]).map(drop).map_err(self.failed())
    }
}
