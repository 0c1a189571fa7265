//! What tells the records of a validator in a competition from all others.

use super::{Head, Row};
use protocol::AccountId;

/// The records of one validator in one competition, by what tells them from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series<'a> {
    /// Whose records they are.
    pub validator: AccountId,
    /// Of which competition.
    pub competition: &'a str,
}

impl Head {
    /// The series that it tells of.
    pub fn series(&self) -> Series<'_> {
        Series { validator: self.validator, competition: &self.competition }
    }
}

impl Row {
    /// The series that the record is of.
    pub fn series(&self) -> Series<'_> {
        Series { validator: self.validator, competition: &self.competition }
    }
}
