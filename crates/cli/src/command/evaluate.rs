//! `agon evaluate`: the loss of a model on tokens or text.

mod device;
mod first_token;
mod text;

use crate::{
    args::EvaluateArgs,
    failure::{HintExt as _, Interrupted, hinted},
    plug,
    terminal::{self, PatientBar, peak_memory_bytes, print_json},
};
use anyhow::ensure;
use device::Loaded;
use engine::{EvaluateOptions, Inspection, LoadOptions, Progress, SequenceLoss};
use indicatif::HumanCount;
use protocol::{Loss, loss::perplexity};
use serde::Serialize;
use std::{
    fmt::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};
use text::Text;

/// Most threads; more than any machine has.
const THREADS_MAX: usize = 1024;

/// What is printed.
#[derive(Serialize)]
struct Report {
    sequences: Vec<Sequence>,
    /// Nats per predicted token of each batch, where the tokens are a round's: what a validator
    /// puts into its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    batches: Option<Vec<Loss>>,
    /// Nats per predicted token over all sequences.
    mean_cross_entropy: Loss,
    perplexity: Loss,
    tokens_per_second: f64,
    peak_memory_bytes: Option<u64>,
    n_parameters: u64,
    architecture: String,
    threads: usize,
    /// Whether the parameters were read layer by layer.
    streamed: bool,
    /// Name of the GPU that the losses come from, which then are rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<String>,
    /// The token in front of each sequence of a text; null if none is, absent for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token: Option<Option<u32>>,
}

#[derive(Serialize)]
struct Sequence {
    /// Predicted tokens.
    tokens: usize,
    cross_entropy: Loss,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_nll: Option<Vec<f32>>,
}

/// Measures a model and prints its losses.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let n_threads = n_threads(args)?;
    ensure!(args.batch != Some(0), "`--batch` is 0: at least one sequence is computed at a time");
    let stop = terminal::stop_on_signal()?;
    let Text { sequences, batches, first_token } = Text::of(args)?;
    let model = load(args, &stop)?;
    check_tokens(&sequences, model.inspection())?;
    let (losses, seconds) = measure(&model, &sequences, (args, n_threads), &stop)?;
    let batches = batches.map(|sizes| plug::per_batch(sizes, &losses));
    let report = Report::new(losses, seconds, &model, n_threads);
    let report = Report { batches, first_token, ..report };
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn n_threads(args: &EvaluateArgs) -> anyhow::Result<usize> {
    let n_threads = args.threads.unwrap_or_else(engine::n_processors);
    ensure!(
        (1..=THREADS_MAX).contains(&n_threads),
        "`--threads` is {n_threads}: expected 1 to {THREADS_MAX}"
    );
    Ok(n_threads)
}

/// The model in a folder; one that is refused is an error with the code of its reason.
fn load(args: &EvaluateArgs, stop: &AtomicBool) -> anyhow::Result<Loaded> {
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let progress = |n_done: usize, n_layers: usize| {
        bar.set(n_done as u64, n_layers as u64, || format!("{n_done} of {n_layers} layers loaded"));
    };
    let options = LoadOptions {
        memory_limit: args.memory_limit.map(|limit| limit.as_u64()),
        progress: Some(&progress),
        cancelled: Some(stop),
        ..LoadOptions::default()
    };
    let model = Loaded::load(&args.model, args.device, &options);
    bar.finish();
    model?
        .map_err(|reason| anyhow::anyhow!("model `{}` is refused: {reason}", args.model.display()))
}

/// A cancelled call is no failure, and too low a limit has a mend.
fn own_fault(error: engine::Error) -> anyhow::Error {
    match error {
        engine::Error::Cancelled => Interrupted.into(),
        #[cfg(feature = "cuda")]
        engine::Error::Gpu(_) => {
            hinted(error, "the CPU measures every model: leave `--device` out")
        }
        engine::Error::MemoryLimit { .. } => {
            hinted(error, "give a larger --memory-limit, fewer threads or shorter sequences")
        }
        error => error.into(),
    }
}

/// Tokens that a model does not know are a mistake of whoever asks, not of the model.
fn check_tokens(sequences: &[Vec<u32>], model: &Inspection) -> anyhow::Result<()> {
    let Inspection { vocabulary, context, .. } = *model;
    for (index, sequence) in sequences.iter().enumerate() {
        let (number, n) = (index + 1, sequence.len());
        ensure!(
            n <= context,
            "sequence {number} has {n} tokens, but the model has a context of {context}"
        );
        if let Some(token) = sequence.iter().find(|token| **token as usize >= vocabulary) {
            return Err(anyhow::anyhow!(
                "sequence {number} has the token {token}, but the model knows {vocabulary} tokens"
            ))
            .hint("use the tokenizer that the model was trained with");
        }
    }
    Ok(())
}

