//! Records of rounds of duels: made, and verified, from what the records before them tell.

use super::{
    Crown, Finding, Judged, Mismatch, Model, RECORD_FORMAT, Record, Round, Skipped, averaged,
    verify::{check_measured, compare, outline, verify},
};
use crate::{
    AccountId, Competition, Digest, Loss, Uid, Verdict,
    competition::Rule,
    digest::canonical_json,
    duel::{Bout, Decided, Entrant, Hidden, Missing, Reign, Wanted},
    pool::overtaking_blocks,
    score::absent,
    weights::MovingAverage,
};
use std::collections::BTreeMap;

/// What a round of duels goes by besides its models.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// What the records before it tell.
    pub before: &'a Reign,
    /// Slot that the chain paid most ([`Crown::paid`]).
    pub paid: Option<Uid>,
    /// Blocks that the chain may take to pay for a round.
    pub settling_blocks: u64,
    /// Models without an outcome, in any order.
    pub skipped: Vec<Skipped>,
}

impl<'a> Setting<'a> {
    /// What a record says that its round went by, on from `before`.
    pub fn of(record: &Record, before: &'a Reign) -> Self {
        Self {
            before,
            paid: record.crown.and_then(|crown| crown.paid),
            settling_blocks: record.crown.map_or(0, |crown| crown.settling_blocks),
            skipped: record.skipped.clone(),
        }
    }
}

impl Record {
    /// Judges the models of a round by rule `duel`; `average` takes in the weights.
    ///
    /// No two models share a uid; their order does not matter. They may have more losses than the
    /// round looks at: those that decide nothing are left out. An error where a loss is missing
    /// that is wanted (see [`Reign::round`]), where the champion was skipped, or where the losses
    /// are not those of a round.
    pub fn of_duels(
        round: Round,
        competition: &Competition,
        mut models: Vec<Model>,
        mut setting: Setting<'_>,
        average: &mut MovingAverage,
    ) -> Result<Self, Mismatch> {
        models.sort_by_key(|model| model.uid);
        setting.skipped.sort_by_key(|skipped| skipped.uid);
        let mut decided = decide(&round, competition, &models, &setting)?;
        for model in &mut models {
            let n_used = decided.n_used.get(&model.uid).copied().unwrap_or(0);
            if let Finding::Evaluated(losses) = &mut model.finding {
                losses.truncate(n_used);
            }
        }
        let verdicts = verdicts(&models, &decided);
        let judged = |(model, verdict): (Model, Verdict)| {
            let fight = decided.fights.remove(&model.uid);
            let attempts = decided.hidden.get(&model.uid).copied();
            Judged { model, verdict, fight, attempts }
        };
        let models: Vec<Judged> = models.into_iter().zip(verdicts).map(judged).collect();
        let averages = averaged(competition, &models, average);
        let champion = decided.champion.map(|champion| champion.uid);
        let crown = crown(&decided, &setting);
        let skipped = setting.skipped;
        let models = models.into();
        Ok(Self { format: RECORD_FORMAT, round, models, skipped, averages, champion, crown })
    }
}

/// Derives duels, weights and crown of a record again from its losses, on from `before`: what the
/// records before it told ([`Reign::follow`]), or nothing before the first.
///
/// A record of other rules is verified by itself. Whether the losses are true only a new evaluation
/// can tell, and whom the chain paid only the chain.
pub fn verify_duels(
    record: &Record,
    competition: &Competition,
    before: &Reign,
) -> Result<(), Mismatch> {
    if competition.scoring.rule != Rule::Duel {
        return verify(record, competition);
    }
    let models = outline(record, competition)?;
    let setting = Setting::of(record, before);
    let decided = decide(&record.round, competition, &models, &setting)?;
    for Judged { model, fight, attempts, .. } in &record.models {
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
        if *attempts != decided.hidden.get(&uid).copied() {
            return Err(Mismatch::Attempts(uid));
        }
    }
    let champion = decided.champion.map(|champion| champion.uid);
    compare(record, &verdicts(&models, &decided), champion)?;
    if canonical_json(&record.crown) != canonical_json(&crown(&decided, &setting)) {
        return Err(Mismatch::Crown);
    }
    Ok(())
}

/// Whether the round of a record of duels found the throne empty, on from `before`: then, and only
/// then, were all models measured on all of its text, so that the bar of guessing holds.
pub fn is_filled_by_line(record: &Record, competition: &Competition, before: &Reign) -> bool {
    let models = record.models.iter().map(|judged| &judged.model);
    let setting = Setting::of(record, before);
    let is_vacant = |bout: &Bout<'_>| before.is_vacant(bout);
    let found = with_bout(&record.round, competition, models, (&setting, is_vacant));
    found.unwrap_or(false)
}

