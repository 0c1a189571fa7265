//! Who comes from whom, as far as losses tell: computed here, and of no weight in any verdict.

use super::{Site, Trouble, model::Results, root_cell};
use crate::{
    ask::Ask,
    duels::{UNPACKED_BYTES_MAX, losses_of},
    figures::decimals,
    index::{Index, Row},
    table::{Cell, Table, column},
};
use protocol::{
    Digest, Loss, Record,
    lineage::{Kin, Lineage, lineage},
    record::Finding,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Documents after which no more rounds are looked at.
const DOCUMENTS_ENOUGH: usize = 256;
/// Most rounds that are looked at.
const ROUNDS_MAX: u64 = 8;
/// Most relatives that are listed.
const RELATIVES_MAX: usize = 64;
/// Most bytes of records that are unpacked for the relatives of a leaderboard.
const BOARD_BYTES_MAX: usize = 8 << 20;
/// Leaderboards whose relatives are remembered: each has a few kilobytes.
const BOARDS_MAX: usize = 256;

/// Losses of two models on the same documents.
#[derive(Default)]
struct Pair {
    name: String,
    own: Vec<Loss>,
    theirs: Vec<Loss>,
}

/// What records have of a model beside each of the others.
#[derive(Default)]
struct Company {
    pairs: BTreeMap<Digest, Pair>,
    n_documents: usize,
}

impl Company {
    fn is_enough(&self) -> bool {
        self.n_documents >= DOCUMENTS_ENOUGH
    }

    /// Takes in what a record has: nothing where it has not measured the model.
    fn take(&mut self, record: &Record, root: Digest) {
        let own = losses_of(record, root);
        if own.is_empty() {
            return;
        }
        self.n_documents += own.len();
        for judged in &record.models {
            let model = &judged.model;
            let Some(other) = model.tensor_root.filter(|other| *other != root) else { continue };
            let Finding::Evaluated(losses) = &model.finding else { continue };
            let pair = self.pairs.entry(other).or_default();
            if pair.name.is_empty() {
                let repo = model.repo.as_ref();
                pair.name = repo.map_or_else(|| format!("uid {}", model.uid), ToString::to_string);
            }
            for (own, theirs) in own.iter().zip(losses) {
                pair.own.push(*own);
                pair.theirs.push(*theirs);
            }
        }
    }

    /// What the model is to the others, the nearest first.
    fn relatives(self) -> Vec<Relative> {
        let relative = |(root, pair): (Digest, Pair)| Relative {
            root,
            name: pair.name,
            lineage: lineage(&pair.own, &pair.theirs),
        };
        let mut found: Vec<Relative> = self.pairs.into_iter().map(relative).collect();
        let nearness = |of: &Relative| of.lineage.correlation.unwrap_or(-1.0);
        found.sort_by(|a, b| nearness(b).total_cmp(&nearness(a)).then(a.root.cmp(&b.root)));
        found
    }

    /// The nearest of those with a label: two documents alone always go together.
    fn nearest(self) -> Option<Relative> {
        let mut relatives = self.relatives();
        let is_labelled = |of: &Relative| of.lineage.kin != Kin::Unknown;
        let at = relatives.iter().position(is_labelled).unwrap_or(0);
        (at < relatives.len()).then(|| relatives.swap_remove(at))
    }
}

/// Another model, and what it is to one.
#[derive(Clone, Debug)]
pub(super) struct Relative {
    root: Digest,
    name: String,
    lineage: Lineage,
}

impl Relative {
    /// It in one cell, as the table of relatives has it.
    pub(super) fn cell(&self, ask: &Ask) -> Cell {
        let Lineage { correlation, kin, .. } = self.lineage;
        if kin == Kin::Unknown {
            return Cell::text(label(kin));
        }
        let said = format!("{}: {} ({})", label(kin), self.name, decimals(correlation, 5));
        Cell::text(said).to(ask.to(&["model", &self.root.hex()]))
    }
}

/// The nearest relatives of some models, by their roots.
pub(super) type Nearest = BTreeMap<Digest, Relative>;

/// Nearest relatives of models of leaderboards, by all that they follow from: to find them takes
/// records to be unpacked, and those of a round stay the same until the next.
#[derive(Debug, Default)]
pub struct Kinships(Mutex<BTreeMap<Digest, Arc<Nearest>>>);

impl Kinships {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Nearest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: Digest) -> Option<Arc<Nearest>> {
        self.lock().get(&key).cloned()
    }

    fn keep(&self, key: Digest, nearest: Nearest) -> Arc<Nearest> {
        let nearest = Arc::new(nearest);
        let mut kept = self.lock();
        if kept.len() >= BOARDS_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&nearest));
        nearest
    }
}

