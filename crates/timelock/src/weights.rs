//! What a validator seals: the weights of one subnet, and whose they are.

use parity_scale_codec::{DecodeAll as _, Encode as _};

/// Weights as they stand in a sealed commit, in SCALE:
/// `{ hotkey: Vec<u8>, uids: Vec<u16>, values: Vec<u16>, version_key: u64 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Who sets them; the chain drops a commit of somebody else, so that none is worth copying.
    /// `None` in the older form, which has no such field and is still accepted.
    pub hotkey: Option<[u8; 32]>,
    /// Miners.
    pub uids: Vec<u16>,
    /// Their weights, same order; only the ratios count. Nothing here holds the two lengths
    /// against each other: whoever sets the weights does.
    pub values: Vec<u16>,
    /// Version of the rules the validator runs.
    pub version_key: u64,
}

/// Bytes are weights in neither form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{size_bytes} bytes are no weights, neither with a hotkey nor in the older form")]
pub struct NotWeights {
    /// How many there were.
    pub size_bytes: usize,
}

impl Weights {
    /// The bytes that are sealed; without a hotkey those of the older form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let rest = (&self.uids, &self.values, self.version_key);
        match &self.hotkey {
            Some(hotkey) => (&hotkey[..], rest).encode(),
            None => rest.encode(),
        }
    }

    /// The weights of bytes that a stranger sealed; what was read is written as the same bytes.
    ///
    /// Bytes that are both forms are read with their hotkey, as the chain does. A hotkey has 32
    /// bytes, and nothing may follow; the chain's decoder passes over what follows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotWeights> {
        type Rest = (Vec<u16>, Vec<u16>, u64);
        let owned = <(Vec<u8>, Rest)>::decode_all(&mut &*bytes).ok();
        let owned = owned.and_then(|(hotkey, rest)| Some((Some(hotkey.try_into().ok()?), rest)));
        let (hotkey, (uids, values, version_key)) = owned
            .or_else(|| Some((None, Rest::decode_all(&mut &*bytes).ok()?)))
            .ok_or(NotWeights { size_bytes: bytes.len() })?;
        Ok(Self { hotkey, uids, values, version_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn weights(hotkey: Option<[u8; 32]>) -> Weights {
        Weights { hotkey, uids: vec![0, 5, 7], values: vec![65_535, 32_768, 1], version_key: 4 }
    }

    fn any_weights() -> impl Strategy<Value = Weights> {
        let uids = vec(any::<u16>(), 0..300);
        let values = vec(any::<u16>(), 0..300);
        (any::<[u8; 32]>(), uids, values, any::<u64>()).prop_map(
            |(hotkey, uids, values, version_key)| Weights {
                hotkey: Some(hotkey),
                uids,
                values,
                version_key,
            },
        )
    }

    #[test]
    fn the_payloads_of_the_vectors_are_written_and_read() {
        let text = include_str!("../../../testdata/timelock/ciphertexts.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        for case in vectors["deterministic"].as_array().unwrap() {
            let weights = Weights {
                hotkey: Some(bytes(&case["hotkey"]).try_into().unwrap()),
                uids: serde_json::from_value(case["uids"].clone()).unwrap(),
                values: serde_json::from_value(case["values"].clone()).unwrap(),
                version_key: case["version_key"].as_u64().unwrap(),
            };
            let payload = bytes(&case["payload"]);
            assert_eq!(weights.to_bytes(), payload);
            assert_eq!(Weights::from_bytes(&payload), Ok(weights));
        }
        for case in vectors["of_official_packages"].as_array().unwrap() {
            let payload = bytes(&case["plaintext"]);
            let weights = Weights::from_bytes(&payload).unwrap();
            assert_eq!((&*weights.uids, &*weights.values), (&[1, 2][..], &[3, 4][..]));
            assert_eq!((weights.version_key, weights.to_bytes()), (9, payload));
        }
    }

    #[test]
    fn weights_of_256_miners_have_1069_bytes() {
        let many = Weights { uids: vec![1; 256], values: vec![1; 256], ..weights(Some([1; 32])) };
        assert_eq!((many.to_bytes().len(), weights(Some([1; 32])).to_bytes().len()), (1_069, 55));
    }

    #[test]
    fn the_older_form_has_no_hotkey() {
        let bytes = weights(None).to_bytes();
        assert_eq!(bytes.len(), 55 - 33);
        assert_eq!(Weights::from_bytes(&bytes), Ok(weights(None)));
    }

    #[test]
    fn nothing_may_lack_or_follow_and_a_hotkey_has_32_bytes() {
        for weights in [weights(Some([1; 32])), weights(None)] {
            let mut bytes = weights.to_bytes();
            for size_bytes in 0..bytes.len() {
                let read = Weights::from_bytes(&bytes[..size_bytes]);
                assert_eq!(read, Err(NotWeights { size_bytes }));
            }
            bytes.push(0);
            assert_eq!(Weights::from_bytes(&bytes), Err(NotWeights { size_bytes: bytes.len() }));
        }
        for n_bytes in [31, 33] {
            let bytes = (vec![1_u8; n_bytes], vec![1_u16], vec![1_u16], 4_u64).encode();
            assert!(Weights::from_bytes(&bytes).is_err(), "{n_bytes}");
        }
    }

    #[test]
    fn lengths_that_are_claimed_are_not_believed() {
        // 2^30 - 1 numbers, and 2^32 - 1 of them.
        for claim in [&[0xfe, 0xff, 0xff, 0xff][..], &[0x03, 0xff, 0xff, 0xff, 0xff]] {
            for before in [&[][..], &[0x80; 33], &[0x00], &[0x00, 0x00]] {
                assert!(Weights::from_bytes(&[before, claim].concat()).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn weights_read_back(weights in any_weights()) {
            prop_assert_eq!(Weights::from_bytes(&weights.to_bytes()), Ok(weights));
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_have_one_spelling(bytes in vec(any::<u8>(), 0..400)) {
            if let Ok(read) = Weights::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }

        /// Few uids make small bytes, of which many read.
        #[test]
        fn small_bytes_are_read_or_refused_and_have_one_spelling(
            bytes in vec(prop_oneof![Just(0_u8), Just(4), Just(8), Just(0x80)], 8..60),
        ) {
            if let Ok(read) = Weights::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
