//! One safetensors file with exactly the tensors that a caller expects.

use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors, View};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read as _,
    path::Path,
};
use tempfile::TempDir;

/// Bytes that a file may have besides its numbers: the header.
const HEADER_BYTES_MAX: u64 = 64 << 20;

/// A named tensor to write.
pub(crate) struct Named<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
}

impl View for &Named<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// The values that were read from a file.
pub(crate) struct Contents(BTreeMap<String, Vec<f32>>);

impl Contents {
    /// Takes the values of a tensor out; empty when there is none of this name.
    pub(crate) fn take(&mut self, name: &str) -> Vec<f32> {
        self.0.remove(name).unwrap_or_default()
    }
}

/// Writes tensors and one entry of metadata, and waits for the disk. Equal input, equal bytes.
pub(crate) fn write(path: &Path, tensors: &[Named<'_>], metadata: (&str, &str)) -> Result<()> {
    let metadata = HashMap::from([(metadata.0.to_owned(), metadata.1.to_owned())]);
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::io("write", path)(source),
        other => Error::malformed(path, other),
    })?;
    sync(path)
}

/// Reads a file that must hold exactly the `expected` tensors, in F32, BF16 or F16, all finite.
///
/// The length is checked before anything is read, names and shapes before anything is converted.
pub(crate) fn read(path: &Path, expected: &BTreeMap<String, Vec<usize>>) -> Result<Contents> {
    let n_values: u64 = expected.values().map(|shape| shape.iter().product::<usize>() as u64).sum();
    let bytes_max = n_values * size_of::<f32>() as u64 + HEADER_BYTES_MAX;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::malformed(path, format!("more than {bytes_max} bytes")));
    }
    contents(&bytes, expected).map_err(|reason| Error::malformed(path, reason))
}

/// The free text in the header of a file.
pub(crate) fn read_metadata(path: &Path) -> Result<HashMap<String, String>> {
    // Reading the whole header is the only way to the text; the library checks the lengths in it
    // against the length of the file, so all of the file is read.
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let header = SafeTensors::read_metadata(&bytes);
    let (_, header) = header.map_err(|error| Error::malformed(path, error))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

fn contents(bytes: &[u8], expected: &BTreeMap<String, Vec<usize>>) -> Result<Contents, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    if let Some(name) = file.names().into_iter().find(|name| !expected.contains_key(*name)) {
        return Err(format!("tensor `{name}` does not belong to the model"));
    }
    let mut tensors = BTreeMap::new();
    for (name, shape) in expected {
        let tensor = file.tensor(name).map_err(|_| format!("tensor `{name}` is missing"))?;
        if tensor.shape() != shape {
            return Err(format!("tensor `{name}` is {:?}, not {shape:?}", tensor.shape()));
        }
        let values = widen(tensor.dtype(), tensor.data()).ok_or_else(|| {
            format!("tensor `{name}` is {}, not F32, BF16 or F16", tensor.dtype())
        })?;
        if !values.iter().all(|x| x.is_finite()) {
            return Err(format!("tensor `{name}` has values that are not finite"));
        }
        tensors.insert(name.clone(), values);
    }
    Ok(Contents(tensors))
}

/// Values as F32, exactly; `None` for a type that is not a float of at most 32 bits.
fn widen(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let (fours, _) = bytes.as_chunks::<4>();
    Some(match dtype {
        Dtype::F32 => fours.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::BF16 => pairs.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F16 => pairs.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}

/// Waits until a file or folder is on the disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.sync_all().map_err(Error::io("write", path))
}

/// A folder beside `target` that is removed unless it is moved to its place.
pub(crate) struct Partial(TempDir);

impl Partial {
    /// Makes an empty folder beside `target`, on the same file system, and `target`'s parents.
    pub(crate) fn beside(target: &Path) -> Result<Self> {
        let made = disk::begin_folder(target);
        made.map(Self).map_err(Error::io("create a temporary folder beside", target))
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Moves the whole folder to `target`, which must not exist or be empty.
    pub(crate) fn become_folder(mut self, target: &Path) -> Result<()> {
        disk::rename(self.path(), target).map_err(|source| match source.kind() {
            std::io::ErrorKind::DirectoryNotEmpty
            | std::io::ErrorKind::AlreadyExists
            | std::io::ErrorKind::NotADirectory => Error::Exists { path: target.to_owned() },
            _ => Error::io("write", target)(source),
        })?;
        self.0.disable_cleanup(true);
        Ok(())
    }

    /// Moves one file of the folder to `target`, replacing what is there.
    pub(crate) fn move_file(self, name: &str, target: &Path) -> Result<()> {
        disk::rename(&self.path().join(name), target).map_err(Error::io("write", target))
    }
}

#[cfg(test)]
mod tests;