/// Decides a round by the losses of its models, in order of uid.
fn decide(
    round: &Round,
    competition: &Competition,
    models: &[Model],
    setting: &Setting<'_>,
) -> Result<Decided, Mismatch> {
    check_measured(models)?;
    check_skipped(models, &setting.skipped)?;
    let decide = |bout: &Bout<'_>| {
        setting.before.round(&competition.scoring, bout).map_err(|missing| match missing {
            Missing::Losses(Wanted { root, n_documents }) => {
                let wanted = bout.entrants.iter().find(|entrant| entrant.root == root);
                let uid = wanted.map(|entrant| entrant.uid).unwrap_or_default();
                Mismatch::Wanted { uid, n_documents }
            }
            Missing::Champion(hotkey) => {
                let skipped = setting.skipped.iter().find(|skipped| skipped.hotkey == hotkey);
                Mismatch::Skipped(skipped.map(|skipped| skipped.uid).unwrap_or_default())
            }
        })
    };
    with_bout(round, competition, models.iter(), (setting, decide))?
}

/// Looks at a round as its duels do; an error where its losses are not those of one.
fn with_bout<'a, T>(
    round: &Round,
    competition: &Competition,
    models: impl Iterator<Item = &'a Model>,
    (setting, look): (&Setting<'_>, impl FnOnce(&Bout<'_>) -> T),
) -> Result<T, Mismatch> {
    let (recorded, expected) = (round.documents.len(), competition.evaluation.n_batches);
    if recorded != expected {
        return Err(Mismatch::Documents { recorded, expected });
    }
    let (mut entrants, mut hidden) = (Vec::new(), Vec::new());
    let mut losses: BTreeMap<Digest, &[Loss]> = BTreeMap::new();
    for model in models {
        let Model { uid, hotkey, .. } = *model;
        let coldkey = model.coldkey.ok_or(Mismatch::Coldkey(uid));
        let measured = match &model.finding {
            Finding::Evaluated(measured) => measured,
            Finding::Disqualified(code) => {
                if code.is_of_owner() {
                    let (coldkey, root) = (coldkey?, model.tensor_root);
                    hidden.push(Hidden { uid, hotkey, coldkey, root });
                }
                continue;
            }
        };
        let root = model.tensor_root.ok_or(Mismatch::Root(uid))?;
        let coldkey = coldkey?;
        if measured.len() > expected {
            return Err(Mismatch::Batches(uid));
        }
        if measured.iter().any(|loss| !loss.is_finite()) {
            return Err(Mismatch::NotFinite(uid));
        }
        entrants.push(Entrant { uid, hotkey, coldkey, seniority: model.committed(), root });
        losses.insert(root, measured);
    }
    let documents: Vec<Digest> = round.documents.iter().map(|document| document.sha256).collect();
    let skipped: Vec<AccountId> = setting.skipped.iter().map(|skipped| skipped.hotkey).collect();
    Ok(look(&Bout {
        block: round.block,
        rules: round.competition_digest,
        paid: setting.paid,
        settling_blocks: overtaking_blocks(competition, setting.settling_blocks),
        entrants: &entrants,
        hidden: &hidden,
        skipped: &skipped,
        documents: &documents,
        losses: &losses,
    }))
}

/// Whether the models without an outcome are in ascending order of uid, each once, and no model
/// with one is among them.
fn check_skipped(models: &[Model], skipped: &[Skipped]) -> Result<(), Mismatch> {
    if let Some(pair) = skipped.windows(2).find(|pair| pair[0].uid >= pair[1].uid) {
        return Err(Mismatch::Order(pair[1].uid));
    }
    let is_judged = |skipped: &&Skipped| {
        models.iter().any(|model| model.uid == skipped.uid || model.hotkey == skipped.hotkey)
    };
    match skipped.iter().find(is_judged) {
        Some(skipped) => Err(Mismatch::Skipped(skipped.uid)),
        None => Ok(()),
    }
}

/// Verdicts in the order of `models`; whoever took no part is absent.
fn verdicts(models: &[Model], decided: &Decided) -> Vec<Verdict> {
    let of = |model: &Model| {
        let at = decided.verdicts.binary_search_by_key(&model.uid, |verdict| verdict.uid);
        at.ok().and_then(|at| decided.verdicts.get(at).copied()).unwrap_or(absent(model.uid))
    };
    models.iter().map(of).collect()
}

fn crown(decided: &Decided, setting: &Setting<'_>) -> Option<Crown> {
    let predecessor = decided.predecessor;
    let Setting { paid, settling_blocks, .. } = *setting;
    decided.champion.map(|champion| Crown { champion, predecessor, paid, settling_blocks })
}
