//! Whether a record is what its rules make of the losses in it, and continues the one before.

use super::{Finding, Model, RECORD_FORMAT, Record, averaged, judge};
use crate::{
    Block, Competition, Digest, Uid, Verdict,
    competition::Rule,
    digest::canonical_json,
    owner::{Claim, duplicates},
    weights::MovingAverage,
};

/// Why a record is not what the rules give.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// Written in a format that is not known here.
    #[error("the record has format {0}, not {RECORD_FORMAT}")]
    Format(u32),
    /// Judged by other rules.
    #[error("the record follows rules {recorded}, not {given}")]
    Rules {
        /// Digest of the rules that the record names.
        recorded: Digest,
        /// Digest of the rules that it was compared with.
        given: Digest,
    },
    /// Another competition than the rules are of.
    #[error("the record is of competition `{recorded}`, the rules are those of `{given}`")]
    Competition {
        /// Name in the record.
        recorded: String,
        /// Name in the rules.
        given: String,
    },
    /// No round of the competition starts at this block.
    #[error("no round starts at block {0}")]
    Block(Block),
    /// The models are not in ascending order of uid, each once.
    #[error("uid `{0}` is out of order")]
    Order(Uid),
    /// The commitment was too young, or later than the seed.
    #[error("the commitment of uid `{0}` is too young for the round")]
    Age(Uid),
    /// The losses do not give this verdict.
    #[error("uid `{}` was given {}, its losses give {}", .recorded.uid, told(.recorded), told(.derived))]
    Verdict {
        /// What the record says.
        recorded: Box<Verdict>,
        /// What the losses give.
        derived: Box<Verdict>,
    },
    /// A model has more or fewer losses than the round has batches.
    #[error("uid `{0}` does not have a loss for each batch")]
    Batches(Uid),
    /// A model has losses, but no root that tells whose it is.
    #[error("the model of uid `{0}` was measured, but has no tensor root")]
    Root(Uid),
    /// A model is said to be something, but has no root that tells what was read.
    #[error("the model of uid `{0}` has a card, but no tensor root")]
    Card(Uid),
    /// The same model counts for two commitments.
    #[error("uid `{0}` is judged with the model of somebody who committed to it before")]
    Duplicate(Uid),
    /// The losses give another champion.
    #[error("the record crowns {}, its losses {}", crowned(.recorded), crowned(.derived))]
    Champion {
        /// What the record says.
        recorded: Option<Uid>,
        /// What the losses give.
        derived: Option<Uid>,
    },
    /// A round of duels, which is verified by the records before it.
    #[error("its duels go on from round to round: it is verified with the records before it")]
    Past,
    /// The round was not measured on as many documents as the rules say.
    #[error("the round has {recorded} documents, its rules ask for {expected}")]
    Documents {
        /// Documents in the record.
        recorded: usize,
        /// What the rules ask for.
        expected: usize,
    },
    /// A model was measured, or hides, and its owner is not told.
    #[error("the model of uid `{0}` has no coldkey that its attempts are paid from")]
    Coldkey(Uid),
    /// A model with a loss that is not finite is disqualified, and duels nobody.
    #[error("uid `{0}` is judged by a loss that is not finite")]
    NotFinite(Uid),
    /// The round could not be decided on the losses that are there.
    #[error("the losses of uid `{uid}` on the first {n_documents} documents are wanted")]
    Wanted {
        /// Slot of the model.
        uid: Uid,
        /// How many are wanted.
        n_documents: usize,
    },
    /// A model has more losses than decided anything.
    #[error("uid `{uid}` has {recorded} losses, of which {derived} decided anything")]
    Used {
        /// Slot of the model.
        uid: Uid,
        /// Losses in the record.
        recorded: usize,
        /// How many of them were looked at.
        derived: usize,
    },
    /// The losses, after the records before, give another duel, or none.
    #[error("the duel of uid `{0}` is not what its losses give")]
    Fight(Uid),
    /// The models and the records before give another attempt for hiding, or none.
    #[error("the attempt that uid `{0}` pays for hiding is not what the rules give")]
    Attempts(Uid),
    /// A model is said to be skipped that has an outcome, or holds the crown: a round without its
    /// champion is given up; or by rules that have no such.
    #[error("uid `{0}` is said to be skipped where it cannot be")]
    Skipped(Uid),
    /// The losses, after the records before, give another crown, or none.
    #[error("the crown is not what the losses give: its holder, reference, start or predecessor")]
    Crown,
    /// The record does not continue the one before it.
    #[error("the record does not continue the record before it: its {0} differs")]
    Previous(&'static str),
}

/// A verdict in the words of a record.
fn told(verdict: &Verdict) -> String {
    String::from_utf8_lossy(&canonical_json(verdict)).into_owned()
}

fn crowned(uid: &Option<Uid>) -> String {
    uid.map_or("nobody".to_owned(), |uid| format!("uid `{uid}`"))
}

