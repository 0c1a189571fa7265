//! From the outcomes of a round to its decision: the record, and what else it leaves.

use crate::{
    book::{Book, Entry},
    duels,
    entry::After,
    event::{Duels, Fought, RoundSummary, Row},
    ports::Drawn,
    round::{Known, Measured, Skipped},
    state::{Found, Holder, Lapse, Skips},
    unheard::{self, Bytes},
};
use anyhow::Context as _;
use protocol::{
    AccountId, BlockHash, Digest, NetUid, Outcome, Reason, ReasonCode, Seniority, Uid, duel,
    loss::{mean, perplexity},
    queue::{self, Standing},
    record::{self, Finding, Judged, Model, Record, Setting},
};
use std::collections::BTreeMap;

/// Rounds in vain after which a commitment waits, twice as long each time.
const N_SKIPS_FREE: u64 = 2;
/// Longest wait, in rounds.
const WAIT_ROUNDS_MAX: u64 = 64;

/// Who judges, on which chain, and with what.
pub(crate) struct Judge<'a> {
    pub(crate) validator: AccountId,
    pub(crate) genesis: BlockHash,
    pub(crate) netuid: NetUid,
    pub(crate) engine: &'a str,
}

/// The record of a round, and what else it leaves.
pub(crate) struct Decision {
    pub(crate) record: Record,
    pub(crate) after: After,
}

impl Decision {
    /// Decides a round by the outcomes of its models; an error if it is not ripe for that.
    pub(crate) fn new(
        known: &Known<'_>,
        book: &Book,
        text: &Drawn,
        measured: &[Measured],
        judge: &Judge<'_>,
    ) -> anyhow::Result<Self> {
        let Known { contest, state, seed, .. } = known;
        let competition = &contest.competition;
        let round = record::Round {
            competition: competition.name.clone(),
            competition_digest: contest.rules,
            number: state.n_rounds + 1,
            previous: state.record,
            block: seed.block,
            block_hash: seed.hash,
            validator: judge.validator,
            genesis: judge.genesis,
            netuid: judge.netuid,
            engine: judge.engine.to_owned(),
            tokenizer: contest.text.tokenizer(),
            dataset: contest.text.dataset(),
            documents: text.documents.clone(),
            optimum: text.optimum,
            batches: text.digest,
        };
        let models = measured.iter().filter_map(|model| to_record(known, model)).collect();
        // The record takes the average along: it says what the round left, not what it found.
        let mut average = state.average.clone();
        let record = if known.duels().is_some() {
            let setting = Setting {
                before: &state.reign,
                paid: book.paid,
                settling_blocks: book.moment.settling_blocks,
                skipped: duels::skipped(&state.reign, measured),
            };
            Record::of_duels(round, competition, models, setting, &mut average)
                .context("a round of duels is decided too early")?
        } else {
            Record::new(round, competition, models, &mut average)
        };
        // After the record: who is kept in reserve follows from who won.
        let reserve = reserve(known, measured, &record);
        let is_new_reign = is_new_reign(known, &record);
        let is_heard_next =
            |model: &Measured| model.is_sound() && (is_new_reign || is_unheard(model, &record));
        let hotkey_of = |uid: Uid| {
            let entries = measured.iter().map(|model| &model.entry.stored);
            entries.filter(|stored| stored.uid == uid).map(|stored| stored.hotkey).next()
        };
        let after = After {
            reserve: reserve.into_iter().filter_map(hotkey_of).collect(),
            waiting: measured
                .iter()
                .filter(|model| model.outcome.is_err() || is_heard_next(model))
                .map(|model| model.entry.stored.hotkey)
                .collect(),
            lapses: lapses(known, book, measured),
            skips: skips(known, book, measured),
            present: book.all().map(|entry| entry.stored.hotkey).collect(),
            seen: unheard::seen(known, book, measured),
        };
        Ok(Self { record, after })
    }
}

/// A model as it stands in a record; `None` where our own trouble prevented an outcome.
fn to_record(known: &Known<'_>, model: &Measured) -> Option<Model> {
    let Measured { entry, file_root, tensor_root, outcome } = model;
    let (stored, commitment) = (&entry.stored, &entry.committed.commitment);
    let verdict = entry.verdict(known.state, &known.contest.rules);
    let card = match verdict.map(|verdict| &verdict.found) {
        Some(Found::Admitted(admission)) if Some(admission.tensor_root) == *tensor_root => {
            admission.card.clone()
        }
        _ => None,
    };
    Some(Model {
        uid: stored.uid,
        hotkey: stored.hotkey,
        // Whose budget a duel is paid from; other rules ask for no owner.
        coldkey: known.duels().map(|_| stored.coldkey),
        commit_block: stored.block,
        commit_block_hash: stored.block_hash,
        since: entry.since(known.state, known.seed.block),
        repo: Some(commitment.repo.clone()),
        revision: Some(commitment.revision.clone()),
        file_root: *file_root,
        tensor_root: *tensor_root,
        card,
        finding: outcome.as_ref().ok()?.into(),
    })
}

