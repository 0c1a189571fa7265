//! Measures strangers' models in a process of their own that can do nothing else.
//!
//! Each model gets a child, `agon evaluator DIR`, with an empty environment and no open file but
//! three pipes. Before it reads anything of the model it gives up, for good, whatever an evaluation
//! does not need (see [`isolation`]). Whatever happens to it is our own trouble and no verdict:
//! only what it says in good order is one.

pub mod isolation;
pub mod wire;

use crate::{failure::Interrupted, plug};
use anyhow::{Context as _, bail};
use protocol::{Competition, Reason, SequenceLoss, text};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    io::{BufReader, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use validator::{Ask, Engine, Inspected};
use wire::{Attempt, Message, Request};

/// Seconds of a block, as Bittensor makes them.
const SECONDS_PER_BLOCK: u64 = 12;
/// Memory of a self-test.
const WORKING_BYTES: u64 = 2 << 30;
/// What a process takes besides what its engine counts.
const SLACK_BYTES: u64 = 256 << 20;
/// Time for a self-test.
const SELF_TEST_PATIENCE: Duration = Duration::from_secs(60);
/// How often a waiting parent looks whether it is to stop.
const TICK: Duration = Duration::from_millis(50);
/// Most letters of the name of an architecture.
const ARCHITECTURE_LETTERS_MAX: usize = 64;
/// Most bytes of the child's last words that are kept for the error.
const LAST_WORDS_BYTES_MAX: usize = 2_000;

/// What an evaluation may take at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Private memory of the child; the files of the model that it maps do not count.
    pub memory_bytes_max: u64,
    /// Time for one model.
    pub patience: Duration,
}

impl Limits {
    /// The memory that the rules allow; the time between two rounds, as a model that takes longer
    /// cannot be measured each round. By work and memory alone models are refused; these bounds end
    /// an evaluator that goes beyond what the formulas say, and that is our own trouble.
    pub fn of(competition: &Competition) -> Self {
        let seconds = competition.evaluation.blocks_per_round.saturating_mul(SECONDS_PER_BLOCK);
        Self {
            memory_bytes_max: competition.model.memory_max(),
            patience: Duration::from_secs(seconds),
        }
    }
}

/// The engine as validators use it: one isolated process for each model.
pub struct ProcessEvaluate {
    n_threads: usize,
    /// Most bytes to take on this machine, whatever the rules allow.
    memory_limit: Option<u64>,
    stop: Arc<AtomicBool>,
    /// What is run: this very program.
    command: Vec<PathBuf>,
    warned: Mutex<BTreeSet<String>>,
}

impl ProcessEvaluate {
    /// Evaluation on `n_threads` threads each; the losses are the same for any number.
    ///
    /// `stop` is raised when this process shall end.
    pub fn new(n_threads: usize, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let (command, warned) = (vec![this_program()?], Mutex::default());
        let memory_limit = memory_of_this_machine().map(|bytes| bytes / 4 * 3);
        Ok(Self { n_threads, memory_limit, stop, command, warned })
    }

    /// The same that takes no more memory than this.
    pub fn with_memory_limit(self, bytes: u64) -> Self {
        Self { memory_limit: Some(bytes), ..self }
    }

    /// Most bytes that measuring may take where this machine has less than the rules allow: then
    /// parameters that do not fit stay in their files. The losses are the same.
    fn memory_limit(&self, competition: &Competition) -> Option<u64> {
        self.memory_limit.filter(|own| *own < Limits::of(competition).memory_bytes_max)
    }

    /// What measuring may take: what the rules say, or less on a machine that has less.
    fn limits(&self, competition: &Competition) -> Limits {
        let limits = Limits::of(competition);
        let own = self.memory_limit(competition).map(|own| own.saturating_add(SLACK_BYTES));
        Limits { memory_bytes_max: own.unwrap_or(limits.memory_bytes_max), ..limits }
    }

