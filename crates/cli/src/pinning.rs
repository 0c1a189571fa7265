//! Pins of the parquet files of a repo: what `agon data pin` prints, and what
//! `agon competition pin` writes into a competition file.

mod kept;
mod local;

pub use kept::Kept;
pub use local::parquet_files;

use crate::{
    competition_file::with_own_hint, data_files, failure::HintExt as _, terminal::PatientBar,
};
use anyhow::bail;
use dataset::{
    PinnedSource, RangeRead, definition::Definition, remote::Directory, source::pinned::Pinner,
};
use hub::content::is_safe_path;
use protocol::{
    Revision,
    competition::{DatasetConfig, DrawRules, HubDataset, PinnedFile},
};
use std::{
    panic::resume_unwind,
    path::Path,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

/// What is read where nobody names a revision.
pub const NEWEST: &str = "main";
/// Name of the part that is all files of a repo.
const WHOLE: &str = "default";
/// Files that are read at the same time: the hub answers while others are hashed, and the row
/// groups of so many files fit into memory, however large they are.
const N_READERS: usize = 4;

/// What is to be pinned.
pub struct Wanted<'a> {
    /// The repo.
    pub repo: &'a str,
    /// Column with the text; it is looked for where none is named.
    pub column: Option<&'a str>,
    /// What is known of the dataset.
    pub definition: Option<&'a Definition>,
    /// The parts to pin; where none is named, all that are known and that there are files of.
    pub parts: Vec<Part>,
    /// A branch, a tag or a revision; of files in a folder their revision.
    pub revision: Option<&'a str>,
    /// Folder that holds the files of the repo; without it they are read from the hub.
    pub dir: Option<&'a Path>,
    /// How rows are to be drawn.
    pub draw: DrawRules,
}

/// A part of a dataset, by name.
pub struct Part {
    /// Its name; one that is not known is that of a folder.
    pub name: String,
    /// How much more often a row is drawn than a row of a part with weight 1.
    pub weight: u64,
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
    part: Part,
    paths: Vec<String>,
}

/// What was made of a file: its pins, or nothing where it has no rows.
type Made = anyhow::Result<Option<PinnedFile>>;

/// Reads the footer and a row group of each file, or all of it where nobody names its digest, and
/// gives the dataset as a competition pins it; files that `kept` has are not read again.
pub fn pinned(wanted: Wanted<'_>, kept: &Kept) -> anyhow::Result<HubDataset> {
    let found = find(&wanted)?;
    let Wanted { repo, column, draw, .. } = wanted;
    let listed = listed(wanted.parts, wanted.definition, &found)?;
    let paths: Vec<&str> = listed.iter().flat_map(|part| &part.paths).map(String::as_str).collect();
    if let Some(odd) = paths.iter().find(|path| !is_safe_path(path)) {
        bail!("`{}` cannot be pinned: no such name is ever asked for", odd.escape_default());
    }
    let Found { place, revision, files, .. } = found;
    let column = match column {
        Some(column) => column.to_owned(),
        None => text_column(&*files, paths.first().copied())?,
    };
    let mut pins = read_all(&*files, &column, &paths, kept)?.into_iter();
    let mut configs = Vec::new();
    for Listed { part: Part { name, weight }, paths } in listed {
        let files: Vec<PinnedFile> = pins.by_ref().take(paths.len()).flatten().collect();
        configs.extend((!files.is_empty()).then_some(DatasetConfig { name, weight, files }));
    }
    anyhow::ensure!(!configs.is_empty(), "no file of `{place}` has a row");
    let repo = repo.to_owned();
    let dataset = HubDataset { repo, text_column: column, revision: Some(revision), draw, configs };
    dataset.check()?;
    // Once printed it is announced, so what no round could draw from is found now.
    with_own_hint(PinnedSource::new(dataset.clone(), files, None))?;
    Ok(dataset)
}

/// The files of the folder, or of the hub if none is named.
fn find(wanted: &Wanted<'_>) -> anyhow::Result<Found> {
    let known = wanted.definition.and_then(|definition| definition.revision.as_deref());
    let revision = wanted.revision.or(known).unwrap_or(NEWEST);
    if let Some(dir) = wanted.dir {
        let revision = revision.parse().hint("a revision is 40 digits, 0 to 9 and a to f")?;
        let (root, paths) = parquet_files(dir)?;
        let (place, files) = (dir.display().to_string(), Box::new(Directory::new(&root)));
        return Ok(Found { place, revision, paths, files });
    }
    let (revision, paths, files) = data_files::on_hub(wanted.repo, revision)?;
    Ok(Found { place: format!("{}@{revision}", wanted.repo), revision, paths, files })
}

