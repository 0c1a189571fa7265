//! What one record says of a reign, where the records before it are not there.

use super::Reign;
use crate::{
    Digest, Record,
    duel::{Fight, N_DOCUMENTS_LIMIT},
};
use std::collections::BTreeSet;

/// Most documents of a record's open duels together that are stood in for: a stranger says how many
/// there are.
const STAND_INS_MAX: u32 = 1 << 20;

impl Reign {
    /// The state after a record of which nothing before is known: crown and evidence are as it says.
    ///
    /// Two things it does not say: which documents its duels have taken in before, so that one that
    /// comes again would count twice; and how often coldkeys have tried that have no duel in it. So
    /// a later record that goes on from here in another way may still be right.
    pub fn believed(record: &Record) -> Self {
        let champion = record.crown.map(|crown| crown.champion);
        let mut reign = Self { champion, ..Self::default() };
        reign.follow(record);
        let root = champion.map(|champion| champion.root);
        // Evidence against whoever lost the crown in this round counts no more.
        reign.fights.retain(|_, kept| Some(kept.fight.terms.pairing.champion) == root);
        for judged in &record.models {
            if let (Some(fight), Some(coldkey)) = (&judged.fight, judged.model.coldkey) {
                reign.budget.note(coldkey, fight.attempts);
            }
        }
        let mut left = STAND_INS_MAX;
        reign.fights.retain(|_, kept| {
            kept.fight.verdict.is_some() || stand_in(&kept.fight, &mut kept.documents, &mut left)
        });
        reign
    }
}

/// Adds a name for each document that is not known, so that a duel has as many as it counts; false
/// where it counts more than any has, or all together more than are added.
fn stand_in(fight: &Fight, documents: &mut BTreeSet<Digest>, left: &mut u32) -> bool {
    let n = fight.evidence.n_documents();
    let Ok(n_known) = u32::try_from(documents.len()) else { return false };
    let n_missing = n.saturating_sub(n_known);
    if n > N_DOCUMENTS_LIMIT || n_missing > *left {
        return false;
    }
    *left -= n_missing;
    for number in n_known..n {
        let fields: [&[u8]; 2] = [&fight.challenger.0, &number.to_le_bytes()];
        documents.insert(Digest::of_fields("agon unknown document", &fields));
    }
    true
}
