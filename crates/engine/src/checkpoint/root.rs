//! The root hash of a model while its parameters are read.

use super::{Checkpoint, Dtype};
use crate::{
    arch::Architecture,
    description::{self, Description},
    error::{Error, Stop},
};
use half::{f16, slice::HalfFloatSliceExt as _};
use protocol::{Digest, Reason, content::tensor_root};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

/// Bytes that are read at a time where nothing else reads them.
const READ_BYTES: usize = 1 << 20;
/// Numbers that are widened or narrowed at a time.
const BLOCK: usize = 4096;

/// Hashes of the numbers of tensors that are read from their first byte to their last, in any
/// order of tensors.
///
/// Tensors that no loss depends on, and a head that repeats the table, are passed over.
#[derive(Clone)]
pub(crate) struct Hashes {
    description: Arc<Description>,
    tensors: BTreeMap<String, Tensor>,
}

/// Hashes of a tensor so far.
#[derive(Clone, Default)]
struct Tensor {
    n_read: u64,
    parts: Vec<Part>,
}

/// Hash of some numbers of a tensor so far, which is the same for every type that holds them.
///
/// They count as BF16 if that holds all of them, else as F32: a model that is published as BF16 is
/// hashed as its bytes are.
#[derive(Clone)]
struct Part {
    elements: Range<u64>,
    wide: Sha256,
    /// Of their upper halves, as long as all lower ones are zero.
    narrow: Option<Sha256>,
}

impl Hashes {
    /// Of nothing so far.
    pub(crate) fn new(architecture: &Architecture) -> Self {
        let description = Description::of(architecture);
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for part in &description.parts {
            let parts = &mut tensors.entry(part.name.clone()).or_default().parts;
            // A table that is the head, too, is hashed once.
            if !parts.iter().any(|known| known.elements == part.elements) {
                parts.push(Part::new(part.elements.clone()));
            }
        }
        Self { description: Arc::new(description), tensors }
    }

    /// Takes the bytes of a tensor that start at byte `at`, whole numbers; a tensor counts as it
    /// was read first.
    pub(crate) fn take(&mut self, (name, dtype): (&str, Dtype), at: u64, bytes: &[u8]) {
        let first = at / dtype.n_bytes();
        let Some(tensor) = self.tensors.get_mut(name).filter(|tensor| tensor.n_read == first)
        else {
            return;
        };
        let end = first + bytes.len() as u64 / dtype.n_bytes();
        tensor.n_read = end;
        for part in &mut tensor.parts {
            let (from, to) = (part.elements.start.max(first), part.elements.end.min(end));
            if from < to {
                let [from, to] = [from, to].map(|n| ((n - first) * dtype.n_bytes()) as usize);
                part.take(dtype, &bytes[from..to]);
            }
        }
    }

    /// The root; without it, the name of a tensor that has not been read.
    pub(crate) fn root(&self) -> Result<Digest, &str> {
        let digest = |wanted: &description::Part| {
            let tensor = self.tensors.get(&wanted.name)?;
            let part = tensor.parts.iter().find(|part| part.elements == wanted.elements)?;
            (tensor.n_read >= part.elements.end).then(|| part.digest())
        };
        let mut numbers = Vec::with_capacity(self.description.parts.len());
        for part in &self.description.parts {
            numbers.push(digest(part).ok_or(part.name.as_str())?);
        }
        Ok(tensor_root(&self.description.bytes, &numbers))
    }

    /// An error unless every tensor has been read and the root is the one that was expected.
    pub(crate) fn expect(&self, expected: Digest) -> Result<(), Error> {
        match self.root() {
            Ok(found) if found == expected => Ok(()),
            found => Err(Error::OtherModel { expected, found: found.ok() }),
        }
    }
}

impl Part {
    fn new(elements: Range<u64>) -> Self {
        // The kinds begin differently, so that no numbers of one are those of the other.
        let of = |kind: &str| Sha256::new().chain_update(kind);
        Self { elements, wide: of("F32 "), narrow: Some(of("BF16")) }
    }

    /// Takes the next numbers, all of which are finite.
    fn take(&mut self, dtype: Dtype, bytes: &[u8]) {
        match dtype {
            Dtype::Bf16 => {
                // All of a tensor has one type, so that its lower halves are all zero.
                if let Some(narrow) = &mut self.narrow {
                    narrow.update(bytes);
                }
            }
            Dtype::F32 => bytes.chunks(4 * BLOCK).for_each(|block| self.take_wide(block)),
            Dtype::F16 => {
                let (mut halves, mut singles) = ([f16::ZERO; BLOCK], [0.0_f32; BLOCK]);
                for block in bytes.chunks(2 * BLOCK) {
                    let pairs = block.as_chunks::<2>().0;
                    let halves = &mut halves[..pairs.len()];
                    let singles = &mut singles[..pairs.len()];
                    halves.iter_mut().zip(pairs).for_each(|(to, b)| *to = f16::from_le_bytes(*b));
                    halves.convert_to_f32_slice(singles);
                    let mut wide = [0; 4 * BLOCK];
                    let quads = wide.as_chunks_mut::<4>().0.iter_mut();
                    quads.zip(&*singles).for_each(|(to, number)| *to = number.to_le_bytes());
                    self.take_wide(&wide[..4 * pairs.len()]);
                }
            }
        }
    }

    /// Takes at most a block of singles.
    fn take_wide(&mut self, block: &[u8]) {
        self.wide.update(block);
        let Some(narrow) = &mut self.narrow else { return };
        let numbers = block.as_chunks::<4>().0;
        // Without an early exit: this runs in vectors.
        if numbers.iter().fold(0, |any, number| any | number[0] | number[1]) != 0 {
            self.narrow = None;
            return;
        }
        let mut upper = [0; 2 * BLOCK];
        let pairs = upper.as_chunks_mut::<2>().0.iter_mut();
        pairs.zip(numbers).for_each(|(to, number)| *to = [number[2], number[3]]);
        narrow.update(&upper[..2 * numbers.len()]);
    }

    fn digest(&self) -> Digest {
        Digest(self.narrow.as_ref().unwrap_or(&self.wide).clone().finalize().into())
    }
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashes").field("n_tensors", &self.tensors.len()).finish()
    }
}

impl Checkpoint {
    /// Whose fault is a model that is refused although it was admitted before under `expected`?
    ///
    /// Its owner's only where it is still that model; else that of the disk that keeps it.
    pub(crate) fn blame(
        &self,
        architecture: &Architecture,
        reason: Reason,
        expected: Digest,
    ) -> Stop {
        match self.verify(architecture, expected) {
            Ok(()) => reason.into(),
            Err(error) => error.into(),
        }
    }

    /// An error unless the files hold the model of this root; reads them all.
    fn verify(&self, architecture: &Architecture, expected: Digest) -> Result<(), Error> {
        let (mut hashes, mut buffer) = (Hashes::new(architecture), vec![0; READ_BYTES]);
        for (name, tensor) in &self.tensors {
            let mut at = 0;
            while at < tensor.n_bytes {
                let n = usize::try_from(tensor.n_bytes - at).unwrap_or(READ_BYTES).min(READ_BYTES);
                let bytes = &mut buffer[..n];
                self.read(tensor, at, bytes)?;
                hashes.take((name, tensor.dtype), at, bytes);
                at += n as u64;
            }
        }
        hashes.expect(expected)
    }
}
