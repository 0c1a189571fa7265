//! Encryption of keyfiles as libsodium has it: a key from a password, and a secretbox.
//!
//! ```text
//! $NACL  24 bytes of nonce  16 bytes of tag  the text, encrypted
//! ```

use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::{AeadInPlace as _, KeyInit as _, XSalsa20Poly1305};
use rand_core_06::{OsRng, RngCore as _};
use zeroize::{Zeroize as _, Zeroizing};

/// What every file begins with.
const MAGIC: [u8; 5] = *b"$NACL";

/// All files share it: btwallet has it as a constant. So must everybody who reads its files.
const SALT: [u8; 16] = [
    0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1,
];

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What it costs to try a password.
#[derive(Clone, Copy)]
struct Cost {
    passes: u32,
    memory_kib: u32,
}

/// `OPSLIMIT_SENSITIVE` and `MEMLIMIT_SENSITIVE` of libsodium's argon2i: seconds, and 512 MiB.
const SENSITIVE: Cost = Cost { passes: 8, memory_kib: 512 << 10 };

/// Why bytes could not be encrypted or decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The password is wrong, or the bytes were changed: nobody can tell which.
    WrongPassword,
    /// The end is missing.
    CutShort,
    /// So many bytes of memory could not be had.
    Memory(usize),
    /// There was no randomness; what the operating system says.
    Randomness(String),
}

/// Whether bytes are encrypted in this way.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The name of the older way in which bytes are encrypted, if they are.
pub(super) fn legacy_format(bytes: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], _); 2] = [(b"$ANSIBLE_VAULT", "Ansible Vault"), (b"gAAAAA", "Fernet")];
    formats.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name)
}

/// Encrypts `plain` with a password; takes seconds.
pub(super) fn seal(plain: &[u8], password: &str) -> Result<Vec<u8>, Fault> {
    seal_at(SENSITIVE, plain, password)
}

/// Decrypts what [`seal`] made; takes seconds.
pub(super) fn open(sealed: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    open_at(SENSITIVE, sealed, password)
}

fn seal_at(cost: Cost, plain: &[u8], password: &str) -> Result<Vec<u8>, Fault> {
    let mut nonce = [0; NONCE_BYTES];
    OsRng.try_fill_bytes(&mut nonce).map_err(|error| Fault::Randomness(error.to_string()))?;
    let cipher = cipher(cost, password)?;
    let mut text = Zeroizing::new(plain.to_vec());
    let tag = cipher
        .encrypt_in_place_detached(&nonce.into(), b"", &mut text)
        .expect("a secretbox without associated data takes any text");
    Ok([&MAGIC[..], &nonce, &tag, &text].concat())
}

fn open_at(cost: Cost, sealed: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let rest = sealed.get(MAGIC.len()..).ok_or(Fault::CutShort)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Fault::CutShort)?;
    let (tag, text) = rest.split_first_chunk::<TAG_BYTES>().ok_or(Fault::CutShort)?;
    let mut text = Zeroizing::new(text.to_vec());
    cipher(cost, password)?
        .decrypt_in_place_detached(nonce.into(), b"", &mut text, tag.into())
        .map_err(|_| Fault::WrongPassword)?;
    Ok(text)
}

fn cipher(cost: Cost, password: &str) -> Result<XSalsa20Poly1305, Fault> {
    let n_blocks = cost.memory_kib as usize;
    let memory = Fault::Memory(n_blocks * Block::SIZE);
    let mut blocks: Vec<Block> = Vec::new();
    // The usual allocation would end the program if there is too little.
    if blocks.try_reserve_exact(n_blocks).is_err() {
        return Err(memory);
    }
    blocks.resize(n_blocks, Block::new());
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32))
        .expect("the two costs of this file are within argon2's limits");
    let mut key = Zeroizing::new([0; 32]);
    let hashed = Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), &SALT, &mut *key, &mut blocks);
    blocks.zeroize();
    // Only a password of 4 GiB is refused; none such was ever set.
    hashed.map_err(|_| Fault::WrongPassword)?;
    Ok(XSalsa20Poly1305::new((&*key).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { passes: 1, memory_kib: 8 };

    #[test]
    fn what_was_sealed_opens_with_its_password_only() {
        let sealed = seal_at(CHEAP, b"text", "password").unwrap();
        assert!(is_sealed(&sealed));
        assert_eq!(sealed.len(), 5 + 24 + 16 + 4);
        assert_eq!(**open_at(CHEAP, &sealed, "password").unwrap(), *b"text");
        for wrong in ["", "passwor", "password ", "Password"] {
            assert_eq!(open_at(CHEAP, &sealed, wrong), Err(Fault::WrongPassword), "{wrong}");
        }
    }

    #[test]
    fn the_same_text_never_gives_the_same_bytes() {
        let seal = || seal_at(CHEAP, b"text", "password").unwrap();
        assert_ne!(seal()[5..29], seal()[5..29], "a nonce must not serve two texts");
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let sealed = seal_at(CHEAP, b"text", "password").unwrap();
        for i in MAGIC.len()..sealed.len() {
            let mut bent = sealed.clone();
            bent[i] ^= 1;
            assert_eq!(open_at(CHEAP, &bent, "password"), Err(Fault::WrongPassword), "byte {i}");
        }
        for n_bytes in 0..sealed.len() {
            let cut = open_at(CHEAP, &sealed[..n_bytes], "password");
            let expected = if n_bytes < 45 { Fault::CutShort } else { Fault::WrongPassword };
            assert_eq!(cut, Err(expected), "{n_bytes} bytes");
        }
    }

    /// PyNaCl 1.6.2, which is libsodium, made it: `argon2i.kdf` with `opslimit` 3 and `memlimit`
    /// 8192, and a `SecretBox`. The costs of keyfiles are tested with a file of btwallet.
    #[test]
    fn a_box_of_libsodium_opens() {
        let sealed = "244e41434c000102030405060708090a0b0c0d0e0f1011121314151617\
                      adca1d0a977fa8dcad2bd2d385d6516ae1d82278";
        let cost = Cost { passes: 3, memory_kib: 8 };
        let text = open_at(cost, &hex::decode(sealed).unwrap(), "pässword").unwrap();
        assert_eq!(**text, *b"text");
    }

    #[test]
    fn older_ways_to_encrypt_are_told_apart() {
        assert_eq!(legacy_format(b"$ANSIBLE_VAULT;1.1;AES256\n"), Some("Ansible Vault"));
        assert_eq!(legacy_format(b"gAAAAABk"), Some("Fernet"));
        assert_eq!(legacy_format(b"$NACL"), None);
        assert_eq!(legacy_format(b"{}"), None);
    }
}
