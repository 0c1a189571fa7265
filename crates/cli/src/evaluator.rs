//! Measures strangers' models in a process of their own that can do nothing else.
//!
//! Each model gets a child, `agon evaluator DIR`, with an empty environment and no open file but
//! three pipes. Before it reads anything of the model it gives up, for good, whatever an evaluation
//! does not need (see [`isolation`]). Whatever happens to it is our own trouble and no verdict:
//! only what it says in good order is one.

pub mod isolation;
pub mod wire;

use crate::failure::Interrupted;
use anyhow::{Context as _, bail};
use dataset::Batch;
use protocol::{Competition, Outcome, Reason};
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
use validator::{Evaluate, Inspected};
use wire::{Attempt, Message, Request};

/// Seconds of a block, as Bittensor makes them.
const SECONDS_PER_BLOCK: u64 = 12;
/// Memory besides the parameters: activations, logits, text.
const WORKING_BYTES: u64 = 2 << 30;
/// Time for a self-test.
const SELF_TEST_PATIENCE: Duration = Duration::from_secs(60);
/// How often a waiting parent looks whether it is to stop.
const TICK: Duration = Duration::from_millis(50);
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
    /// Parameters of the largest model, widened and once more; the time between two rounds, as a
    /// model that takes longer cannot be measured each round.
    pub fn of(competition: &Competition) -> Self {
        let parameters = competition.model.size_bytes_max.saturating_mul(4);
        let seconds = competition.evaluation.blocks_per_round.saturating_mul(SECONDS_PER_BLOCK);
        Self {
            memory_bytes_max: parameters.saturating_add(WORKING_BYTES),
            patience: Duration::from_secs(seconds),
        }
    }
}

/// The engine as validators use it: one isolated process for each model.
pub struct ProcessEvaluate {
    n_threads: usize,
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
        // The link names this program even when its file has been replaced since by another one.
        let link = Path::new("/proc/self/exe");
        let program = match link.exists() {
            true => link.to_owned(),
            false => std::env::current_exe().context("cannot tell where this program is")?,
        };
        Ok(Self { n_threads, stop, command: vec![program], warned: Mutex::default() })
    }

    /// What an evaluator could do that it must not, tried in the empty folder `dir`.
    pub fn self_test(&self, dir: &Path) -> anyhow::Result<Vec<Attempt>> {
        let limits = Limits { memory_bytes_max: WORKING_BYTES, patience: SELF_TEST_PATIENCE };
        match self.ask(dir, limits, &Request::SelfTest, &|_| {})? {
            Message::SelfTested(attempts) => Ok(attempts),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs one child to its end and gives its last message, which is neither `Ready` nor
    /// `Progress`.
    fn ask(
        &self,
        dir: &Path,
        limits: Limits,
        request: &Request<'_>,
        progress: &(dyn Fn(usize) + Sync),
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
        let answer = self.listen(&messages, limits.patience, progress);
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
        progress: &(dyn Fn(usize) + Sync),
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
                Ok(Ok(Message::Progress { n_batches })) => progress(n_batches),
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

impl Evaluate for ProcessEvaluate {
    fn inspect_ahead(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<(), Reason>> {
        let request = Request::InspectAhead { competition: Cow::Borrowed(competition) };
        match self.ask(dir, Limits::of(competition), &request, &|_| {})? {
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
        match self.ask(dir, Limits::of(competition), &request, &|_| {})? {
            Message::Inspected(verdict) => Ok(verdict.map_err(|reason| told(&reason))),
            other => Err(unexpected(&other)),
        }
    }

    fn evaluate(
        &self,
        dir: &Path,
        competition: &Competition,
        batches: &[Batch],
        progress: &(dyn Fn(usize) + Sync),
    ) -> anyhow::Result<Outcome> {
        let request = Request::Evaluate {
            competition: Cow::Borrowed(competition),
            batches: Cow::Borrowed(batches),
            n_threads: self.n_threads,
        };
        match self.ask(dir, Limits::of(competition), &request, progress)? {
            Message::Evaluated(Outcome::Evaluated(losses)) if losses.len() != batches.len() => {
                bail!("an evaluator gave {} losses for {} batches", losses.len(), batches.len())
            }
            Message::Evaluated(Outcome::Disqualified(reason)) => {
                Ok(Outcome::Disqualified(told(&reason)))
            }
            Message::Evaluated(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }
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
