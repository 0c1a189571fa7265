//! Mechanisms of a subnet: several matrices of weights, each with a share of what miners earn.

use protocol::NetUid;
use serde::{Deserialize, Serialize};

/// Numbers of subnets that the chain's storage keeps apart.
const NETUIDS: u16 = 4_096;

/// Number of a mechanism of a subnet; most have one, the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mechanism(pub u8);

impl Mechanism {
    /// The one that every subnet has.
    pub const FIRST: Self = Self(0);

    /// Most mechanisms that the chain can number.
    pub const COUNT_MAX: u8 = 16;

    /// Under which number the chain keeps weights, bonds, updates and incentive of the mechanism;
    /// for the first, the number of the subnet.
    pub fn index(self, netuid: NetUid) -> u16 {
        u16::from(self.0).saturating_mul(NETUIDS).saturating_add(netuid.0)
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mechanism_is_the_subnet_and_no_two_share_a_place() {
        assert_eq!(Mechanism::FIRST.index(NetUid(9)), 9);
        assert_eq!(Mechanism(1).index(NetUid(9)), 4_105);
        let last = Mechanism(Mechanism::COUNT_MAX - 1);
        assert_eq!(last.index(NetUid(NETUIDS - 1)), u16::MAX);
        assert_eq!(Mechanism(u8::MAX).index(NetUid(1)), u16::MAX, "never another's by overflow");
    }
}
