//! Bittensor's wallets on disk: what `btcli` and btwallet write is read here, and the other way.
//!
//! ```text
//! <root>/<name>/coldkey                owns; usually encrypted with a password
//! <root>/<name>/coldkeypub.txt         its address
//! <root>/<name>/hotkeys/<hotkey>       works; usually plain
//! <root>/<name>/hotkeys/<hotkey>pub.txt  its address, since btwallet 4.1
//! ```
//!
//! Files are for their owner only, are written whole or not at all, and never replace others
//! unless [`Existing::Overwrite`] was asked for.

mod disk;
mod error;
mod keyfile;
mod nacl;

#[cfg(test)]
mod tests;

pub use error::WalletError;

use crate::{Keypair, Phrase};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use protocol::AccountId;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Name of a wallet, and of a hotkey, when none is given.
pub const DEFAULT_NAME: &str = "default";

/// What the name of a file with an address ends with.
const PUBLIC: &str = "pub.txt";

/// A coldkey and one of its hotkeys, as files below a folder of wallets; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    root: PathBuf,
    name: String,
    hotkey: String,
}

/// What to do when a key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Keep,
    /// Replace it; without its phrase it is lost.
    Overwrite,
}

/// Where the password of an encrypted key comes from; not asked for when the key is plain.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// This one.
    Given(&'a str),
    /// The environment, as btwallet has it ([`password_variable`]); if nothing is set there, a
    /// person. `None` from both means that nobody could be asked.
    Ask {
        /// Gives the value of a variable.
        environment: &'a dyn Fn(&str) -> Option<String>,
        /// Asks for the password of the key at a path.
        person: &'a dyn Fn(&Path) -> Option<Zeroizing<String>>,
    },
}

/// A wallet that [`list`] found.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Address of its coldkey, or why it cannot be read.
    pub coldkey: Result<AccountId, WalletError>,
    /// Its hotkeys in the order of their names, or why they cannot be listed.
    pub hotkeys: Result<Vec<ListedHotkey>, WalletError>,
}

/// A hotkey that [`list`] found.
#[derive(Debug)]
pub struct ListedHotkey {
    /// Its name.
    pub name: String,
    /// Its address, or why it cannot be read.
    pub address: Result<AccountId, WalletError>,
}

impl Wallet {
    /// The wallet `name` with its hotkey `hotkey` below the folder `root`; nothing need be there.
    pub fn new(root: &Path, name: &str, hotkey: &str) -> Result<Self, WalletError> {
        check_name("wallet", name)?;
        check_name("hotkey", hotkey)?;
        Ok(Self { root: root.to_owned(), name: name.to_owned(), hotkey: hotkey.to_owned() })
    }

    /// Where the coldkey is.
    pub fn coldkey_path(&self) -> PathBuf {
        self.folder().join("coldkey")
    }

    /// Where the hotkey is.
    pub fn hotkey_path(&self) -> PathBuf {
        self.hotkeys_folder().join(&self.hotkey)
    }

    /// Writes a coldkey and its address; with a password it is encrypted, which takes seconds.
    pub fn create_coldkey(
        &self,
        phrase: &Phrase,
        password: Option<&str>,
        existing: Existing,
    ) -> Result<AccountId, WalletError> {
        create(&self.coldkey_path(), phrase, password, existing)
    }

    /// Writes a hotkey and its address; with a password it is encrypted, which takes seconds.
    pub fn create_hotkey(
        &self,
        phrase: &Phrase,
        password: Option<&str>,
        existing: Existing,
    ) -> Result<AccountId, WalletError> {
        create(&self.hotkey_path(), phrase, password, existing)
    }

    /// The key pair of the coldkey; decrypting it takes seconds and 512 MiB of memory.
    pub fn load_coldkey(&self, password: Password<'_>) -> Result<Keypair, WalletError> {
        load(&self.coldkey_path(), password)
    }

