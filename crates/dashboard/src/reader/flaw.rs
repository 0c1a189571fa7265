//! What is wrong with a record.

use records::Broken;

/// Why a record is not taken in.
pub(super) enum Flaw {
    /// The validator signed it, and it is false.
    False(String),
    /// It cannot be read now, or is none of the validator's.
    OfPlace(String),
}

impl Flaw {
    pub(super) fn of_reading(error: &records::Error) -> Self {
        match error {
            records::Error::Broken(broken) => Self::of_link(broken),
            _ => Self::OfPlace(error.to_string()),
        }
    }

    /// Those of one validator, chain and subnet are looked at after the signature; all else anybody
    /// can bring about who has an index.
    pub(super) fn of_link(broken: &Broken) -> Self {
        let said = broken.to_string();
        match broken {
            Broken::Previous(_) | Broken::Block(_) => Self::False(said),
            _ => Self::OfPlace(said),
        }
    }
}
