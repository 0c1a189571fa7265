//! `agon data pin`: the part of a competition file that pins parquet files.

use crate::{
    args::DataPinArgs,
    competition_file::with_own_hint,
    pinning::{self, Kept, Part, Wanted},
    terminal,
};
use dataset::definition::Definition;
use protocol::competition::{DatasetRules, DrawRules};
use serde::Serialize;

/// As it stands in a competition file.
#[derive(Serialize)]
struct Section {
    dataset: DatasetRules,
}

/// Reads all files, or their footers, and prints their pins.
pub fn run(args: &DataPinArgs) -> anyhow::Result<()> {
    let definition = args.dataset.as_deref().map(Definition::builtin).transpose();
    let definition = with_own_hint(definition)?;
    let (repo, column) = match &definition {
        Some(definition) => (definition.repo.as_str(), Some(definition.text_column.as_str())),
        None => (args.repo.as_deref().unwrap_or_default(), args.column.as_deref()),
    };
    let parts = args.config.iter().map(|name| Part { name: name.clone(), weight: 1 });
    let wanted = Wanted {
        repo,
        column,
        definition: definition.as_ref(),
        parts: parts.collect(),
        revision: args.revision.as_deref(),
        dir: args.dir.as_deref(),
        draw: DrawRules::default(),
    };
    let dataset = pinning::pinned(wanted, &Kept::nowhere())?;
    terminal::print(&toml::to_string(&Section { dataset: DatasetRules::Hub(dataset) })?)
}
