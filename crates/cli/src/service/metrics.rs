//! What a running service counts, and what it tells of now.
//!
//! `docs/operations.md` says what to do about these numbers; `deploy/` has alerts and a dashboard
//! that use each of them.

use super::exposition::{Family, Kind, Registry};
use miner::StepReport;
use protocol::{Block, Loss};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use validator::{Cause, Progress, RoundSummary, Stage};

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Counter, name, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family::new(Kind::Gauge, name, help)
}

// Of every service.
const BUILD: Family = gauge("agon_build_info", "Always 1; the version is a label.").by("version");
const STARTED: Family =
    gauge("process_start_time_seconds", "When this process started, since 1970 in UTC.");
const HEAD_BLOCK: Family = gauge("agon_chain_head_block", "Newest final block that was seen.");
const HEAD_AGE: Family =
    gauge("agon_chain_head_age_seconds", "Time since a newer final block was last seen.");
const ERRORS: Family =
    counter("agon_errors_total", "Troubles that are no model's own fault, by what they are with.")
        .by("kind");
const RULES_MISSING: Family = gauge(
    "agon_owner_rules_missing",
    "1 while the newest competitions of the subnet's owner cannot be had or are not taken, else 0.",
);

// Of a validator.
const ROUNDS_ENDED: Family =
    counter("agon_rounds_ended_total", "Rounds that ended with a record.").by("competition");
const ROUNDS_GIVEN_UP: Family =
    counter("agon_rounds_given_up_total", "Rounds given up because of our own trouble.")
        .by("competition");
const CROWN_MOVES: Family =
    counter("agon_crown_moves_total", "Rounds in which the crown went to another hotkey.")
        .by("competition");
const CHAMPION: Family =
    gauge("agon_champion_perplexity", "Perplexity of the champion in the last round.")
        .by("competition");
const DUELS_OPEN: Family =
    gauge("agon_duels_open", "Duels that the last round left open.").by("competition");
const POOL: Family = gauge("agon_round_models", "Models of the last round.").by("competition");
const WAITING: Family =
    gauge("agon_round_models_waiting", "Models that the last round left for a later one.")
        .by("competition");
const DISQUALIFIED: Family =
    counter("agon_models_disqualified_total", "Models that broke a rule, counted in each round.");
const SKIPPED: Family = counter(
    "agon_models_skipped_total",
    "Models that our own trouble kept from being measured, counted in each round.",
);
const STAGES: Family =
    Family::new(Kind::Histogram, "agon_stage_seconds", "Time that each thing of a round took.")
        .by("stage");
const TOKENS: Family =
    counter("agon_measured_tokens_total", "Tokens on which models were measured.");
const FETCHED: Family = counter("agon_fetched_bytes_total", "Bytes of models that were fetched.");
const WEIGHTS_BLOCK: Family =
    gauge("agon_weights_block", "Block in which the chain last took weights of ours.");
const WEIGHTS_AGE: Family =
    gauge("agon_weights_age_blocks", "Blocks since the chain last took weights of ours.");
const WEIGHTS_SUBMITTED: Family =
    counter("agon_weights_submitted_total", "Times that weights were handed to the chain.");
const WEIGHTS_REFUSED: Family =
    counter("agon_weights_refused_total", "Times that the chain refused weights, or would have.");
const WEIGHTS_WITHHELD: Family = counter(
    "agon_weights_withheld_total",
    "Times that no weights were set because another process with this hotkey had set some.",
);
const REVEALED_BLOCK: Family = gauge(
    "agon_weights_revealed_block",
    "Newest block when hidden weights of ours were last seen open.",
);
const NOT_REVEALED: Family = counter(
    "agon_weights_not_revealed_total",
    "Hidden weights that the chain did not open in their epoch.",
);
const RECORDS_WAITING: Family = gauge("agon_records_waiting", "Records that wait to be published.");

// Of a miner.
const STEPS: Family = counter("agon_miner_steps_total", "Training steps taken.");
const TRAINING_LOSS: Family =
    gauge("agon_miner_training_loss_nats", "Loss of the last training step, in nats per token.");
const HELD_OUT: Family =
    gauge("agon_miner_held_out_perplexity", "Perplexity on text held back from training.");
const REBASED: Family =
    counter("agon_miner_rebased_total", "Times that training went on from another's model.");
