//! What is taken of validators: anybody can publish records, and none may fill the disk.

/// Most competitions of one validator that are read.
pub const COMPETITIONS_MAX: usize = 64;
/// Most letters of the name of an architecture that are kept and shown.
pub const ARCHITECTURE_LETTERS_MAX: usize = 64;
/// Bytes of one validator if nothing else is said.
const BYTES_USUAL: u64 = 1 << 30;

/// Whose records are read beside a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judges {
    /// Those of whoever holds a permit of the subnet to judge.
    #[default]
    Permitted,
    /// Anybody's.
    Anybody,
}

/// What is taken of validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whose records are read beside a chain; without one nobody is known, and anybody's are.
    pub judges: Judges,
    /// Bytes in the index from which on no more records of a validator are taken in.
    pub bytes_per_validator: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { judges: Judges::default(), bytes_per_validator: BYTES_USUAL }
    }
}