/// Who is measured if nobody who is paid can be: whoever came close, the best first, and whoever
/// was skipped.
fn reserve(known: &Known<'_>, measured: &[Measured], record: &Record) -> Vec<Uid> {
    let rules = &known.contest.competition;
    let n_kept = rules.evaluation.n_models_kept;
    // In a round that filled an empty throne nobody duelled: all have a mean loss, and no gain.
    if record.models.iter().all(|judged| judged.fight.is_none()) {
        let standings: Vec<Standing> =
            measured.iter().map(|model| standing(known, model, record)).collect();
        return queue::next_pool(&rules.scoring, &standings, record.champion, n_kept);
    }
    let mut close: Vec<(f64, Seniority, Uid)> = Vec::new();
    for Judged { model, fight, .. } in &record.models {
        if let Some(fight) = fight
            && fight.verdict != Some(duel::Verdict::Dethroned)
        {
            close.push((fight.evidence.mean(), model.seniority(), model.uid));
        }
    }
    // Of equals the senior first: every validator keeps the same.
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let skipped = measured.iter().filter(|model| model.outcome.is_err());
    let kept = close.into_iter().take(n_kept).map(|(_, _, uid)| uid);
    kept.chain(skipped.map(|model| model.entry.stored.uid)).collect()
}

/// Whether a model waits for its first turn: it has no duel, and others have one.
fn is_unheard(model: &Measured, record: &Record) -> bool {
    let uid = model.entry.stored.uid;
    let own = record.models.iter().find(|judged| judged.model.uid == uid);
    let has_duel = own.is_some_and(|judged| judged.fight.is_some());
    let is_champion = record.champion == Some(uid);
    !is_champion && !has_duel && record.models.iter().any(|judged| judged.fight.is_some())
}

/// Whether another reign began in a round, or other rules: whoever was in it is heard in the next
/// one, where it duels for the crown on documents of its own.
fn is_new_reign(known: &Known<'_>, record: &Record) -> bool {
    known.duels().is_some() && !known.state.reign.goes_on(record)
}

/// Where a model stands when it is asked who came close.
fn standing(known: &Known<'_>, model: &Measured, record: &Record) -> Standing {
    let stored = &model.entry.stored;
    let judged = record.models.iter().find(|judged| judged.model.uid == stored.uid);
    let measured = match (&model.outcome, judged) {
        (Ok(Outcome::Evaluated(losses)), Some(judged)) => {
            queue::Measured::Scored { win_rate: judged.verdict.win_rate, mean_loss: mean(losses) }
        }
        (Err(_), _) => queue::Measured::Skipped,
        _ => queue::Measured::Disqualified,
    };
    let averages = record
        .averages
        .iter()
        .find(|average| (average.uid, average.hotkey) == (stored.uid, stored.hotkey));
    Standing {
        uid: stored.uid,
        seniority: model.entry.seniority(known.state, known.seed.block),
        average: averages.map_or(0.0, |average| average.weight),
        measured,
    }
}

/// Which commitments were seen absent: those of before that still stand, and those of this round.
///
/// One that was absent and is seen again counts from this round on.
fn lapses(known: &Known<'_>, book: &Book, measured: &[Measured]) -> BTreeMap<AccountId, Lapse> {
    let seed = known.seed.block;
    let back = |before: Lapse| Lapse { since: Some(before.since.unwrap_or(seed)), ..before };
    let of = |entry: &Entry| {
        let committed = entry.stored.block;
        let before = entry.lapse(known.state);
        let model = measured.iter().find(|model| model.entry.stored.hotkey == entry.stored.hotkey);
        let is_absent = |reason: &Reason| reason.code == ReasonCode::NotPublished;
        let lapse = match model.map(|model| &model.outcome) {
            Some(Ok(Outcome::Disqualified(reason))) if is_absent(reason) => {
                Some(Lapse { committed, since: None })
            }
            Some(Ok(_)) => before.map(back),
            Some(Err(Skipped::Unheard(Bytes::Absent))) => Some(Lapse { committed, since: None }),
            Some(Err(Skipped::Unheard(Bytes::Here))) => before.map(back),
            // Nobody looked, or our own trouble kept us from seeing it.
            Some(Err(_)) | None => before,
        };
        Some((entry.stored.hotkey, lapse?))
    };
    book.in_time().filter_map(of).collect()
}

