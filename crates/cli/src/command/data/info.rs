//! `agon data info`: what a dataset is.

use super::target::{self, Opened};
use crate::{
    args::DataInfoArgs,
    competition_file::with_own_hint,
    terminal::{self, print_json},
};
use dataset::{Lot, Split, definition::Definition};
use protocol::Seed;
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// What can be said of a source before anything is drawn.
#[derive(Serialize)]
struct Info {
    source: String,
    digest: protocol::Digest,
    n_documents_train: u64,
    n_documents_evaluation: u64,
    size_bytes: Option<u64>,
}

/// Prints what a dataset is.
pub fn run(args: &DataInfoArgs) -> anyhow::Result<()> {
    let Some(target) = &args.target else { return list(args.json) };
    if !Path::new(target).exists()
        && let Ok(definition) = Definition::builtin(target)
    {
        return if args.json {
            print_json(&definition)
        } else {
            terminal::print(&for_people(&definition)?)
        };
    }
    // Nothing of the files is read before something is drawn, so an absent folder does not matter.
    let Opened { source, reads } = target::open(target, Some(Path::new("")))?;
    let is_here = Path::new(target).exists() && !target.ends_with(".toml");
    if is_here && reads.is_some() {
        // Files of this machine are opened anyway: one row says whether they can be read.
        let lot = Lot { seed: Seed::of_number(0), turn: 0 };
        with_own_hint(source.draw(Split::Evaluation, lot).next().transpose())?;
    }
    let info = Info {
        source: source.describe(),
        digest: source.digest(),
        n_documents_train: source.n_documents(Split::Train),
        n_documents_evaluation: source.n_documents(Split::Evaluation),
        size_bytes: reads.map(|reads| reads.size_bytes),
    };
    if args.json {
        return print_json(&info);
    }
    let mut text = String::new();
    writeln!(text, "source      {}\ndigest      {}", info.source, info.digest)?;
    writeln!(text, "train       {} documents", info.n_documents_train)?;
    writeln!(text, "evaluation  {} documents", info.n_documents_evaluation)?;
    if let Some(size_bytes) = info.size_bytes {
        writeln!(text, "files       {size_bytes} bytes")?;
    }
    terminal::print(&text)
}

fn list(json: bool) -> anyhow::Result<()> {
    let all = with_own_hint(Definition::all())?;
    if json {
        return print_json(&all);
    }
    let lines = all
        .iter()
        .map(|Definition { name, about, repo, .. }| format!("{name:21}{repo:35}{about}\n"));
    terminal::print(&lines.collect::<String>())
}

fn for_people(definition: &Definition) -> Result<String, std::fmt::Error> {
    let Definition { name, about, repo, text_column, licence, revision, configs } = definition;
    let mut text = String::new();
    writeln!(text, "{name}: {about}")?;
    writeln!(text, "repo      {repo}")?;
    if let Some(revision) = revision {
        writeln!(text, "revision  {revision}")?;
    }
    writeln!(text, "column    {text_column}\nlicence   {licence}")?;
    for config in configs {
        writeln!(text, "part      {:30}{}", config.name, config.files)?;
    }
    Ok(text)
}
