//! Bytes that a later signature opens, exactly as Bittensor's chain stores and opens them.
//!
//! `U[96] ‖ 32, V[32] ‖ 32, W[32] ‖ n, body[n] ‖ 8, "AES_GCM_"` with `body = m, C[m] ‖ 12, nonce`;
//! all lengths are 64 bits, little-endian. With a key `k`, a mask `σ` and `r = H(σ ‖ k)`:
//! `U = r·G2`, `V = σ ⊕ H(e(Q, P)^r)`, `W = k ⊕ H(σ)`, where `H` is SHA-256, `Q` the point of the
//! round and `P` the key of the beacon; `C` is the text under `k`, its tag of 16 bytes at the end.

use crate::{
    beacon::{PublicKey, Signature},
    curve::{G1, G2, pairing_digest},
    secrets::{Secrets, scalar},
};
use aes_gcm::{AeadInPlace as _, Aes256Gcm, KeyInit as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What sealing adds to a text, in bytes.
pub const OVERHEAD_BYTES: usize = 244;

/// Bytes of the tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// Names the cipher, at the end.
const SUITE: &[u8; 8] = b"AES_GCM_";

/// A text could not be sealed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key of the beacon is no point of its group.
    #[error("the public key of the beacon is no point of G2")]
    PublicKey,
    /// The secrets hash to zero, which nobody finds.
    #[error("the secrets make no point")]
    Secrets,
    /// The cipher takes no text of this size.
    #[error("a text of {size_bytes} bytes is too long for AES-GCM")]
    TooLong {
        /// Size of the text.
        size_bytes: usize,
    },
}

/// Sealed bytes stay closed: a stranger wrote them, or the signature is that of another round.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are not laid out as sealed ones.
    #[error("sealed bytes have a wrong {part}")]
    Layout {
        /// The first part that is wrong.
        part: &'static str,
    },
    /// What should be a point of G2 is none, or zero.
    #[error("the point in front of sealed bytes is none of G2")]
    Point,
    /// The signature is no point of G1, or zero.
    #[error("the signature is no point of G1")]
    Signature,
    /// The key inside does not belong to its point: sealed to another round or beacon, or changed.
    #[error("the signature does not open the key of sealed bytes")]
    Key,
    /// The text does not belong to its key and nonce.
    #[error("the text in sealed bytes was changed")]
    Text,
}

/// Seals `text` until the beacon of `key` signs `round`; `secrets` serve this once.
///
/// The result has [`OVERHEAD_BYTES`] more than the text. The chain takes at most 5,000 bytes.
pub fn seal(
    key: &PublicKey,
    round: u64,
    text: &[u8],
    secrets: Secrets,
) -> Result<Vec<u8>, SealError> {
    let Secrets { key: cipher_key, sigma, nonce } = secrets;
    let beacon = G2::from_bytes(&key.0).ok_or(SealError::PublicKey)?;
    let r = scalar(&sigma, &cipher_key).ok_or(SealError::Secrets)?;
    // e(r·Q, P) is e(Q, P)^r, and r·Q is a signature with r, for which there is safe code.
    let mask = pairing_digest(&r.of_identity(round), &beacon);

    let mut ciphertext = text.to_vec();
    let tag = Aes256Gcm::new((&*cipher_key).into())
        .encrypt_in_place_detached((&nonce).into(), b"", &mut ciphertext)
        .map_err(|_| SealError::TooLong { size_bytes: text.len() })?;
    let mut body = Vec::with_capacity(text.len().saturating_add(TAG_BYTES + 28));
    put(&mut body, &[&ciphertext, &tag]);
    put(&mut body, &[&nonce]);

    let mut sealed = Vec::with_capacity(text.len().saturating_add(OVERHEAD_BYTES));
    sealed.extend(r.of_generator().to_bytes());
    put(&mut sealed, &[&*xor(&sigma, &mask)]);
    put(&mut sealed, &[&*xor(&cipher_key, &digest(&*sigma))]);
    put(&mut sealed, &[&body]);
    put(&mut sealed, &[SUITE]);
    Ok(sealed)
}

