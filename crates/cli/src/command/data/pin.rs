//! `agon data pin`: the part of a competition file that pins parquet files.

use super::target;
use crate::{
    args::DataPinArgs,
    competition_file::with_own_hint,
    data_files,
    failure::HintExt as _,
    terminal::{self, PatientBar},
};
use anyhow::bail;
use dataset::{
    PinnedSource, RangeRead, definition::Definition, remote::Directory, source::pinned::pin,
};
use hub::content::is_safe_path;
use protocol::{
    Revision,
    competition::{DatasetConfig, DatasetRules, DrawRules, HubDataset},
};
use serde::Serialize;

/// What is read where nobody names a revision.
const NEWEST: &str = "main";

/// As it stands in a competition file.
#[derive(Serialize)]
struct Part {
    dataset: DatasetRules,
}

/// The parquet files of a revision of a repo.
struct Found {
    /// Where they are, for messages.
    place: String,
    revision: Revision,
    paths: Vec<String>,
    files: Box<dyn RangeRead>,
}

/// A part of the dataset with the paths of its files.
struct Listed {
    name: String,
    paths: Vec<String>,
}

/// Reads all files, or their footers, and prints their pins.
pub fn run(args: &DataPinArgs) -> anyhow::Result<()> {
    let definition = args.dataset.as_deref().map(Definition::builtin).transpose();
    let definition = with_own_hint(definition)?;
    let (repo, column) = match (&definition, &args.repo) {
        (Some(definition), _) => (definition.repo.clone(), Some(definition.text_column.clone())),
        (None, repo) => (repo.clone().unwrap_or_default(), args.column.clone()),
    };
    let found = find(args, &repo)?;
    let listed = listed(&args.config, definition.as_ref(), &found)?;
    let odd = listed.iter().flat_map(|part| &part.paths).find(|path| !is_safe_path(path));
    if let Some(odd) = odd {
        bail!("`{}` cannot be pinned: no such name is ever asked for", odd.escape_default());
    }
    let files = &*found.files;
    let column = match column {
        Some(column) => column,
        None => target::column(files, listed.first().map_or(&[][..], |part| &part.paths))?,
    };
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let n_files: usize = listed.iter().map(|part| part.paths.len()).sum();
    let mut n_done = 0;
    let mut configs = Vec::new();
    for Listed { name, paths } in listed {
        let mut pins = Vec::new();
        for path in paths {
            let progress = || bar.set(n_done, n_files as u64, || path.clone());
            progress();
            let pinned = pin(files, &path, Some(&column), &|_| progress());
            pins.extend(target::with_rows(pinned)?);
            n_done += 1;
        }
        configs.extend((!pins.is_empty()).then_some(DatasetConfig {
            name,
            weight: 1,
            files: pins,
        }));
    }
    anyhow::ensure!(!configs.is_empty(), "no file of `{}` has a row", found.place);
    let (draw, revision) = (DrawRules::default(), Some(found.revision));
    let dataset = HubDataset { repo, text_column: column, revision, draw, configs };
    dataset.check()?;
    // Once printed it is announced, so what no round could draw is found now.
    let source = with_own_hint(PinnedSource::new(dataset.clone(), found.files, None))?;
    let trying = |done| bar.set(done, n_done, || "reading one row group of each file".to_owned());
    with_own_hint(source.try_each_file(&trying))?;
    bar.finish();
    let text = toml::to_string(&Part { dataset: DatasetRules::Hub(dataset) })?;
    terminal::print(&text)
}

/// The files of the folder, or of the hub if none is named.
fn find(args: &DataPinArgs, repo: &str) -> anyhow::Result<Found> {
    let revision = args.revision.as_deref().unwrap_or(NEWEST);
    if let Some(dir) = &args.dir {
        let revision = revision.parse().hint("a revision is 40 digits, 0 to 9 and a to f")?;
        let (root, paths) = target::parquet_files(dir)?;
        let (place, files) = (dir.display().to_string(), Box::new(Directory::new(&root)));
        return Ok(Found { place, revision, paths, files });
    }
    let (revision, paths, files) = data_files::on_hub(repo, revision)?;
    Ok(Found { place: format!("{repo}@{revision}"), revision, paths, files })
}

/// The parts that are asked for, each with the files that there are of it.
fn listed(
    asked: &[String],
    definition: Option<&Definition>,
    Found { place, paths, .. }: &Found,
) -> anyhow::Result<Vec<Listed>> {
    let Some(definition) = definition else {
        anyhow::ensure!(!paths.is_empty(), "`{place}` holds no parquet files");
        return Ok(vec![Listed { name: "default".to_owned(), paths: paths.clone() }]);
    };
    let known = |name: &String| definition.configs.iter().any(|config| config.name == *name);
    if let Some(unknown) = asked.iter().find(|name| !known(name)) {
        let names: Vec<&str> = definition.configs.iter().map(|c| c.name.as_str()).collect();
        bail!("`{}` has no part `{unknown}`, only {}", definition.name, names.join(", "));
    }
    let mut found = Vec::new();
    for config in &definition.configs {
        let own: Vec<String> = paths.iter().filter(|path| config.has(path)).cloned().collect();
        let is_asked_for = asked.contains(&config.name);
        if own.is_empty() && is_asked_for {
            bail!("`{place}` holds no file `{}` of part `{}`", config.files, config.name);
        }
        if !own.is_empty() && (is_asked_for || asked.is_empty()) {
            found.push(Listed { name: config.name.clone(), paths: own });
        }
    }
    if found.is_empty() {
        bail!("`{place}` holds no file of `{}`", definition.repo);
    }
    Ok(found)
}
