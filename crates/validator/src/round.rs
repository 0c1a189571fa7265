//! One round of a competition, in the order of section 2.3 of the paper.

use crate::{
    Contest, Event, Validator,
    state::{Admission, ContestState, Holder, write_atomically},
    sync::{Candidate, Missed},
};
use anyhow::Context as _;
use chain::Head;
use dataset::{
    Lot,
    pack::{self, PackRules, Round as Text},
};
use protocol::{
    AccountId, Block, BlockHash, Digest, Merit, Outcome, Reason, Seed, Uid,
    loss::{mean, perplexity},
    queue::{self, Standing},
    record::{self, DocumentDigest, Finding, Judged, Model, Record},
    weights::Miner,
};
use std::path::PathBuf;

/// Times a model is tried again after trouble of our own.
const N_RETRIES: usize = 1;

/// Rounds in a row that are given up because a model with weight cannot be measured.
///
/// Without a limit, a miner with weight could keep it for ever by making its next model hard to
/// fetch for us; after it the model counts as absent.
const N_SUSPENDED_MAX: u64 = 3;

/// What a round came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundSummary {
    /// Name of the competition.
    pub competition: String,
    /// Number of the round, from 1.
    pub round: u64,
    /// Block that seeded it.
    pub seed: Head,
    /// Holder of the crown after the round.
    pub champion: Option<Holder>,
    /// The champion's perplexity over all batches.
    pub champion_perplexity: Option<f64>,
    /// Whether the crown went to another hotkey.
    pub crown_moved: bool,
    /// Perplexity of a model that knew the true distribution, where that is known.
    pub optimum_perplexity: Option<f64>,
    /// Digest of the record.
    pub digest: Digest,
    /// File of the record.
    pub path: PathBuf,
    /// The models, in order of uid.
    pub rows: Vec<Row>,
}

/// One model in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Block of its commitment.
    pub block: Block,
    /// Perplexity over all batches, where it was measured.
    pub perplexity: Option<f64>,
    /// Why it was disqualified.
    pub reason: Option<Reason>,
    /// Whether it counts, or what stands in its way.
    pub merit: Merit,
    /// Wins (equation 4).
    pub wins: u64,
    /// Win rate (equation 5).
    pub win_rate: f64,
    /// Weight of this round (equation 6).
    pub weight: f64,
    /// Moving average of the weight after this round.
    pub average: f64,
}

/// A candidate with the outcome of this round; `None` where our own trouble prevented one.
struct Measured {
    candidate: Candidate,
    outcome: Option<Outcome>,
}

