//! A record with the signature of the validator that it names.

use crate::Error;
use keys::{Keypair, Signature};
use protocol::{
    Digest, Record,
    record::{RECORD_BYTES_MAX, ReadMeasured, measured_in},
};
use std::ops::Range;

/// Most bytes of a signed record that anybody reads.
pub const SIGNED_BYTES_MAX: usize = RECORD_BYTES_MAX + 256;

/// What is signed begins with this: nothing else that a hotkey signs does.
const DOMAIN: &[u8] = b"agon record:";

/// What is signed of a record: not the whole, which may be megabytes.
fn message(digest: &Digest) -> Vec<u8> {
    [DOMAIN, &digest.0].concat()
}

const BEGIN: &[u8] = br#"{"record":"#;
const BETWEEN: &[u8] = br#","signature":""#;
const END: &[u8] = br#""}"#;
/// Hexadecimal digits of a signature.
const N_DIGITS: usize = 128;

/// A record with the signature of the validator that it names.
///
/// It is written `{"record":{…},"signature":"<128 hexadecimal digits>"}`, in one way only. The
/// signature is one over `agon record:` and the 32 bytes of the [`Digest`] of the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// The record; whoever changes it has it signed again.
    pub record: Record,
    /// The signature; [`Signed::is_genuine`] says whether it is one.
    pub signature: Signature,
    /// Canonical JSON of the record that was read or signed: a record is large, and spelt once.
    spelt: Vec<u8>,
    digest: Digest,
}

impl Signed {
    /// Signs a record; the same record always gets the same bytes.
    pub fn sign(record: Record, keypair: &Keypair) -> Self {
        let spelt = record.to_json();
        let digest = Digest::of(&spelt);
        let signature = keypair.sign(&message(&digest));
        Self { record, signature, spelt, digest }
    }

    /// The bytes of the file, with the record as it is now.
    pub fn to_json(&self) -> Vec<u8> {
        file(&self.record.to_json(), &self.signature)
    }

    /// The bytes of the file that was read, or that signing gave.
    pub fn published(&self) -> Vec<u8> {
        file(&self.spelt, &self.signature)
    }

    /// Where in it is what was measured.
    fn span(&self) -> Range<usize> {
        measured_in(&self.spelt).unwrap_or_default()
    }

    /// The part of [`Signed::published`] with what was measured ([`protocol::record::Measured`]).
    pub fn measured(&self) -> &[u8] {
        self.spelt.get(self.span()).unwrap_or_default()
    }

    /// [`Signed::published`] without [`Signed::measured`], and where in it that was.
    pub fn around(&self) -> (Vec<u8>, usize) {
        let Range { start, end } = self.span();
        let spelt = &self.spelt;
        let record = [spelt.get(..start), spelt.get(end..)].map(Option::unwrap_or_default);
        (file(&record.concat(), &self.signature), BEGIN.len() + start)
    }

    /// Reads a signed record; refuses whatever is not spelt as [`Signed::to_json`] spells it.
    ///
    /// Whether the signature is the validator's is not looked at.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        Self::read(json, Record::from_json)
    }

    /// The same, with what was measured by `read` (see [`Record::from_parts`]).
    pub fn from_parts(json: &[u8], read: ReadMeasured<'_>) -> Result<Self, Error> {
        Self::read(json, |json| Record::from_parts(json, read))
    }

    fn read(
        json: &[u8],
        read: impl FnOnce(&[u8]) -> Result<Record, protocol::Error>,
    ) -> Result<Self, Error> {
        if json.len() > SIGNED_BYTES_MAX {
            let name = "a signed record".to_owned();
            return Err(Error::TooLarge { name, size_bytes_max: SIGNED_BYTES_MAX });
        }
        let (json, digits) = parts(json).ok_or(Error::NotSigned)?;
        let digits = str::from_utf8(digits).map_err(|_| Error::NotSigned)?;
        let signature = digits.parse().map_err(|_| Error::NotSigned)?;
        // What is read is spelt as it would be written: its bytes stand for it.
        let record = read(json)?;
        Ok(Self { record, signature, spelt: json.to_vec(), digest: Digest::of(json) })
    }

    /// Whether the signature is one of the validator that the record names, over the record that
    /// was read or signed.
    pub fn is_genuine(&self) -> bool {
        keys::verify(&message(&self.digest), &self.signature, self.record.round.validator)
    }

    /// Digest of the JSON of the record that was read or signed, which the next record names as the
    /// one before it.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Digest of the record in the bytes of a file, of whichever format that is.
pub(crate) fn digest_of(json: &[u8]) -> Result<Digest, Error> {
    let (json, _) = parts(json).ok_or(Error::NotSigned)?;
    Ok(Digest::of(json))
}

/// The bytes of a file.
fn file(record: &[u8], signature: &Signature) -> Vec<u8> {
    [BEGIN, record, BETWEEN, signature.to_string().as_bytes(), END].concat()
}

/// The bytes of the record and the digits of the signature.
fn parts(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = json.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(N_DIGITS)?)?;
    Some((rest.strip_suffix(BETWEEN)?, digits))
}
