//! Whether parameters are fit to be measured and trained, and what they are as one hash.

mod channels;
mod tensors;
mod verdict;

use crate::{
    arch::Head,
    checkpoint::{Checkpoint, Hashes, Tensor, check_finite},
    error::{Error, Stop, judge},
    inspection,
    limits::Limits,
    parameters::Reader,
};
use protocol::{
    Digest, Reason,
    ReasonCode::{TensorMismatch, UntrainableParameters},
    competition::{HealthLimits, ModelLimits},
};
use std::path::Path;

use channels::Channels;
use tensors::Sums;
pub use tensors::{Role, TensorHealth};
use verdict::Parts;
pub use verdict::{Finding, Sabotage};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What one pass over all parameters tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Root over what the model computes and with which numbers, the same however its files spell
    /// both: shards, names, types of numbers, keys of the config.
    pub tensor_root: Digest,
    /// How large the numbers of each tensor are, in the order of the names.
    pub tensors: Vec<TensorHealth>,
    /// Rules for parameters that can be trained further which tensors break: those of the
    /// competition, or else the usual ones.
    pub findings: Vec<Finding>,
}

impl Scan {
    /// Why the model is refused if the competition says what parameters must be like.
    pub fn untrainable(&self, limits: &ModelLimits) -> Option<Reason> {
        let finding = self.findings.first().filter(|_| limits.health.is_some())?;
        Some(Reason::new(UntrainableParameters, finding))
    }
}

/// Everything [`inspect`](crate::inspect) refuses, and parameters that are not finite.
///
/// Reads every byte of the model in `dir` once and keeps none of them: the check that needs no
/// memory, where [`Model::load`](crate::Model::load) needs that of the whole model.
pub fn scan<'a>(dir: &Path, limits: impl Into<Limits<'a>>) -> Result<Result<Scan, Reason>, Error> {
    judge(try_scan(dir, limits.into()))
}

fn try_scan(dir: &Path, limits: Limits<'_>) -> Result<Scan, Stop> {
    let (checkpoint, architecture) = inspection::open(dir, limits)?;
    let Parts { parts, before } = Parts::of(&architecture);
    let mut channels = Channels::new(before);
    let mut buffer = vec![0; READ_BYTES];
    let mut hashes = Hashes::new(&architecture);
    let mut tensors: Vec<TensorHealth> = Vec::with_capacity(checkpoint.tensors.len());
    for (name, tensor) in &checkpoint.tensors {
        let part = parts.get(name.as_str());
        let n_columns = match tensor.shape[..] {
            [_, ref rest @ ..] if !rest.is_empty() => rest.iter().product(),
            _ => tensor.shape.iter().product::<u64>(),
        };
        let n_columns = usize::try_from(n_columns).unwrap_or(usize::MAX).max(1);
        let (role, offset, inputs_are_rows) = part.map_or((Role::Unused, 0.0, false), |part| {
            (part.role, part.offset, part.inputs_are_rows)
        });
        let mut sums = Sums::new(tensor.dtype, n_columns, offset, inputs_are_rows);
        let mut take = |at: u64, bytes: &[u8]| {
            hashes.take((name, tensor.dtype), at, bytes);
            sums.take(bytes);
        };
        read(&checkpoint, name, tensor, &mut buffer, &mut take)?;
        let (health, squares) = sums.finish(name, &tensor.shape, role);
        tensors.push(health);
        for found in channels.take(name, squares) {
            // Tensors come, and are pushed, in the order of their names.
            if let Ok(place) = tensors.binary_search_by(|t| t.name.as_str().cmp(found.name)) {
                found.note(&mut tensors[place]);
            }
        }
    }
    if let Head::Tied { copy, .. } = &architecture.head {
        Reader::new(&checkpoint).check_copy(&architecture.embedding.table, copy)?;
    }
    let usual = HealthLimits::default();
    let findings =
        verdict::findings(&tensors, &parts, limits.model.health.as_ref().unwrap_or(&usual));
    let missing = |name: &str| Reason::new(TensorMismatch, format!("`{name}` is missing"));
    let tensor_root = hashes.root().map_err(missing)?;
    Ok(Scan { tensor_root, tensors, findings })
}

/// Gives all of a tensor piece by piece, each with its place in it; its numbers must be finite.
fn read(
    checkpoint: &Checkpoint,
    name: &str,
    tensor: &Tensor,
    buffer: &mut [u8],
    take: &mut dyn FnMut(u64, &[u8]),
) -> Result<(), Stop> {
    let mut at = 0;
    while at < tensor.n_bytes {
        let n = usize::try_from(tensor.n_bytes - at).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = &mut buffer[..n];
        checkpoint.read(tensor, at, bytes)?;
        check_finite(name, tensor.dtype, at, bytes)?;
        take(at, bytes);
        at += n as u64;
    }
    Ok(())
}
