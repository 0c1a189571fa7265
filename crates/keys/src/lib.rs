//! Key pairs that sign calls: sr25519, as Substrate has it.
//!
//! A key comes from a seed, from a [`Phrase`] of words, or from a secret URI such as `//Alice`; it
//! is kept in a [`Wallet`].

mod derive;
pub mod wallet;

pub(crate) use derive::parse_seed;
pub use derive::{KeyError, Phrase};
pub use wallet::{Wallet, WalletError};

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use protocol::{AccountId, Seed};
use rand_core_06::{CryptoRng, RngCore};
use schnorrkel::{ExpansionMode, MiniSecretKey, PublicKey, context::attach_rng, signing_context};
use std::{fmt, str::FromStr};
use zeroize::{Zeroize as _, Zeroizing};

/// Context under which Substrate signs.
const CONTEXT: &[u8] = b"substrate";

/// A secret key with its account. The secret is wiped from memory on drop and never printed.
#[derive(Clone)]
pub struct Keypair(schnorrkel::Keypair);

/// An sr25519 signature; written as 128 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// The text is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signature: expected 128 hexadecimal digits in lower case")]
pub struct NotASignature;

impl Keypair {
    /// The key pair of a mini secret, expanded as Substrate's wallets do.
    pub fn from_mini_secret(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let mini = MiniSecretKey::from_bytes(&*secret).expect("any 32 bytes are a mini secret");
        Self(mini.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// The key pair of a seed, for networks that live and die with a test or a demo.
    ///
    /// Whoever knows the seed owns the key: never use it where anything is worth something.
    pub fn from_seed(seed: Seed) -> Self {
        Self::from_mini_secret(seed.derive("keypair").0)
    }

    /// The key pair of a phrase and its password, which is empty unless one was chosen.
    pub fn from_phrase(phrase: &Phrase, password: &str) -> Self {
        Self::from_mini_secret(*phrase.mini_secret(password))
    }

    /// The key pair of a secret URI, `phrase//hard/soft///password`; every part may be left out.
    ///
    /// Without a phrase it is the public one of development, so that `//Alice` is everybody's.
    /// Instead of the phrase a seed may stand, `0x` and 64 hexadecimal digits; a password changes
    /// nothing then, as in Substrate.
    pub fn from_uri(uri: &str) -> Result<Self, KeyError> {
        derive::keypair(uri)
    }

    /// The key pair of a scalar and a nonce key of 32 bytes each, which is what wallets store.
    pub(crate) fn from_secret_bytes(secret: &[u8; 64]) -> Result<Self, KeyError> {
        let secret = schnorrkel::SecretKey::from_bytes(secret).map_err(|_| KeyError::Secret)?;
        Ok(Self(secret.to_keypair()))
    }

    /// The secret, as [`Self::from_secret_bytes`] takes it.
    pub(crate) fn secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.secret.to_bytes())
    }

    /// The account that this key signs for.
    pub fn public(&self) -> AccountId {
        AccountId(self.0.public.to_bytes())
    }

    /// Signs `message`; the same message always gets the same bytes.
    ///
    /// Schnorr signatures leak the secret if two messages share a nonce. Here the nonce is hashed
    /// from the secret nonce key, the public key and the whole message (the transcript), as in
    /// Ed25519: equal only for equal messages, and unknown without the secret. Randomness of the
    /// machine, which the library would mix in besides, is replaced by a hash of the same two
    /// things, so a run can be repeated and a bad random generator can do no harm.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.sign_with(message, &[])
    }

    /// Signs `message` with another signature for each `fresh`.
    ///
    /// Two processes that sign the same call with the same key and nonce then send different bytes,
    /// so an endpoint that knows the bytes knows the call of this process. What is fresh is only
    /// hashed in besides: a bad random generator costs the difference, not the key.
    pub fn sign_afresh(&self, message: &[u8], fresh: &[u8; 32]) -> Signature {
        self.sign_with(message, fresh)
    }

    /// 32 secret bytes that follow from this key, `purpose` and `context`: the same each time, and
    /// nobody's to guess who has not the key.
    pub fn secret_for(&self, purpose: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let secret = self.secret_bytes();
        let hash = Blake2b::<U32>::new()
            .chain_update(b"agon secret for ")
            .chain_update((purpose.len() as u64).to_le_bytes())
            .chain_update(purpose)
            .chain_update(*secret)
            .chain_update(context);
        Zeroizing::new(hash.finalize().into())
    }

    fn sign_with(&self, message: &[u8], fresh: &[u8]) -> Signature {
        let transcript = signing_context(CONTEXT).bytes(message);
        let witness = Witness::new(&self.0.secret, message, fresh);
        Signature(self.0.sign(attach_rng(transcript, witness)).to_bytes())
    }
}

