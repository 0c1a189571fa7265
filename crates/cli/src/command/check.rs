//! `agon check`: what a validator would say of a model before evaluating it.

mod probe;
mod tensors;

use crate::{
    args::CheckArgs,
    competition_file,
    plug::{self, Examined},
    terminal::{self, print_json},
};
use engine::Inspection;
use hub::{FileEntry, content::Hashes, intake};
use hugging_face::{Folder, folder::LeftOut};
use indicatif::{HumanBytes, HumanCount};
use probe::ProbeReport;
use protocol::{Competition, ContentHash, Digest, Reason, ReasonCode, competition::ModelLimits};
use serde::Serialize;
use std::{
    fmt::{Error, Write as _},
    path::Path,
    process::ExitCode,
};
use tensors::{FindingRow, TensorRow};
use validator::Admission;

/// Exit code of a refusal.
const REFUSED: u8 = 1;

/// What is printed; what a refusal keeps from being known is `null`.
#[derive(Serialize)]
struct Report {
    competition: String,
    verdict: Verdict,
    /// The rule that is broken; validators stop at the first.
    reasons: Vec<Reason>,
    architecture: Option<String>,
    n_parameters: Option<u64>,
    vocabulary: Option<usize>,
    context: Option<usize>,
    /// Types of the tensors.
    dtypes: Option<Vec<String>>,
    /// Bytes of all files.
    size_bytes: Option<u64>,
    /// The reference's hash of the model's files, blind to their names.
    directory_hash: Option<ContentHash>,
    /// Root over names, sizes and bytes of the model's files: what a commitment is bound to.
    file_root: Option<Digest>,
    /// Root over config and tensors, however they are spread over files.
    tensor_root: Option<Digest>,
    /// Work and memory that an evaluation takes.
    estimate: Option<Estimate>,
    /// How large the numbers of each tensor are.
    tensors: Vec<TensorRow>,
    /// Rules for parameters that others can train on which tensors break. They refuse a model if
    /// the competition has such rules, else they are a warning.
    findings: Vec<FindingRow>,
    probe: Option<ProbeReport>,
    files: Vec<FileEntry>,
    /// What of the folder is no part of the model, and why; a published repo must not have what is
    /// not admitted.
    left_out: Vec<LeftOut>,
    /// How to make a model of the folder, where its parameters have another form.
    hint: Option<&'static str>,
}

/// What an evaluation in this competition takes, from the config alone.
#[derive(Serialize)]
struct Estimate {
    /// Floating-point operations of a round.
    flops_per_round: u64,
    tokens_per_round: u64,
    /// Bytes of the parameters in memory; streamed, a model takes about two layers.
    resident_bytes: u64,
}

