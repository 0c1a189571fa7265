//! `agon data pin`: the part of a competition file that pins parquet files.

use super::target;
use crate::{
    args::DataPinArgs,
    competition_file::with_own_hint,
    failure::HintExt as _,
    terminal::{self, PatientBar},
};
use dataset::{definition::Definition, remote::Directory, source::pinned::pin_file};
use protocol::competition::{DatasetConfig, DatasetRules, DrawRules, HubDataset};
use serde::Serialize;

/// As it stands in a competition file.
#[derive(Serialize)]
struct Part {
    dataset: DatasetRules,
}

/// A part of the dataset with the paths of its files.
struct Listed {
    name: String,
    paths: Vec<String>,
}

/// Reads all files and prints their pins.
pub fn run(args: &DataPinArgs) -> anyhow::Result<()> {
    let revision = args.revision.parse().hint("a revision is 40 digits, 0 to 9 and a to f")?;
    let (root, paths) = target::parquet_files(&args.dir)?;
    let files = Directory::new(&root);
    let definition = args.dataset.as_deref().map(Definition::builtin).transpose();
    let definition = with_own_hint(definition)?;
    let listed = listed(args, definition.as_ref(), paths)?;
    let (repo, column) = match (&definition, &args.repo) {
        (Some(definition), _) => (definition.repo.clone(), Some(definition.text_column.clone())),
        (None, repo) => (repo.clone().unwrap_or_default(), args.column.clone()),
    };
    let first = listed.first().map_or(&[][..], |part| &part.paths);
    let column = match column {
        Some(column) => column,
        None => target::column(&files, first)?,
    };
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let n_files: usize = listed.iter().map(|part| part.paths.len()).sum();
    let mut n_done = 0;
    let mut configs = Vec::new();
    for Listed { name, paths } in listed {
        let mut pins = Vec::new();
        for path in paths {
            let progress = |_: u64| bar.set(n_done, n_files as u64, || path.clone());
            pins.push(with_own_hint(pin_file(&files, &path, Some(&column), &progress))?);
            n_done += 1;
        }
        configs.push(DatasetConfig { name, weight: 1, files: pins });
    }
    bar.finish();
    let draw = DrawRules::default();
    let dataset = HubDataset { repo, text_column: column, revision: Some(revision), draw, configs };
    dataset.check()?;
    let text = toml::to_string(&Part { dataset: DatasetRules::Hub(dataset) })?;
    terminal::print(&text)
}

/// The parts that are asked for, each with the files that the folder has of it.
fn listed(
    args: &DataPinArgs,
    definition: Option<&Definition>,
    paths: Vec<String>,
) -> anyhow::Result<Vec<Listed>> {
    let Some(definition) = definition else {
        let nothing = anyhow::anyhow!("`{}` holds no parquet files", args.dir.display());
        let name = "default".to_owned();
        return if paths.is_empty() { Err(nothing) } else { Ok(vec![Listed { name, paths }]) };
    };
    let known = |name: &String| definition.configs.iter().any(|config| config.name == *name);
    if let Some(unknown) = args.config.iter().find(|name| !known(name)) {
        let names: Vec<&str> = definition.configs.iter().map(|c| c.name.as_str()).collect();
        anyhow::bail!("`{}` has no part `{unknown}`, only {}", definition.name, names.join(", "));
    }
    let mut found = Vec::new();
    for config in &definition.configs {
        let own: Vec<String> = paths.iter().filter(|path| config.has(path)).cloned().collect();
        let is_asked_for = args.config.contains(&config.name);
        if own.is_empty() && is_asked_for {
            let dir = args.dir.display();
            anyhow::bail!("`{dir}` holds no file `{}` of part `{}`", config.files, config.name);
        }
        if !own.is_empty() && (is_asked_for || args.config.is_empty()) {
            found.push(Listed { name: config.name.clone(), paths: own });
        }
    }
    if found.is_empty() {
        anyhow::bail!("`{}` holds no file of `{}`", args.dir.display(), definition.repo);
    }
    Ok(found)
}
