//! `agon competition pin`: a competition file that pins its text and its tokenizer.

use crate::{
    args::PinCompetitionArgs,
    competition_file::{self, SIZE_BYTES_MAX, with_own_hint},
    failure::HintExt as _,
    hub_tokenizer, input,
    pinning::{self, Kept, NEWEST, Part, Wanted},
    rules_text,
    terminal::{self, print_json},
};
use anyhow::{Context as _, bail};
use dataset::{Tokenizer, definition::Definition};
use indicatif::HumanCount;
use protocol::{
    Competition, Digest, Revision,
    competition::{DatasetConfig, DatasetRules, HubDataset, TokenizerRules},
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Remark in files that are written.
const REMARK: &str = "# Text and tokenizer are pinned by `agon competition pin`.";
/// What the name of a file ends with that pins what another one names.
const PINNED: &str = ".pinned";

/// A competition file that was written.
#[derive(Serialize)]
struct Made {
    file: PathBuf,
    /// Digest of the rules.
    digest: Digest,
    repo: String,
    revision: Option<Revision>,
    parts: Vec<MadePart>,
    n_files: usize,
    n_rows: u64,
    /// Files that an earlier run had pinned, which were not read again.
    n_kept: u64,
    tokenizer: Option<MadeTokenizer>,
}

#[derive(Serialize)]
struct MadePart {
    name: String,
    weight: u64,
    n_files: usize,
    n_rows: u64,
}

/// A tokenizer of a hub.
#[derive(Serialize)]
struct MadeTokenizer {
    repo: String,
    revision: Revision,
    sha256: Digest,
    vocabulary: usize,
}

/// Pins the competition and writes its file.
pub fn run(args: &PinCompetitionArgs) -> anyhow::Result<()> {
    let name = args.competition.as_str();
    let mut competition = competition_file::rules(name)?;
    let output = args.output.clone().unwrap_or_else(|| usual_output(name));
    // First, so that nobody waits for what is not written then.
    if output.exists() && !args.force {
        return Err(anyhow::anyhow!("{} is there already", input::name(&output)))
            .hint("--force replaces it, --output names another file");
    }
    let DatasetRules::Hub(dataset) = &competition.dataset else {
        let text = rules_text::dataset(&competition.dataset);
        bail!("competition `{}` has its text from no hub: {text}", competition.name);
    };
    let dataset = dataset.clone();
    check_beside(&output, &competition)?;
    let tokenizer = pin_tokenizer(args, &mut competition.text.tokenizer)?;
    let mut unfinished = output.clone().into_os_string();
    unfinished.push(".pins");
    let kept = Kept::in_file(Path::new(&unfinished))?;
    let dataset = pin_dataset(args, &dataset, &kept)?;
    competition.dataset = DatasetRules::Hub(dataset.clone());
    competition.check()?;
    write(args, &output, &composed(name, &competition)?)?;
    let made = Made {
        file: output,
        digest: competition.digest(),
        repo: dataset.repo,
        revision: dataset.revision,
        n_files: dataset.configs.iter().map(|config| config.files.len()).sum(),
        n_rows: dataset.configs.iter().map(n_rows).sum(),
        parts: dataset.configs.iter().map(MadePart::from).collect(),
        n_kept: kept.n_found(),
        tokenizer,
    };
    kept.forget()?;
    if args.json { print_json(&made) } else { terminal::print(&for_people(&made)?) }
}

/// Beside the file, or in the current folder where the competition comes with the program.
fn usual_output(name: &str) -> PathBuf {
    let source = competition_file::file(name).unwrap_or_else(|| PathBuf::from(name));
    let stem = source.file_name().and_then(|name| name.to_str()).unwrap_or(name);
    let stem = stem.strip_suffix(".toml").unwrap_or(stem);
    let stem = stem.strip_suffix(PINNED).unwrap_or(stem);
    source.with_file_name(format!("{stem}{PINNED}.toml"))
}

/// Refuses to write a file in which the path of its tokenizer would lead elsewhere.
fn check_beside(output: &Path, competition: &Competition) -> anyhow::Result<()> {
    let TokenizerRules::File { path, vocabulary, end_of_text, sha256 } =
        &competition.text.tokenizer
    else {
        return Ok(());
    };
    let found = output.with_file_name(path);
    competition_file::from_file(&found, *sha256, *vocabulary, *end_of_text)
        .map(drop)
        .hint("the tokenizer lies where the competition file is: name an --output beside it")
}

/// Pins a tokenizer of a hub, and says which it is; others are pinned by themselves.
fn pin_tokenizer(
    args: &PinCompetitionArgs,
    rules: &mut TokenizerRules,
) -> anyhow::Result<Option<MadeTokenizer>> {
    let asked = args.tokenizer_revision.as_deref();
    let TokenizerRules::Hub { repo, revision, vocabulary, end_of_text, sha256 } = rules else {
        anyhow::ensure!(asked.is_none(), "the tokenizer of this competition is none of a hub");
        return Ok(None);
    };
    if let (Some(revision), Some(sha256), None) = (&*revision, *sha256, asked) {
        let found = hub_tokenizer::open(repo, revision, sha256, *end_of_text)?;
        return checked(repo, revision, found, *vocabulary).map(Some);
    }
    let name = revision.as_ref().map_or_else(|| NEWEST.to_owned(), Revision::to_string);
    let found = hub_tokenizer::find(repo, asked.unwrap_or(&name), *end_of_text)?;
    let made = checked(repo, &found.revision, found.tokenizer, *vocabulary)?;
    if let (Some(expected), None) = (*sha256, asked)
        && expected != made.sha256
    {
        let MadeTokenizer { repo, revision, sha256, .. } = &made;
        return Err(anyhow::anyhow!(
            "the tokenizer of {repo}@{revision} has the digest {sha256}, but {expected} is pinned"
        ))
        .hint("--tokenizer-revision names the revision to take instead");
    }
    (*revision, *sha256) = (Some(made.revision.clone()), Some(made.sha256));
    Ok(Some(made))
}

/// A tokenizer that has as many tokens as the competition says.
fn checked(
    repo: &str,
    revision: &Revision,
    tokenizer: Tokenizer,
    vocabulary: usize,
) -> anyhow::Result<MadeTokenizer> {
    let name = format!("{repo}@{revision}");
    let tokenizer = competition_file::of_size(tokenizer, &name, vocabulary)?;
    let (repo, revision, sha256) = (repo.to_owned(), revision.clone(), tokenizer.digest());
    Ok(MadeTokenizer { repo, revision, sha256, vocabulary })
}

/// The same dataset with the pins of all its files.
fn pin_dataset(
    args: &PinCompetitionArgs,
    dataset: &HubDataset,
    kept: &Kept,
) -> anyhow::Result<HubDataset> {
    let all = with_own_hint(Definition::all())?;
    let named = dataset.configs.iter();
    let named = named.map(|config| Part { name: config.name.clone(), weight: config.weight });
    let asked = args.config.iter().map(|name| Part { name: name.clone(), weight: 1 });
    let revision = dataset.revision.as_ref().map(Revision::to_string);
    // Names of repos are the same in capitals and without.
    let is_its = |definition: &&Definition| definition.repo.eq_ignore_ascii_case(&dataset.repo);
    let wanted = Wanted {
        repo: &dataset.repo,
        column: Some(&dataset.text_column),
        definition: all.iter().find(is_its),
        parts: if args.config.is_empty() { named.collect() } else { asked.collect() },
        revision: args.revision.as_deref().or(revision.as_deref()),
        dir: args.dir.as_deref(),
        draw: dataset.draw,
    };
    pinning::pinned(wanted, kept)
}

/// The file of a pinned competition, with the remarks that its first lines are.
fn composed(name: &str, competition: &Competition) -> anyhow::Result<String> {
    let source = competition_file::text(name)?;
    let head = source.lines().take_while(|line| line.starts_with('#'));
    let mut lines: Vec<&str> = head.filter(|line| *line != REMARK).collect();
    lines.push(REMARK);
    let text = format!("{}\n{}", lines.join("\n"), toml::to_string(competition)?);
    if text.len() as u64 > SIZE_BYTES_MAX {
        return Err(anyhow::anyhow!(
            "the file would have {} bytes, and {SIZE_BYTES_MAX} are read",
            text.len()
        ))
        .hint("pin fewer parts: --config names them");
    }
    let read = Competition::from_toml(&text)?;
    anyhow::ensure!(read == *competition, "the rules are others once they are written and read");
    Ok(text)
}

/// Writes the file whole or not at all.
fn write(args: &PinCompetitionArgs, output: &Path, text: &str) -> anyhow::Result<()> {
    let written = if args.force {
        disk::write(output, text.as_bytes())
    } else {
        let new = || -> io::Result<()> {
            let mut file = disk::begin(output)?;
            file.write_all(text.as_bytes())?;
            disk::place_new(file, output)
        };
        new()
    };
    written.with_context(|| format!("cannot write {}", input::name(output)))
}

fn n_rows(config: &DatasetConfig) -> u64 {
    config.files.iter().map(|file| file.n_rows).sum()
}

impl From<&DatasetConfig> for MadePart {
    fn from(config: &DatasetConfig) -> Self {
        let DatasetConfig { name, weight, files } = config;
        let (n_files, n_rows) = (files.len(), n_rows(config));
        Self { name: name.clone(), weight: *weight, n_files, n_rows }
    }
}

fn for_people(made: &Made) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let Made { file, digest, repo, n_files, n_rows, n_kept, .. } = made;
    let file = file.display();
    let revision = made.revision.as_ref().map(Revision::to_string).unwrap_or_default();
    writeln!(text, "{repo}@{revision}")?;
    for MadePart { name, n_files, n_rows, .. } in &made.parts {
        let files = rules_text::plural(*n_files, "file");
        writeln!(text, "  {name}: {files}, {} rows", HumanCount(*n_rows))?;
    }
    let files = rules_text::plural(*n_files, "file");
    writeln!(text, "  {files} in all, {} rows", HumanCount(*n_rows))?;
    if *n_kept > 0 {
        writeln!(text, "  {} of them an earlier run had read", HumanCount(*n_kept))?;
    }
    if let Some(MadeTokenizer { repo, revision, sha256, vocabulary }) = &made.tokenizer {
        let vocabulary = HumanCount(*vocabulary as u64);
        writeln!(text, "{repo}@{revision}\n  {vocabulary} tokens, {sha256}")?;
    }
    writeln!(text, "\nwrote {file}\n  {digest}, the digest of the rules")?;
    writeln!(text, "\nTry next")?;
    writeln!(text, "  agon competition show {file}")?;
    writeln!(text, "  agon data sample {file} --documents 100     and what is read for them")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lies_beside_what_was_read() {
        for (name, output) in [
            ("7b", "7b.pinned.toml"),
            ("a/my.toml", "a/my.pinned.toml"),
            ("my.pinned.toml", "my.pinned.toml"),
        ] {
            assert_eq!(usual_output(name), PathBuf::from(output), "{name}");
        }
    }
}
