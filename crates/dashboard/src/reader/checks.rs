//! What is looked at in a record besides signature, link and verdict.

use chain::{Chain, StoredCommitment};
use protocol::{
    Block, Commitment, Competition, Record, Uid,
    pool::{Moment, Payee, paid_most},
    record::{Judged, Round},
};

/// Most bytes of what names a document.
const DOCUMENT_ID_BYTES_MAX: usize = 1_024;
/// Most bytes of what names an engine.
const ENGINE_BYTES_MAX: usize = 256;
/// Most bytes of what names an architecture: 64 letters of four bytes.
const ARCHITECTURE_BYTES_MAX: usize = 256;
/// Most losses of a model: rules have no more batches.
const LOSSES_MAX: usize = 10_000;

/// Whether the texts of a record, which no rules bound, are of a length that pages can show; what
/// is wrong otherwise.
pub(super) fn lengths(record: &Record) -> Result<(), String> {
    let round = &record.round;
    if round.engine.len() > ENGINE_BYTES_MAX {
        return Err(format!("its engine has a name of more than {ENGINE_BYTES_MAX} bytes"));
    }
    if round.documents.iter().any(|drawn| drawn.id.len() > DOCUMENT_ID_BYTES_MAX) {
        return Err(format!("a document has an id of more than {DOCUMENT_ID_BYTES_MAX} bytes"));
    }
    let mut cards = record.models.iter().filter_map(|judged| judged.model.card.as_ref());
    if cards.any(|card| card.architecture.len() > ARCHITECTURE_BYTES_MAX) {
        return Err(format!(
            "an architecture has a name of more than {ARCHITECTURE_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

/// Whether a record is one by any rules; what is wrong otherwise. Where its rules are known,
/// deriving it tells more.
pub(super) fn outline(record: &Record) -> Result<(), String> {
    let models = &record.models;
    if let Some(pair) = models.windows(2).find(|pair| pair[0].model.uid >= pair[1].model.uid) {
        return Err(format!("uid `{}` is out of order", pair[1].model.uid));
    }
    if let Some(pair) = record.skipped.windows(2).find(|pair| pair[0].uid >= pair[1].uid) {
        return Err(format!("uid `{}` is out of order", pair[1].uid));
    }
    let is_there = |uid: Uid| models.iter().any(|judged| judged.model.uid == uid);
    if let Some(champion) = record.champion.filter(|champion| !is_there(*champion)) {
        return Err(format!("its champion, uid `{champion}`, is not among its models"));
    }
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    let is_sound = |judged: &&Judged| {
        judged.model.finding.losses().len() <= LOSSES_MAX
            && is_share(judged.verdict.win_rate)
            && is_share(judged.verdict.weight)
    };
    match models.iter().find(|judged| !is_sound(judged)) {
        Some(judged) => {
            let uid = judged.model.uid;
            Err(format!("uid `{uid}` has a share that is none, or more losses than any rules ask"))
        }
        None => Ok(()),
    }
}

/// Whom the chain paid most at the seed of a round, and in how many blocks it may pay for one, as
/// validators read it: from the state in which the youngest commitments of the round stood.
pub(super) fn paid(
    chain: &dyn Chain,
    rules: &Competition,
    round: &Round,
) -> Result<(Option<Uid>, u64), chain::Error> {
    let at = Block(round.block.0.saturating_sub(rules.evaluation.commitment_age_min));
    let rewards = chain.rewards(round.netuid, at)?;
    let payee = |stored: &StoredCommitment| {
        let commitment = Commitment::parse(&stored.data);
        let is_ours = commitment.is_ok_and(|commitment| commitment.competition == rules.id);
        let incentive = rewards.incentives.get(usize::from(stored.uid.0)).copied().unwrap_or(0);
        (is_ours && stored.block >= stored.registered).then_some(Payee {
            uid: stored.uid,
            incentive,
            committed: stored.block,
        })
    };
    let stored = chain.commitments(round.netuid, at)?;
    let payees: Vec<Payee> = stored.iter().filter_map(payee).collect();
    let settling_blocks = rewards.settling_blocks();
    let moment = Moment { seed: round.block, settling_blocks };
    Ok((paid_most(rules, moment, &payees), settling_blocks))
}