    /// What an evaluator could do that it must not, tried in the empty folder `dir`.
    pub fn self_test(&self, dir: &Path) -> anyhow::Result<Vec<Attempt>> {
        let limits = Limits { memory_bytes_max: WORKING_BYTES, patience: SELF_TEST_PATIENCE };
        match self.ask(dir, limits, &Request::SelfTest, &mut nothing)? {
            Message::SelfTested(attempts) => Ok(attempts),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs one child to its end and gives its last message, which is neither `Ready` nor
    /// `Losses`.
    fn ask(
        &self,
        dir: &Path,
        limits: Limits,
        request: &Request<'_>,
        learn: &mut Learn<'_>,
    ) -> anyhow::Result<Message> {
        let mut child = self.spawn(dir, limits).context("cannot start an evaluator")?;
        let (Some(to), Some(from), Some(complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("an evaluator has no pipes");
        };
        let mut text = serde_json::to_vec(request).context("cannot ask an evaluator")?;
        text.push(b'\n');
        // Nothing here waits for these threads: they end with their pipes, whoever holds them.
        let writer = on_a_thread(move || (&to).write_all(&text).map(|()| to));
        let messages = hear(from);
        let last_words = on_a_thread(move || last_words(complaints));
        let answer = self.listen(&messages, limits.patience, learn);
        let status = end(&mut child, answer.is_ok()).context("cannot end an evaluator")?;
        // Until here the pipe was open. It closes as well when this process dies, and the child,
        // which watches it, ends.
        drop(writer);
        answer?.with_context(|| {
            death(status, &last_words.recv_timeout(Duration::from_secs(1)).unwrap_or_default())
        })
    }

    fn spawn(&self, dir: &Path, limits: Limits) -> std::io::Result<Child> {
        Command::new(&self.command[0])
            .args(&self.command[1..])
            .arg("evaluator")
            .arg("--memory-limit")
            .arg(limits.memory_bytes_max.to_string())
            .arg(dir)
            .env_clear()
            // A group of its own: Ctrl-C is for this process, which then ends the child.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// The first message that is an answer; `None` when the child ended without one.
    fn listen(
        &self,
        messages: &Receiver<anyhow::Result<Message>>,
        patience: Duration,
        learn: &mut Learn<'_>,
    ) -> anyhow::Result<Option<Message>> {
        let started = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Interrupted.into());
            }
            if started.elapsed() > patience {
                bail!("an evaluator took longer than {} s and was ended", patience.as_secs());
            }
            match messages.recv_timeout(TICK) {
                Ok(Ok(Message::Ready { missing })) => self.warn(missing),
                Ok(Ok(Message::Losses(losses))) => {
                    let is_finite = |loss: &SequenceLoss| loss.cross_entropy.is_finite();
                    anyhow::ensure!(losses.iter().all(is_finite), "an evaluator gave no number");
                    learn(&losses)?;
                }
                Ok(Ok(answer)) => return Ok(Some(answer)),
                Ok(Err(error)) => return Err(error.context("an evaluator speaks nonsense")),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Says once what keeps evaluations from being isolated on this machine.
    fn warn(&self, missing: Vec<String>) {
        let mut warned = self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for what in missing.into_iter().take(isolation::N_MISSING_MAX) {
            let what: String = what.escape_debug().take(300).collect();
            if warned.insert(what.clone()) {
                tracing::warn!("models are evaluated with less isolation: {what}");
            }
        }
    }
}

impl Engine for ProcessEvaluate {
    fn name(&self) -> &str {
        plug::ENGINE
    }

    fn inspect_ahead(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<(), Reason>> {
        let request = Request::InspectAhead { competition: Cow::Borrowed(competition) };
        match self.ask(dir, Limits::of(competition), &request, &mut nothing)? {
            Message::InspectedAhead(verdict) => Ok(verdict.map_err(|reason| told(&reason))),
            other => Err(unexpected(&other)),
        }
    }

    fn inspect(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<Inspected, Reason>> {
        let request = Request::Inspect { competition: Cow::Borrowed(competition) };
        match self.ask(dir, Limits::of(competition), &request, &mut nothing)? {
            Message::Inspected(verdict) => Ok(verdict.map(named).map_err(|reason| told(&reason))),
            other => Err(unexpected(&other)),
        }
    }

    fn losses(
        &self,
        dir: &Path,
        ask: Ask<'_>,
        learn: &mut Learn<'_>,
    ) -> anyhow::Result<Result<(), Reason>> {
        let Ask { competition, admission, sequences } = ask;
        let request = Request::Losses {
            competition: Cow::Borrowed(competition),
            tensor_root: admission.tensor_root,
            memory_limit: self.memory_limit(competition),
            sequences: sequences.iter().map(|s| Cow::Borrowed(s.tokens.as_slice())).collect(),
            n_threads: self.n_threads,
        };
        let mut n_losses = 0;
        let mut learn = |losses: &[SequenceLoss]| {
            n_losses += losses.len();
            learn(losses)
        };
        match self.ask(dir, self.limits(competition), &request, &mut learn)? {
            Message::Evaluated(Ok(())) if n_losses != sequences.len() => {
                bail!("an evaluator gave {n_losses} losses for {} sequences", sequences.len())
            }
            Message::Evaluated(end) => Ok(end.map_err(|reason| told(&reason))),
            other => Err(unexpected(&other)),
        }
    }

    fn is_stop(&self, error: &anyhow::Error) -> bool {
        error.downcast_ref::<Interrupted>().is_some()
    }
}

/// The file of this very program, to be run again.
pub fn this_program() -> anyhow::Result<PathBuf> {
    // The link names this program even when its file has been replaced since by another one.
    let link = Path::new("/proc/self/exe");
    match link.exists() {
        true => Ok(link.to_owned()),
        false => std::env::current_exe().context("cannot tell where this program is"),
    }
}

/// Told of losses as they come.
type Learn<'a> = dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()> + 'a;

/// For requests that are answered without losses.
fn nothing(_: &[SequenceLoss]) -> anyhow::Result<()> {
    bail!("an evaluator gave losses that it was not asked for")
}

/// Memory of this machine, where the system tells.
fn memory_of_this_machine() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Ends the child, which may do so by itself in the first moment if `gently`.
fn end(child: &mut Child, gently: bool) -> std::io::Result<ExitStatus> {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // Only looked at: until we wait for it, nobody else gets its number.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        for _ in 0..if gently { 20 } else { 0 } {
            if waitid(WaitId::Pid(pid), look)?.is_some() {
                break;
            }
            std::thread::sleep(TICK / 10);
        }
        // With whatever it may have started where the kernel lets it start something.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    child.kill()?;
    child.wait()
}

/// What `work` gives, once.
fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(work()));
    receiver
}

/// The messages of a child, until one is none.
fn hear(from: impl Read + Send + 'static) -> Receiver<anyhow::Result<Message>> {
    let (sender, messages) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        while let Some(message) = wire::read(&mut from).transpose() {
            let is_last = message.is_err();
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    });
    messages
}

/// What was found, with a name that anybody can be shown: the child has read a stranger's files.
fn named(mut found: Inspected) -> Inspected {
    found.card.architecture = text::shown(&found.card.architecture, ARCHITECTURE_LETTERS_MAX);
    found
}

/// A reason as we write one, whatever the child wrote.
fn told(reason: &Reason) -> Reason {
    Reason::new(reason.code, &reason.detail)
}

fn unexpected(message: &Message) -> anyhow::Error {
    match message {
        Message::Failed { error } => anyhow::anyhow!("an evaluator failed: {error}"),
        _ => anyhow::anyhow!("an evaluator answered what it was not asked"),
    }
}

/// The end of what the child had to say on stderr.
fn last_words(mut complaints: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = complaints.read(&mut piece) {
        kept.extend_from_slice(&piece[..n]);
        let n_over = kept.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        kept.drain(..n_over);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// How a child ended that gave no answer.
fn death(status: ExitStatus, last_words: &str) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    };
    let words = if last_words.is_empty() { String::new() } else { format!(": {last_words}") };
    format!("an evaluator {how} without an answer{words}")
}

#[cfg(test)]
mod tests;
