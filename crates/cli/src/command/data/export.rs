//! `agon data export`: the training text of a competition in files that other programs read.

use super::array;
use crate::contest::Contest;
use crate::{
    args::{DataExportArgs, DataSplit},
    competition_file::{self, with_own_hint},
    failure::{HintExt as _, Interrupted},
    rules_text::plural,
    terminal::{self, PatientBar, print_json},
};
use anyhow::Context as _;
use dataset::{Document, Error, Lot, Source, Split, Tokenizer};
use indicatif::{HumanBytes, HumanCount};
use protocol::{Digest, Seed};
use serde::Serialize;
use std::{
    fs::{self, File, TryLockError},
    io::{BufWriter, ErrorKind, IntoInnerError, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};
use tempfile::NamedTempFile;

/// What was exported; also in the folder, as `export.json`.
#[derive(Serialize)]
struct Report {
    competition: String,
    competition_digest: Digest,
    dataset: Digest,
    tokenizer: Digest,
    split: Split,
    seed: u64,
    n_documents: u64,
    /// Documents of the split altogether.
    of_documents: u64,
    text_bytes: u64,
    /// Tokens of all documents, the end of text behind each included.
    n_tokens: u64,
    end_of_text: u32,
    sequence_length: usize,
    /// Sequences of the array of tokens: rows of `sequence_length`.
    n_sequences: u64,
    files: Vec<PathBuf>,
}

/// One line of the text file.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    text: &'a str,
}

/// Writes documents, their tokens and the tokenizer into a folder.
pub fn run(args: &DataExportArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let contest = competition_file::contest(&args.competition, args.dir.as_deref())?;
    let dir = &args.to;
    fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    // Ours to the end.
    let _lock = lock(dir)?;
    let report = Export::new(args, &contest)?.write(&stop)?;
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&for_people(&report, args))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An export under way. Files have their names only once they are whole.
struct Export<'a> {
    args: &'a DataExportArgs,
    contest: &'a Contest,
    split: Split,
    text: Part,
    tokens: array::Writer,
}

impl<'a> Export<'a> {
    fn new(args: &'a DataExportArgs, contest: &'a Contest) -> anyhow::Result<Self> {
        let split = match args.split {
            DataSplit::Train => Split::Train,
            DataSplit::Evaluation => Split::Evaluation,
        };
        let text = Part::create(args.to.join(format!("{split}.jsonl")))?;
        let tokens = array::Writer::new(
            Part::create(args.to.join(format!("{split}.npy")))?,
            contest.tokenizer.vocabulary(),
            contest.competition.text.sequence_length,
        )?;
        Ok(Self { args, contest, split, text, tokens })
    }