impl Estimate {
    fn new(model: &Inspection, competition: &Competition) -> Self {
        let rules = &competition.evaluation;
        let n_sequences = (rules.n_batches * rules.sequences_per_batch) as u64;
        let length = competition.text.sequence_length as u64;
        Self {
            flops_per_round: model.flops_per_sequence(length).saturating_mul(n_sequences),
            tokens_per_round: n_sequences.saturating_mul(length),
            resident_bytes: model.resident_bytes,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Admitted,
    Refused,
}

/// Checks a model as intake and inspection of a validator do; the exit code is 0, or 1 if refused.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let competition = competition_file::rules(&args.competition)?;
    anyhow::ensure!(args.model.is_dir(), "`{}` is not a folder with a model", args.model.display());
    let folder = Folder::of_model(&args.model)?;
    let mut report = Report::new(&folder, &args.model, &competition)?;
    if let (true, Some(root)) = (args.probe && report.reasons.is_empty(), report.file_root) {
        let limits = competition.model.health.unwrap_or_default();
        let probe = ProbeReport::run(&args.model, &args.competition, &limits, root)?;
        report.take_probe(probe, &competition);
    }
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people(&competition, args.tensors)?)?;
    }
    let is_refused = report.verdict == Verdict::Refused;
    Ok(if is_refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// What a validator admits the model in `dir` as, or why it would refuse it before evaluating it.
pub fn verdict(
    folder: &Folder,
    dir: &Path,
    competition: &Competition,
) -> anyhow::Result<Result<Admission, Reason>> {
    let report = Report::new(folder, dir, competition)?;
    let Report { reasons, file_root, tensor_root, n_parameters, .. } = report;
    if let Some(reason) = reasons.into_iter().next() {
        return Ok(Err(reason));
    }
    let (Some(file_root), Some(tensor_root), Some(n_parameters)) =
        (file_root, tensor_root, n_parameters)
    else {
        anyhow::bail!("an admitted model has roots");
    };
    Ok(Ok(Admission { file_root, tensor_root, n_parameters, card: None }))
}

impl Report {
    fn new(folder: &Folder, dir: &Path, competition: &Competition) -> anyhow::Result<Self> {
        // A model that breaks a limit of the competition is described all the same.
        let described = engine::inspect(dir, &engine::no_limits())?.ok();
        // What is far too large takes long to hash, and what is no model has no hash.
        let hopeless = engine::inspect(dir, competition)?
            .err()
            .filter(|reason| matches!(reason.code, ReasonCode::TooLarge | ReasonCode::FileRefused));
        let refused = |reason| Examined { verdict: Err(reason), scan: None };
        let (files, examined) = match hopeless {
            Some(reason) => (None, refused(reason)),
            None => {
                let spinner = terminal::spinner("reading the model");
                let files = folder.list(&|_, _| true)?;
                let examined = match intake::refusal(&files, &competition.model) {
                    Some(reason) => refused(reason),
                    None => plug::examine(dir, competition)?,
                };
                spinner.finish_and_clear();
                (Some(files), examined)
            }
        };
        let hashes = files.as_deref().map(Hashes::of);
        let Examined { verdict: judged, scan } = examined;
        let (tensors, findings) = scan.map_or_else(Default::default, tensors::rows);
        Ok(Self {
            competition: competition.name.clone(),
            verdict: if judged.is_ok() { Verdict::Admitted } else { Verdict::Refused },
            estimate: described.as_ref().map(|model| Estimate::new(model, competition)),
            architecture: described.as_ref().map(|model| model.architecture.clone()),
            n_parameters: described.as_ref().map(|model| model.n_parameters),
            vocabulary: described.as_ref().map(|model| model.vocabulary),
            context: described.as_ref().map(|model| model.context),
            dtypes: described.map(|model| model.dtypes.iter().map(ToString::to_string).collect()),
            size_bytes: files
                .as_deref()
                .map(|files| files.iter().map(|file| file.size_bytes).sum()),
            directory_hash: hashes.map(|hashes| hashes.reference_directory_hash),
            file_root: hashes.map(|hashes| hashes.file_root),
            tensor_root: judged.as_ref().ok().map(|inspected| inspected.tensor_root),
            reasons: judged.err().into_iter().collect(),
            tensors,
            findings,
            probe: None,
            files: files.unwrap_or_default(),
            left_out: folder.left_out().to_vec(),
            hint: folder.advice(),
        })
    }

    /// A model that the probe fails is refused where the competition has rules for it.
    fn take_probe(&mut self, probe: ProbeReport, competition: &Competition) {
        if !probe.is_passed && competition.model.health.is_some() {
            self.verdict = Verdict::Refused;
            let reason = Reason::new(ReasonCode::UntrainableParameters, probe.for_people());
            self.reasons.push(reason);
        }
        self.probe = Some(probe);
    }

    fn for_people(&self, competition: &Competition, with_tensors: bool) -> Result<String, Error> {
        let mut text = String::new();
        self.describe(&mut text, &competition.model)?;
        if let Some(Estimate { flops_per_round, tokens_per_round, resident_bytes }) = &self.estimate
        {
            let [tokens, memory] = [*tokens_per_round, *resident_bytes];
            let (tokens, memory) = (HumanCount(tokens), HumanBytes(memory));
            let flops = *flops_per_round as f64 / 1e12;
            writeln!(text, "work            {flops:.3} TFLOP for the {tokens} tokens of a round")?;
            writeln!(text, "memory          {memory} of parameters")?;
        }
        if with_tensors {
            tensors::table(&mut text, &self.tensors)?;
        }
        let is_rule = competition.model.health.is_some();
        tensors::summary(&mut text, &self.tensors, &self.findings, is_rule)?;
        if let Some(probe) = &self.probe {
            writeln!(text, "probe           {}", probe.for_people())?;
        }
        for LeftOut { path, reason } in &self.left_out {
            writeln!(text, "left out        `{}`: {reason}", path.escape_debug())?;
        }
        match self.reasons.first() {
            None => writeln!(text, "verdict         admitted: validators will evaluate it")?,
            Some(reason) => writeln!(text, "verdict         refused: {reason}")?,
        }
        if let (Some(hint), false) = (self.hint, self.reasons.is_empty()) {
            writeln!(text, "hint            {hint}")?;
        }
        Ok(text)
    }

    fn describe(&self, text: &mut String, limits: &ModelLimits) -> Result<(), Error> {
        writeln!(text, "competition     {}", self.competition)?;
        if let Some(architecture) = &self.architecture {
            let dtypes = self.dtypes.as_deref().unwrap_or_default().join(", ");
            writeln!(text, "architecture    {architecture}, {dtypes}")?;
        }
        if let Some(n) = self.n_parameters {
            let [n, min, max] =
                [n, limits.n_parameters_min, limits.n_parameters_max].map(HumanCount);
            writeln!(text, "parameters      {n} ({min} to {max} admitted)")?;
        }
        if let (Some(vocabulary), Some(context)) = (self.vocabulary, self.context) {
            writeln!(text, "tokens          {vocabulary}, a context of {context}")?;
        }
        if let Some(size) = self.size_bytes {
            let [size, max] = [size, limits.size_bytes_max].map(HumanCount);
            let n_files = self.files.len();
            writeln!(text, "size            {size} bytes in {n_files} files ({max} admitted)")?;
        }
        if let Some(hash) = &self.directory_hash {
            writeln!(text, "directory hash  {hash}")?;
        }
        if let Some(root) = &self.file_root {
            writeln!(text, "file root       {root}")?;
        }
        if let Some(root) = &self.tensor_root {
            writeln!(text, "tensor root     {root}")?;
        }
        Ok(())
    }
}