    /// The key pair of the hotkey; if it is encrypted, this takes as much as for a coldkey.
    pub fn load_hotkey(&self, password: Password<'_>) -> Result<Keypair, WalletError> {
        load(&self.hotkey_path(), password)
    }

    /// The address of the coldkey, for which no password is needed.
    pub fn coldkey_address(&self) -> Result<AccountId, WalletError> {
        let path = self.coldkey_path();
        let public = public_path(&path);
        match disk::read(&public) {
            Ok(json) => keyfile::address(&json, &public),
            Err(WalletError::Missing { .. }) => {
                plain_address(&path)?.ok_or(WalletError::AddressUnknown { path, public })
            }
            Err(other) => Err(other),
        }
    }

    /// The address of the hotkey, for which no password is needed.
    pub fn hotkey_address(&self) -> Result<AccountId, WalletError> {
        let path = self.hotkey_path();
        let public = public_path(&path);
        // The key comes first: btwallet may replace it and leave the address of the one before.
        let missing = match plain_address(&path) {
            Ok(Some(address)) => return Ok(address),
            Ok(None) => WalletError::AddressUnknown { path, public: public.clone() },
            Err(missing @ WalletError::Missing { .. }) => missing,
            Err(other) => return Err(other),
        };
        match disk::read(&public) {
            Ok(json) => keyfile::address(&json, &public),
            Err(WalletError::Missing { .. }) => Err(missing),
            Err(other) => Err(other),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    fn hotkeys_folder(&self) -> PathBuf {
        self.folder().join("hotkeys")
    }
}

/// All wallets below a folder, in the order of their names.
///
/// What cannot be read is in the list with its error; hidden files and plain files are not.
pub fn list(root: &Path) -> Result<Vec<Listed>, WalletError> {
    if !root.is_dir() {
        return Err(WalletError::NoFolder { path: root.to_owned() });
    }
    let mut wallets = Vec::new();
    for name in disk::names(root)? {
        if root.join(&name).is_dir() {
            let wallet = Wallet { root: root.to_owned(), name, hotkey: DEFAULT_NAME.to_owned() };
            wallets.push(Listed {
                coldkey: wallet.coldkey_address(),
                hotkeys: list_hotkeys(&wallet),
                name: wallet.name,
            });
        }
    }
    Ok(wallets)
}

fn list_hotkeys(wallet: &Wallet) -> Result<Vec<ListedHotkey>, WalletError> {
    let folder = wallet.hotkeys_folder();
    if !folder.exists() {
        return Ok(Vec::new());
    }
    // A hotkey whose secret is on another machine may have left its address here.
    let names = disk::names(&folder)?;
    let names = names.iter().map(|name| name.strip_suffix(PUBLIC).unwrap_or(name));
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let listed = names.into_iter().map(|name| {
        let wallet = Wallet { hotkey: name.to_owned(), ..wallet.clone() };
        ListedHotkey { address: wallet.hotkey_address(), name: wallet.hotkey }
    });
    Ok(listed.collect())
}

/// The variable in which btwallet looks for the password of the key at `path`.
///
/// Its value is base64 of the password, each byte of which is combined by exclusive or with a byte
/// of the variable's name. That hides it from a glance and from nobody else.
pub fn password_variable(path: &Path) -> String {
    format!("BT_PW_{}", path.to_string_lossy().replace(['/', '.'], "_").to_uppercase())
}

fn check_name(what: &'static str, name: &str) -> Result<(), WalletError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.contains(['/', '\\']) {
        "it has a slash in it"
    } else if name.contains(char::is_control) {
        "it has a control character in it"
    } else if name.ends_with(PUBLIC) {
        "files with addresses end like that"
    } else {
        return Ok(());
    };
    let name = name.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Err(WalletError::Name { what, name, why })
}

fn public_path(path: &Path) -> PathBuf {
    let mut public = path.as_os_str().to_owned();
    public.push(PUBLIC);
    public.into()
}

fn create(
    path: &Path,
    phrase: &Phrase,
    password: Option<&str>,
    existing: Existing,
) -> Result<AccountId, WalletError> {
    let public = public_path(path);
    disk::check_free(path, existing)?;
    disk::check_free(&public, existing)?;
    let account = Keypair::from_phrase(phrase, "").public();
    let json = keyfile::encode(phrase);
    let bytes = match password {
        None => json,
        Some("") => return Err(WalletError::PasswordEmpty { path: path.to_owned() }),
        Some(password) => {
            let sealed = nacl::seal(&json, password).map_err(|fault| refusal(fault, path))?;
            Zeroizing::new(sealed)
        }
    };
    // Wherever a crash comes, no address is left beside a key that it does not belong to.
    if existing == Existing::Overwrite {
        disk::remove(&public)?;
    }
    disk::write(path, &bytes, existing)?;
    disk::write(&public, &keyfile::encode_public(account), existing)?;
    Ok(account)
}

fn load(path: &Path, password: Password<'_>) -> Result<Keypair, WalletError> {
    let bytes = disk::read(path)?;
    if !is_encrypted(&bytes, path)? {
        return keyfile::keypair(&bytes, path);
    }
    let (password, variable) = password.find(path)?;
    let json = nacl::open(&bytes, &password).map_err(|fault| match (fault, variable) {
        (nacl::Fault::WrongPassword, Some(variable)) => {
            WalletError::WrongVariable { path: path.to_owned(), variable }
        }
        (fault, _) => refusal(fault, path),
    })?;
    keyfile::keypair(&json, path)
}

/// The address in a key, unless it is encrypted.
fn plain_address(path: &Path) -> Result<Option<AccountId>, WalletError> {
    let bytes = disk::read(path)?;
    if nacl::is_sealed(&bytes) || nacl::legacy_format(&bytes).is_some() {
        return Ok(None);
    }
    keyfile::address(&bytes, path).map(Some)
}

/// Whether a keyfile is encrypted in the one way that can be decrypted.
fn is_encrypted(bytes: &[u8], path: &Path) -> Result<bool, WalletError> {
    match nacl::legacy_format(bytes) {
        Some(format) => Err(WalletError::Legacy { path: path.to_owned(), format }),
        None => Ok(nacl::is_sealed(bytes)),
    }
}

fn refusal(fault: nacl::Fault, path: &Path) -> WalletError {
    let path = path.to_owned();
    match fault {
        nacl::Fault::WrongPassword => WalletError::WrongPassword { path },
        nacl::Fault::CutShort => WalletError::malformed(&path, "its end is missing"),
        nacl::Fault::Memory(n_bytes) => WalletError::Memory { path, n_bytes },
        nacl::Fault::Randomness(text) => WalletError::Randomness { path, text },
    }
}

impl Password<'_> {
    /// The password, and the variable if it comes from one.
    fn find(self, path: &Path) -> Result<(Zeroizing<String>, Option<String>), WalletError> {
        let (environment, person) = match self {
            Self::Given(password) => return Ok((Zeroizing::new(password.to_owned()), None)),
            Self::Ask { environment, person } => (environment, person),
        };
        let variable = password_variable(path);
        let path = path.to_owned();
        if let Some(value) = environment(&variable).map(Zeroizing::new) {
            return match unscramble(&value, &variable) {
                Some(password) => Ok((password, Some(variable))),
                None => Err(WalletError::VariableMalformed { path, variable }),
            };
        }
        match person(&path) {
            Some(password) => Ok((password, None)),
            None => Err(WalletError::PasswordNeeded { path }),
        }
    }
}

fn unscramble(value: &str, variable: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(BASE64_STANDARD.decode(value.trim()).ok()?);
    for (byte, mask) in bytes.iter_mut().zip(variable.bytes().cycle()) {
        *byte ^= mask;
    }
    str::from_utf8(&bytes).ok().map(|password| Zeroizing::new(password.to_owned()))
}
