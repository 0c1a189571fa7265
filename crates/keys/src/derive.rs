//! Phrases and secret URIs: how words, seeds and paths become keys, as in Substrate's `subkey`.

use super::{Keypair, Witness};
use bip39::{Language, Mnemonic};
use blake2::{Blake2b, Digest as _, digest::consts::U32};
use rand_core_06::{OsRng, RngCore as _};
use schnorrkel::{
    ExpansionMode,
    derive::{ChainCode, Derivation as _},
};
use sha2::Sha512;
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// What a secret URI without a phrase starts from; everybody knows it.
const DEVELOPMENT_PHRASE: &str =
    "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

/// Rounds of PBKDF2 between a phrase and its mini secret.
const PBKDF2_ROUNDS: u32 = 2048;

/// Entropy of a new phrase: 16 bytes are 12 words.
const NEW_ENTROPY_BYTES: usize = 16;

/// Room for the longest phrase: 24 words of up to 8 letters, and spaces.
const PHRASE_BYTES_MAX: usize = 24 * 9;

/// Words of BIP39, English, that stand for a key; wiped from memory on drop and never printed.
#[derive(Clone)]
pub struct Phrase(Mnemonic);

/// A phrase, a secret URI or a private key is not what it must be; no message repeats any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There are too many or too few words.
    #[error("a phrase has 12, 15, 18, 21 or 24 words, not {n_words}")]
    WordCount {
        /// How many there are.
        n_words: usize,
    },
    /// A word is none of the list.
    #[error(
        "word {position} of the phrase is not in the English list of BIP39: check its spelling, in lower case"
    )]
    WordUnknown {
        /// Which one, from 1.
        position: usize,
    },
    /// Every word is in the list, but together they are no phrase.
    #[error("the words do not make a phrase: one of them is wrong, or two have changed places")]
    Checksum,
    /// What begins with `0x` is no seed.
    #[error("a seed is `0x` and 64 hexadecimal digits")]
    Seed,
    /// A path has a slash with nothing behind it.
    #[error("part {position} of the path has no name: write `//name` or `/name`")]
    JunctionEmpty {
        /// Which one, from 1.
        position: usize,
    },
    /// A line break or the like stands in a secret URI, where it would give another key unnoticed.
    #[error("a secret URI has a control character in it, perhaps a line break: remove it")]
    ControlCharacter,
    /// The bytes of a private key are none.
    #[error("a private key is `0x` and 128 hexadecimal digits that are an sr25519 key")]
    Secret,
    /// There is no randomness to make a key of.
    #[error("the operating system gave no randomness: {text}")]
    Randomness {
        /// What it says.
        text: String,
    },
}

impl Phrase {
    /// A new phrase of 12 words, from randomness of the operating system.
    pub fn generate() -> Result<Self, KeyError> {
        let mut entropy = Zeroizing::new([0; NEW_ENTROPY_BYTES]);
        OsRng
            .try_fill_bytes(&mut *entropy)
            .map_err(|error| KeyError::Randomness { text: error.to_string() })?;
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &*entropy);
        Ok(Self(mnemonic.map_err(|error| refusal(&error))?))
    }

    /// The words with a space between them.
    pub fn words(&self) -> Zeroizing<String> {
        // With room for all of it from the start, growing leaves no copies behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(PHRASE_BYTES_MAX));
        for word in self.0.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// What the key is expanded from. Unlike BIP39, Substrate hashes the entropy, not the words.
    pub(crate) fn mini_secret(&self, password: &str) -> Zeroizing<[u8; 32]> {
        let (entropy, n_bytes) = self.0.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let salt = Zeroizing::new(["mnemonic", password].concat());
        // The 64 bytes of a BIP39 seed are one block of HMAC-SHA512; its first half is asked for.
        let mut secret = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha512>(
            &entropy[..n_bytes],
            salt.as_bytes(),
            PBKDF2_ROUNDS,
            &mut *secret,
        );
        secret
    }
}

impl FromStr for Phrase {
    type Err = KeyError;