impl Site {
    /// What a model is to those that were measured beside it.
    pub(super) fn kin(
        &self,
        index: &Index,
        ask: &Ask,
        results: &Results,
        root: Digest,
    ) -> Result<Table, Trouble> {
        let (mut company, mut n_bytes_left) = (Company::default(), UNPACKED_BYTES_MAX);
        for row in index.measured(results.series(), root, ask.until(), ROUNDS_MAX)? {
            if company.is_enough() {
                break;
            }
            let record = index.whole_within(row.id, &mut n_bytes_left)?;
            let Some(record) = record else { break };
            company.take(&record, root);
        }
        let mut table = empty();
        for Relative { root, name, lineage } in company.relatives().into_iter().take(RELATIVES_MAX)
        {
            table.rows.push(vec![
                Cell::text(name),
                root_cell(ask, Some(root)),
                Cell::text(label(lineage.kin)),
                Cell::number(lineage.correlation, decimals(lineage.correlation, 5)),
                Cell::count(lineage.n_documents as u64),
            ]);
        }
        Ok(table)
    }

    /// The nearest relatives of some models of a leaderboard, by the documents of the last rounds
    /// up to it: what the pages of these models have in their tables.
    pub(super) fn nearest(
        &self,
        index: &Index,
        row: &Row,
        roots: &BTreeSet<Digest>,
    ) -> Result<Arc<Nearest>, Trouble> {
        let rows = index.believed(row.series(), row.block, ROUNDS_MAX)?;
        let key = key(rows.iter().map(|row| row.digest), roots.iter().copied());
        if let Some(nearest) = self.kinships.get(key) {
            return Ok(nearest);
        }
        let (mut records, mut n_bytes_left) = (Vec::new(), BOARD_BYTES_MAX);
        for row in rows {
            let record = index.whole_within(row.id, &mut n_bytes_left)?;
            let Some(record) = record else { break };
            records.push(record);
        }
        // One model after the other: the pairs of each take as much as the records.
        let nearest = |root: &Digest| {
            let mut company = Company::default();
            for record in &records {
                if company.is_enough() {
                    break;
                }
                company.take(record, *root);
            }
            Some((*root, company.nearest()?))
        };
        Ok(self.kinships.keep(key, roots.iter().filter_map(nearest).collect()))
    }
}

/// What relatives follow from: records, and the models whose relatives they are.
fn key(records: impl Iterator<Item = Digest>, roots: impl Iterator<Item = Digest>) -> Digest {
    let [records, roots]: [Vec<u8>; 2] =
        [records.flat_map(|digest| digest.0).collect(), roots.flat_map(|root| root.0).collect()];
    Digest::of_fields("dashboard relatives", &[&records, &roots])
}

fn empty() -> Table {
    let columns = vec![
        column("model", "Model", ""),
        column("root", "Tensor root", ""),
        column("kin", "They are", ""),
        column("correlation", "Correlation of losses", "-1 to 1"),
        column("documents", "On", "documents"),
    ];
    let caption = "Lineage: whose losses go with its own; a label for people, and in no verdict";
    let mut table = Table::new("kin", caption, columns);
    table.empty = "no other model was measured beside it";
    table
}

fn label(kin: Kin) -> &'static str {
    match kin {
        Kin::Same => "the same to the bit",
        Kin::NearCopy => "near copies",
        Kin::Related => "related",
        Kin::Independent => "independent",
        Kin::Unknown => "unknown: too few documents",
    }
}
