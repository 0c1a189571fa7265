//! Duels as the records of one validator have them, each record derived from those before it.

use crate::command::replay::{
    derive::Past,
    report::Outcome,
    source::{Item, Series},
};
use protocol::{
    Competition, Digest, Record,
    duel::{Fight, N_DOCUMENTS_LIMIT},
    record::Judged,
};
use records::Signed;
use std::collections::BTreeSet;

/// A duel as the records of one validator have it.
pub struct Held {
    /// As the newest of them has it.
    pub fight: Fight,
    /// The documents that it has taken in.
    pub documents: BTreeSet<Digest>,
    /// Why its documents are not all known, if so.
    pub lacks: Option<String>,
}

/// A record that its validator has signed, or why it is none.
pub fn read(item: &Item) -> anyhow::Result<Result<Signed, String>> {
    Ok(item.read()?.and_then(|signed| match signed.is_genuine() {
        true => Ok(signed),
        false => Err("its signature is not its validator's".to_owned()),
    }))
}

/// The first record that begins a series: it says what all are of.
pub fn first(series: &[Series]) -> anyhow::Result<Option<Record>> {
    for item in series.iter().filter_map(|series| series.items.first()) {
        if let Ok(signed) = read(item)? {
            return Ok(Some(signed.record));
        }
    }
    Ok(None)
}

/// What is wrong with a record by its rules and the records before it, if so.
pub fn fault(record: &Record, rules: &Competition, past: &Past) -> Option<String> {
    if record.round.competition_digest != rules.digest() {
        return Some("it follows other rules than the records before".to_owned());
    }
    // Of a record that goes on from nothing that is there nothing more is derived.
    let (n, n_batches) = (record.round.documents.len(), rules.evaluation.n_batches);
    if n != n_batches {
        return Some(format!("it has {n} documents, and its rules ask for {n_batches}"));
    }
    let fights = record.models.iter().filter_map(|judged| judged.fight.as_ref());
    let counted = fights.map(|fight| fight.evidence.n_documents()).max().unwrap_or(0);
    if counted > N_DOCUMENTS_LIMIT {
        return Some(format!("{counted} documents are more than any duel has"));
    }
    let mut steps = std::iter::once(past.link(record)).chain(past.derive(record, rules));
    steps.find_map(|step| match step.outcome {
        Outcome::Differs { at, expected, found } => {
            let part = step.part;
            Some(format!("its {part} DIFFERS: {at}: expected {expected}, found {found}"))
        }
        _ => None,
    })
}

impl Held {
    /// A duel after one more record.
    pub fn after(
        before: Option<Self>,
        (judged, fight): (&Judged, &Fight),
        record: &Record,
    ) -> Self {
        let block = record.round.block;
        let before = before.filter(|before| before.fight.began == fight.began);
        let is_whole = before.is_some() || fight.began == block;
        let (mut documents, lacks) = match before {
            Some(before) => (before.documents, before.lacks),
            None => (BTreeSet::new(), None),
        };
        let n = usize::try_from(fight.evidence.n_documents()).unwrap_or(usize::MAX);
        let n_used = judged.model.finding.losses().len();
        for document in record.round.documents.iter().take(n_used) {
            // What comes after the decision is no part of it.
            if documents.len() >= n {
                break;
            }
            documents.insert(document.sha256);
        }
        let missing =
            || format!("the record of block {}, in which it began, is not there", fight.began);
        let lacks = lacks.or_else(|| (!is_whole).then(missing));
        Self { fight: fight.clone(), documents, lacks }
    }
}