    /// Reads words in lower case with any white space between them.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, text);
        Ok(Self(mnemonic.map_err(|error| refusal(&error))?))
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phrase({} words)", self.0.word_count())
    }
}

fn refusal(error: &bip39::Error) -> KeyError {
    match *error {
        bip39::Error::BadWordCount(n_words) => KeyError::WordCount { n_words },
        bip39::Error::UnknownWord(index) => KeyError::WordUnknown { position: index + 1 },
        // The other two cannot happen: the language is given, and so is the length of entropy.
        _ => KeyError::Checksum,
    }
}

/// One step from a key to another.
enum Junction {
    /// Only the secret key can take this step.
    Hard(ChainCode),
    /// The public key can take this step too.
    Soft(ChainCode),
}

impl Junction {
    fn apply(&self, from: &schnorrkel::Keypair) -> schnorrkel::Keypair {
        match self {
            Self::Hard(code) => {
                let (mini, _) = from.hard_derive_mini_secret_key(Some(*code), b"");
                mini.expand_to_keypair(ExpansionMode::Ed25519)
            }
            Self::Soft(code) => {
                // The nonce key of the new pair is free to choose, but must be secret and
                // independent of what the public key gives away. Made like the nonces of
                // signatures, it lets the same URI sign the same message with the same bytes.
                let witness = Witness::new(&from.secret, &code.0, &[]);
                from.derived_key_simple_rng(*code, b"", witness).0
            }
        }
    }
}

/// The key pair of a secret URI.
pub(super) fn keypair(uri: &str) -> Result<Keypair, KeyError> {
    if uri.chars().any(char::is_control) {
        return Err(KeyError::ControlCharacter);
    }
    let (uri, password) = uri.split_once("///").unwrap_or((uri, ""));
    let (root, path) = uri.split_at(uri.find('/').unwrap_or(uri.len()));
    let junctions = parse_path(path)?;
    let root = match root.strip_prefix("0x") {
        Some(digits) => Keypair::from_mini_secret(*parse_seed(digits)?),
        None if root.is_empty() => Keypair::from_phrase(&DEVELOPMENT_PHRASE.parse()?, password),
        None => Keypair::from_phrase(&root.parse()?, password),
    };
    Ok(Keypair(junctions.iter().fold(root.0, |key, junction| junction.apply(&key))))
}

/// The mini secret behind the `0x` of a seed.
pub(crate) fn parse_seed(digits: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, &mut *seed).map_err(|_| KeyError::Seed)?;
    Ok(seed)
}

fn parse_path(mut path: &str) -> Result<Vec<Junction>, KeyError> {
    let mut junctions = Vec::new();
    while let Some(rest) = path.strip_prefix('/') {
        let (junction, rest): (fn(ChainCode) -> Junction, _) = match rest.strip_prefix('/') {
            Some(rest) => (Junction::Hard, rest),
            None => (Junction::Soft, rest),
        };
        let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if name.is_empty() {
            return Err(KeyError::JunctionEmpty { position: junctions.len() + 1 });
        }
        junctions.push(junction(chain_code(name)));
        path = rest;
    }
    Ok(junctions)
}

/// The 32 bytes of a name: its number or its text in SCALE, filled up with zeros, hashed if longer.
fn chain_code(name: &str) -> ChainCode {
    let encoded = match name.parse::<u64>() {
        Ok(number) => number.to_le_bytes().to_vec(),
        Err(_) => scale(name),
    };
    let mut code = [0; 32];
    match code.get_mut(..encoded.len()) {
        Some(start) => start.copy_from_slice(&encoded),
        None => code = Blake2b::<U32>::digest(&encoded).into(),
    }
    ChainCode(code)
}

