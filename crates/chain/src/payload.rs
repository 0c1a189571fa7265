//! The bytes of a call that are signed and hashed.
//!
//! One tag per call and fixed-width little-endian fields, lists with their length first: no two
//! calls have the same bytes. Genesis hash, signer and nonce stand in front, so a signature is
//! good for one call of one account at one time on one chain.

use crate::{
    Call, CallId,
    keys::{self, Keypair, Signature},
};
use blake2::{Blake2b, Digest as _, digest::consts::U32};
use protocol::{AccountId, BlockHash};

/// Largest payload that enters a block; weights for 4,096 slots take 16 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 32 * 1024;

/// A call with the proof that its signer wants it, once, on this chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCall {
    /// Who signed, and on whose behalf the call acts.
    pub signer: AccountId,
    /// How many calls of the signer stand in blocks before this one.
    pub nonce: u64,
    /// What to do.
    pub call: Call,
    /// Signature over the hash of the payload.
    pub signature: Signature,
}

/// BLAKE2b with 32 bytes of output, the hash of Substrate.
pub(crate) fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}

impl SignedCall {
    /// Signs `call` as the `nonce`-th of `keys` on the chain that starts with `genesis`.
    pub fn sign(call: Call, nonce: u64, genesis: BlockHash, keys: &Keypair) -> Self {
        let hash = blake2_256(&payload(genesis, keys.public(), nonce, &call));
        Self { signer: keys.public(), nonce, call, signature: keys.sign(&hash) }
    }

    /// Name of the call: the hash of its payload.
    pub fn id(&self, genesis: BlockHash) -> CallId {
        CallId(blake2_256(&payload(genesis, self.signer, self.nonce, &self.call)))
    }

    /// Whether the signer signed exactly this for the chain that starts with `genesis`.
    pub fn is_authentic(&self, genesis: BlockHash) -> bool {
        keys::verify(&self.id(genesis).0, &self.signature, self.signer)
    }

    /// Whether the payload fits a block; cheap even for giant vectors.
    pub fn fits(&self) -> bool {
        let n_bytes = match &self.call {
            Call::SetCommitment { data, .. } => data.len(),
            Call::SetWeights { uids, weights, .. } => {
                uids.len().saturating_add(weights.len()).saturating_mul(2)
            }
            _ => 0,
        };
        n_bytes.saturating_add(128) <= PAYLOAD_BYTES_MAX
    }
}

/// Genesis, signer, nonce and call, in that order.
fn payload(genesis: BlockHash, signer: AccountId, nonce: u64, call: &Call) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend(genesis.0);
    bytes.extend(signer.0);
    bytes.extend(nonce.to_le_bytes());
    encode(call, &mut bytes);
    bytes
}

fn encode(call: &Call, bytes: &mut Vec<u8>) {
    match call {
        Call::BurnedRegister { netuid, hotkey } => {
            bytes.push(0);
            bytes.extend(netuid.0.to_le_bytes());
            bytes.extend(hotkey.0);
        }
        Call::AddStake { hotkey, amount_rao } => {
            bytes.push(1);
            bytes.extend(hotkey.0);
            bytes.extend(amount_rao.to_le_bytes());
        }
        Call::RemoveStake { hotkey, amount_rao } => {
            bytes.push(2);
            bytes.extend(hotkey.0);
            bytes.extend(amount_rao.to_le_bytes());
        }
        Call::Transfer { to, amount_rao } => {
            bytes.push(3);
            bytes.extend(to.0);
            bytes.extend(amount_rao.to_le_bytes());
        }
        Call::RegisterNetwork => bytes.push(4),
        Call::SetCommitment { netuid, data } => {
            bytes.push(5);
            bytes.extend(netuid.0.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            bytes.extend(data);
        }
        Call::SetWeights { netuid, uids, weights, version_key } => {
            bytes.push(6);
            bytes.extend(netuid.0.to_le_bytes());
            bytes.extend((uids.len() as u64).to_le_bytes());
            bytes.extend(uids.iter().flat_map(|uid| uid.0.to_le_bytes()));
            bytes.extend((weights.len() as u64).to_le_bytes());
            bytes.extend(weights.iter().flat_map(|weight| weight.to_le_bytes()));
            bytes.extend(version_key.to_le_bytes());
        }
    }
}

/// A hash over fields of fixed width and counted lists.
pub(crate) struct Hasher(Blake2b<U32>);

impl Hasher {
    pub(crate) fn new(domain: &str) -> Self {
        Self(Blake2b::new_with_prefix(domain))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn numbers<const N: usize>(&mut self, numbers: [u64; N]) -> &mut Self {
        numbers.iter().for_each(|number| self.0.update(number.to_le_bytes()));
        self
    }

    /// The length of the list that follows.
    pub(crate) fn count(&mut self, len: usize) -> &mut Self {
        self.0.update((len as u64).to_le_bytes());
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{NetUid, Seed, Uid};
    use std::collections::BTreeSet;

    const GENESIS: BlockHash = BlockHash([7; 32]);

    fn weigh(uids: &[u16], weights: &[u16]) -> Call {
        let uids = uids.iter().copied().map(Uid).collect();
        Call::SetWeights { netuid: NetUid(1), uids, weights: weights.to_vec(), version_key: 0 }
    }

    fn calls() -> Vec<Call> {
        let key = AccountId([1; 32]);
        let netuid = NetUid(1);
        vec![
            Call::BurnedRegister { netuid, hotkey: key },
            Call::AddStake { hotkey: key, amount_rao: 5 },
            Call::RemoveStake { hotkey: key, amount_rao: 5 },
            Call::Transfer { to: key, amount_rao: 5 },
            Call::RegisterNetwork,
            Call::SetCommitment { netuid, data: b"x".to_vec() },
            Call::SetCommitment { netuid, data: b"x\0".to_vec() },
            weigh(&[1, 2], &[3]),
            weigh(&[1], &[2, 3]),
            weigh(&[1], &[2]),
        ]
    }

    #[test]
    fn no_two_calls_signers_nonces_or_chains_share_a_name() {
        let mut names = BTreeSet::new();
        for call in calls() {
            for nonce in [0, 1] {
                for number in [1, 2] {
                    let keys = Keypair::from_seed(Seed::of_number(number));
                    for genesis in [GENESIS, BlockHash([8; 32])] {
                        let signed = SignedCall::sign(call.clone(), nonce, genesis, &keys);
                        assert!(signed.is_authentic(genesis));
                        assert!(names.insert(signed.id(genesis)), "{call:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_and_signatures_of_calls_are_frozen() {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let mut all = Hasher::new("frozen");
        for call in calls() {
            let signed = SignedCall::sign(call, 3, GENESIS, &keys);
            all.bytes(&signed.id(GENESIS).0).bytes(&signed.signature.0);
        }
        let hex: String = all.finish()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "05c6f90bfa897aac");
    }
}
