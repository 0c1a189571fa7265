//! What sealing takes besides the text: numbers that nobody else may know, and that serve once.

use crate::curve::Scalar;
use rand_core_06::{OsRng, RngCore as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Says what the hashes here are for.
const DOMAIN: &[u8] = b"agon timelock secrets";

/// The key, the mask and the nonce of one sealing; wiped from memory on drop and never printed.
///
/// They must never seal a second text: under one key and nonce, two texts give away what they
/// differ in, and forgeries of both. [`crate::seal`] therefore takes them away, and nothing copies
/// them.
pub struct Secrets {
    /// Key of AES-256-GCM.
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// What hides the key, and with it decides the point that a beacon's signature opens.
    pub(crate) sigma: Zeroizing<[u8; 32]>,
    /// Nonce of AES-256-GCM; it stands in what is sealed.
    pub(crate) nonce: [u8; 12],
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness: {text}")]
pub struct NoRandomness {
    /// What it says.
    text: String,
}

impl Secrets {
    /// New ones, from randomness of the operating system.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 76]);
        OsRng
            .try_fill_bytes(&mut *bytes)
            .map_err(|error| NoRandomness { text: error.to_string() })?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Those of a secret and what they are for, the same every time: for runs that are repeated.
    ///
    /// Another text needs another `context`. One that holds a hash of the text, or the text, is
    /// another for sure; a block number is not, if a process may seal twice at a block.
    pub fn derive(secret: &[u8; 32], context: &[u8]) -> Self {
        let part = |name: &[u8]| -> Zeroizing<[u8; 32]> {
            let mut hasher = Sha256::new();
            // With their lengths, so that no two lists of fields run together to the same bytes.
            for field in [DOMAIN, name, secret, context] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
            Zeroizing::new(hasher.finalize().into())
        };
        let nonce = part(b"nonce");
        let nonce = std::array::from_fn(|i| nonce[i]);
        Self { key: part(b"key"), sigma: part(b"sigma"), nonce }
    }

    /// Those of bytes that somebody drew: 32 of the key, 32 of the mask, 12 of the nonce.
    pub fn from_bytes(bytes: &[u8; 76]) -> Self {
        Self {
            key: Zeroizing::new(std::array::from_fn(|i| bytes[i])),
            sigma: Zeroizing::new(std::array::from_fn(|i| bytes[32 + i])),
            nonce: std::array::from_fn(|i| bytes[64 + i]),
        }
    }
}

/// The number that a sealing multiplies by, `SHA-256(sigma ‖ key)` modulo the order of the groups;
/// `None` for zero, which nobody finds.
pub(crate) fn scalar(sigma: &[u8; 32], key: &[u8; 32]) -> Option<Scalar> {
    let mut hasher = Sha256::new();
    hasher.update(sigma);
    hasher.update(key);
    Scalar::of_digest(&Zeroizing::new(hasher.finalize().into()))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(secrets: &Secrets) -> Vec<u8> {
        [&secrets.key[..], &secrets.sigma[..], &secrets.nonce[..]].concat()
    }

    #[test]
    fn derived_secrets_are_frozen_and_differ_by_secret_and_context() {
        let secrets = bytes(&Secrets::derive(&[1; 32], b"context"));
        let frozen = concat!(
            "098f8db9acdc5bc4c8797a80007c0527b329b1e4a9ab253cab08d741cece6589",
            "135bd7d24960ae17c976a696b40e93c22cf75f419d84bbe8b145e9ababfceffb",
            "294d806b9df0712511934b18",
        );
        assert_eq!(hex::encode(&secrets), frozen);
        for (secret, context) in [(2, &b"context"[..]), (1, b"contexu"), (1, b"contex"), (1, b"")] {
            let other = bytes(&Secrets::derive(&[secret; 32], context));
            for part in [0..32, 32..64, 64..76] {
                assert_ne!(secrets[part.clone()], other[part], "{secret} {context:?}");
            }
        }
    }

    #[test]
    fn random_secrets_differ() {
        let (one, other) = (Secrets::random().unwrap(), Secrets::random().unwrap());
        assert_ne!(bytes(&one), bytes(&other));
        assert!(bytes(&one).iter().any(|byte| *byte != 0));
    }

    #[test]
    fn nothing_printed_holds_the_secrets() {
        assert_eq!(format!("{:?}", Secrets::from_bytes(&[0xab; 76])), "Secrets(…)");
    }
}
