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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_links_and_depths_of_a_folder_lead_nowhere_and_odd_names_are_left() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        for folder in ["b/c", "b-1", "empty.parquet"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        let files = ["z.parquet", "b/c/a.parquet", "b-1/a.parquet", "a b.parquet"];
        for file in files.into_iter().chain(["b/notes.txt", "b/c/a.PARQUET", "parquet"]) {
            fs::write(top.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(top, top.join("b/circle")).unwrap();
        let (root, found) = parquet_files(top).unwrap();
        assert_eq!(root, top);
        assert_eq!(found, ["a b.parquet", "b-1/a.parquet", "b/c/a.parquet", "z.parquet"]);
        let deep = top.join(vec!["d"; DEPTH_MAX + 2].join("/"));
        fs::create_dir_all(&deep).unwrap();
        let error = parquet_files(top).unwrap_err().to_string();
        assert!(error.contains("too deep"), "{error}");
    }

    #[test]
    fn one_file_is_found_in_its_folder_and_what_is_none_is_not() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("a.parquet");
        fs::write(&file, "").unwrap();
        assert_eq!(
            parquet_files(&file).unwrap(),
            (top.path().to_owned(), vec!["a.parquet".to_owned()])
        );
        let other = top.path().join("a.jsonl");
        fs::write(&other, "").unwrap();
        assert_eq!(parquet_files(&other).unwrap().1, [""; 0]);
        assert_eq!(parquet_files(Path::new("x.parquet")).unwrap().0, Path::new(""));
    }
}
