//! The root hash of parameters while they are read to be used.

use super::{Checkpoint, Tensor};
use crate::error::{Error, Stop};
use protocol::{
    Digest,
    content::{TensorDigest, tensor_root},
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt};

/// Bytes that are read at a time where nothing else reads them.
const READ_BYTES: usize = 1 << 20;

/// Hashes of tensors that are read from their first byte to their last, in any order of tensors.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    tensors: BTreeMap<String, Hash>,
}

/// Hash of the bytes of a tensor so far.
#[derive(Clone, Default)]
struct Hash {
    hasher: Sha256,
    n_bytes: u64,
}

impl Hashes {
    /// Takes the bytes of a tensor that start at byte `at`; a tensor counts as it was read first.
    pub(crate) fn take(&mut self, name: &str, at: u64, bytes: &[u8]) {
        if !self.tensors.contains_key(name) {
            self.tensors.insert(name.to_owned(), Hash::default());
        }
        if let Some(hash) = self.tensors.get_mut(name)
            && hash.n_bytes == at
        {
            hash.hasher.update(bytes);
            hash.n_bytes += bytes.len() as u64;
        }
    }

    /// The tensor root, if every tensor has been read.
    fn root(&self, checkpoint: &Checkpoint) -> Option<Digest> {
        let digest = |(name, tensor): (&String, &Tensor)| {
            let hash = self.tensors.get(name).filter(|hash| hash.n_bytes == tensor.n_bytes)?;
            Some(TensorDigest {
                name: name.clone(),
                dtype: tensor.dtype.to_string(),
                shape: tensor.shape.clone(),
                sha256: Digest(hash.hasher.clone().finalize().into()),
            })
        };
        let digests: Option<Vec<_>> = checkpoint.tensors.iter().map(digest).collect();
        Some(tensor_root(&Digest::of(&checkpoint.config), &digests?))
    }

    /// An error unless every tensor has been read and the root is the one that was expected.
    pub(crate) fn expect(&self, checkpoint: &Checkpoint, expected: Digest) -> Result<(), Error> {
        match self.root(checkpoint) {
            Some(found) if found == expected => Ok(()),
            found => Err(Error::OtherModel { expected, found }),
        }
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
    pub(crate) fn blame(&self, stop: Stop, expected: Option<Digest>) -> Stop {
        match (&stop, expected) {
            (Stop::Model(_), Some(expected)) => match self.verify(expected) {
                Ok(()) => stop,
                Err(error) => error.into(),
            },
            _ => stop,
        }
    }

    /// An error unless the files hold the model of this root; reads them all.
    fn verify(&self, expected: Digest) -> Result<(), Error> {
        let (mut hashes, mut buffer) = (Hashes::default(), vec![0; READ_BYTES]);
        for (name, tensor) in &self.tensors {
            let mut at = 0;
            while at < tensor.n_bytes {
                let n = usize::try_from(tensor.n_bytes - at).unwrap_or(READ_BYTES).min(READ_BYTES);
                let bytes = &mut buffer[..n];
                self.read(tensor, at, bytes)?;
                hashes.take(name, at, bytes);
                at += n as u64;
            }
        }
        hashes.expect(self, expected)
    }
}
