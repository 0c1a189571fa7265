//! The log of one process: a file that is put aside when it is full, and a few of those before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes after which a file is full.
    pub size_bytes_max: u64,
    /// Files of one process, that of now among them; at least 1.
    pub n_files_max: u32,
}

/// A log that is written; nobody else may write the same.
#[derive(Debug)]
pub struct RotatingLog {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    limits: LogLimits,
}

impl RotatingLog {
    /// The log at `path`, which goes on where it was; those before it are `PATH.1`, `PATH.2`, …
    pub fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let file = open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size_bytes, limits })
    }

    /// Writes a line and its end.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut whole = line.to_vec();
        whole.push(b'\n');
        let size_bytes = self.size_bytes.saturating_add(whole.len() as u64);
        if self.size_bytes > 0 && size_bytes > self.limits.size_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(&whole)?;
        self.size_bytes = self.size_bytes.saturating_add(whole.len() as u64);
        Ok(())
    }

    /// Puts the file aside, and begins another.
    fn rotate(&mut self) -> io::Result<()> {
        let n_aside = self.limits.n_files_max.saturating_sub(1);
        if n_aside == 0 {
            self.file.set_len(0)?;
        } else {
            for number in (1..n_aside).rev() {
                moved(&aside(&self.path, number), &aside(&self.path, number + 1))?;
            }
            moved(&self.path, &aside(&self.path, 1))?;
            self.file = open(&self.path)?;
        }
        self.size_bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Renames a file, if it is there.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::names;
    use protocol::{Seed, seed::uniform_below};

    #[test]
    fn a_log_keeps_its_newest_lines_in_few_files_of_few_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let limits = LogLimits { size_bytes_max: 20, n_files_max: 3 };
        // Opened anew each time, as after a start of the whole network.
        for number in 10..40 {
            let mut log = RotatingLog::open(&path, limits).unwrap();
            log.append(format!("line {number}").as_bytes()).unwrap();
        }
        assert_eq!(names(folder.path()), ["node.log", "node.log.1", "node.log.2"]);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("node.log"), "line 38\nline 39\n");
        assert_eq!(read("node.log.1"), "line 36\nline 37\n");
        assert_eq!(read("node.log.2"), "line 34\nline 35\n");
    }

    #[test]
    fn one_file_begins_anew_and_a_line_larger_than_it_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.log");
        let limits = LogLimits { size_bytes_max: 8, n_files_max: 1 };
        let mut log = RotatingLog::open(&path, limits).unwrap();
        for line in ["a", "longer than the file", "b"] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(names(folder.path()), ["hub.log"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
    }

    #[test]
    fn whatever_lines_come_the_newest_stay_in_order_and_the_files_are_bounded() {
        for seed in 0..20 {
            let mut random = Seed::of_number(seed).stream();
            let mut below = |bound| uniform_below(&mut random, bound);
            let n_files_max = 1 + u32::try_from(below(4)).unwrap();
            let limits = LogLimits { size_bytes_max: 10 + below(40), n_files_max };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("node.log");
            let mut log = RotatingLog::open(&path, limits).unwrap();
            let mut all = String::new();
            for number in 0..50 {
                if below(10) == 0 {
                    log = RotatingLog::open(&path, limits).unwrap();
                }
                let line = format!("{number} {}", "x".repeat(usize::try_from(below(60)).unwrap()));
                log.append(line.as_bytes()).unwrap();
                all += &(line + "\n");
            }
            let aside = (1..n_files_max).rev().map(|number| aside(&path, number));
            let mut files: Vec<PathBuf> = aside.filter(|file| file.exists()).collect();
            files.push(path);
            let mut kept = String::new();
            for file in files {
                let text = fs::read_to_string(&file).unwrap();
                let is_one_line = text.lines().count() == 1;
                assert!(
                    text.len() as u64 <= limits.size_bytes_max || is_one_line,
                    "seed {seed}: {text}"
                );
                kept += &text;
            }
            assert!(!kept.is_empty() && all.ends_with(&kept), "seed {seed}: {kept}");
            assert!(names(folder.path()).len() <= n_files_max as usize, "seed {seed}");
        }
    }
}
