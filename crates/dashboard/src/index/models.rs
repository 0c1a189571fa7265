//! Rows of models, and of what records have in common: each made once.

use super::{
    Error, entry,
    ingest::{Checked, entry_of},
    int,
};
use crate::limits::ARCHITECTURE_LETTERS_MAX;
use protocol::{
    record::{Card, Model},
    text::shown,
};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::{collections::BTreeMap, sync::Arc};

/// Most models whose rows are remembered while records are taken in.
const MODELS_MAX: usize = 50_000;
/// Most rows of what records have in common that are remembered.
const COMMONS_MAX: usize = 1_024;

/// A model as it was committed to, and what it is: what does not change from round to round.
/// Where records have it as different things, each is a row of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Committed {
    hotkey: [u8; 32],
    uid: u16,
    commit_block: u64,
    root: Option<[u8; 32]>,
    repo: Option<String>,
    revision: Option<String>,
    architecture: Option<String>,
    n_parameters: Option<u64>,
}

impl Committed {
    fn of(model: &Model) -> Self {
        let architecture = |card: &Card| shown(&card.architecture, ARCHITECTURE_LETTERS_MAX);
        Self {
            hotkey: model.hotkey.0,
            uid: model.uid.0,
            commit_block: model.commit_block.0,
            root: model.tensor_root.map(|root| root.0),
            repo: model.repo.as_ref().map(ToString::to_string),
            revision: model.revision.as_ref().map(ToString::to_string),
            architecture: model.card.as_ref().map(architecture),
            n_parameters: model.card.as_ref().map(|card| card.n_parameters),
        }
    }
}

/// Rows of models that were looked up.
#[derive(Debug, Default)]
pub(super) struct Models {
    rows: BTreeMap<Committed, i64>,
    /// How many were made.
    pub(super) n_made: u64,
    /// Rows that were made of what records have in common, by its number.
    commons: BTreeMap<u64, Arc<Stored>>,
}

/// What records have in common, in the tables.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: i64,
    /// Rows of its models.
    pub(super) models: Vec<i64>,
    /// Bytes that it takes.
    pub(super) n_bytes: usize,
}

impl Models {
    /// The row of a model, made if there is none.
    fn row(&mut self, transaction: &Transaction<'_>, model: &Model) -> Result<i64, Error> {
        let committed = Committed::of(model);
        if let Some(row) = self.rows.get(&committed) {
            return Ok(*row);
        }
        let row = match find(transaction, &committed)? {
            Some(row) => row,
            None => {
                self.n_made += 1;
                insert_model(transaction, &committed)?
            }
        };
        if self.rows.len() >= MODELS_MAX {
            self.rows.clear();
        }
        self.rows.insert(committed, row);
        Ok(row)
    }

    /// What a record has in common with others in the tables, put there if no record has brought
    /// it.
    pub(super) fn stored(
        &mut self,
        transaction: &Transaction<'_>,
        checked: &Checked,
    ) -> Result<Arc<Stored>, Error> {
        let number = checked.common.number;
        if let Some(stored) = self.commons.get(&number) {
            return Ok(Arc::clone(stored));
        }
        let judged = &checked.record.models;
        let (mut models, mut entries) = (Vec::with_capacity(judged.len()), Vec::new());
        for judged in judged {
            let row = self.row(transaction, &judged.model)?;
            models.push(row);
            entries.push(entry_of(row, judged));
        }
        let (made, entries) = (checked.common.made()?, entry::packed(&entries));
        let sql = "INSERT INTO commons (n_bytes, found, entries, packed) VALUES (?1, ?2, ?3, ?4)";
        let params = params![int(made.n_bytes as u64), made.voices, entries, made.packed];
        transaction.prepare_cached(sql)?.execute(params)?;
        let n_bytes = made.voices.len() + entries.len() + made.packed.len();
        let stored = Arc::new(Stored { id: transaction.last_insert_rowid(), models, n_bytes });
        if self.commons.len() >= COMMONS_MAX {
            self.commons.clear();
        }
        self.commons.insert(number, Arc::clone(&stored));
        Ok(stored)
    }
}

fn find(transaction: &Transaction<'_>, committed: &Committed) -> Result<Option<i64>, Error> {
    let sql = "SELECT id FROM models WHERE hotkey = ?1 AND uid = ?2 AND commit_block = ?3
        AND root IS ?4 AND repo IS ?5 AND revision IS ?6 AND architecture IS ?7
        AND n_parameters IS ?8";
    let mut statement = transaction.prepare_cached(sql)?;
    let Committed { hotkey, uid, commit_block, root, repo, revision, .. } = committed;
    let (architecture, n_parameters) = (&committed.architecture, committed.n_parameters.map(int));
    let commit_block = int(*commit_block);
    let params =
        params![hotkey, uid, commit_block, root, repo, revision, architecture, n_parameters];
    Ok(statement.query_row(params, |row| row.get(0)).optional()?)
}

fn insert_model(transaction: &Transaction<'_>, committed: &Committed) -> Result<i64, Error> {
    let sql = "INSERT INTO models
        (hotkey, uid, commit_block, root, repo, revision, architecture, n_parameters)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Committed { hotkey, uid, commit_block, root, repo, revision, .. } = committed;
    let (architecture, n_parameters) = (&committed.architecture, committed.n_parameters.map(int));
    let commit_block = int(*commit_block);
    let params =
        params![hotkey, uid, commit_block, root, repo, revision, architecture, n_parameters];
    transaction.prepare_cached(sql)?.execute(params)?;
    Ok(transaction.last_insert_rowid())
}