/// Whether `signature` is one of `signer` over `message`.
///
/// Any bytes may be given: what is no point or no signature verifies nothing.
pub fn verify(message: &[u8], signature: &Signature, signer: AccountId) -> bool {
    let (Ok(key), Ok(signature)) =
        (PublicKey::from_bytes(&signer.0), schnorrkel::Signature::from_bytes(&signature.0))
    else {
        return false;
    };
    key.verify_simple(CONTEXT, message, &signature).is_ok()
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.public())
    }
}

impl fmt::Display for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public().fmt(f)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Signature {
    type Err = NotASignature;

    fn from_str(text: &str) -> Result<Self, NotASignature> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotASignature)?;
        let signature = Self(bytes);
        // One text for each signature, so that what holds one has one form, too.
        if signature.to_string() == text { Ok(signature) } else { Err(NotASignature) }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}

/// Bytes that depend on the secret, the message and what was drawn for it, and on nothing else.
struct Witness {
    key: [u8; 32],
    counter: u64,
}

impl Witness {
    fn new(secret: &schnorrkel::SecretKey, message: &[u8], fresh: &[u8]) -> Self {
        let mut secret_bytes = secret.to_bytes();
        let mut hasher = Blake2b::<U32>::new();
        hasher.update(b"agon signing witness");
        hasher.update(secret_bytes);
        hasher.update(message);
        hasher.update(fresh);
        secret_bytes.zeroize();
        Self { key: hasher.finalize().into(), counter: 0 }
    }
}

impl RngCore for Witness {
    fn next_u32(&mut self) -> u32 {
        rand_core_06::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core_06::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(32) {
            let mut hasher = Blake2b::<U32>::new();
            hasher.update(self.key);
            hasher.update(self.counter.to_le_bytes());
            self.counter += 1;
            let block: [u8; 32] = hasher.finalize().into();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Witness {}

impl Drop for Witness {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex32(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn the_mini_secret_of_alice_gives_her_account() {
        let mini = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
        let alice = Keypair::from_mini_secret(hex32(mini));
        assert_eq!(alice.to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn a_message_is_always_signed_with_the_same_bytes_and_another_with_others() {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let again = Keypair::from_seed(Seed::of_number(1));
        assert_eq!(keys.sign(b"a"), again.sign(b"a"));
        let (a, b) = (keys.sign(b"a"), keys.sign(b"b"));
        assert_ne!(a.0[..32], b.0[..32], "a nonce must not serve two messages");
    }

    #[test]
    fn what_is_fresh_makes_another_signature_of_the_same_message() {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let (first, second) = (keys.sign_afresh(b"a", &[1; 32]), keys.sign_afresh(b"a", &[2; 32]));
        assert_ne!(first.0[..32], second.0[..32], "another nonce each time");
        assert!(verify(b"a", &first, keys.public()) && verify(b"a", &second, keys.public()));
    }

    #[test]
    fn only_the_signer_message_and_signature_as_given_verify() {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let other = Keypair::from_seed(Seed::of_number(2));
        let signature = keys.sign(b"message");
        assert!(verify(b"message", &signature, keys.public()));
        assert!(!verify(b"messagf", &signature, keys.public()));
        assert!(!verify(b"message", &signature, other.public()));
        for i in 0..64 {
            let mut bent = signature;
            bent.0[i] ^= 1;
            assert!(!verify(b"message", &bent, keys.public()), "byte {i}");
        }
        for junk in [[0; 64], [0xff; 64]] {
            assert!(!verify(b"message", &Signature(junk), keys.public()));
        }
        assert!(!verify(b"message", &signature, AccountId([0xff; 32])), "not a point");
    }

    #[test]
    fn a_signature_survives_its_own_text_and_has_no_other() {
        let signature = Keypair::from_seed(Seed::of_number(1)).sign(b"message");
        let text = signature.to_string();
        assert_eq!(text.len(), 128);
        assert_eq!(text.parse(), Ok(signature));
        for other in [text.to_uppercase(), format!("0x{text}"), text[1..].to_owned()] {
            assert_eq!(other.parse::<Signature>(), Err(NotASignature), "{other}");
        }
    }

    #[test]
    fn nothing_printed_holds_the_secret() {
        let keys = Keypair::from_seed(Seed::of_number(1));
        let secret = format!("{:02x?}", &keys.0.secret.to_bytes()[..4]);
        let printed = format!("{keys} {keys:?} {:?}", keys.sign(b"x"));
        assert!(!printed.contains(&secret) && !printed.contains("secret"));
        assert_eq!(format!("{keys:?}"), format!("Keypair({})", keys.public()));
    }
}
