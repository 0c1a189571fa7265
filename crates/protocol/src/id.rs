//! Who and where: accounts, uids, blocks, subnets, repos.

use crate::{
    digest::{in_digits, ordered_by_bytes},
    text::shown,
};
use blake2::{Blake2b512, Digest as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use std::{cell::RefCell, collections::HashMap, fmt, str::FromStr, sync::Arc};

/// Slot number of a hotkey on a subnet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Uid(pub u16);

/// Height of the chain.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Block(pub u64);

/// Number of a subnet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NetUid(pub u16);

/// Number of a competition, as it stands in a commitment.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CompetitionId(pub u16);

/// Public key of a hotkey or a coldkey; written as an SS58 address with prefix 42.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId(pub [u8; 32]);

/// Hash of a block; written `0x` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHash(pub [u8; 32]);

ordered_by_bytes!(AccountId, BlockHash);

/// A place on a hub, `owner/name`; both parts match `[A-Za-z0-9][A-Za-z0-9._-]{0,95}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repo(Arc<str>);

/// Content id of a repo on a hub: 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(Arc<str>);

/// A text is not what its type requires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

/// Names what was refused, cut to 80 characters and made fit to be shown.
fn refuse(text: &str, expected: &'static str) -> IdError {
    IdError { text: shown(text, 80), expected }
}

impl Block {
    /// Blocks from `earlier` to `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl AccountId {
    const PREFIX: u8 = 42;

    fn checksum(&self) -> [u8; 2] {
        let mut hasher = Blake2b512::new();
        hasher.update(b"SS58PRE");
        hasher.update([Self::PREFIX]);
        hasher.update(self.0);
        let hash = hasher.finalize();
        [hash[0], hash[1]]
    }
}

/// Accounts and their addresses that a thread keeps: hotkeys and coldkeys of some subnets.
const KNOWN_MAX: usize = 4_096;

/// An SS58 address with prefix 42: 35 bytes are 48 digits of base 58.
type Address = [u8; 48];

/// Addresses that a thread has made or read before: records have the same few hundred again and
/// again, and base 58 with its checksum is slow.
#[derive(Default)]
struct Known {
    addresses: HashMap<AccountId, Address>,
    accounts: HashMap<Address, AccountId>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

impl Known {
    /// Takes an address in; those of strangers without number take no more room than [`KNOWN_MAX`].
    fn learn(&mut self, account: AccountId, address: Address) {
        if self.addresses.len() >= KNOWN_MAX {
            *self = Self::default();
        }
        self.addresses.insert(account, address);
        self.accounts.insert(address, account);
    }
}

impl AccountId {
    /// Its address, made anew.
    fn address(&self) -> Address {
        let mut bytes = [0; 35];
        bytes[0] = Self::PREFIX;
        bytes[1..33].copy_from_slice(&self.0);
        bytes[33..].copy_from_slice(&self.checksum());
        let mut digits = [0; 48];
        let written = bs58::encode(bytes).onto(&mut digits[..]);
        written.expect("35 bytes, the first of them 42, are 48 digits of base 58");
        digits
    }

    /// Its address, in place.
    fn text(&self) -> Address {
        let known = KNOWN.with_borrow(|known| known.addresses.get(self).copied());
        known.unwrap_or_else(|| {
            let address = self.address();
            KNOWN.with_borrow_mut(|known| known.learn(*self, address));
            address
        })
    }

    /// The account of an address, read anew.
    fn of_address(address: &[u8]) -> Option<Self> {
        let mut bytes = [0; 35];
        let n = bs58::decode(address).onto(&mut bytes[..]).ok()?;
        let account = Self(bytes[1..33].try_into().ok()?);
        let is_one = n == 35 && bytes[0] == Self::PREFIX && bytes[33..] == account.checksum();
        is_one.then_some(account)
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || refuse(text, "an SS58 address with prefix 42");
        let address: &Address = text.as_bytes().try_into().map_err(|_| refuse())?;
        if let Some(account) = KNOWN.with_borrow(|known| known.accounts.get(address).copied()) {
            return Ok(account);
        }
        let account = Self::of_address(address).ok_or_else(refuse)?;
        KNOWN.with_borrow_mut(|known| known.learn(account, *address));
        Ok(account)
    }
}

impl BlockHash {
    const PREFIX: &str = "0x";

    /// Its text, in place.
    fn text(&self) -> [u8; 66] {
        in_digits(Self::PREFIX, &self.0)
    }
}

impl FromStr for BlockHash {
    type Err = IdError;

    /// Reads 64 hexadecimal digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix(Self::PREFIX).unwrap_or(text), &mut bytes)
            .map_err(|_| refuse(text, "a block hash of 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

impl Repo {
    /// The text `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Owner and name.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }
}

impl FromStr for Repo {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_part = |part: &str| {
            (1..=96).contains(&part.len())
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) => Ok(Self(text.into())),
            _ => Err(refuse(text, "a repo `owner/name`")),
        }
    }
}

impl Revision {
    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Revision {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 40 && text.bytes().all(is_digit) {
            Ok(Self(text.into()))
        } else {
            Err(refuse(text, "a revision of 40 hexadecimal digits"))
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
as_text!(Repo, Revision);

/// As text where people read it, as 32 bytes in binary formats.
macro_rules! as_text_or_bytes {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    let text = self.text();
                    serializer.serialize_str(std::str::from_utf8(&text).map_err(S::Error::custom)?)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return <[u8; 32]>::deserialize(deserializer).map(Self);
                }
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
as_text_or_bytes!(AccountId, BlockHash);

macro_rules! display_inner {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(Uid, Block, NetUid, CompetitionId, Repo, Revision);

macro_rules! debug_as_text {
    ($($type:ty),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}
debug_as_text!(AccountId, BlockHash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_48_digits_and_the_same_however_often_and_in_whatever_order_they_are_asked_for()
    {
        let accounts: Vec<AccountId> = (0..3 * KNOWN_MAX as u32)
            .map(|number| {
                let mut bytes = [(number % 251) as u8; 32];
                bytes[..4].copy_from_slice(&number.to_le_bytes());
                AccountId(bytes)
            })
            .chain([AccountId([0; 32]), AccountId([255; 32])])
            .collect();
        let address = |account: &AccountId| String::from_utf8(account.address().to_vec());
        for account in accounts.iter().chain(accounts.iter().rev()) {
            let text = account.to_string();
            assert_eq!((text.len(), &text), (48, &address(account).unwrap()));
            assert_eq!(text.parse::<AccountId>().as_ref(), Ok(account));
            assert_eq!(AccountId::of_address(text.as_bytes()).as_ref(), Some(account));
        }
        let n_known = KNOWN.with_borrow(|known| (known.addresses.len(), known.accounts.len()));
        assert!(n_known.0 <= KNOWN_MAX && n_known.0 == n_known.1, "{n_known:?}");
    }

    #[test]
    fn attack_an_address_with_another_digit_is_refused_though_the_true_one_is_known() {
        let text = AccountId([7; 32]).to_string();
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'5' { b'6' } else { b'5' };
            let other = String::from_utf8(other).unwrap();
            assert!(other.parse::<AccountId>().is_err(), "{other}");
        }
        for other in ["", &text[1..], &format!("{text}1"), &format!("1{text}")] {
            assert!(other.parse::<AccountId>().is_err(), "{other}");
        }
    }

    #[test]
    fn ss58_agrees_with_the_dev_account_alice() {
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        let account: AccountId = alice.parse().unwrap();
        assert_eq!(
            hex::encode(account.0),
            "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
        );
        assert_eq!(account.to_string(), alice);
        let typo = alice.replace("Xb", "Xc");
        assert!(typo.parse::<AccountId>().is_err(), "one wrong letter must be noticed");
    }

    #[test]
    fn repos_that_could_leave_their_folder_are_refused() {
        assert!("acme/model-1".parse::<Repo>().is_ok());
        for bad in ["", "acme", "a/b/c", "../x", "a/..", "a/.b", "/a", "a/", "a b/c", "a/b\n"] {
            assert!(bad.parse::<Repo>().is_err(), "{bad:?}");
        }
    }
}
