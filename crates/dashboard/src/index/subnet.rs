//! What the chain says: the subnet as it was seen, and what each epoch paid.

use super::{Error, Index, int, uint};
use chain::Metagraph;
use protocol::{AccountId, Block, BlockHash, Digest, NetUid};
use rusqlite::{Transaction, params};

/// States of the subnet that are kept: each has some hundred kilobytes.
const METAGRAPHS_MAX: i64 = 500;
/// Epochs whose pay is kept: some hundred days of Bittensor's.
const EPOCHS_MAX: i64 = 2_000;

/// What an epoch paid to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pay {
    /// Block of the epoch.
    pub epoch: Block,
    /// Rao, miner and validator part together.
    pub rao: u64,
    /// Incentive, of 65,535.
    pub incentive: u16,
    /// Dividends, of 65,535.
    pub dividends: u16,
}

/// What an epoch paid to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its block.
    pub block: Block,
    /// Rao to keys without a permit to judge.
    pub miners_rao: u64,
    /// Rao to keys with one.
    pub validators_rao: u64,
    /// Keys that were paid.
    pub n_paid: u64,
}

/// The root of its records that a validator commits to on the chain ([`records::Index::root`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Whose records.
    pub validator: AccountId,
    /// The root.
    pub root: Digest,
    /// Block that included the commitment.
    pub block: Block,
    /// Genesis of the chain.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: NetUid,
}

impl Index {
    /// Notes the roots that validators commit to now, in the place of all that were noted.
    pub fn note_roots(&mut self, roots: &[Root]) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM roots", [])?;
        for Root { validator, root, block, genesis, netuid } in roots {
            transaction.execute(
                "INSERT OR REPLACE INTO roots (validator, root, block, genesis, netuid)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![validator.0, root.0, int(block.0), genesis.0, netuid.0],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The root that a validator committed to when the chain was last looked at, if it did.
    pub fn root_of(&self, validator: AccountId) -> Result<Option<Root>, Error> {
        let sql = "SELECT root, block, genesis, netuid FROM roots WHERE validator = ?1";
        self.first(sql, [validator.0], |sql| {
            Ok(Root {
                validator,
                root: Digest(sql.get(0)?),
                block: Block(uint(sql.get(1)?)),
                genesis: BlockHash(sql.get(2)?),
                netuid: NetUid(sql.get(3)?),
            })
        })
    }

    /// Notes the subnet as it is at a block, the stake of whoever may judge, and what the last
    /// epoch paid.
    pub fn note_metagraph(&mut self, metagraph: &Metagraph) -> Result<(), Error> {
        let body = serde_json::to_string(metagraph).map_err(|_| Error::Damaged("a metagraph"))?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO metagraphs (block, body) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET body = excluded.body",
            params![int(metagraph.block.0), body],
        )?;
        transaction.execute(
            "DELETE FROM metagraphs WHERE block NOT IN
             (SELECT block FROM metagraphs ORDER BY block DESC LIMIT ?1)",
            [METAGRAPHS_MAX],
        )?;
        transaction.execute("DELETE FROM stakes", [])?;
        for neuron in metagraph.neurons.iter().filter(|neuron| neuron.validator_permit) {
            transaction.execute(
                "INSERT OR REPLACE INTO stakes (validator, rao) VALUES (?1, ?2)",
                params![neuron.hotkey.0, int(neuron.stake_rao)],
            )?;
        }
        // Before the first epoch there is none.
        if metagraph.last_epoch.0 > 0 {
            note_pay(&transaction, metagraph)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Block of the newest state of the subnet that was noted.
    pub fn newest_metagraph(&self) -> Result<Option<Block>, Error> {
        let sql = "SELECT max(block) FROM metagraphs";
        let block: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(block.map(|block| Block(uint(block))))
    }

    /// The subnet as it last was at a block, if it was seen by then.
    pub fn metagraph(&self, until: Block) -> Result<Option<Metagraph>, Error> {
        let sql = "SELECT body FROM metagraphs WHERE block <= ?1 ORDER BY block DESC LIMIT 1";
        let body: Option<String> = self.first(sql, [int(until.0)], |sql| sql.get(0))?;
        let read =
            |body: String| serde_json::from_str(&body).map_err(|_| Error::Damaged("a metagraph"));
        body.map(read).transpose()
    }

    /// What the epochs that were seen paid to a key, newest first.
    pub fn pay(&self, hotkey: AccountId, until: Block, n_max: u64) -> Result<Vec<Pay>, Error> {
        let sql = "SELECT epoch, rao, incentive, dividends FROM pay
            WHERE hotkey = ?1 AND epoch <= ?2 ORDER BY epoch DESC LIMIT ?3";
        self.all(sql, params![hotkey.0, int(until.0), int(n_max)], |sql| {
            Ok(Pay {
                epoch: Block(uint(sql.get(0)?)),
                rao: uint(sql.get(1)?),
                incentive: sql.get(2)?,
                dividends: sql.get(3)?,
            })
        })
    }

    /// Epochs that were seen, newest first.
    pub fn epochs(&self, until: Block, n_max: u64) -> Result<Vec<Epoch>, Error> {
        let sql = "SELECT epoch, miners, validators, n_paid FROM epochs
            WHERE epoch <= ?1 ORDER BY epoch DESC LIMIT ?2";
        self.all(sql, params![int(until.0), int(n_max)], |sql| {
            Ok(Epoch {
                block: Block(uint(sql.get(0)?)),
                miners_rao: uint(sql.get(1)?),
                validators_rao: uint(sql.get(2)?),
                n_paid: uint(sql.get(3)?),
            })
        })
    }
}

/// Notes what the last epoch paid, and to whom.
fn note_pay(transaction: &Transaction<'_>, metagraph: &Metagraph) -> Result<(), Error> {
    let epoch = int(metagraph.last_epoch.0);
    let (mut miners, mut validators, mut n_paid) = (0_u64, 0_u64, 0_u64);
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO pay (hotkey, epoch, rao, incentive, dividends)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for neuron in metagraph.neurons.iter().filter(|neuron| neuron.emission_rao > 0) {
        let whose = if neuron.validator_permit { &mut validators } else { &mut miners };
        *whose = whose.saturating_add(neuron.emission_rao);
        n_paid += 1;
        statement.execute(params![
            neuron.hotkey.0,
            epoch,
            int(neuron.emission_rao),
            neuron.incentive,
            neuron.dividends
        ])?;
    }
    transaction.execute(
        "INSERT OR REPLACE INTO epochs (epoch, miners, validators, n_paid)
         VALUES (?1, ?2, ?3, ?4)",
        params![epoch, int(miners), int(validators), int(n_paid)],
    )?;
    let oldest = "SELECT min(epoch) FROM (SELECT epoch FROM epochs ORDER BY epoch DESC LIMIT ?1)";
    for table in ["pay", "epochs"] {
        let delete = format!("DELETE FROM {table} WHERE epoch < ({oldest})");
        transaction.execute(&delete, [EPOCHS_MAX])?;
    }
    Ok(())
}
