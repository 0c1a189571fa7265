//! Pins that were made already: a run that was ended goes on where it was.
//!
//! They lie in a file of one line each, beside what they are made for. A line counts when the hub
//! still lists the file with the same digest, whatever the revision; one that was being written
//! when the process was killed counts for nothing.

use crate::input;
use anyhow::Context as _;
use dataset::RangeRead;
use protocol::competition::PinnedFile;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Most bytes of such a file: as many lines as a competition has files at most.
const SIZE_BYTES_MAX: u64 = 128 << 20;

/// The pins of a file whose text is in this column.
#[derive(Serialize, Deserialize)]
struct Line {
    column: String,
    pinned: PinnedFile,
}

/// The same to be written.
#[derive(Serialize)]
struct LineOf<'a> {
    column: &'a str,
    pinned: &'a PinnedFile,
}

/// Pins of files that are not read again.
pub struct Kept {
    path: Option<PathBuf>,
    /// By path in the repo.
    known: BTreeMap<String, Line>,
    n_found: AtomicU64,
}

impl Kept {
    /// Nothing is known, and nothing is kept.
    pub fn nowhere() -> Self {
        Self { path: None, known: BTreeMap::new(), n_found: AtomicU64::new(0) }
    }

    /// What the file at `path` has, if it is there; more is added to it.
    pub fn in_file(path: &Path) -> anyhow::Result<Self> {
        let bytes = if path.exists() { input::read(path, SIZE_BYTES_MAX)? } else { Vec::new() };
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let known = lines.map(|line| (line.pinned.path.clone(), line)).collect();
        Ok(Self { path: Some(path.to_owned()), known, n_found: AtomicU64::new(0) })
    }

    /// The pins of a file that is still the one that was read.
    pub fn find(&self, files: &dyn RangeRead, path: &str, column: &str) -> Option<PinnedFile> {
        let line = self.known.get(path).filter(|line| line.column == column)?;
        let pinned = &line.pinned;
        let is_same = files.sha256(path).ok()?? == pinned.sha256
            && files.size_bytes(path).ok()? == pinned.size_bytes;
        if !is_same {
            return None;
        }
        self.n_found.fetch_add(1, Ordering::Relaxed);
        Some(pinned.clone())
    }

    /// Adds the pins of a file.
    pub fn keep(&self, column: &str, pinned: &PinnedFile) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // Behind half a line, it is one of its own.
        let line = format!("\n{}\n", serde_json::to_string(&LineOf { column, pinned })?);
        let opened = fs::OpenOptions::new().create(true).append(true).open(path);
        // In one piece, and at the end: several threads write.
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.with_context(|| format!("cannot write {}", input::name(path)))
    }

    /// Files that were found.
    pub fn n_found(&self) -> u64 {
        self.n_found.load(Ordering::Relaxed)
    }

    /// Deletes the file: what it was kept for is there.
    pub fn forget(self) -> anyhow::Result<()> {
        let Some(path) = self.path.filter(|path| path.exists()) else { return Ok(()) };
        fs::remove_file(&path).with_context(|| format!("cannot delete {}", input::name(&path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Digest;

    /// A place that lists one file.
    struct Place(u64, Option<Digest>);

    impl RangeRead for Place {
        fn size_bytes(&self, _: &str) -> Result<u64, dataset::Error> {
            Ok(self.0)
        }

        fn sha256(&self, _: &str) -> Result<Option<Digest>, dataset::Error> {
            Ok(self.1)
        }

        fn read_at(&self, _: &str, _: u64, _: &mut [u8]) -> Result<(), dataset::Error> {
            panic!("what is known is not read again")
        }
    }

    #[test]
    fn a_pin_counts_for_the_same_file_alone_and_half_a_line_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml.pins");
        let pinned = PinnedFile {
            path: "data/a.parquet".to_owned(),
            size_bytes: 100,
            n_rows: 10,
            rows_per_group: 5,
            sha256: Digest::of(b"a"),
            footer_bytes: 20,
            footer_sha256: Digest::of(b"footer"),
        };
        let other = PinnedFile { path: "data/b.parquet".to_owned(), ..pinned };
        let kept = Kept::in_file(&path).unwrap();
        kept.keep("text", &pinned).unwrap();
        drop(kept);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"{\"column\":\"text\",\"pin");
        fs::write(&path, &bytes).unwrap();
        Kept::in_file(&path).unwrap().keep("text", &other).unwrap();

        let kept = Kept::in_file(&path).unwrap();
        let place = Place(100, Some(Digest::of(b"a")));
        let find = |place: &Place, path, column| kept.find(place, path, column);
        assert_eq!(find(&place, "data/a.parquet", "text"), Some(pinned));
        assert_eq!(find(&place, "data/b.parquet", "text"), Some(other));
        assert_eq!(kept.n_found(), 2);
        assert_eq!(find(&place, "data/a.parquet", "content"), None);
        assert_eq!(find(&place, "data/c.parquet", "text"), None);
        for changed in [Place(101, place.1), Place(100, Some(Digest::of(b"b"))), Place(100, None)] {
            assert_eq!(find(&changed, "data/a.parquet", "text"), None);
        }
        kept.forget().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn pins_that_several_threads_keep_are_all_found_and_the_last_of_a_file_counts() {
        const N_THREADS: u64 = 8;
        const N_FILES: u64 = 20;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml.pins");
        let pinned = |file: u64, n_rows: u64| PinnedFile {
            path: format!("data/{file}.parquet"),
            size_bytes: 100 + file,
            n_rows,
            rows_per_group: 5,
            sha256: Digest::of(&file.to_le_bytes()),
            footer_bytes: 20,
            footer_sha256: Digest::of(b"footer"),
        };
        let kept = Kept::in_file(&path).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..N_THREADS {
                let (kept, pinned) = (&kept, &pinned);
                scope.spawn(move || {
                    for file in (0..N_FILES).map(|file| thread * N_FILES + file) {
                        kept.keep("text", &pinned(file, 1)).unwrap();
                    }
                });
            }
        });
        kept.keep("text", &pinned(3, 7)).unwrap();
        kept.keep("other", &pinned(4, 1)).unwrap();
        let kept = Kept::in_file(&path).unwrap();
        for file in 0..N_THREADS * N_FILES {
            let place = Place(100 + file, Some(Digest::of(&file.to_le_bytes())));
            let found = kept.find(&place, &format!("data/{file}.parquet"), "text");
            let n_rows = if file == 3 { 7 } else { 1 };
            assert_eq!(found, (file != 4).then(|| pinned(file, n_rows)), "{file}");
        }
        assert_eq!(kept.n_found(), N_THREADS * N_FILES - 1);
        kept.forget().unwrap();
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        let error = Kept::in_file(&path).err().unwrap().to_string();
        assert!(error.contains("a.toml.pins"), "{error}");
    }
}