/// Derives wins, weights and champion again from the losses in `record`.
///
/// Whether the losses are true only a new evaluation can tell. A round of duels is verified by
/// [`super::verify_duels`], from what the records before it tell.
pub fn verify(record: &Record, competition: &Competition) -> Result<(), Mismatch> {
    let models = outline(record, competition)?;
    if competition.scoring.rule == Rule::Duel {
        return Err(Mismatch::Past);
    }
    check_measured(&models)?;
    let n_batches = competition.evaluation.n_batches;
    for model in &models {
        if matches!(&model.finding, Finding::Evaluated(losses) if losses.len() != n_batches) {
            return Err(Mismatch::Batches(model.uid));
        }
    }
    if let Some(judged) = record.models.iter().find(|judged| judged.fight.is_some()) {
        return Err(Mismatch::Fight(judged.model.uid));
    }
    if let Some(judged) = record.models.iter().find(|judged| judged.attempts.is_some()) {
        return Err(Mismatch::Attempts(judged.model.uid));
    }
    if let Some(skipped) = record.skipped.first() {
        return Err(Mismatch::Skipped(skipped.uid));
    }
    if record.crown.is_some() {
        return Err(Mismatch::Crown);
    }
    let (verdicts, champion) = judge(competition, record.round.block, &models);
    compare(record, &verdicts, champion)
}

/// Checks all that no loss decides; the models of the record.
pub(super) fn outline(record: &Record, competition: &Competition) -> Result<Vec<Model>, Mismatch> {
    if record.format != RECORD_FORMAT {
        return Err(Mismatch::Format(record.format));
    }
    let (recorded, given) = (record.round.competition_digest, competition.digest());
    if recorded != given {
        return Err(Mismatch::Rules { recorded, given });
    }
    if record.round.competition != competition.name {
        let (recorded, given) = (record.round.competition.clone(), competition.name.clone());
        return Err(Mismatch::Competition { recorded, given });
    }
    let block = record.round.block;
    let every = competition.evaluation.blocks_per_round;
    if !competition.runs_at(block) || !block.0.is_multiple_of(every) {
        return Err(Mismatch::Block(block));
    }
    let models: Vec<Model> = record.models.iter().map(|judged| judged.model.clone()).collect();
    if let Some(pair) = models.windows(2).find(|pair| pair[0].uid >= pair[1].uid) {
        return Err(Mismatch::Order(pair[1].uid));
    }
    let age_min = competition.evaluation.commitment_age_min;
    if let Some(young) = models.iter().find(|model| block.since(model.commit_block) < age_min) {
        return Err(Mismatch::Age(young.uid));
    }
    if let Some(unseen) = models.iter().find(|model| model.since > Some(block)) {
        return Err(Mismatch::Age(unseen.uid));
    }
    // What a card says has no weight, and only whoever has the model can tell whether it is true.
    let is_unread = |model: &&Model| model.card.is_some() && model.tensor_root.is_none();
    if let Some(unread) = models.iter().find(is_unread) {
        return Err(Mismatch::Card(unread.uid));
    }
    Ok(models)
}

/// Whether a record gives the verdicts and the champion that were derived.
pub(super) fn compare(
    record: &Record,
    verdicts: &[Verdict],
    champion: Option<Uid>,
) -> Result<(), Mismatch> {
    for (judged, derived) in record.models.iter().zip(verdicts) {
        if judged.verdict != *derived {
            let (recorded, derived) = (Box::new(judged.verdict), Box::new(*derived));
            return Err(Mismatch::Verdict { recorded, derived });
        }
    }
    if record.champion != champion {
        return Err(Mismatch::Champion { recorded: record.champion, derived: champion });
    }
    Ok(())
}

/// Whether `record` continues `previous`, the record of the same validator and competition before
/// it: names its digest, comes later, and has its averages updated by the weights of this round.
///
/// Without a `previous`, whether it is a first record.
pub fn verify_chain(
    record: &Record,
    previous: Option<&Record>,
    competition: &Competition,
) -> Result<(), Mismatch> {
    verify_link(record, previous.map(|previous| (previous, previous.digest())), competition)
}

/// The same, where the digest of `previous` is known: to make it a record is spelt whole.
pub fn verify_link(
    record: &Record,
    previous: Option<(&Record, Digest)>,
    competition: &Competition,
) -> Result<(), Mismatch> {
    let ensure = |holds: bool, what| if holds { Ok(()) } else { Err(Mismatch::Previous(what)) };
    let round = &record.round;
    ensure(round.previous == previous.map(|(_, digest)| digest), "digest")?;
    if previous.is_none() {
        ensure(round.number == 1, "number")?;
    }
    let mut average = MovingAverage::default();
    if let Some((Record { round: before, averages, .. }, _)) = previous {
        ensure(round.validator == before.validator, "validator")?;
        ensure(round.genesis == before.genesis, "genesis")?;
        ensure(round.netuid == before.netuid, "netuid")?;
        ensure(round.competition == before.competition, "competition")?;
        ensure(Some(round.number) == before.number.checked_add(1), "number")?;
        ensure(round.block > before.block, "block")?;
        average = averages.clone().try_into().map_err(|_| Mismatch::Previous("average"))?;
    }
    ensure(averaged(competition, &record.models, &mut average) == record.averages, "average")
}

/// Whether each model with losses is its committer's alone as far as the record tells (see
/// [`crate::owner`]): an owner who was left out can only be found on chain.
pub(super) fn check_measured(models: &[Model]) -> Result<(), Mismatch> {
    let claims: Vec<Claim> = models.iter().filter_map(Model::claim).collect();
    let duplicates = duplicates(&claims);
    for model in models {
        let Finding::Evaluated(_) = model.finding else { continue };
        if model.tensor_root.is_none() {
            return Err(Mismatch::Root(model.uid));
        }
        if duplicates.contains_key(&model.uid) {
            return Err(Mismatch::Duplicate(model.uid));
        }
    }
    Ok(())
}