const PUBLISHED: Family = counter("agon_miner_published_total", "Models published.");
const WITHHELD: Family = counter(
    "agon_miner_withheld_total",
    "Models not published because a validator would refuse them.",
);
const REFUSED: Family = counter("agon_miner_refused_total", "Commitments that the chain refused.");

const COMMON: [Family; 6] = [BUILD, STARTED, HEAD_BLOCK, HEAD_AGE, ERRORS, RULES_MISSING];
const OF_VALIDATOR: [Family; 20] = [
    ROUNDS_ENDED,
    ROUNDS_GIVEN_UP,
    CROWN_MOVES,
    CHAMPION,
    DUELS_OPEN,
    POOL,
    WAITING,
    DISQUALIFIED,
    SKIPPED,
    STAGES,
    TOKENS,
    FETCHED,
    WEIGHTS_BLOCK,
    WEIGHTS_AGE,
    WEIGHTS_SUBMITTED,
    WEIGHTS_REFUSED,
    WEIGHTS_WITHHELD,
    REVEALED_BLOCK,
    NOT_REVEALED,
    RECORDS_WAITING,
];
const OF_MINER: [Family; 7] =
    [STEPS, TRAINING_LOSS, HELD_OUT, REBASED, PUBLISHED, WITHHELD, REFUSED];

/// What a competition has in any case.
const COUNTED: [Family; 3] = [ROUNDS_ENDED, ROUNDS_GIVEN_UP, CROWN_MOVES];
/// What it has besides once a round was decided.
const DECIDED: [Family; 4] = [CHAMPION, DUELS_OPEN, POOL, WAITING];

/// What trouble is with, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The chain could not be asked, or did not take a call.
    Chain,
    /// The hub did not answer, or not as it should.
    Hub,
    /// Text could not be drawn.
    Text,
    /// The process that measures models failed.
    Evaluator,
    /// A disk is full, or failed.
    Disk,
    /// The journal cannot be written.
    Journal,
    /// A record could not be published.
    Publish,
}

impl ErrorKind {
    const ALL: [Self; 7] = [
        Self::Chain,
        Self::Hub,
        Self::Text,
        Self::Evaluator,
        Self::Disk,
        Self::Journal,
        Self::Publish,
    ];
    const OF_MINER: [Self; 4] = [Self::Chain, Self::Hub, Self::Disk, Self::Journal];

    fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Hub => "hub",
            Self::Text => "text",
            Self::Evaluator => "evaluator",
            Self::Disk => "disk",
            Self::Journal => "journal",
            Self::Publish => "publish",
        }
    }
}

impl From<Cause> for ErrorKind {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Chain => Self::Chain,
            Cause::Hub => Self::Hub,
            Cause::Text => Self::Text,
            Cause::Evaluator => Self::Evaluator,
            Cause::Disk => Self::Disk,
            Cause::Journal => Self::Journal,
        }
    }
}

/// What is known of now, from which ages follow when they are asked for.
#[derive(Debug, Default)]
struct Now {
    head: Option<(Block, Instant)>,
    weights: Option<Block>,
    stage: Option<(Stage, Instant)>,
    competitions: BTreeSet<String>,
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
        let metrics = Self::new(&OF_VALIDATOR, &ErrorKind::ALL);
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

    /// Those of a miner.
    pub fn of_miner() -> Self {
        Self::new(&OF_MINER, &ErrorKind::OF_MINER)
    }

    fn new(own: &[Family], kinds: &[ErrorKind]) -> Self {
        let registry = Registry::new([&COMMON[..], own].concat());
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        registry.set(&BUILD, env!("CARGO_PKG_VERSION"), 1.0);
        registry.set(&STARTED, "", started.as_secs_f64());
        for kind in kinds {
            registry.add(&ERRORS, kind.name(), 0.0);
        }
        Self { registry, now: Mutex::default() }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let (age, blocks) = {
            let now = self.now();
            let age = now.head.map(|(_, since)| since.elapsed());
            let blocks = now.head.zip(now.weights).map(|((head, _), set)| head.since(set));
            (age, blocks)
        };
        if let Some(age) = age {
            self.registry.set(&HEAD_AGE, "", age.as_secs_f64());
        }
        if let Some(blocks) = blocks {
            self.registry.set(&WEIGHTS_AGE, "", blocks as f64);
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

    /// Something went wrong that no event tells of.
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
            Event::RecordDelayed(_) => self.error(ErrorKind::Publish),
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

#[cfg(test)]
mod tests;
