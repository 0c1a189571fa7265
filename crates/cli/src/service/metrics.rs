//! What a running service counts, and what it tells of now.
//!
//! `docs/operations.md` says what to do about these numbers; `deploy/` has alerts and a dashboard
//! that use each of them.

mod kind;

pub use kind::ErrorKind;

use super::exposition::{Family, Kind, Registry};
use miner::StepReport;
use protocol::{Block, Loss};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use validator::{Progress, RoundSummary, Stage};

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Counter, name, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Gauge, name, help)
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Histogram, name, help)
}

/// Families as constants, and a list of them all in their order.
macro_rules! families {
    ($(#[$about:meta])* $all:ident: $($name:ident = $family:expr;)*) => {
        $(const $name: Family = $family;)*
        $(#[$about])*
        const $all: &[Family] = &[$($name),*];
    };
}

families! {
    /// Of every service.
    COMMON:
    BUILD = gauge("agon_build_info", "Always 1; the version is a label.").by("version");
    STARTED =
        gauge("process_start_time_seconds", "When this process started, since 1970 in UTC.");
    HEAD_BLOCK = gauge("agon_chain_head_block", "Newest final block that was seen.");
    HEAD_AGE =
        gauge("agon_chain_head_age_seconds", "Time since a newer final block was last seen.");
    ERRORS = counter(
        "agon_errors_total",
        "Troubles that are no model's own fault, by what they are with.",
    )
    .by("kind");
    RULES_MISSING = gauge(
        "agon_owner_rules_missing",
        "1 while the newest competitions of the subnet's owner cannot be had or are not taken, \
         else 0.",
    );
}

families! {
    /// Of a validator.
    OF_VALIDATOR:
    ROUNDS_ENDED =
        counter("agon_rounds_ended_total", "Rounds that ended with a record.").by("competition");
    ROUNDS_GIVEN_UP =
        counter("agon_rounds_given_up_total", "Rounds given up because of our own trouble.")
            .by("competition");
    CROWN_MOVES =
        counter("agon_crown_moves_total", "Rounds in which the crown went to another hotkey.")
            .by("competition");
    CHAMPION =
        gauge("agon_champion_perplexity", "Perplexity of the champion in the last round.")
            .by("competition");
    DUELS_OPEN =
        gauge("agon_duels_open", "Duels that the last round left open.").by("competition");
    POOL = gauge("agon_round_models", "Models of the last round.").by("competition");
    WAITING =
        gauge("agon_round_models_waiting", "Models that the last round left for a later one.")
            .by("competition");
    DISQUALIFIED = counter(
        "agon_models_disqualified_total",
        "Models that broke a rule, counted in each round.",
    );
    SKIPPED = counter(
        "agon_models_skipped_total",
        "Models that our own trouble kept from being measured, counted in each round.",
    );
    STAGES =
        histogram("agon_stage_seconds", "Time that each thing of a round took.").by("stage");
    TOKENS = counter("agon_measured_tokens_total", "Tokens on which models were measured.");
    FETCHED = counter("agon_fetched_bytes_total", "Bytes of models that were fetched.");
    WEIGHTS_BLOCK =
        gauge("agon_weights_block", "Block in which the chain last took weights of ours.");
    WEIGHTS_AGE =
        gauge("agon_weights_age_blocks", "Blocks since the chain last took weights of ours.");
    WEIGHTS_SUBMITTED =
        counter("agon_weights_submitted_total", "Times that weights were handed to the chain.");
    WEIGHTS_REFUSED = counter(
        "agon_weights_refused_total",
        "Times that the chain refused weights, or would have.",
    );
    WEIGHTS_WITHHELD = counter(
        "agon_weights_withheld_total",
        "Times that no weights were set because another process with this hotkey had set some.",
    );
    REVEALED_BLOCK = gauge(
        "agon_weights_revealed_block",
        "Newest block when hidden weights of ours were last seen open.",
    );
    NOT_REVEALED = counter(
        "agon_weights_not_revealed_total",
        "Hidden weights that the chain did not open in their epoch.",
    );
    RECORDS_WAITING = gauge("agon_records_waiting", "Records that wait to be published.");
}

families! {
    /// Of a miner that trains.
    OF_MINER:
    STEPS = counter("agon_miner_steps_total", "Training steps taken.");
    TRAINING_LOSS = gauge(
        "agon_miner_training_loss_nats",
        "Loss of the last training step, in nats per token.",
    );
    HELD_OUT =
        gauge("agon_miner_held_out_perplexity", "Perplexity on text held back from training.");
    REBASED =
        counter("agon_miner_rebased_total", "Times that training went on from another's model.");
    PUBLISHED = counter("agon_miner_published_total", "Models published.");
    WITHHELD = counter(
        "agon_miner_withheld_total",
        "Models not published because a validator would refuse them.",
    );
    REFUSED = counter("agon_miner_refused_total", "Commitments that the chain refused.");
}

families! {
    /// Of a miner that watches what other programs train.
    OF_WATCHER:
    CHECKPOINTS = gauge("agon_watch_checkpoints", "Checkpoints that the last look found.");
    NEWEST_AGE = gauge(
        "agon_watch_newest_age_seconds",
        "Time since the newest checkpoint was written.",
    );
    VERDICTS =
        counter("agon_watch_verdicts_total", "What checkpoints came to, by what it was.")
            .by("verdict");
}

/// What a competition has in any case.
const COUNTED: [Family; 3] = [ROUNDS_ENDED, ROUNDS_GIVEN_UP, CROWN_MOVES];
/// What it has besides once a round was decided.
const DECIDED: [Family; 4] = [CHAMPION, DUELS_OPEN, POOL, WAITING];

/// What is known of now, from which ages follow when they are asked for.
#[derive(Debug, Default)]
struct Now {
    head: Option<(Block, Instant)>,
    weights: Option<Block>,
    stage: Option<(Stage, Instant)>,
    competitions: BTreeSet<String>,
    /// When the newest checkpoint was written, since 1970.
    checkpoint: Option<Duration>,
}

/// The meters of one service; many threads may tell them things.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    now: Mutex<Now>,
}

impl Metrics {
    /// Those of a validator that serves the competitions of these names.
    pub fn of_validator(competitions: &[&str]) -> Self {
        let metrics = Self::new(OF_VALIDATOR, &ErrorKind::ALL);
        metrics.serve(competitions);
        metrics
    }

    /// The validator serves the competitions of these names from now on: those that are new count
    /// from zero, and of those that are gone nothing is told any more.
    pub fn serve(&self, competitions: &[&str]) {
        let names = competitions.iter().map(|name| (*name).to_owned()).collect();
        let before = std::mem::replace(&mut self.now().competitions, names);
        for gone in before.iter().filter(|name| !competitions.contains(&name.as_str())) {
            COUNTED.iter().chain(&DECIDED).for_each(|family| self.registry.forget(family, gone));
        }
        for competition in competitions {
            COUNTED.iter().for_each(|family| self.registry.add(family, competition, 0.0));
        }
    }

    /// Those of a miner that trains.
    pub fn of_miner() -> Self {
        Self::new(OF_MINER, &ErrorKind::OF_MINER)
    }

    /// Those of a miner that watches, and says one of these things of each checkpoint.
    pub fn of_watcher(verdicts: &[&str]) -> Self {
        let metrics = Self::new(OF_WATCHER, &ErrorKind::OF_WATCHER);
        verdicts.iter().for_each(|verdict| metrics.registry.add(&VERDICTS, verdict, 0.0));
        metrics
    }

    fn new(own: &[Family], kinds: &[ErrorKind]) -> Self {
        let registry = Registry::new([COMMON, own].concat());
        let started = since_1970();
        registry.set(&BUILD, env!("CARGO_PKG_VERSION"), 1.0);
        registry.set(&STARTED, "", started.as_secs_f64());
        for kind in kinds {
            registry.add(&ERRORS, kind.name(), 0.0);
        }
        Self { registry, now: Mutex::default() }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let (age, blocks, checkpoint) = {
            let now = self.now();
            let age = now.head.map(|(_, since)| since.elapsed());
            let blocks = now.head.zip(now.weights).map(|((head, _), set)| head.since(set));
            (age, blocks, now.checkpoint)
        };
        if let Some(age) = age {
            self.registry.set(&HEAD_AGE, "", age.as_secs_f64());
        }
        if let Some(blocks) = blocks {
            self.registry.set(&WEIGHTS_AGE, "", blocks as f64);
        }
        match checkpoint {
            // The clock of a file system may be ahead of ours.
            Some(written) => {
                let age = since_1970().saturating_sub(written);
                self.registry.set(&NEWEST_AGE, "", age.as_secs_f64());
            }
            None => self.registry.forget(&NEWEST_AGE, ""),
        }
        self.registry.render()
    }

    /// The chain told of its newest final block; the same one again makes it no younger.
    pub fn head(&self, block: Block) {
        let mut now = self.now();
        if now.head.is_none_or(|(known, _)| known != block) {
            now.head = Some((block, Instant::now()));
            drop(now);
            self.registry.set(&HEAD_BLOCK, "", block.0 as f64);
        }
    }

    /// The chain has taken weights of ours in this block: told by an event, and by the journal at
    /// a start.
    pub fn weights_set(&self, block: Block) {
        self.now().weights = Some(block);
        self.registry.set(&WEIGHTS_BLOCK, "", block.0 as f64);
    }

    /// So many records wait to be published.
    pub fn records_waiting(&self, n: usize) {
        self.registry.set(&RECORDS_WAITING, "", n as f64);
    }

    /// The newest competitions of the subnet's owner were taken.
    pub fn rules_taken(&self) {
        self.registry.set(&RULES_MISSING, "", 0.0);
    }

    /// They cannot be had, or are not taken.
    pub fn rules_missing(&self) {
        self.registry.set(&RULES_MISSING, "", 1.0);
    }

    /// So many checkpoints were found; the newest was written so long after 1970.
    pub fn looked(&self, n_checkpoints: usize, newest: Option<Duration>) {
        self.now().checkpoint = newest;
        self.registry.set(&CHECKPOINTS, "", n_checkpoints as f64);
    }

    /// This was said of a checkpoint.
    pub fn judged(&self, verdict: &str) {
        self.registry.add(&VERDICTS, verdict, 1.0);
    }

    /// Something went wrong that no event tells of; it is counted where it can be told with what.
    pub fn failed(&self, error: &anyhow::Error) {
        if let Some(kind) = ErrorKind::of(error) {
            self.error(kind);
        }
    }

    /// Something went wrong of a kind.
    pub fn error(&self, kind: ErrorKind) {
        self.registry.add(&ERRORS, kind.name(), 1.0);
    }

    /// Something happened at a validator.
    pub fn on_validator_event(&self, event: &validator::Event) {
        use validator::Event;
        match event {
            Event::Progress { competition, progress } => self.progress(competition, *progress),
            Event::RoundEnded(summary) => self.round_ended(summary),
            Event::Disqualified { .. } => self.count(&DISQUALIFIED),
            Event::Skipped { .. } => self.count(&SKIPPED),
            Event::RecordDelayed(_) | Event::RecordsLost { .. } => self.error(ErrorKind::Publish),
            Event::ChainTrouble(_) => self.error(ErrorKind::Chain),
            Event::WeightsSubmitted(_) => self.count(&WEIGHTS_SUBMITTED),
            Event::WeightsSet { block } => self.weights_set(*block),
            Event::WeightsRefused(_) | Event::WeightsUnfit(_) => self.count(&WEIGHTS_REFUSED),
            Event::AnotherValidator { .. } => self.count(&WEIGHTS_WITHHELD),
            Event::WeightsRevealed { block } => {
                self.registry.set(&REVEALED_BLOCK, "", block.0 as f64);
            }
            Event::WeightsNotRevealed { .. } => self.count(&NOT_REVEALED),
            // Nothing to count, or what is told beside them counts it.
            Event::RoundStarted { .. }
            | Event::Evaluating { .. }
            | Event::RoundSuspended(_)
            | Event::WeightsUnchanged { .. }
            | Event::WeightsExposed { .. }
            | Event::RootSubmitted(_)
            | Event::RootSet { .. }
            | Event::RootRefused(_)
            | Event::RootWithheld(_) => {}
        }
    }

    /// Something happened at a miner.
    pub fn on_miner_event(&self, event: &miner::Event) {
        use miner::Event;
        match event {
            Event::Step(StepReport { loss, .. }) => {
                self.count(&STEPS);
                self.registry.set(&TRAINING_LOSS, "", *loss);
            }
            Event::Measured(loss) => self.registry.set(&HELD_OUT, "", loss.exp()),
            Event::Rebased(_) => self.count(&REBASED),
            Event::Published(_) => self.count(&PUBLISHED),
            Event::Withheld(_) => self.count(&WITHHELD),
            Event::CommitmentRefused(_) => self.count(&REFUSED),
            Event::HubTrouble(_) => self.error(ErrorKind::Hub),
            Event::ChainTrouble(_) => self.error(ErrorKind::Chain),
            Event::PassedOver(_) => {}
        }
    }

    fn count(&self, family: &Family) {
        self.registry.add(family, "", 1.0);
    }

    fn progress(&self, competition: &str, progress: Progress) {
        match progress {
            Progress::Began(stage) => self.now().stage = Some((stage, Instant::now())),
            Progress::Ended(stage) => {
                let began = self.now().stage.take();
                if let Some((_, since)) = began.filter(|(began, _)| *began == stage) {
                    self.took(stage, since.elapsed());
                }
            }
            Progress::Fetched { n_bytes } => self.registry.add(&FETCHED, "", n_bytes as f64),
            Progress::Measured { n_tokens } => self.registry.add(&TOKENS, "", n_tokens as f64),
            Progress::Failed(cause) => self.error(cause.into()),
            Progress::Decided { n_models, n_waiting } => {
                self.registry.set(&POOL, competition, n_models as f64);
                self.registry.set(&WAITING, competition, n_waiting as f64);
            }
            Progress::GivenUp => self.registry.add(&ROUNDS_GIVEN_UP, competition, 1.0),
        }
    }

    fn took(&self, stage: Stage, time: Duration) {
        let name = match stage {
            Stage::Book => "book",
            Stage::Look => "look",
            Stage::Text => "text",
            Stage::Fetch => "fetch",
            Stage::Measure => "measure",
            Stage::Decide => "decide",
        };
        self.registry.observe(&STAGES, name, time.as_secs_f64());
    }

    fn round_ended(&self, summary: &RoundSummary) {
        let competition = &summary.competition;
        self.registry.add(&ROUNDS_ENDED, competition, 1.0);
        self.registry.add(&CROWN_MOVES, competition, f64::from(summary.crown_moved));
        match summary.champion_perplexity.map(Loss::value) {
            Some(perplexity) => self.registry.set(&CHAMPION, competition, perplexity),
            None => self.registry.forget(&CHAMPION, competition),
        }
        match summary.duels {
            Some(duels) => self.registry.set(&DUELS_OPEN, competition, duels.n_open as f64),
            None => self.registry.forget(&DUELS_OPEN, competition),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
