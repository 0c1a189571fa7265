//! The readers of strangers' bytes without files around them, for fuzzing alone.
//!
//! Through [`inspect`](crate::inspect) each input would have to become a folder of files first,
//! and that is a hundred times slower than to read it.

use crate::{
    arch::{Architecture, architectures},
    checkpoint,
    error::{Error, judge},
};
use protocol::Reason;

/// A tensor of a header: name, type, shape, first byte and the byte after the last.
pub type Entry = (String, String, Vec<u64>, u64, u64);

/// Reads the header of a safetensors file whose tensors take `data_bytes`.
pub fn header(bytes: &[u8], data_bytes: u64) -> Result<Vec<Entry>, String> {
    checkpoint::scan_header(bytes, data_bytes)
}

/// Reads an index of shards: tensors with their files.
pub fn index(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    checkpoint::scan_index(bytes)
}

/// Reads a `config.json` of any architecture: parameters, operations per token, and the names and
/// shapes of the tensors that it demands.
pub fn config(bytes: &[u8]) -> Result<Result<Demand, Reason>, Error> {
    let admitted: Vec<String> = architectures().map(ToString::to_string).collect();
    judge(Architecture::read(bytes, &admitted).map(|architecture| {
        Demand {
            n_parameters: architecture.n_parameters(),
            flops_per_token: architecture.flops_per_token(),
            tensors: architecture
                .parameters()
                .into_iter()
                .map(|parameter| (parameter.name.to_owned(), parameter.shape))
                .collect(),
        }
    }))
}

/// What a config demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Parameters; tied ones once.
    pub n_parameters: u64,
    /// Floating-point operations per token in products.
    pub flops_per_token: u64,
    /// Names and shapes of all tensors.
    pub tensors: Vec<(String, Vec<u64>)>,
}
