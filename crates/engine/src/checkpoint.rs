//! The files of a published model, checked against a policy before anything is believed.
//!
//! Reading stops at the first file, header or byte that a published model does not need.
//! Parameters are read on demand with bounded buffers, never mapped: a file that shrinks under
//! the reader gives an [`Error`], not a crash.

mod constant;
mod finite;
mod header;
mod index;
mod root;

use crate::{
    error::{Error, Stop, refuse},
    fuzzing,
};
use header::{Entry, Stored, TENSORS_MAX, header_length};
use protocol::{
    ReasonCode::{FileRefused, HeaderRefused, TensorMismatch, TooLarge},
    files::{
        CONFIG, CONFIG_BYTES_MAX, HEADER_BYTES_MAX, INDEX, INDEX_BYTES_MAX, N_SHARDS_MAX, SINGLE,
    },
};
use std::{
    collections::BTreeMap,
    fmt, fs,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub(crate) use constant::Constant;
pub(crate) use finite::check_finite;
pub(crate) use root::Hashes;

/// Tensor to file.
type Index = BTreeMap<String, String>;

/// The entries of a header, for fuzzing.
pub(crate) fn scan_header(header: &[u8], data_bytes: u64) -> Result<Vec<fuzzing::Entry>, String> {
    let entries = header::scan(header, data_bytes)?;
    let flat = |(name, Entry { stored, shape, begin, end }): (String, Entry)| {
        (name, stored.to_string(), shape, begin, end)
    };
    Ok(entries.into_iter().map(flat).collect())
}

/// The entries of an index, for fuzzing.
pub(crate) fn scan_index(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    Ok(index::scan(text)?.into_iter().collect())
}

/// How a parameter is stored; every kind widens to `f32` exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
}

impl Dtype {
    fn of_header(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Bytes of one element.
    pub fn n_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        })
    }
}

/// One tensor: where its bytes are and what they mean.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Index into the files, and the first byte in that file.
    file: usize,
    offset: u64,
    pub(crate) n_bytes: u64,
}

/// A model's files after the policy has accepted them; parameters are not read yet.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) config: Vec<u8>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// Tensors that nobody reads, with their shapes.
    pub(crate) constants: BTreeMap<String, Vec<u64>>,
    /// Which tensor is in which file, constants included.
    places: BTreeMap<String, usize>,
    pub(crate) size_bytes: u64,
    /// Bytes of the headers of all files so far.
    header_bytes: u64,
    files: Vec<(PathBuf, File)>,
}

impl Checkpoint {
    /// Reads the config and the headers in `dir`, whose files may have `size_bytes_max` together.
    pub(crate) fn open(dir: &Path, size_bytes_max: u64) -> Result<Self, Stop> {
        if !dir.is_dir() {
            return Err(Error::NotAFolder(dir.to_owned()).into());
        }
        let (config, config_bytes) = open_file(dir, CONFIG)?;
        let (names, index) = parameter_files(dir)?;
        let mut size_bytes = config_bytes;
        if index.is_some() {
            size_bytes = size_bytes.saturating_add(open_file(dir, INDEX)?.1);
        }
        let mut opened = Vec::with_capacity(names.len());
        for name in &names {
            let (file, n_bytes) = open_file(dir, name)?;
            size_bytes = size_bytes.saturating_add(n_bytes);
            opened.push((file, n_bytes));
        }
        if size_bytes > size_bytes_max {
            let detail = format!("{size_bytes} bytes, more than the {size_bytes_max} allowed");
            return refuse(TooLarge, detail);
        }
        let config = config_of(dir, &config, config_bytes)?;
        let mut checkpoint = Self {
            config,
            tensors: BTreeMap::new(),
            constants: BTreeMap::new(),
            places: BTreeMap::new(),
            size_bytes,
            header_bytes: 0,
            files: Vec::new(),
        };
        for (name, (file, n_bytes)) in names.iter().zip(opened) {
            checkpoint.add_file(dir.join(name), file, n_bytes)?;
        }
        if let Some(index) = index {
            checkpoint.check_index(&index, &names)?;
        }
        checkpoint.places.clear();
        Ok(checkpoint)
    }

