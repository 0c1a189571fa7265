//! A published model taken apart: config and tensors as they stand in its files.

use crate::golden;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A tensor with the bytes that it has in its file.
#[derive(Clone, Debug)]
pub(crate) struct RawTensor {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl RawTensor {
    /// Makes as many bytes as the shape says: zeros follow, or some are cut off.
    pub(crate) fn fit(&mut self) {
        let n_bytes = if self.dtype == "F32" { 4 } else { 2 };
        let n: u64 = self.shape.iter().product();
        self.bytes.resize((n * n_bytes) as usize, 0);
    }
}

/// A model of `testdata`.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) config: Map<String, Value>,
    pub(crate) tensors: Vec<RawTensor>,
}

impl Published {
    /// Reads all files of a folder.
    pub(crate) fn read(dir: &Path) -> Self {
        let config = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
        let mut tensors: Vec<_> = parameter_files(dir).iter().flat_map(|f| read(f)).collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Self { config, tensors }
    }

    /// The architecture's name.
    pub(crate) fn architecture(&self) -> &str {
        self.config["model_type"].as_str().unwrap()
    }

    /// Writes a folder with one file of parameters.
    pub(crate) fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let config = Value::Object(self.config.clone()).to_string();
        fs::write(dir.path().join("config.json"), config).unwrap();
        fs::write(dir.path().join("model.safetensors"), safetensors(&self.tensors)).unwrap();
        dir
    }

    /// Writes a folder with a tensor for each of `shards` files in turn, and an index.
    pub(crate) fn write_shards(&self, n_shards: usize) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let config = Value::Object(self.config.clone()).to_string();
        fs::write(dir.path().join("config.json"), config).unwrap();
        let mut map = Map::new();
        for shard in 0..n_shards {
            let file = shard_name(shard, n_shards);
            let tensors = self.tensors.iter().skip(shard).step_by(n_shards).cloned();
            let tensors: Vec<_> = tensors.collect();
            map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), json!(file))));
            fs::write(dir.path().join(&file), safetensors(&tensors)).unwrap();
        }
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
        dir
    }
}

/// The index of a model in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The usual name of a shard, counted from zero.
pub(crate) fn shard_name(shard: usize, n_shards: usize) -> String {
    format!("model-{:05}-of-{n_shards:05}.safetensors", shard + 1)
}

/// Each model of `testdata`, and the name of its folder.
pub(crate) fn all() -> Vec<(String, Published)> {
    let name = |dir: &PathBuf| dir.file_name().unwrap().to_string_lossy().into_owned();
    golden::folders().iter().map(|dir| (name(dir), Published::read(dir))).collect()
}

/// One model of each architecture, the first in the order of their folders.
pub(crate) fn one_each() -> Vec<Published> {
    let mut found = std::collections::BTreeMap::new();
    for (_, model) in all() {
        found.entry(model.architecture().to_owned()).or_insert(model);
    }
    found.into_values().collect()
}

/// The smallest model, so that thousands are written quickly.
pub(crate) fn small() -> Published {
    one_each()
        .into_iter()
        .min_by_key(|m| m.tensors.iter().map(|t| t.bytes.len()).sum::<usize>())
        .unwrap()
}

fn parameter_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect()
}

fn read(file: &Path) -> Vec<RawTensor> {
    let bytes = fs::read(file).unwrap();
    let n_header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(n_header);
    let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    header.remove("__metadata__");
    let tensor = |(name, entry): (String, Value)| {
        let shape: Vec<u64> = serde_json::from_value(entry["shape"].clone()).unwrap();
        let [begin, end]: [usize; 2] =
            serde_json::from_value(entry["data_offsets"].clone()).unwrap();
        let dtype = entry["dtype"].as_str().unwrap().to_owned();
        RawTensor { name, dtype, shape, bytes: data[begin..end].to_vec() }
    };
    header.into_iter().map(tensor).collect()
}

/// The header of a file with these tensors one after the other.
pub(crate) fn header(tensors: &[RawTensor]) -> Map<String, Value> {
    let mut at = 0;
    let entry = |tensor: &RawTensor| {
        let offsets = [at, at + tensor.bytes.len()];
        at = offsets[1];
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets});
        (tensor.name.clone(), entry)
    };
    tensors.iter().map(entry).collect()
}

/// The bytes of a file from the text of its header and what follows.
pub(crate) fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

fn safetensors(tensors: &[RawTensor]) -> Vec<u8> {
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    file(Value::Object(header(tensors)).to_string().as_bytes(), &data)
}
