//! Records of rounds of duels: made, and verified, from what the records before them tell.

use super::{
    Crown, Finding, Judged, Mismatch, Model, RECORD_FORMAT, Record, Round, averaged,
    verify::{check_measured, compare, outline, verify},
};
use crate::{
    Competition, Digest, Loss, Verdict,
    competition::Rule,
    digest::canonical_json,
    duel::{Bout, Decided, Entrant, Reign, Wanted},
    score::absent,
    weights::MovingAverage,
};
use std::collections::BTreeMap;

impl Record {
    /// Judges the models of a round by rule `duel`, on from `before`, which the records before this
    /// one tell; `average` takes in the weights.
    ///
    /// No two models share a uid; their order does not matter. They may have more losses than the
    /// round looks at: those that decide nothing are left out. An error where a loss is missing that
    /// is wanted (see [`Reign::round`]), or the losses are not those of a round.
    pub fn of_duels(
        round: Round,
        competition: &Competition,
        mut models: Vec<Model>,
        before: &Reign,
        average: &mut MovingAverage,
    ) -> Result<Self, Mismatch> {
        models.sort_by_key(|model| model.uid);
        let mut decided = decide(&round, competition, &models, before)?;
        for model in &mut models {
            let n_used = decided.n_used.get(&model.uid).copied().unwrap_or(0);
            if let Finding::Evaluated(losses) = &mut model.finding {
                losses.truncate(n_used);
            }
        }
        let verdicts = verdicts(&models, &decided);
        let judged = |(model, verdict): (Model, Verdict)| {
            let fight = decided.fights.remove(&model.uid);
            Judged { model, verdict, fight }
        };
        let models: Vec<Judged> = models.into_iter().zip(verdicts).map(judged).collect();
        let averages = averaged(competition, &models, average);
        let (champion, crown) = (decided.champion.map(|champion| champion.uid), crown(&decided));
        Ok(Self { format: RECORD_FORMAT, round, models, averages, champion, crown })
    }
}

/// Derives duels, weights and crown of a record again from its losses, on from `before`: what the
/// records before it told ([`Reign::follow`]), or nothing before the first.
///
/// A record of other rules is verified by itself. Whether the losses are true only a new evaluation
/// can tell.
pub fn verify_duels(
    record: &Record,
    competition: &Competition,
    before: &Reign,
) -> Result<(), Mismatch> {
    if competition.scoring.rule != Rule::Duel {
        return verify(record, competition);
    }
    let models = outline(record, competition)?;
    let decided = decide(&record.round, competition, &models, before)?;
    for Judged { model, fight, .. } in &record.models {
        let uid = model.uid;
        if let Finding::Evaluated(losses) = &model.finding {
            let (recorded, derived) = (losses.len(), decided.n_used.get(&uid).copied());
            let derived = derived.unwrap_or(0);
            if recorded != derived {
                return Err(Mismatch::Used { uid, recorded, derived });
            }
        }
        // As bytes: numbers that are equal may still have other bits.
        if canonical_json(fight) != canonical_json(&decided.fights.get(&uid)) {
            return Err(Mismatch::Fight(uid));
        }
    }
    let champion = decided.champion.map(|champion| champion.uid);
    compare(record, &verdicts(&models, &decided), champion)?;
    if canonical_json(&record.crown) != canonical_json(&crown(&decided)) {
        return Err(Mismatch::Crown);
    }
    Ok(())
}

/// Decides a round by the losses of its models, in order of uid.
fn decide(
    round: &Round,
    competition: &Competition,
    models: &[Model],
    before: &Reign,
) -> Result<Decided, Mismatch> {
    let (recorded, expected) = (round.documents.len(), competition.evaluation.n_batches);
    if recorded != expected {
        return Err(Mismatch::Documents { recorded, expected });
    }
    check_measured(models)?;
    let mut entrants = Vec::new();
    let mut losses: BTreeMap<Digest, &[Loss]> = BTreeMap::new();
    for model in models {
        let Finding::Evaluated(measured) = &model.finding else { continue };
        let Model { uid, hotkey, .. } = *model;
        let root = model.tensor_root.ok_or(Mismatch::Root(uid))?;
        let coldkey = model.coldkey.ok_or(Mismatch::Coldkey(uid))?;
        if measured.len() > expected {
            return Err(Mismatch::Batches(uid));
        }
        if measured.iter().any(|loss| !loss.is_finite()) {
            return Err(Mismatch::NotFinite(uid));
        }
        entrants.push(Entrant { uid, hotkey, coldkey, seniority: model.seniority(), root });
        losses.insert(root, measured);
    }
    let documents: Vec<Digest> = round.documents.iter().map(|document| document.sha256).collect();
    let (block, entrants) = (round.block, entrants.as_slice());
    let bout = Bout { block, entrants, documents: &documents, losses: &losses };
    before.round(&competition.scoring, &bout).map_err(|Wanted { root, n_documents }| {
        let wanted = entrants.iter().find(|entrant| entrant.root == root);
        let uid = wanted.map(|entrant| entrant.uid).unwrap_or_default();
        Mismatch::Wanted { uid, n_documents }
    })
}

/// Verdicts in the order of `models`; whoever took no part is absent.
fn verdicts(models: &[Model], decided: &Decided) -> Vec<Verdict> {
    let of = |model: &Model| {
        let at = decided.verdicts.binary_search_by_key(&model.uid, |verdict| verdict.uid);
        at.ok().and_then(|at| decided.verdicts.get(at).copied()).unwrap_or(absent(model.uid))
    };
    models.iter().map(of).collect()
}

fn crown(decided: &Decided) -> Option<Crown> {
    let predecessor = decided.predecessor;
    decided.champion.map(|champion| Crown { champion, predecessor })
}
