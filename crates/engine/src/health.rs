//! Whether parameters are fit to be measured and trained, and what they are as one hash.

mod channels;
mod tensors;
mod verdict;

use crate::{
    arch::{Architecture, Head},
    checkpoint::{Checkpoint, Dtype, Tensor},
    error::{Error, Stop, judge, refuse},
    model,
    parameters::Reader,
};
use protocol::{
    Digest, Reason,
    ReasonCode::{NonFiniteParameters, TensorMismatch, UntrainableParameters},
    competition::{HealthLimits, ModelLimits},
    content::{TensorDigest, tensor_root},
};
use sha2::{Digest as _, Sha256};
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
    /// Root over the config and every tensor, the same however the tensors are spread over files.
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
pub fn scan(dir: &Path, limits: &ModelLimits) -> Result<Result<Scan, Reason>, Error> {
    judge(try_scan(dir, limits))
}

fn try_scan(dir: &Path, limits: &ModelLimits) -> Result<Scan, Stop> {
    let (checkpoint, architecture) = model::open(dir, limits)?;
    let Parts { parts, before } = Parts::of(&architecture);
    let mut channels = Channels::new(before);
    let mut buffer = vec![0; READ_BYTES];
    let mut digests = Vec::with_capacity(checkpoint.tensors.len());
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
        digests.push(TensorDigest {
            name: name.clone(),
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            sha256: digest((&checkpoint, name, tensor), &mut buffer, &mut sums)?,
        });
        let (health, squares) = sums.finish(name, &tensor.shape, role);
        tensors.push(health);
        for found in channels.take(name, squares) {
            // Tensors come, and are pushed, in the order of their names.
            if let Ok(place) = tensors.binary_search_by(|t| t.name.as_str().cmp(found.name)) {
                found.note(&mut tensors[place]);
            }
        }
    }
    check_copy(&digests, &architecture)?;
    let usual = HealthLimits::default();
    let findings = verdict::findings(&tensors, &parts, limits.health.as_ref().unwrap_or(&usual));
    let tensor_root = tensor_root(&Digest::of(&checkpoint.config), &digests);
    Ok(Scan { tensor_root, tensors, findings })
}

/// A tied head that is written out must be what it is tied to.
fn check_copy(digests: &[TensorDigest], architecture: &Architecture) -> Result<(), Stop> {
    let Head::Tied { copy, .. } = &architecture.head else { return Ok(()) };
    let content = |name: &str| {
        let found = digests.iter().find(|digest| digest.name == name);
        found.map(|digest| (&digest.dtype, digest.sha256))
    };
    let table = &architecture.embedding.table;
    match content(copy) {
        Some(copied) if Some(copied) != content(table) => Err(untied(table, copy).into()),
        _ => Ok(()),
    }
}

fn digest(
    (checkpoint, name, tensor): (&Checkpoint, &str, &Tensor),
    buffer: &mut [u8],
    sums: &mut Sums,
) -> Result<Digest, Stop> {
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < tensor.n_bytes {
        let n = usize::try_from(tensor.n_bytes - at).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = &mut buffer[..n];
        checkpoint.read(tensor, at, bytes)?;
        check_finite(name, tensor.dtype, at, bytes)?;
        hasher.update(&*bytes);
        sums.take(bytes);
        at += n as u64;
    }
    Ok(Digest(hasher.finalize().into()))
}

/// The fault that a scan finds first, for one that was found while parameters were read to be used.
///
/// They may have several, and the order in which they are read differs: what is in memory, what is
/// streamed and what is scanned must give one reason.
pub(crate) fn first_fault(
    (checkpoint, architecture): (&Checkpoint, &Architecture),
    found: Stop,
) -> Stop {
    match &found {
        Stop::Model(_) => check_all(checkpoint, architecture).err().unwrap_or(found),
        Stop::Us(_) => found,
    }
}

/// Checks in the order in which a scan does.
fn check_all(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<(), Stop> {
    let mut reader = Reader::new(checkpoint);
    checkpoint.tensors.keys().try_for_each(|name| reader.check(name))?;
    match &architecture.head {
        Head::Tied { copy, .. } => reader.check_copy(&architecture.embedding.table, copy),
        Head::Own(_) => Ok(()),
    }
}

/// A tied head that is written out as well, but with other numbers.
pub(crate) fn untied(original: &str, copy: &str) -> Reason {
    Reason::new(TensorMismatch, format!("`{copy}` is not `{original}`, which it is tied to"))
}

/// Refuses a NaN or infinity among the bytes of a tensor that start at byte `at`.
pub(crate) fn check_finite(name: &str, dtype: Dtype, at: u64, bytes: &[u8]) -> Result<(), Stop> {
    // All exponent bits set is NaN or infinity.
    let wide = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & 0x7f80_0000 == 0x7f80_0000;
    let narrow = |mask: u16| move |bytes: &[u8; 2]| u16::from_le_bytes(*bytes) & mask == mask;
    let found = match dtype {
        Dtype::F32 => find(bytes.as_chunks().0, wide),
        Dtype::F16 => find(bytes.as_chunks().0, narrow(0x7c00)),
        Dtype::Bf16 => find(bytes.as_chunks().0, narrow(0x7f80)),
    };
    match found {
        None => Ok(()),
        Some(index) => {
            let index = at / dtype.n_bytes() + index as u64;
            let detail = format!("`{name}` has a NaN or infinite number at element {index}");
            refuse(NonFiniteParameters, detail)
        }
    }
}

/// Looks at whole blocks first: that loop has no early exit and runs in vectors.
fn find<const N: usize>(numbers: &[[u8; N]], is_bad: impl Fn(&[u8; N]) -> bool) -> Option<usize> {
    for (index, block) in numbers.chunks(1024).enumerate() {
        if block.iter().fold(false, |any, number| any | is_bad(number)) {
            return block.iter().position(&is_bad).map(|place| index * 1024 + place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn found(dtype: Dtype, bytes: &[u8]) -> Option<String> {
        match check_finite("t", dtype, 8, bytes) {
            Err(Stop::Model(reason)) => Some(reason.detail),
            _ => None,
        }
    }

    #[test]
    fn attack_nan_and_infinity_are_found_wherever_they_stand() {
        for place in [0, 1, 1023, 1024, 2999] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
                let mut numbers = vec![f32::MIN_POSITIVE / 2.0; 3000];
                numbers[place] = bad;
                let wide: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                let half: Vec<u8> =
                    numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect();
                let brain: Vec<u8> =
                    numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect();
                assert!(found(Dtype::F32, &wide).unwrap().ends_with(&format!(" {}", place + 2)));
                assert!(found(Dtype::F16, &half).unwrap().ends_with(&format!(" {}", place + 4)));
                assert!(found(Dtype::Bf16, &brain).unwrap().ends_with(&format!(" {}", place + 4)));
            }
        }
    }

    #[test]
    fn the_largest_and_smallest_numbers_are_finite() {
        let bytes = [f32::MAX, f32::MIN, 1e-45, -0.0].map(f32::to_le_bytes).concat();
        assert_eq!(found(Dtype::F32, &bytes), None);
        let bytes = [f16::MAX, f16::MIN].map(f16::to_le_bytes).concat();
        assert_eq!(found(Dtype::F16, &bytes), None);
        let bytes = [bf16::MAX, bf16::MIN].map(bf16::to_le_bytes).concat();
        assert_eq!(found(Dtype::Bf16, &bytes), None);
    }
}
