//! A record read in two parts: what was measured, which validators of a round often have alike to
//! the byte, and the rest.

use super::{Models, RECORD_BYTES_MAX, Record, Skipped};
use crate::{Error, digest::canonical_json};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The first field of the part with what stands before it, and the field after the part.
const BEFORE: &[u8] = br#","models":["#;
const AFTER: &[u8] = br#"],"averages":["#;
/// The part of a record that measured nothing.
const NOTHING: &[u8] = br#""models":[]"#;

/// The models of a record and those that it skipped: nearly all of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// [`Record::models`].
    pub models: Models,
    /// [`Record::skipped`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// Reads the part of a record that is at [`measured_in`]; it is given the rest of the record, too.
/// `None` where the part is not spelt as [`Record::to_json`] spells it.
pub type ReadMeasured<'a> = &'a dyn Fn(&Record, &[u8]) -> Option<Measured>;

impl Measured {
    /// A [`ReadMeasured`] that remembers nothing.
    pub fn read(_: &Record, part: &[u8]) -> Option<Self> {
        let json = [b"{".as_slice(), part, b"}"].concat();
        let measured: Self = serde_json::from_slice(&json).ok()?;
        (canonical_json(&measured) == json).then_some(measured)
    }
}

/// Where in the canonical JSON of a record its models are, with those that were skipped; of other
/// bytes anything.
pub fn measured_in(json: &[u8]) -> Option<Range<usize>> {
    let begin = json.windows(BEFORE.len()).position(|bytes| bytes == BEFORE)? + 1;
    let end = json.windows(AFTER.len()).rposition(|bytes| bytes == AFTER)? + 1;
    (begin < end).then_some(begin..end)
}

impl Record {
    /// Reads a record as [`Record::from_json`] does, with what was measured in it by `read`, which
    /// is believed.
    pub fn from_parts(json: &[u8], read: ReadMeasured<'_>) -> Result<Self, Error> {
        // What is wrong is said of the whole.
        by_parts(json, read).map_or_else(|| Self::from_json(json), Ok)
    }
}

/// The record, if both of its parts are in canonical form; then the whole is, too.
///
/// No text in canonical JSON has a quote without a backslash before it, and no field before the
/// models has their name: the first place that looks like their field is it, in the rest as well as
/// in the whole. So the whole is the rest, spelt with this part in place of none.
fn by_parts(json: &[u8], read: ReadMeasured<'_>) -> Option<Record> {
    if json.len() > RECORD_BYTES_MAX {
        return None;
    }
    let Range { start, end } = measured_in(json)?;
    let rest = [json.get(..start)?, NOTHING, json.get(end..)?].concat();
    let rest = Record::from_json(&rest).ok()?;
    let Measured { models, skipped } = read(&rest, json.get(start..end)?)?;
    Some(Record { models, skipped, ..rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, Uid};

    /// Records with and without skipped models, and with text that looks like fields.
    fn records() -> Vec<Record> {
        let frozen = include_bytes!("../../../../testdata/scoring/record.json");
        let plain = Record::from_json(frozen.trim_ascii_end()).unwrap();
        let mut skipped = plain.clone();
        skipped.skipped = vec![Skipped { uid: Uid(9), hotkey: AccountId([9; 32]) }];
        let mut empty = skipped.clone();
        empty.models.clear();
        let mut sly = plain.clone();
        sly.round.engine = r#"},"models":[],"averages":["#.to_owned();
        sly.round.documents[0].id = r#"a\","models":["#.to_owned();
        vec![plain, skipped, empty, sly]
    }

    #[test]
    fn a_record_in_parts_is_the_record_as_a_whole() {
        for record in records() {
            let json = record.to_json();
            let part = &json[measured_in(&json).unwrap()];
            assert!(part.starts_with(br#""models":["#) && part.ends_with(b"]"));
            let measured = Measured::read(&record, part).unwrap();
            assert_eq!((&measured.models, &measured.skipped), (&record.models, &record.skipped));
            assert_eq!(Record::from_parts(&json, &|_, _| Some(measured.clone())).unwrap(), record);
            // Without anybody who reads the part the whole is read.
            assert_eq!(Record::from_parts(&json, &|_, _| None).unwrap(), record);
        }
    }

    #[test]
    fn attack_bytes_that_are_no_record_as_a_whole_are_none_in_parts() {
        for record in records() {
            let json = record.to_json();
            for at in 0..json.len() {
                for mask in [0x01, 0x20] {
                    let mut bent = json.clone();
                    bent[at] ^= mask;
                    let said = |read: Result<Record, Error>| read.map_err(|e| e.to_string());
                    let in_parts = said(Record::from_parts(&bent, &Measured::read));
                    assert_eq!(in_parts, said(Record::from_json(&bent)), "byte {at}, {mask:#x}");
                }
            }
        }
        let json = String::from_utf8(records()[1].to_json()).unwrap();
        for other in [
            json.replace(r#""models":["#, r#""models":[],"models":["#),
            json.replace(r#","averages""#, r#","averages":[],"averages""#),
            json.replace(r#""skipped":["#, r#""skipped": ["#),
            json.replace(r#","skipped""#, r#","more":[],"skipped""#),
            json.replace(r#","round""#, r#","models":[],"averages":[],"round""#),
        ] {
            assert_ne!(other, json);
            assert!(Record::from_parts(other.as_bytes(), &Measured::read).is_err(), "{other}");
        }
    }
}
