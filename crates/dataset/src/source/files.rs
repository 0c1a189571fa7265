//! A corpus of text files.

mod cut;
mod lines;

#[cfg(test)]
mod tests;

use crate::{
    Document, Error, RangeRead as _, Source, Split,
    remote::Directory,
    table::{self, Table},
};
use flate2::read::MultiGzDecoder;
use protocol::Digest;
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
/// files under a directory, in order of their names; all but the last also packed, as `.gz` or
/// `.zst`. A file that is named itself may be called `.json` and hold lines, too; in folders such
/// files tell of data more often than they are data.
///
/// Plain text, of which [`plain_text`] says what counts, is cut into documents by its blank lines
/// (see `cut.rs` for the rule). A line of JSONL is one document by its field `text` or `content`, a
/// row of parquet one by its column of that name; those without a text are passed over. Of equal
/// documents only the first is kept. Those whose digest is divisible by ten
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
    n_passed_over: u64,
    digest: Digest,
}

/// A text file: its path below the directory with `/` between parts, by which files are ordered,
/// and where it is.
type Named = (String, PathBuf);

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
            n_passed_over: 0,
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

    /// Lines and rows that have no text: it is missing, or null.
    pub fn n_passed_over(&self) -> u64 {
        self.n_passed_over
    }

    fn read(&mut self, texts: &[Named]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut digests = Vec::new();
        let mut left_bytes = CORPUS_BYTES_MAX;
        for (_, path) in texts {
            let Texts { texts, n_passed_over } = documents(path, &mut left_bytes, &self.path)?;
            self.n_passed_over += n_passed_over;
            for text in texts {
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

/// How a file is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

/// What a file is by its name, and how it is packed.
fn kind(path: &Path) -> (String, Packing) {
    let packing = match extension(path).as_str() {
        "gz" => Packing::Gzip,
        "zst" => Packing::Zstd,
        other => return (other.to_owned(), Packing::None),
    };
    (extension(Path::new(path.file_stem().unwrap_or_default())), packing)
}

fn is_jsonl(name: &str) -> bool {
    ["jsonl", "ndjson", "json-lines"].contains(&name)
}

fn has_text_name(path: &Path) -> bool {
    let (name, packing) = kind(path);
    let is_parquet = name == PARQUET && packing == Packing::None;
    is_parquet || is_jsonl(&name) || ["txt", "md"].contains(&name.as_str())
}

/// The texts of a file, none of them blank.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    /// Lines or rows that have none.
    n_passed_over: u64,
}

impl Texts {
    fn push(&mut self, text: Option<String>) {
        match text {
            Some(text) if text.trim().is_empty() => {}
            Some(text) => self.texts.push(text),
            None => self.n_passed_over += 1,
        }
    }
}

/// The texts of a parquet file.
fn rows(path: &Path, left_bytes: &mut u64, corpus: &Path) -> Result<Texts, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let files = Directory::new(path.parent().unwrap_or(Path::new("")));
    let footer = table::read_footer(&files, &name)?;
    let table = Table::new(&name, files.size_bytes(&name)?, &footer, None)?;
    let mut rows = Texts::default();
    for group in 0..table.rows_of_groups().count() as u64 {
        for text in table.texts(&files, group)? {
            let n_bytes = text.as_ref().map_or(0, |text| text.len() as u64);
            *left_bytes = left_bytes.checked_sub(n_bytes).ok_or_else(|| too_much(corpus))?;
            rows.push(text);
        }
    }
    Ok(rows)
}

fn too_much(corpus: &Path) -> Error {
    let limit = format!("{CORPUS_BYTES_MAX} bytes of text");
    Error::TooMuchText { path: corpus.to_owned(), limit }
}

/// Text as it counts, whichever way it comes in: without a byte order mark, and with `\n` alone at
/// the ends of lines.
pub fn plain_text(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The bytes of a file, unpacked, and no more than `bytes_max`.
fn unpacked(path: &Path, packing: Packing, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    match packing {
        Packing::None => file.take(bytes_max).read_to_end(&mut bytes),
        Packing::Gzip => MultiGzDecoder::new(file).take(bytes_max).read_to_end(&mut bytes),
        Packing::Zstd => {
            zstd::stream::read::Decoder::new(file)?.take(bytes_max).read_to_end(&mut bytes)
        }
    }?;
    Ok(bytes)
}

fn read_text(
    path: &Path,
    packing: Packing,
    left_bytes: &mut u64,
    corpus: &Path,
) -> Result<String, Error> {
    // Asked first, so that a huge file is refused without reading it.
    if metadata(path)?.len() > *left_bytes {
        return Err(too_much(corpus));
    }
    let bytes = unpacked(path, packing, *left_bytes + 1).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    *left_bytes = left_bytes.checked_sub(bytes.len() as u64).ok_or_else(|| too_much(corpus))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::Utf16 { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        Error::NotUtf8 { path: path.to_owned(), offset }
    })?;
    Ok(plain_text(&text))
}

/// The documents of one file.
fn documents(path: &Path, left_bytes: &mut u64, corpus: &Path) -> Result<Texts, Error> {
    let (name, packing) = kind(path);
    if name == PARQUET && packing == Packing::None {
        return rows(path, left_bytes, corpus);
    }
    let text = read_text(path, packing, left_bytes, corpus)?;
    // A file called `.json` is here only if somebody named it.
    if is_jsonl(&name) || name == "json" {
        return lines::documents(path, &text);
    }
    Ok(Texts { texts: cut::documents(&text), n_passed_over: 0 })
}
