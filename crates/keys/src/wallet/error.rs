//! What can go wrong with wallets on disk, each with the path it is about and how to mend it.

use crate::KeyError;
use std::{
    io,
    path::{Path, PathBuf},
};

/// A wallet could not be read or written; no message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The name of a wallet or a hotkey is no name of a file.
    #[error("`{name}` cannot be the name of a {what}: {why}; choose another name")]
    Name {
        /// Whose name, `wallet` or `hotkey`.
        what: &'static str,
        /// The name, without its control characters.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no folder of wallets.
    #[error("there are no wallets in `{path}`: create one there, or name another folder")]
    NoFolder {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no such key.
    #[error("there is no key at `{path}`: check the names and the folder of wallets")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A key is there already, and nobody asked to replace it.
    #[error(
        "`{path}` is there already and was left as it is: choose another name, or save a copy \
         of its phrase and overwrite it"
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// What should be a file is a folder, a pipe or the like.
    #[error("`{path}` is not a file: move it out of the way")]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// A file is larger than any key.
    #[error("`{path}` is larger than the {bytes_max} bytes of any key: check whether it is one")]
    TooLarge {
        /// Where.
        path: PathBuf,
        /// The most that is read.
        bytes_max: u64,
    },
    /// A file does not read as one of a wallet.
    #[error("`{path}` is no key of a wallet ({what}): restore it from its phrase")]
    Malformed {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The secret in a file is none.
    #[error("the secret in `{path}` cannot be used: restore the key from its phrase")]
    Secret {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The secret in a file is that of another account than the file says.
    #[error(
        "`{path}` says it is the key of {stored}, but its secret is that of {derived}: restore \
         it from its phrase"
    )]
    AddressMismatch {
        /// Where.
        path: PathBuf,
        /// The account that stands in it.
        stored: protocol::AccountId,
        /// The account that the secret belongs to.
        derived: protocol::AccountId,
    },
    /// The key is of a kind that signs nothing here.
    #[error(
        "`{path}` is not usable: it is a key of type {crypto_type}, and only sr25519, type 1, is"
    )]
    CryptoType {
        /// Where.
        path: PathBuf,
        /// What the file says.
        crypto_type: String,
        /// Its address, if it stands in the file.
        address: Option<protocol::AccountId>,
    },
    /// A file has an address but no secret.
    #[error(
        "`{path}` has an address but no secret, so it can sign nothing: restore the key from \
         its phrase"
    )]
    PublicOnly {
        /// Where.
        path: PathBuf,
    },
    /// The address of an encrypted key stands nowhere else.
    #[error(
        "`{path}` is encrypted and `{public}` is missing: restore it with `btcli wallet \
         regen-coldkeypub` or `regen-hotkeypub`"
    )]
    AddressUnknown {
        /// The key.
        path: PathBuf,
        /// Where its address should stand.
        public: PathBuf,
    },
    /// A file is encrypted in a way that was given up long ago.
    #[error(
        "`{path}` is encrypted the old way ({format}): convert it with btcli, or restore it \
         from its phrase"
    )]
    Legacy {
        /// Where.
        path: PathBuf,
        /// Which way.
        format: &'static str,
    },
    /// A key is encrypted and nobody gave a password.
    #[error("`{path}` is encrypted, and nobody gave its password")]
    PasswordNeeded {
        /// Where.
        path: PathBuf,
    },
    /// A password that encrypts nothing was given for a new key.
    #[error(
        "`{path}` cannot be encrypted with an empty password: choose one, or leave the key \
         plain"
    )]
    PasswordEmpty {
        /// Where.
        path: PathBuf,
    },
    /// The password does not open the file, or the file was changed.
    #[error(
        "wrong password for `{path}`: try again; if you are sure of it, the file is damaged, \
         and the phrase restores it"
    )]
    WrongPassword {
        /// Where.
        path: PathBuf,
    },
    /// The password in the environment does not open the file.
    #[error("the password in {variable} is wrong for `{path}`: correct or unset the variable")]
    WrongVariable {
        /// Where.
        path: PathBuf,
        /// The variable.
        variable: String,
    },
    /// The environment holds something that btwallet would not have written there.
    #[error(
        "{variable}, for `{path}`, is not base64 of a scrambled password: set it with btwallet, \
         or unset it"
    )]
    VariableMalformed {
        /// Where.
        path: PathBuf,
        /// The variable.
        variable: String,
    },
    /// There is not enough memory for a password.
    #[error(
        "a password for `{path}` needs {n_bytes} bytes of memory, and they are not there: free \
         some"
    )]
    Memory {
        /// Where.
        path: PathBuf,
        /// How much is needed.
        n_bytes: usize,
    },
    /// There is no randomness to encrypt with.
    #[error("`{path}` was not written, because the operating system gave no randomness: {text}")]
    Randomness {
        /// Where.
        path: PathBuf,
        /// What the system says.
        text: String,
    },
    /// The operating system refused something else.
    #[error("cannot {doing} `{path}`: check the disk, and who owns it and may use it")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WalletError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    pub(super) fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }
}
