//! Parquet files in folders of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files that a folder may hold.
const FILES_MAX: usize = 100_000;
/// Folders inside folders.
const DEPTH_MAX: usize = 32;

/// The parquet files under a folder, as relative paths in order, or the one that `path` is.
pub fn parquet_files(path: &Path) -> anyhow::Result<(PathBuf, Vec<String>)> {
    if path.is_dir() {
        let mut found = Vec::new();
        walk(path, "", 0, &mut found)?;
        found.sort();
        return Ok((path.to_owned(), found));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let is_parquet = name.ends_with(".parquet");
    Ok((folder, if is_parquet { vec![name] } else { Vec::new() }))
}

fn walk(root: &Path, below: &str, depth: usize, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            anyhow::ensure!(depth < DEPTH_MAX, "`{path}` lies too deep");
            walk(root, &path, depth + 1, found)?;
        } else if path.ends_with(".parquet") {
            anyhow::ensure!(found.len() < FILES_MAX, "there are more than {FILES_MAX} files");
            found.push(path);
        }
    }
    Ok(())
}