impl Validator {
    /// Runs the round that `seed` seeds; after an `Err` nothing has moved.
    pub(crate) fn run_round(
        &mut self,
        index: usize,
        seed: Head,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<RoundSummary> {
        let contest = self.contests[index].clone();

        // 2.3: which models there are, each bound to its owner and checked at rest.
        let (candidates, missed) = self.sync(&contest, seed)?;
        let unheard: Vec<AccountId> = missed.iter().map(|missed| missed.hotkey).collect();
        self.spare(&contest, seed, missed, watch)?;
        let pool = self.pool(&contest, candidates);

        // 2.3.1: fresh text, the same for everybody who knows the block hash.
        let text = contest.draw(seed.block, seed.hash).context("cannot draw evaluation text")?;
        watch(Event::RoundStarted { n_models: pool.len(), n_batches: text.batches.len() });

        // 2.3.2: the losses of every model on every batch.
        let measured = self.measure((&contest, seed), pool, &text, watch)?;

        // 2.3.3 to 2.3.5: wins, win rates, weights, their moving average, the champion.
        let mut state = self.state.clone();
        let own = state.contest_mut(&contest.competition.name);
        let record = self.judge(&contest, seed, (&text, &measured), own);
        let bytes = record.to_json();
        let digest = Digest::of(&bytes);
        let before = own.champion;
        conclude(&contest, own, (&record, digest), &measured);
        // Whom our own trouble kept from this round is heard in the next.
        own.kept.extend(unheard);

        let file = format!("{}-{:06}.json", contest.competition.name, record.round.number);
        let path = self.config.home.join("records").join(file);
        let summary = summary((seed, before, &text), own, (&record, digest, path), &measured);
        write_atomically(&summary.path, &bytes)?;
        state.weights_due = true;
        state.save(&self.config.home)?;
        self.state = state;
        Ok(summary)
    }

    /// Gives the round up if a model that has weight cannot be had, for a few rounds in a row:
    /// without it somebody else would be crowned for trouble that is ours.
    fn spare(
        &mut self,
        contest: &Contest,
        seed: Head,
        missed: Vec<Missed>,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        for Missed { uid, hotkey, error } in missed {
            let text = format!("{error:#}");
            watch(Event::Skipped { uid, error: text.clone() });
            let state = self.state.contest_mut(&contest.competition.name);
            if state.has_weight(&Miner { uid, hotkey }) && state.n_suspended < N_SUSPENDED_MAX {
                state.n_suspended += 1;
                state.suspended = seed.block;
                self.state.save(&self.config.home)?;
                anyhow::bail!("the model of uid {uid}, which has weight, cannot be had: {text}");
            }
        }
        Ok(())
    }

    /// Models kept from the last round, and those whose commitment is new since.
    ///
    /// A model that was refused at rest is listed again and again: that costs nothing.
    fn pool(&self, contest: &Contest, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let age_min = contest.competition.evaluation.commitment_age_min;
        let state = self.state.contest(&contest.competition.name);
        let stays = |candidate: &Candidate| {
            state.is_none_or(|state| {
                candidate.admission.is_err()
                    || candidate.duplicate.is_some()
                    || candidate.stored.block.0 + age_min > state.seed_block.0
                    || state.kept.contains(&candidate.stored.hotkey)
            })
        };
        candidates.into_iter().filter(stays).collect()
    }

    /// Outcomes of all models of the pool, in its order.
    fn measure(
        &mut self,
        (contest, seed): (&Contest, Head),
        pool: Vec<Candidate>,
        text: &Text,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<Vec<Measured>> {
        let mut measured = Vec::with_capacity(pool.len());
        for candidate in pool {
            let (uid, hotkey) = (candidate.stored.uid, candidate.stored.hotkey);
            let outcome = match (&candidate.admission, &candidate.duplicate) {
                (Err(reason), _) | (_, Some(reason)) => Ok(Outcome::Disqualified(reason.clone())),
                (Ok(admission), None) => self.measure_one(contest, (uid, admission), text, watch),
            };
            let outcome = match outcome {
                Ok(outcome) => {
                    if let Outcome::Disqualified(reason) = &outcome {
                        watch(Event::Disqualified { uid, reason: reason.clone() });
                    }
                    Some(outcome)
                }
                Err(error) => {
                    self.spare(contest, seed, vec![Missed { uid, hotkey, error }], watch)?;
                    None
                }
            };
            measured.push(Measured { candidate, outcome });
        }
        Ok(measured)
    }

    fn measure_one(
        &self,
        contest: &Contest,
        (uid, admission): (Uid, &Admission),
        text: &Text,
        watch: &(dyn Fn(Event) + Sync),
    ) -> anyhow::Result<Outcome> {
        let progress = |n_batches_done| watch(Event::Evaluating { uid, n_batches_done });
        let competition = &contest.competition;
        let mut n_tried = 0;
        loop {
            progress(0);
            let evaluate = &*self.ports.evaluate;
            match evaluate.evaluate(&admission.dir, competition, &text.batches, &progress) {
                Err(_) if n_tried < N_RETRIES => n_tried += 1,
                outcome => return outcome,
            }
        }
    }

    /// The record of the round: verdicts on all models, the averages after it, the champion.
    fn judge(
        &self,
        contest: &Contest,
        seed: Head,
        (text, measured): (&Text, &[Measured]),
        state: &mut ContestState,
    ) -> Record {
        let competition = &contest.competition;
        let document = |document: &dataset::Document| DocumentDigest {
            id: document.id.clone(),
            sha256: document.digest(),
        };
        let round = record::Round {
            competition: competition.name.clone(),
            competition_digest: competition.digest(),
            number: state.n_rounds + 1,
            previous: state.record,
            block: seed.block,
            block_hash: seed.hash,
            validator: self.keypair.public(),
            tokenizer: contest.tokenizer.digest(),
            dataset: contest.source.digest(),
            documents: text.documents.iter().map(document).collect(),
            batches: text.digest,
        };
        let models = measured.iter().filter_map(Measured::to_record).collect();
        Record::new(round, competition, models, &mut state.average)
    }
}

impl Measured {
    /// Why it was disqualified.
    fn reason(&self) -> Option<&Reason> {
        match &self.outcome {
            Some(Outcome::Disqualified(reason)) => Some(reason),
            _ => None,
        }
    }

    /// The model as it stands in a record; `None` where our own trouble prevented an outcome.
    fn to_record(&self) -> Option<Model> {
        let Candidate { stored, commitment, admission, .. } = &self.candidate;
        let admission = admission.as_ref().ok();
        Some(Model {
            uid: stored.uid,
            hotkey: stored.hotkey,
            commit_block: stored.block,
            commit_block_hash: stored.block_hash,
            repo: Some(commitment.repo.clone()),
            revision: Some(commitment.revision.clone()),
            file_root: admission.map(|admission| admission.file_root),
            tensor_root: admission.map(|admission| admission.tensor_root),
            finding: self.outcome.as_ref()?.into(),
        })
    }

    /// Where the model stands when the next pool is chosen.
    fn standing(&self, state: &ContestState, record: &Record) -> Standing {
        let stored = &self.candidate.stored;
        let judged = record.models.iter().find(|judged| judged.model.uid == stored.uid);
        let measured = match (&self.outcome, judged) {
            (Some(Outcome::Evaluated(losses)), Some(judged)) => queue::Measured::Scored {
                win_rate: judged.verdict.win_rate,
                mean_loss: mean(losses),
            },
            (None, _) => queue::Measured::Skipped,
            _ => queue::Measured::Disqualified,
        };
        let miner = Miner { uid: stored.uid, hotkey: stored.hotkey };
        let seniority = self.candidate.seniority();
        Standing { uid: stored.uid, seniority, average: state.average.of(&miner), measured }
    }
}

/// Takes the round into the state: crown, pool, numbers.
fn conclude(
    contest: &Contest,
    state: &mut ContestState,
    (record, digest): (&Record, Digest),
    measured: &[Measured],
) {
    let hotkey_of = |uid: Uid| {
        let stored = measured.iter().map(|measured| &measured.candidate.stored);
        stored.filter(|stored| stored.uid == uid).map(|stored| stored.hotkey).next()
    };
    state.n_rounds = record.round.number;
    state.record = Some(digest);
    state.seed_block = record.round.block;
    state.n_suspended = 0;
    // With nobody present nobody has lost the crown either.
    state.champion = record
        .champion
        .and_then(|uid| Some(Holder { uid, hotkey: hotkey_of(uid)? }))
        .or(state.champion);
    let standings: Vec<Standing> =
        measured.iter().map(|measured| measured.standing(state, record)).collect();
    let n_kept = contest.competition.evaluation.n_models_kept;
    let scoring = &contest.competition.scoring;
    let kept = queue::next_pool(scoring, &standings, record.champion, n_kept);
    // Copies are measured as soon as what they copied is given up.
    let is_copy = |measured: &&Measured| measured.candidate.duplicate.is_some();
    let copies = measured.iter().filter(is_copy).map(|copy| copy.candidate.stored.hotkey);
    state.kept = kept.into_iter().filter_map(hotkey_of).chain(copies).collect();
}

fn summary(
    (seed, before, text): (Head, Option<Holder>, &Text),
    state: &ContestState,
    (record, digest, path): (&Record, Digest, PathBuf),
    measured: &[Measured],
) -> RoundSummary {
    let reason = |uid: Uid| measured.iter().find(|m| m.candidate.stored.uid == uid)?.reason();
    let rows = record.models.iter().map(|judged| row(judged, state, reason(judged.model.uid)));
    let rows: Vec<Row> = rows.collect();
    let champion = state.champion;
    let of_champion = |row: &&Row| champion.is_some_and(|holder| holder.hotkey == row.hotkey);
    RoundSummary {
        competition: record.round.competition.clone(),
        round: record.round.number,
        seed,
        champion,
        champion_perplexity: rows.iter().find(of_champion).and_then(|row| row.perplexity),
        crown_moved: champion.map(|holder| holder.hotkey) != before.map(|holder| holder.hotkey),
        optimum_perplexity: text.optimum_perplexity(),
        digest,
        path,
        rows,
    }
}

fn row(judged: &Judged, state: &ContestState, reason: Option<&Reason>) -> Row {
    let Judged { model, verdict } = judged;
    let perplexity = match &model.finding {
        // Batches are of equal size, so this is the perplexity over all their tokens.
        Finding::Evaluated(losses) => Some(perplexity(mean(losses)).value()),
        Finding::Disqualified(_) => None,
    };
    Row {
        uid: model.uid,
        hotkey: model.hotkey,
        block: model.commit_block,
        perplexity,
        reason: reason.cloned(),
        merit: verdict.merit,
        wins: verdict.wins,
        win_rate: verdict.win_rate,
        weight: verdict.weight,
        average: state.average.of(&Miner { uid: model.uid, hotkey: model.hotkey }),
    }
}

impl Contest {
    /// Root of the randomness of the round that a block seeds.
    pub fn seed(&self, block_hash: BlockHash) -> Seed {
        Seed::of_block(block_hash, &self.competition.name, "evaluation")
    }

    /// The evaluation text of the round that a block seeds: the same for everybody.
    pub fn draw(&self, block: Block, block_hash: BlockHash) -> Result<Text, dataset::Error> {
        let rules = PackRules {
            sequence_length: self.competition.text.sequence_length,
            n_batches: self.competition.evaluation.n_batches,
            sequences_per_batch: self.competition.evaluation.sequences_per_batch,
            packing: self.competition.text.packing,
        };
        // Rounds in a row have numbers in a row.
        let turn = block.0 / self.competition.evaluation.blocks_per_round.max(1);
        let lot = Lot { seed: self.seed(block_hash), turn };
        pack::batches(&*self.source, &self.tokenizer, lot, rules)
    }
}
