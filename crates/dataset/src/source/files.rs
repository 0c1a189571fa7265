//! A corpus of text files.

mod cut;

#[cfg(test)]
mod tests;

use crate::{
    Document, Error, RangeRead as _, Source, Split,
    remote::Directory,
    table::{self, Table},
};
use protocol::Digest;
use serde::Deserialize;
use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Bytes of text that are held in memory.
pub const CORPUS_BYTES_MAX: u64 = 1 << 30;
/// Files that a directory may hold, whatever their kind.
const FILES_MAX: usize = 100_000;
/// Folders inside folders.
const DEPTH_MAX: usize = 32;
/// Fewest documents of both splits together.
const DOCUMENTS_MIN: usize = 20;
/// How the names of parquet files end.
const PARQUET: &str = "parquet";
/// One document in this many is for measuring.
const EVALUATION_PART: u64 = 10;

/// UTF-8 text: a file, or all `.txt`, `.md`, `.jsonl`, `.ndjson`, `.json-lines` and `.parquet`
/// files under a directory, in order of their names.
///
/// Plain text is cut into documents by its blank lines (see `cut.rs` for the rule), a line of
/// JSONL is one document by its field `text`, a row of parquet one by its column `text` or
/// `content`. Of equal documents only the first is kept. Those whose digest is divisible by ten
/// (first eight bytes, big-endian) are for evaluation, the rest for training. All text is held in
/// memory.
///
/// A document is called by its split and its number in it, as in `files/evaluation/17`. So its name
/// follows from the digest of the corpus, which records hold beside it, and never from what files
/// and folders of a machine are called.
pub struct FilesSource {
    path: PathBuf,
    train: Vec<Document>,
    evaluation: Vec<Document>,
    ignored: Vec<PathBuf>,
    digest: Digest,
}

/// A text file: its path below the directory with `/` between parts, by which files are ordered,
/// and where it is.
type Named = (String, PathBuf);

/// One line of a JSONL file; other fields are ignored.
#[derive(Deserialize)]
struct Line {
    text: String,
}

impl FilesSource {
    /// Reads a file, or the text files under a directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut found = Found::default();
        if metadata(path)?.is_dir() {
            walk(path, path, 0, &mut found)?;
            found.texts.sort();
            found.ignored.sort();
            if found.texts.is_empty() {
                return Err(Error::NoTextFiles { path: path.to_owned() });
            }
        } else {
            found.texts.push((String::new(), path.to_owned()));
        }
        let mut corpus = Self {
            path: path.to_owned(),
            train: Vec::new(),
            evaluation: Vec::new(),
            ignored: found.ignored,
            digest: Digest::of(b""),
        };
        corpus.read(&found.texts)?;
        let (n_train, n_evaluation) = (corpus.train.len(), corpus.evaluation.len());
        if n_train + n_evaluation < DOCUMENTS_MIN || n_train == 0 || n_evaluation == 0 {
            let path = corpus.path;
            return Err(Error::TooLittleText { path, n_train, n_evaluation });
        }
        Ok(corpus)
    }

    /// Files under the directory that were not read: their name does not end like text, or they
    /// are links to folders.
    pub fn ignored(&self) -> &[PathBuf] {
        &self.ignored
    }

    fn read(&mut self, texts: &[Named]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut digests = Vec::new();
        let mut left_bytes = CORPUS_BYTES_MAX;
        for (_, path) in texts {
            for text in documents(path, &mut left_bytes, &self.path)? {
                let digest = Digest::of(text.as_bytes());
                if seen.insert(digest) {
                    digests.extend(digest.0);
                    let (split, documents) = if is_for_evaluation(digest) {
                        (Split::Evaluation, &mut self.evaluation)
                    } else {
                        (Split::Train, &mut self.train)
                    };
                    let id = format!("files/{split}/{}", documents.len());
                    documents.push(Document { id, text, entropy_nats: None });
                }
            }
        }
        self.digest = Digest::of_fields("agon files source", &[&digests]);
        Ok(())
    }
}

impl Source for FilesSource {
    /// Names a path of this machine.
    fn describe(&self) -> String {
        format!("text files of {}", self.path.display())
    }

    /// Digest over the digests of the documents in order; names of files do not enter.
    fn digest(&self) -> Digest {
        self.digest
    }

    fn n_documents(&self, split: Split) -> u64 {
        match split {
            Split::Train => self.train.len() as u64,
            Split::Evaluation => self.evaluation.len() as u64,
        }
    }

