//! `agon data export`: the training text of a competition in files that other programs read.

use super::array;
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
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};
use validator::Contest;

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
        let name = self.args.to.join("tokenizer.json");
        with_own_hint(tokenizer.save(&name))?;
        let (n_tokens, n_sequences) = self.tokens.counts();
        let files = vec![self.text.finish()?, self.tokens.finish()?, name];
        let mut report = Report {
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
        let name = self.args.to.join("export.json");
        report.files.push(name.clone());
        fs::write(&name, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write `{}`", name.display()))?;
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

/// A file that is not whole yet, under a name that says so.
pub struct Part {
    path: PathBuf,
    pub file: BufWriter<File>,
}

impl Part {
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        let partial = partial(&path);
        let file = File::create(&partial)
            .with_context(|| format!("cannot write `{}`", partial.display()))
            .hint("name a folder that can be written with --to")?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 20, file) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(bytes);
        written.with_context(|| format!("cannot write `{}`", partial(&self.path).display()))
    }

    pub fn finish(mut self) -> anyhow::Result<PathBuf> {
        let partial = partial(&self.path);
        let done = self.file.flush().and_then(|()| fs::rename(&partial, &self.path));
        done.with_context(|| format!("cannot write `{}`", self.path.display()))?;
        Ok(self.path.clone())
    }
}

impl Drop for Part {
    /// Whatever was not finished goes; a finished file has another name by now.
    fn drop(&mut self) {
        let _ = fs::remove_file(partial(&self.path));
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
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