/// Losses in the order of the sequences, and the seconds that they took.
fn measure(
    model: &Loaded,
    sequences: &[Vec<u32>],
    (args, threads): (&EvaluateArgs, usize),
    stop: &AtomicBool,
) -> anyhow::Result<(Vec<SequenceLoss>, f64)> {
    if stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    let started = Instant::now();
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let progress = |done: Progress| {
        bar.set(done.n_steps_done, done.n_steps, || {
            if !model.is_streamed() {
                let [done, all] = [done.n_tokens_done, done.n_tokens].map(|n| HumanCount(n as u64));
                return format!("{done} of {all} tokens");
            }
            let n_pieces = done.n_steps / (done.n_tokens as u64).max(1);
            let n_done = done.n_steps_done / (done.n_tokens as u64).max(1);
            format!("{n_done} of {n_pieces} layers, read one by one")
        });
    };
    let options = EvaluateOptions {
        threads,
        sequences_per_batch: args.batch.unwrap_or(model.batch()),
        per_token: args.per_token,
        progress: Some(&progress),
        cancelled: Some(stop),
        ..EvaluateOptions::default()
    };
    let losses = model.evaluate(sequences, &options);
    bar.finish();
    let losses = losses?.map_err(|reason| {
        anyhow::anyhow!("model `{}` is refused: {reason}", args.model.display())
    })?;
    Ok((losses, started.elapsed().as_secs_f64()))
}

impl Report {
    fn new(losses: Vec<SequenceLoss>, seconds: f64, model: &Loaded, threads: usize) -> Self {
        let streamed = model.is_streamed();
        let gpu = model.gpu().map(ToString::to_string);
        let model = model.inspection();
        let n_tokens: usize = losses.iter().map(|loss| loss.n_tokens).sum();
        let mean_cross_entropy = plug::mean_cross_entropy(&losses);
        Self {
            mean_cross_entropy,
            perplexity: perplexity(mean_cross_entropy),
            tokens_per_second: n_tokens as f64 / seconds.max(1e-9),
            peak_memory_bytes: peak_memory_bytes(),
            n_parameters: model.n_parameters,
            architecture: model.architecture.clone(),
            threads,
            streamed,
            gpu,
            first_token: None,
            sequences: losses.into_iter().map(Sequence::from).collect(),
            batches: None,
        }
    }

    fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let n_tokens: usize = self.sequences.iter().map(|sequence| sequence.tokens).sum();
        for (index, sequence) in self.sequences.iter().enumerate() {
            let Some(nats) = &sequence.token_nll else { continue };
            write!(text, "sequence {}  {}:", index + 1, sequence.cross_entropy)?;
            nats.iter().try_for_each(|nats| write!(text, " {nats}"))?;
            writeln!(text)?;
        }
        let n_parameters = HumanCount(self.n_parameters);
        for (index, loss) in self.batches.iter().flatten().enumerate() {
            writeln!(text, "batch {:<8} {:.6}", index + 1, loss.value())?;
        }
        writeln!(text, "model          {n_parameters} parameters, {}", self.architecture)?;
        writeln!(text, "sequences      {}, {n_tokens} tokens predicted", self.sequences.len())?;
        match self.first_token {
            Some(Some(token)) => writeln!(text, "first token    {token} in front of each")?,
            Some(None) => writeln!(text, "first token    none is put in front")?,
            None => (),
        }
        writeln!(text, "cross-entropy  {:.6} nats per token", self.mean_cross_entropy.value())?;
        writeln!(text, "perplexity     {:.6}", self.perplexity.value())?;
        let (speed, threads) = (self.tokens_per_second, self.threads);
        let threads = format!("{threads} threads");
        let on = self.gpu.as_ref().unwrap_or(&threads);
        writeln!(text, "speed          {speed:.0} tokens per second on {on}")?;
        if self.gpu.is_some() {
            writeln!(text, "exactness      rounded to BF16; only the CPU's losses are a verdict")?;
        }
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(text, "memory         {} MiB at most", bytes >> 20)?;
        }
        Ok(text)
    }
}

impl From<SequenceLoss> for Sequence {
    fn from(loss: SequenceLoss) -> Self {
        let SequenceLoss { n_tokens, cross_entropy, token_nll } = loss;
        Self { tokens: n_tokens, cross_entropy, token_nll }
    }
}
