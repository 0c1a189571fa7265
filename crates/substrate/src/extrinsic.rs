//! Signed extrinsics: a call with the proof that its signer wants it, once, on this chain.
//!
//! The bytes are Substrate's, format version 4: address, sr25519 signature, era, nonce, tip, call.
//! What is signed are the call, those extras, both versions, the genesis hash and the hash of the
//! block in which the era began, so a signature is good for one call of one account at one time on
//! one chain. Every type reads back exactly the bytes it wrote, so an extrinsic has one spelling.

use crate::wire::{
    SPEC_VERSION, TRANSACTION_VERSION,
    call::RuntimeCall,
    era::Era,
    primitives::{AccountId32, Address, MultiSignature},
};
use chain::hash::blake2_256;
use chain::{CallError, CallId};
use keys::{Keypair, Signature};
use parity_scale_codec::{Compact, Decode as _, Encode as _, Error as CodecError, Input as _};
use protocol::{AccountId, BlockHash};

/// Largest extrinsic that enters a block; weights for 4,096 slots take 16 KiB.
pub const EXTRINSIC_BYTES_MAX: usize = 32 * 1024;

/// Signed, in format version 4.
const SIGNED_V4: u8 = 0x84;

/// Payloads longer than this are hashed before they are signed.
const PLAIN_PAYLOAD_BYTES_MAX: usize = 256;

/// A call with its signer, its place among the signer's calls, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCall {
    /// Who signed, and on whose behalf the call acts.
    pub signer: AccountId,
    /// How many calls of the signer stand in blocks before this one.
    pub nonce: u32,
    /// Blocks in which the call may be included.
    pub era: Era,
    /// Offered to the author of the block. Deviation: nothing is charged here.
    pub tip: u128,
    /// What to do.
    pub call: RuntimeCall,
    /// Signature over the payload.
    pub signature: Signature,
}

/// How long a call may be included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) era: Era,
    /// Hash of the block that the era begins with, which is signed along; without an era that of
    /// the genesis. A call stands in a later block at the earliest.
    pub(crate) birth: BlockHash,
}

impl SignedCall {
    /// Signs `call` as the `nonce`-th of `keys`, for ever, on the chain that starts with `genesis`.
    pub fn sign(
        call: impl Into<RuntimeCall>,
        nonce: u32,
        genesis: BlockHash,
        keys: &Keypair,
    ) -> Self {
        let lifetime = Lifetime { era: Era::Immortal, birth: genesis };
        Self::sign_in_era(call.into(), nonce, lifetime, genesis, keys)
    }

    /// Signs for the blocks of an era.
    pub(crate) fn sign_in_era(
        call: RuntimeCall,
        nonce: u32,
        lifetime: Lifetime,
        genesis: BlockHash,
        keys: &Keypair,
    ) -> Self {
        let Lifetime { era, birth } = lifetime;
        let signature = Signature([0; 64]);
        let mut signed = Self { signer: keys.public(), nonce, era, tip: 0, call, signature };
        signed.signature = keys.sign(&signed.payload(genesis, birth));
        signed
    }

    /// What is signed.
    fn payload(&self, genesis: BlockHash, birth: BlockHash) -> Vec<u8> {
        let mut bytes = self.call.encode();
        self.extras(&mut bytes);
        (SPEC_VERSION, TRANSACTION_VERSION, genesis.0, birth.0).encode_to(&mut bytes);
        if bytes.len() > PLAIN_PAYLOAD_BYTES_MAX { blake2_256(&bytes).to_vec() } else { bytes }
    }

    fn extras(&self, bytes: &mut Vec<u8>) {
        (self.era, Compact(self.nonce), Compact(self.tip)).encode_to(bytes);
    }

    /// Name of the call: the hash of its bytes.
    pub fn id(&self) -> CallId {
        CallId(blake2_256(&self.to_bytes()))
    }

    /// Whether the signer signed exactly this for the chain that starts with `genesis`, in the era
    /// that began with `birth`.
    pub fn is_authentic(&self, genesis: BlockHash, birth: BlockHash) -> bool {
        keys::verify(&self.payload(genesis, birth), &self.signature, self.signer)
    }

    /// Whether the call fits a block; cheap even for giant vectors.
    pub fn fits(&self) -> bool {
        self.call.encoded_size().saturating_add(256) <= EXTRINSIC_BYTES_MAX
    }

    /// The bytes as they travel: length, then version, address, signature, extras and call.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = vec![SIGNED_V4];
        Address::Id(AccountId32(self.signer.0)).encode_to(&mut body);
        MultiSignature::Sr25519(self.signature.0).encode_to(&mut body);
        self.extras(&mut body);
        self.call.encode_to(&mut body);
        body.encode()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) writes, and nothing else.
    ///
    /// Bytes come from strangers: they are measured before they are read, and nothing larger than
    /// they are is ever allocated.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ExtrinsicError> {
        if bytes.len() > EXTRINSIC_BYTES_MAX {
            return Err(ExtrinsicError::TooLong(bytes.len()));
        }
        let mut input = bytes;
        let Compact(length) = Compact::<u32>::decode(&mut input)?;
        if usize::try_from(length).ok() != Some(input.len()) {
            return Err(ExtrinsicError::Length { said: length, found: input.len() });
        }
        let version = input.read_byte()?;
        if version != SIGNED_V4 {
            return Err(ExtrinsicError::Version(version));
        }
        let Address::Id(signer) = Address::decode(&mut input)? else {
            return Err(ExtrinsicError::Unsupported("an address that is not an account"));
        };
        let MultiSignature::Sr25519(signature) = MultiSignature::decode(&mut input)? else {
            return Err(ExtrinsicError::Unsupported("a signature that is not sr25519"));
        };
        let (era, Compact(nonce), Compact(tip)) =
            <(Era, Compact<u32>, Compact<u128>)>::decode(&mut input)?;
        let call = RuntimeCall::decode(&mut input)?;
        if !input.is_empty() {
            return Err(ExtrinsicError::TrailingBytes(input.len()));
        }
        let (signer, signature) = (AccountId(signer.0), Signature(signature));
        Ok(Self { signer, nonce, era, tip, call, signature })
    }
}

/// Why bytes are no signed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtrinsicError {
    /// Too many bytes.
    #[error("{0} bytes, more than the {EXTRINSIC_BYTES_MAX} that a block takes")]
    TooLong(usize),
    /// The length in front is not that of the rest.
    #[error("the length says {said} bytes, but {found} follow")]
    Length {
        /// As written in front.
        said: u32,
        /// As found.
        found: usize,
    },
    /// Not signed, or another format.
    #[error("format byte {0:#04x} is not {SIGNED_V4:#04x}: signed, version 4")]
    Version(u8),
    /// Substrate knows it, this chain does not.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// More bytes than the call takes.
    #[error("{0} bytes follow after the call")]
    TrailingBytes(usize),
    /// Some field does not read.
    #[error("{0}")]
    Codec(#[from] CodecError),
}

impl From<ExtrinsicError> for CallError {
    fn from(error: ExtrinsicError) -> Self {
        match error {
            ExtrinsicError::TooLong(_) => Self::ExhaustsResources,
            _ => Self::BadSignature,
        }
    }
}

#[cfg(test)]
mod tests;
