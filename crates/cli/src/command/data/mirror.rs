//! `agon data mirror`: a reserve of what rounds read.

use super::target;
use crate::{
    args::DataMirrorArgs,
    competition_file::{self, with_own_hint},
    data_files,
    terminal::{self, PatientBar, print_json},
    trained,
};
use dataset::{
    Mirror, RangeRead,
    source::pinned::{PinnedSource, pin_file},
};
use protocol::competition::{PinnedFile, TokenizerRules};
use serde::Serialize;
use std::path::PathBuf;

/// What filling the mirror came to.
#[derive(Serialize)]
struct Mirrored {
    mirror: PathBuf,
    n_pieces: u64,
    size_bytes: u64,
    read_bytes: u64,
}

/// Copies what is missing.
pub fn run(args: &DataMirrorArgs) -> anyhow::Result<()> {
    let competition = competition_file::rules(&args.competition)?;
    let dataset = target::pinned_dataset(&competition)?;
    let (repo, revision) = (dataset.repo.clone(), target::revision(&dataset));
    let open = || data_files::open(&repo, &revision, args.dir.as_deref());
    if args.whole {
        let pins: Vec<&PinnedFile> = dataset.configs.iter().flat_map(|c| &c.files).collect();
        check_whole(&*open()?, &pins, &dataset.text_column)?;
    }
    let source = with_own_hint(PinnedSource::new(dataset, open()?, data_files::footers()))?;
    // A mirror of what no round can read helps nobody.
    with_own_hint(source.try_each_file(&|_| ()))?;
    if let TokenizerRules::Trained { vocabulary, .. } = competition.text.tokenizer {
        trained::keep(&args.to, &source, vocabulary)?;
    }
    let folder = data_files::mirror_folder(&args.to, &repo, &revision);
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let progress = |done, all| bar.set(done, all, || format!("{done} of {all} files"));
    let filled = with_own_hint(Mirror::new(&folder).fill(&source, &progress))?;
    bar.finish();
    let dataset::mirror::Filled { n_pieces, size_bytes, read_bytes } = filled;
    let mirrored = Mirrored { mirror: folder, n_pieces, size_bytes, read_bytes };
    if args.json {
        return print_json(&mirrored);
    }
    terminal::print(&format!(
        "{n_pieces} pieces, {size_bytes} bytes, {read_bytes} of them new, in {}\n",
        mirrored.mirror.display()
    ))
}

/// Reads files whole and compares them with what is pinned.
fn check_whole(files: &dyn RangeRead, pins: &[&PinnedFile], column: &str) -> anyhow::Result<()> {
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let all = pins.iter().map(|pin| pin.size_bytes).sum();
    let mut before = 0;
    for pin in pins {
        let progress = |done: u64| bar.set(before + done, all, || format!("checking {}", pin.path));
        let found = with_own_hint(pin_file(files, &pin.path, Some(column), &progress))?;
        if found != **pin {
            let detail = format!("its digest is {}, but {} is pinned", found.sha256, pin.sha256);
            let name = pin.path.clone();
            return with_own_hint(Err(dataset::Error::NotPinned { name, detail }));
        }
        before += pin.size_bytes;
    }
    bar.finish();
    Ok(())
}
