//! The range of every value that pins a dataset.

use super::{ensure, hub_repo};
use crate::{
    Error,
    competition::{DatasetConfig, DatasetRules, DrawRules, HubDataset, PinnedFile},
};
use std::{collections::HashSet, ops::RangeInclusive};

const NAME_BYTES_MAX: usize = 96;
const PATH_BYTES_MAX: usize = 512;
const FILES_MAX: usize = 100_000;
/// The least file is its two magic words and an empty footer.
const FILE_BYTES: RangeInclusive<u64> = 12..=1 << 44;
const FOOTER_BYTES: RangeInclusive<u64> = 8..=64 << 20;
const ROWS: RangeInclusive<u64> = 1..=1 << 40;
const ROWS_PER_GROUP: RangeInclusive<u64> = 1..=1 << 20;
const WEIGHT: RangeInclusive<u64> = 1..=1_000_000;
/// Rows times weights of all files together; sums of them stay exact.
const WEIGHTED_ROWS_MAX: u64 = 1 << 60;

pub(super) fn dataset(dataset: &DatasetRules) -> Result<(), Error> {
    match dataset {
        DatasetRules::Generated { .. } => Ok(()),
        DatasetRules::Files { path, .. } => {
            ensure(!path.is_empty(), "dataset.path", path, "a file or a directory")
        }
        DatasetRules::Hub(dataset) => dataset.check(),
    }
}

impl HubDataset {
    /// Names the first value that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        hub_repo("dataset.repo", &self.repo)?;
        let column = &self.text_column;
        ensure(!column.is_empty(), "dataset.text_column", column, "a column's name")?;
        draw(&self.draw)?;
        // Parts may be named before anything is pinned, and then all of them have no files.
        let has_files = |config: &DatasetConfig| !config.files.is_empty();
        let is_begun = self.configs.iter().any(has_files);
        let (mut paths, mut weighted_rows) = (HashSet::new(), 0_u64);
        for config in &self.configs {
            config_head(config)?;
            let is_whole = has_files(config) || !is_begun;
            ensure(is_whole, "dataset.configs.files", "[]", "at least one file")?;
            for pinned in &config.files {
                file(pinned)?;
                let path = &pinned.path;
                ensure(paths.insert(path), "dataset.configs.files.path", path, "each file once")?;
                weighted_rows = weighted_rows.saturating_add(pinned.n_rows * config.weight);
            }
        }
        let n = paths.len();
        ensure(n <= FILES_MAX, "dataset.configs.files", n, "at most 100,000 files")?;
        let expected = "fewer rows, or smaller weights";
        let fits = weighted_rows <= WEIGHTED_ROWS_MAX;
        ensure(fits, "dataset.configs.weight", weighted_rows, expected)
    }
}

fn draw(rules: &DrawRules) -> Result<(), Error> {
    let DrawRules { text_bytes_min, documents_per_group, groups_per_file, rounds_apart } = *rules;
    for (field, value, range, expected) in [
        ("dataset.draw.text_bytes_min", text_bytes_min, 1..=1 << 20, "1 to 1,048,576 bytes"),
        ("dataset.draw.documents_per_group", documents_per_group, 1..=1 << 20, "1 to 1,048,576"),
        ("dataset.draw.groups_per_file", groups_per_file, 1..=1 << 20, "1 to 1,048,576"),
        ("dataset.draw.rounds_apart", rounds_apart, 1..=10_000, "1 to 10,000 rounds"),
    ] {
        ensure(range.contains(&value), field, value, expected)?;
    }
    Ok(())
}

fn config_head(config: &DatasetConfig) -> Result<(), Error> {
    let name = &config.name;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len());
    ensure(is_name, "dataset.configs.name", name, "a name of at most 96 bytes")?;
    let weight = config.weight;
    ensure(WEIGHT.contains(&weight), "dataset.configs.weight", weight, "1 to 1,000,000")
}

fn file(file: &PinnedFile) -> Result<(), Error> {
    let path = &file.path;
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_plain = |c: char| !c.is_control() && !"\\#@?%".contains(c);
    let is_path = path.len() <= PATH_BYTES_MAX && path.split('/').all(is_part);
    let expected = "a relative path without `..` and without any of \\#@?%";
    ensure(
        is_path && path.chars().all(is_plain),
        "dataset.configs.files.path",
        path.escape_debug(),
        expected,
    )?;
    for (field, value, range, expected) in [
        ("dataset.configs.files.size_bytes", file.size_bytes, FILE_BYTES, "12 to 2^44 bytes"),
        (
            "dataset.configs.files.footer_bytes",
            file.footer_bytes,
            FOOTER_BYTES,
            "8 bytes to 64 MiB",
        ),
        ("dataset.configs.files.n_rows", file.n_rows, ROWS, "1 to 2^40 rows"),
        (
            "dataset.configs.files.rows_per_group",
            file.rows_per_group,
            ROWS_PER_GROUP,
            "1 to 1,048,576 rows",
        ),
    ] {
        ensure(range.contains(&value), field, value, expected)?;
    }
    let fits = file.footer_bytes <= file.size_bytes;
    let expected = "no more than size_bytes";
    ensure(fits, "dataset.configs.files.footer_bytes", file.footer_bytes, expected)
}
