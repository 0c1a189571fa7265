//! Losses that were measured: each is a function of parameters, tokens and arithmetic, so it is
//! measured once.

use crate::{Error, Journal, number};
use protocol::{Block, Digest, Loss, SequenceLoss};
use rusqlite::params;
use std::collections::BTreeMap;

/// What losses are of, and how they were computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured<'a> {
    /// Tensor root of the model.
    pub model: Digest,
    /// The arithmetic that the losses were computed in.
    pub engine: &'a str,
}

impl Journal {
    /// Keeps losses of a model by the digests of their sequences; `block` is that of the round
    /// that asked for them.
    ///
    /// When this returns they are on disk.
    pub fn learn(
        &mut self,
        Measured { model, engine }: Measured<'_>,
        block: Block,
        losses: &[(Digest, SequenceLoss)],
    ) -> Result<(), Error> {
        let failed = self.failed();
        let transaction = self.connection.transaction().map_err(&failed)?;
        {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO losses (model, engine, sequence, nats, n_tokens, block) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .map_err(&failed)?;
            for (sequence, SequenceLoss { n_tokens, cross_entropy }) in losses {
                let row = params![
                    model.0,
                    engine,
                    sequence.0,
                    cross_entropy.value(),
                    n_tokens,
                    number(block.0)
                ];
                insert.execute(row).map_err(&failed)?;
            }
        }
        transaction.commit().map_err(&failed)
    }

    /// The losses of one model that are kept, by the digests of their sequences.
    pub fn losses(
        &self,
        Measured { model, engine }: Measured<'_>,
    ) -> Result<BTreeMap<Digest, SequenceLoss>, Error> {
        let failed = self.failed();
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT sequence, nats, n_tokens FROM losses WHERE model = ?1 AND engine = ?2",
            )
            .map_err(&failed)?;
        let rows = select.query_map(params![model.0, engine], |row| {
            let nats: f64 = row.get(1)?;
            let n_tokens = row.get(2)?;
            Ok((Digest(row.get(0)?), Loss::new(nats).ok(), n_tokens))
        });
        let mut losses = BTreeMap::new();
        for row in rows.map_err(&failed)? {
            // What is no loss was not written by us, and is measured again.
            if let (sequence, Some(cross_entropy), n_tokens) = row.map_err(&failed)? {
                losses.insert(sequence, SequenceLoss { n_tokens, cross_entropy });
            }
        }
        Ok(losses)
    }

    /// Whether the round of a block has asked for losses that are kept.
    pub fn has_losses_of(&self, block: Block) -> Result<bool, Error> {
        let any = "SELECT EXISTS (SELECT 1 FROM losses WHERE block = ?1)";
        let mut any = self.connection.prepare_cached(any).map_err(self.failed())?;
        any.query_row([number(block.0)], |row| row.get(0)).map_err(self.failed())
    }

    /// Lets go of the losses that rounds before `block` asked for, and no later one.
    pub fn forget_losses(&mut self, block: Block) -> Result<(), Error> {
        let failed = self.failed();
        self.connection
            .execute("DELETE FROM losses WHERE block < ?1", [number(block.0)])
            .map(drop)
            .map_err(failed)
    }
}
