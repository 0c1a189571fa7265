//! `agon data sample` and `agon data row`: documents, and what was read for them.

use super::target::{self, Opened};
use crate::{
    args::{DataRowArgs, DataSampleArgs},
    competition_file::{self, with_own_hint},
    data_files,
    terminal::{self, PatientBar, print_json},
};
use dataset::{Document, Lot, Split, source::pinned::PinnedSource};
use protocol::{Digest, Seed};
use serde::Serialize;
use std::fmt::Write as _;

/// Letters of a document that people see.
const BEGINNING_LETTERS: usize = 60;

/// What was drawn.
#[derive(Serialize)]
struct Drawn {
    source: String,
    dataset: Digest,
    split: Split,
    documents: Vec<Row>,
    /// Bytes and requests that the draw took; absent where the source holds all its text.
    read: Option<Read>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    sha256: Digest,
    n_bytes: usize,
    text: String,
}

#[derive(Serialize)]
struct Read {
    n_bytes: u64,
    n_requests: u64,
    /// Bytes of all files together.
    of_bytes: u64,
}

impl From<Document> for Row {
    fn from(document: Document) -> Self {
        let (sha256, n_bytes) = (document.digest(), document.text.len());
        Self { id: document.id, sha256, n_bytes, text: document.text }
    }
}

impl Row {
    fn for_people(&self, width: usize) -> String {
        let Self { id, sha256, n_bytes, text } = self;
        let letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let beginning: String = letters.take(BEGINNING_LETTERS).collect();
        format!("{id:width$}  {}  {n_bytes:>7}  {beginning}\n", &sha256.hex()[..12])
    }
}

/// Draws documents of the evaluation split and prints them.
pub fn run(args: &DataSampleArgs) -> anyhow::Result<()> {
    let Opened { source, reads } = target::open(&args.target, args.dir.as_deref())?;
    // What opening took, such as reading the footers of files that nobody pins.
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let lot = Lot { seed: Seed::of_number(args.seed), turn: args.turn };
    let mut documents = Vec::new();
    for document in source.draw(Split::Evaluation, lot) {
        documents.push(Row::from(with_own_hint(document)?));
        let n = documents.len() as u64;
        bar.set(n, args.documents, || format!("{n} documents"));
        if n >= args.documents {
            break;
        }
    }
    bar.finish();
    let read = reads.map(|reads| Read {
        n_bytes: reads.counter.n_bytes(),
        n_requests: reads.counter.n_reads(),
        of_bytes: reads.size_bytes,
    });
    let (source, dataset) = (source.describe(), source.digest());
    let drawn = Drawn { source, dataset, split: Split::Evaluation, documents, read };
    if args.json {
        return print_json(&drawn);
    }
    let mut text = String::new();
    writeln!(
        text,
        "documents that rounds evaluate on; `agon data export` writes those to train on"
    )?;
    writeln!(text, "source   {}\ndataset  {}\n", drawn.source, drawn.dataset)?;
    let width = drawn.documents.iter().map(|row| row.id.len()).max().unwrap_or(0);
    text.extend(drawn.documents.iter().map(|row| row.for_people(width)));
    writeln!(text, "\n{} documents", drawn.documents.len())?;
    if let Some(Read { n_bytes, n_requests, of_bytes }) = drawn.read {
        let share = 100.0 * n_bytes as f64 / of_bytes as f64;
        writeln!(text, "{n_bytes} of {of_bytes} bytes read, {share:.2} %, in {n_requests} reads")?;
    }
    terminal::print(&text)
}

/// Prints the row that a record names.
pub fn row(args: &DataRowArgs) -> anyhow::Result<()> {
    let dataset = target::pinned_dataset(&competition_file::rules(&args.competition)?)?;
    let files = data_files::open(&dataset.repo, &target::revision(&dataset), args.dir.as_deref())?;
    let source = with_own_hint(PinnedSource::new(dataset, files, data_files::footers()))?;
    let row = Row::from(with_own_hint(source.document_of(&args.id))?);
    if args.json {
        return print_json(&row);
    }
    terminal::print(&format!("{}\n{}\n\n{}\n", row.id, row.sha256, row.text))
}
