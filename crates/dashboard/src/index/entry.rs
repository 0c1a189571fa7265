//! How the models of a round came out, in few bytes: a round is read as a whole or not at all, so
//! that it is one row and not one for each of its models.

use super::Error;
use std::collections::BTreeMap;

/// Numbers of an entry, 8 bytes each.
const N_NUMBERS: usize = 7;
/// Most bytes of the words of an entry; those of ours have some twenty.
const FATE_BYTES_MAX: usize = 255;

/// How one model came out of a round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Its row.
    pub(super) model: i64,
    /// Documents that it was measured on and that counted.
    pub(super) n: u64,
    /// Comparisons that it won.
    pub(super) wins: u64,
    /// Mean cross-entropy in nats per token.
    pub(super) loss: Option<f64>,
    /// Its standard error.
    pub(super) error: Option<f64>,
    /// Share of its comparisons that it won.
    pub(super) win_rate: f64,
    /// Share of the weight of the round.
    pub(super) weight: f64,
    /// Whether it broke a rule.
    pub(super) is_broken: bool,
    /// The rule that it broke, or what the rules make of it.
    pub(super) fate: String,
}

/// Entries as bytes: seven numbers, whether it broke a rule, and words with their length.
pub(super) fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * (8 * N_NUMBERS + 16));
    for entry in entries {
        bytes.extend(entry.model.to_le_bytes());
        bytes.extend(entry.n.to_le_bytes());
        bytes.extend(entry.wins.to_le_bytes());
        let (loss, error) = (entry.loss.unwrap_or(f64::NAN), entry.error.unwrap_or(f64::NAN));
        for number in [loss, error, entry.win_rate, entry.weight] {
            bytes.extend(number.to_le_bytes());
        }
        let fate: Vec<u8> = entry.fate.bytes().take(FATE_BYTES_MAX).collect();
        bytes.push(u8::from(entry.is_broken));
        bytes.push(u8::try_from(fate.len()).unwrap_or(u8::MAX));
        bytes.extend(fate);
    }
    bytes
}

/// The entries in bytes that [`packed`] made.
pub(super) fn unpacked(mut bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = first(bytes).ok_or(Error::Damaged("a round"))?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

fn first(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let mut rest = bytes;
    let mut words = [[0; 8]; N_NUMBERS];
    for word in &mut words {
        let (head, tail) = rest.split_first_chunk()?;
        (*word, rest) = (*head, tail);
    }
    let [model, n, wins, loss, error, win_rate, weight] = words;
    let (&[is_broken, n_bytes], rest) = rest.split_first_chunk()?;
    let (fate, rest) = rest.split_at_checked(usize::from(n_bytes))?;
    let there = |word: [u8; 8]| Some(f64::from_le_bytes(word)).filter(|number| !number.is_nan());
    let entry = Entry {
        model: i64::from_le_bytes(model),
        n: u64::from_le_bytes(n),
        wins: u64::from_le_bytes(wins),
        loss: there(loss),
        error: there(error),
        win_rate: f64::from_le_bytes(win_rate),
        weight: f64::from_le_bytes(weight),
        is_broken: is_broken != 0,
        fate: String::from_utf8_lossy(fate).into_owned(),
    };
    Some((entry, rest))
}

/// Averages as bytes, each with its place: most are zero, and are not there.
pub(super) fn packed_averages(averages: impl Iterator<Item = f64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, average) in (0_u32..).zip(averages) {
        if average.to_bits() != 0 {
            bytes.extend(place.to_le_bytes());
            bytes.extend(average.to_le_bytes());
        }
    }
    bytes
}

/// The averages in bytes that [`packed_averages`] made, by their place.
pub(super) fn unpacked_averages(mut bytes: &[u8]) -> Result<BTreeMap<usize, f64>, Error> {
    let mut averages = BTreeMap::new();
    while !bytes.is_empty() {
        let (place, rest) = bytes.split_first_chunk().ok_or(Error::Damaged("a round"))?;
        let (average, rest) = rest.split_first_chunk().ok_or(Error::Damaged("a round"))?;
        averages.insert(u32::from_le_bytes(*place) as usize, f64::from_le_bytes(*average));
        bytes = rest;
    }
    Ok(averages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written_and_what_is_cut_is_refused() {
        let entry = |model: i64, loss: Option<f64>| Entry {
            model,
            n: 25,
            wins: 3,
            loss,
            error: loss.map(|loss| loss / 10.0),
            win_rate: 0.5,
            weight: 0.25,
            is_broken: loss.is_none(),
            fate: format!("beaten by {model}"),
        };
        let entries = [entry(1, Some(2.5)), entry(-7, None), entry(i64::MAX, Some(0.0))];
        let bytes = packed(&entries);
        assert_eq!(unpacked(&bytes).unwrap(), entries);
        assert_eq!(unpacked(&[]).unwrap(), []);
        assert!(unpacked(&bytes[..bytes.len() - 1]).is_err());
    }
    #[test]
    fn averages_are_read_as_they_were_written_to_the_bit() {
        let averages = [0.0, 0.25, 0.0, -0.0, 1e-300];
        let bytes = packed_averages(averages.into_iter());
        let read = unpacked_averages(&bytes).unwrap();
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        for (place, average) in averages.into_iter().enumerate() {
            let found = read.get(&place).copied().unwrap_or(0.0);
            assert_eq!(found.to_bits(), average.to_bits(), "{place}");
        }
        assert!(unpacked_averages(&bytes[..bytes.len() - 1]).is_err());
    }
}
