//! Who comes from whom, as far as losses tell: computed here, and of no weight in any verdict.

use super::{Site, Trouble, model::Results, root_cell};
use crate::{
    ask::Ask,
    duels::{UNPACKED_BYTES_MAX, losses_of},
    figures::decimals,
    index::Index,
    table::{Cell, Table, column},
};
use protocol::{
    Digest, Loss, Record,
    lineage::{Kin, Lineage, lineage},
    record::Finding,
};
use std::collections::BTreeMap;

/// Documents after which no more rounds are looked at.
const DOCUMENTS_ENOUGH: usize = 256;
/// Most rounds that are looked at.
const ROUNDS_MAX: u64 = 8;
/// Most relatives that are listed.
const RELATIVES_MAX: usize = 64;

/// Losses of two models on the same documents.
#[derive(Default)]
struct Pair {
    name: String,
    own: Vec<Loss>,
    theirs: Vec<Loss>,
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
        let whose = (results.validator, results.competition.as_str());
        let (mut pairs, mut n_documents) = (BTreeMap::new(), 0);
        let mut n_bytes_left = UNPACKED_BYTES_MAX;
        for row in index.measured(whose, root, ask.until(), ROUNDS_MAX)? {
            if n_documents >= DOCUMENTS_ENOUGH {
                break;
            }
            let record = index.whole_within(row.id, &mut n_bytes_left)?;
            let Some(record) = record else { break };
            n_documents += losses_of(&record, root).len();
            gather(&mut pairs, &record, root);
        }
        let mut found: Vec<(Digest, String, Lineage)> = pairs
            .into_iter()
            .map(|(other, pair)| (other, pair.name, lineage(&pair.own, &pair.theirs)))
            .collect();
        let nearness = |of: &Lineage| of.correlation.unwrap_or(-1.0);
        found.sort_by(|a, b| nearness(&b.2).total_cmp(&nearness(&a.2)).then(a.0.cmp(&b.0)));
        let mut table = empty();
        for (other, name, of) in found.into_iter().take(RELATIVES_MAX) {
            table.rows.push(vec![
                Cell::text(name),
                root_cell(ask, Some(other)),
                Cell::text(label(of.kin)),
                Cell::number(of.correlation, decimals(of.correlation, 5)),
                Cell::count(of.n_documents as u64),
            ]);
        }
        Ok(table)
    }
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

/// Takes in what a record has of a model beside each of the others.
fn gather(pairs: &mut BTreeMap<Digest, Pair>, record: &Record, root: Digest) {
    let own = losses_of(record, root);
    for judged in &record.models {
        let model = &judged.model;
        let Some(other) = model.tensor_root.filter(|other| *other != root) else { continue };
        let Finding::Evaluated(losses) = &model.finding else { continue };
        let pair = pairs.entry(other).or_default();
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

fn label(kin: Kin) -> &'static str {
    match kin {
        Kin::Same => "the same to the bit",
        Kin::NearCopy => "near copies",
        Kin::Related => "related",
        Kin::Independent => "independent",
        Kin::Unknown => "unknown: too few documents",
    }
}
