//! What a demo shows while it runs: bars on a terminal, plain lines elsewhere.

use super::{cast::Role, words};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use miner::Event as MinerEvent;
use protocol::Uid;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use validator::{Event as ValidatorEvent, RoundSummary};

/// Events of all actors on their way to stderr; safe to call from any thread.
pub struct View {
    bars: Option<Bars>,
    /// Names of slots, known once everybody is registered.
    names: Mutex<BTreeMap<Uid, String>>,
    /// What was told of a model: refusals, and how its duel stood.
    told: Mutex<BTreeSet<(Uid, String)>>,
    n_published: Vec<AtomicU64>,
}

struct Bars {
    all: MultiProgress,
    network: ProgressBar,
    actors: Vec<ProgressBar>,
}

impl View {
    /// A view on `roles`, in their order, for a run of `n_blocks` blocks.
    pub fn new(roles: &[Role], n_blocks: u64) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| Bars::new(roles, n_blocks));
        let n_published = roles.iter().map(|_| AtomicU64::new(0)).collect();
        Self { bars, names: Mutex::default(), told: Mutex::default(), n_published }
    }

    /// Tells which slot is whose.
    pub fn name_slots(&self, names: BTreeMap<Uid, String>) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// The name of a slot.
    pub fn name(&self, uid: Uid) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&uid).cloned().unwrap_or_else(|| format!("uid {uid}"))
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.all.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// A new block was made.
    pub fn block(
        &self,
        block: u64,
        done: u64,
        last_round: impl FnOnce() -> anyhow::Result<Option<RoundSummary>>,
    ) -> anyhow::Result<()> {
        // Where there is no terminal, nothing is read for it.
        let Some(bars) = &self.bars else { return Ok(()) };
        bars.network.set_position(done);
        let champion = last_round()?.and_then(|summary| {
            let name = self.name(summary.champion?.uid);
            Some(match summary.champion_perplexity {
                Some(perplexity) => {
                    format!("champion {name} (perplexity {:.2})", perplexity.value())
                }
                // Nobody who duels with it wants to know more.
                None => format!("champion {name}"),
            })
        });
        let champion = champion.unwrap_or_else(|| "no champion yet".to_owned());
        bars.network.set_message(format!("block {block} · {champion}"));
        Ok(())
    }

    /// Something happened at a miner.
    pub fn miner(&self, actor: usize, role: Role, block: u64, event: &MinerEvent) {
        let name = role.name();
        tracing::debug!(block, name, ?event);
        match event {
            MinerEvent::Step(step) => {
                self.line(actor, || format!("step {:>5}  loss {:.3}", step.step, step.loss));
            }
            MinerEvent::Measured(_) => {}
            MinerEvent::Rebased(champion) => self.say(&format!(
                "block {block:>4}  {name} trains on from the model of {}",
                self.name(champion.uid)
            )),
            MinerEvent::PassedOver(champion) => self.say(&format!(
                "block {block:>4}  {name} cannot train on from the model of {}: it is no Llama \
                 that the trainer reads",
                self.name(champion.uid)
            )),
            MinerEvent::Published(published) => {
                let n = self.n_published[actor].fetch_add(1, Ordering::Relaxed) + 1;
                let expected = published
                    .perplexity
                    .map(|perplexity| format!(", perplexity {perplexity:.2} on its own text"))
                    .unwrap_or_default();
                let revision = &published.revision.as_str()[..8];
                self.say(&format!(
                    "block {block:>4}  {name} publishes model {n} ({}@{revision}{expected})",
                    published.repo
                ));
            }
            MinerEvent::Withheld(reason) => {
                self.say(&format!("block {block:>4}  {name} keeps its model back: {reason}"));
            }
            MinerEvent::HubTrouble(trouble) => {
                self.say(&format!("block {block:>4}  {name} has trouble with the hub: {trouble}"));
            }
            MinerEvent::ChainTrouble(trouble) => {
                self.say(&format!(
                    "block {block:>4}  {name} has trouble with the chain: {trouble}"
                ));
            }
            MinerEvent::CommitmentRefused(error) => {
                self.say(&format!("block {block:>4}  commitment of {name} refused: {error}"));
            }
        }
    }

    /// Something happened at a validator; `leads` tells its round results to everybody.
    pub fn validator(&self, actor: usize, role: Role, block: u64, event: &ValidatorEvent) {
        let (name, leads) = (role.name(), role == Role::VALIDATORS[0]);
        tracing::debug!(block, name, ?event);
        match event {
            ValidatorEvent::Progress { .. } => {}
            ValidatorEvent::RoundStarted { n_models, n_batches } => {
                self.line(actor, || format!("round: {n_models} models, {n_batches} batches"));
            }
            ValidatorEvent::Evaluating { uid, n_batches_done } => {
                self.line(actor, || {
                    format!("evaluates {} ({n_batches_done} batches done)", self.name(*uid))
                });
            }
            ValidatorEvent::Disqualified { uid, reason } => {
                if leads && self.is_new(*uid, &reason.to_string()) {
                    let model = self.name(*uid);
                    self.say(&format!("block {block:>4}  {model} is disqualified: {reason}"));
                }
            }
            ValidatorEvent::Skipped { uid, error } => {
                let model = self.name(*uid);
                self.say(&format!("block {block:>4}  {name} could not measure {model}: {error}"));
            }
            ValidatorEvent::RoundEnded(summary) => {
                self.line(actor, || format!("waits; round {} done", summary.round));
                if leads {
                    self.duels(block, summary);
                    self.say(&self.round_line(block, summary));
                }
            }
            ValidatorEvent::RoundSuspended(error) => {
                self.say(&format!("block {block:>4}  {name} gives up this round: {error}"));
            }
            ValidatorEvent::RecordDelayed(error) => {
                self.say(&format!("block {block:>4}  {name} could not publish a record: {error}"));
            }
            ValidatorEvent::RecordsLost { competition, first, last } => {
                self.say(&format!(
                    "block {block:>4}  {name} has lost its records {first} to {last} of \
                     {competition}"
                ));
            }
            ValidatorEvent::ChainTrouble(error) => {
                self.say(&format!("block {block:>4}  {name} has trouble with the chain: {error}"));
            }
            event => self.weights(name, block, event),
        }
    }

    /// Something happened to weights that a validator set; of what goes as it should nothing is
    /// said.
    fn weights(&self, name: &str, block: u64, event: &ValidatorEvent) {
        match event {
            ValidatorEvent::WeightsExposed { block: taken, .. } => {
                self.say(&format!(
                    "block {block:>4}  weights of {name} came late, in block {taken}: they can be \
                     read before they are opened"
                ));
            }
            ValidatorEvent::AnotherValidator { block: set, .. } => {
                self.say(&format!(
                    "block {block:>4}  {name} sets no weights: somebody else with its key did at \
                     block {set}"
                ));
            }
            ValidatorEvent::WeightsNotRevealed { reveal } => {
                self.say(&format!(
                    "block {block:>4}  weights of {name} were not opened by block {}",
                    reveal.until
                ));
            }
            ValidatorEvent::WeightsRefused(error) => {
                self.say(&format!("block {block:>4}  weights of {name} refused: {error}"));
            }
            ValidatorEvent::WeightsUnfit(error) => {
                self.say(&format!("block {block:>4}  weights of {name} would be refused: {error}"));
            }
            _ => {}
        }
    }

    fn round_line(&self, block: u64, summary: &RoundSummary) -> String {
        let champion = match (summary.champion, summary.champion_perplexity) {
            (Some(holder), Some(perplexity)) => {
                let perplexity = perplexity.value();
                let took = if summary.crown_moved { "takes the crown" } else { "keeps the crown" };
                format!("{} {took} with perplexity {perplexity:.2}", self.name(holder.uid))
            }
            (Some(holder), None) => format!("{} keeps the crown", self.name(holder.uid)),
            (None, _) => "nobody is champion".to_owned(),
        };
        format!("block {block:>4}  round {}: {champion}", summary.round)
    }

    /// Tells how every challenger stands, unless it stood like that before.
    fn duels(&self, block: u64, summary: &RoundSummary) {
        for row in &summary.rows {
            let Some(fought) = &row.duel else { continue };
            let standing = words::standing(&self.name(row.uid), fought);
            if self.is_new(row.uid, &standing) {
                self.say(&words::wrapped(&format!("block {block:>4}  {standing}"), 12));
            }
        }
    }

    /// Whether this was not told of a model yet; from now on it was.
    fn is_new(&self, uid: Uid, text: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert((uid, text.to_owned()))
    }

    fn line(&self, actor: usize, text: impl Fn() -> String) {
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.actors.get(actor)) {
            bar.set_message(text());
        }
    }

    /// Takes the bars away; lines said stay.
    pub fn end(&self) {
        if let Some(bars) = &self.bars {
            for bar in bars.actors.iter().chain([&bars.network]) {
                bar.finish_and_clear();
            }
        }
    }
}

impl Bars {
    fn new(roles: &[Role], n_blocks: u64) -> Self {
        let all = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("█▉▊▋▌▍▎▏ ")
        };
        let network = all.add(ProgressBar::new(n_blocks));
        network
            .set_style(style("{bar:32} {percent:>3} %  {elapsed} of about {duration}  {wide_msg}"));
        network.enable_steady_tick(Duration::from_millis(200));
        let actors = roles
            .iter()
            .map(|role| {
                let bar = all.add(ProgressBar::new_spinner());
                bar.set_style(style("  {prefix:12} {wide_msg}"));
                bar.set_prefix(role.name());
                bar.set_message("waits");
                bar
            })
            .collect();
        Self { all, network, actors }
    }
}