/// A text in SCALE: its length in one, two or four bytes, then its own.
fn scale(text: &str) -> Vec<u8> {
    // No command line and no file of keys is longer than four bytes can count.
    let length = (text.len() as u32) << 2;
    let mut bytes = match text.len() {
        ..64 => vec![length as u8],
        64..16_384 => (length as u16 | 1).to_le_bytes().to_vec(),
        _ => (length | 2).to_le_bytes().to_vec(),
    };
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify;

    fn address(uri: &str) -> String {
        Keypair::from_uri(uri).unwrap().to_string()
    }

    #[test]
    fn the_accounts_of_development_are_those_of_substrate() {
        for (uri, expected) in [
            ("//Alice", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
            ("//Bob", "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"),
            ("//Charlie", "5FLSigC9HGRKVhB9FiEo4Y3koPsNmBmLJbpXg2mp1hXcS59Y"),
            ("//Dave", "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy"),
            ("//Eve", "5HGjWAeFDfFCWPsjFQdVV2Msvz2XtMktvgocEZcCj68kUMaw"),
            ("//Ferdie", "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"),
            ("//Alice//stash", "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY"),
        ] {
            assert_eq!(address(uri), expected, "{uri}");
        }
    }

    /// bittensor-wallet 4.1.1 gives these, through `Keypair.create_from_uri`.
    #[test]
    fn paths_and_passwords_give_the_accounts_of_btwallet() {
        for (uri, expected) in [
            ("//Alice/soft///pw", "5Fzyc8Ey4pqDaLZuAoyrk82565rnGwdSj82XtQSRmvCXvUuQ"),
            ("", "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
            ("///", "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
            ("///pässword", "5HQ9EnZJ9HX2mBjMsid4N4hhAnKr7oo98JdN1e5RXTi9qpFP"),
            ("//0", "5D34dL5prEUaGNQtPPZ3yN5Y6BnkfXunKXXz6fo7ZJbLwRRH"),
            ("//1", "5GBNeWRhZc2jXu7D55rBimKYDk8PGk8itRYFTPfC8RJLKG5o"),
            ("/18446744073709551615", "5Eez2BU37kRcodqCcecCf9pu8tc3ztmtKUtqicG85FMJiLMY"),
            ("/18446744073709551616", "5ERGbJ7nHY5HSQc7jyjjaFrDYVNUYNxoD9uGEAERx2mkccj7"),
            ("//polkadot/with a space//42", "5FBzCxYWGvUUvt27cbkWEuo4RUu9GHXcYtVgdR1T3nH9HNLf"),
            (
                "//a name of more than thirty-two bytes in all",
                "5GpBWMFu8hMtjnxLxQsVwXnJNPxEQZMZKz9uEVzNctzFGckU",
            ),
            (
                "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "5D2MzjkJxyvuo4oNt6cqdDXHnJSeMrNdAsBDcLEuK1QUaVXF",
            ),
            (
                "//xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "5FTjSQoXSVixz6qxTdmArc185F91THV2TquMDuee5bCES13o",
            ),
            (
                "/yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
                "5CUp3Nrx1oNAA535iuWJEw2xdC7GfrHu6qDdM3khpL44LUtg",
            ),
            (
                "legal winner thank year wave sausage worth useful legal winner thank yellow",
                "5EHgWw2Af1pnoc7f1A8bfmM97W3DAYW8xr82RfhLL9oAabAe",
            ),
            (
                "legal winner thank year wave sausage worth useful legal winner thank yellow//a/b",
                "5DPiRk99a3pH6XNtHyhuXz2KsK3otmLWa466oeXsD6ZCqsK4",
            ),
            (
                "legal winner thank year wave sausage worth useful legal winner thank yellow//a///top secret",
                "5CLbBdFwHfmskc2b7iA8NcpgE2LFJ9ET9JLN8patLwiz5QDQ",
            ),
            (
                "0x1111111111111111111111111111111111111111111111111111111111111111",
                "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
            ),
            (
                "0x1111111111111111111111111111111111111111111111111111111111111111//a/1///ignored",
                "5G9HCfmzg7HkthaJ1miYau52hUe3mLUyfRKkfFXFeBWikWGm",
            ),
            ("//Alice////slash", "5EjaAuDgrvr8UMsGq44oCd2Kz3iW66LTyjzrcJHf6rDEj96G"),
            ("//+5", "5EFb84yH9tpcFuiKUcsmdoF7xeeY3ajG1ZLQimxQoFt9HMKR"),
            ("//ü", "5H12RMPNAjgdaNoQhwtjAsyMJ4tSTKkFU2TwqCU9zZySaGyc"),
        ] {
            assert_eq!(address(uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_derived_key_signs_and_signs_the_same_each_time() {
        for uri in ["//Alice", "//Alice/soft", "/soft//hard/1///password"] {
            let (keys, again) = (Keypair::from_uri(uri).unwrap(), Keypair::from_uri(uri).unwrap());
            let signature = keys.sign(b"message");
            assert!(verify(b"message", &signature, keys.public()), "{uri}");
            assert_eq!(signature, again.sign(b"message"), "{uri}");
        }
    }

    #[test]
    fn the_secret_bytes_of_a_key_give_it_back() {
        let keys = Keypair::from_uri("//Alice/soft").unwrap();
        let again = Keypair::from_secret_bytes(&keys.secret_bytes()).unwrap();
        assert_eq!(again.public(), keys.public());
        assert_eq!(again.sign(b"x"), keys.sign(b"x"));
        assert_eq!(Keypair::from_secret_bytes(&[0xff; 64]).unwrap_err(), KeyError::Secret);
    }

    #[test]
    fn a_bad_uri_is_refused_with_its_reason() {
        let refused = |uri: &str| Keypair::from_uri(uri).unwrap_err();
        assert_eq!(refused("Alice"), KeyError::WordCount { n_words: 1 });
        assert_eq!(refused("//"), KeyError::JunctionEmpty { position: 1 });
        assert_eq!(refused("//a/b/"), KeyError::JunctionEmpty { position: 3 });
        assert_eq!(refused("//Alice\n"), KeyError::ControlCharacter);
        let seed = "11".repeat(32);
        for bad in ["", "xyz", &seed[1..], &format!("{seed}1"), &format!("{seed}11")] {
            assert_eq!(refused(&format!("0x{bad}//a")), KeyError::Seed, "{bad}");
        }
    }

    #[test]
    fn a_wrong_word_is_named_by_its_position_and_not_repeated() {
        let words: Vec<&str> = DEVELOPMENT_PHRASE.split(' ').collect();
        for position in 1..=words.len() {
            let mut wrong = words.clone();
            wrong[position - 1] = "agony";
            let error = wrong.join(" ").parse::<Phrase>().unwrap_err();
            assert_eq!(error, KeyError::WordUnknown { position });
            let message = error.to_string();
            assert!(message.contains(&format!("word {position} ")), "{message}");
            assert!(!message.contains("agony"), "{message}");
        }
        let mut swapped = words;
        swapped.swap(0, 1);
        assert_eq!(swapped.join(" ").parse::<Phrase>().unwrap_err(), KeyError::Checksum);
    }

    #[test]
    fn white_space_between_the_words_changes_nothing() {
        let spaced = DEVELOPMENT_PHRASE.replace(' ', " \t\n ");
        let phrase: Phrase = format!(" {spaced}\n").parse().unwrap();
        assert_eq!(*phrase.words(), DEVELOPMENT_PHRASE);
    }

    #[test]
    fn phrases_of_every_length_are_read_and_written() {
        for n_bytes in [16, 20, 24, 28, 32] {
            let longest = Mnemonic::from_entropy_in(Language::English, &vec![0x7f; n_bytes]);
            let words = Phrase(longest.unwrap()).words();
            assert_eq!(words.split(' ').count(), n_bytes * 3 / 4);
            assert_eq!(words.capacity(), PHRASE_BYTES_MAX);
            assert_eq!(*words.parse::<Phrase>().unwrap().words(), *words);
        }
    }

    #[test]
    fn new_phrases_have_twelve_words_and_differ() {
        let (a, b) = (Phrase::generate().unwrap(), Phrase::generate().unwrap());
        assert_eq!(a.words().split(' ').count(), 12);
        assert_ne!(*a.words(), *b.words());
        assert_eq!(*a.words().parse::<Phrase>().unwrap().words(), *a.words());
    }

    #[test]
    fn a_phrase_is_never_printed() {
        let phrase: Phrase = DEVELOPMENT_PHRASE.parse().unwrap();
        assert_eq!(format!("{phrase:?}"), "Phrase(12 words)");
    }
}