    /// Gives names their prefix where a model is published without it; `example` has it.
    ///
    /// The head stands beside the body and has none.
    pub(crate) fn complete_names(&mut self, (prefix, example): (&str, &str), heads: &[&str]) {
        let short = example.strip_prefix(prefix).unwrap_or(example);
        if self.tensors.contains_key(example) || !self.tensors.contains_key(short) {
            return;
        }
        let complete = |name: String| {
            if heads.contains(&name.as_str()) { name } else { format!("{prefix}{name}") }
        };
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.map(|(name, tensor)| (complete(name), tensor)).collect();
        let constants = std::mem::take(&mut self.constants).into_iter();
        self.constants = constants.map(|(name, shape)| (complete(name), shape)).collect();
    }

    /// Takes a table from the head that is tied to it, where that alone was saved.
    pub(crate) fn complete_table(&mut self, table: &str, head: &str) {
        if !self.tensors.contains_key(table)
            && let Some(tensor) = self.tensors.remove(head)
        {
            self.tensors.insert(table.to_owned(), tensor);
        }
    }

    /// Reads bytes `from..from + buffer.len()` of a tensor.
    pub(crate) fn read(&self, tensor: &Tensor, from: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let (path, file) = &self.files[tensor.file];
        file.read_exact_at(buffer, tensor.offset + from).map_err(|source| read_error(path, source))
    }