/// Which commitments our own trouble keeps from being measured, and when they are tried again.
fn skips(known: &Known<'_>, book: &Book, measured: &[Measured]) -> BTreeMap<AccountId, Skips> {
    let number = known.state.n_rounds + 1;
    let of = |entry: &Entry| {
        let before = entry.skips(known.state);
        let model = measured.iter().find(|model| model.entry.stored.hotkey == entry.stored.hotkey);
        let skips = match model.map(|model| &model.outcome) {
            Some(Err(
                Skipped::Trouble(_) | Skipped::Champion(_) | Skipped::Unheard(Bytes::Trouble),
            )) => {
                let n_rounds = before.map_or(0, |before| before.n_rounds).saturating_add(1);
                let n_doublings = n_rounds.saturating_sub(N_SKIPS_FREE).min(6);
                let wait = if n_rounds < N_SKIPS_FREE { 0 } else { 2_u64 << n_doublings };
                let again = number.saturating_add(1).saturating_add(wait.min(WAIT_ROUNDS_MAX));
                Some(Skips { committed: entry.stored.block, n_rounds, again })
            }
            Some(Err(Skipped::Postponed(_) | Skipped::Unheard(_))) | None => before,
            Some(Ok(_)) => None,
        };
        Some((entry.stored.hotkey, skips?))
    };
    book.all().filter_map(of).collect()
}

/// What a round came to, for whoever watches.
pub(crate) fn summary(
    known: &Known<'_>,
    record: &Record,
    measured: &[Measured],
    digest: Digest,
) -> RoundSummary {
    let reason = |uid: Uid| {
        let model = measured.iter().find(|model| model.entry.stored.uid == uid)?;
        match &model.outcome {
            Ok(Outcome::Disqualified(reason)) => Some(reason.clone()),
            _ => None,
        }
    };
    let rules = known.duels();
    let row = |judged: &Judged| {
        let fight = judged.fight.as_ref().zip(rules.as_ref());
        let duel = fight.map(|(fight, rules)| Fought::of(fight, rules));
        Row { duel, ..row(judged, record, reason(judged.model.uid)) }
    };
    let rows: Vec<Row> = record.models.iter().map(row).collect();
    let champion = Holder::of(record);
    let of_champion = |row: &&Row| champion.is_some_and(|holder| holder.hotkey == row.hotkey);
    let hotkey = |holder: Option<Holder>| holder.map(|holder| holder.hotkey);
    RoundSummary {
        competition: record.round.competition.clone(),
        round: record.round.number,
        seed: known.seed,
        champion,
        champion_perplexity: rows.iter().find(of_champion).and_then(|row| row.perplexity),
        crown_moved: hotkey(champion) != hotkey(known.state.champion),
        optimum_perplexity: known.turn.text.as_deref().and_then(Drawn::optimum_perplexity),
        digest,
        duels: rules.map(|_| at_a_glance(record, &rows)),
        rows,
    }
}

/// The duels of a round at a glance.
fn at_a_glance(record: &Record, rows: &[Row]) -> Duels {
    let n_used = |judged: &Judged| judged.model.finding.losses().len();
    let fought = || rows.iter().filter_map(|row| Some((row.uid, row.duel.as_ref()?)));
    let rank = |duel: &Fought| match duel.verdict {
        Some(duel::Verdict::Dethroned) => 2,
        None => 1,
        Some(duel::Verdict::Rejected | duel::Verdict::Undecided) => 0,
    };
    let foremost = fought()
        .max_by(|(_, a), (_, b)| rank(a).cmp(&rank(b)).then(a.gain.total_cmp(&b.gain)))
        .map(|(uid, _)| uid);
    Duels {
        n_open: fought().filter(|(_, duel)| duel.verdict.is_none()).count(),
        n_documents: record.models.iter().map(n_used).max().unwrap_or(0),
        foremost,
    }
}

fn row(judged: &Judged, record: &Record, reason: Option<Reason>) -> Row {
    let Judged { model, verdict, .. } = judged;
    let perplexity = match &model.finding {
        // A duel that was decided before takes no documents.
        Finding::Evaluated(losses) if losses.is_empty() => None,
        // Batches are of equal size, so this is the perplexity over all their tokens; that of
        // duels is over documents which count alike.
        Finding::Evaluated(losses) => Some(perplexity(mean(losses))),
        Finding::Disqualified(_) => None,
    };
    let average = record
        .averages
        .iter()
        .find(|average| (average.uid, average.hotkey) == (model.uid, model.hotkey));
    Row {
        uid: model.uid,
        hotkey: model.hotkey,
        block: model.commit_block,
        perplexity,
        reason,
        merit: verdict.merit,
        wins: verdict.wins,
        win_rate: verdict.win_rate,
        weight: verdict.weight,
        average: average.map_or(0.0, |average| average.weight),
        duel: None,
    }
}

impl Found {
    /// The rule that is broken, if one is.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Admitted(_) => None,
            Self::Refused(reason) | Self::Hopeless(reason) => Some(reason),
        }
    }
}