/// The parts that are asked for, each with the files that there are of it.
fn listed(
    parts: Vec<Part>,
    definition: Option<&Definition>,
    Found { place, paths, .. }: &Found,
) -> anyhow::Result<Vec<Listed>> {
    let is_whole = parts.iter().all(|part| part.name == WHOLE) && parts.len() <= 1;
    if definition.is_none() && is_whole {
        anyhow::ensure!(!paths.is_empty(), "`{place}` holds no parquet files");
        let whole = || Part { name: WHOLE.to_owned(), weight: 1 };
        let part = parts.into_iter().next().unwrap_or_else(whole);
        return Ok(vec![Listed { part, paths: paths.clone() }]);
    }
    let known = || definition.into_iter().flat_map(|definition| &definition.configs);
    let paths_of = |name: &str| -> Vec<String> {
        let config = known().find(|config| config.name == name);
        let is_its = |path: &&String| match config {
            Some(config) => config.has(path),
            None => is_below(path, name),
        };
        paths.iter().filter(is_its).cloned().collect()
    };
    let are_named = !parts.is_empty();
    let usual = known().map(|config| Part { name: config.name.clone(), weight: 1 });
    let parts = if are_named { parts } else { usual.collect() };
    let mut listed = Vec::new();
    for part in parts {
        let paths = paths_of(&part.name);
        if paths.is_empty() && are_named {
            let names: Vec<&str> = known().map(|config| config.name.as_str()).collect();
            let hint = match names.is_empty() {
                true => "a part is named like the folder that its files are in".to_owned(),
                false => format!(
                    "a part is one of {}, or named like the folder that its files are in",
                    names.join(", ")
                ),
            };
            let error = anyhow::anyhow!("`{place}` holds no parquet file of part `{}`", part.name);
            return Err(error).hint(hint);
        }
        listed.extend((!paths.is_empty()).then_some(Listed { part, paths }));
    }
    anyhow::ensure!(!listed.is_empty(), "`{place}` holds no file of a part that is known");
    Ok(listed)
}

/// Whether one of the folders that a file is in has this name.
fn is_below(path: &str, folder: &str) -> bool {
    path.rsplit('/').skip(1).any(|name| name == folder)
}

/// The pins of files, in their order.
fn read_all(
    files: &dyn RangeRead,
    column: &str,
    paths: &[&str],
    kept: &Kept,
) -> anyhow::Result<Vec<Option<PinnedFile>>> {
    let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
    let pinner = Pinner::new(files, Some(column));
    let (next, n_done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let read = |path: &str| -> Made {
        let tell = || {
            bar.set(n_done.load(Ordering::Relaxed), paths.len() as u64, || path.to_owned());
        };
        tell();
        let mut pinned = kept.find(files, path, column);
        if pinned.is_none() {
            pinned = with_rows(pinner.pin(path, &|_| tell()))?;
            pinned.iter().try_for_each(|pinned| kept.keep(column, pinned))?;
        }
        n_done.fetch_add(1, Ordering::Relaxed);
        Ok(pinned)
    };
    let work = || {
        let mut made: Vec<(usize, Made)> = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&path) = paths.get(index) else { return made };
            let pinned = read(path);
            if pinned.is_err() {
                // Nobody begins another file.
                next.store(paths.len(), Ordering::Relaxed);
            }
            made.push((index, pinned));
        }
    };
    let mut made: Vec<(usize, Made)> = thread::scope(|scope| {
        let readers: Vec<_> = (0..N_READERS.min(paths.len())).map(|_| scope.spawn(work)).collect();
        let made = readers.into_iter().flat_map(|reader| match reader.join() {
            Ok(made) => made,
            Err(panic) => resume_unwind(panic),
        });
        made.collect()
    });
    bar.finish();
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, pinned)| pinned).collect()
}

/// The pins of a file; a file without rows is passed over, and that is said.
pub fn with_rows(pinned: Result<PinnedFile, dataset::Error>) -> Made {
    match pinned {
        Err(error @ dataset::Error::NoRows { .. }) => {
            tracing::warn!("{error}: it is left out");
            Ok(None)
        }
        pinned => with_own_hint(pinned).map(Some),
    }
}