    fn add_file(&mut self, path: PathBuf, file: File, n_bytes: u64) -> Result<(), Stop> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refuse_header =
            |detail: String| refuse::<(), Stop>(HeaderRefused, format!("`{name}`: {detail}"));
        let Some(prefix) = read_start(&file, &path, n_bytes.min(8))?.first_chunk().copied() else {
            return refuse_header(format!("a file of {n_bytes} bytes"));
        };
        let header_bytes = match header_length(prefix, n_bytes) {
            Ok(header_bytes) => header_bytes,
            Err(detail) => return refuse_header(detail),
        };
        // Together no longer than one may be: many files must not make many long headers.
        self.header_bytes += header_bytes;
        if self.header_bytes > HEADER_BYTES_MAX {
            return refuse_header(format!("the headers of all files exceed {HEADER_BYTES_MAX}"));
        }
        let data_start = 8 + header_bytes;
        let header = read_start(&file, &path, data_start)?;
        let entries = match header::scan(&header[8..], n_bytes - data_start) {
            Ok(entries) => entries,
            Err(detail) => return refuse_header(detail),
        };
        for (tensor, entry) in entries {
            if self.places.contains_key(&tensor) {
                return refuse_header(format!("`{tensor}` stands in two files"));
            }
            if self.places.len() >= TENSORS_MAX {
                return refuse_header(format!("more than {TENSORS_MAX} tensors in all files"));
            }
            let Entry { stored, shape, begin, end } = entry;
            let (file, offset, n_bytes) = (self.files.len(), data_start + begin, end - begin);
            self.places.insert(tensor.clone(), file);
            match stored {
                Stored::Number(dtype) if Constant::of(&tensor, &shape).is_none() => {
                    self.tensors.insert(tensor, Tensor { dtype, shape, file, offset, n_bytes });
                }
                _ => drop(self.constants.insert(tensor, shape)),
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    /// Each tensor stands in the file that the index names, and the index names no other.
    fn check_index(&self, index: &Index, names: &[String]) -> Result<(), Stop> {
        for (tensor, name) in index {
            match self.places.get(tensor) {
                Some(file) if names.get(*file) == Some(name) => (),
                _ => return refuse(TensorMismatch, format!("`{name}` has no tensor `{tensor}`")),
            }
        }
        match self.places.keys().find(|&tensor| !index.contains_key(tensor)) {
            Some(tensor) => refuse(TensorMismatch, format!("`{tensor}` is not in `{INDEX}`")),
            None => Ok(()),
        }
    }
}

/// The config of the model in `dir`.
pub(crate) fn read_config(dir: &Path) -> Result<Vec<u8>, Stop> {
    let (file, n_bytes) = open_file(dir, CONFIG)?;
    config_of(dir, &file, n_bytes)
}

fn config_of(dir: &Path, file: &File, n_bytes: u64) -> Result<Vec<u8>, Stop> {
    if n_bytes > CONFIG_BYTES_MAX {
        return refuse(FileRefused, format!("`{CONFIG}` has {n_bytes} bytes"));
    }
    Ok(read_start(file, &dir.join(CONFIG), n_bytes)?)
}

/// Names of the files with parameters in order, and the index if there is one.
fn parameter_files(dir: &Path) -> Result<(Vec<String>, Option<Index>), Stop> {
    match (is_there(dir, SINGLE)?, is_there(dir, INDEX)?) {
        (true, false) => Ok((vec![SINGLE.to_owned()], None)),
        (false, true) => {
            let (file, n_bytes) = open_file(dir, INDEX)?;
            if n_bytes > INDEX_BYTES_MAX {
                return refuse(FileRefused, format!("`{INDEX}` has {n_bytes} bytes"));
            }
            let text = read_start(&file, &dir.join(INDEX), n_bytes)?;
            let index = match index::scan(&text) {
                Ok(index) => index,
                Err(detail) => return refuse(FileRefused, format!("`{INDEX}`: {detail}")),
            };
            // Sorted, so that every reader sees the files in the same order.
            let mut names: Vec<String> = index.values().cloned().collect();
            names.sort();
            names.dedup();
            let n_files = names.len();
            if !(1..=N_SHARDS_MAX).contains(&n_files) {
                let detail = format!("`{INDEX}` names {n_files} files, not 1 to {N_SHARDS_MAX}");
                return refuse(FileRefused, detail);
            }
            Ok((names, Some(index)))
        }
        (true, true) => refuse(FileRefused, format!("both `{SINGLE}` and `{INDEX}` are there")),
        (false, false) => {
            let others = index::OTHER_FORMATS.iter().copied();
            let others: Vec<_> = others.filter(|name| dir.join(name).exists()).collect();
            let hint = match others[..] {
                [] => String::new(),
                [name, ..] => format!(", and `{name}` is of another format: convert it"),
            };
            refuse(FileRefused, format!("`{SINGLE}` is missing{hint}"))
        }
    }
}

/// Whether the folder has an entry of this name, be it a link that leads nowhere.
fn is_there(dir: &Path, name: &str) -> Result<bool, Error> {
    let path = dir.join(name);
    match fs::symlink_metadata(&path) {
        Ok(_) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(read_error(&path, source)),
    }
}

/// Opens a regular file, also through links: the cache of a hub is made of them.
///
/// A stranger has no say in where a link leads: what takes models in makes none. Links are
/// found only in folders of the operator's own, and what they lead to is judged like any file.
fn open_file(dir: &Path, name: &str) -> Result<(File, u64), Stop> {
    if !is_there(dir, name)? {
        return refuse(FileRefused, format!("`{name}` is missing"));
    }
    let path = dir.join(name);
    // Asked before opening: opening a pipe would wait for its writer.
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => (),
        Ok(_) => return refuse(FileRefused, format!("`{name}` is not a regular file")),
        Err(_) if path.is_symlink() => {
            return refuse(FileRefused, format!("`{name}` is a link that leads nowhere"));
        }
        Err(source) => return Err(read_error(&path, source).into()),
    }
    let file = File::open(&path).map_err(|source| read_error(&path, source))?;
    let metadata = file.metadata().map_err(|source| read_error(&path, source))?;
    Ok((file, metadata.len()))
}

fn read_start(file: &File, path: &Path, n_bytes: u64) -> Result<Vec<u8>, Error> {
    let n_bytes = usize::try_from(n_bytes).map_err(|_| Error::OutOfMemory { n_bytes })?;
    let mut bytes = vec![0; n_bytes];
    file.read_exact_at(&mut bytes, 0).map_err(|source| read_error(path, source))?;
    Ok(bytes)
}

fn read_error(path: &Path, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return Error::Changed(path.to_owned());
    }
    Error::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let header = br#"{"a":{"dtype":"F32","shape":[1024],"data_offsets":[0,4096]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4096]].concat();
        fs::write(dir.path().join(SINGLE), bytes).unwrap();
        fs::write(dir.path().join(CONFIG), "{}").unwrap();
        let checkpoint = Checkpoint::open(dir.path(), u64::MAX).unwrap();
        let tensor = &checkpoint.tensors["a"];
        let mut buffer = vec![0; 4096];
        checkpoint.read(tensor, 0, &mut buffer).unwrap();
        let file = File::options().write(true).open(dir.path().join(SINGLE)).unwrap();
        file.set_len(1000).unwrap();
        let error = checkpoint.read(tensor, 0, &mut buffer).unwrap_err();
        assert!(matches!(&error, Error::Changed(path) if path.ends_with(SINGLE)), "{error}");
        assert!(error.is_transient());
    }
}
