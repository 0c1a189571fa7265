//! Tokenizers that were trained for competitions, kept in a mirror: to train one again takes text
//! that a mirror has not, of all over the dataset.

use crate::{competition_file::with_own_hint, data_files};
use anyhow::Context as _;
use dataset::{Source, Tokenizer};
use protocol::Digest;
use std::{fs, path::Path};

/// The folder of a mirror in which tokenizers are.
const FOLDER: &str = "tokenizers";
/// Most files that are looked at there.
const FILES_MAX: usize = 10_000;

/// What the name of a tokenizer begins with: all that training one depends on.
fn beginning(source: &dyn Source, vocabulary: usize) -> String {
    format!("{}-{vocabulary}-", source.digest().hex())
}

/// The tokenizer of this size trained on a source that the mirror of the environment has, if there
/// is one; its name has its digest.
pub fn find(source: &dyn Source, vocabulary: usize) -> anyhow::Result<Option<Tokenizer>> {
    data_files::mirror().map_or(Ok(None), |mirror| find_in(&mirror, source, vocabulary))
}

fn find_in(
    mirror: &Path,
    source: &dyn Source,
    vocabulary: usize,
) -> anyhow::Result<Option<Tokenizer>> {
    let Ok(entries) = fs::read_dir(mirror.join(FOLDER)) else { return Ok(None) };
    let beginning = beginning(source, vocabulary);
    for entry in entries.take(FILES_MAX) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digest = name.strip_prefix(&beginning).and_then(|rest| rest.strip_suffix(".json"));
        let digest = digest.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        if let Some(digest) = digest {
            return with_own_hint(Tokenizer::load(&path, Some(digest), None)).map(Some);
        }
    }
    Ok(None)
}

/// Trains a tokenizer and keeps it in a mirror, unless it is there.
pub fn keep(mirror: &Path, source: &dyn Source, vocabulary: usize) -> anyhow::Result<()> {
    if find_in(mirror, source, vocabulary)?.is_some() {
        return Ok(());
    }
    let tokenizer = with_own_hint(Tokenizer::train(source, vocabulary))?;
    let folder = mirror.join(FOLDER);
    let name = beginning(source, vocabulary) + &tokenizer.digest().hex() + ".json";
    let keep = || -> anyhow::Result<()> {
        let path = folder.join(name);
        let unfinished = disk::begin(&path)?;
        with_own_hint(tokenizer.save(unfinished.path()))?;
        Ok(disk::place(unfinished, &path)?)
    };
    keep().with_context(|| format!("cannot keep the tokenizer in `{}`", folder.display()))
}