    fn document(&self, split: Split, index: u64) -> Result<Document, Error> {
        let documents = match split {
            Split::Train => &self.train,
            Split::Evaluation => &self.evaluation,
        };
        let document = usize::try_from(index).ok().and_then(|index| documents.get(index));
        document.cloned().ok_or_else(|| {
            let (corpus, n_documents) = (self.describe(), self.n_documents(split));
            Error::NoDocument { corpus, split, index, n_documents }
        })
    }
}

/// Equal texts have equal digests, so that no text is both trained and measured on.
fn is_for_evaluation(digest: Digest) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).is_multiple_of(EVALUATION_PART)
}

/// What a walk through a directory found.
#[derive(Default)]
struct Found {
    texts: Vec<Named>,
    ignored: Vec<PathBuf>,
}

/// Links to files are followed, links to folders are not: they could go round in circles.
fn walk(root: &Path, folder: &Path, depth: usize, found: &mut Found) -> Result<(), Error> {
    let cannot_list = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(cannot_list)? {
        let entry = entry.map_err(cannot_list)?;
        let path = entry.path();
        if found.texts.len() + found.ignored.len() >= FILES_MAX {
            let limit = format!("{FILES_MAX} files");
            return Err(Error::TooMuchText { path: root.to_owned(), limit });
        }
        if entry.file_type().map_err(cannot_list)?.is_dir() {
            if depth == DEPTH_MAX {
                let limit = format!("{DEPTH_MAX} folders inside each other");
                return Err(Error::TooMuchText { path: root.to_owned(), limit });
            }
            walk(root, &path, depth + 1, found)?;
        } else if has_text_name(&path) && metadata(&path)?.is_file() {
            let parts = path.strip_prefix(root).unwrap_or(&path).components();
            let parts: Option<Vec<_>> = parts.map(|part| part.as_os_str().to_str()).collect();
            // Documents are in the order of names, which must be the same for everybody.
            let Some(parts) = parts else { return Err(Error::NameNotUtf8 { path }) };
            found.texts.push((parts.join("/"), path));
        } else {
            found.ignored.push(path);
        }
    }
    Ok(())
}

fn metadata(path: &Path) -> Result<fs::Metadata, Error> {
    fs::metadata(path).map_err(|source| Error::Io { action: "find", path: path.to_owned(), source })
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn is_jsonl(path: &Path) -> bool {
    ["jsonl", "ndjson", "json-lines"].contains(&extension(path).as_str())
}

fn has_text_name(path: &Path) -> bool {
    is_jsonl(path) || ["txt", "md", PARQUET].contains(&extension(path).as_str())
}

/// The texts of a parquet file, blank ones left out.
fn rows(path: &Path, left_bytes: &mut u64, corpus: &Path) -> Result<Vec<String>, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let files = Directory::new(path.parent().unwrap_or(Path::new("")));
    let footer = table::read_footer(&files, &name)?;
    let table = Table::new(&name, files.size_bytes(&name)?, &footer, None)?;
    let mut rows = Vec::new();
    for group in 0..table.rows_of_groups().count() as u64 {
        let texts = table.texts(&files, group)?.into_iter().flatten();
        for text in texts.filter(|text| !text.trim().is_empty()) {
            *left_bytes =
                left_bytes.checked_sub(text.len() as u64).ok_or_else(|| too_much(corpus))?;
            rows.push(text);
        }
    }
    Ok(rows)
}

fn too_much(corpus: &Path) -> Error {
    let limit = format!("{CORPUS_BYTES_MAX} bytes of text");
    Error::TooMuchText { path: corpus.to_owned(), limit }
}

/// The text of a file without byte order mark and with `\n` alone at the ends of lines.
fn read_text(path: &Path, left_bytes: &mut u64, corpus: &Path) -> Result<String, Error> {
    // Asked first, so that a huge file is refused without reading it.
    if metadata(path)?.len() > *left_bytes {
        return Err(too_much(corpus));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(*left_bytes + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    *left_bytes = left_bytes.checked_sub(bytes.len() as u64).ok_or_else(|| too_much(corpus))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        Error::NotUtf8 { path: path.to_owned(), offset }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The documents of one file, none of them blank.
fn documents(path: &Path, left_bytes: &mut u64, corpus: &Path) -> Result<Vec<String>, Error> {
    if extension(path) == PARQUET {
        return rows(path, left_bytes, corpus);
    }
    let text = read_text(path, left_bytes, corpus)?;
    if !is_jsonl(path) {
        return Ok(cut::documents(&text));
    }
    let mut documents = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|cause| Error::NotJsonl {
            path: path.to_owned(),
            line: number + 1,
            detail: cause.to_string(),
        })?;
        if !line.text.trim().is_empty() {
            documents.push(line.text);
        }
    }
    Ok(documents)
}