    fn write(mut self, stop: &AtomicBool) -> anyhow::Result<Report> {
        let Contest { competition, source, tokenizer } = self.contest;
        let (split, of_documents) = (self.split, self.contest.source.n_documents(self.split));
        let wanted = if self.args.all { of_documents } else { self.args.documents };
        let (mut n_documents, mut text_bytes) = (0, 0);
        let bar = PatientBar::new("{bar:30} {percent} %  {msg}  {eta} left")?;
        for document in documents(&**source, split, self.args) {
            if stop.load(Ordering::Relaxed) {
                return Err(Interrupted.into());
            }
            let document = with_own_hint(document)?;
            if document.text.is_empty() {
                continue;
            }
            text_bytes += document.text.len() as u64;
            self.document(&document, tokenizer)?;
            n_documents += 1;
            bar.set(n_documents, wanted, || plural(n_documents as usize, "document"));
            if n_documents >= wanted {
                break;
            }
        }
        bar.finish();
        anyhow::ensure!(n_documents > 0, "{} has no documents to export", source.describe());
        let (n_tokens, n_sequences) = self.tokens.counts();
        let [name, summary] = ["tokenizer.json", "export.json"].map(|name| self.args.to.join(name));
        // The summary is the last to come and the first to go: it speaks of the files beside it.
        match fs::remove_file(&summary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot replace `{}`", summary.display()));
            }
            _ => {}
        }
        with_own_hint(tokenizer.save(&name))?;
        let files = vec![self.text.finish()?, self.tokens.finish()?, name, summary.clone()];
        let report = Report {
            competition: competition.name.clone(),
            competition_digest: competition.digest(),
            dataset: source.digest(),
            tokenizer: tokenizer.digest(),
            split,
            seed: self.args.seed,
            n_documents,
            of_documents,
            text_bytes,
            n_tokens,
            end_of_text: tokenizer.end_of_text(),
            sequence_length: competition.text.sequence_length,
            n_sequences,
            files,
        };
        let mut part = Part::create(summary)?;
        part.write((serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
        part.finish()?;
        Ok(report)
    }

    fn document(&mut self, document: &Document, tokenizer: &Tokenizer) -> anyhow::Result<()> {
        let Document { id, text, .. } = document;
        let mut line = serde_json::to_vec(&Line { id, text })?;
        line.push(b'\n');
        self.text.write(&line)?;
        let mut tokens = with_own_hint(tokenizer.encode(text))?;
        tokens.push(tokenizer.end_of_text());
        self.tokens.push(&tokens)
    }
}

/// The documents to export: all in their order, or some in a seeded one; none twice.
fn documents<'a>(
    source: &'a dyn Source,
    split: Split,
    args: &DataExportArgs,
) -> Box<dyn Iterator<Item = Result<Document, Error>> + 'a> {
    if args.all {
        let indices = 0..source.n_documents(split);
        return Box::new(indices.map(move |index| source.document(split, index)));
    }
    source.draw(split, Lot { seed: Seed::of_number(args.seed), turn: 0 })
}

/// A file that is not whole yet, under a name of its own; it goes away unless it is finished.
pub struct Part {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Part {
    pub fn create(path: PathBuf) -> anyhow::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".export-").suffix(".partial");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder)
            .with_context(|| format!("cannot write to `{}`", folder.display()))
            .hint("name a folder that can be written with --to")?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 20, file) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(bytes);
        written.with_context(|| format!("cannot write `{}`", self.path.display()))
    }

    /// Writes over the beginning of the file.
    pub fn write_at_start(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let moved = self.file.seek(SeekFrom::Start(0));
        moved.with_context(|| format!("cannot write `{}`", self.path.display()))?;
        self.write(bytes)
    }

    /// Gives the file its name.
    pub fn finish(self) -> anyhow::Result<PathBuf> {
        let Self { path, file } = self;
        let cannot = || format!("cannot write `{}`", path.display());
        let file = file.into_inner().map_err(IntoInnerError::into_error).with_context(cannot)?;
        disk::place(file, &path).with_context(cannot)?;
        Ok(path)
    }
}

/// Keeps other exports out of a folder as long as this lives.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let folder = File::open(dir).with_context(|| format!("cannot open `{}`", dir.display()))?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(anyhow::anyhow!("another export writes to `{}`", dir.display()))
                .hint("wait for it, or name another folder with --to")
        }
        // A file system without locks has none to wait for.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(folder),
    }
}

fn for_people(report: &Report, args: &DataExportArgs) -> String {
    let Report { split, n_documents, of_documents, n_tokens, n_sequences, .. } = report;
    let warning = match split {
        Split::Train => "",
        Split::Evaluation => {
            "\nThese are documents that rounds are drawn from: whoever trains on them learns the\n\
             exam, and its losses say nothing.\n"
        }
    };
    format!(
        "{split} split of {}: {} of {} documents, {} of text, {} tokens\n{warning}\n  \
         {split}.jsonl     a document a line: {{\"id\", \"text\"}}\n  \
         {split}.npy       {} rows of {} tokens, packed as in a round\n  \
         tokenizer.json  {}\n  \
         export.json     what was exported, with all digests\n\nTry next\n  \
         numpy.load(\"{}/{split}.npy\"), datasets.load_dataset(\"json\", data_files=…)\n  \
         agon check --model DIR --competition {}\n",
        report.competition,
        HumanCount(*n_documents),
        HumanCount(*of_documents),
        HumanBytes(report.text_bytes),
        HumanCount(*n_tokens),
        HumanCount(*n_sequences),
        report.sequence_length,
        report.tokenizer,
        args.to.display(),
        args.competition,
    )
}