/// The text of sealed bytes, by the signature of the round that they were sealed to.
///
/// Any bytes may be given. Nothing is read beyond them, nothing allocated but a copy of the text
/// that is there. The one spelling that [`seal`] writes is opened; the chain passes over what it
/// does not need, which is the name of the cipher and whatever follows the nonce or the name.
///
/// A signature need not be verified first: only the right one gives a key that fits its point.
pub fn open(sealed: &[u8], signature: &Signature) -> Result<Vec<u8>, OpenError> {
    let parts = Parts::of(sealed)?;
    let point = G2::from_bytes(parts.u).ok_or(OpenError::Point)?;
    let signature = G1::from_bytes(&signature.0).ok_or(OpenError::Signature)?;
    let sigma = xor(parts.v, &pairing_digest(&signature, &point));
    let key = xor(parts.w, &digest(&*sigma));
    let r = scalar(&sigma, &key).ok_or(OpenError::Key)?;
    if r.of_generator().to_bytes() != *parts.u {
        return Err(OpenError::Key);
    }
    let mut text = parts.ciphertext.to_vec();
    Aes256Gcm::new((&*key).into())
        .decrypt_in_place_detached(parts.nonce.into(), b"", &mut text, parts.tag.into())
        .map_err(|_| OpenError::Text)?;
    Ok(text)
}

/// Appends the length of some bytes, which may come in pieces, and the bytes.
fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    let size: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.extend((size as u64).to_le_bytes());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}

fn xor(one: &[u8; 32], other: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new(*one);
    for (byte, other) in out.iter_mut().zip(other) {
        *byte ^= other;
    }
    out
}

/// What sealed bytes consist of, still where it was.
struct Parts<'a> {
    u: &'a [u8; 96],
    v: &'a [u8; 32],
    w: &'a [u8; 32],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
    nonce: &'a [u8; 12],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Result<Self, OpenError> {
        let mut reader = Reader { rest: sealed };
        let u = reader.array("point")?;
        let v = reader.prefixed_array("hidden mask")?;
        let w = reader.prefixed_array("hidden key")?;
        let mut body = Reader { rest: reader.prefixed("body")? };
        let (ciphertext, tag) = body
            .prefixed("ciphertext")?
            .split_last_chunk()
            .ok_or(OpenError::Layout { part: "ciphertext" })?;
        let nonce = body.prefixed_array("nonce")?;
        body.finish("body")?;
        if reader.prefixed_array("cipher")? != SUITE {
            return Err(OpenError::Layout { part: "cipher" });
        }
        reader.finish("length")?;
        Ok(Self { u, v, w, ciphertext, tag, nonce })
    }
}

/// Takes bytes off the front; a length that is claimed is held against what is there.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self, part: &'static str) -> Result<&'a [u8; N], OpenError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(OpenError::Layout { part })?;
        self.rest = rest;
        Ok(array)
    }

    /// Bytes with their length before them.
    fn prefixed(&mut self, part: &'static str) -> Result<&'a [u8], OpenError> {
        let claimed = u64::from_le_bytes(*self.array(part)?);
        let (bytes, rest) = usize::try_from(claimed)
            .ok()
            .and_then(|size| self.rest.split_at_checked(size))
            .ok_or(OpenError::Layout { part })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// As many bytes as there must be, with their length before them.
    fn prefixed_array<const N: usize>(
        &mut self,
        part: &'static str,
    ) -> Result<&'a [u8; N], OpenError> {
        self.prefixed(part)?.try_into().map_err(|_| OpenError::Layout { part })
    }

    fn finish(self, part: &'static str) -> Result<(), OpenError> {
        if self.rest.is_empty() { Ok(()) } else { Err(OpenError::Layout { part }) }
    }
}

#[cfg(test)]
mod tests;
