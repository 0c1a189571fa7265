//! The JSON of a keyfile, with the fields that btwallet writes and reads.

use super::WalletError;
use crate::{KeyError, Keypair, Phrase, parse_seed};
use protocol::AccountId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use zeroize::Zeroizing;

/// What btwallet calls sr25519.
const SR25519: u64 = 1;

/// Room for the longest keyfile: three secrets, three public keys and the names of the fields.
const JSON_BYTES_MAX: usize = 1024;

/// All fields that matter; what else a file has is passed over.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_phrase: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ss58_address: Option<String>,
    // A number, except that some tools wrote it as a text.
    #[serde(skip_serializing_if = "Value::is_null")]
    crypto_type: Value,
}

/// The JSON of a key with its secret.
pub(super) fn encode(phrase: &Phrase) -> Zeroizing<Vec<u8>> {
    let keys = Keypair::from_phrase(phrase, "");
    to_json(&Fields {
        private_key: Some(hex(&*keys.secret_bytes())),
        secret_phrase: Some(phrase.words()),
        secret_seed: Some(hex(&*phrase.mini_secret(""))),
        ..public_fields(keys.public())
    })
}

/// The JSON of a key without its secret.
pub(super) fn encode_public(account: AccountId) -> Zeroizing<Vec<u8>> {
    to_json(&public_fields(account))
}

/// The key pair in a keyfile, from the first secret that is there: phrase, seed, private key.
pub(super) fn keypair(json: &[u8], path: &Path) -> Result<Keypair, WalletError> {
    let fields = parse(json, path)?;
    let Some(keys) = secret(&fields) else {
        return Err(match fields.ss58_address {
            Some(_) => WalletError::PublicOnly { path: path.to_owned() },
            None => WalletError::malformed(path, "it has neither a secret nor an address"),
        });
    };
    let keys = keys.map_err(|source| WalletError::Secret { path: path.to_owned(), source })?;
    let derived = keys.public();
    match fields.ss58_address {
        None => Ok(keys),
        Some(text) => match parse_address(&text, path)? {
            stored if stored == derived => Ok(keys),
            stored => Err(WalletError::AddressMismatch { path: path.to_owned(), stored, derived }),
        },
    }
}

/// The address that stands in a keyfile, with or without a secret.
pub(super) fn address(json: &[u8], path: &Path) -> Result<AccountId, WalletError> {
    match parse(json, path)?.ss58_address {
        Some(text) => parse_address(&text, path),
        None => Err(WalletError::malformed(path, "it has no ss58Address")),
    }
}

fn parse(json: &[u8], path: &Path) -> Result<Fields, WalletError> {
    // What the parser says beyond the place may quote a secret.
    let fields: Fields = serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        WalletError::malformed(path, format!("no JSON of a key, line {line} column {column}"))
    })?;
    let is_sr25519 = match &fields.crypto_type {
        Value::Null => true,
        Value::Number(number) => number.as_u64() == Some(SR25519),
        Value::String(text) => text.trim().parse() == Ok(SR25519),
        _ => false,
    };
    if is_sr25519 {
        return Ok(fields);
    }
    let crypto_type = fields.crypto_type.to_string().chars().take(20).collect();
    let address = fields.ss58_address.and_then(|text| text.parse().ok());
    Err(WalletError::CryptoType { path: path.to_owned(), crypto_type, address })
}

fn secret(fields: &Fields) -> Option<Result<Keypair, KeyError>> {
    if let Some(words) = &fields.secret_phrase {
        return Some(words.parse().map(|phrase| Keypair::from_phrase(&phrase, "")));
    }
    if let Some(seed) = &fields.secret_seed {
        let seed = parse_seed(without_0x(seed));
        return Some(seed.map(|seed| Keypair::from_mini_secret(*seed)));
    }
    let digits = fields.private_key.as_ref()?;
    let mut bytes = Zeroizing::new([0; 64]);
    let decoded = hex::decode_to_slice(without_0x(digits), &mut *bytes);
    Some(decoded.map_err(|_| KeyError::Secret).and_then(|()| Keypair::from_secret_bytes(&bytes)))
}

fn public_fields(account: AccountId) -> Fields {
    let public = format!("0x{}", hex::encode(account.0));
    Fields {
        account_id: Some(public.clone()),
        public_key: Some(public),
        ss58_address: Some(account.to_string()),
        crypto_type: SR25519.into(),
        ..Fields::default()
    }
}

fn to_json(fields: &Fields) -> Zeroizing<Vec<u8>> {
    // With room for all of it from the start, growing leaves no copies behind in memory.
    let mut json = Zeroizing::new(Vec::with_capacity(JSON_BYTES_MAX));
    serde_json::to_writer(&mut *json, fields).expect("texts and a number can be written to memory");
    json
}

fn parse_address(text: &str, path: &Path) -> Result<AccountId, WalletError> {
    text.parse().map_err(|_| WalletError::malformed(path, "its ss58Address is no address"))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(hex::encode(bytes));
    Zeroizing::new(["0x", &digits].concat())
}

fn without_0x(digits: &str) -> &str {
    digits.strip_prefix("0x").unwrap_or(digits)
}
