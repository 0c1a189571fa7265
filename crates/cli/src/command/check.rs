//! `agon check`: what a validator would say of a model before evaluating it.

use crate::{
    args::CheckArgs,
    competition_file,
    failure::HintExt as _,
    plug,
    terminal::{self, print_json},
};
use hub::{
    FileEntry,
    content::{Hashes, list_folder},
    intake,
};
use indicatif::HumanCount;
use protocol::{Competition, ContentHash, Digest, Reason, ReasonCode, competition::ModelLimits};
use serde::Serialize;
use std::{fmt::Write as _, path::Path, process::ExitCode};

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
    files: Vec<FileEntry>,
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
    let report = Report::new(&args.model, &competition)?;
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people(&competition.model)?)?;
    }
    let is_refused = report.verdict == Verdict::Refused;
    Ok(if is_refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

impl Report {
    fn new(dir: &Path, competition: &Competition) -> anyhow::Result<Self> {
        // A model that breaks a limit of the competition is described all the same.
        let described = engine::inspect(dir, &engine::no_limits())?.ok();
        // What is far too large takes long to hash, and what is no model has no hash.
        let hopeless = engine::inspect(dir, &competition.model)?
            .err()
            .filter(|reason| matches!(reason.code, ReasonCode::TooLarge | ReasonCode::FileRefused));
        let (files, judged) = match hopeless {
            Some(reason) => (None, Err(reason)),
            None => {
                let files = list_folder(dir).hint("a hub takes plain, visible files only")?;
                let judged = match intake::refusal(&files, &competition.model) {
                    Some(reason) => Err(reason),
                    None => plug::check(dir, competition)?,
                };
                (Some(files), judged)
            }
        };
        let hashes = files.as_deref().map(Hashes::of);
        Ok(Self {
            competition: competition.name.clone(),
            verdict: if judged.is_ok() { Verdict::Admitted } else { Verdict::Refused },
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
            files: files.unwrap_or_default(),
        })
    }

    fn for_people(&self, limits: &ModelLimits) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
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
        match self.reasons.first() {
            None => writeln!(text, "verdict         admitted: validators will evaluate it")?,
            Some(reason) => writeln!(text, "verdict         refused: {reason}")?,
        }
        Ok(text)
    }
}
