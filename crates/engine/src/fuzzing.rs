//! The readers of strangers' texts, one by one, for fuzzing: no part of the engine's interface.
//!
//! Through [`inspect`](crate::inspect) each input would have to become a folder of files first,
//! and that is thousands of times slower than to read it.

use crate::{
    arch::{ARCHITECTURES, Architecture},
    checkpoint::{header, index},
    error::Stop,
};
use std::collections::BTreeMap;

/// Name, type, shape and range of bytes of each tensor.
pub type Tensors = Vec<(String, String, Vec<u64>, [u64; 2])>;
/// Name and shape of each tensor.
pub type Shapes = Vec<(String, Vec<u64>)>;

/// Reads the header of a whole safetensors file.
pub fn header(file: &[u8]) -> Result<Tensors, String> {
    let Some(prefix) = file.first_chunk() else { return Err("no length of a header".into()) };
    let n_bytes = header::header_length(*prefix, file.len() as u64)? as usize;
    let (text, data) = file[8..].split_at(n_bytes);
    let entries = header::scan(text, data.len() as u64)?.into_iter();
    let tensor = |(name, entry): (String, header::Entry)| {
        (name, entry.dtype.to_string(), entry.shape, [entry.begin, entry.end])
    };
    Ok(entries.map(tensor).collect())
}

/// Reads a config: the number of parameters, and the tensors that a checkpoint must hold.
pub fn config(text: &[u8]) -> Result<(u64, Shapes), String> {
    let admitted: Vec<String> = ARCHITECTURES.iter().map(ToString::to_string).collect();
    match Architecture::read(text, &admitted) {
        Ok(architecture) => {
            let parameters = architecture.parameters().into_iter();
            let parameters = parameters.map(|p| (p.name.to_owned(), p.shape)).collect();
            Ok((architecture.n_parameters(), parameters))
        }
        Err(Stop::Model(reason)) => Err(reason.to_string()),
        Err(Stop::Us(error)) => Err(error.to_string()),
    }
}

/// Reads the index of shards: tensor to file.
pub fn shard_index(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    index::scan(text)
}