/// Name of the column that holds the text, of the first file.
pub fn text_column(files: &dyn RangeRead, path: Option<&str>) -> anyhow::Result<String> {
    let Some(path) = path else { bail!("there are no parquet files") };
    let footer = with_own_hint(dataset::table::read_footer(files, path))?;
    let size_bytes = with_own_hint(files.size_bytes(path))?;
    let table = with_own_hint(dataset::table::Table::new(path, size_bytes, &footer, None))?;
    Ok(table.column().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Hinted;
    use dataset::definition::DefinedConfig;

    const FILES: [&str; 5] = [
        "data/en/a.parquet",
        "data/en2/b.parquet",
        "en/c.parquet",
        "data/en.parquet",
        "fr/en/x/d.parquet",
    ];

    fn found(paths: &[&str]) -> Found {
        Found {
            place: "acme/texts".to_owned(),
            revision: "0".repeat(40).parse().unwrap(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            files: Box::new(Directory::new(Path::new("."))),
        }
    }

    /// The parts of these files, each with its weight and its paths, or why there are none.
    fn told(
        parts: &[(&str, u64)],
        definition: Option<&Definition>,
        paths: &[&str],
    ) -> Result<Vec<(String, u64, Vec<String>)>, String> {
        let part =
            |(name, weight): &(&str, u64)| Part { name: (*name).to_owned(), weight: *weight };
        let listed = listed(parts.iter().map(part).collect(), definition, &found(paths));
        let row = |Listed { part, paths }| (part.name, part.weight, paths);
        match listed {
            Ok(listed) => Ok(listed.into_iter().map(row).collect()),
            Err(error) => Err(format!("{error:#} {:?}", error.downcast_ref::<Hinted>())),
        }
    }

    fn row(name: &str, weight: u64, paths: &[&str]) -> (String, u64, Vec<String>) {
        (name.to_owned(), weight, paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn a_part_is_named_like_a_folder_that_its_files_are_in_and_no_other() {
        assert_eq!(told(&[], None, &FILES), Ok(vec![row(WHOLE, 1, &FILES)]));
        assert_eq!(told(&[(WHOLE, 3)], None, &FILES), Ok(vec![row(WHOLE, 3, &FILES)]));
        let english = [FILES[0], FILES[2], FILES[4]];
        assert_eq!(told(&[("en", 2)], None, &FILES), Ok(vec![row("en", 2, &english)]));
        let both = [("en2", 1), ("fr", 7)];
        let expected = vec![row("en2", 1, &FILES[1..2]), row("fr", 7, &FILES[4..])];
        assert_eq!(told(&both, None, &FILES), Ok(expected), "in the order in which they are named");
        for name in ["EN", "e", "en.parquet", "a.parquet", "", "data/en", ".."] {
            let error = told(&[("en", 1), (name, 1)], None, &FILES).unwrap_err();
            assert!(error.contains(&format!("part `{name}`")), "{name}: {error}");
            assert!(
                error.contains("acme/texts") && error.contains("named like the folder"),
                "{error}"
            );
        }
        assert!(told(&[], None, &[]).unwrap_err().contains("holds no parquet files"));
    }

    #[test]
    fn of_a_known_dataset_the_parts_are_those_that_there_are_files_of() {
        let config = |name: &str, files: &str| DefinedConfig {
            name: name.to_owned(),
            files: files.to_owned(),
        };
        let mut definition = Definition::all().unwrap().remove(0);
        definition.configs = vec![
            config("english", "data/en/*.parquet"),
            config("none", "data/de/*.parquet"),
            config("french", "fr/*/d.parquet"),
        ];
        let definition = Some(&definition);
        let english = row("english", 1, &FILES[..1]);
        assert_eq!(told(&[], definition, &FILES), Ok(vec![english]), "a star is no slash");
        let by_folder = row("fr", 5, &FILES[4..]);
        assert_eq!(told(&[("fr", 5)], definition, &FILES), Ok(vec![by_folder]));
        let error = told(&[("none", 1)], definition, &FILES).unwrap_err();
        assert!(error.contains("part `none`"), "{error}");
        assert!(error.contains("english, none, french"), "what there is: {error}");
        let error = told(&[], definition, &FILES[2..]).unwrap_err();
        assert!(error.contains("no file of a part that is known"), "{error}");
    }
}
